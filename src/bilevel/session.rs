//! An inner problem on a device, with the method that differentiates it.

use std::rc::Rc;

use super::blueprint::Blueprint;
use super::checkpoint::Plan;
use super::inner::{Inner, Through};
use super::snapshot::Snapshot;
use super::{Directions, Estimate, Method, Problem, Refusal, SolveError, Trajectory};
use crate::engine::Values;
use crate::rig::{Compiled, Device, Monitor};

/// An inner problem ready to train. Several may be on one device and take turns; dropping one gives back all that it
/// has there.
///
/// It may be a population: so many trainings of the problem as one, each with weights, hyperparameters and seeds of its
/// own, and with the bits that it would have alone; all of them cost as many dispatches as one. What says `each` takes
/// and gives a value for every member; everything else takes what they have in common, and their sums.
pub struct Session<P = Problem> {
    pub(super) trajectory: Trajectory,
    inner: Rc<P>,
    method: Box<dyn Method>,
    predicted_bytes: u64,
}

impl<P: Inner + 'static> Session<P> {
    /// Compiles the programs of a problem and a method, plans memory, and makes the arrays, which hold zeros: the
    /// problem's own are then to be [filled](Session::fill), and with them `given`, the weights that it begins with.
    /// A [`Memory`](super::Memory) alone stands for reverse mode.
    pub async fn open(device: &Device, inner: P, method: impl Into<Box<dyn Method>>) -> Result<Session<P>, SolveError> {
        Self::open_with(device, inner, 1, method, &Compiled::default()).await
    }

    /// The same for so many members of a population, which share the problem's arrays that are not said to be
    /// [their own](crate::rig::Array::own), and with programs that are kept, on whatever device.
    pub async fn open_with(
        device: &Device,
        inner: P,
        members: usize,
        method: impl Into<Box<dyn Method>>,
        compiled: &Compiled,
    ) -> Result<Session<P>, SolveError> {
        let (inner, method) = (Rc::new(inner), method.into());
        let blueprint = Blueprint::population(&*inner, members, &*method, compiled)?;
        let predicted_bytes = blueprint.bytes();
        let rig = blueprint.rig(device, compiled).await?;
        let trajectory =
            Trajectory::new(inner.clone(), rig, blueprint.checkpoints, &blueprint.residuals, blueprint.records)?;
        Ok(Session { trajectory, inner, method, predicted_bytes })
    }

    /// Members of the population; 1 where it is none.
    pub fn members(&self) -> usize {
        self.trajectory.members()
    }

    /// What is trained.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    /// Which states a sweep keeps.
    pub fn plan(&self) -> &Plan {
        self.trajectory.plan()
    }

    /// What differentiates.
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

    /// Where it runs.
    pub fn device(&self) -> Device {
        self.trajectory.device().clone()
    }

    /// Writes one of the problem's arrays whole, the same for all members.
    pub fn fill(&mut self, name: &str, values: Values) -> Result<(), SolveError> {
        self.trajectory.fill(name, values)
    }

    /// Writes a member's own array whole.
    pub fn fill_of(&mut self, member: usize, name: &str, values: Values) -> Result<(), SolveError> {
        Ok(self.trajectory.rig().fill_of(member, name, values)?)
    }

    /// Trains, takes the outer loss, and differentiates it along the directions. Of a population this is the sum over
    /// its members, which share the hyperparameters.
    pub async fn estimate(
        &mut self,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let (lambda, along) = (self.shared(lambda)?, vec![along; self.members()]);
        Ok(Estimate::sum(self.estimate_each(&lambda, &along, monitor).await?))
    }

    /// The same for each member, with hyperparameters (one member's behind the other's) and directions of its own. One
    /// that diverges leaves the others alone.
    pub async fn estimate_each(
        &mut self,
        lambda: &[f64],
        along: &[&Directions],
        monitor: &mut dyn Monitor,
    ) -> Result<Vec<Estimate>, SolveError> {
        if along.len() != self.members() {
            let (given, wanted) = (along.len(), self.members());
            return Err(SolveError::Length { what: "directions, one set a member,".to_owned(), given, wanted });
        }
        self.trajectory.check_lambda(lambda)?;
        for along in along {
            along.check(&*self.inner)?;
            if let Some(refusal) = self.method.refusal(&*self.inner, along).or_else(|| self.start_refused(along)) {
                return Err(refusal.into());
            }
        }
        let mut estimates = self.method.estimate_each(&mut self.trajectory, lambda, along, monitor).await?;
        for (member, estimate) in estimates.iter_mut().enumerate() {
            let (given, wanted) = (estimate.hypergradient.len(), along[member].len());
            // A diverged training has no derivative at all.
            if given == 0 && estimate.diverged() {
                continue;
            }
            if given != wanted {
                let what = format!("derivatives by {}", self.method.name());
                return Err(SolveError::Length { what, given, wanted });
            }
            estimate.direct = self.trajectory.direct(member).map(|direct| along[member].pull_back(direct));
            for (sum, direct) in estimate.hypergradient.iter_mut().zip(estimate.direct.iter().flatten()) {
                *sum += direct;
            }
        }
        Ok(estimates)
    }

    /// Hyperparameters that all members share, as those of each.
    pub(super) fn shared(&self, lambda: &[f64]) -> Result<Vec<f64>, SolveError> {
        let (given, wanted) = (lambda.len(), (&*self.inner as &dyn Inner).lambda_len());
        match given == wanted {
            true => Ok(lambda.repeat(self.members())),
            false => Err(SolveError::Length { what: "hyperparameters".to_owned(), given, wanted }),
        }
    }

    /// What a training begins with is no function of the hyperparameters once it goes on from another state.
    fn start_refused(&self, along: &Directions) -> Option<Refusal> {
        let part = along.moved(&*self.inner, &[Through::Start]).filter(|_| self.trajectory.goes_on())?;
        Some(Refusal {
            method: self.method.name(),
            what: part.what,
            reason: "the training goes on from a state that it was given".to_owned(),
            instead: "a training from its beginning",
        })
    }

    /// The same in every entry of the hyperparameter vector.
    pub async fn hypergradient(&mut self, lambda: &[f64], monitor: &mut dyn Monitor) -> Result<Estimate, SolveError> {
        let along = Directions::arrays(&*self.inner);
        self.estimate(lambda, &along, monitor).await
    }

    /// Trains and takes the outer loss; no derivative. Of a population this is the sum over its members, which share the
    /// hyperparameters.
    pub async fn train(&mut self, lambda: &[f64], monitor: &mut dyn Monitor) -> Result<Estimate, SolveError> {
        let lambda = self.shared(lambda)?;
        Ok(Estimate::sum(self.train_each(&lambda, monitor).await?))
    }

    /// The same for each member, with hyperparameters of its own, one member's behind the other's.
    pub async fn train_each(&mut self, lambda: &[f64], monitor: &mut dyn Monitor) -> Result<Vec<Estimate>, SolveError> {
        self.trajectory.train_only_each(lambda, monitor).await
    }

    /// Takes so many training steps on from where `advance` or [`load`](Self::load) left the training, at first from its
    /// beginning (sweeps do not move it); no outer loss. A later sweep of T steps begins behind them. Stopped midway, it
    /// is where it was stopped.
    pub async fn advance(&mut self, lambda: &[f64], steps: usize, monitor: &mut dyn Monitor) -> Result<(), SolveError> {
        let lambda = self.shared(lambda)?;
        self.advance_each(&lambda, steps, monitor).await
    }

    /// The same for members with hyperparameters of their own, one member's behind the other's.
    pub async fn advance_each(
        &mut self,
        lambda: &[f64],
        steps: usize,
        monitor: &mut dyn Monitor,
    ) -> Result<(), SolveError> {
        self.trajectory.advance(lambda, steps, monitor).await
    }

    /// The outer loss at the end of the last sweep or step; of a population, the sum over its members.
    pub async fn outer_loss(&mut self, monitor: &mut dyn Monitor) -> Result<Estimate, SolveError> {
        Ok(Estimate::sum(self.outer_losses(monitor).await?))
    }

    /// The same of each member.
    pub async fn outer_losses(&mut self, monitor: &mut dyn Monitor) -> Result<Vec<Estimate>, SolveError> {
        self.trajectory.reached()?;
        self.trajectory.outer_losses_at(self.trajectory.last_place(), monitor).await
    }

    /// Goes back to the training's beginning.
    pub fn begin_anew(&mut self) -> Result<(), SolveError> {
        self.method.forget();
        self.trajectory.begin_anew()
    }

    /// The whole state of the training, as the last sweep or step left it; of a population, that of its first member.
    pub async fn save(&mut self) -> Result<Snapshot, SolveError> {
        Ok(self.save_each().await?.remove(0))
    }

    /// The same of each member: such a snapshot goes on in a population as well as alone.
    pub async fn save_each(&mut self) -> Result<Vec<Snapshot>, SolveError> {
        self.trajectory.reached()?;
        let (state, time) = self.trajectory.state(self.trajectory.last_place())?;
        let values = self.trajectory.read(&[state, time]).await?;
        let each = values[0].chunks((&*self.inner as &dyn Inner).state_len()).zip(&values[1]);
        let snapshot = |(state, &time): (&[f64], &f64)| Snapshot {
            parts: self.inner.state(),
            state: state.iter().map(|&value| value as f32).collect(),
            steps: time as u32,
        };
        Ok(each.map(snapshot).collect())
    }

    /// Makes a state the one that the training goes on from: saved here, by another session of the same problem (a
    /// fork), or read from a file. All members of a population go on from it.
    pub fn load(&mut self, snapshot: &Snapshot) -> Result<(), SolveError> {
        self.load_each(&vec![snapshot; self.members()])
    }

    /// The same with a state for each member; all of as many steps. One that diverged stays so, and the others go on.
    pub fn load_each(&mut self, snapshots: &[&Snapshot]) -> Result<(), SolveError> {
        let wrong = |what: String| Err(SolveError::Data { set: "a snapshot".to_owned(), what });
        if snapshots.len() != self.members() {
            let (given, wanted) = (snapshots.len(), self.members());
            return Err(SolveError::Length { what: "snapshots, one a member,".to_owned(), given, wanted });
        }
        for snapshot in snapshots {
            let (given, wanted) = (snapshot.state.len(), (&*self.inner as &dyn Inner).state_len());
            if given != wanted {
                return Err(SolveError::Length { what: "a snapshot's state".to_owned(), given, wanted });
            }
            if snapshot.parts != self.inner.state() {
                return wrong("its parts have other names or shapes than this training's state".to_owned());
            }
            if snapshot.steps != snapshots[0].steps {
                let steps = [snapshots[0].steps, snapshot.steps];
                return wrong(format!(
                    "it is of {} steps and another of {}; members go on together",
                    steps[1], steps[0]
                ));
            }
        }
        // A member that had diverged stays so, and the others go on.
        let broken = |snapshot: &&Snapshot| snapshot.state.iter().position(|value| !value.is_finite());
        if let Some(at) = broken(&snapshots[0])
            && snapshots.iter().all(|snapshot| broken(snapshot).is_some())
        {
            return wrong(format!("element {at} of its state is {}", snapshots[0].state[at]));
        }
        self.method.forget();
        let states: Vec<&[f32]> = snapshots.iter().map(|snapshot| &*snapshot.state).collect();
        self.trajectory.put(&states, snapshots[0].steps)
    }

    /// An array by the name that the blueprint gives it, as the last sweep left it; each member's behind the other's
    /// where they have one each.
    pub async fn array(&mut self, name: &str) -> Result<Option<Vec<f64>>, SolveError> {
        let Ok(array) = self.trajectory.array(name) else { return Ok(None) };
        Ok(self.trajectory.read(&[array]).await?.pop())
    }

    /// The final weights of the last sweep; of a population, those of its first member.
    pub async fn final_weights(&mut self) -> Result<Vec<f64>, SolveError> {
        Ok(self.final_weights_each().await?.remove(0))
    }

    /// The same of each member.
    pub async fn final_weights_each(&mut self) -> Result<Vec<Vec<f64>>, SolveError> {
        let last = [self.trajectory.final_state()];
        let states = self.trajectory.read(&last).await?.remove(0);
        let (len, weights) = ((&*self.inner as &dyn Inner).state_len(), self.inner.weights());
        Ok(states.chunks(len).map(|state| state[..weights].to_vec()).collect())
    }
}
