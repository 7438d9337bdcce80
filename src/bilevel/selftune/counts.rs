//! How much a session is given, and how.

use super::keyed::epoch;
use super::step::Tuning;
use crate::bilevel::SolveError;

/// How much there is of what a session is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Training examples.
    pub training: usize,
    /// Validation examples.
    pub validation: usize,
    /// Test examples; 0 where there are none.
    pub test: usize,
    /// Training examples in a batch.
    pub batch: usize,
    /// Validation examples in a batch.
    pub validation_batch: usize,
    /// Shape of the draw of each augmentation, the batch first.
    pub draws: Vec<Vec<usize>>,
    /// Where examples are bytes, of how many channels.
    pub bytes: Option<usize>,
    /// Where rows and draws come from.
    pub supply: Supply,
}

/// Where the rows of batches and the draws of a step come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply {
    /// They are filled in before each step.
    Given,
    /// They are functions of (seed, purpose, step, index), and nothing is written or read between steps.
    Keyed {
        /// Tuning steps that are recorded, from the first on.
        records: usize,
    },
}

impl Counts {
    /// Training steps in an epoch.
    pub fn epoch(&self) -> usize {
        epoch(self.training, self.batch)
    }

    pub(super) fn check(&self, tuning: &Tuning) -> Result<(), SolveError> {
        let (given, wanted) = (self.draws.len(), tuning.network.augmentations.len());
        if given != wanted {
            return Err(SolveError::Length { what: "shapes of draws, one an augmentation".to_owned(), given, wanted });
        }
        let counts = [
            ("training examples", self.training),
            ("validation examples", self.validation),
            ("training examples in a batch", self.batch),
            ("validation examples in a batch", self.validation_batch),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((what, _)) => Err(SolveError::Problem(format!("there are no {what}; give at least 1"))),
            None => Ok(()),
        }
    }
}
