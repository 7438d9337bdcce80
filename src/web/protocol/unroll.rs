//! A hypergradient as it is taken, step by step.

use serde::Serialize;
use tsify::Tsify;

/// What is told of it, in this order.
#[derive(Debug, Serialize, Tsify)]
#[serde(tag = "part", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Unroll {
    /// What will be run.
    Plan {
        /// Training steps T.
        steps: u32,
        /// States held at a time.
        places: u32,
        /// Bytes on the device in all.
        bytes: f64,
        /// Actions in all: steps, the outer loss, steps run again, adjoints.
        actions: u32,
        /// Where the way there and back turns: actions before, and steps before the state there, in turns.
        turns: Vec<u32>,
        /// States that are kept: the steps before each, the action that writes it and the one that uses it last, in turns.
        kept: Vec<u32>,
    },
    /// So many actions are done.
    Progress {
        /// Of all.
        done: u32,
    },
    /// The training is over.
    Turned {
        /// The outer loss.
        loss: f64,
        /// Training loss of each step.
        losses: Vec<f32>,
    },
    /// The way back has come to a step.
    Back {
        /// That step, from 0.
        from: u32,
        /// dE/dη_t of the steps from there on that were not told before.
        slopes: Vec<f64>,
    },
    /// All is told.
    Done {
        /// Seconds it took.
        seconds: f64,
    },
    /// It ended early.
    Failed {
        /// Why; none if it gave way to a run.
        message: Option<String>,
    },
}
