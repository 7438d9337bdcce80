//! What a study has come to: its trials, and the events that made them so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::space::Point;

/// What a searcher keeps with a trial, by name.
pub type Attributes = BTreeMap<String, serde_json::Value>;

/// How a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It trains.
    Running,
    /// It has trained as far as it was let, and may go on.
    Paused,
    /// It has come to its end.
    Complete,
    /// It was stopped, since others did better.
    Pruned,
    /// It broke.
    Failed,
}

/// The value of a trial after so many steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Steps of training so far.
    pub step: u64,
    /// The value, to be minimised.
    #[serde(with = "any_number")]
    pub value: f64,
    /// The number of the event that brought it: what was known before has lower ones.
    pub order: u64,
}

/// Why a trial was stopped or let go on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The steps after which trials are compared.
    pub rung: u64,
    /// The value that one needs, or must stay below.
    #[serde(with = "any_number")]
    pub threshold: f64,
    /// The value that it has.
    #[serde(with = "any_number")]
    pub value: f64,
}

/// A change of a trial midway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// After so many steps.
    pub step: u64,
    /// The trial whose training it took over.
    pub from: u64,
    /// The steps that this one had done.
    pub from_step: u64,
    /// Where it goes on.
    pub point: Point,
}

/// A trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its place in the study, from 0.
    pub number: u64,
    /// Its point, after the last change.
    pub point: Point,
    /// The point that it began with.
    pub begun: Point,
    /// How it stands.
    pub state: State,
    /// The steps up to which it may train.
    pub budget: u64,
    /// Its values, in the order of steps.
    pub reports: Vec<Report>,
    /// Its changes, in the order of steps.
    pub changes: Vec<Change>,
    /// Why it was stopped.
    pub pruning: Option<Decision>,
    /// What the searcher keeps with it.
    pub attributes: Attributes,
}

impl Trial {
    /// The last step that was reported, or 0.
    pub fn step(&self) -> u64 {
        self.reports.last().map_or(0, |report| report.step)
    }

    /// The last value, +∞ where there is none or it is no finite number.
    pub fn score(&self) -> f64 {
        self.reports.last().map_or(f64::INFINITY, |report| finite(report.value))
    }

    /// The value after so many steps, +∞ where it is no finite number; none before that step was reported.
    pub fn value_at(&self, step: u64) -> Option<f64> {
        let at = self.reports.binary_search_by_key(&step, |report| report.step).ok()?;
        Some(finite(self.reports[at].value))
    }

    /// Whether its training diverged: its last value is no finite number, and it has taken over no other since.
    pub fn has_diverged(&self) -> bool {
        let last = self.reports.last().filter(|report| !report.value.is_finite());
        last.is_some_and(|report| self.changes.last().is_none_or(|change| change.step < report.step))
    }

    /// The steps that it has trained: of a training that diverged, those until that was seen.
    pub fn trained(&self) -> u64 {
        let mut steps = 0;
        for (at, report) in self.reports.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| self.reports[before]);
            let took_over = |before: Report| self.changes.iter().any(|change| change.step == before.step);
            if before.is_none_or(|before| before.value.is_finite() || took_over(before)) {
                steps += report.step - before.map_or(0, |before| before.step);
            }
        }
        steps
    }

    /// Whether it has come to an end with a value.
    pub fn is_scored(&self) -> bool {
        matches!(self.state, State::Complete | State::Pruned)
    }

    /// Whether it may still go on.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Running | State::Paused)
    }

    /// A number that was kept with it.
    pub fn number_of(&self, attribute: &str) -> Option<u64> {
        self.attributes.get(attribute)?.as_u64()
    }

    /// Numbers that were kept with it.
    pub fn numbers_of(&self, attribute: &str) -> Option<Vec<f64>> {
        self.attributes.get(attribute)?.as_array()?.iter().map(serde_json::Value::as_f64).collect()
    }
}

/// A value as searchers compare it: what is no finite number is the worst.
pub fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::INFINITY }
}

/// Something that happened to a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A new trial began; its number is the next.
    Started {
        /// Its number.
        trial: u64,
        /// Its point.
        point: Point,
        /// The steps up to which it may train.
        budget: u64,
        /// What the searcher keeps with it.
        #[serde(default, skip_serializing_if = "Attributes::is_empty")]
        attributes: Attributes,
    },
    /// A trial that waited goes on.
    Resumed {
        /// Its number.
        trial: u64,
        /// The steps up to which it may train now.
        budget: u64,
        /// Why.
        decision: Decision,
    },
    /// A trial was scored.
    Reported {
        /// Its number.
        trial: u64,
        /// Steps of training so far.
        step: u64,
        /// The value, to be minimised.
        #[serde(with = "any_number")]
        value: f64,
    },
    /// A trial took over another's training and goes on from there with other values.
    Changed {
        /// Its number.
        trial: u64,
        /// What becomes of it.
        change: Change,
    },
    /// A trial waits.
    Paused {
        /// Its number.
        trial: u64,
    },
    /// A trial has come to its end.
    Completed {
        /// Its number.
        trial: u64,
    },
    /// A trial was stopped.
    Pruned {
        /// Its number.
        trial: u64,
        /// Why.
        decision: Decision,
    },
    /// A trial broke.
    Failed {
        /// Its number.
        trial: u64,
    },
}

impl Event {
    /// The trial that it happens to.
    pub fn trial(&self) -> u64 {
        match self {
            Event::Started { trial, .. }
            | Event::Resumed { trial, .. }
            | Event::Reported { trial, .. }
            | Event::Changed { trial, .. }
            | Event::Paused { trial }
            | Event::Completed { trial }
            | Event::Pruned { trial, .. }
            | Event::Failed { trial } => *trial,
        }
    }
}

/// An event that cannot happen to the history it is told.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("event {order}: trial {trial} {problem}; the record was changed, or belongs to another study")]
pub struct HistoryError {
    /// The number of the event, from 0.
    pub order: u64,
    /// The trial that it names.
    pub trial: u64,
    /// What is wrong.
    pub problem: &'static str,
}

/// The trials of a study in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    trials: Vec<Trial>,
    /// Events so far.
    events: u64,
}

impl History {
    /// Of trials that have ended elsewhere, numbered in their order; each was scored once, after its budget.
    pub fn of(scored: impl IntoIterator<Item = (Point, u64, f64)>) -> Self {
        let mut history = History::default();
        for (point, budget, value) in scored {
            let trial = history.trials.len() as u64;
            let attributes = Attributes::default();
            for event in [
                Event::Started { trial, point, budget, attributes },
                Event::Reported { trial, step: budget, value },
                Event::Completed { trial },
            ] {
                history.record(event).expect("events in their order");
            }
        }
        history
    }

    /// All trials.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// A trial by its number.
    pub fn trial(&self, number: u64) -> Option<&Trial> {
        self.trials.get(usize::try_from(number).ok()?)
    }

    /// The number of the next trial.
    pub fn next(&self) -> u64 {
        self.trials.len() as u64
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The completed trial with the least value; of equal ones the first.
    pub fn best(&self) -> Option<&Trial> {
        let complete = self.trials.iter().filter(|trial| trial.state == State::Complete);
        complete.min_by(|a, b| a.score().total_cmp(&b.score()))
    }

    /// Takes in an event.
    ///
    /// # Errors
    /// If it cannot happen: a trial that is not there, steps that go back, something after an end.
    pub fn record(&mut self, event: Event) -> Result<(), HistoryError> {
        let order = self.events;
        let wrong = |trial, problem| Err(HistoryError { order, trial, problem });
        let number = event.trial();
        if let Event::Started { point, budget, attributes, .. } = event {
            if number != self.next() {
                return wrong(number, "starts out of turn");
            }
            self.trials.push(Trial {
                number,
                begun: point.clone(),
                point,
                state: State::Running,
                budget,
                reports: vec![],
                changes: vec![],
                pruning: None,
                attributes,
            });
            self.events += 1;
            return Ok(());
        }
        let state = self.trial(number).map(|trial| trial.state);
        let open = match (&event, state) {
            (_, None) => return wrong(number, "has not started"),
            (Event::Resumed { .. }, Some(state)) => state == State::Paused,
            (Event::Pruned { .. } | Event::Failed { .. } | Event::Completed { .. }, Some(state)) => {
                matches!(state, State::Running | State::Paused)
            }
            (_, Some(state)) => state == State::Running,
        };
        if !open {
            return wrong(number, "is not under way");
        }
        let trial = &mut self.trials[number as usize];
        match event {
            Event::Started { .. } => {}
            Event::Resumed { budget, .. } => {
                trial.state = State::Running;
                trial.budget = budget;
            }
            Event::Reported { step, value, .. } => {
                if step <= trial.step() && !trial.reports.is_empty() {
                    return wrong(number, "reports a step again");
                }
                trial.reports.push(Report { step, value, order });
            }
            Event::Changed { change, .. } => {
                trial.point = change.point.clone();
                trial.changes.push(change);
            }
            Event::Paused { .. } => trial.state = State::Paused,
            Event::Completed { .. } => trial.state = State::Complete,
            Event::Pruned { decision, .. } => {
                trial.state = State::Pruned;
                trial.pruning = Some(decision);
            }
            Event::Failed { .. } => trial.state = State::Failed,
        }
        self.events += 1;
        Ok(())
    }
}

/// Numbers that need not be finite, which JSON has no way to write: `"inf"`, `"-inf"`, `"NaN"`.
pub(super) mod any_number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Name(String),
    }

    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { Written::Number(*value) } else { Written::Name(value.to_string()) }.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        match Written::deserialize(from)? {
            Written::Number(value) => Ok(value),
            Written::Name(name) => name.parse().map_err(|_| serde::de::Error::custom(format!("`{name}` is no number"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_finite_survive_json() {
        for value in [f64::INFINITY, f64::NEG_INFINITY, 0.1] {
            let report = Report { step: 1, value, order: 0 };
            assert_eq!(serde_json::from_str::<Report>(&serde_json::to_string(&report).unwrap()).unwrap(), report);
        }
        let nan = serde_json::to_string(&Report { step: 1, value: f64::NAN, order: 0 }).unwrap();
        assert!(serde_json::from_str::<Report>(&nan).unwrap().value.is_nan(), "{nan}");
        let wrong = serde_json::from_str::<Report>(r#"{"step": 1, "value": "much", "order": 0}"#).unwrap_err();
        assert!(wrong.to_string().contains("`much` is no number"));
    }

    #[test]
    fn events_that_cannot_be_are_refused() {
        let mut history = History::of([(Point(vec![Some(0.5)]), 4, 1.0)]);
        let problem = |history: &mut History, event| history.record(event).unwrap_err().to_string();
        assert!(problem(&mut history, Event::Paused { trial: 0 }).contains("trial 0 is not under way"));
        assert!(problem(&mut history, Event::Failed { trial: 7 }).contains("trial 7 has not started"));
        let start = |trial| Event::Started { trial, point: Point(vec![]), budget: 9, attributes: Attributes::new() };
        assert!(problem(&mut history, start(2)).contains("event 3: trial 2 starts out of turn"));
        history.record(start(1)).unwrap();
        history.record(Event::Reported { trial: 1, step: 3, value: f64::NAN }).unwrap();
        let again = Event::Reported { trial: 1, step: 3, value: 0.0 };
        assert!(problem(&mut history, again).contains("reports a step again"));
        assert_eq!(history.trials()[1].score(), f64::INFINITY);
        assert_eq!((history.events(), history.best().unwrap().number), (5, 0));
    }
}
