//! What is believed of the function.

use super::cholesky::{Cholesky, dot};
use super::fit::{covariance, most_probable};
use super::kernel::Parameters;

/// A Gaussian process that has seen values of a function on the unit cube.
pub struct Gp {
    points: Vec<Vec<f64>>,
    parameters: Parameters,
    scale: Scale,
    /// The highest of the targets, which are the values standardised and negated.
    best: usize,
    targets: Vec<f64>,
    factor: Cholesky,
    /// The inverse covariance times the targets.
    weights: Vec<f64>,
}

/// Mean and standard deviation of the values.
#[derive(Clone, Copy)]
struct Scale {
    mean: f64,
    deviation: f64,
}

impl Gp {
    /// With the most probable parameters, searched for from `start` on (those of the last fit) or from ones. Values are
    /// to be minimised; those that are not finite count as the highest seen, −∞ as the lowest.
    ///
    /// # Panics
    /// If there is no point, not one value for each, or if points differ in their number of coordinates.
    pub fn fit(points: &[Vec<f64>], values: &[f64], start: Option<&Parameters>) -> Self {
        let (scale, targets) = standardized(points, values);
        let parameters = most_probable(points, &targets, start);
        Self::condition(points, scale, targets, parameters)
    }

    /// With parameters as they are given.
    ///
    /// # Panics
    /// As [`fit`](Self::fit), and if the parameters do not make a covariance that is positive definite.
    pub fn new(points: &[Vec<f64>], values: &[f64], parameters: Parameters) -> Self {
        let (scale, targets) = standardized(points, values);
        Self::condition(points, scale, targets, parameters)
    }

    fn condition(points: &[Vec<f64>], scale: Scale, targets: Vec<f64>, parameters: Parameters) -> Self {
        let factor = Cholesky::new(covariance(points, &parameters)).expect("a covariance with noise");
        let weights = factor.solve(&targets);
        let best = (1..targets.len()).fold(0, |best, i| if targets[i] > targets[best] { i } else { best });
        Self { points: points.to_vec(), parameters, scale, best, targets, factor, weights }
    }

    /// Its parameters, in units of standardised values: where the next fit may start.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Mean and variance of the function's value (without noise) at a point.
    pub fn posterior(&self, x: &[f64]) -> (f64, f64) {
        let Belief { mean, variance, .. } = self.belief(x);
        let Scale { mean: centre, deviation } = self.scale;
        (centre - deviation * mean, deviation * deviation * variance)
    }

    /// The covariance of its values at two points.
    pub fn covariance(&self, x: &[f64], other: &[f64]) -> f64 {
        let [a, b] = [x, other].map(|x| self.factor.forward(&self.with_observed(x)));
        self.scale.deviation.powi(2) * (self.parameters.pair(x, other).covariance() - dot(&a, &b))
    }

    /// The covariances of the value at a point with the observations.
    fn with_observed(&self, x: &[f64]) -> Vec<f64> {
        self.points.iter().map(|other| self.parameters.pair(x, other).covariance()).collect()
    }

    /// What is believed at a point of the standardised function, which is to be maximised.
    pub(super) fn belief(&self, x: &[f64]) -> Belief {
        let covariances = self.with_observed(x);
        let explained = self.factor.forward(&covariances);
        let variance = (self.parameters.signal - dot(&explained, &explained)).max(0.0);
        Belief { mean: dot(&covariances, &self.weights), variance, explained }
    }

    /// How mean and variance change from a point on.
    pub(super) fn slopes(&self, x: &[f64], belief: Belief) -> (Vec<f64>, Vec<f64>) {
        let shares = self.factor.backward(belief.explained);
        let pairs: Vec<_> = self.points.iter().map(|other| self.parameters.pair(x, other)).collect();
        let along = |j: usize| {
            let slopes: Vec<f64> = pairs.iter().map(|pair| pair.slope(j)).collect();
            (dot(&slopes, &self.weights), -2.0 * dot(&slopes, &shares))
        };
        (0..x.len()).map(along).unzip()
    }

    /// The point with the lowest value so far, and its target.
    pub(super) fn incumbent(&self) -> (&[f64], f64) {
        (&self.points[self.best], self.targets[self.best])
    }
}

/// Mean and variance at a point, and the part of the variance that observations explain, as L⁻¹ k.
pub(super) struct Belief {
    pub mean: f64,
    pub variance: f64,
    explained: Vec<f64>,
}

/// Values clipped to the finite ones, standardised and negated.
fn standardized(points: &[Vec<f64>], values: &[f64]) -> (Scale, Vec<f64>) {
    assert!(!points.is_empty() && points.len() == values.len(), "{} points, {} values", points.len(), values.len());
    assert!(points.iter().all(|x| x.len() == points[0].len()), "points of one space");
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let clipped: Vec<f64> = match low <= high {
        true => values.iter().map(|value| if value.is_nan() { high } else { value.clamp(low, high) }).collect(),
        false => vec![0.0; values.len()],
    };
    let count = clipped.len() as f64;
    let mean = clipped.iter().sum::<f64>() / count;
    let variance = clipped.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
    (Scale { mean, deviation }, clipped.iter().map(|value| (mean - value) / deviation).collect())
}
