//! Truncated reverse mode (Shaban et al. 2019; algorithms.md A.6): only the last K steps are
//! differentiated, as if the state before them were given. Where those steps contract by ρ, the error
//! falls like ρᴷ.

use async_trait::async_trait;

use super::reverse;
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::inner::{Inner, Through};
use crate::bilevel::method::Room;
use crate::bilevel::{Directions, Estimate, Memory, Method, Refusal, SolveError, Trajectory};
use crate::engine::several;
use crate::rig::{Array, Function, Monitor};

/// Reverse mode through the last steps alone; with all of them, it is reverse mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// Steps K that are differentiated; more than the problem has are all.
    pub last: usize,
    /// Which states of those steps are kept.
    pub memory: Memory,
}

impl Truncated {
    fn last(&self, inner: &dyn Inner) -> usize {
        self.last.clamp(1, inner.steps())
    }

    fn refuse(&self, what: &'static str, reason: String) -> Option<Refusal> {
        Some(Refusal { method: self.name(), what, reason, instead: "reverse mode" })
    }
}

#[async_trait(?Send)]
impl Method for Truncated {
    fn name(&self) -> &'static str {
        "truncated reverse mode"
    }

    fn refusal(&self, inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
        let (steps, last) = (inner.steps(), self.last(inner));
        if last == steps {
            return None;
        }
        if let Some(part) = along.moved(inner, &[Through::Start]) {
            let reason = format!("they act before the last {} alone", several(last as u64, "step"));
            return self.refuse(part.what, reason);
        }
        let of_steps = inner.lambda().into_iter().filter(|part| part.through == Through::Steps);
        let before = |range: std::ops::Range<usize>| range.start..range.end - range.len() / steps * last;
        let before: Vec<_> = of_steps.map(|part| before(part.range)).collect();
        let unseen = |&(at, _): &(usize, f64)| before.iter().any(|range| range.contains(&at));
        let lost = |k| !along.entries(k).is_empty() && along.entries(k).iter().all(unseen);
        if (0..along.len()).any(lost) {
            return self.refuse(
                "learning rates of early steps",
                format!("only the last {last} of {} are differentiated", several(steps as u64, "step")),
            );
        }
        None
    }

    fn takes_adjoints(&self) -> bool {
        true
    }

    fn functions(&self, inner: &dyn Inner) -> Vec<Function> {
        reverse::functions(inner)
    }

    fn arrays(&self, inner: &dyn Inner) -> Vec<Array> {
        reverse::arrays(inner)
    }

    fn plan(&self, inner: &dyn Inner, room: Room) -> Result<Plan, SolveError> {
        reverse::plan(self.memory, inner.steps(), self.last(inner), room)
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        Ok(reverse::sweep(trajectory, lambda, &[along], None, monitor).await?.remove(0))
    }

    fn takes_members(&self) -> bool {
        true
    }

    async fn estimate_each(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &[&Directions],
        monitor: &mut dyn Monitor,
    ) -> Result<Vec<Estimate>, SolveError> {
        reverse::sweep(trajectory, lambda, along, None, monitor).await
    }
}
