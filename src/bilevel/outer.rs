//! The leader's optimiser: Adam with one rate per group, step rejection, divergence guard
//! (algorithms.md A.11).

use serde::{Deserialize, Serialize};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// An outer loss this many times the best so far is a divergence.
const DIVERGED: f64 = 10.0;

/// An outer loss this many times the last accepted one is a step over the edge of stability, to be
/// taken back. Below it lies the roughness that the loss of a short training has anyway.
const JUMPED: f64 = 1.5;

/// A hypergradient longer than this many times the root mean square of those before is shortened to
/// it: near the edge they grow a thousandfold and would spoil Adam's second moments for good.
const LONGEST: f64 = 3.0;

/// What an accepted step gives back of the rate that rejections took.
const RECOVERY: f64 = 1.25;

/// From this accepted point on, rates fall in proportion to one over its number. Near the edge of
/// stability, which a run reaches about here, steps of full length wander instead of settling.
const SLOWING: f64 = 8.0;

/// Adam's memory for the tuned groups, and the point to go back to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OuterAdam {
    /// Learning rate of each group for the first steps.
    pub rates: Vec<f64>,
    /// Factor on all rates, halved by each rejection.
    damping: f64,
    /// Points accepted.
    steps: i32,
    first: Vec<Vec<f64>>,
    second: Vec<Vec<f64>>,
    accepted: Option<Accepted>,
}

/// The last accepted point and its outer loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Accepted {
    values: Vec<Vec<f64>>,
    loss: f64,
    /// The smallest outer loss of all accepted points.
    best: f64,
}

impl OuterAdam {
    /// An optimiser for groups of the given sizes.
    pub fn new(rates: Vec<f64>, sizes: &[usize]) -> Self {
        let zeros: Vec<Vec<f64>> = sizes.iter().map(|&n| vec![0.0; n]).collect();
        OuterAdam { rates, damping: 1.0, steps: 0, first: zeros.clone(), second: zeros, accepted: None }
    }

    /// Takes the loss and hypergradient found at `values` and moves `values` to the next point to try;
    /// the answer says whether the point was accepted. After a rejected one the step from the last
    /// accepted point is taken again, half as far.
    pub fn step(&mut self, values: &mut [Vec<f64>], loss: f64, gradient: &[Vec<f64>]) -> bool {
        let accept = self.accepts(loss, gradient);
        if accept {
            self.accept(values, loss, gradient);
        } else {
            self.damping *= 0.5;
        }
        let Some(Accepted { values: from, .. }) = &self.accepted else { return accept };
        let (c1, c2) = (1.0 - BETA1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
        let share = self.damping * (SLOWING / f64::from(self.steps)).min(1.0);
        for (k, values) in values.iter_mut().enumerate() {
            let rate = self.rates[k] * share;
            for (i, value) in values.iter_mut().enumerate() {
                let direction = self.first[k][i] / c1 / ((self.second[k][i] / c2).sqrt() + EPSILON);
                *value = from[k][i] - rate * direction;
            }
        }
        accept
    }

    fn accepts(&self, loss: f64, gradient: &[Vec<f64>]) -> bool {
        let finite = loss.is_finite() && gradient.iter().flatten().all(|g| g.is_finite());
        let Some(Accepted { loss: last, best, .. }) = &self.accepted else { return finite };
        finite && loss <= DIVERGED * best && loss <= JUMPED * last
    }

    /// Adam's update of the moments, with the hypergradient shortened if it is far too long.
    fn accept(&mut self, values: &[Vec<f64>], loss: f64, gradient: &[Vec<f64>]) {
        let best = self.accepted.as_ref().map_or(loss, |before| before.best.min(loss));
        self.damping = (RECOVERY * self.damping).min(1.0);
        self.accepted = Some(Accepted { values: values.to_vec(), loss, best });
        let length = gradient.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        let sum_of_squares = self.second.iter().flatten().sum::<f64>();
        let shorten = if sum_of_squares == 0.0 {
            1.0
        } else {
            let usual = (sum_of_squares / (1.0 - BETA2.powi(self.steps))).sqrt();
            (LONGEST * usual / length.max(f64::MIN_POSITIVE)).min(1.0)
        };
        self.steps += 1;
        for (k, gradient) in gradient.iter().enumerate() {
            for (i, g) in gradient.iter().enumerate() {
                let g = shorten * g;
                self.first[k][i] = BETA1 * self.first[k][i] + (1.0 - BETA1) * g;
                self.second[k][i] = BETA2 * self.second[k][i] + (1.0 - BETA2) * g * g;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f(u) = u², cut off by a wall: beyond it the loss is not finite.
    #[test]
    fn descends_and_steps_back_from_a_wall() {
        let mut adam = OuterAdam::new(vec![0.5], &[1]);
        let mut u = vec![vec![1.0]];
        let mut rejections = 0;
        for _ in 0..200 {
            let x: f64 = u[0][0];
            let loss = if x < -0.2 { f64::NAN } else { x * x };
            if !adam.step(&mut u, loss, &[vec![2.0 * x]]) {
                rejections += 1;
            }
        }
        assert!(rejections > 0, "the first steps of 0.5 cross the wall");
        let best = adam.accepted.unwrap().best;
        assert!(best < 1e-4, "best {best}");
    }

    #[test]
    fn steps_get_shorter() {
        let mut adam = OuterAdam::new(vec![0.1], &[1]);
        let mut u = vec![vec![0.0]];
        let steps: Vec<f64> = (0..32)
            .map(|k| {
                let before = u[0][0];
                adam.step(&mut u, 1.0 - 0.01 * f64::from(k), &[vec![1.0]]);
                before - u[0][0]
            })
            .collect();
        for (k, expected) in [(0, 0.1), (7, 0.1), (15, 0.05), (31, 0.025)] {
            assert!((steps[k] - expected).abs() < 1e-6, "step {k}: {}", steps[k]);
        }
    }

    #[test]
    fn a_jump_of_the_loss_is_taken_back_half_way() {
        let mut adam = OuterAdam::new(vec![0.1], &[1]);
        let mut u = vec![vec![0.0]];
        assert!(adam.step(&mut u, 1.0, &[vec![1.0]]));
        let first = u[0][0];
        assert!((first + 0.1).abs() < 1e-6);
        assert!(!adam.step(&mut u, 3.0, &[vec![-500.0]]));
        assert!((u[0][0] - 0.5 * first).abs() < 1e-9, "half the step from the accepted point");
        assert!(adam.step(&mut u, 0.9, &[vec![1.0]]));
    }
}
