//! What every hypergradient has in common.

use async_trait::async_trait;

use super::checkpoint::Plan;
use super::inner::Inner;
use super::{Counts, Directions, Estimate, Refusal, SolveError, Trajectory};
use crate::rig::{Array, Function, Monitor};

/// How much memory training states, and what else is kept of steps, may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Bytes on the device in all: training states first, and what is left over for the residuals of the last steps.
    Budget(u64),
    /// Checkpoints of Revolve, the initial state included.
    Slots(usize),
    /// Every state is kept, and nothing else.
    StoreAll,
}

/// Bytes that a plan of training states has to reckon with.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Everything on the device but the training states.
    pub fixed: u64,
    /// One training state with its step counter.
    pub state: u64,
    /// The residuals of one training step; 0 where there is no adjoint that takes them.
    pub residuals: u64,
}

impl Room {
    /// States that fit into so many bytes.
    pub fn places(&self, budget: u64) -> usize {
        (budget.saturating_sub(self.fixed) / self.state) as usize
    }

    /// Steps whose residuals fit beside so many states.
    pub fn kept(&self, budget: u64, places: usize) -> usize {
        let states = (places as u64).saturating_mul(self.state);
        let left = budget.saturating_sub(self.fixed).saturating_sub(states);
        left.checked_div(self.residuals).unwrap_or(0) as usize
    }

    /// The error that says what it takes to differentiate the last of some steps.
    pub fn too_small(&self, budget: u64, steps: usize, last: usize) -> SolveError {
        SolveError::Budget { budget, fixed: self.fixed, state: self.state, steps, last }
    }
}

/// A way to a hypergradient: an object beside the problem. It says what it needs before there is a
/// device, and runs on one.
#[async_trait(?Send)]
pub trait Method {
    /// Its name in messages and records.
    fn name(&self) -> &'static str;

    /// Why it cannot see one of the directions, and who can.
    fn refusal(&self, inner: &dyn Inner, along: &Directions) -> Option<Refusal>;

    /// Whether it takes adjoints of training steps: their program is there then, and residuals of steps may be kept for
    /// them.
    fn takes_adjoints(&self) -> bool {
        false
    }

    /// The programs it needs besides the training step, its adjoint and the outer gradient.
    fn functions(&self, inner: &dyn Inner) -> Vec<Function>;

    /// The arrays it needs besides the problem's own.
    fn arrays(&self, inner: &dyn Inner) -> Vec<Array>;

    /// The training states it keeps.
    fn plan(&self, inner: &dyn Inner, _room: Room) -> Result<Plan, SolveError> {
        Ok(Plan::training(inner.steps()))
    }

    /// What an estimate along so many directions will run with the states of a plan, or at most where it
    /// ends at a tolerance.
    fn counts(&self, _inner: &dyn Inner, plan: &Plan, _directions: usize) -> Counts {
        let kept = plan.kept as u64;
        Counts { steps: plan.steps_run(), adjoints: plan.adjoints_run(), kept, ..Counts::default() }
    }

    /// How exactly the next estimates are to be solved, where the method solves anything to a tolerance.
    fn set_tolerance(&mut self, _tolerance: f64) {}

    /// Told when the training is set back to its beginning or to another state: what the method remembers of where it
    /// was does not hold any more.
    fn forget(&mut self) {}

    /// Whether it can differentiate all members of a population at once.
    fn takes_members(&self) -> bool {
        false
    }

    /// Trains with these hyperparameters and differentiates the outer loss along the directions, as it depends on them
    /// through the training; the session adds what it sees of them directly.
    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError>;

    /// The same for every member of a population at once, where the method [takes members](Self::takes_members): their
    /// hyperparameters follow one another, each has directions of its own, and one that diverges has an estimate without
    /// a derivative.
    async fn estimate_each(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &[&Directions],
        monitor: &mut dyn Monitor,
    ) -> Result<Vec<Estimate>, SolveError> {
        Ok(vec![self.estimate(trajectory, lambda, along[0], monitor).await?])
    }
}

impl<M: Method + 'static> From<M> for Box<dyn Method> {
    fn from(method: M) -> Self {
        Box::new(method)
    }
}
