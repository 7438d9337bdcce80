//! How probable parameters are: the likelihood of what was observed, a prior, and the maximum of both.

use super::bfgs::Search;
use super::cholesky::{Cholesky, dot};
use super::kernel::{Coordinate, Parameters};
use super::observations::Site;

/// No noise is fitted below this.
const LEAST_NOISE: f64 = 1e-6;

/// Logarithms of parameters stay within these.
const BOUNDS: (f64, f64) = (-20.0, 20.0);

/// The covariance of the observations, as its lower triangle.
pub(super) fn covariance(sites: &[Site], coordinates: &[Coordinate], parameters: &Parameters) -> Vec<Vec<f64>> {
    let row = |(i, site): (usize, &Site)| {
        let with = |other: &Site| parameters.pair(coordinates, &site.point, &other.point).covariance();
        let mut row: Vec<f64> = sites[..=i].iter().map(with).collect();
        row[i] += parameters.noise;
        row
    };
    sites.iter().enumerate().map(row).collect()
}

/// The logarithm of the marginal likelihood, and its derivatives by the logarithms of the inverse squared length
/// scales, of the signal and of the noise; −∞ where the covariance is not positive definite.
pub(super) fn log_marginal_likelihood(
    sites: &[Site],
    coordinates: &[Coordinate],
    parameters: &Parameters,
) -> (f64, Vec<f64>) {
    let dimensions = parameters.inverse_squares.len();
    let mut gradient = vec![0.0; dimensions + 2];
    let Some(factor) = Cholesky::new(covariance(sites, coordinates, parameters)) else {
        return (f64::NEG_INFINITY, gradient);
    };
    let targets: Vec<f64> = sites.iter().map(|site| site.target).collect();
    let weights = factor.solve(&targets);
    let constant = 0.5 * targets.len() as f64 * std::f64::consts::TAU.ln();
    let value = -0.5 * dot(&targets, &weights) - factor.log_determinant() - constant;
    // ½ tr((α αᵀ − K⁻¹) ∂K), what stands off the diagonal once instead of twice half.
    for (i, (site, row)) in sites.iter().zip(factor.inverse()).enumerate() {
        for (j, (other, inverse)) in sites.iter().zip(row).enumerate() {
            let pair = parameters.pair(coordinates, &site.point, &other.point);
            let factor = if i == j { 0.5 } else { 1.0 } * (weights[i] * weights[j] - inverse);
            for (k, sum) in gradient[..dimensions].iter_mut().enumerate() {
                *sum += factor * pair.by_log_scale(k);
            }
            gradient[dimensions] += factor * pair.covariance();
            if i == j {
                gradient[dimensions + 1] += factor * parameters.noise;
            }
        }
    }
    (value, gradient)
}

/// The logarithm of the prior but for a constant, and its derivatives by the same logarithms: Gamma(2, 1) on the
/// signal, Gamma(1.1, 30) on the noise, and length scales neither tiny nor huge.
fn log_prior(parameters: &Parameters) -> (f64, Vec<f64>) {
    let Parameters { inverse_squares, signal, noise } = parameters;
    let scales: f64 = inverse_squares.iter().map(|a| -0.1 / a - 0.1 * a).sum();
    let mut gradient: Vec<f64> = inverse_squares.iter().map(|a| 0.1 / a - 0.1 * a).collect();
    gradient.extend([1.0 - signal, 0.1 - 30.0 * noise]);
    (scales + signal.ln() - signal + 0.1 * noise.ln() - 30.0 * noise, gradient)
}

/// The most probable parameters that a search finds from `start` on, or if it finds none, from ones.
pub(super) fn most_probable(sites: &[Site], coordinates: &[Coordinate], start: Option<&Parameters>) -> Parameters {
    let dimensions = sites[0].point.len();
    let ones = Parameters::ones(dimensions);
    let improbability = |logs: &[f64]| {
        let parameters = from_logs(logs);
        let (likelihood, by_likelihood) = log_marginal_likelihood(sites, coordinates, &parameters);
        let (prior, by_prior) = log_prior(&parameters);
        let mut gradient: Vec<f64> = by_likelihood.iter().zip(by_prior).map(|(l, p)| -l - p).collect();
        gradient[dimensions + 1] *= 1.0 - LEAST_NOISE / parameters.noise;
        (-likelihood - prior, gradient)
    };
    let search = Search { bounds: BOUNDS, metric: &vec![1.0; dimensions + 2], tolerance: 1e-4, steps: 200 };
    let mut found = start.into_iter().chain([&ones]).map(|start| search.minimize(improbability, &to_logs(start)));
    found.find(|(_, value)| value.is_finite()).map_or(ones.clone(), |(logs, _)| from_logs(&logs))
}

/// What is searched over: logarithms, of the noise that of what it has above the least.
fn to_logs(parameters: &Parameters) -> Vec<f64> {
    let noise = (parameters.noise - LEAST_NOISE).max(f64::MIN_POSITIVE);
    parameters.inverse_squares.iter().chain([&parameters.signal, &noise]).map(|p| p.ln()).collect()
}

fn from_logs(logs: &[f64]) -> Parameters {
    let (scales, [signal, noise]) = logs.split_last_chunk().expect("two more than dimensions");
    Parameters {
        inverse_squares: scales.iter().map(|log| log.exp()).collect(),
        signal: signal.exp(),
        noise: noise.exp() + LEAST_NOISE,
    }
}
