//! A problem on an engine, with the method that differentiates it.

use super::checkpoint::Plan;
use super::hyperparameters::Hyperparameters;
use super::problem::{CHUNK, Problem};
use super::{
    Blueprint, Directions, Estimate, Host, Method, Runner, SessionData, Set, SetEvaluation, SolveError, Targets, sets,
};
use crate::engine::{Engine, Values};

/// A problem ready to run.
pub struct Session<'e> {
    pub(super) runner: Runner<'e>,
    method: Box<dyn Method>,
    /// The initial weights where a point of hyperparameters has none of its own.
    initial: Vec<f32>,
    /// Whether those on the device are a point's own.
    own_initial: bool,
    predicted_bytes: u64,
}

impl<'e> Session<'e> {
    /// Compiles the programs of a problem and a method, plans memory, and puts the data on the device.
    /// A [`Memory`](super::Memory) alone stands for reverse mode.
    pub async fn new(
        engine: &'e mut dyn Engine,
        problem: Problem,
        data: &SessionData,
        method: impl Into<Box<dyn Method>>,
    ) -> Result<Session<'e>, SolveError> {
        let method = method.into();
        problem.check()?;
        data.check(&problem)?;
        let blueprint = Blueprint::of(&problem, data.validation.count, &*method)?;
        let predicted_bytes = blueprint.bytes();
        let mut runner = Runner::new(engine, problem.clone(), blueprint, data.validation.count).await?;
        sets::write(&mut runner, &problem, data)?;
        Ok(Session { runner, method, initial: data.initial.clone(), own_initial: false, predicted_bytes })
    }

    pub fn plan(&self) -> &Plan {
        self.runner.plan()
    }

    pub fn problem(&self) -> &Problem {
        self.runner.problem()
    }

    pub fn method(&self) -> &dyn Method {
        &*self.method
    }

    /// How exactly the next estimates are to be solved, where the method solves anything to a tolerance.
    pub fn set_tolerance(&mut self, tolerance: f64) {
        self.method.set_tolerance(tolerance);
    }

    /// Bytes the plan foresees on the device.
    pub fn predicted_bytes(&self) -> u64 {
        self.predicted_bytes
    }

    pub fn engine(&self) -> &dyn Engine {
        &*self.runner.engine
    }

    /// Trains, takes the outer loss, and differentiates it along the directions.
    pub async fn estimate(
        &mut self,
        lambda: &[f64],
        along: &Directions,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        along.check(self.problem())?;
        if let Some(refusal) = self.method.refusal(self.runner.problem(), along) {
            return Err(refusal.into());
        }
        self.method.estimate(&mut self.runner, lambda, along, host).await
    }

    /// The same at a point of hyperparameters, along what its tuned groups move.
    pub async fn estimate_at(&mut self, point: &Hyperparameters, host: &mut dyn Host) -> Result<Estimate, SolveError> {
        let along = self.directions_at(point);
        self.estimate_along(point, &along, host).await
    }

    /// The same along directions of one's own.
    pub async fn estimate_along(
        &mut self,
        point: &Hyperparameters,
        along: &Directions,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        let lambda = self.begin_at(point)?;
        self.estimate(&lambda, along, host).await
    }

    /// What the tuned groups of a point move.
    pub fn directions_at(&self, point: &Hyperparameters) -> Directions {
        let initial = point.initial(&self.initial);
        point.directions(self.problem(), initial.as_deref().unwrap_or(&self.initial))
    }

    /// Trains at a point of hyperparameters and takes the outer loss; no derivative.
    pub async fn train_at(&mut self, point: &Hyperparameters, host: &mut dyn Host) -> Result<Estimate, SolveError> {
        let lambda = self.begin_at(point)?;
        self.train(&lambda, host).await
    }

    /// Sets the initial weights of a point; gives its hyperparameter vector.
    fn begin_at(&mut self, point: &Hyperparameters) -> Result<Vec<f64>, SolveError> {
        point.check(self.problem())?;
        let own = point.initial(&self.initial);
        if own.is_some() || self.own_initial {
            self.own_initial = own.is_some();
            let weights = own.unwrap_or_else(|| self.initial.clone());
            self.runner.write_state(self.runner.initial_state(), &weights)?;
        }
        Ok(point.arrays(self.problem()))
    }

    /// The same in every entry of the hyperparameter vector.
    pub async fn hypergradient(&mut self, lambda: &[f64], host: &mut dyn Host) -> Result<Estimate, SolveError> {
        let along = Directions::arrays(self.problem());
        self.estimate(lambda, &along, host).await
    }

    /// Trains and takes the outer loss; no derivative.
    pub async fn train(&mut self, lambda: &[f64], host: &mut dyn Host) -> Result<Estimate, SolveError> {
        self.runner.train_only(lambda, host).await
    }

    /// An array by the name that the blueprint gives it, as the last sweep left it.
    pub async fn array(&mut self, name: &str) -> Result<Option<Vec<f64>>, SolveError> {
        if !self.runner.holds(name) {
            return Ok(None);
        }
        let array = self.runner.array(name);
        Ok(self.runner.read(&[array]).await?.pop())
    }

    /// The final weights of the last sweep.
    pub async fn final_weights(&mut self) -> Result<Vec<f64>, SolveError> {
        let last = [self.runner.final_state()];
        let mut state = self.runner.read(&last).await?.remove(0);
        state.truncate(self.problem().model.parameter_count());
        Ok(state)
    }

    /// Sets the weights that the next sweeps begin with, where a point of hyperparameters has none of its own.
    pub fn set_initial_weights(&mut self, weights: &[f32]) -> Result<(), SolveError> {
        sets::check_weights("initial weights", weights, &self.problem().model)?;
        self.initial = weights.to_vec();
        self.own_initial = false;
        self.runner.write_state(self.runner.initial_state(), weights)
    }

    /// Puts weights in the place of the final ones of the last sweep, to be evaluated.
    pub fn set_final_weights(&mut self, weights: &[f32]) -> Result<(), SolveError> {
        sets::check_weights("weights", weights, &self.problem().model)?;
        self.runner.write_state(self.runner.final_state(), weights)
    }

    /// Loss, and confusion counts where examples are labelled, at the final weights of the last sweep. The set
    /// passes through the device a chunk at a time, so its size costs no memory there.
    pub async fn evaluate(&mut self, set: &Set, host: &mut dyn Host) -> Result<SetEvaluation, SolveError> {
        set.check(self.problem(), "evaluated")?;
        let labelled = self.problem().loss.takes_labels();
        self.require_evaluation().await?;
        let runner = &mut self.runner;
        let binding = runner.bind("evaluation", &[("state", runner.final_state())])?;
        let outputs: usize = runner.problem().model.output().iter().product();
        let classes = if labelled { outputs } else { 0 };
        runner.clear_sums()?;
        if labelled {
            runner.write("confusion", Values::F32(&vec![0.0; classes * classes]))?;
        }
        let example = set.x.len() / set.count;
        for (k, x) in set.x.chunks(CHUNK * example).enumerate() {
            let (first, count) = (k * CHUNK, CHUNK.min(set.count - k * CHUNK));
            runner.write("set_x", Values::F32(x))?;
            match &set.targets {
                Targets::Labels(labels) => runner.write("set_y", Values::U32(&labels[first..][..count]))?,
                Targets::Values(values) => {
                    runner.write("set_y", Values::F32(&values[first * outputs..][..count * outputs]))?;
                }
            }
            runner.write("limit", Values::U32(&[count as u32]))?;
            runner.submit_and_breathe(binding, host).await?;
        }
        let sums: &[&str] = if labelled { &["value", "confusion"] } else { &["value"] };
        let sums: Vec<_> = sums.iter().map(|name| runner.array(name)).collect();
        let values = runner.read(&sums).await?;
        let confusion = values.get(1).map(|counts| counts.iter().map(|&n| n as u32).collect()).unwrap_or_default();
        Ok(SetEvaluation { loss: values[0][0] / set.count as f64, confusion, classes })
    }

    pub(super) async fn require_evaluation(&mut self) -> Result<(), SolveError> {
        if self.runner.is_loaded("evaluation") {
            return Ok(());
        }
        let function = self.problem().evaluation();
        self.runner.require(function).await
    }
}
