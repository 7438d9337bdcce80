//! What every hypergradient has in common.

use async_trait::async_trait;

use super::checkpoint::Plan;
use super::inner::Inner;
use super::methods::Reverse;
use super::{Directions, Refusal, SolveError, Trajectory};
use crate::rig::{Array, Function, Monitor};

/// How much memory the training states may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Bytes on the device in all.
    Budget(u64),
    /// Checkpoints of Revolve, the initial state included.
    Slots(usize),
    /// Every state is kept.
    StoreAll,
}

/// Bytes that a plan of training states has to reckon with.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Everything on the device but the training states.
    pub fixed: u64,
    /// One training state with its step counter.
    pub state: u64,
}

impl Room {
    /// States that fit into so many bytes.
    pub fn places(&self, budget: u64) -> usize {
        (budget.saturating_sub(self.fixed) / self.state) as usize
    }

    /// The error that says what it takes to differentiate the last of some steps.
    pub fn too_small(&self, budget: u64, steps: usize, last: usize) -> SolveError {
        SolveError::Budget { budget, fixed: self.fixed, state: self.state, steps, last }
    }
}

/// What a sweep over the training run gives, whatever the method.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Mean loss over the validation set at the final weights.
    pub outer_loss: f64,
    /// Training loss of each step, before its update.
    pub inner_losses: Vec<f64>,
    /// The first training step whose result was not finite; then there is no gradient.
    pub bad_step: Option<usize>,
    /// Derivative of the outer loss along each direction that was asked for.
    pub hypergradient: Vec<f64>,
    /// Its share that does not pass through the training, ∂E/∂λ, where the outer loss sees λ.
    pub direct: Option<Vec<f64>>,
    /// ‖residual‖ over ‖right-hand side‖ where a linear system was solved.
    pub residual: Option<f64>,
    /// ‖∇_w L‖ over all training examples at the final weights, where the method takes these for a stationary point:
    /// the further from 0, the less the derivative is one of the training's outcome.
    pub inner_gradient: Option<f64>,
    /// What was run for it.
    pub counts: Counts,
    /// The most bytes that the engine has held so far.
    pub peak_bytes: u64,
}

impl Estimate {
    /// Whether there is nothing to differentiate.
    pub fn diverged(&self) -> bool {
        self.bad_step.is_some() || !self.outer_loss.is_finite()
    }
}

/// Runs of the programs that differ in cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Training steps.
    pub steps: u64,
    /// Adjoints of training steps.
    pub adjoints: u64,
    /// Tangents of training steps.
    pub tangents: u64,
    /// Products with the Hessian of the inner loss, over the whole training set each.
    pub products: u64,
}

/// A way to a hypergradient: an object beside the problem. It says what it needs before there is a
/// device, and runs on one.
#[async_trait(?Send)]
pub trait Method {
    /// Its name in messages and records.
    fn name(&self) -> &'static str;

    /// Why it cannot see one of the directions, and who can.
    fn refusal(&self, inner: &dyn Inner, along: &Directions) -> Option<Refusal>;

    /// The programs it needs besides the training step and the outer gradient.
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
        Counts { steps: plan.steps_run(), adjoints: plan.adjoints_run(), ..Counts::default() }
    }

    /// How exactly the next estimates are to be solved, where the method solves anything to a tolerance.
    fn set_tolerance(&mut self, _tolerance: f64) {}

    /// Trains with these hyperparameters and differentiates the outer loss along the directions, as it depends on them
    /// through the training; the session adds what it sees of them directly.
    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError>;
}

impl<M: Method + 'static> From<M> for Box<dyn Method> {
    fn from(method: M) -> Self {
        Box::new(method)
    }
}

/// A memory limit alone means reverse mode.
impl From<Memory> for Box<dyn Method> {
    fn from(memory: Memory) -> Self {
        Box::new(Reverse { memory })
    }
}
