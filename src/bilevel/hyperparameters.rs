//! Hyperparameters that people tune, as maps in front of the general arrays (algorithms.md A.10, A.11).
//!
//! Each is optimised without constraints (log, logit) and mapped into the arrays that the training
//! step reads; its hypergradient is the arrays' pulled back by the chain rule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::{Coordinate, Directions};

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

    /// What the tuned groups' unconstrained values move, one after another.
    pub fn directions(&self, problem: &Problem) -> Directions {
        let (layout, logistic) = (problem.layout(), |u: f64| sigmoid(u) * sigmoid(-u));
        let mut directions = Directions::new(problem);
        for group in self.groups.iter().filter(|g| g.tuned) {
            directions = match group.kind {
                Kind::Lr => directions.shared(layout.log_lr.clone()),
                Kind::L2 => directions.each(layout.l2_log.clone()),
                Kind::Momentum | Kind::ExampleWeights => {
                    let place = if group.kind == Kind::Momentum { &layout.scalars } else { &layout.weights };
                    let pairs = place.clone().zip(&group.values);
                    pairs.for_each(|(i, &u)| directions.push([(Coordinate::Lambda(i), logistic(u))]));
                    directions
                }
            };
        }
        directions
    }

    /// Cuts derivatives along [`Hyperparameters::directions`] into one list a tuned group.
    pub fn split(&self, mut derivatives: &[f64]) -> Vec<Vec<f64>> {
        let tuned = self.groups.iter().filter(|g| g.tuned);
        tuned
            .map(|group| {
                let (own, rest) = derivatives.split_at(group.values.len());
                derivatives = rest;
                own.to_vec()
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
