//! What a searcher is asked, and how the parts of one are put together.

use super::history::{Attributes, Change, Decision, Event, History, State};
use super::space::{Point, Space};

/// What a free worker is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Begin the next trial.
    Start {
        /// Its point.
        point: Point,
        /// The steps up to which it may train.
        budget: u64,
        /// What the searcher keeps with it.
        attributes: Attributes,
    },
    /// Go on with a trial that waits.
    Resume {
        /// Its number.
        trial: u64,
        /// The steps up to which it may train now.
        budget: u64,
        /// Why.
        decision: Decision,
    },
    /// End a trial that waits, and ask again.
    Stop {
        /// Its number.
        trial: u64,
        /// Why.
        decision: Decision,
    },
    /// Wait for something to happen to a trial that runs.
    Wait,
    /// Nothing any more.
    Done,
}

impl Ask {
    /// What happens then, `next` being the number of the next trial; nothing where there is nothing to do.
    pub fn event(self, next: u64) -> Option<Event> {
        match self {
            Ask::Start { point, budget, attributes } => Some(Event::Started { trial: next, point, budget, attributes }),
            Ask::Resume { trial, budget, decision } => Some(Event::Resumed { trial, budget, decision }),
            Ask::Stop { trial, decision } => Some(Event::Pruned { trial, decision }),
            Ask::Wait | Ask::Done => None,
        }
    }
}

/// What becomes of a trial after a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It trains on.
    Continue,
    /// It has trained as far as it may, and waits.
    Pause,
    /// It has come to its end.
    Complete,
    /// It ends here.
    Stop(Decision),
    /// It takes over the training of another trial as that stood after its last report, and goes on from there with
    /// other values.
    Exploit {
        /// The other trial.
        from: u64,
        /// Where it goes on.
        point: Point,
    },
}

impl Verdict {
    /// What happens to a trial then; nothing where it trains on.
    pub fn event(self, history: &History, trial: u64) -> Option<Event> {
        let step = |trial: u64| history.trial(trial).map_or(0, |trial| trial.step());
        match self {
            Verdict::Continue => None,
            Verdict::Pause => Some(Event::Paused { trial }),
            Verdict::Complete => Some(Event::Completed { trial }),
            Verdict::Stop(decision) => Some(Event::Pruned { trial, decision }),
            Verdict::Exploit { from, point } => {
                let change = Change { step: step(trial), from, from_step: step(from), point };
                Some(Event::Changed { trial, change })
            }
        }
    }
}

/// A way to search. Answers are a function of space, history, seed and trial number: what goes on from a history goes on
/// as if it had never stopped.
pub trait Searcher {
    /// What a free worker is to do; `trial` is the number of the next trial.
    fn ask(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Ask;

    /// What becomes of a trial that runs, its last report being in the history.
    fn judge(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Verdict;
}

/// The choice of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// This one, with what is to be kept with the trial.
    Point(Point, Attributes),
    /// Not before a trial that runs has ended.
    Wait,
    /// There is none any more.
    Done,
}

impl From<Point> for Sample {
    fn from(point: Point) -> Self {
        Sample::Point(point, Attributes::new())
    }
}

/// Which points are tried.
pub trait Sampler {
    /// The point of a trial.
    fn sample(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Sample;
}

/// What a schedule wants next.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// A new trial.
    Start {
        /// The steps up to which it may train.
        budget: u64,
        /// What is to be kept with it.
        attributes: Attributes,
    },
    /// That a trial goes on, ends, or that the worker waits or leaves.
    Other(Ask),
}

/// How long trials train.
pub trait Schedule {
    /// What is next; `trial` is the number of the next trial.
    fn plan(&self, history: &History, seed: u64, trial: u64) -> Plan;

    /// What becomes of a trial that runs, its last report being in the history.
    fn judge(&self, history: &History, seed: u64, trial: u64) -> Verdict;
}

impl<S: Sampler + ?Sized> Sampler for Box<S> {
    fn sample(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Sample {
        (**self).sample(space, history, seed, trial)
    }
}

impl<R: Schedule + ?Sized> Schedule for Box<R> {
    fn plan(&self, history: &History, seed: u64, trial: u64) -> Plan {
        (**self).plan(history, seed, trial)
    }

    fn judge(&self, history: &History, seed: u64, trial: u64) -> Verdict {
        (**self).judge(history, seed, trial)
    }
}

/// A searcher of a sampler and a schedule.
#[derive(Clone, Debug)]
pub struct Search<S, R> {
    /// Which points are tried.
    pub sampler: S,
    /// How long they train.
    pub schedule: R,
}

impl<S: Sampler, R: Schedule> Searcher for Search<S, R> {
    fn ask(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Ask {
        let (budget, mut attributes) = match self.schedule.plan(history, seed, trial) {
            Plan::Start { budget, attributes } => (budget, attributes),
            Plan::Other(ask) => return ask,
        };
        match self.sampler.sample(space, history, seed, trial) {
            Sample::Point(point, kept) => {
                attributes.extend(kept);
                Ask::Start { point, budget, attributes }
            }
            Sample::Wait => Ask::Wait,
            Sample::Done => Ask::Done,
        }
    }

    fn judge(&self, _: &Space, history: &History, seed: u64, trial: u64) -> Verdict {
        self.schedule.judge(history, seed, trial)
    }
}

/// Every trial trains to its end.
#[derive(Clone, Copy, Debug)]
pub struct Full {
    /// The steps of a trial.
    pub budget: u64,
}

impl Schedule for Full {
    fn plan(&self, _: &History, _: u64, _: u64) -> Plan {
        Plan::Start { budget: self.budget, attributes: Attributes::new() }
    }

    fn judge(&self, history: &History, _: u64, trial: u64) -> Verdict {
        to_its_end(history, trial)
    }
}

/// Complete once the budget is used, and else on.
pub(super) fn to_its_end(history: &History, trial: u64) -> Verdict {
    let ended = history.trial(trial).is_none_or(|trial| trial.step() >= trial.budget);
    if ended { Verdict::Complete } else { Verdict::Continue }
}

/// Whether all of the first `count` trials have ended; a trial that is not there yet has not.
pub(super) fn have_ended(history: &History, count: u64) -> bool {
    let trials = history.trials();
    trials.len() as u64 >= count && trials[..count as usize].iter().all(|trial| trial.state != State::Running)
}
