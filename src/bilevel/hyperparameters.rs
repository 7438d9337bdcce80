//! Hyperparameters that people tune, as maps in front of the general arrays (algorithms.md A.10, A.11).
//!
//! Each is optimised without constraints (log, logit) and mapped into the arrays that the training
//! step reads; its hypergradient is the arrays' pulled back by the chain rule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::{Layout, Problem};

/// A kind of hyperparameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Kind {
    /// One learning rate for all steps and layers; tuned as its logarithm.
    Lr,
    /// Momentum in (0, 1); tuned as its logit.
    Momentum,
    /// One L2 penalty a layer; tuned as its logarithm.
    L2,
    /// One weight in (0, 1) a training example; tuned as its logit.
    ExampleWeights,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Lr, Kind::Momentum, Kind::L2, Kind::ExampleWeights];

    /// Its name in configurations and records.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Lr => "lr",
            Kind::Momentum => "momentum",
            Kind::L2 => "l2",
            Kind::ExampleWeights => "example-weights",
        }
    }

    /// The constrained value for an unconstrained one.
    pub fn constrain(self, u: f64) -> f64 {
        match self {
            Kind::Lr | Kind::L2 => u.exp(),
            Kind::Momentum | Kind::ExampleWeights => sigmoid(u),
        }
    }

    /// The unconstrained value for a constrained one; not finite on or beyond the boundary.
    pub fn unconstrain(self, value: f64) -> f64 {
        match self {
            Kind::Lr | Kind::L2 => value.ln(),
            Kind::Momentum | Kind::ExampleWeights => value.ln() - (-value).ln_1p(),
        }
    }
}

fn sigmoid(u: f64) -> f64 {
    1.0 / (1.0 + (-u).exp())
}

/// A group of hyperparameters of one kind, in unconstrained form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub kind: Kind,
    /// Unconstrained values: 1, 1, the parameter layers, or the training examples.
    pub values: Vec<f64>,
    /// Whether the outer optimiser moves it.
    pub tuned: bool,
}

/// All hyperparameters of a momentum-SGD problem; fixed groups hold their start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameters {
    pub groups: Vec<Group>,
}

impl Hyperparameters {
    /// The vector that the training step reads.
    pub fn arrays(&self, problem: &Problem) -> Vec<f64> {
        let layout = problem.layout();
        let mut lambda = vec![0.0; layout.len()];
        for group in &self.groups {
            let values = group.values.iter();
            match group.kind {
                Kind::Lr => lambda[layout.log_lr.clone()].fill(group.values[0]),
                Kind::Momentum => lambda[layout.scalars.clone()].fill(sigmoid(group.values[0])),
                Kind::L2 => lambda[layout.l2_log.clone()].iter_mut().zip(values).for_each(|(l, &u)| *l = u),
                Kind::ExampleWeights => {
                    lambda[layout.weights.clone()].iter_mut().zip(values).for_each(|(w, &u)| *w = sigmoid(u));
                }
            }
        }
        lambda
    }

    /// Derivatives in the tuned groups' unconstrained values, from those in the vector; one list a
    /// tuned group, in order.
    pub fn pull_back(&self, layout: &Layout, cotangent: &[f64]) -> Vec<Vec<f64>> {
        let logistic = |u: f64| sigmoid(u) * sigmoid(-u);
        let tuned = self.groups.iter().filter(|g| g.tuned);
        tuned
            .map(|group| match group.kind {
                Kind::Lr => vec![cotangent[layout.log_lr.clone()].iter().sum()],
                Kind::Momentum => vec![cotangent[layout.scalars.start] * logistic(group.values[0])],
                Kind::L2 => cotangent[layout.l2_log.clone()].to_vec(),
                Kind::ExampleWeights => {
                    let weights = cotangent[layout.weights.clone()].iter();
                    weights.zip(&group.values).map(|(c, &u)| c * logistic(u)).collect()
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_invert() {
        for kind in Kind::ALL {
            for value in [1e-6, 0.01, 0.3, 0.5, 0.9, 0.999] {
                let back = kind.constrain(kind.unconstrain(value));
                assert!((back - value).abs() < 1e-12 * value, "{kind:?} {value} {back}");
            }
        }
        assert!(!Kind::Momentum.unconstrain(1.0).is_finite());
        assert!(!Kind::Lr.unconstrain(0.0).is_finite());
    }
}
