//! Asynchronous successive halving (Li et al. 2020): by promotion, as published, and by stopping, as in Ray and Optuna.
//! With several brackets the latter is Ray's asynchronous Hyperband.

use super::brackets::optuna_bracket;
use super::draws::{Occasion, chosen, stream};
use super::history::{Attributes, Decision, History, State, Trial, finite};
use super::percentile::quantile;
use super::searcher::{Ask, Plan, Schedule, Verdict, to_its_end};

/// When a trial that waits at a rung goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Promotion {
    /// Once it is among the best ⌊n/η⌋ of the n there (the paper).
    #[default]
    Count,
    /// Once its value is within the interpolated 1/η quantile of the values there (Syne Tune 0.13.0).
    Quantile,
}

/// Asynchronous successive halving by promotion: trials wait at each rung until enough others did worse there.
#[derive(Clone, Copy, Debug)]
pub struct Asha {
    /// Steps of the lowest rung.
    pub least: u64,
    /// Steps of a whole training.
    pub most: u64,
    /// η: each rung is so many times the one below.
    pub factor: u64,
    /// When a trial goes on.
    pub promotion: Promotion,
}

impl Asha {
    /// The steps of all rungs, a whole training being the last.
    pub fn rungs(&self) -> Vec<u64> {
        let below = std::iter::successors(Some(self.least.max(1)), |rung| rung.checked_mul(self.factor.max(2)));
        below.take_while(|rung| *rung < self.most).chain([self.most]).collect()
    }

    /// The trial that goes on from a rung, and why.
    fn promoted(&self, trials: &[Trial], rung: u64) -> Option<(u64, Decision)> {
        let mut there: Vec<(f64, &Trial)> =
            trials.iter().filter_map(|trial| Some((trial.value_at(rung)?, trial))).collect();
        there.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.number.cmp(&b.1.number)));
        let waits = |trial: &Trial| trial.state == State::Paused && trial.budget == rung;
        let (best, threshold) = match self.promotion {
            Promotion::Count => {
                let count = there.len() / self.factor.max(2) as usize;
                (count, there.get(count.checked_sub(1)?)?.0)
            }
            Promotion::Quantile => {
                let values: Vec<f64> = there.iter().map(|(value, _)| *value).collect();
                let threshold =
                    if values.len() > 1 { quantile(&values, 1.0 / self.factor.max(2) as f64)? } else { return None };
                (there.partition_point(|(value, _)| *value <= threshold), threshold)
            }
        };
        let (value, trial) = there[..best].iter().find(|(_, trial)| waits(trial))?;
        Some((trial.number, Decision { rung, threshold, value: *value }))
    }
}

impl Schedule for Asha {
    fn plan(&self, history: &History, _: u64, _: u64) -> Plan {
        let rungs = self.rungs();
        for pair in rungs.windows(2).rev() {
            if let Some((trial, decision)) = self.promoted(history.trials(), pair[0]) {
                return Plan::Other(Ask::Resume { trial, budget: pair[1], decision });
            }
        }
        Plan::Start { budget: rungs[0], attributes: Attributes::new() }
    }

    fn judge(&self, history: &History, _: u64, trial: u64) -> Verdict {
        match to_its_end(history, trial) {
            Verdict::Complete if history.trial(trial).is_some_and(|trial| trial.step() < self.most) => Verdict::Pause,
            verdict => verdict,
        }
    }
}

/// How trials come into brackets.
#[derive(Clone, Debug, PartialEq)]
pub enum Brackets {
    /// By chance, in proportion to e to the number of rungs, as in Ray; so many brackets.
    Chance(u32),
    /// By the name of the study, as in Optuna's Hyperband; so many brackets, the one with most rungs first.
    Named(String, u32),
}

/// Whose rule stops a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// Ray 2.60.0's: worse than the interpolated quantile of the values that were recorded there before.
    #[default]
    Ray,
    /// Optuna 5.0.0's: not among the best ⌊n/η⌋ of the values there, its own included, and not the best.
    Optuna,
}

/// Asynchronous successive halving by stopping: at each rung a trial ends or trains on at once.
#[derive(Clone, Debug)]
pub struct AshaStopping {
    /// Steps of the lowest rung of the first bracket.
    pub least: u64,
    /// Steps of a whole training.
    pub most: u64,
    /// η: each rung is so many times the one below.
    pub factor: u64,
    /// How trials come into brackets; bracket s begins s rungs higher.
    pub brackets: Brackets,
    /// Whose rule stops a trial.
    pub rule: Stop,
}

/// What a trial was recorded with at a rung.
struct Record {
    rung: u64,
    value: f64,
    order: u64,
}

impl AshaStopping {
    /// The steps of a bracket's rungs.
    pub fn rungs(&self, bracket: u32) -> Vec<u64> {
        let (least, factor) = (self.least.max(1), self.factor.max(2));
        let power = |k: u32| least.saturating_mul(factor.saturating_pow(k));
        match self.rule {
            Stop::Ray => {
                // By a truncated logarithm: of 243 = 3⁵ the highest rung is 81.
                let rungs = (self.most as f64 / least as f64).ln() / (factor as f64).ln();
                let count = (rungs - f64::from(bracket) + 1.0).max(0.0) as u32;
                (0..count).map(|k| power(k + bracket)).collect()
            }
            Stop::Optuna => (bracket..).map(power).take_while(|rung| *rung <= self.most).collect(),
        }
    }

    /// The probabilities of the brackets that trials come into by chance.
    pub fn chances(&self, brackets: u32) -> Vec<f64> {
        let sizes: Vec<f64> = (0..brackets).map(|bracket| self.rungs(bracket).len() as f64).collect();
        let largest = sizes.iter().copied().fold(0.0, f64::max);
        let weights: Vec<f64> = sizes.iter().map(|size| (size - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    }

    /// The bracket of a new trial.
    fn bracket(&self, seed: u64, trial: u64) -> u32 {
        match &self.brackets {
            Brackets::Chance(count) => {
                let uniform = stream(seed, trial, Occasion::Bracket).uniform();
                chosen(&self.chances(*count), uniform) as u32
            }
            Brackets::Named(study, count) => {
                let share = |s: u32| (u64::from(*count) * self.factor.saturating_pow(s)).div_ceil(u64::from(s) + 1);
                let shares: Vec<u64> = (0..*count).rev().map(share).collect();
                optuna_bracket(study, trial, &shares) as u32
            }
        }
    }

    fn bracket_of(trial: &Trial) -> u32 {
        trial.number_of("bracket").unwrap_or_default() as u32
    }

    /// Where a trial was recorded, in the order in which it was.
    fn records(&self, trial: &Trial) -> Vec<Record> {
        let rungs = self.rungs(Self::bracket_of(trial));
        let mut records: Vec<Record> = vec![];
        for report in trial.reports.iter().filter(|report| self.rule == Stop::Optuna || report.step <= self.most) {
            let open = |rung: &&u64| report.step >= **rung && records.iter().all(|record| record.rung != **rung);
            let new: Vec<u64> = match self.rule {
                // The highest only: one that was jumped over is recorded by the next report.
                Stop::Ray => rungs.iter().rev().find(open).into_iter().copied().collect(),
                Stop::Optuna => rungs.iter().filter(open).copied().collect(),
            };
            let new = new.into_iter().filter(|rung| trial.pruning.is_none_or(|decision| *rung <= decision.rung));
            records.extend(new.map(|rung| Record { rung, value: finite(report.value), order: report.order }));
        }
        records
    }

    /// Why the last report of a trial stops it, if it does; whether its training is over is not asked.
    pub fn decision(&self, history: &History, trial: u64) -> Option<Decision> {
        let trial = history.trial(trial)?;
        let last = trial.reports.last()?;
        for Record { rung, value, order } in self.records(trial).into_iter().filter(|r| r.order == last.order) {
            let others = history.trials().iter().filter(|other| other.number != trial.number);
            let beside = others.filter(|other| Self::bracket_of(other) == Self::bracket_of(trial));
            let records = beside.flat_map(|other| self.records(other));
            let mut there: Vec<f64> =
                records.filter(|other| other.rung == rung && other.order < order).map(|other| other.value).collect();
            let threshold = match self.rule {
                Stop::Ray => {
                    // Of rewards, as the reference has them, to the last bit.
                    let rewards: Vec<f64> = there.iter().filter(|v| v.is_finite()).map(|v| -v).collect();
                    quantile(&sorted(rewards), 1.0 - 1.0 / self.factor.max(2) as f64).map(|reward| -reward)
                }
                Stop::Optuna => {
                    there.push(value);
                    let there = sorted(there);
                    Some(there[(there.len() / self.factor.max(2) as usize).saturating_sub(1)])
                }
            };
            if let Some(threshold) = threshold.filter(|threshold| value > *threshold) {
                return Some(Decision { rung, threshold, value });
            }
        }
        None
    }
}

impl Schedule for AshaStopping {
    fn plan(&self, _: &History, seed: u64, trial: u64) -> Plan {
        let attributes = Attributes::from([("bracket".to_owned(), self.bracket(seed, trial).into())]);
        Plan::Start { budget: self.most, attributes }
    }

    fn judge(&self, history: &History, _: u64, trial: u64) -> Verdict {
        match to_its_end(history, trial) {
            Verdict::Continue => self.decision(history, trial).map_or(Verdict::Continue, Verdict::Stop),
            ended => ended,
        }
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}
