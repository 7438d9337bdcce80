//! Reading.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::format::{
    BUDGET, CHANGED, COMPLETE, FAILED, Fields, JournalError, KEPT, PAUSED, PRUNED, RESUMED, RUNNING, SPENT, STOPPED,
    STUDY, WAITING, operation, wrong,
};
use crate::search::domain::{Domain, Value};
use crate::search::history::{Attributes, Decision, Event, History, HistoryError, State, finite};
use crate::search::space::{Point, Space};

/// A study as a file has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journal {
    /// Its trials.
    pub history: History,
    /// What made them so, in the order of the lines.
    pub events: Vec<Event>,
    /// For each trial the process that wrote its last line.
    pub owners: Vec<String>,
    /// For each trial what it has cost so far, in whole trainings, where that was noted.
    pub spent: BTreeMap<u64, f64>,
    /// Its number in the file; none where the file has no such study.
    pub study: Option<u64>,
    /// The numbers in the file of its trials.
    pub(super) ids: Vec<u64>,
    /// Trials of all studies in the file.
    pub(super) created: u64,
    /// Whether greater values are better: they are negated here, and again in what is written.
    maximized: bool,
    /// Bytes up to the end of the last whole line.
    pub whole: usize,
}

/// A trial while its lines are gathered.
#[derive(Default)]
struct Gathered {
    study: u64,
    /// Its place in the study.
    number: u64,
    params: Map<String, Json>,
    distributions: Map<String, Json>,
    changed: bool,
    stopped: Option<Decision>,
}

/// A number that need not be finite.
fn number(value: &Json) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    }
}

impl Journal {
    /// The study of this name in the text of a file, which may hold others. A line at the end that was cut off is left out.
    ///
    /// # Errors
    /// With the number of a line that is none of a journal, or whose values are not those of the space.
    pub fn read(text: &str, study: &str, space: &Space) -> Result<Self, JournalError> {
        let (lines, whole) = parsed(text)?;
        let mut journal = Journal { whole, ..Journal::default() };
        let trials = journal.gather(&lines, study)?;
        journal.created = trials.len() as u64;
        let mut created = 0;
        for (line, fields) in &lines {
            let id = match number_of(fields, "op_code", *line)? {
                operation::CREATE_TRIAL if trials.get(created).is_some_and(|(at, _)| at == line) => {
                    created += 1;
                    created - 1
                }
                operation::SET_TRIAL_STATE..=operation::SET_TRIAL_SYSTEM_ATTR => {
                    number_of(fields, "trial_id", *line)? as usize
                }
                _ => continue,
            };
            if let Some((_, trial)) = trials.get(id).filter(|(_, trial)| Some(trial.study) == journal.study) {
                journal.take(*line, fields, trial, space)?;
                let owner = self::text(fields, "worker_id").to_owned();
                match journal.owners.get_mut(trial.number as usize) {
                    Some(before) => *before = owner,
                    None => journal.owners.push(owner),
                }
            }
        }
        Ok(journal)
    }

    /// The studies in the text of a file, each with what was noted of it when it was begun here.
    ///
    /// # Errors
    /// With the number of a line that is none of a journal.
    pub fn studies(text: &str) -> Result<Vec<(String, Option<Json>)>, JournalError> {
        let mut studies: Vec<(String, Option<Json>)> = vec![];
        for (line, fields) in &parsed(text)?.0 {
            let name = self::text(fields, "study_name");
            match number_of(fields, "op_code", *line)? {
                operation::CREATE_STUDY if !studies.iter().any(|(known, _)| known == name) => {
                    studies.push((name.to_owned(), None));
                }
                operation::SET_STUDY_SYSTEM_ATTR => {
                    let study = studies.get_mut(number_of(fields, "study_id", *line)? as usize);
                    if let (Some((_, about)), Some(note)) = (study, attribute(fields, STUDY)) {
                        about.get_or_insert_with(|| note.clone());
                    }
                }
                _ => {}
            }
        }
        Ok(studies)
    }

    /// The trials of all studies, with the line that began each. Numbers of studies and trials follow from the order of their
    /// lines. Parameters are set one after another, so that they are gathered before anything happens.
    fn gather(&mut self, lines: &[(usize, Fields)], study: &str) -> Result<Vec<(usize, Gathered)>, JournalError> {
        let (mut names, mut trials): (Vec<Option<&str>>, Vec<(usize, Gathered)>) = (vec![], vec![]);
        for (line, fields) in lines {
            let number = |name: &str| number_of(fields, name, *line);
            let object = |name: &str| fields.get(name).and_then(Json::as_object).cloned().unwrap_or_default();
            match number("op_code")? {
                operation::CREATE_STUDY if !names.contains(&Some(text(fields, "study_name"))) => {
                    if text(fields, "study_name") == study {
                        self.study = Some(names.len() as u64);
                        self.maximized = fields.get("directions").is_some_and(|directions| directions[0] == 2);
                    }
                    names.push(Some(text(fields, "study_name")));
                }
                operation::DELETE_STUDY => {
                    let deleted = number("study_id")?;
                    names.get_mut(deleted as usize).map(Option::take);
                    if self.study == Some(deleted) {
                        *self = Journal { whole: self.whole, ..Journal::default() };
                    }
                }
                operation::CREATE_TRIAL => {
                    let of = number("study_id")?;
                    if names.get(of as usize).is_none_or(Option::is_none) {
                        continue;
                    }
                    if Some(of) == self.study {
                        self.ids.push(trials.len() as u64);
                    }
                    trials.push((
                        *line,
                        Gathered {
                            study: of,
                            number: trials.iter().filter(|(_, other)| other.study == of).count() as u64,
                            params: object("params"),
                            distributions: object("distributions"),
                            ..Gathered::default()
                        },
                    ));
                }
                code @ (operation::SET_TRIAL_PARAM | operation::SET_TRIAL_SYSTEM_ATTR) => {
                    let Some((_, trial)) = trials.get_mut(number("trial_id")? as usize) else { continue };
                    // What a takeover changes stands in its own attribute.
                    if code == operation::SET_TRIAL_PARAM && !trial.changed {
                        let name = text(fields, "param_name").to_owned();
                        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
                        trial.params.insert(name.clone(), field("param_value_internal"));
                        trial.distributions.insert(name, field("distribution"));
                    }
                    trial.changed |= attribute(fields, CHANGED).is_some();
                    if let Some(note) = attribute(fields, STOPPED) {
                        trial.stopped = Some(typed(note, *line)?);
                    }
                }
                _ => {}
            }
        }
        Ok(trials)
    }

    /// Takes in a line of a trial of the study.
    fn take(&mut self, line: usize, fields: &Fields, of: &Gathered, space: &Space) -> Result<(), JournalError> {
        let (trial, begins) = (of.number, number_of(fields, "op_code", line)? == operation::CREATE_TRIAL);
        let state = |journal: &Journal| journal.history.trial(trial).map(|trial| trial.state);
        // Optuna, too, lets nothing happen to what has ended.
        if !begins && !matches!(state(self), Some(State::Running | State::Paused)) {
            return Ok(());
        }
        if begins {
            let budget = attribute(fields, BUDGET).and_then(Json::as_u64).unwrap_or(u64::MAX);
            let attributes = attribute(fields, KEPT).map_or(Ok(Attributes::new()), |kept| typed(kept, line))?;
            self.record(line, Event::Started { trial, point: point(of, space, line)?, budget, attributes })?;
            let values = fields.get("intermediate_values").and_then(Json::as_object).into_iter().flatten();
            let values: BTreeMap<u64, &Json> = values.filter_map(|(k, v)| Some((k.parse().ok()?, v))).collect();
            for (step, value) in values {
                self.report(line, trial, step, value)?;
            }
        } else if let Some(value) = fields.get("intermediate_value") {
            self.report(line, trial, number_of(fields, "step", line)?, value)?;
        }
        if let Some(note) = attribute(fields, SPENT).and_then(Json::as_f64) {
            self.spent.insert(trial, note);
        }
        if let Some(note) = attribute(fields, RESUMED)
            && state(self) == Some(State::Paused)
        {
            let (budget, decision) = typed(note, line)?;
            self.record(line, Event::Resumed { trial, budget, decision })?;
        }
        if state(self) == Some(State::Running) {
            if attribute(fields, PAUSED).is_some() {
                self.record(line, Event::Paused { trial })?;
            }
            if let Some(note) = attribute(fields, CHANGED) {
                self.record(line, Event::Changed { trial, change: typed(note, line)? })?;
            }
        }
        match fields.get("state").and_then(Json::as_u64) {
            Some(COMPLETE) => {
                let first = fields.get("values").and_then(|values| values.get(0));
                let value = first.or_else(|| fields.get("value")).and_then(number).map(|value| self.signed(value));
                let last = self.history.trial(trial).and_then(|trial| trial.reports.last());
                let next = last.map_or(1, |report| report.step + 1);
                if let Some(value) = value.filter(|value| last.is_none_or(|r| finite(r.value) != finite(*value))) {
                    self.record(line, Event::Reported { trial, step: next, value })?;
                }
                self.record(line, Event::Completed { trial })
            }
            Some(PRUNED) => {
                let ended = self.history.trial(trial).map_or((0, f64::INFINITY), |trial| (trial.step(), trial.score()));
                // Who stopped it elsewhere did not say why.
                let unknown = Decision { rung: ended.0, threshold: f64::NAN, value: ended.1 };
                self.record(line, Event::Pruned { trial, decision: of.stopped.unwrap_or(unknown) })
            }
            Some(FAILED) => self.record(line, Event::Failed { trial }),
            Some(WAITING) if begins => self.record(line, Event::Paused { trial }),
            Some(RUNNING) if state(self) == Some(State::Paused) => {
                // What waited elsewhere was taken up.
                let decision = Decision { rung: 0, threshold: f64::INFINITY, value: f64::INFINITY };
                self.record(line, Event::Resumed { trial, budget: u64::MAX, decision })
            }
            _ => Ok(()),
        }
    }

    /// Takes in an event whose lines this process has just written behind all others.
    ///
    /// # Errors
    /// If it cannot happen.
    pub fn wrote(&mut self, event: Event, writer: &str) -> Result<(), HistoryError> {
        self.history.record(event.clone())?;
        if let Event::Started { .. } = event {
            self.ids.push(self.created);
            self.created += 1;
            self.owners.push(String::new());
        }
        if let Some(owner) = self.owners.get_mut(event.trial() as usize) {
            writer.clone_into(owner);
        }
        self.events.push(event);
        Ok(())
    }

    /// A value as the study compares it; and back.
    pub(super) fn signed(&self, value: f64) -> f64 {
        if self.maximized { -value } else { value }
    }

    /// A value of a step; as in Optuna, only the first of a step counts.
    fn report(&mut self, line: usize, trial: u64, step: u64, value: &Json) -> Result<(), JournalError> {
        let value = number(value).ok_or_else(|| wrong(line, "a value is no number; take the line out"))?;
        let value = self.signed(value);
        let last = self.history.trial(trial).filter(|trial| !trial.reports.is_empty()).map(|trial| trial.step());
        if last.is_none_or(|last| last < step) {
            self.record(line, Event::Reported { trial, step, value })
        } else {
            Ok(())
        }
    }

    fn record(&mut self, line: usize, event: Event) -> Result<(), JournalError> {
        self.history.record(event.clone()).map_err(|error| wrong(line, error.to_string()))?;
        self.events.push(event);
        Ok(())
    }
}

/// The point of a trial; what stands in the file beside the space's dimensions is passed over.
fn point(trial: &Gathered, space: &Space, line: usize) -> Result<Point, JournalError> {
    let mut values = vec![];
    for dimension in space.dimensions() {
        let Some(internal) = trial.params.get(&dimension.name).and_then(Json::as_f64) else {
            values.push(None);
            continue;
        };
        let outside = || {
            let name = &dimension.name;
            wrong(
                line,
                format!("`{name}` has a value outside of the space; give the space that the study was made with"),
            )
        };
        let (low, high) = dimension.domain.ends();
        let value = match &dimension.domain {
            Domain::Categorical { .. } => {
                // The file counts choices in its own order.
                let text = trial.distributions.get(&dimension.name).and_then(Json::as_str).unwrap_or_default();
                let distribution: Json = serde_json::from_str(text).unwrap_or_default();
                let choice = &distribution["attributes"]["choices"][internal as usize];
                let choice: Option<Value> = serde_json::from_value(choice.clone()).ok();
                choice.and_then(|choice| dimension.domain.read(&choice)).ok_or_else(outside)?
            }
            _ if (low..=high).contains(&internal) => internal,
            _ => return Err(outside()),
        };
        values.push(Some(value));
    }
    Ok(Point(values))
}

/// A whole number of a line.
fn number_of(fields: &Fields, name: &str, line: usize) -> Result<u64, JournalError> {
    let number = fields.get(name).and_then(Json::as_u64);
    number.ok_or_else(|| wrong(line, format!("`{name}` is no whole number; give a journal that Optuna can read")))
}

/// What an attribute of ours holds.
fn typed<T: DeserializeOwned>(note: &Json, line: usize) -> Result<T, JournalError> {
    let read = serde_json::from_value(note.clone());
    read.map_err(|error| wrong(line, format!("an attribute of stackelberg: {error}; take the line out")))
}

/// An attribute of the system that a line sets.
fn attribute<'a>(fields: &'a Fields, name: &str) -> Option<&'a Json> {
    fields.get("system_attr").or_else(|| fields.get("system_attrs"))?.get(name)
}

/// A name of a line.
fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// The lines of a text as objects with their numbers, and the bytes of all that are whole. Python's numbers that are not
/// finite become strings.
fn parsed(text: &str) -> Result<(Vec<(usize, Fields)>, usize), JournalError> {
    let (mut lines, mut whole) = (vec![], 0);
    for (at, raw) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str(&finite_tokens(raw)) {
            Ok(fields) => lines.push((at + 1, fields)),
            Err(_) if raw.trim().is_empty() => {}
            Err(_) if !raw.ends_with('\n') => break,
            Err(error) => return Err(wrong(at + 1, format!("{error}; give a journal that Optuna can read"))),
        }
        whole += raw.len();
    }
    Ok((lines, whole))
}

/// A line with `NaN`, `Infinity` and `-Infinity` outside of strings in quotes.
fn finite_tokens(line: &str) -> String {
    let (mut out, mut rest, mut quoted) = (String::with_capacity(line.len()), line, false);
    while let Some(first) = rest.chars().next() {
        let token = ["NaN", "-Infinity", "Infinity"].into_iter().find(|token| !quoted && rest.starts_with(token));
        let length = match (token, first) {
            (Some(token), _) => {
                out.push_str(&format!("\"{token}\""));
                rest = &rest[token.len()..];
                continue;
            }
            (None, '\\') if quoted => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, _) => first.len_utf8(),
        };
        quoted ^= first == '"';
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}
