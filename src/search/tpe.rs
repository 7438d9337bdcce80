//! Tree-structured Parzen estimators (Bergstra et al. 2011): points are drawn where good ones lie, and the one is taken
//! for which good ones are likeliest in relation to the others. The two modes are those of Optuna 5.0.0 (the default) and
//! of hyperopt 0.3.0.

use super::domain::Domain;
use super::draws::{Occasion, stream};
use super::history::{History, State, Trial};
use super::parzen::{Parzen, Rules};
use super::random::random_point;
use super::searcher::{Sample, Sampler};
use super::space::Space;
use crate::rng::Stream;

/// More good trials than these are not taken.
const MOST_GOOD: usize = 25;

/// Points drawn for each that is taken.
const CANDIDATES: usize = 24;

/// A tree-structured Parzen estimator.
#[derive(Clone, Copy, Debug)]
pub struct Tpe {
    /// Whose rules it follows.
    pub rules: Rules,
    /// Trials drawn at random before it begins.
    pub beginning: usize,
}

impl Default for Tpe {
    fn default() -> Self {
        Self::OPTUNA5
    }
}

impl Tpe {
    /// As in Optuna 5.0.0: dimensions together, and what runs counts as bad.
    pub const OPTUNA5: Tpe = Tpe { rules: Rules::Optuna5, beginning: 10 };

    /// As in hyperopt 0.3.0: each dimension for itself.
    pub const HYPEROPT: Tpe = Tpe { rules: Rules::Hyperopt, beginning: 20 };
}

/// How many of n trials count as good.
pub fn good_count(rules: Rules, n: usize) -> usize {
    let wanted = match rules {
        Rules::Optuna5 => (0.1 * n as f64).ceil(),
        Rules::Hyperopt => (0.25 * (n as f64).sqrt()).ceil(),
    };
    (wanted as usize).min(MOST_GOOD)
}

/// The numbers of good trials and of the others, each in their order. Completed ones come by their value, then those that
/// were stopped or wait, the later the better; equal ones by number. What runs is among the others.
pub fn split(history: &History, good: usize) -> (Vec<u64>, Vec<u64>) {
    let mut ended: Vec<&Trial> = history.trials().iter().filter(|trial| is_known(trial)).collect();
    ended.sort_by(|a, b| {
        let key = |trial: &Trial| {
            let early = trial.state != State::Complete;
            (early, if early { u64::MAX - trial.step() } else { 0 })
        };
        key(a).cmp(&key(b)).then(a.score().total_cmp(&b.score())).then(a.number.cmp(&b.number))
    });
    let numbers = |trials: &[&Trial]| trials.iter().map(|trial| trial.number).collect::<Vec<u64>>();
    let (good, others) = ended.split_at(good.min(ended.len()));
    let (mut good, mut others) = (numbers(good), numbers(others));
    let running = history.trials().iter().filter(|trial| trial.state == State::Running);
    others.extend(running.map(|trial| trial.number));
    good.sort_unstable();
    others.sort_unstable();
    (good, others)
}

/// Whether something was learned from a trial.
fn is_known(trial: &Trial) -> bool {
    trial.is_scored() || (trial.state == State::Paused && !trial.reports.is_empty())
}

/// The place of the candidate with the largest ln l − ln g; of equal ones the first.
pub fn best(good: &Parzen, others: &Parzen, candidates: &[Vec<f64>]) -> usize {
    let score = |x: &Vec<f64>| good.log_density(x) - others.log_density(x);
    let scores: Vec<f64> = candidates.iter().map(score).collect();
    (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
}

impl Sampler for Tpe {
    fn sample(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Sample {
        let mut draws = stream(seed, trial, Occasion::Point);
        let known = history.trials().iter().filter(|trial| is_known(trial)).count();
        if known < self.beginning {
            return random_point(space, &mut draws).into();
        }
        let sides = split(history, good_count(self.rules, known));
        // Dimensions that always count may be one group; the others are looked at where they count.
        let mut groups: Vec<Vec<usize>> = vec![];
        for j in (0..space.len()).filter(|&j| !space.domain(j).is_fixed()) {
            match groups.first_mut() {
                Some(first) if self.rules == Rules::Optuna5 && !space.is_conditional(j) => first.push(j),
                _ => groups.push(vec![j]),
            }
        }
        let mut values: Vec<Option<f64>> = space.dimensions().iter().map(|d| fixed(&d.domain)).collect();
        for group in &groups {
            if group.iter().all(|&j| space.counts(j, &values)) {
                let chosen = self.choose(space, history, &sides, group, &mut draws);
                group.iter().zip(chosen).for_each(|(&j, value)| values[j] = Some(value));
            }
        }
        space.point(|j, domain| values[j].unwrap_or(domain.level(0))).into()
    }
}

/// The value of a domain that has one only.
fn fixed(domain: &Domain) -> Option<f64> {
    domain.is_fixed().then(|| domain.level(0))
}

impl Tpe {
    /// The values of a group of dimensions.
    fn choose(
        &self,
        space: &Space,
        history: &History,
        (good, others): &(Vec<u64>, Vec<u64>),
        group: &[usize],
        draws: &mut Stream,
    ) -> Vec<f64> {
        let domains: Vec<&Domain> = group.iter().map(|&j| space.domain(j)).collect();
        let points = |numbers: &[u64]| -> Vec<Vec<f64>> {
            let trials = numbers.iter().filter_map(|number| history.trial(*number));
            trials.filter_map(|trial| group.iter().map(|&j| trial.point.get(j)).collect()).collect()
        };
        let [good, others] = [good, others].map(|numbers| Parzen::new(self.rules, &domains, &points(numbers)));
        let mut candidates: Vec<Vec<f64>> = (0..CANDIDATES).map(|_| good.draw(draws)).collect();
        candidates.swap_remove(best(&good, &others, &candidates))
    }
}
