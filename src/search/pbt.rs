//! Population-based training (Jaderberg et al. 2017) as in Ray 2.60.0: the worst members take over the trainings of the
//! best, and go on with changed values.

use super::domain::Domain;
use super::draws::{Draws, Occasion, stream};
use super::history::{Attributes, History, State, Trial};
use super::random::random_point;
use super::searcher::{Ask, Searcher, Verdict};
use super::space::{Point, Space};

/// Who takes over from whom, and when.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    /// How many members train.
    pub members: u64,
    /// Steps of a member.
    pub budget: u64,
    /// A member is compared with the others each time that it has done so many steps more.
    pub interval: u64,
    /// The share of members that are the best, and that are the worst.
    pub fraction: f64,
}

impl Population {
    /// Steps between comparisons, at least one.
    pub(super) fn interval(&self) -> u64 {
        self.interval.max(1)
    }

    /// The next member.
    pub(super) fn ask(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Ask {
        if trial < self.members {
            let point = random_point(space, &mut stream(seed, trial, Occasion::Point));
            return Ask::Start { point, budget: self.budget, attributes: Attributes::new() };
        }
        let busy = history.trials().iter().any(|trial| trial.state == State::Running);
        if busy { Ask::Wait } else { Ask::Done }
    }

    /// The loss of a member when it was last compared; none before, and none of one that has ended.
    fn loss(&self, trial: &Trial) -> Option<f64> {
        let compared = trial.step() / self.interval() * self.interval();
        if trial.is_open() { trial.value_at(compared) } else { None }
    }

    /// The member whose training one takes over, if it does: drawn among the best.
    pub(super) fn donor<'a>(&self, history: &'a History, trial: &Trial, draws: &mut dyn Draws) -> Option<&'a Trial> {
        let rewards: Vec<Option<f64>> =
            history.trials().iter().map(|trial| self.loss(trial).map(|loss| -loss)).collect();
        let (worst, best) = quantiles(&rewards, self.fraction);
        if !worst.contains(&(trial.number as usize)) || best.is_empty() {
            return None;
        }
        history.trial(best[draws.below(best.len())] as u64)
    }

    /// Complete at the end; else, where members are compared, what `change` makes of it.
    pub(super) fn judge(&self, trial: &Trial, change: impl FnOnce() -> Option<Verdict>) -> Verdict {
        match trial.step() {
            step if step >= self.budget => Verdict::Complete,
            step if step.is_multiple_of(self.interval()) => change().unwrap_or(Verdict::Continue),
            _ => Verdict::Continue,
        }
    }
}

/// The places of the worst and of the best rewards, each from low to high; members without one are left out.
pub fn quantiles(rewards: &[Option<f64>], fraction: f64) -> (Vec<usize>, Vec<usize>) {
    let mut ranked: Vec<(f64, usize)> =
        rewards.iter().enumerate().filter_map(|(i, reward)| Some(((*reward)?, i))).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = ranked.len();
    let wanted = ((count as f64 * fraction).ceil() as usize).min(count / 2);
    let places = |range: &[(f64, usize)]| range.iter().map(|(_, place)| *place).collect();
    (places(&ranked[..wanted]), places(&ranked[count - wanted..]))
}

/// How values are changed.
#[derive(Clone, Copy, Debug)]
pub struct Explore {
    /// The probability that a value is drawn afresh.
    pub resample: f64,
    /// A number is multiplied with one of these, each equally likely.
    pub factors: [f64; 2],
    /// Whether what leaves its range is put back to the end. Ray lets it go.
    pub clip: bool,
}

impl Default for Explore {
    fn default() -> Self {
        Explore { resample: 0.25, factors: [1.2, 0.8], clip: true }
    }
}

impl Explore {
    /// The values from which a member goes on: in the space's order, for what is not structural, a draw whether it is drawn
    /// afresh, and one for that or for the change. A category moves to one beside it in the list.
    pub fn changed(&self, space: &Space, point: &Point, draws: &mut dyn Draws) -> Point {
        space.point(|j, domain| match point.get(j) {
            None => domain.value(draws.uniform()),
            Some(value) if space.dimensions()[j].structural => value,
            Some(value) => self.value(domain, value, draws),
        })
    }

    fn value(&self, domain: &Domain, value: f64, draws: &mut dyn Draws) -> f64 {
        let resampled = draws.uniform() < self.resample;
        if let Domain::Categorical { choices } = domain {
            if resampled {
                return draws.below(choices.len()) as f64;
            }
            let moved = if draws.below(2) == 0 { value - 1.0 } else { value + 1.0 };
            return moved.clamp(0.0, choices.len() as f64 - 1.0);
        }
        if resampled {
            return domain.value(draws.uniform());
        }
        let moved = value * self.factors[draws.below(2)];
        let whole = if matches!(domain, Domain::Int { .. }) { moved.round_ties_even() } else { moved };
        if !self.clip {
            return whole;
        }
        let (low, high) = domain.ends();
        // With a step, the nearest of its values.
        if domain.step().is_some() {
            domain.nearest(domain.modelled(whole.clamp(low, high)))
        } else {
            whole.clamp(low, high)
        }
    }
}

/// Population-based training.
#[derive(Clone, Copy, Debug)]
pub struct Pbt {
    /// Who takes over from whom, and when.
    pub population: Population,
    /// How values are changed.
    pub explore: Explore,
}

impl Searcher for Pbt {
    fn ask(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Ask {
        self.population.ask(space, history, seed, trial)
    }

    fn judge(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Verdict {
        let Some(trial) = history.trial(trial) else { return Verdict::Continue };
        self.population.judge(trial, || {
            let mut draws = stream(seed, trial.number, Occasion::Step(trial.step()));
            let donor = self.population.donor(history, trial, &mut draws)?;
            let point = self.explore.changed(space, &donor.point, &mut draws);
            Some(Verdict::Exploit { from: donor.number, point })
        })
    }
}
