//! What a session of the supervised problem knows besides: data, points of hyperparameters, evaluations.

use super::kept;
use super::members::{Member, SessionData, Sets};
use super::problem::{CHUNK, Problem};
use super::sets::{self, Set, SetEvaluation};
use crate::bilevel::contract;
use crate::bilevel::hyperparameters::Hyperparameters;
use crate::bilevel::trajectory::work;
use crate::bilevel::{Directions, Estimate, Method, Session, SolveError};
use crate::data::{Examples, Targets};
use crate::engine::Values;
use crate::ir::numel;
use crate::rig::{Compiled, Device, Monitor, Progress, Quiet};
use crate::rng::split_seed;

impl Session<Problem> {
    /// Compiles the programs of a problem and a method, plans memory, and puts the data on the device.
    /// A [`Memory`](crate::bilevel::Memory) alone stands for reverse mode.
    pub async fn new(
        device: &Device,
        problem: Problem,
        data: &SessionData,
        method: impl Into<Box<dyn Method>>,
    ) -> Result<Session, SolveError> {
        Self::with(device, problem, data, method, &Compiled::default()).await
    }

    /// The same with programs that are kept: opened on one device after another, a problem is compiled once.
    pub async fn with(
        device: &Device,
        problem: Problem,
        data: &SessionData,
        method: impl Into<Box<dyn Method>>,
        compiled: &Compiled,
    ) -> Result<Session, SolveError> {
        Self::population(device, problem, data.into(), &[data.into()], method, compiled).await
    }

    /// The same for a population on these sets, of which each member may have its own rows.
    pub async fn population(
        device: &Device,
        problem: Problem,
        sets: Sets<'_>,
        members: &[Member<'_>],
        method: impl Into<Box<dyn Method>>,
        compiled: &Compiled,
    ) -> Result<Session, SolveError> {
        let problem = Problem { validation: sets.validation(members.first()), ..problem };
        contract::check_count(members.len())?;
        problem.check()?;
        sets.check(&problem)?;
        let of = |at: usize| (members.len() > 1).then_some(at);
        members.iter().enumerate().try_for_each(|(at, member)| member.check(&problem, of(at)))?;
        let mut session = Session::open_with(device, problem, members.len(), method, compiled).await?;
        let problem = session.problem().clone();
        sets.fill(&problem, &mut session)?;
        members.iter().enumerate().try_for_each(|(at, member)| member.fill(at, &problem, &mut session))?;
        Ok(session)
    }

    /// What is trained, and on what.
    pub fn problem(&self) -> &Problem {
        self.inner()
    }

    /// Gives the next trainings the batches, dropout and noise of another seed, those of all members; the weights that
    /// they begin with stay.
    pub fn redraw(&mut self, seed: u64) -> Result<(), SolveError> {
        if self.problem().takes_seed() { self.fill("seed", Values::U32(&split_seed(seed))) } else { Ok(()) }
    }

    /// Trains at a point of hyperparameters, and differentiates the outer loss along what its tuned groups move.
    pub async fn estimate_at(
        &mut self,
        point: &Hyperparameters,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let along = point.directions(self.problem());
        self.estimate_along(point, &along, monitor).await
    }

    /// The same along directions of one's own.
    pub async fn estimate_along(
        &mut self,
        point: &Hyperparameters,
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        point.check(self.problem())?;
        let lambda = point.arrays(self.problem());
        self.estimate(&lambda, along, monitor).await
    }

    /// Trains at a point of hyperparameters and takes the outer loss; no derivative.
    pub async fn train_at(
        &mut self,
        point: &Hyperparameters,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        point.check(self.problem())?;
        let lambda = point.arrays(self.problem());
        self.train(&lambda, monitor).await
    }

    /// Trains each member at a point of its own, and differentiates its outer loss along what the tuned groups of its
    /// point move.
    pub async fn estimate_each_at(
        &mut self,
        points: &[Hyperparameters],
        monitor: &mut dyn Monitor,
    ) -> Result<Vec<Estimate>, SolveError> {
        let lambda = self.arrays_of(points)?;
        let along: Vec<Directions> = points.iter().map(|point| point.directions(self.problem())).collect();
        self.estimate_each(&lambda, &along.iter().collect::<Vec<_>>(), monitor).await
    }

    /// Trains each member at a point of its own and takes its outer loss; no derivative.
    pub async fn train_each_at(
        &mut self,
        points: &[Hyperparameters],
        monitor: &mut dyn Monitor,
    ) -> Result<Vec<Estimate>, SolveError> {
        let lambda = self.arrays_of(points)?;
        self.train_each(&lambda, monitor).await
    }

    fn arrays_of(&self, points: &[Hyperparameters]) -> Result<Vec<f64>, SolveError> {
        points.iter().try_for_each(|point| point.check(self.problem()))?;
        Ok(points.iter().flat_map(|point| point.arrays(self.problem())).collect())
    }

    /// Sets the weights that the training, or every member's, begins with, where they are no hyperparameters, and begins
    /// there.
    pub fn set_initial_weights(&mut self, weights: &[f32]) -> Result<(), SolveError> {
        sets::check_weights("initial weights", weights, &self.problem().model)?;
        self.fill("given", Values::F32(weights))?;
        self.begin_anew()
    }

    /// The network that the last sweep ended with: the weights that it is judged by, then running statistics, all that it
    /// predicts by. Of a population, that of its first member.
    pub async fn final_network(&mut self) -> Result<Vec<f64>, SolveError> {
        Ok(self.final_networks().await?.remove(0))
    }

    /// The same of each member.
    pub async fn final_networks(&mut self) -> Result<Vec<Vec<f64>>, SolveError> {
        let last = [self.trajectory.final_state()];
        let states = self.trajectory.read(&last).await?.remove(0);
        let problem = self.problem();
        let (count, slots) = (problem.model.parameter_count(), problem.optimizer_len());
        let network = |state: &[f64]| [&problem.optimizer.judged(state, count), &state[slots..]].concat();
        Ok(states.chunks(problem.state_len()).map(network).collect())
    }

    /// Puts a network in the place of that of the last sweep, of every member, to be evaluated. An online training would go on from it.
    pub fn set_final_network(&mut self, network: &[f32]) -> Result<(), SolveError> {
        let problem = self.problem();
        let (count, slots) = (problem.model.parameter_count(), problem.optimizer_len());
        sets::check_length("network", network, count + problem.model.statistic_count())?;
        let mut state = network.to_vec();
        state.splice(count..count, std::iter::repeat_n(0.0, slots - count));
        let place = format!("state {}", self.trajectory.last_place());
        Ok(self.trajectory.rig().write(&place, Values::F32(&state))?)
    }

    /// Loss, and confusion counts where examples are labelled, at the final weights of the last sweep; of a population, of
    /// its first member. The set passes through the device a chunk at a time, so its size costs no memory there.
    pub async fn evaluate(&mut self, set: &Set, monitor: &mut dyn Monitor) -> Result<SetEvaluation, SolveError> {
        Ok(self.evaluate_each(set, monitor).await?.remove(0))
    }

    /// The same of each member.
    pub async fn evaluate_each(
        &mut self,
        set: &Set,
        monitor: &mut dyn Monitor,
    ) -> Result<Vec<SetEvaluation>, SolveError> {
        set.check(self.problem(), "evaluated")?;
        self.require_evaluation().await?;
        let (labelled, outputs) = (self.problem().loss.takes_labels(), numel(self.problem().model.output()));
        let trajectory = &mut self.trajectory;
        let state = trajectory.final_state();
        let binding = trajectory.rig().bind("evaluation", &[("state", state)])?;
        let classes = if labelled { outputs } else { 0 };
        trajectory.clear_sums()?;
        if labelled {
            trajectory.rig().clear("confusion")?;
        }
        let example = set.x.len() / set.count;
        let (progress, monitor) = (&mut Progress::default(), &mut Quiet(monitor));
        for first in (0..set.count).step_by(CHUNK) {
            let count = CHUNK.min(set.count - first);
            let values = first * example..(first + count) * example;
            match &set.x {
                Examples::Floats(x) => trajectory.rig().write("set_x", Values::F32(&x[values]))?,
                Examples::Bytes { bytes, .. } => {
                    trajectory.rig().write("set_x", Values::U32(&kept::packed(&bytes[values], example)))?;
                }
            }
            match &set.targets {
                Targets::Labels(labels) => trajectory.rig().write("set_y", Values::U32(&labels[first..][..count]))?,
                Targets::Values(values) => {
                    let values = &values[first * outputs..][..count * outputs];
                    trajectory.rig().write("set_y", Values::F32(values))?;
                }
            }
            trajectory.fill("limit", Values::U32(&[count as u32]))?;
            trajectory.repeat(work::EVALUATION, 1, progress, monitor, |_, _| Ok(binding)).await?;
        }
        let sums: &[&str] = if labelled { &["value", "confusion"] } else { &["value"] };
        let sums = sums.iter().map(|name| trajectory.array(name)).collect::<Result<Vec<_>, _>>()?;
        let values = trajectory.read(&sums).await?;
        let count = set.count as f64;
        let evaluation = |(member, &loss): (usize, &f64)| {
            let counts = values.get(1).and_then(|counts| counts.chunks(classes * classes).nth(member));
            let confusion = counts.map(|counts| counts.iter().map(|&n| n as u32).collect()).unwrap_or_default();
            SetEvaluation { loss: loss / count, confusion, classes }
        };
        Ok(values[0].iter().enumerate().map(evaluation).collect())
    }

    pub(in crate::bilevel) async fn require_evaluation(&mut self) -> Result<(), SolveError> {
        let problem = self.problem().clone();
        Ok(self.trajectory.rig().require(|| problem.evaluation(), "evaluation").await?)
    }
}
