//! The data of a problem, on their way to an engine.

use super::problem::Problem;
use crate::bilevel::SolveError;
use crate::data::{Dataset, Examples, Targets};
use crate::ir::numel;
use crate::nn::Model;

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
pub(super) fn not_finite(values: &[f32]) -> Option<(usize, f32)> {
    values.iter().copied().enumerate().find(|(_, value)| !value.is_finite())
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
