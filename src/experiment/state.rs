//! What a run remembers.

use serde::{Deserialize, Serialize};

use super::config::TuneConfig;
use super::record::{Ending, Evaluation};
use crate::bilevel::hyperparameters::Hyperparameters;
use crate::bilevel::outer::OuterAdam;

/// All that a run remembers between outer iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunerState {
    /// Outer iterations done.
    pub iteration: u32,
    /// The point that the next iteration trains with.
    pub next: Hyperparameters,
    /// The outer optimiser's state.
    pub adam: OuterAdam,
    /// The best iteration so far, if one was accepted.
    pub best: Option<Best>,
    /// Iterations rejected since the last accepted one.
    pub rejections: u32,
    /// The network trained with the start values.
    pub start: Option<Evaluation>,
    /// Wall time of all iterations.
    pub seconds: f64,
    /// Kernels launched in all iterations.
    pub dispatches: u64,
    /// Most bytes on the device at once, in all iterations.
    pub peak_bytes: u64,
}

impl TunerState {
    /// How a run with these settings has ended that has come to this state; nothing if iterations are left.
    pub fn ending(&self, config: &TuneConfig) -> Option<Ending> {
        // Too many rejections, or one of the start values, to which there is no accepted point to go back.
        if self.rejections >= MOST_REJECTIONS || (self.rejections > 0 && self.best.is_none()) {
            return Some(Ending::Diverged);
        }
        let best = self.best.as_ref().map_or(self.iteration, |best| best.iteration);
        let settled = config.patience > 0 && self.iteration - best >= config.patience;
        (self.iteration >= config.outer || settled).then_some(Ending::Finished)
    }
}

/// The hyperparameters with the lowest outer loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The outer iteration, from 1.
    pub iteration: u32,
    /// Its outer loss, which no other has been below.
    pub outer_loss: f64,
    /// The point that it trained with.
    pub hyperparameters: Hyperparameters,
}

/// After this many rejections in a row the outer optimiser gives up.
const MOST_REJECTIONS: u32 = 12;
