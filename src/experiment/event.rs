//! What happens during a run, for those who watch it.

use super::record::{Evaluation, OuterRecord, RunResult};
use super::state::TunerState;
use crate::bilevel::Flow;
use crate::engine::LocalFuture;

/// Result of an observer's call.
pub type Observed = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// What happens during a run.
pub enum Event<'a> {
    /// A part of an outer iteration is finished.
    Progress {
        /// The outer iteration, from 1.
        iteration: u32,
        /// Training and adjoint steps of the iteration that are finished.
        done: u64,
        /// Those of the whole iteration.
        total: u64,
    },
    /// Training loss of every step of the iteration.
    InnerLosses {
        /// The outer iteration, from 1.
        iteration: u32,
        /// One a step.
        losses: &'a [f64],
    },
    /// The network trained with the start values.
    Start(&'a Evaluation),
    /// An outer iteration is finished.
    Outer {
        /// What came of the iteration.
        record: &'a OuterRecord,
        /// What the run remembers: from this it goes on to the same bits.
        state: &'a TunerState,
        /// The run's outcome if it ended now.
        result: &'a RunResult,
        /// The trained network's, if its outer loss is the lowest so far.
        weights: Option<&'a [f32]>,
    },
}

/// Who watches a run.
pub trait Observer {
    /// Takes an event; an error ends the run.
    fn event(&mut self, event: Event) -> Observed;

    /// Called between segments of some 10 ms: gives others a turn, may pause.
    fn breathe(&mut self) -> LocalFuture<'_, Flow>;
}
