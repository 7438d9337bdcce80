//! What a hypergradient is taken in: directions in the space of the hyperparameter vector.
//!
//! The variables u that somebody tunes move the vector, λ = a(u). Each is one column of that map's Jacobian: a method
//! that goes backwards multiplies its cotangent with the columns, one that goes forwards starts from them.

use std::ops::Range;

use super::inner::{Acting, Inner, Through};
use super::{Problem, SolveError};

/// A list of directions, each with few entries.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    /// Length of the hyperparameter vector.
    lambda: usize,
    /// Where each direction's entries end.
    ends: Vec<usize>,
    /// Places in the vector, with factors.
    entries: Vec<(usize, f64)>,
}

impl Directions {
    /// No direction yet.
    pub fn new(inner: &dyn Inner) -> Self {
        Directions { lambda: inner.lambda_len(), ends: vec![], entries: vec![] }
    }

    /// Every entry of the hyperparameter vector by itself.
    pub fn arrays(inner: &dyn Inner) -> Self {
        Self::new(inner).each(0..inner.lambda_len())
    }

    /// Adds a direction.
    pub fn push(&mut self, entries: impl IntoIterator<Item = (usize, f64)>) {
        self.entries.extend(entries);
        self.ends.push(self.entries.len());
    }

    /// Adds a direction for each entry of a range of the hyperparameter vector.
    pub fn each(mut self, range: Range<usize>) -> Self {
        range.for_each(|i| self.push([(i, 1.0)]));
        self
    }

    /// Adds one direction that moves a range of the hyperparameter vector together.
    pub fn shared(mut self, range: Range<usize>) -> Self {
        self.push(range.map(|i| (i, 1.0)));
        self
    }

    /// Adds a log learning rate for each layer, the same at all steps.
    pub fn log_lr_layers(mut self, problem: &Problem) -> Self {
        let (table, layers) = (problem.layout().log_lr, problem.model.parameter_layers());
        for layer in 0..layers {
            self.push(table.clone().skip(layer).step_by(layers).map(|i| (i, 1.0)));
        }
        self
    }

    /// Adds a log learning rate for each step, the same in all layers: a schedule.
    pub fn log_lr_steps(self, problem: &Problem) -> Self {
        let (table, layers) = (problem.layout().log_lr, problem.model.parameter_layers());
        table.step_by(layers).fold(self, |directions, row| directions.shared(row..row + layers))
    }

    /// Number of directions.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The entries of one direction: places in the hyperparameter vector, with factors.
    pub fn entries(&self, direction: usize) -> &[(usize, f64)] {
        let start = direction.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.entries[start..self.ends[direction]]
    }

    /// Whether some direction moves an entry of a range of the hyperparameter vector.
    pub fn moves(&self, range: &Range<usize>) -> bool {
        self.entries.iter().any(|(at, _)| range.contains(at))
    }

    /// The first part of the hyperparameter vector that acts in one of these ways and that some direction moves.
    pub fn moved(&self, inner: &dyn Inner, ways: &[Through]) -> Option<Acting> {
        inner.lambda().into_iter().find(|part| ways.contains(&part.through) && self.moves(&part.range))
    }

    /// The derivative along each direction, from those in the hyperparameter vector.
    pub fn pull_back(&self, lambda: &[f64]) -> Vec<f64> {
        (0..self.len()).map(|k| self.entries(k).iter().map(|&(at, factor)| factor * lambda[at]).sum()).collect()
    }

    /// Adds a direction to a full vector: a tangent of the hyperparameters.
    pub fn write(&self, direction: usize, lambda: &mut [f64]) {
        self.entries(direction).iter().for_each(|&(at, factor)| lambda[at] += factor);
    }

    /// Whether they were made for a hyperparameter vector of this length.
    pub(super) fn check(&self, inner: &dyn Inner) -> Result<(), SolveError> {
        let wanted = inner.lambda_len();
        let what = match self.entries.iter().find(|(at, _)| *at >= self.lambda) {
            _ if self.lambda != wanted => {
                format!("they were made for {} hyperparameters, and this problem has {wanted}", self.lambda)
            }
            Some((at, _)) => format!("one moves hyperparameter {at} of {wanted}, counted from 0"),
            None => return Ok(()),
        };
        Err(SolveError::Data { set: "directions".to_owned(), what })
    }
}
