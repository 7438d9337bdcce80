//! What is believed of the function.

use super::cholesky::{Cholesky, dot};
use super::fit;
use super::kernel::{Coordinate, Pair, Parameters};
use super::observations::{Observation, Scale, Site, standardized};

/// A Gaussian process that has seen a function on the unit cube.
pub struct Gp {
    /// What was observed, then what is assumed.
    sites: Vec<Site>,
    /// How many of them were observed.
    observed: usize,
    /// What coordinates can be; all are dense if nothing is said.
    coordinates: Vec<Coordinate>,
    scale: Scale,
    parameters: Parameters,
    factor: Cholesky,
    /// The inverse covariance times the targets.
    weights: Vec<f64>,
}

impl Gp {
    /// With the most probable parameters, searched for from `start` on (those of the last fit) or from ones.
    ///
    /// # Panics
    /// If nothing was observed, or if points differ in their number of coordinates.
    pub fn fit(observations: &[Observation], start: Option<&Parameters>) -> Self {
        Self::fit_over(&[], observations, start)
    }

    /// As [`fit`](Self::fit), over coordinates that are not all dense.
    ///
    /// # Panics
    /// As [`fit`](Self::fit).
    pub fn fit_over(coordinates: &[Coordinate], observations: &[Observation], start: Option<&Parameters>) -> Self {
        let (scale, sites) = standardized(observations);
        let parameters = fit::most_probable(&sites, coordinates, start);
        Self::condition(scale, sites, coordinates.to_vec(), parameters)
    }

    /// With parameters as they are given.
    ///
    /// # Panics
    /// As [`fit`](Self::fit), and if the parameters do not make a covariance that is positive definite.
    pub fn new(observations: &[Observation], parameters: Parameters) -> Self {
        let (scale, sites) = standardized(observations);
        Self::condition(scale, sites, vec![], parameters)
    }

    fn condition(scale: Scale, sites: Vec<Site>, coordinates: Vec<Coordinate>, parameters: Parameters) -> Self {
        let factor =
            Cholesky::new(fit::covariance(&sites, &coordinates, &parameters)).expect("a covariance with noise");
        let targets: Vec<f64> = sites.iter().map(|site| site.target).collect();
        let weights = factor.solve(&targets);
        Self { observed: sites.len(), sites, coordinates, scale, parameters, factor, weights }
    }

    /// As if at these points its mean had been observed: what is being tried elsewhere need not be tried again.
    pub fn assuming(mut self, points: &[Vec<f64>]) -> Self {
        let observed = self.observed;
        let assumed: Vec<Site> =
            points.iter().map(|point| Site { point: point.clone(), target: self.belief(point).mean }).collect();
        self.sites.extend(assumed);
        Self { observed, ..Self::condition(self.scale, self.sites, self.coordinates, self.parameters) }
    }

    /// What its coordinates can be; those beyond the end are dense.
    pub(super) fn coordinates(&self) -> &[Coordinate] {
        &self.coordinates
    }

    /// Its parameters, in units of standardised values: where the next fit may start.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The logarithm of the marginal likelihood of what was observed, standardised, and its derivatives by the
    /// logarithms of the parameters, in their order.
    pub fn log_marginal_likelihood(&self) -> (f64, Vec<f64>) {
        fit::log_marginal_likelihood(&self.sites, &self.coordinates, &self.parameters)
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
        self.scale.deviation.powi(2) * (self.pair(x, other).covariance() - dot(&a, &b))
    }

    fn pair<'a>(&'a self, x: &'a [f64], other: &'a [f64]) -> Pair<'a> {
        self.parameters.pair(&self.coordinates, x, other)
    }

    /// The covariances of the value at a point with all that was observed.
    fn with_observed(&self, x: &[f64]) -> Vec<f64> {
        self.sites.iter().map(|seen| self.pair(x, &seen.point).covariance()).collect()
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
        let along = |j: usize| {
            let slopes: Vec<f64> = self.sites.iter().map(|seen| self.pair(x, &seen.point).slope(j)).collect();
            (dot(&slopes, &self.weights), -2.0 * dot(&slopes, &shares))
        };
        (0..x.len()).map(along).unzip()
    }

    /// The point with the lowest value so far, and its target.
    pub(super) fn incumbent(&self) -> (&[f64], f64) {
        let best =
            self.sites[..self.observed].iter().reduce(|best, site| if site.target > best.target { site } else { best });
        best.map(|site| (site.point.as_slice(), site.target)).expect("an observation at least")
    }
}

/// Mean and variance at a point, and the part of the variance that observations explain, as L⁻¹ k.
pub(super) struct Belief {
    pub mean: f64,
    pub variance: f64,
    explained: Vec<f64>,
}
