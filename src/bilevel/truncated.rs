//! Truncated reverse mode (Shaban et al. 2019; algorithms.md A.6): only the last K steps are
//! differentiated, as if the state before them were given. Where those steps contract by ρ, the error
//! falls like ρᴷ.

use async_trait::async_trait;

use super::checkpoint::Plan;
use super::method::Room;
use super::{
    Array, Coordinate, Directions, Estimate, Function, Host, Memory, Method, Problem, Refusal, Runner, SolveError,
    reverse,
};
use crate::engine::several;

/// Reverse mode through the last steps alone; with all of them, it is reverse mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// Steps K that are differentiated; more than the problem has are all.
    pub last: usize,
    pub memory: Memory,
}

impl Truncated {
    fn last(&self, problem: &Problem) -> usize {
        self.last.clamp(1, problem.steps)
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

    fn refusal(&self, problem: &Problem, along: &Directions) -> Option<Refusal> {
        let (last, layers) = (self.last(problem), problem.model.parameter_layers());
        if last == problem.steps {
            return None;
        }
        if along.move_initial() {
            return self
                .refuse("initial weights", format!("they act before the last {} alone", several(last as u64, "step")));
        }
        let rates = problem.layout().log_lr;
        let before = rates.start..rates.start + (problem.steps - last) * layers;
        let unseen = |&(at, _): &(Coordinate, f64)| matches!(at, Coordinate::Lambda(i) if before.contains(&i));
        let lost = |k| !along.entries(k).is_empty() && along.entries(k).iter().all(unseen);
        if (0..along.len()).any(lost) {
            return self.refuse(
                "learning rates of early steps",
                format!("only the last {last} of {} are differentiated", several(problem.steps as u64, "step")),
            );
        }
        None
    }

    fn functions(&self, problem: &Problem) -> Vec<Function> {
        vec![problem.step_adjoint()]
    }

    fn arrays(&self, problem: &Problem) -> Vec<Array> {
        reverse::arrays(problem)
    }

    fn plan(&self, problem: &Problem, room: Room) -> Result<Plan, SolveError> {
        reverse::plan(self.memory, problem.steps, self.last(problem), room)
    }

    async fn estimate(
        &mut self,
        runner: &mut Runner<'_>,
        lambda: &[f64],
        along: &Directions,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        reverse::sweep(runner, lambda, along, host).await
    }
}
