//! Probe descent: tries along a hypergradient by plain trainings, which cost a third of one
//! (docs/decisions/0015).

use serde::{Deserialize, Serialize};

use super::OuterOptimizer;
use super::variables::{Moved, Variables};
use crate::bilevel::hyperparameters::Kind;
use crate::rng::{Purpose, Stream};

/// After a try that was better, the next goes farther by this; after a worse one, less far by the other.
const FARTHER: f64 = 1.8;
const NEARER: f64 = 0.35;

/// So many tries fail, or succeed, along one hypergradient at most.
const TRIES: u32 = 3;

/// The shortest and longest step that a new hypergradient is first tried at, in rates.
const STRIDES: [f64; 2] = [0.1, 1.0];

/// A new hypergradient is worth its price where the loss has fallen by this share since the last one.
const FALLEN: f64 = 0.03;

/// Deviation of random steps at first, what each that fails leaves of it, and the least.
const SPREAD: f64 = 0.3;
const NARROWER: f64 = 0.93;
const LEAST_SPREAD: f64 = 0.06;

/// How much wider penalties and noise are tried than rates and momenta: they matter less.
const WIDE: f64 = 2.0;

/// What a start that diverges takes off the log of the learning rate.
const RETREAT: f64 = 1.0;

/// Descent by tries. At the best point it asks for a hypergradient and tries points along it; where those fail, points
/// about the best at random, and where the best has become better, a new hypergradient.
///
/// Derivatives are taken relative to the largest of their group (single hyperparameters; factors of layers; what there
/// is many of), so that a hyperparameter that does not matter stays where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeDescent {
    variables: Variables,
    seed: u64,
    /// Random steps so far.
    draws: u32,
    /// The best point, in coordinates, and its loss.
    best: Option<(Vec<f64>, f64)>,
    /// The loss where the last hypergradient was taken.
    measured: f64,
    /// What a step of one stride along the hypergradient at hand subtracts.
    along: Vec<f64>,
    stride: f64,
    spread: f64,
    next: Next,
}

/// What the next point is for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Next {
    /// The hypergradient at the best point.
    Hypergradient,
    /// A try along it, after so many that failed and so many that did not.
    Along { failed: u32, succeeded: u32 },
    /// A random step from the best point.
    Random,
}

impl ProbeDescent {
    /// For these variables; random steps are the seed's.
    pub fn new(variables: Variables, seed: u64) -> Self {
        ProbeDescent {
            variables,
            seed,
            draws: 0,
            best: None,
            measured: f64::MAX,
            along: vec![],
            stride: 1.0,
            spread: SPREAD,
            next: Next::Hypergradient,
        }
    }

    /// What it moves.
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// What a step of one stride along derivatives subtracts.
    fn steps(&self, derivatives: &[f64]) -> Vec<f64> {
        let group = |moved: &Moved| (moved.is_many() || moved.kind == Kind::LrLayers).then_some(moved.kind);
        let largest = |of: Option<Kind>| {
            let own = self.variables.each().zip(derivatives).filter(|(moved, _)| group(moved) == of);
            own.map(|(_, h)| h.abs()).fold(f64::MIN_POSITIVE, f64::max)
        };
        let mut rest = derivatives;
        let mut steps = vec![];
        for moved in &self.variables.moved {
            let (own, after) = rest.split_at(moved.count);
            let most = largest(group(moved));
            steps.extend(own.iter().map(|h| moved.rate * (h / most)));
            rest = after;
        }
        steps
    }

    /// Whether the loss has fallen enough for a new hypergradient, or random steps are next.
    fn onwards(&self, best: f64) -> Next {
        if best < self.measured - FALLEN * self.measured.abs() { Next::Hypergradient } else { Next::Random }
    }

    /// A point at random about the best.
    fn random(&mut self, best: &[f64]) -> Vec<f64> {
        let mut stream = Stream::new(self.seed, Purpose::Outer, self.draws);
        self.draws += 1;
        let spread = |kind: Kind| match kind {
            Kind::Lr | Kind::Momentum | Kind::Betas => self.spread,
            _ => WIDE * self.spread,
        };
        let steps = self.variables.each().map(|moved| if moved.is_many() { 0.0 } else { spread(moved.kind) });
        best.iter().zip(steps).map(|(x, step)| if step > 0.0 { x + step * stream.normal() } else { *x }).collect()
    }

    /// Takes in what was found at a point, and says whether to go on from there and what the next point is for.
    fn take(&mut self, at: Vec<f64>, variables: &[f64], loss: f64, hypergradient: &[f64]) -> (bool, Next) {
        let better = loss.is_finite() && self.best.as_ref().is_none_or(|(_, best)| loss < *best);
        if better {
            self.best = Some((at, loss));
        }
        let best = self.best.as_ref().map_or(f64::MAX, |(_, loss)| *loss);
        match self.next {
            Next::Hypergradient => {
                self.measured = best;
                let finite = loss.is_finite() && hypergradient.iter().all(|h| h.is_finite());
                if !finite || hypergradient.iter().all(|h| *h == 0.0) {
                    // Without a point that did not diverge there is nothing to step from.
                    return (false, if best == f64::MAX { Next::Hypergradient } else { Next::Random });
                }
                let derivatives = self.variables.derivatives(variables, hypergradient);
                self.along = self.steps(&derivatives);
                (true, Next::Along { failed: 0, succeeded: 0 })
            }
            Next::Along { failed, succeeded } if better => {
                self.stride *= FARTHER;
                self.spread = SPREAD;
                let succeeded = succeeded + 1;
                (true, if succeeded < TRIES { Next::Along { failed, succeeded } } else { self.onwards(best) })
            }
            Next::Along { succeeded: 1.., .. } => {
                self.stride /= FARTHER;
                (false, self.onwards(best))
            }
            Next::Along { failed, .. } => {
                self.stride *= NEARER;
                if failed + 1 < TRIES {
                    return (false, Next::Along { failed: failed + 1, succeeded: 0 });
                }
                self.stride = (self.stride / (NEARER * NEARER)).clamp(STRIDES[0], STRIDES[1]);
                (false, Next::Random)
            }
            Next::Random => {
                if !better {
                    self.spread = (NARROWER * self.spread).max(LEAST_SPREAD);
                }
                (better, self.onwards(best))
            }
        }
    }
}

impl OuterOptimizer for ProbeDescent {
    fn differentiates(&self) -> bool {
        self.next == Next::Hypergradient
    }

    fn step(&mut self, variables: &mut [f64], loss: f64, hypergradient: &[f64]) -> bool {
        let at = self.variables.coordinates(variables);
        let (accepted, next) = self.take(at.clone(), variables, loss, hypergradient);
        self.next = next;
        let point = match (&self.best, next) {
            (Some((best, _)), Next::Hypergradient) => best.clone(),
            (Some((best, _)), Next::Along { .. }) => {
                best.iter().zip(&self.along).map(|(x, step)| x - self.stride * step).collect()
            }
            (Some((best, _)), Next::Random) => {
                let best = best.clone();
                self.random(&best)
            }
            // The start diverged: shorter steps.
            (None, _) => {
                let mut shorter = at;
                if let Some(place) = self.variables.rate_place() {
                    shorter[place] -= RETREAT;
                }
                shorter
            }
        };
        variables.copy_from_slice(&self.variables.variables(&point));
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kinds: &[(Kind, usize)]) -> ProbeDescent {
        let moved = kinds.iter().map(|&(kind, count)| Moved { kind, count, rate: 0.4 }).collect();
        let usual: Vec<Kind> = kinds.iter().map(|(kind, _)| *kind).collect();
        ProbeDescent::new(Variables::new(moved, &usual), 3)
    }

    /// Asks for what the optimiser wants; gives the losses and whether each was with a hypergradient.
    fn run(
        probe: &mut ProbeDescent,
        mut u: Vec<f64>,
        points: usize,
        f: impl Fn(&[f64]) -> (f64, Vec<f64>),
    ) -> Vec<(f64, bool)> {
        let mut found = vec![];
        for _ in 0..points {
            let differentiated = probe.differentiates();
            let (loss, h) = f(&u);
            found.push((loss, differentiated));
            probe.step(&mut u, loss, if differentiated { &h } else { &[] });
        }
        found
    }

    fn valley(u: &[f64]) -> (f64, Vec<f64>) {
        let [a, b] = [u[0] - 1.5, u[1]];
        (1.0 + a * a + 1e-4 * b * b, vec![2.0 * a, 2e-4 * b])
    }

    #[test]
    fn it_goes_down_with_few_hypergradients_and_leaves_alone_what_does_not_matter() {
        let mut probe = of(&[(Kind::Lr, 1), (Kind::L2Global, 1)]);
        let mut u = vec![0.0, 5.0];
        let found = run(&mut probe, u.clone(), 5, valley);
        // One hypergradient, tries that get longer until one is too long, and the next hypergradient.
        assert_eq!(found.iter().map(|(_, h)| *h).collect::<Vec<_>>(), [true, false, false, false, true]);
        assert!(found.windows(2).take(2).all(|pair| pair[1].0 < pair[0].0), "{found:?}");
        u.clone_from(&probe.best.as_ref().unwrap().0);
        assert!((u[1] - 5.0).abs() < 0.01, "{u:?}");
        let mut probe = of(&[(Kind::Lr, 1), (Kind::L2Global, 1)]);
        let found = run(&mut probe, vec![0.0, 5.0], 40, valley);
        let best = found.iter().map(|(loss, _)| *loss).fold(f64::MAX, f64::min);
        assert!(best < 1.01, "{best}");
        assert!(found.iter().filter(|(_, h)| *h).count() <= 10, "a third of the price and less");
    }

    #[test]
    fn a_try_that_fails_is_followed_by_a_nearer_one_and_then_by_random_ones() {
        // A wall: every try is worse.
        let wall = |u: &[f64]| (if u[0] == 0.0 { 1.0 } else { 2.0 }, vec![1.0]);
        let mut probe = of(&[(Kind::Lr, 1)]);
        let mut u = vec![0.0];
        let mut points = vec![];
        for _ in 0..6 {
            let differentiated = probe.differentiates();
            let (loss, h) = wall(&u);
            points.push((u[0], differentiated));
            let accepted = probe.step(&mut u, loss, if differentiated { &h } else { &[] });
            assert_eq!(accepted, points.len() == 1);
        }
        let along: Vec<f64> = points[1..4].iter().map(|(u, _)| *u).collect();
        for (u, wanted) in along.iter().zip([-0.4, -0.4 * NEARER, -0.4 * NEARER * NEARER]) {
            assert!((u - wanted).abs() < 1e-12, "{along:?}");
        }
        assert!(points[1..].iter().all(|(_, differentiated)| !differentiated));
        assert!(points[4].0 != 0.0 && points[4].0 != points[5].0, "{points:?}");
    }

    #[test]
    fn many_variables_do_not_move_at_random_and_have_a_scale_of_their_own() {
        let mut probe = of(&[(Kind::Lr, 1), (Kind::ExampleWeights, 3)]);
        let mut u = vec![0.0; 4];
        probe.step(&mut u, 1.0, &[1e3, 2e-6, -1e-6, 0.0]);
        let wanted = [-0.4, -0.4, 0.2, 0.0];
        assert!(u.iter().zip(wanted).all(|(u, wanted)| (u - wanted).abs() < 1e-12), "{u:?}");
        for _ in 0..TRIES {
            probe.step(&mut u, 2.0, &[]);
        }
        assert!(!probe.differentiates() && u[0] != 0.0 && u[1..] == [0.0; 3], "{u:?}");
    }

    #[test]
    fn a_start_that_diverges_is_followed_by_shorter_steps() {
        let cliff = |u: &[f64]| if u[0] > -2.5 { (f64::NAN, vec![]) } else { (1.0, vec![0.5]) };
        let mut probe = of(&[(Kind::Lr, 1)]);
        let found = run(&mut probe, vec![0.0], 4, cliff);
        assert!(found[..3].iter().all(|(loss, differentiated)| loss.is_nan() && *differentiated));
        assert_eq!(found[3], (1.0, true));
    }

    #[test]
    fn a_resumed_run_goes_on_bit_for_bit() {
        let mut whole = of(&[(Kind::Lr, 1), (Kind::L2Global, 1)]);
        let mut u = vec![0.0, 5.0];
        let mut parts = whole.clone();
        let mut v = u.clone();
        for _ in 0..30 {
            let go = |probe: &mut ProbeDescent, u: &mut Vec<f64>| {
                let (loss, h) = valley(u);
                let h = if probe.differentiates() { h } else { vec![] };
                probe.step(u, loss, &h);
            };
            go(&mut whole, &mut u);
            parts = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
            go(&mut parts, &mut v);
        }
        assert!(whole == parts && u == v);
    }
}
