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
        Self::open_with(device, inner, method, &Compiled::default()).await
    }

    /// The same with programs that are kept, on whatever device.
    pub async fn open_with(
        device: &Device,
        inner: P,
        method: impl Into<Box<dyn Method>>,
        compiled: &Compiled,
    ) -> Result<Session<P>, SolveError> {
        let (inner, method) = (Rc::new(inner), method.into());
        let blueprint = Blueprint::with(&*inner, &*method, compiled)?;
        let predicted_bytes = blueprint.bytes();
        let trajectory = Trajectory::new(inner.clone(), blueprint.rig(device, compiled).await?, blueprint.checkpoints)?;
        Ok(Session { trajectory, inner, method, predicted_bytes })
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

    /// Writes one of the problem's arrays whole.
    pub fn fill(&mut self, name: &str, values: Values) -> Result<(), SolveError> {
        self.trajectory.fill(name, values)
    }

    /// Trains, takes the outer loss, and differentiates it along the directions.
    pub async fn estimate(
        &mut self,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        along.check(&*self.inner)?;
        self.trajectory.check_lambda(lambda)?;
        if let Some(refusal) = self.method.refusal(&*self.inner, along).or_else(|| self.start_refused(along)) {
            return Err(refusal.into());
        }
        let mut estimate = self.method.estimate(&mut self.trajectory, lambda, along, monitor).await?;
        let (given, wanted) = (estimate.hypergradient.len(), along.len());
        // A diverged training has no derivative at all.
        if given != wanted && !(given == 0 && estimate.diverged()) {
            let what = format!("derivatives by {}", self.method.name());
            return Err(SolveError::Length { what, given, wanted });
        }
        if !estimate.hypergradient.is_empty() {
            estimate.direct = self.trajectory.direct().map(|direct| along.pull_back(direct));
            for (sum, direct) in estimate.hypergradient.iter_mut().zip(estimate.direct.iter().flatten()) {
                *sum += direct;
            }
        }
        Ok(estimate)
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

    /// Trains and takes the outer loss; no derivative.
    pub async fn train(&mut self, lambda: &[f64], monitor: &mut dyn Monitor) -> Result<Estimate, SolveError> {
        self.trajectory.train_only(lambda, monitor).await
    }

    /// Takes so many training steps on from where `advance` or [`load`](Self::load) left the training, at first from its
    /// beginning (sweeps do not move it); no outer loss. A later sweep of T steps begins behind them. Stopped midway, it
    /// is where it was stopped.
    pub async fn advance(&mut self, lambda: &[f64], steps: usize, monitor: &mut dyn Monitor) -> Result<(), SolveError> {
        self.trajectory.advance(lambda, steps, monitor).await
    }

    /// The outer loss at the end of the last sweep or step.
    pub async fn outer_loss(&mut self, monitor: &mut dyn Monitor) -> Result<Estimate, SolveError> {
        self.trajectory.reached()?;
        self.trajectory.outer_loss(monitor).await
    }

    /// Goes back to the training's beginning.
    pub fn begin_anew(&mut self) -> Result<(), SolveError> {
        self.method.forget();
        self.trajectory.begin_anew()
    }

    /// The whole state of the training, as the last sweep or step left it.
    pub async fn save(&mut self) -> Result<Snapshot, SolveError> {
        self.trajectory.reached()?;
        let (state, time) = self.trajectory.state(self.trajectory.last_place())?;
        let values = self.trajectory.read(&[state, time]).await?;
        Ok(Snapshot {
            parts: self.inner.state(),
            state: values[0].iter().map(|&value| value as f32).collect(),
            steps: values[1][0] as u32,
        })
    }

    /// Makes a state the one that the training goes on from: saved here, by another session of the same problem (a
    /// fork), or read from a file.
    pub fn load(&mut self, snapshot: &Snapshot) -> Result<(), SolveError> {
        let (given, wanted) = (snapshot.state.len(), (&*self.inner as &dyn Inner).state_len());
        if given != wanted {
            return Err(SolveError::Length { what: "a snapshot's state".to_owned(), given, wanted });
        }
        if snapshot.parts != self.inner.state() {
            let what = "its parts have other names or shapes than this training's state".to_owned();
            return Err(SolveError::Data { set: "a snapshot".to_owned(), what });
        }
        if let Some(at) = snapshot.state.iter().position(|value| !value.is_finite()) {
            let what = format!("element {at} of its state is {}", snapshot.state[at]);
            return Err(SolveError::Data { set: "a snapshot".to_owned(), what });
        }
        self.method.forget();
        self.trajectory.put(&snapshot.state, snapshot.steps)
    }

    /// An array by the name that the blueprint gives it, as the last sweep left it.
    pub async fn array(&mut self, name: &str) -> Result<Option<Vec<f64>>, SolveError> {
        let Ok(array) = self.trajectory.array(name) else { return Ok(None) };
        Ok(self.trajectory.read(&[array]).await?.pop())
    }

    /// The final weights of the last sweep.
    pub async fn final_weights(&mut self) -> Result<Vec<f64>, SolveError> {
        let last = [self.trajectory.final_state()];
        let mut state = self.trajectory.read(&last).await?.remove(0);
        state.truncate(self.inner.weights());
        Ok(state)
    }
}
