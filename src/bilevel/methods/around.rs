//! A method around another, which does something before and after the other's estimates and leaves the rest to it.

use async_trait::async_trait;

use crate::bilevel::checkpoint::Plan;
use crate::bilevel::inner::Inner;
use crate::bilevel::method::Room;
use crate::bilevel::{Counts, Directions, Estimate, Method, Refusal, SolveError, Trajectory};
use crate::rig::{Array, Function, Monitor};

/// What is done around the estimates of a method.
pub trait Change {
    /// What the two together are called; the method's own name where nothing is said.
    fn name(&self) -> Option<&'static str> {
        None
    }

    /// Why it cannot see one of the directions, though the method might.
    fn refusal(&self, _inner: &dyn Inner, _along: &Directions) -> Option<Refusal> {
        None
    }

    /// Before an estimate.
    fn before(&mut self, _trajectory: &mut Trajectory) -> Result<(), SolveError> {
        Ok(())
    }

    /// After it.
    fn after(&mut self, _estimate: &mut Estimate) {}

    /// As [`Method::forget`].
    fn forget(&mut self) {}
}

/// A method with something done around its estimates.
pub struct Around<C> {
    method: Box<dyn Method>,
    change: C,
}

impl<C: Change> Around<C> {
    /// That method, with this around it.
    pub fn with(method: impl Into<Box<dyn Method>>, change: C) -> Self {
        Around { method: method.into(), change }
    }
}

#[async_trait(?Send)]
impl<C: Change> Method for Around<C> {
    fn name(&self) -> &'static str {
        self.change.name().unwrap_or_else(|| self.method.name())
    }

    fn refusal(&self, inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
        self.change.refusal(inner, along).or_else(|| self.method.refusal(inner, along))
    }

    fn takes_adjoints(&self) -> bool {
        self.method.takes_adjoints()
    }

    fn functions(&self, inner: &dyn Inner) -> Vec<Function> {
        self.method.functions(inner)
    }

    fn arrays(&self, inner: &dyn Inner) -> Vec<Array> {
        self.method.arrays(inner)
    }

    fn plan(&self, inner: &dyn Inner, room: Room) -> Result<Plan, SolveError> {
        self.method.plan(inner, room)
    }

    fn counts(&self, inner: &dyn Inner, plan: &Plan, directions: usize) -> Counts {
        self.method.counts(inner, plan, directions)
    }

    fn set_tolerance(&mut self, tolerance: f64) {
        self.method.set_tolerance(tolerance);
    }

    fn forget(&mut self) {
        self.change.forget();
        self.method.forget();
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        self.change.before(trajectory)?;
        let mut estimate = self.method.estimate(trajectory, lambda, along, monitor).await?;
        self.change.after(&mut estimate);
        Ok(estimate)
    }
}
