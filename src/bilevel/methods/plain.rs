//! No hypergradient at all.

use async_trait::async_trait;

use crate::bilevel::inner::Inner;
use crate::bilevel::{Directions, Estimate, Method, Refusal, SolveError, Trajectory};
use crate::rig::{Array, Function, Monitor};

/// For trainings that are only run and scored: nothing but the training step is compiled, and two states are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plain;

#[async_trait(?Send)]
impl Method for Plain {
    fn name(&self) -> &'static str {
        "a plain training"
    }

    fn refusal(&self, _inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
        (!along.is_empty()).then(|| Refusal {
            method: self.name(),
            what: "any hyperparameter",
            reason: "it is only trained".to_owned(),
            instead: "reverse mode",
        })
    }

    fn functions(&self, _inner: &dyn Inner) -> Vec<Function> {
        vec![]
    }

    fn arrays(&self, _inner: &dyn Inner) -> Vec<Array> {
        vec![]
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        _along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        trajectory.train_only(lambda, monitor).await
    }

    fn takes_members(&self) -> bool {
        true
    }

    async fn estimate_each(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        _along: &[&Directions],
        monitor: &mut dyn Monitor,
    ) -> Result<Vec<Estimate>, SolveError> {
        trajectory.train_only_each(lambda, monitor).await
    }
}
