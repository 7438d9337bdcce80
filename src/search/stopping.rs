//! Trials that are stopped for what others reached: the median rule, and extrapolation of the learning curve.

use super::history::{Attributes, Decision, History, State, Trial, finite};
use super::normal;
use super::percentile::quantile;
use super::searcher::{Plan, Schedule, Verdict, to_its_end};

/// The median rule of Vizier (Golovin et al. 2017) as in Optuna 5.0.0's `MedianPruner`: a trial ends whose best value so
/// far is worse than the median of the values that completed ones had at this step.
#[derive(Clone, Copy, Debug)]
pub struct Median {
    /// Steps of a training.
    pub budget: u64,
    /// Completed trials before any is stopped.
    pub beginning: usize,
    /// No trial is stopped before so many steps.
    pub warmup: u64,
}

impl Median {
    /// With Optuna's five completed trials, and no warm-up.
    pub fn new(budget: u64) -> Self {
        Median { budget, beginning: 5, warmup: 0 }
    }

    fn decision(&self, history: &History, trial: &Trial) -> Option<Decision> {
        let rung = trial.step();
        let complete: Vec<&Trial> = completed(history).collect();
        if complete.len() < self.beginning || rung < self.warmup {
            return None;
        }
        let mut there: Vec<f64> = complete.iter().filter_map(|other| other.value_at(rung)).collect();
        there.sort_by(f64::total_cmp);
        let threshold = quantile(&there, 0.5)?;
        let value = trial.reports.iter().map(|report| finite(report.value)).fold(f64::INFINITY, f64::min);
        (value > threshold).then_some(Decision { rung, threshold, value })
    }
}

fn completed(history: &History) -> impl Iterator<Item = &Trial> {
    history.trials().iter().filter(|trial| trial.state == State::Complete)
}

impl Schedule for Median {
    fn plan(&self, _: &History, _: u64, _: u64) -> Plan {
        Plan::Start { budget: self.budget, attributes: Attributes::new() }
    }

    fn judge(&self, history: &History, _: u64, trial: u64) -> Verdict {
        ends_or(history, trial, |trial| self.decision(history, trial))
    }
}

/// Complete at its end, and before it stopped for a reason or not.
fn ends_or(history: &History, trial: u64, reason: impl Fn(&Trial) -> Option<Decision>) -> Verdict {
    match to_its_end(history, trial) {
        Verdict::Continue => history.trial(trial).and_then(reason).map_or(Verdict::Continue, Verdict::Stop),
        ended => ended,
    }
}

/// Extrapolation of the learning curve after Domhan et al. (2015), with one family of curves: a + b t⁻ᶜ with noise. A trial
/// ends once the probability that it would beat the best completed one is below 5 %.
///
/// Given c, the curve is linear in a and b, and the prediction under flat priors a Student distribution, taken as normal;
/// the powers c weigh as much as their marginal likelihood. No library of their curves, no sampler.
#[derive(Clone, Copy, Debug)]
pub struct CurveStopping {
    /// Steps of a training.
    pub budget: u64,
    /// The probability below which a trial ends.
    pub hope: f64,
    /// Reports before one is stopped; at least four.
    pub least_reports: usize,
}

/// Powers of curves: from all but logarithmic to nearly exponential.
const POWERS: [f64; 8] = [0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0];

impl CurveStopping {
    /// With Domhan's 5 %, from the fifth report on.
    pub fn new(budget: u64) -> Self {
        CurveStopping { budget, hope: 0.05, least_reports: 5 }
    }

    fn decision(&self, history: &History, trial: &Trial) -> Option<Decision> {
        let threshold = completed(history).map(Trial::score).fold(f64::INFINITY, f64::min);
        let rung = trial.step();
        if !trial.score().is_finite() {
            return Some(Decision { rung, threshold, value: trial.score() });
        }
        let reports = trial.reports.iter().filter(|report| report.value.is_finite());
        let curve: Vec<(f64, f64)> = reports.map(|report| (report.step as f64, report.value)).collect();
        if curve.len() < self.least_reports.max(4) || threshold == f64::INFINITY {
            return None;
        }
        let (hope, value) = chance_below(&curve, self.budget as f64, threshold);
        (hope < self.hope).then_some(Decision { rung, threshold, value })
    }
}

impl Schedule for CurveStopping {
    fn plan(&self, _: &History, _: u64, _: u64) -> Plan {
        Plan::Start { budget: self.budget, attributes: Attributes::new() }
    }

    fn judge(&self, history: &History, _: u64, trial: u64) -> Verdict {
        ends_or(history, trial, |trial| self.decision(history, trial))
    }
}

/// The probability that a curve of at least four points is below a threshold at a later time, and its mean there.
fn chance_below(curve: &[(f64, f64)], time: f64, threshold: f64) -> (f64, f64) {
    let count = curve.len() as f64;
    let middle = curve.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread = curve.iter().map(|(_, y)| (y - middle).powi(2)).sum::<f64>() / count;
    // A curve without noise at all would be certain of anything.
    let least = 1e-6 * spread + f64::MIN_POSITIVE;
    let fits = POWERS.map(|power| {
        let basis = |t: f64| t.powf(-power);
        let centre = curve.iter().map(|(t, _)| basis(*t)).sum::<f64>() / count;
        let squares = curve.iter().map(|(t, _)| (basis(*t) - centre).powi(2)).sum::<f64>();
        let slope = curve.iter().map(|(t, y)| (basis(*t) - centre) * y).sum::<f64>() / squares;
        let predicted = |t: f64| middle + slope * (basis(t) - centre);
        let residual: f64 = curve.iter().map(|(t, y)| (y - predicted(*t)).powi(2)).sum();
        let noise = (residual / (count - 2.0)).max(least);
        let variance = noise * (1.0 + 1.0 / count + (basis(time) - centre).powi(2) / squares);
        // Marginal over a, b and the noise's scale, up to what all powers share.
        let log_weight = -0.5 * squares.ln() - 0.5 * (count - 2.0) * noise.ln();
        (log_weight, predicted(time), variance.sqrt())
    });
    let largest = fits.iter().map(|fit| fit.0).fold(f64::NEG_INFINITY, f64::max);
    let (mut total, mut chance, mut mean) = (0.0, 0.0, 0.0);
    for (log_weight, predicted, deviation) in fits {
        let weight = (log_weight - largest).exp();
        total += weight;
        chance += weight * normal::below((threshold - predicted) / deviation);
        mean += weight * predicted;
    }
    (chance / total, mean / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_extrapolated_to_their_end() {
        let curve: Vec<(f64, f64)> = (1..=12).map(|t| (f64::from(t), 0.3 + 0.5 * f64::from(t).powf(-0.5))).collect();
        let (chance, mean) = chance_below(&curve, 100.0, 0.34);
        assert!((mean - 0.35).abs() < 1e-3 && chance < 0.05, "{mean} {chance}");
        let (chance, _) = chance_below(&curve, 100.0, 0.36);
        assert!(chance > 0.95, "{chance}");
        let noisy: Vec<(f64, f64)> =
            curve.iter().enumerate().map(|(i, (t, y))| (*t, y + if i % 2 == 0 { 0.05 } else { -0.05 })).collect();
        let (chance, _) = chance_below(&noisy, 100.0, 0.34);
        assert!(chance > 0.1, "noise leaves hope: {chance}");
    }
}
