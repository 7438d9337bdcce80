//! Population-based bandits (Parker-Holder et al. 2020): as population-based training, but where a member goes on is chosen
//! by a Gaussian process over time and values, from what rewards changed by so far.

use super::draws::{Draws, Occasion, stream};
use super::history::{Change, History, State, Trial};
use super::pbt::Population;
use super::searcher::{Ask, Searcher, Verdict};
use super::space::{Point, Space};
use crate::gp::bfgs::Search;
use crate::gp::cholesky::{Cholesky, dot};

/// The form of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// With fitted noise, and confidence by the standard deviation.
    #[default]
    Noisy,
    /// As in Ray 2.60.0: without noise, and confidence by the variance. It fails on noisy rewards: it takes them for a
    /// function of no smoothness, and returns a random point.
    Ray260,
}

/// Population-based bandits. Values that are searched: numbers that are not structural; all else is the donor's.
#[derive(Clone, Copy, Debug)]
pub struct Pb2 {
    /// Who takes over from whom, and when.
    pub population: Population,
    /// The form of the model.
    pub form: Form,
}

/// What is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
    /// s²: the variance of the function.
    pub variance: f64,
    /// ℓ: the square of the distance over which it changes.
    pub length: f64,
    /// ε: how much of the past is forgotten in a unit of time.
    pub forgetting: f64,
    /// The variance of the noise.
    pub noise: f64,
}

/// A Gaussian process over observations in scaled units: time first, then the reward before, then values.
pub struct Model {
    inputs: Vec<Vec<f64>>,
    parameters: Parameters,
    factor: Cholesky,
    weights: Vec<f64>,
    log_likelihood: f64,
}

/// Noise that keeps the reference's matrices positive definite.
const JITTER: f64 = 1e-10;

/// Ends of the variance, of the length and of what is forgotten in fits, and of the noise.
const ENDS: [(f64, f64); 4] = [(1e-5, 1e5), (1e-5, 1e5), (1e-5, 0.5), (1e-4, 1.0)];

/// Observations that are taken at most; of fewer than so few all are, of more as many as are likeliest, in such steps.
const MOST: usize = 1000;
const FEW: usize = 200;
const LONGER_BY: usize = 10;

/// The kernel s² e^{−‖x−x'‖²/ℓ} (1−ε)^{|t−t'|/2}, and its derivatives by the logarithms of s², ℓ and ε.
pub fn kernel(parameters: &Parameters, a: &[f64], b: &[f64]) -> (f64, [f64; 3]) {
    let square: f64 = a[1..].iter().zip(&b[1..]).map(|(a, b)| (a - b) * (a - b)).sum();
    let time = 0.5 * (a[0] - b[0]).abs();
    let Parameters { variance, length, forgetting, .. } = *parameters;
    let value = variance * (-square / length).exp() * (1.0 - forgetting).powf(time);
    (value, [value, value * square / length, -value * time * forgetting / (1.0 - forgetting)])
}

/// The logarithm of the length's prior, and its derivative by the logarithm of the length: ln ℓ has mean 0 and deviation 1.5,
/// so that noise is not taken for a function of no smoothness. The reference has none.
fn log_prior(form: Form, parameters: &Parameters) -> (f64, f64) {
    let z = parameters.length.ln() / 1.5;
    if form == Form::Noisy { (-0.5 * z * z, -z / 1.5) } else { (0.0, 0.0) }
}

impl Model {
    /// With parameters as they are given; none where they make no covariance.
    pub fn new(inputs: &[Vec<f64>], targets: &[f64], parameters: Parameters) -> Option<Self> {
        let row = |(i, a): (usize, &Vec<f64>)| {
            let mut row: Vec<f64> = inputs[..=i].iter().map(|b| kernel(&parameters, a, b).0).collect();
            row[i] += parameters.noise + JITTER;
            row
        };
        let factor = Cholesky::new(inputs.iter().enumerate().map(row).collect())?;
        let weights = factor.solve(targets);
        let constant = 0.5 * targets.len() as f64 * std::f64::consts::TAU.ln();
        let log_likelihood = -0.5 * dot(targets, &weights) - factor.log_determinant() - constant;
        Some(Model { inputs: inputs.to_vec(), parameters, factor, weights, log_likelihood })
    }

    /// With the most probable parameters that a search from (1, 1, 0.1) finds; none where there are none.
    pub fn fit(inputs: &[Vec<f64>], targets: &[f64], form: Form) -> Option<Self> {
        let start = Parameters { variance: 1.0, length: 1.0, forgetting: 0.1, noise: 1e-2 };
        let fitted = if form == Form::Noisy { 4 } else { 3 };
        // Shares of the logarithms' ranges.
        let scale = |k: usize| (ENDS[k].1 / ENDS[k].0).ln();
        let parameters = |shares: &[f64]| {
            let at = |k: usize| if k < fitted { ENDS[k].0 * (scale(k) * shares[k]).exp() } else { 0.0 };
            Parameters { variance: at(0), length: at(1), forgetting: at(2), noise: at(3) }
        };
        let begun = [start.variance, start.length, start.forgetting, start.noise];
        let shares: Vec<f64> = (0..fitted).map(|k| (begun[k] / ENDS[k].0).ln() / scale(k)).collect();
        let metric: Vec<f64> = (0..fitted).map(|k| scale(k) * scale(k)).collect();
        let search = Search { bounds: (0.0, 1.0), metric: &metric, tolerance: 1e-6, steps: 300 };
        let improbability = |shares: &[f64]| match Self::new(inputs, targets, parameters(shares)) {
            None => (f64::INFINITY, vec![0.0; fitted]),
            Some(model) => {
                let mut gradient = model.likelihood_slopes();
                let (prior, slope) = log_prior(form, &model.parameters);
                gradient[1] += slope;
                (-model.log_likelihood - prior, (0..fitted).map(|k| -gradient[k] * scale(k)).collect())
            }
        };
        let (found, _) = search.minimize(improbability, &shares);
        Self::new(inputs, targets, parameters(&found))
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The logarithm of the marginal likelihood.
    pub fn log_likelihood(&self) -> f64 {
        self.log_likelihood
    }

    /// Its derivatives by the logarithms of all four parameters: ½ tr((α αᵀ − K⁻¹) ∂K).
    fn likelihood_slopes(&self) -> [f64; 4] {
        let mut slopes = [0.0; 4];
        for (i, row) in self.factor.inverse().iter().enumerate() {
            for (j, inverse) in row.iter().enumerate() {
                let (_, derivatives) = kernel(&self.parameters, &self.inputs[i], &self.inputs[j]);
                let factor = if i == j { 0.5 } else { 1.0 } * (self.weights[i] * self.weights[j] - inverse);
                slopes.iter_mut().zip(derivatives).for_each(|(slope, derivative)| *slope += factor * derivative);
                if i == j {
                    slopes[3] += factor * self.parameters.noise;
                }
            }
        }
        slopes
    }

    /// Mean and variance at a place, and how both change with each of its coordinates.
    fn belief(&self, x: &[f64]) -> (f64, f64, Vec<[f64; 2]>) {
        let covariances: Vec<f64> = self.inputs.iter().map(|seen| kernel(&self.parameters, x, seen).0).collect();
        let explained = self.factor.forward(&covariances);
        let variance = (self.parameters.variance - dot(&explained, &explained)).max(0.0);
        let shares = self.factor.backward(explained);
        let along = |j: usize| {
            let slope =
                |(covariance, seen): (&f64, &Vec<f64>)| -2.0 * covariance * (x[j] - seen[j]) / self.parameters.length;
            let slopes: Vec<f64> = covariances.iter().zip(&self.inputs).map(slope).collect();
            [dot(&slopes, &self.weights), -2.0 * dot(&slopes, &shares)]
        };
        (dot(&covariances, &self.weights), variance, (0..x.len()).map(along).collect())
    }
}

/// κ for so many observations.
pub fn confidence(observations: usize) -> f64 {
    (0.2 + (0.4 * observations as f64).ln().max(0.0)).sqrt()
}

/// The upper confidence bound at values `x`, after the `fixed` coordinates: the mean of what was observed and the
/// uncertainty that is left once what others try now is known; and its slopes by the values.
pub fn bound(form: Form, seen: &Model, pending: &Model, fixed: &[f64], x: &[f64]) -> (f64, Vec<f64>) {
    let place: Vec<f64> = fixed.iter().chain(x).copied().collect();
    let (mean, _, by_mean) = seen.belief(&place);
    let (_, variance, by_variance) = pending.belief(&place);
    let confidence = confidence(seen.inputs.len());
    let (width, by_width) = match form {
        Form::Ray260 => (variance, 1.0),
        Form::Noisy => (variance.sqrt(), 0.5 / variance.sqrt().max(1e-9)),
    };
    let slope = |j: usize| by_mean[j][0] + confidence * by_width * by_variance[j][1];
    (mean + confidence * width, (fixed.len()..place.len()).map(slope).collect())
}

/// Places from which the bound is searched.
const STARTS: usize = 10;

/// Values with a high bound, in shares of their ranges: the best of searches from ten uniform starts, of equal ones the
/// first. `pending` are the values that others were sent to and that nothing is known of yet.
pub fn choose(form: Form, seen: &Observations, pending: &[Vec<f64>], draws: &mut dyn Draws) -> Vec<f64> {
    let dimensions = seen.ends.len();
    let random = |draws: &mut dyn Draws| (0..dimensions).map(|_| draws.uniform()).collect::<Vec<f64>>();
    let Some((model, data)) = seen.model(form) else { return random(draws) };
    let Scaled { mut inputs, mut targets, fixed } = data;
    inputs.extend(pending.iter().map(|values| fixed.iter().chain(values).copied().collect()));
    targets.resize(inputs.len(), 0.0);
    let with_pending = if pending.is_empty() { None } else { Model::fit(&inputs, &targets, form) };
    let with_pending = with_pending.as_ref().unwrap_or(&model);
    let search = Search { bounds: (0.0, 1.0), metric: &vec![1.0; dimensions], tolerance: 1e-7, steps: 200 };
    let negated = |x: &[f64]| {
        let (value, slopes) = bound(form, &model, with_pending, &fixed, x);
        (-value, slopes.iter().map(|slope| -slope).collect())
    };
    let found = (0..STARTS).map(|_| search.minimize(negated, &random(draws)));
    let best = found.reduce(|best, other| if other.1 < best.1 { other } else { best });
    best.map_or(vec![0.5; dimensions], |(x, _)| x)
}

/// What rewards changed by.
#[derive(Clone, Debug)]
pub struct Observations {
    /// Rows of time, the reward before, and values.
    pub rows: Vec<Vec<f64>>,
    /// By how much the reward changed in a unit of time.
    pub changes: Vec<f64>,
    /// The ends of the values.
    pub ends: Vec<(f64, f64)>,
    /// Time and reward of the member that goes on.
    pub now: Vec<f64>,
}

/// Observations in scaled units.
#[derive(Clone, Debug)]
pub struct Scaled {
    /// Time and the reward before as shares of what was seen, values as shares of their ranges.
    pub inputs: Vec<Vec<f64>>,
    /// Changes of the reward, standardised, and cut off at two deviations.
    pub targets: Vec<f64>,
    /// Time and reward of the member that goes on.
    pub fixed: Vec<f64>,
}

impl Observations {
    /// The latest of them, scaled.
    pub fn scaled(&self, latest: usize) -> Scaled {
        let from = self.rows.len().saturating_sub(latest);
        let (rows, changes) = (&self.rows[from..], &self.changes[from..]);
        let extent = |j: usize| {
            let column = rows.iter().map(|row| row[j]);
            column.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
        };
        let all: Vec<(f64, f64)> = (0..self.now.len()).map(extent).chain(self.ends.iter().copied()).collect();
        let share = |(x, (low, high)): (&f64, &(f64, f64))| (x - low) / (high - low + 1e-8);
        let inputs = rows.iter().map(|row| row.iter().zip(&all).map(share).collect()).collect();
        let count = changes.len() as f64;
        let mean = changes.iter().sum::<f64>() / count;
        let deviation = (changes.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / count).sqrt();
        let targets = changes.iter().map(|y| ((y - mean) / (deviation + 1e-8)).clamp(-2.0, 2.0)).collect();
        Scaled { inputs, targets, fixed: self.now.iter().zip(&all).map(share).collect() }
    }

    /// The model of the latest, and these; of many, over the window in which they are likeliest.
    fn model(&self, form: Form) -> Option<(Model, Scaled)> {
        let fit = |latest: usize| {
            let data = self.scaled(latest);
            Some((Model::fit(&data.inputs, &data.targets, form)?, data))
        };
        let count = self.rows.len().min(MOST);
        if count < FEW {
            return fit(count);
        }
        let fits = (FEW..=count).step_by(LONGER_BY).filter_map(fit);
        fits.reduce(|best, other| if other.0.log_likelihood > best.0.log_likelihood { other } else { best })
    }
}

impl Pb2 {
    /// The dimensions that are searched.
    fn moved(space: &Space, point: &Point) -> Vec<usize> {
        let moves = |&j: &usize| {
            let dimension = &space.dimensions()[j];
            point.get(j).is_some() && !dimension.structural && !dimension.domain.is_categorical()
        };
        (0..space.len()).filter(moves).collect()
    }

    /// What members' rewards changed by from one comparison to the next, in the order in which they became known; values
    /// are shares of the ranges of what is searched.
    fn observations(&self, space: &Space, history: &History, moved: &[usize], now: Vec<f64>) -> Observations {
        let mut known: Vec<(u64, Vec<f64>, f64)> = vec![];
        for trial in history.trials() {
            let compared = trial.reports.iter().filter(|report| report.step.is_multiple_of(self.population.interval()));
            let compared: Vec<_> = compared.filter(|report| report.value.is_finite()).collect();
            for pair in compared.windows(2) {
                let [before, after] = pair else { continue };
                let change = last_change(trial, after.step);
                // What was taken over midway has not changed by training alone.
                let point = point_at(trial, after.step);
                let values: Option<Vec<f64>> =
                    moved.iter().map(|&j| Some(space.domain(j).unit(point.get(j)?))).collect();
                let began = change.filter(|change| change.step == before.step);
                let start = began.and_then(|change| value_of(history, change)).unwrap_or(before.value);
                if let Some(values) = values {
                    let row = [after.step as f64, -start].into_iter().chain(values).collect();
                    let rate = (start - after.value) / (after.step - before.step) as f64;
                    known.push((after.order, row, rate));
                }
            }
        }
        known.sort_by_key(|(order, ..)| *order);
        let (rows, changes) = known.into_iter().map(|(_, row, rate)| (row, rate)).unzip();
        Observations { rows, changes, ends: vec![(0.0, 1.0); moved.len()], now }
    }
}

/// The last change of a trial before a step.
fn last_change(trial: &Trial, step: u64) -> Option<&Change> {
    trial.changes.iter().rfind(|change| change.step < step)
}

/// The loss that a trial took over.
fn value_of(history: &History, change: &Change) -> Option<f64> {
    history.trial(change.from)?.value_at(change.from_step).filter(|value| value.is_finite())
}

/// Where a trial was in the steps up to one.
fn point_at(trial: &Trial, step: u64) -> &Point {
    last_change(trial, step).map_or(&trial.begun, |change| &change.point)
}

impl Searcher for Pb2 {
    fn ask(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Ask {
        self.population.ask(space, history, seed, trial)
    }

    fn judge(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Verdict {
        let Some(trial) = history.trial(trial) else { return Verdict::Continue };
        self.population.judge(trial, || {
            let mut draws = stream(seed, trial.number, Occasion::Step(trial.step()));
            let donor = self.population.donor(history, trial, &mut draws)?;
            let moved = Self::moved(space, &donor.point);
            let seen = self.observations(space, history, &moved, vec![trial.step() as f64, -donor.score()]);
            let exploit = |point| Some(Verdict::Exploit { from: donor.number, point });
            if seen.rows.is_empty() || moved.is_empty() {
                return exploit(donor.point.clone());
            }
            // What others of this round were sent to, and have not been compared with since.
            let pending: Vec<Vec<f64>> = history
                .trials()
                .iter()
                .filter(|other| other.number != trial.number && other.state == State::Running)
                .filter(|other| {
                    other.changes.last().is_some_and(|change| other.step() < change.step + self.population.interval())
                })
                .filter_map(|other| moved.iter().map(|&j| Some(space.domain(j).unit(other.point.get(j)?))).collect())
                .collect();
            let chosen = choose(self.form, &seen, &pending, &mut draws);
            let units = space.point(|j, domain| {
                let place = moved.iter().position(|&k| k == j);
                place.map_or_else(|| donor.point.get(j).unwrap_or(domain.level(0)), |at| domain.value(chosen[at]))
            });
            exploit(units)
        })
    }
}
