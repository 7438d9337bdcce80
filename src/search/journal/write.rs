//! Writing.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::format::{
    ADOPTED, BUDGET, CHANGED, COMPLETE, FAILED, Fields, JournalError, KEPT, PAUSED, PRUNED, RESUMED, RUNNING, SPENT,
    STOPPED, STUDY, operation, wrong,
};
use super::read::Journal;
use crate::search::domain::Domain;
use crate::search::history::Event;
use crate::search::space::{Dimension, Point, Space};

/// Who writes lines, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The process, by a name that no other one has.
    pub worker: &'a str,
    /// The time in ISO 8601 with zone and microseconds, such as `2026-11-29T19:00:00.000000+00:00`.
    pub time: &'a str,
}

impl Writer<'_> {
    /// The line that begins a study whose values are minimised.
    pub fn study(&self, name: &str) -> String {
        self.line(operation::CREATE_STUDY, json!({"study_name": name, "directions": [1]}))
    }

    /// The line that notes what a study is, so that whoever goes on with it can tell.
    ///
    /// # Errors
    /// If the journal has no such study.
    pub fn about(&self, journal: &Journal, about: &impl Serialize) -> Result<String, JournalError> {
        let study = journal.study.ok_or_else(|| missing("study"))?;
        let fields = json!({"study_id": study, "system_attr": {STUDY: written(about)}});
        Ok(self.line(operation::SET_STUDY_SYSTEM_ATTR, fields))
    }

    /// The line by which this process takes over a trial that another one has left.
    ///
    /// # Errors
    /// If the journal has no such trial.
    pub fn adopted(&self, journal: &Journal, trial: u64) -> Result<String, JournalError> {
        self.note(journal, trial, ADOPTED, json!(true))
    }

    /// The line that notes what a trial has cost so far, in whole trainings.
    ///
    /// # Errors
    /// If the journal has no such trial.
    pub fn spent(&self, journal: &Journal, trial: u64, spent: f64) -> Result<String, JournalError> {
        self.note(journal, trial, SPENT, spent.into())
    }

    fn note(&self, journal: &Journal, trial: u64, name: &str, note: Json) -> Result<String, JournalError> {
        let id = *journal.ids.get(trial as usize).ok_or_else(|| missing("trial"))?;
        let fields = json!({"trial_id": id, "system_attr": {name: note}});
        Ok(self.line(operation::SET_TRIAL_SYSTEM_ATTR, fields))
    }

    fn line(&self, code: u64, fields: Json) -> String {
        let mut all =
            Fields::from_iter([("op_code".to_owned(), code.into()), ("worker_id".to_owned(), self.worker.into())]);
        all.extend(fields.as_object().cloned().unwrap_or_default());
        Json::Object(all).to_string() + "\n"
    }

    /// The lines of an event of a study, each with its end. A trial begins with one line, so that no other process sees half
    /// of it.
    ///
    /// # Errors
    /// If the journal has no such study, or no such trial.
    pub fn lines(&self, journal: &Journal, space: &Space, event: &Event) -> Result<Vec<String>, JournalError> {
        let study = journal.study.ok_or_else(|| missing("study"))?;
        let params = |point: &Point| -> Vec<(&str, f64, String)> {
            let set = |(j, d): (usize, &Dimension)| Some((j, point.get(j)?, distribution(&d.domain)));
            let all = space.dimensions().iter().enumerate().filter_map(set);
            all.map(|(j, value, text)| (space.dimensions()[j].name.as_str(), value, text)).collect()
        };
        if let Event::Started { point, budget, attributes, .. } = event {
            let params = params(point);
            let values: Fields = params.iter().map(|(name, value, _)| ((*name).to_owned(), (*value).into())).collect();
            let texts: Fields =
                params.iter().map(|(name, _, text)| ((*name).to_owned(), text.as_str().into())).collect();
            let fields = json!({
                "study_id": study, "datetime_start": self.time, "state": RUNNING, "value": null, "values": null,
                "params": values, "distributions": texts, "user_attrs": {}, "intermediate_values": {},
                "system_attrs": {BUDGET: budget, KEPT: attributes},
            });
            return Ok(vec![self.line(operation::CREATE_TRIAL, fields)]);
        }
        let id = *journal.ids.get(event.trial() as usize).ok_or_else(|| missing("trial"))?;
        let note = |name: &str, note: Json| self.note(journal, event.trial(), name, note);
        let end = |state: u64, value: Option<f64>| {
            let fields = json!({
                "trial_id": id, "state": state, "values": value.map(|value| vec![token(value)]), "datetime_complete": self.time,
            });
            unquoted(&self.line(operation::SET_TRIAL_STATE, fields))
        };
        Ok(match event {
            Event::Started { .. } => vec![],
            Event::Reported { step, value, .. } => {
                let value = token(journal.signed(*value));
                let fields = json!({"trial_id": id, "step": step, "intermediate_value": value});
                vec![unquoted(&self.line(operation::SET_TRIAL_INTERMEDIATE, fields))]
            }
            Event::Resumed { budget, decision, .. } => vec![note(RESUMED, json!([budget, decision]))?],
            Event::Paused { .. } => vec![note(PAUSED, json!(true))?],
            Event::Changed { change, .. } => {
                let set = |(name, value, text): (&str, f64, String)| {
                    let fields = json!({"trial_id": id, "param_name": name, "param_value_internal": value, "distribution": text});
                    self.line(operation::SET_TRIAL_PARAM, fields)
                };
                let first = std::iter::once(note(CHANGED, written(change))?);
                first.chain(params(&change.point).into_iter().map(set)).collect()
            }
            Event::Completed { trial } => {
                let score = journal.history.trial(*trial).map_or(f64::INFINITY, |trial| trial.score());
                vec![end(COMPLETE, Some(journal.signed(score)))]
            }
            Event::Pruned { decision, .. } => vec![note(STOPPED, written(decision))?, end(PRUNED, None)],
            Event::Failed { .. } => vec![end(FAILED, None)],
        })
    }
}

fn missing(what: &str) -> JournalError {
    wrong(0, format!("the file has no such {what}; read it again before writing"))
}

fn written(note: &impl Serialize) -> Json {
    serde_json::to_value(note).expect("plain values")
}

/// A mark about a number that is not finite, for which JSON has no way to write and Python has one.
const MARK: &str = "\u{1}";

/// A number, or the name of one that is not finite, marked.
fn token(value: f64) -> Json {
    let name = match value {
        _ if value.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => return value.into(),
    };
    format!("{MARK}{name}{MARK}").into()
}

/// A line with the names that were marked as Python writes them.
fn unquoted(line: &str) -> String {
    let mark = "\\u0001";
    line.replace(&format!("\"{mark}"), "").replace(&format!("{mark}\""), "")
}

/// A domain as Optuna writes it: JSON within a string.
fn distribution(domain: &Domain) -> String {
    let (name, attributes) = match domain {
        Domain::Float { low, high, log, step } => {
            ("FloatDistribution", json!({"low": low, "high": high, "log": log, "step": step}))
        }
        Domain::Int { low, high, log, step } => {
            ("IntDistribution", json!({"low": low, "high": high, "log": log, "step": step}))
        }
        Domain::Categorical { choices } => ("CategoricalDistribution", json!({"choices": choices})),
    };
    json!({"name": name, "attributes": attributes}).to_string()
}
