//! What a hypergradient is taken in: directions in the space of the hyperparameter vector and the
//! initial weights.
//!
//! The variables u that somebody tunes move the general arrays, λ = a(u), and perhaps the initial
//! weights. Each is one column of that map's Jacobian: a method that goes backwards multiplies its
//! cotangent with the columns, one that goes forwards starts from them.

use std::ops::Range;

use super::{Problem, SolveError};

/// Something that a direction may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinate {
    /// An entry of the hyperparameter vector (see [`Layout`](super::Layout)).
    Lambda(usize),
    /// An initial weight.
    Initial(usize),
}

/// A list of directions, each with few entries.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    lambda: usize,
    weights: usize,
    /// Where each direction's entries end.
    ends: Vec<usize>,
    /// The first entry that the problem does not have.
    beyond: Option<Coordinate>,
    entries: Vec<(Coordinate, f64)>,
}

impl Directions {
    /// No direction yet.
    pub fn new(problem: &Problem) -> Self {
        let (lambda, weights) = (problem.layout().len(), problem.model.parameter_count());
        Directions { lambda, weights, ends: vec![], beyond: None, entries: vec![] }
    }

    /// Every entry of the hyperparameter vector by itself.
    pub fn arrays(problem: &Problem) -> Self {
        Self::new(problem).each(0..problem.layout().len())
    }

    /// Adds a direction.
    pub fn push(&mut self, entries: impl IntoIterator<Item = (Coordinate, f64)>) {
        let first = self.entries.len();
        self.entries.extend(entries);
        let lacks = |at: &Coordinate| match *at {
            Coordinate::Lambda(i) => i >= self.lambda,
            Coordinate::Initial(i) => i >= self.weights,
        };
        self.beyond = self.beyond.or_else(|| self.entries[first..].iter().map(|(at, _)| *at).find(lacks));
        self.ends.push(self.entries.len());
    }

    /// Adds a direction for each entry of a range of the hyperparameter vector.
    pub fn each(mut self, range: Range<usize>) -> Self {
        range.for_each(|i| self.push([(Coordinate::Lambda(i), 1.0)]));
        self
    }

    /// Adds one direction that moves a range of the hyperparameter vector together.
    pub fn shared(mut self, range: Range<usize>) -> Self {
        self.push(range.map(|i| (Coordinate::Lambda(i), 1.0)));
        self
    }

    /// Adds a log learning rate for each layer, the same at all steps.
    pub fn log_lr_layers(mut self, problem: &Problem) -> Self {
        let (table, layers) = (problem.layout().log_lr, problem.model.parameter_layers());
        for layer in 0..layers {
            self.push(table.clone().skip(layer).step_by(layers).map(|i| (Coordinate::Lambda(i), 1.0)));
        }
        self
    }

    /// Adds a log learning rate for each step, the same in all layers: a schedule.
    pub fn log_lr_steps(self, problem: &Problem) -> Self {
        let (table, layers) = (problem.layout().log_lr, problem.model.parameter_layers());
        table.step_by(layers).fold(self, |directions, row| directions.shared(row..row + layers))
    }

    /// Adds a direction for each initial weight.
    pub fn initial_weights(mut self) -> Self {
        (0..self.weights).for_each(|i| self.push([(Coordinate::Initial(i), 1.0)]));
        self
    }

    /// Adds the logarithm σ of the scale of the initial weights w₀ = e^σ ξ, times a factor.
    pub fn initial_scale(mut self, initial: &[f32], factor: f64) -> Self {
        self.push(initial.iter().enumerate().map(|(i, &w)| (Coordinate::Initial(i), factor * f64::from(w))));
        self
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The entries of one direction.
    pub fn entries(&self, direction: usize) -> &[(Coordinate, f64)] {
        let start = direction.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.entries[start..self.ends[direction]]
    }

    /// Whether some direction moves an entry of a range of the hyperparameter vector.
    pub fn move_lambda(&self, range: Range<usize>) -> bool {
        self.entries.iter().any(|(at, _)| matches!(at, Coordinate::Lambda(i) if range.contains(i)))
    }

    /// Whether some direction moves initial weights.
    pub fn move_initial(&self) -> bool {
        self.entries.iter().any(|(at, _)| matches!(at, Coordinate::Initial(_)))
    }

    /// The derivative along each direction, from those in the hyperparameter vector and, where they
    /// are moved, the initial weights (a training state's cotangent begins with them).
    pub fn pull_back(&self, lambda: &[f64], initial: &[f64]) -> Vec<f64> {
        let term = |&(at, factor): &(Coordinate, f64)| match at {
            Coordinate::Lambda(i) => factor * lambda[i],
            Coordinate::Initial(i) => factor * initial[i],
        };
        (0..self.len()).map(|k| self.entries(k).iter().map(term).sum()).collect()
    }

    /// A direction as two full vectors: tangents of the hyperparameters and of a state that begins
    /// with the weights.
    pub(super) fn write(&self, direction: usize, lambda: &mut [f64], state: &mut [f64]) {
        for &(at, factor) in self.entries(direction) {
            match at {
                Coordinate::Lambda(i) => lambda[i] += factor,
                Coordinate::Initial(i) => state[i] += factor,
            }
        }
    }

    /// Whether they were made for a problem of this size.
    pub(super) fn check(&self, problem: &Problem) -> Result<(), SolveError> {
        let has = [problem.layout().len(), problem.model.parameter_count()];
        let what = match self.beyond {
            _ if [self.lambda, self.weights] != has => format!(
                "they were made for a problem of {} hyperparameters and {} weights, and this one has {} and {}",
                self.lambda, self.weights, has[0], has[1]
            ),
            Some(Coordinate::Lambda(i)) => format!("one moves hyperparameter {i} of {}, counted from 0", has[0]),
            Some(Coordinate::Initial(i)) => format!("one moves initial weight {i} of {}, counted from 0", has[1]),
            None => return Ok(()),
        };
        Err(SolveError::Data { set: "directions".to_owned(), what })
    }
}
