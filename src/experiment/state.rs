//! What a run remembers.

use serde::{Deserialize, Serialize};

use super::config::{Budget, TuneConfig};
use super::leader::Leader;
use super::record::{Ending, Evaluation};
use crate::bilevel::hyperparameters::Hyperparameters;

/// All that a run remembers between outer iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunerState {
    /// Outer iterations done.
    pub iteration: u32,
    /// What they cost, in trainings.
    pub spent: f64,
    /// What a point costs that is trained at: 1, or as many as there are folds.
    #[serde(default = "one")]
    pub training: f64,
    /// What a hypergradient costs beside a training of the same people.
    pub price: f64,
    /// Hypergradients taken.
    pub hypergradients: u32,
    /// How many of these were past the edge of stability.
    pub past_edge: u32,
    /// The point that the next iteration trains with.
    pub next: Hyperparameters,
    /// The outer optimiser with its memory.
    pub leader: Leader,
    /// The best iteration so far, if one did not diverge.
    pub best: Option<Best>,
    /// What had been spent, and the loss that iterations are chosen by, when this was last notably lower.
    pub gained: Option<(f64, f64)>,
    /// Iterations in a row that diverged, or whose points could not be moved.
    pub diverged: u32,
    /// The network trained with the start values.
    pub start: Option<Evaluation>,
    /// Wall time of all iterations.
    pub seconds: f64,
    /// Kernels launched in all iterations.
    pub dispatches: u64,
    /// Most bytes on the device at once, in all iterations.
    pub peak_bytes: u64,
}

fn one() -> f64 {
    1.0
}

impl TunerState {
    /// What the next iteration will cost, in trainings.
    pub fn next_cost(&self) -> f64 {
        self.training * if self.leader.differentiates() { self.price } else { 1.0 }
    }

    /// How a run with these settings has ended that has come to this state; nothing if iterations are left.
    pub fn ending(&self, config: &TuneConfig) -> Option<Ending> {
        if self.diverged >= MOST_DIVERGED {
            return Some(Ending::Diverged);
        }
        let spent = match config.budget {
            // The first is always made.
            Budget::Trainings(all) => self.iteration > 0 && self.spent + self.next_cost() > f64::from(all),
            Budget::Seconds(all) => self.seconds >= all,
        };
        let outer = config.outer.is_some_and(|outer| self.iteration >= outer);
        let ending = if self.best.is_some() { Ending::Finished } else { Ending::Diverged };
        (spent || outer || self.has_settled(config)).then_some(ending)
    }

    /// Whether the patience of the settings is at its end.
    pub fn has_settled(&self, config: &TuneConfig) -> bool {
        let since = self.gained.map_or(0.0, |(spent, _)| spent);
        config.patience > 0 && self.gained.is_some() && self.spent - since >= f64::from(config.patience)
    }

    /// How much of the run is behind it, from 0 to 1, if `part` of the next iteration is: by what there is less of,
    /// budget or iterations.
    pub fn share(&self, config: &TuneConfig, part: f64) -> f64 {
        let of_budget = match config.budget {
            Budget::Trainings(all) => (self.spent + part * self.next_cost()) / f64::from(all),
            Budget::Seconds(all) => self.seconds / all,
        };
        let of_outer = config.outer.map_or(0.0, |outer| (f64::from(self.iteration) + part) / f64::from(outer));
        of_budget.max(of_outer).min(1.0)
    }

    /// Takes note of a point's outer loss, NaN where the training diverged, and of the loss that iterations are chosen by
    /// where that is another, after what led to it was spent and the outer
    /// optimiser has moved on.
    pub(super) fn note(&mut self, point: &Hyperparameters, outer_loss: f64, selection_loss: Option<f64>) {
        if !outer_loss.is_finite() {
            // A point that stays where it was would diverge again.
            self.diverged = if self.next == *point { MOST_DIVERGED } else { self.diverged + 1 };
            return;
        }
        self.diverged = 0;
        let loss = selection_loss.unwrap_or(outer_loss);
        if self.best.as_ref().is_none_or(|best| loss < best.loss()) {
            let hyperparameters = point.clone();
            self.best = Some(Best { iteration: self.iteration, outer_loss, selection_loss, hyperparameters });
        }
        let notable = |(_, before): &(f64, f64)| loss < before - NOTABLE * before.abs();
        if self.gained.as_ref().is_none_or(notable) {
            self.gained = Some((self.spent, loss));
        }
    }
}

/// The hyperparameters with the lowest outer loss, or the lowest loss on the people who choose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The outer iteration, from 1.
    pub iteration: u32,
    /// Its outer loss.
    pub outer_loss: f64,
    /// Its loss on the people who choose the iteration, where there are some.
    #[serde(default)]
    pub selection_loss: Option<f64>,
    /// The point that it trained with.
    pub hyperparameters: Hyperparameters,
}

impl Best {
    /// What no other has been below.
    fn loss(&self) -> f64 {
        self.selection_loss.unwrap_or(self.outer_loss)
    }
}

/// After this many divergences in a row a run gives up.
const MOST_DIVERGED: u32 = 12;

/// A loss is notably lower by this share.
const NOTABLE: f64 = 0.01;
