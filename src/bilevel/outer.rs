//! The leader's optimiser: Adam with one rate per group, step rejection, divergence guard
//! (algorithms.md A.11).

use serde::{Deserialize, Serialize};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// An outer loss this many times the best so far is a divergence.
const DIVERGED: f64 = 10.0;

/// An outer loss this many times the last accepted one is a step over the edge of stability, to be
/// taken back.
const JUMPED: f64 = 1.15;

/// So is a hypergradient this many times as long as those accepted have been: at the edge they grow a
/// hundredfold, point anywhere, and would spoil Adam's second moments for good.
const EXPLODED: f64 = 25.0;

/// Adam's memory for the tuned groups, and the point to go back to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OuterAdam {
    /// Learning rate of each group.
    pub rates: Vec<f64>,
    /// Factor on all rates, halved by each rejection.
    pub damping: f64,
    steps: i32,
    first: Vec<Vec<f64>>,
    second: Vec<Vec<f64>>,
    accepted: Option<Accepted>,
    /// Smallest accepted outer loss.
    pub best: f64,
}

/// The last accepted point with its outer loss and hypergradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Accepted {
    values: Vec<Vec<f64>>,
    gradient: Vec<Vec<f64>>,
    loss: f64,
}

impl OuterAdam {
    /// An optimiser for groups of the given sizes.
    pub fn new(rates: Vec<f64>, sizes: &[usize]) -> Self {
        let zeros: Vec<Vec<f64>> = sizes.iter().map(|&n| vec![0.0; n]).collect();
        OuterAdam {
            rates,
            damping: 1.0,
            steps: 0,
            first: zeros.clone(),
            second: zeros,
            accepted: None,
            best: f64::INFINITY,
        }
    }

    /// Whether a loss and its hypergradient may be stepped from.
    pub fn accepts(&self, loss: f64, gradient: &[Vec<f64>]) -> bool {
        let finite = loss.is_finite() && gradient.iter().flatten().all(|g| g.is_finite());
        let Some(accepted) = &self.accepted else { return finite };
        let length = gradient.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        let usual = (self.second.iter().flatten().sum::<f64>() / (1.0 - BETA2.powi(self.steps))).sqrt();
        finite && loss <= DIVERGED * self.best && loss <= JUMPED * accepted.loss && length <= EXPLODED * usual
    }

    /// Takes the loss and hypergradient found at `values` and moves `values` to the next point to try;
    /// the answer says whether the point was accepted.
    ///
    /// After a rejected point the step from the last accepted one is taken again: half as far, and
    /// along the hypergradient there, since the momentum is what led over the edge (adaptive restart,
    /// O'Donoghue and Candès 2015).
    pub fn step(&mut self, values: &mut [Vec<f64>], loss: f64, gradient: &[Vec<f64>]) -> bool {
        let accept = self.accepts(loss, gradient);
        if accept {
            self.best = self.best.min(loss);
            self.accepted = Some(Accepted { values: values.to_vec(), gradient: gradient.to_vec(), loss });
            self.steps += 1;
        } else {
            self.damping *= 0.5;
        }
        let Some(Accepted { values: from, gradient, .. }) = &self.accepted else { return accept };
        let (c1, c2) = (1.0 - BETA1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
        for (k, values) in values.iter_mut().enumerate() {
            let rate = self.rates[k] * self.damping;
            for (i, value) in values.iter_mut().enumerate() {
                let g = gradient[k][i];
                let (m, v) = (&mut self.first[k][i], &mut self.second[k][i]);
                if accept {
                    *m = BETA1 * *m + (1.0 - BETA1) * g;
                    *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                } else {
                    *m = c1 * g;
                }
                *value = from[k][i] - rate * (*m / c1) / ((*v / c2).sqrt() + EPSILON);
            }
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
        assert!(adam.best < 1e-4, "best {}", adam.best);
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
