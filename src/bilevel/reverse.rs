//! Reverse mode (Franceschi et al. 2017, algorithm 1; algorithms.md A.3): the whole training run is
//! differentiated backwards. Its time does not depend on the number of hyperparameters.

use async_trait::async_trait;

use super::checkpoint::Plan;
use super::method::Room;
use super::pacing::Progress;
use super::{Array, Directions, Estimate, Function, Host, Memory, Method, Problem, Refusal, Runner, SolveError};
use crate::engine::Values;
use crate::ir::DType;

/// Exact for all hyperparameters; keeps training states or, within a byte budget, computes them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reverse {
    pub memory: Memory,
}

#[async_trait(?Send)]
impl Method for Reverse {
    fn name(&self) -> &'static str {
        "reverse mode"
    }

    fn refusal(&self, _problem: &Problem, _along: &Directions) -> Option<Refusal> {
        None
    }

    fn functions(&self, problem: &Problem) -> Vec<Function> {
        vec![problem.step_adjoint()]
    }

    fn arrays(&self, problem: &Problem) -> Vec<Array> {
        arrays(problem)
    }

    fn plan(&self, problem: &Problem, room: Room) -> Result<Plan, SolveError> {
        plan(self.memory, problem.steps, problem.steps, room)
    }

    async fn estimate(
        &mut self,
        runner: &mut Runner<'_>,
        lambda: &[f64],
        along: &Directions,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        sweep(runner, lambda, along, host).await
    }
}

/// The arrays of a backward sweep, besides the outer gradient that it begins with.
pub(super) fn arrays(problem: &Problem) -> Vec<Array> {
    vec![
        Array::new("lambda_cotangent", DType::F32, problem.layout().len()),
        Array::new("cotangent", DType::F32, problem.state_len()),
    ]
}

/// The plan that differentiates the last steps of a training within a memory limit.
pub(super) fn plan(memory: Memory, steps: usize, last: usize, room: Room) -> Result<Plan, SolveError> {
    match memory {
        Memory::StoreAll => Ok(Plan::of_last(steps, last, usize::MAX).expect("any number of states may be kept")),
        Memory::Slots(slots) => Ok(Plan::revolve_last(steps, last, slots.clamp(1, last))),
        Memory::Budget(budget) => {
            Plan::of_last(steps, last, room.places(budget)).ok_or_else(|| room.too_small(budget, steps, last))
        }
    }
}

/// Runs the session's plan there and back.
pub(super) async fn sweep(
    runner: &mut Runner<'_>,
    lambda: &[f64],
    along: &Directions,
    host: &mut dyn Host,
) -> Result<Estimate, SolveError> {
    let (steps, total) = (runner.plan().steps, runner.plan().actions_run());
    let mut actions = runner.plan().actions();
    let mut estimate = runner.train(lambda, actions.by_ref().take(steps), total, host).await?;
    if estimate.diverged() {
        return Ok(estimate);
    }
    runner.write("lambda_cotangent", Values::F64(&vec![0.0; runner.problem().layout().len()]))?;
    // The outer loss has been taken.
    let way_back = actions.skip(1);
    let start = runner.run(way_back, Progress { done: steps as u64 + 1, total }, host).await?;
    let scalars = runner.problem().layout().scalars;
    let mut corrections = runner.corrections(lambda, runner.plan().steps - runner.plan().last);
    corrections.retain(|_| along.move_lambda(scalars.clone()));
    let mut reads = vec![runner.array("lambda_cotangent")];
    if along.move_initial() || !corrections.is_empty() {
        reads.push(start);
    }
    let mut values = runner.read(&reads).await?;
    let state = if reads.len() > 1 { values.remove(1) } else { vec![] };
    for correction in corrections {
        values[0][correction.at] += correction.derivative * state[correction.slot];
    }
    estimate.hypergradient = along.pull_back(&values[0], &state);
    Ok(runner.counted(estimate))
}
