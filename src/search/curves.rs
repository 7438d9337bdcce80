//! A Gaussian process over learning curves (Swersky et al. 2014): each curve decays towards a value of its own, its asymptote,
//! and asymptotes of near points are alike.
//!
//! ```text
//! yₙ(t) = fₙ + gₙ(t),   f ~ N(0, K_x) (Matérn 5/2),   gₙ ~ N(0, β^α / (t + t' + β)^α + σ² [t = t'])
//! ```
//!
//! Curves are independent given the asymptotes, so that no matrix is larger than a curve is long, or than there are curves:
//! to the asymptotes, a curve is one observation, 1ᵀKₙ⁻¹yₙ / Λₙ with precision Λₙ = 1ᵀKₙ⁻¹1.

use crate::gp::bfgs::Search;
use crate::gp::cholesky::{Cholesky, dot};
use crate::gp::{Coordinate, Parameters};

/// The values of a trial at rungs 1, 2, 3 …, and its point.
#[derive(Clone, Debug)]
pub struct Curve {
    /// The point, in the unit cube.
    pub place: Vec<f64>,
    /// The values, at least one.
    pub values: Vec<f64>,
}

/// What is fitted.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Of the asymptotes; the noise is that of single values.
    pub asymptotes: Parameters,
    /// α: how sharply curves bend.
    pub alpha: f64,
    /// β: how long they fall.
    pub beta: f64,
}

impl Shape {
    /// Ones, with little noise: where a fit starts.
    fn start(dimensions: usize) -> Self {
        Shape { asymptotes: Parameters { noise: 1e-3, ..Parameters::ones(dimensions) }, alpha: 1.0, beta: 1.0 }
    }

    /// The covariance of a curve's values at two rungs, without noise and asymptote.
    pub fn decay(&self, t: usize, other: usize) -> f64 {
        (self.beta / (t as f64 + other as f64 + self.beta)).powf(self.alpha)
    }

    /// The covariance of the values at the first rungs, factored.
    fn factor(&self, rungs: usize) -> Option<Cholesky> {
        let entry = |i: usize, j: usize| {
            let noise = if i == j { self.asymptotes.noise } else { 0.0 };
            self.decay(i + 1, j + 1) + noise
        };
        Cholesky::new((0..rungs).map(|i| (0..=i).map(|j| entry(i, j)).collect()).collect())
    }

    fn to_logs(&self) -> Vec<f64> {
        let Parameters { inverse_squares, signal, noise } = &self.asymptotes;
        let noise = (noise - LEAST_NOISE).max(f64::MIN_POSITIVE);
        inverse_squares.iter().chain([signal, &noise, &self.alpha, &self.beta]).map(|p| p.ln()).collect()
    }

    fn from_logs(logs: &[f64]) -> Self {
        let (scales, rest) = logs.split_at(logs.len() - 4);
        let inverse_squares = scales.iter().map(|log| log.exp()).collect();
        let asymptotes = Parameters { inverse_squares, signal: rest[0].exp(), noise: rest[1].exp() + LEAST_NOISE };
        Shape { asymptotes, alpha: rest[2].exp(), beta: rest[3].exp() }
    }
}

/// No noise is fitted below this.
const LEAST_NOISE: f64 = 1e-6;

/// Logarithms of what is fitted stay within these.
const BOUNDS: (f64, f64) = (-14.0, 5.0);

/// Half a step of the differences that fits go by.
const STEP: f64 = 1e-5;

/// What is believed of curves and their asymptotes.
pub struct Curves {
    coordinates: Vec<Coordinate>,
    curves: Vec<Curve>,
    shape: Shape,
    /// √Λₙ.
    roots: Vec<f64>,
    /// I + Λ^½ K_x Λ^½.
    factor: Cholesky,
    /// Its inverse times Λ^−½ 1ᵀK⁻¹y.
    weights: Vec<f64>,
    log_likelihood: f64,
}

impl Curves {
    /// With what is fitted given; none where that makes no covariance.
    pub fn new(coordinates: &[Coordinate], curves: &[Curve], shape: Shape) -> Option<Self> {
        let longest = curves.iter().map(|curve| curve.values.len()).max()?;
        // The factor of a shorter curve is the beginning of that of the longest.
        let whole = shape.factor(longest)?;
        let ones = whole.forward(&vec![1.0; longest]);
        let logs: Vec<f64> = whole.log_diagonal().collect();
        let (mut roots, mut targets) = (vec![], vec![]);
        let mut log_likelihood = 0.0;
        for Curve { values, .. } in curves {
            let length = values.len();
            let whitened = whole.forward(values);
            let root = dot(&ones[..length], &ones[..length]).sqrt();
            targets.push(dot(&ones[..length], &whitened) / root);
            roots.push(root);
            let constant = 0.5 * length as f64 * std::f64::consts::TAU.ln();
            log_likelihood -= 0.5 * dot(&whitened, &whitened) + logs[..length].iter().sum::<f64>() + constant;
        }
        let row = |i: usize| {
            let entry = |j: usize| {
                let covariance = shape.asymptotes.covariance(coordinates, &curves[i].place, &curves[j].place);
                roots[i] * covariance * roots[j] + f64::from(u8::from(i == j))
            };
            (0..=i).map(entry).collect()
        };
        let factor = Cholesky::new((0..curves.len()).map(row).collect())?;
        let weights = factor.solve(&targets);
        // (K + Λ⁻¹)⁻¹ leaves of ½ γᵀΛ⁻¹γ what the asymptotes do not explain.
        log_likelihood += 0.5 * (dot(&targets, &targets) - dot(&targets, &weights)) - factor.log_determinant();
        let (coordinates, curves) = (coordinates.to_vec(), curves.to_vec());
        Some(Curves { coordinates, curves, shape, roots, factor, weights, log_likelihood })
    }

    /// With the most probable parameters that a search finds, by differences: the prior of the length scales and of the
    /// signal is that of the Gaussian process for points.
    pub fn fit(coordinates: &[Coordinate], curves: &[Curve]) -> Option<Self> {
        let start = Shape::start(curves.first()?.place.len());
        let improbability = |logs: &[f64]| {
            let shape = Shape::from_logs(logs);
            let prior = log_prior(&shape);
            Self::new(coordinates, curves, shape).map_or(f64::INFINITY, |model| -model.log_likelihood - prior)
        };
        let with_slopes = |logs: &[f64]| {
            let slope = |k: usize| {
                let at = |h: f64| {
                    let mut logs = logs.to_vec();
                    logs[k] += h;
                    improbability(&logs)
                };
                (at(STEP) - at(-STEP)) / (2.0 * STEP)
            };
            (improbability(logs), (0..logs.len()).map(slope).collect())
        };
        let logs = start.to_logs();
        let search = Search { bounds: BOUNDS, metric: &vec![1.0; logs.len()], tolerance: 1e-3, steps: 60 };
        let (found, _) = search.minimize(with_slopes, &logs);
        Self::new(coordinates, curves, Shape::from_logs(&found)).or_else(|| Self::new(coordinates, curves, start))
    }

    /// The logarithm of the marginal likelihood of all values.
    pub fn log_likelihood(&self) -> f64 {
        self.log_likelihood
    }

    /// What was fitted.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The curves.
    pub fn curves(&self) -> &[Curve] {
        &self.curves
    }

    /// The covariances of an asymptote with those of the curves, times √Λ.
    fn scaled(&self, x: &[f64]) -> Vec<f64> {
        let covariance = |curve: &Curve| self.shape.asymptotes.covariance(&self.coordinates, x, &curve.place);
        self.curves.iter().zip(&self.roots).map(|(curve, root)| covariance(curve) * root).collect()
    }

    /// Means and covariances (lower triangle) of the asymptotes at some places.
    pub fn asymptotes(&self, places: &[Vec<f64>]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let scaled: Vec<Vec<f64>> = places.iter().map(|x| self.scaled(x)).collect();
        let explained: Vec<Vec<f64>> = scaled.iter().map(|row| self.factor.forward(row)).collect();
        let prior = |i: usize, j: usize| self.shape.asymptotes.covariance(&self.coordinates, &places[i], &places[j]);
        let row = |i: usize| (0..=i).map(|j| prior(i, j) - dot(&explained[i], &explained[j])).collect();
        let means = scaled.iter().map(|row| dot(row, &self.weights)).collect();
        (means, (0..places.len()).map(row).collect())
    }

    /// Mean and variance of the next value of a curve, without noise; of none, of the first value at a place.
    pub fn next(&self, curve: Option<usize>, place: &[f64]) -> (f64, f64) {
        let (means, covariances) = self.asymptotes(std::slice::from_ref(&place.to_vec()));
        let (mean, variance) = (means[0], covariances[0][0]);
        let values = curve.map_or(&[] as &[f64], |n| &self.curves[n].values);
        let next = values.len() + 1;
        let factor = self.shape.factor(values.len()).filter(|_| !values.is_empty());
        let Some(factor) = factor else { return (mean, variance + self.shape.decay(1, 1)) };
        let covariances: Vec<f64> = (1..next).map(|t| self.shape.decay(t, next)).collect();
        let shares = factor.solve(&covariances);
        let left = 1.0 - shares.iter().sum::<f64>();
        let own = self.shape.decay(next, next) - dot(&shares, &covariances);
        (dot(&shares, values) + left * mean, own + left * left * variance)
    }

    /// As if a value were known: the next of a curve, or the first at a place.
    pub fn with(&self, curve: Option<usize>, place: &[f64], value: f64) -> Option<Self> {
        let mut curves = self.curves.clone();
        match curve {
            Some(n) => curves[n].values.push(value),
            None => curves.push(Curve { place: place.to_vec(), values: vec![value] }),
        }
        Self::new(&self.coordinates, &curves, self.shape.clone())
    }
}

/// The logarithm of the prior but for a constant.
fn log_prior(shape: &Shape) -> f64 {
    let Parameters { inverse_squares, signal, .. } = &shape.asymptotes;
    inverse_squares.iter().map(|a| -0.1 / a - 0.1 * a).sum::<f64>() + signal.ln() - signal
}
