//! Densities over a space from points seen there, in the two forms that tree-structured Parzen estimators have in use.

use super::domain::Domain;
use super::draws::{Draws, chosen};
use super::normal::{log_between, log_density, truncated};

/// Whose rules a density follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Optuna 5.0.0's: the prior is no neighbour of observations, each kernel is truncated by itself, categories have a
    /// kernel for each observation.
    Optuna5,
    /// hyperopt 0.3.0's: the prior is a neighbour, the mixture is truncated as a whole, categories are counted.
    Hyperopt,
}

/// Observations beyond these latest weigh the less the older they are.
const REMEMBERED: usize = 25;

/// The weights of observations in their order: one for the latest, a ramp for the older ones.
pub fn weights(count: usize) -> Vec<f64> {
    let old = count.saturating_sub(REMEMBERED);
    let ramp = |i: usize| {
        let first = 1.0 / count as f64;
        if old > 1 { first + (1.0 - first) * i as f64 / (old - 1) as f64 } else { first }
    };
    (0..count).map(|i| if i < old { ramp(i) } else { 1.0 }).collect()
}

/// The kernels of one dimension: one for each observation in its order, then the prior's.
#[derive(Clone, Debug, PartialEq)]
pub enum Kernels {
    /// Normal ones, over the values as models take them.
    Numeric {
        /// Their centres.
        centres: Vec<f64>,
        /// Their standard deviations.
        deviations: Vec<f64>,
    },
    /// For each kernel the probability of each category.
    Categorical(Vec<Vec<f64>>),
}

/// A density over a few dimensions.
#[derive(Clone, Debug)]
pub struct Parzen<'a> {
    rules: Rules,
    domains: Vec<&'a Domain>,
    /// Of the kernels; they sum to one.
    weights: Vec<f64>,
    kernels: Vec<Kernels>,
    /// For each dimension, the logarithm of the share of each kernel within the ends.
    kept: Vec<Vec<f64>>,
}

/// The ends within which a dimension's kernels are truncated.
fn ends(rules: Rules, domain: &Domain) -> (f64, f64) {
    match rules {
        Rules::Optuna5 => domain.modelled_ends(),
        // Not widened by half a step.
        Rules::Hyperopt => {
            let (low, high) = domain.ends();
            (domain.modelled(low), domain.modelled(high))
        }
    }
}

impl<'a> Parzen<'a> {
    /// Of points in the order of their trials, with a coordinate for each domain.
    pub fn new(rules: Rules, domains: &[&'a Domain], points: &[Vec<f64>]) -> Self {
        let mut weights = weights(points.len());
        weights.push(1.0);
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        let kernels = domains.iter().enumerate().map(|(j, domain)| {
            let seen: Vec<f64> = points.iter().map(|point| point[j]).collect();
            kernels(rules, domain, &seen)
        });
        let kernels: Vec<Kernels> = kernels.collect();
        let kept = kernels.iter().zip(domains).map(|(kernels, domain)| kept(kernels, ends(rules, domain)));
        Parzen { rules, domains: domains.to_vec(), kept: kept.collect(), kernels, weights }
    }

    /// Their weights, the prior's last.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The kernels of a dimension.
    pub fn kernels(&self, dimension: usize) -> &Kernels {
        &self.kernels[dimension]
    }

    /// The logarithm of the density at a point, in the coordinates that models take; of whole numbers, steps and
    /// categories the probability.
    pub fn log_density(&self, point: &[f64]) -> f64 {
        match self.rules {
            Rules::Optuna5 => log_sum(self.weights.iter().enumerate().map(|(i, weight)| {
                let along = |(j, x): (usize, &f64)| self.log_kernel(i, j, *x) - self.kept[j][i];
                weight.ln() + point.iter().enumerate().map(along).sum::<f64>()
            })),
            Rules::Hyperopt => {
                // Each dimension is a mixture for itself.
                let along = |(j, x): (usize, &f64)| {
                    let mixture = |log: &dyn Fn(usize) -> f64| {
                        log_sum(self.weights.iter().enumerate().map(|(i, weight)| weight.ln() + log(i)))
                    };
                    // hyperopt leaves the density of a logarithm as it is beyond the ends, which changes no choice.
                    let whole = self.domains[j].is_log() && self.domains[j].step().is_none();
                    let kept = if whole { 0.0 } else { mixture(&|i| self.kept[j][i]) };
                    mixture(&|i| self.log_kernel(i, j, *x)) - kept
                };
                point.iter().enumerate().map(along).sum()
            }
        }
    }

    /// The logarithm of a kernel, as if nothing were cut off.
    fn log_kernel(&self, kernel: usize, dimension: usize, x: f64) -> f64 {
        let domain = self.domains[dimension];
        match &self.kernels[dimension] {
            Kernels::Categorical(rows) => rows[kernel][x as usize].ln(),
            Kernels::Numeric { centres, deviations } => {
                let (centre, deviation) = (centres[kernel], deviations[kernel]);
                let Some(step) = domain.step() else {
                    let x = domain.modelled(x);
                    // Optuna's density of a logarithm is one over logarithms, hyperopt's over the values.
                    let per_value = self.rules == Rules::Hyperopt && domain.is_log();
                    let scale = if per_value { x } else { 0.0 };
                    return log_density((x - centre) / deviation) - deviation.ln() - scale;
                };
                let (low, high) = ends(self.rules, domain);
                let end = |x: f64| (domain.modelled(x).clamp(low, high) - centre) / deviation;
                log_between(end(x - 0.5 * step), end(x + 0.5 * step))
            }
        }
    }

    /// A point drawn from the density: Optuna's from one kernel (one draw) in all dimensions (one draw each), hyperopt's
    /// from a kernel of its own in each (two draws each).
    pub fn draw(&self, draws: &mut dyn Draws) -> Vec<f64> {
        let mut kernel = match self.rules {
            Rules::Optuna5 => chosen(&self.weights, draws.uniform()),
            Rules::Hyperopt => 0,
        };
        let along = |(j, kernels): (usize, &Kernels)| {
            if self.rules == Rules::Hyperopt {
                let kept = |(i, weight): (usize, &f64)| weight * self.kept[j][i].exp();
                let weights: Vec<f64> = self.weights.iter().enumerate().map(kept).collect();
                kernel = chosen(&weights, draws.uniform());
            }
            let uniform = draws.uniform();
            match kernels {
                Kernels::Categorical(rows) => chosen(&rows[kernel], uniform) as f64,
                Kernels::Numeric { centres, deviations } => {
                    let domain = self.domains[j];
                    domain.nearest(truncated(centres[kernel], deviations[kernel], ends(self.rules, domain), uniform))
                }
            }
        };
        self.kernels.iter().enumerate().map(along).collect()
    }
}

/// The logarithms of the shares of kernels within two ends.
fn kept(kernels: &Kernels, (low, high): (f64, f64)) -> Vec<f64> {
    match kernels {
        Kernels::Categorical(rows) => vec![0.0; rows.len()],
        Kernels::Numeric { centres, deviations } => {
            let share = |(centre, deviation): (&f64, &f64)| {
                let [low, high] = [low, high].map(|end| (end - centre) / deviation);
                log_between(low, high)
            };
            centres.iter().zip(deviations).map(share).collect()
        }
    }
}

/// ln Σ eˣ.
fn log_sum(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_finite() { largest + logs.map(|log| (log - largest).exp()).sum::<f64>().ln() } else { largest }
}

/// The kernels of one dimension.
fn kernels(rules: Rules, domain: &Domain, seen: &[f64]) -> Kernels {
    if domain.is_categorical() {
        let choices = domain.count().unwrap_or(1);
        return Kernels::Categorical(match rules {
            Rules::Optuna5 => optuna_categories(seen, choices),
            Rules::Hyperopt => hyperopt_categories(seen, choices),
        });
    }
    let (low, high) = ends(rules, domain);
    let (middle, range) = (0.5 * (low + high), high - low);
    let mut centres: Vec<f64> = seen.iter().map(|value| domain.modelled(*value)).collect();
    let mut deviations = match rules {
        Rules::Optuna5 => gaps(&centres, |first| (first - low).max(high - first)),
        Rules::Hyperopt => {
            let with_prior: Vec<f64> = centres.iter().copied().chain([middle]).collect();
            match centres.len() {
                1 => vec![0.5 * range],
                count => gaps(&with_prior, |_| range)[..count].to_vec(),
            }
        }
    };
    centres.push(middle);
    let least = range / f64::min(100.0, 1.0 + centres.len() as f64);
    deviations.iter_mut().for_each(|deviation| *deviation = deviation.clamp(least, range));
    deviations.push(range);
    Kernels::Numeric { centres, deviations }
}

/// For each centre the larger of the gaps to its neighbours; the outermost have one. A single one has what `alone` says.
fn gaps(centres: &[f64], alone: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..centres.len()).collect();
    order.sort_by(|&a, &b| centres[a].total_cmp(&centres[b]));
    let mut gaps = vec![0.0; centres.len()];
    for (place, &i) in order.iter().enumerate() {
        let gap = |other: Option<&usize>| other.map(|&j| (centres[i] - centres[j]).abs());
        let sides = [place.checked_sub(1).and_then(|before| gap(order.get(before))), gap(order.get(place + 1))];
        gaps[i] = sides.into_iter().flatten().reduce(f64::max).unwrap_or_else(|| alone(centres[i]));
    }
    gaps
}

/// A kernel for each observation, 1 + 1/N on its own category and 1/N on the others before they are normalised, and the
/// even one.
fn optuna_categories(seen: &[f64], choices: usize) -> Vec<Vec<f64>> {
    let share = 1.0 / (seen.len() + 1) as f64;
    let total = 1.0 + choices as f64 * share;
    let row = |category: Option<usize>| {
        let own = |c: usize| f64::from(u8::from(category == Some(c)));
        let total = if category.is_some() { total } else { total - 1.0 };
        (0..choices).map(|c| (own(c) + share) / total).collect()
    };
    seen.iter().map(|value| row(Some(*value as usize))).chain([row(None)]).collect()
}

/// The share of each category among the observations and one of each, in every kernel: with linear forgetting.
fn hyperopt_categories(seen: &[f64], choices: usize) -> Vec<Vec<f64>> {
    let mut counts = vec![1.0; choices];
    seen.iter().zip(weights(seen.len())).for_each(|(value, weight)| counts[*value as usize] += weight);
    let total: f64 = counts.iter().sum();
    let row: Vec<f64> = counts.iter().map(|count| count / total).collect();
    vec![row; seen.len() + 1]
}
