//! Hyperparameters under the names that records and summaries give them.

use super::record::Named;
use crate::bilevel::Problem;
use crate::bilevel::hyperparameters::{Group, Hyperparameters, Kind};

/// Constrained values by name; of those that are many, mean and extremes.
pub fn values(point: &Hyperparameters, problem: &Problem) -> Named {
    let mut named = Named::new();
    for group in &point.groups {
        let values: Vec<f64> = group.constrained().collect();
        match each(group, problem) {
            Some(names) => named.extend(names.into_iter().zip(values)),
            None => {
                let stem = stem(group.kind);
                named.insert(format!("{stem}.mean"), values.iter().sum::<f64>() / values.len() as f64);
                named.extend(values.iter().copied().reduce(f64::min).map(|least| (format!("{stem}.min"), least)));
                named.extend(values.iter().copied().reduce(f64::max).map(|most| (format!("{stem}.max"), most)));
            }
        }
    }
    named.retain(|_, value| value.is_finite());
    named
}

/// Derivatives in the tuned groups' unconstrained values by name; of those that are many, the length.
/// None where the training diverged.
pub fn derivatives(point: &Hyperparameters, problem: &Problem, hypergradient: &[f64]) -> Named {
    let mut named = Named::new();
    if hypergradient.is_empty() {
        return named;
    }
    for (group, values) in point.split(hypergradient) {
        match each(group, problem) {
            Some(names) => named.extend(names.into_iter().zip(values.iter().copied())),
            None => {
                let length = values.iter().map(|h| h * h).sum::<f64>().sqrt();
                named.insert(format!("{}.norm", stem(group.kind)), length);
            }
        }
    }
    named.retain(|_, value| value.is_finite());
    named
}

/// Whether a name is that of a kind's value or of one of its values.
pub fn is_of(kind: Kind, name: &str) -> bool {
    let rest = name.strip_prefix(stem(kind));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || (kind == Kind::Betas && rest.len() == 1))
}

/// A name for each value of a group, unless there are too many.
pub(super) fn each(group: &Group, problem: &Problem) -> Option<Vec<String>> {
    let stem = stem(group.kind);
    match group.kind {
        Kind::L2 => Some(problem.model.kernels().into_iter().map(|(_, layer)| format!("{stem}.{layer}")).collect()),
        Kind::LrLayers => {
            Some(problem.model.layer_names().into_iter().map(|layer| format!("{stem}.{layer}")).collect())
        }
        Kind::Betas => Some(vec!["beta1".to_owned(), "beta2".to_owned()]),
        Kind::LrSchedule | Kind::ExampleWeights | Kind::Regularizer | Kind::InitialWeights => None,
        _ => Some(vec![stem.to_owned()]),
    }
}

fn stem(kind: Kind) -> &'static str {
    match kind {
        Kind::Lr => "learning_rate",
        Kind::LrLayers => "lr_layers",
        Kind::LrSchedule => "lr_schedule",
        Kind::Momentum => "momentum",
        Kind::Betas => "beta",
        Kind::Epsilon => "epsilon",
        Kind::L2 => "l2",
        Kind::L2Global => "l2",
        Kind::Dropout => "dropout",
        Kind::Jitter => "jitter",
        Kind::Scaling => "scaling",
        Kind::ExampleWeights => "example_weights",
        Kind::Regularizer => "regularizer",
        Kind::InitialScale => "initial_scale",
        Kind::InitialWeights => "initial_weights",
    }
}
