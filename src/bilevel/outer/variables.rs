//! What an outer optimiser moves, and the coordinates in which it moves it.

use serde::{Deserialize, Serialize};

use crate::bilevel::Transform;
use crate::bilevel::hyperparameters::{Hyperparameters, Kind, Names};

/// The variables of one kind, which follow one another and move at one rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// What they are.
    pub kind: Kind,
    /// How many.
    pub count: usize,
    /// How far a step of usual length moves one.
    pub rate: f64,
}

impl Moved {
    /// Whether there are so many that each alone means little, such as the weights of examples.
    pub fn is_many(&self) -> bool {
        self.kind.row().names == Names::Many
    }
}

/// The unconstrained variables of an outer optimiser, kind by kind.
///
/// Where a learning rate η and a momentum μ are both among them, the coordinates have log (η / (1 − μ)), the length of
/// the steps that momentum adds up to, in the place of log η: along it the outer loss changes, and along the logit of μ
/// at a fixed length it hardly does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variables {
    /// The kinds, in order.
    pub moved: Vec<Moved>,
    /// The place of log η.
    lr: Option<usize>,
    /// The place of the logit of μ.
    momentum: Option<usize>,
}

/// A derivative by log η or the logit of μ beyond this many times the outer loss is noise: the training is past the edge
/// of stability, where sound points have derivatives of a tenth of the loss and these have thousands.
const EDGE: f64 = 5.0;

/// Losses below this count as this, so that a training that fits everything is not past the edge by its small loss.
const LEAST_LOSS: f64 = 0.05;

impl Variables {
    /// Those that are tuned, each kind at its rate.
    pub fn of(point: &Hyperparameters, rate: impl Fn(Kind) -> f64) -> Self {
        let tuned = || point.groups.iter().filter(|group| group.tuned);
        let moved = tuned().map(|group| Moved { kind: group.kind, count: group.values.len(), rate: rate(group.kind) });
        let usual = tuned().filter(|group| group.transform == group.kind.row().transform).map(|group| group.kind);
        Self::new(moved.collect(), &usual.collect::<Vec<_>>())
    }

    /// These, of which some kinds are in the form that [`Kind::row`] names.
    pub fn new(moved: Vec<Moved>, usual: &[Kind]) -> Self {
        let place = |kind: Kind, transform: Transform| {
            let before = moved.iter().take_while(|moved| moved.kind != kind).map(|moved| moved.count).sum();
            let there = moved.iter().any(|moved| moved.kind == kind && moved.count == 1) && usual.contains(&kind);
            (there && kind.row().transform == transform).then_some(before)
        };
        let (lr, momentum) = (place(Kind::Lr, Transform::Log), place(Kind::Momentum, Transform::UNIT));
        Variables { moved, lr, momentum }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.moved.iter().map(|moved| moved.count).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What each is a variable of.
    pub(super) fn each(&self) -> impl Iterator<Item = &Moved> {
        self.moved.iter().flat_map(|moved| std::iter::repeat_n(moved, moved.count))
    }

    /// The place of the coordinate that is the log of a learning rate.
    pub(super) fn rate_place(&self) -> Option<usize> {
        self.lr
    }

    /// Coordinates of variables.
    pub(super) fn coordinates(&self, variables: &[f64]) -> Vec<f64> {
        let mut coordinates = variables.to_vec();
        if let (Some(lr), Some(momentum)) = (self.lr, self.momentum) {
            coordinates[lr] += minus_log_rest(variables[momentum]);
        }
        coordinates
    }

    /// Variables of coordinates.
    pub(super) fn variables(&self, coordinates: &[f64]) -> Vec<f64> {
        let mut variables = coordinates.to_vec();
        if let (Some(lr), Some(momentum)) = (self.lr, self.momentum) {
            variables[lr] -= minus_log_rest(coordinates[momentum]);
        }
        variables
    }

    /// Derivatives by the coordinates, from those by the variables.
    pub(super) fn derivatives(&self, variables: &[f64], hypergradient: &[f64]) -> Vec<f64> {
        let mut derivatives = hypergradient.to_vec();
        if let (Some(lr), Some(momentum)) = (self.lr, self.momentum) {
            derivatives[momentum] -= hypergradient[lr] * Transform::UNIT.constrain(variables[momentum]);
        }
        derivatives
    }

    /// Whether a hypergradient is one of a training past the edge of stability, and no direction to go.
    pub fn past_edge(&self, loss: f64, hypergradient: &[f64]) -> bool {
        let scalars = [self.lr, self.momentum].into_iter().flatten();
        let largest = scalars.map(|place| hypergradient[place].abs()).fold(0.0, f64::max);
        roughness(loss, largest) > 1.0
    }
}

/// How near a training is to the edge of stability by the larger of its derivatives by log η and the logit of μ: at 1 it
/// is there.
pub fn roughness(loss: f64, largest: f64) -> f64 {
    largest / (EDGE * loss.abs().max(LEAST_LOSS))
}

/// −log (1 − μ) of a momentum by its logit.
fn minus_log_rest(logit: f64) -> f64 {
    Transform::Above { low: 0.0 }.constrain(logit)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn two() -> Variables {
        let one = |kind| Moved { kind, count: 1, rate: 0.4 };
        Variables::new(vec![one(Kind::Momentum), one(Kind::Lr)], &[Kind::Momentum, Kind::Lr])
    }

    #[test]
    fn coordinates_have_the_length_that_steps_add_up_to() {
        let (eta, mu): (f64, f64) = (0.04, 0.7);
        let point = [Transform::UNIT.unconstrain(mu), eta.ln()];
        let coordinates = two().coordinates(&point);
        assert!((coordinates[1] - (eta / (1.0 - mu)).ln()).abs() < 1e-12 && coordinates[0] == point[0]);
        let back = two().variables(&coordinates);
        assert!(back.iter().zip(point).all(|(a, b)| (a - b).abs() < 1e-12));
        // f = logit² + 3 log η, differentiated in the coordinates by differences.
        let f = |x: &[f64]| x[0] * x[0] + 3.0 * x[1];
        let derivatives = two().derivatives(&point, &[2.0 * point[0], 3.0]);
        for (k, derivative) in derivatives.iter().enumerate() {
            let at = |step: f64| {
                let mut moved = coordinates.clone();
                moved[k] += step;
                f(&two().variables(&moved))
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((difference - derivative).abs() < 1e-8, "{k}: {difference} {derivative}");
        }
    }

    #[test]
    fn a_hypergradient_thousands_of_losses_long_is_past_the_edge() {
        assert!(two().past_edge(0.5, &[0.1, -3000.0]) && two().past_edge(0.5, &[2.6, 0.0]));
        assert!(!two().past_edge(0.5, &[0.3, -2.0]));
        assert!(!two().past_edge(1e-4, &[0.01, 0.2]), "a small loss is no edge");
        let alone = Variables::new(vec![Moved { kind: Kind::ExampleWeights, count: 2, rate: 0.3 }], &[]);
        assert!(!alone.past_edge(0.5, &[1e6, 1e6]) && alone.coordinates(&[1.0, 2.0]) == [1.0, 2.0]);
    }
}
