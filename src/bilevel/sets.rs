//! The data of a problem, on their way to an engine.

use super::{ParameterMap, Problem, Runner, SolveError};
use crate::engine::Values;
use crate::rng::split_seed;

/// Targets of a set.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    Labels(Vec<u32>),
    Values(Vec<f32>),
}

/// Examples with their targets, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    pub x: Vec<f32>,
    pub targets: Targets,
    pub count: usize,
}

/// What a session needs besides the problem.
#[derive(Clone, Debug)]
pub struct SessionData {
    pub train: Set,
    /// The set of the outer loss.
    pub validation: Set,
    /// Initial weights.
    pub initial: Vec<f32>,
    /// Key of batches and masks where these are keyed.
    pub seed: u64,
    /// Rows of the batches `[steps, batch]` where these come from a table.
    pub batches: Vec<u32>,
    /// Dropout masks `[steps, …]` where these come from a table.
    pub masks: Vec<f32>,
}

impl SessionData {
    /// Sets, initial weights and the key of whatever is drawn.
    pub fn new(train: Set, validation: Set, initial: Vec<f32>, seed: u64) -> Self {
        SessionData { train, validation, initial, seed, batches: vec![], masks: vec![] }
    }
}

/// Losses and counts over a whole set.
#[derive(Clone, Debug, PartialEq)]
pub struct SetEvaluation {
    /// Mean loss.
    pub loss: f64,
    /// Examples by `[true class · classes + predicted class]`; empty where they have no labels.
    pub confusion: Vec<u32>,
    /// Classes; none where examples have no labels.
    pub classes: usize,
}

impl SetEvaluation {
    /// Share of examples whose class is predicted; not a number where they have none.
    pub fn accuracy(&self) -> f64 {
        let right: u32 = (0..self.classes).map(|c| self.confusion[c * self.classes + c]).sum();
        f64::from(right) / f64::from(self.confusion.iter().sum::<u32>())
    }
}

/// Writes the data into the arrays that a problem declares for them.
pub(super) fn write(runner: &mut Runner, problem: &Problem, data: &SessionData) -> Result<(), SolveError> {
    let example: usize = problem.model.input().iter().product();
    let outputs: usize = problem.model.output().iter().product();
    for (name, set) in [("train", &data.train), ("validation", &data.validation)] {
        let (x, y) = (format!("{name}_x"), format!("{name}_y"));
        let count = if name == "train" { problem.train } else { set.count };
        runner.write_exactly(&x, count * example, Values::F32(&set.x))?;
        match &set.targets {
            Targets::Labels(labels) => runner.write_exactly(&y, count, Values::U32(labels))?,
            Targets::Values(values) => runner.write_exactly(&y, count * outputs, Values::F32(values))?,
        }
    }
    for (name, values) in ParameterMap::INPUTS.into_iter().zip(ParameterMap::values(&problem.model)) {
        runner.write(name, Values::U32(&values))?;
    }
    if runner.holds("batches") {
        runner.write_exactly("batches", problem.steps * problem.batch, Values::U32(&data.batches))?;
    }
    if runner.holds("masks") {
        let mask: usize = problem.model.dropout().map_or(0, |(shape, _)| shape.iter().product());
        runner.write_exactly("masks", problem.steps * problem.batch * mask, Values::F32(&data.masks))?;
    }
    if runner.holds("seed") {
        runner.write("seed", Values::U32(&split_seed(data.seed)))?;
    }
    let initial = runner.initial_state();
    runner.write_array("initial weights", initial, problem.model.parameter_count(), Values::F32(&data.initial))
}
