//! HOAG (Pedregosa 2016; algorithms.md A.8): gradient descent on hypergradients that are at first only
//! roughly right, with a step length that adapts.

use serde::{Deserialize, Serialize};

use super::OuterOptimizer;

/// Factor on the tolerance from one accepted point to the next.
const SHARPENING: f64 = 0.9;
const LEAST_TOLERANCE: f64 = 1e-12;

/// An outer loss above the last one by this share of its size is a step too far.
const WORSE: f64 = 0.2;

/// The constant of the sufficient decrease.
const SLACK: f64 = 0.25;

/// The outer optimiser, and how exactly it wants to know the next hypergradient: hand
/// [`Hoag::tolerance`] to [`Session::set_tolerance`](crate::bilevel::Session::set_tolerance) before each estimate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hoag {
    /// The variables are kept between these.
    bounds: (f64, f64),
    tolerance: f64,
    /// One over the step length; known from the first hypergradient on.
    curvature: Option<f64>,
    last: Option<Accepted>,
}

/// An accepted point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Accepted {
    variables: Vec<f64>,
    hypergradient: Vec<f64>,
    loss: f64,
    tolerance: f64,
}

impl Hoag {
    /// Keeps the unconstrained variables between two bounds (the paper: −6 and 6 for log penalties).
    ///
    /// # Panics
    /// If the first bound is not below the second.
    pub fn new(bounds: (f64, f64)) -> Self {
        assert!(bounds.0 < bounds.1, "the first bound, {}, must be below the second, {}", bounds.0, bounds.1);
        Hoag { bounds, tolerance: 1e-3, curvature: None, last: None }
    }

    fn accept(&mut self, variables: &[f64], loss: f64, hypergradient: &[f64]) {
        let tolerance = self.tolerance;
        let mut curvature = *self.curvature.get_or_insert_with(|| {
            let length = norm(hypergradient.iter().copied());
            if length > 1e-3 { length / (hypergradient.len() as f64).sqrt() } else { 1.0 }
        });
        if let Some(last) = &self.last {
            let moved = norm(variables.iter().zip(&last.variables).map(|(a, b)| a - b));
            let unsure = SLACK * tolerance + last.tolerance * (SLACK + 1.0) * moved;
            if loss <= last.loss + unsure - curvature * moved * moved {
                curvature *= 0.95;
            }
        }
        self.curvature = Some(curvature);
        self.last =
            Some(Accepted { variables: variables.to_vec(), hypergradient: hypergradient.to_vec(), loss, tolerance });
        self.tolerance = (SHARPENING * tolerance).max(LEAST_TOLERANCE);
    }
}

impl OuterOptimizer for Hoag {
    /// Takes the loss and hypergradient found at `variables` and moves them to the next point. After a
    /// point that is too bad the step from the last one is taken again, half as far and with a
    /// hypergradient as it was; the answer says whether the point was accepted.
    fn step(&mut self, variables: &mut [f64], loss: f64, hypergradient: &[f64]) -> bool {
        let finite = loss.is_finite() && hypergradient.iter().all(|h| h.is_finite());
        let bad = |last: &Accepted| loss >= last.loss + WORSE * last.loss.abs();
        let accept = finite && !self.last.as_ref().is_some_and(bad);
        if accept {
            self.accept(variables, loss, hypergradient);
        } else {
            self.curvature = self.curvature.map(|curvature| 2.0 * curvature);
            self.tolerance = (0.5 * self.tolerance).max(LEAST_TOLERANCE);
        }
        if let (Some(last), Some(curvature)) = (&self.last, self.curvature) {
            for ((next, from), h) in variables.iter_mut().zip(&last.variables).zip(&last.hypergradient) {
                *next = (from - h / curvature).clamp(self.bounds.0, self.bounds.1);
            }
        }
        accept
    }

    fn tolerance(&self) -> Option<f64> {
        Some(self.tolerance)
    }
}

fn norm(x: impl Iterator<Item = f64>) -> f64 {
    x.map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A valley with very different curvatures, and a start from which the first step is too long.
    fn valley(u: &[f64]) -> (f64, Vec<f64>) {
        let loss = 1.0 + (u[0] - 1.0).powi(2) + 30.0 * (u[1] + 0.5).powi(2);
        (loss, vec![2.0 * (u[0] - 1.0), 60.0 * (u[1] + 0.5)])
    }

    #[test]
    fn it_finds_its_step_length_and_the_minimum() {
        let mut hoag = Hoag::new((-6.0, 6.0));
        let mut u = vec![-2.0, 1.0];
        let mut rejected = 0;
        for k in 0..400 {
            let (loss, h) = valley(&u);
            let wanted = hoag.tolerance;
            if !hoag.step(&mut u, loss, &h) {
                rejected += 1;
            } else {
                assert!(hoag.tolerance == LEAST_TOLERANCE || hoag.tolerance < wanted, "{k}");
            }
        }
        let (loss, _) = valley(&u);
        assert!(loss < 1.0 + 1e-3, "{loss} at {u:?} after {rejected} rejections");
        assert_eq!(hoag.tolerance, LEAST_TOLERANCE);
    }

    #[test]
    fn it_keeps_within_bounds_and_resumes_bit_for_bit() {
        let mut hoag = Hoag::new((-0.25, 6.0));
        let mut u = vec![-0.1, 1.0];
        for _ in 0..20 {
            let (loss, h) = valley(&u);
            hoag.step(&mut u, loss, &h);
            assert!(u.iter().all(|u| *u >= -0.25));
        }
        let (mut again, mut v): (Hoag, _) =
            (serde_json::from_str(&serde_json::to_string(&hoag).unwrap()).unwrap(), u.clone());
        for _ in 0..20 {
            for (hoag, u) in [(&mut hoag, &mut u), (&mut again, &mut v)] {
                let (loss, h) = valley(u);
                hoag.step(u, loss, &h);
            }
        }
        assert_eq!((hoag, u), (again, v));
    }

    #[test]
    fn a_diverged_point_is_taken_back() {
        let mut hoag = Hoag::new((-6.0, 6.0));
        let mut u = vec![2.0];
        assert!(hoag.step(&mut u, 1.0, &[4.0]));
        assert_eq!(u, [1.0]);
        assert!(!hoag.step(&mut u, f64::NAN, &[]));
        assert_eq!(u, [1.5]);
    }
}
