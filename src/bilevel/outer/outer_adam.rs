//! The leader's optimiser: Adam with step rejection and a falling rate (algorithms.md A.11,
//! docs/decisions/0003).

use serde::{Deserialize, Serialize};

use super::OuterOptimizer;
use super::adam::{Adam, Moments};

/// An outer loss above the best one by more than this share of its size is a step over the edge of
/// stability, to be taken back. Below it lies the roughness that the loss of a short training has anyway.
const JUMPED: f64 = 0.5;

/// A hypergradient longer than this many times the root mean square of those before is shortened to
/// it: near the edge they grow a thousandfold and would spoil Adam's second moments for good.
const LONGEST: f64 = 3.0;

/// What an accepted step gives back of the rate that rejections took.
const RECOVERY: f64 = 1.25;

/// From this point on, rates fall in proportion to one over its number. Near the edge of stability,
/// which a run reaches about here, steps of full length wander instead of settling.
const SLOWING: f64 = 8.0;

/// Adam's memory for the variables, and the point to go back to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OuterAdam {
    /// Learning rate of each variable for the first steps.
    rates: Vec<f64>,
    /// Factor on all rates, halved by each rejection.
    damping: f64,
    /// Hypergradients taken in.
    taken: u32,
    moments: Moments,
    /// The last accepted point.
    accepted: Option<Vec<f64>>,
    /// The smallest outer loss of all accepted points; the largest number before there is one.
    best: f64,
}

impl OuterAdam {
    /// An optimiser of so many variables with one rate for all, in units of the unconstrained values.
    pub fn new(variables: usize, rate: f64) -> Self {
        Self::with_rates(vec![rate; variables])
    }

    /// An optimiser with a rate for each variable.
    pub fn with_rates(rates: Vec<f64>) -> Self {
        let moments = Moments::new(rates.len());
        OuterAdam { rates, damping: 1.0, taken: 0, moments, accepted: None, best: f64::MAX }
    }

    /// How many variables it moves.
    pub fn variables(&self) -> usize {
        self.rates.len()
    }

    /// Hands a hypergradient to Adam, shortened if it is far too long.
    fn take(&mut self, hypergradient: &[f64]) {
        let length = hypergradient.iter().map(|h| h * h).sum::<f64>().sqrt();
        let usual = self.moments.usual_length();
        let shorten = if usual > 0.0 { (LONGEST * usual / length.max(f64::MIN_POSITIVE)).min(1.0) } else { 1.0 };
        self.moments.update(Adam::USUAL, hypergradient, shorten);
        self.taken += 1;
    }
}

impl OuterOptimizer for OuterAdam {
    /// Takes the loss and hypergradient found at `variables` and moves them to the next point to try;
    /// the answer says whether the point was accepted. After a rejected one the step goes out from the
    /// last accepted point again, half as far; the rejected hypergradient has its say in the direction,
    /// since it tells which way is back.
    fn step(&mut self, variables: &mut [f64], loss: f64, hypergradient: &[f64]) -> bool {
        assert_eq!(variables.len(), self.rates.len(), "variables of an optimiser of {}", self.rates.len());
        let finite = loss.is_finite() && hypergradient.iter().all(|h| h.is_finite());
        let accept = finite && loss <= self.best + JUMPED * self.best.abs();
        if finite {
            assert_eq!(hypergradient.len(), self.rates.len(), "derivatives of {} variables", self.rates.len());
            self.take(hypergradient);
        }
        if accept {
            self.best = self.best.min(loss);
            self.damping = (RECOVERY * self.damping).min(1.0);
            self.accepted = Some(variables.to_vec());
        } else {
            self.damping *= 0.5;
        }
        let Some(from) = &self.accepted else { return accept };
        let share = self.damping * (SLOWING / f64::from(self.taken)).min(1.0);
        for (k, variable) in variables.iter_mut().enumerate() {
            *variable = from[k] - share * self.rates[k] * self.moments.direction(Adam::USUAL, k);
        }
        accept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f(u) = u², cut off by a wall: beyond it the loss is not finite.
    #[test]
    fn descends_and_steps_back_from_a_wall() {
        let mut adam = OuterAdam::new(1, 0.5);
        let mut u = [1.0];
        let mut rejections = 0;
        for _ in 0..200 {
            let x: f64 = u[0];
            let loss = if x < -0.2 { f64::NAN } else { x * x };
            if !adam.step(&mut u, loss, &[2.0 * x]) {
                rejections += 1;
            }
        }
        assert!(rejections > 0, "the first steps of 0.5 cross the wall");
        assert!(adam.best < 1e-4, "best {}", adam.best);
    }

    #[test]
    fn steps_get_shorter() {
        let mut adam = OuterAdam::new(1, 0.1);
        let mut u = [0.0];
        let steps: Vec<f64> = (0..32)
            .map(|k| {
                let before = u[0];
                adam.step(&mut u, 1.0 - 0.01 * f64::from(k), &[1.0]);
                before - u[0]
            })
            .collect();
        for (k, expected) in [(0, 0.1), (7, 0.1), (15, 0.05), (31, 0.025)] {
            assert!((steps[k] - expected).abs() < 1e-6, "step {k}: {}", steps[k]);
        }
    }

    #[test]
    fn a_jump_of_the_loss_is_taken_back() {
        let mut adam = OuterAdam::new(1, 0.1);
        let mut u = [0.0];
        assert!(adam.step(&mut u, 1.0, &[1.0]));
        let first = u[0];
        assert!((first + 0.1).abs() < 1e-6);
        // A hypergradient that points back, five hundred times too long, turns the next step round, but
        // does not stop the later ones.
        assert!(!adam.step(&mut u, 3.0, &[-500.0]));
        assert!(u[0] > 0.0 && u[0] < 0.05, "{}", u[0]);
        assert!(adam.step(&mut u, 0.9, &[1.0]));
        // A point that is no number says nothing of a direction: half the step.
        let mut adam = OuterAdam::new(1, 0.1);
        let mut u = [0.0];
        adam.step(&mut u, 1.0, &[1.0]);
        assert!(!adam.step(&mut u, f64::NAN, &[]));
        assert!((u[0] - 0.5 * first).abs() < 1e-9, "half the step from the accepted point");
    }

    #[test]
    fn slow_climbs_are_measured_from_the_best_point() {
        let mut adam = OuterAdam::new(1, 0.1);
        let mut u = [0.0];
        let accepted: Vec<bool> = [1.0, 1.3, 1.6].map(|loss| adam.step(&mut u, loss, &[1.0])).to_vec();
        assert_eq!(accepted, [true, true, false]);
    }
}
