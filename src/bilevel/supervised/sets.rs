//! The data of a problem, on their way to an engine.

use super::problem::{Problem, Source};
use super::{ParameterMap, kept};
use crate::bilevel::{Inner, Session, SolveError};
use crate::data::{Dataset, Examples, Targets};
use crate::engine::Values;
use crate::ir::numel;
use crate::nn::Model;
use crate::rng::split_seed;

/// Examples with their targets, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// Examples `[count, …]`, each of the shape of the model's input.
    pub x: Examples,
    /// What the outputs are held to.
    pub targets: Targets,
    /// Number of examples.
    pub count: usize,
}

impl Set {
    /// Whether a problem can take its examples; errors call them by `name`.
    pub(super) fn check(&self, problem: &Problem, name: &str) -> Result<(), SolveError> {
        let wrong = |what: String| Err(SolveError::Data { set: name.to_owned(), what });
        let labelled = problem.loss.takes_labels();
        if labelled != matches!(self.targets, Targets::Labels(_)) {
            let [wanted, given] = if labelled { ["labels", "values"] } else { ["values", "labels"] };
            return Err(SolveError::Targets { wanted, given });
        }
        if self.count == 0 {
            return wrong("there are none".to_owned());
        }
        let length = |part: &str, given: usize, each: usize| match self.count.saturating_mul(each) {
            wanted if wanted == given => Ok(()),
            wanted => Err(SolveError::Length { what: format!("{name}_{part}"), given, wanted }),
        };
        let [example, outputs] = [problem.model.input(), problem.model.output()].map(numel);
        length("x", self.x.len(), example)?;
        match (&self.x, &problem.bytes) {
            (Examples::Floats(values), None) => {
                if let Some((at, what)) = not_finite(values) {
                    return wrong(format!("value {} of example {} is {what}", at % example, at / example));
                }
            }
            (Examples::Bytes { scale, .. }, Some(of_problem)) if scale == of_problem => {}
            (given, wanted) => {
                let kind = |is_bytes: bool| if is_bytes { "bytes" } else { "numbers" };
                let [given, wanted] = [kind(given.scale().is_some()), kind(wanted.is_some())];
                return wrong(format!(
                    "its examples are {given}, and the problem's are {wanted}; `Problem::bytes` is the scale of the \
                     training set, and all sets have the same"
                ));
            }
        }
        match &self.targets {
            Targets::Labels(labels) => {
                length("y", labels.len(), 1)?;
                let classes = outputs as u32;
                let beyond = labels.iter().position(|&label| problem.loss.has_classes() && label >= classes);
                if let Some(at) = beyond {
                    let label = labels[at];
                    return wrong(format!("example {at} has the label {label}, and the model has {classes} classes"));
                }
            }
            Targets::Values(values) => {
                length("y", values.len(), outputs)?;
                if let Some((at, what)) = not_finite(values) {
                    return wrong(format!("target {} of example {} is {what}", at % outputs, at / outputs));
                }
            }
        }
        Ok(())
    }
}

/// The examples as they are kept: bytes stay bytes.
impl From<&Dataset> for Set {
    fn from(data: &Dataset) -> Self {
        Set { x: data.examples().clone(), targets: data.targets().clone(), count: data.len() }
    }
}

/// The first value that is no finite number, and what it is.
fn not_finite(values: &[f32]) -> Option<(usize, f32)> {
    values.iter().copied().enumerate().find(|(_, value)| !value.is_finite())
}

/// What a session needs besides the problem.
#[derive(Clone, Debug)]
pub struct SessionData {
    /// The set of the inner loss.
    pub train: Set,
    /// The set of the outer loss.
    pub validation: Set,
    /// Initial weights.
    pub initial: Vec<f32>,
    /// Key of batches and masks where these are keyed.
    pub seed: u64,
    /// Rows of the batches `[steps, batch]` where these come from a table.
    pub batches: Vec<u32>,
    /// Dropout masks `[steps, …]` where these come from a table: in each row those of each dropout layer, one after
    /// another.
    pub masks: Vec<f32>,
}

impl SessionData {
    /// Whether a problem can be trained with them.
    pub fn check(&self, problem: &Problem) -> Result<(), SolveError> {
        if self.train.count != problem.train {
            let (given, wanted) = (self.train.count, problem.train);
            return Err(SolveError::Length { what: "training examples".to_owned(), given, wanted });
        }
        self.train.check(problem, "train")?;
        self.validation.check(problem, "validation")?;
        check_weights("initial weights", &self.initial, &problem.model)?;
        if problem.batches == Source::Table
            && let Some(at) = self.batches.iter().position(|&row| row as usize >= problem.train)
        {
            let (step, row) = (at / problem.batch, self.batches[at]);
            let what = format!("step {step} takes example {row}, and there are {}, counted from 0", problem.train);
            return Err(SolveError::Data { set: "batches".to_owned(), what });
        }
        if let Some((at, what)) = not_finite(&self.masks) {
            return Err(SolveError::Data { set: "masks".to_owned(), what: format!("value {at} is {what}") });
        }
        Ok(())
    }

    /// Sets, initial weights and the key of whatever is drawn.
    pub fn new(train: Set, validation: Set, initial: Vec<f32>, seed: u64) -> Self {
        SessionData { train, validation, initial, seed, batches: vec![], masks: vec![] }
    }
}

/// Whether there are as many weights as a model has, and numbers.
pub(super) fn check_weights(name: &str, weights: &[f32], model: &Model) -> Result<(), SolveError> {
    check_length(name, weights, model.parameter_count())
}

/// Whether there are as many numbers as there are to be, and numbers.
pub(super) fn check_length(name: &str, weights: &[f32], wanted: usize) -> Result<(), SolveError> {
    let given = weights.len();
    if given != wanted {
        return Err(SolveError::Length { what: name.to_owned(), given, wanted });
    }
    match not_finite(weights) {
        Some((at, what)) => Err(SolveError::Data { set: name.to_owned(), what: format!("weight {at} is {what}") }),
        None => Ok(()),
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

impl SessionData {
    /// Writes the data, which fit, into the arrays that a problem declares for them: in a session of it, or of an inner
    /// problem that is built around it.
    pub fn fill<P: Inner + 'static>(&self, problem: &Problem, session: &mut Session<P>) -> Result<(), SolveError> {
        for (name, set) in [("train", &self.train), ("validation", &self.validation)] {
            match &set.x {
                Examples::Floats(values) => session.fill(&format!("{name}_x"), Values::F32(values))?,
                Examples::Bytes { bytes, .. } => {
                    let words = kept::packed(bytes, bytes.len() / set.count);
                    session.fill(&format!("{name}_x"), Values::U32(&words))?;
                }
            }
            let targets = match &set.targets {
                Targets::Labels(labels) => Values::U32(labels),
                Targets::Values(values) => Values::F32(values),
            };
            session.fill(&format!("{name}_y"), targets)?;
        }
        if let Some(scale) = &problem.bytes {
            let scale = kept::scale_array(scale);
            session.fill(kept::SCALE, Values::F32(&scale))?;
        }
        for (name, values) in ParameterMap::INPUTS.into_iter().zip(ParameterMap::values(&problem.model)) {
            session.fill(name, Values::U32(&values))?;
        }
        if problem.batches == Source::Table {
            session.fill("batches", Values::U32(&self.batches))?;
        }
        if problem.masked() == Some(Source::Table) {
            session.fill("masks", Values::F32(&self.masks))?;
        }
        if problem.takes_seed() {
            session.fill("seed", Values::U32(&split_seed(self.seed)))?;
        }
        session.fill("given", Values::F32(&self.initial))
    }
}
