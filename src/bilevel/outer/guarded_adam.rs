//! Adam with a guard against the edge of stability (docs/decisions/0015).

use serde::{Deserialize, Serialize};

use super::OuterOptimizer;
use super::adam::{Adam, Moments};
use super::variables::Variables;

/// An outer loss above the last sound one, or the best, by this factor is a jump.
const JUMPED: f64 = 1.25;
const FAR_ABOVE: f64 = 1.6;

/// What points that are not sound take off the cap on the log of the rate, the first, the second and each later one in a
/// row, and what a sound one gives back.
const LOWER: [f64; 3] = [0.2, 0.1, 0.1];
const HIGHER: f64 = 0.03;

/// What a start that diverges takes off it.
const RETREAT: f64 = 1.0;

/// Adam on all variables, where a point is sound. One is not where the training diverged, the hypergradient is
/// [past the edge](Variables::past_edge) or the loss has jumped: then the rate is capped below that of the point. At the
/// first of these in a row single hyperparameters go back to where they were sound and what there is many of goes on by
/// half a step, at the second all goes back to the best point, and from the third on below that. Hypergradients past the
/// edge are not given to Adam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardedAdam {
    variables: Variables,
    moments: Moments,
    /// Hypergradients that Adam was given.
    taken: u32,
    /// The highest log rate that may be tried.
    cap: Option<f64>,
    /// The last sound point, in coordinates, and its loss.
    sound: Option<(Vec<f64>, f64)>,
    /// The sound point with the lowest loss.
    best: Option<(Vec<f64>, f64)>,
    /// Points in a row that were not sound.
    failures: usize,
}

impl GuardedAdam {
    /// For these variables.
    pub fn new(variables: Variables) -> Self {
        let moments = Moments::new(variables.len());
        GuardedAdam { variables, moments, taken: 0, cap: None, sound: None, best: None, failures: 0 }
    }

    /// What it moves.
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// A share of Adam's step at a coordinate.
    fn adam(&self, place: usize, rate: f64, share: f64) -> f64 {
        if self.taken == 0 { 0.0 } else { share * rate * self.moments.direction(Adam::USUAL, place) }
    }

    /// The next point after one that was sound, in coordinates.
    fn onwards(&self, at: &[f64]) -> Vec<f64> {
        let each = self.variables.each().zip(at).enumerate();
        each.map(|(k, (moved, x))| x - self.adam(k, moved.rate, 1.0)).collect()
    }

    /// The next point after one that was not.
    fn back(&self, at: &[f64]) -> Vec<f64> {
        let from = |point: &Option<(Vec<f64>, f64)>| point.as_ref().map_or(at, |(point, _)| point).to_vec();
        if self.failures > 1 {
            return from(&self.best);
        }
        let sound = from(&self.sound);
        let each = self.variables.each().zip(at.iter().zip(sound)).enumerate();
        let next = each.map(|(k, (moved, (x, sound)))| match moved.is_many() {
            true => x - self.adam(k, moved.rate, 0.5),
            false => sound,
        });
        next.collect()
    }
}

impl OuterOptimizer for GuardedAdam {
    fn step(&mut self, variables: &mut [f64], loss: f64, hypergradient: &[f64]) -> bool {
        let at = self.variables.coordinates(variables);
        let finite = loss.is_finite() && hypergradient.iter().all(|h| h.is_finite());
        let followed = finite && !self.variables.past_edge(loss, hypergradient);
        let above = |point: &Option<(Vec<f64>, f64)>, factor: f64| {
            point.as_ref().is_some_and(|(_, before)| loss > before + (factor - 1.0) * before.abs())
        };
        if followed {
            let derivatives = self.variables.derivatives(variables, hypergradient);
            self.moments.update(Adam::USUAL, &derivatives, 1.0);
            self.taken += 1;
        }
        let sound = followed && !above(&self.sound, JUMPED) && !above(&self.best, FAR_ABOVE);
        let place = self.variables.rate_place();
        let mut next = if sound {
            self.failures = 0;
            self.cap = self.cap.map(|cap| cap + HIGHER);
            self.sound = Some((at.clone(), loss));
            if self.best.as_ref().is_none_or(|(_, best)| loss < *best) {
                self.best = Some((at.clone(), loss));
            }
            self.onwards(&at)
        } else {
            self.failures += 1;
            let lower = match self.failures {
                _ if self.sound.is_none() && !finite => RETREAT,
                failures => LOWER[failures.min(LOWER.len()) - 1],
            };
            self.cap = place.map(|place| {
                let of_best =
                    self.best.as_ref().filter(|_| self.failures > 2).map_or(f64::MAX, |(best, _)| best[place]);
                self.cap.unwrap_or(f64::MAX).min(at[place]).min(of_best) - lower
            });
            self.back(&at)
        };
        if let (Some(place), Some(cap)) = (place, self.cap) {
            next[place] = next[place].min(cap);
        }
        variables.copy_from_slice(&self.variables.variables(&next));
        sound
    }
}

#[cfg(test)]
mod tests {
    use super::super::variables::Moved;
    use super::*;
    use crate::bilevel::hyperparameters::Kind;

    fn of(kinds: &[(Kind, usize, f64)]) -> GuardedAdam {
        let moved = kinds.iter().map(|&(kind, count, rate)| Moved { kind, count, rate }).collect();
        let usual: Vec<Kind> = kinds.iter().map(|(kind, ..)| *kind).collect();
        GuardedAdam::new(Variables::new(moved, &usual))
    }

    #[test]
    fn sound_points_are_followed_by_steps_of_adam() {
        let mut guarded = of(&[(Kind::Lr, 1, 0.15), (Kind::ExampleWeights, 2, 0.3)]);
        let mut u = [0.0; 3];
        assert!(guarded.step(&mut u, 1.0, &[0.2, -1e-3, 1e-3]));
        assert!(u.iter().zip([-0.15, 0.3, -0.3]).all(|(u, wanted)| (u - wanted).abs() < 1e-4), "{u:?}");
    }

    #[test]
    fn past_the_edge_rates_go_back_below_it_and_weights_go_on() {
        let mut guarded = of(&[(Kind::Lr, 1, 0.15), (Kind::ExampleWeights, 2, 0.3)]);
        let mut u = [0.0; 3];
        guarded.step(&mut u, 1.0, &[-0.2, -1e-3, 1e-3]);
        let (memory, second) = (guarded.moments.clone(), u);
        assert!(!guarded.step(&mut u, 0.9, &[-3000.0, 1.0, 1.0]));
        assert_eq!(guarded.moments, memory, "noise is no memory");
        assert!((u[0] - (second[0] - 0.2)).abs() < 1e-9 && u[0] < 0.0, "{u:?}");
        assert!((u[1] - second[1] - 0.15).abs() < 1e-3, "half a step on: {u:?}");
        // Again: all goes back to the best point, below the cap.
        assert!(!guarded.step(&mut u, f64::NAN, &[]));
        assert!((u[0] - (second[0] - 0.3)).abs() < 1e-9 && u[1..] == [0.0; 2], "{u:?}");
        // And below the best point itself.
        assert!(!guarded.step(&mut u, 3.0, &[0.1, 0.0, 0.0]));
        assert!((u[0] - (second[0] - 0.4)).abs() < 1e-9, "{u:?}");
        // A sound point raises the cap a little.
        let cap = guarded.cap.unwrap();
        assert!(guarded.step(&mut u, 0.95, &[-0.1, 0.0, 0.0]));
        assert!((u[0] - cap - HIGHER).abs() < 1e-9, "{u:?}");
    }

    #[test]
    fn a_start_that_diverges_is_followed_by_shorter_steps() {
        let mut guarded = of(&[(Kind::Lr, 1, 0.15)]);
        let mut u = [0.0];
        for k in 1..4 {
            assert!(!guarded.step(&mut u, f64::NAN, &[]));
            assert_eq!(u, [-f64::from(k)]);
        }
        assert!(guarded.step(&mut u, 1.0, &[0.1]) && u[0] < -2.9);
    }

    #[test]
    fn a_jump_of_the_loss_is_a_failure_that_adam_remembers() {
        let mut guarded = of(&[(Kind::L2Global, 1, 0.15)]);
        let mut u = [0.0];
        assert!(guarded.step(&mut u, 1.0, &[0.1]));
        let jumped = u;
        assert!(!guarded.step(&mut u, 1.3, &[0.1]));
        assert_eq!((guarded.taken, u), (2, [0.0]));
        assert!(jumped[0] < 0.0);
    }

    #[test]
    fn a_resumed_run_goes_on_bit_for_bit() {
        let mut whole = of(&[(Kind::Lr, 1, 0.15), (Kind::ExampleWeights, 1, 0.3)]);
        let mut parts = whole.clone();
        let (mut u, mut v) = ([0.0, 0.0], [0.0, 0.0]);
        for k in 0..20 {
            let f = |u: &[f64]| (1.0 + (u[0] - 1.0).powi(2) + u[1].powi(2), [2.0 * (u[0] - 1.0), 2.0 * u[1] + 0.01]);
            let (loss, h) = if k % 7 == 3 { (f64::NAN, [0.0; 2]) } else { f(&u) };
            whole.step(&mut u, loss, &h);
            parts = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
            parts.step(&mut v, loss, &h);
        }
        assert!(whole == parts && u == v);
    }
}
