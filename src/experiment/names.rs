//! Hyperparameters under the names that records and summaries give them.

use super::record::Named;
use crate::bilevel::Problem;
use crate::bilevel::hyperparameters::{Group, Hyperparameters, Kind, Names};

/// Constrained values by name; of those that are many, mean and extremes.
pub fn values(point: &Hyperparameters, problem: &Problem) -> Named {
    let mut named = Named::new();
    for group in &point.groups {
        let values: Vec<f64> = group.constrained().collect();
        match each(group, problem) {
            Some(names) => named.extend(names.into_iter().zip(values)),
            None => {
                let stem = group.kind.row().record;
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
                named.insert(format!("{}.norm", group.kind.row().record), length);
            }
        }
    }
    named.retain(|_, value| value.is_finite());
    named
}

/// Whether a name is that of a kind's value or of one of its values.
pub fn is_of(kind: Kind, name: &str) -> bool {
    let row = kind.row();
    match row.names {
        Names::Each(names) => names.contains(&name),
        _ => name.strip_prefix(row.record).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
    }
}

/// A name for each value of a group, unless there are too many.
pub fn each(group: &Group, problem: &Problem) -> Option<Vec<String>> {
    let row = group.kind.row();
    let of_layers = |layers: Vec<&str>| layers.into_iter().map(|layer| format!("{}.{layer}", row.record)).collect();
    match row.names {
        Names::One => Some(vec![row.record.to_owned()]),
        Names::Layers => Some(of_layers(problem.model.layer_names())),
        Names::Kernels => Some(of_layers(problem.model.kernels().into_iter().map(|(_, layer)| layer).collect())),
        Names::Each(names) => Some(names.iter().map(|&name| name.to_owned()).collect()),
        Names::Many => None,
    }
}
