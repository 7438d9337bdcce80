//! What there is to report of a study of `stackelberg search`.

use serde::Serialize;
use stackelberg::data::visible;
use stackelberg::engine::several;
use stackelberg::experiment::searching::about::About;
use stackelberg::experiment::searching::executor::spent;
use stackelberg::search::importance::importances;
use stackelberg::search::journal::Journal;
use stackelberg::search::{Event, State, Trial, Value};

use crate::cli::progress::number;

/// A study's journal.
#[derive(Serialize)]
pub struct Search {
    pub name: String,
    pub about: About,
    /// What it has cost, in whole trainings.
    pub spent: f64,
    /// The number of the best trial that came to its end.
    pub best: Option<u64>,
    pub trials: Vec<Trial>,
    pub importance: Option<Importance>,
    /// When a trial trained: the events at which it began or went on, and stopped to.
    pub turns: Vec<Turn>,
}

/// How much each dimension matters.
#[derive(Serialize)]
pub struct Importance {
    /// The steps after which trials were compared.
    pub step: u64,
    pub trials: usize,
    /// Shares of the variance, by dimension; the rest is due to several together.
    pub shares: Vec<(String, f64)>,
}

/// A piece of a trial's training without a pause.
#[derive(Clone, Copy, Serialize)]
pub struct Turn {
    pub trial: u64,
    pub from: usize,
    pub to: usize,
    /// How the trial stood afterwards.
    pub state: State,
}

impl Search {
    pub fn new(name: String, about: About, journal: &Journal) -> Self {
        let trials = journal.history.trials().to_vec();
        let importance = importances(&about.space, &journal.history).map(|found| {
            let names = about.space.dimensions().iter().map(|dimension| dimension.name.clone());
            Importance { step: found.step, trials: found.trials, shares: names.zip(found.shares).collect() }
        });
        Search {
            name,
            spent: spent(journal, about.size.most),
            best: journal.history.best().map(|best| best.number),
            importance,
            turns: turns(&journal.events),
            trials,
            about,
        }
    }

    /// How it went, in a sentence.
    pub fn headline(&self) -> String {
        let count = |wanted: State| self.trials.iter().filter(|trial| trial.state == wanted).count();
        let (method, space) = (&self.about.method, self.about.space.len());
        let best = self.best.map_or("none has come to its end".to_owned(), |best| {
            let loss = number(self.trials[best as usize].score());
            format!("the best is trial {best} with outer loss {loss}")
        });
        format!(
            "{} by {method} in {}, {} trainings' worth: {} complete, {} stopped, {} broken, {} open; {best}.",
            several(self.trials.len() as u64, "trial"),
            several(space as u64, "dimension"),
            number(self.spent),
            count(State::Complete),
            count(State::Pruned),
            count(State::Failed),
            count(State::Running) + count(State::Paused),
        )
    }

    /// Its trials from the best on: those that came furthest first. A head, and a line of cells for each.
    pub fn table(&self) -> Vec<Vec<String>> {
        let dimensions = self.about.space.dimensions();
        let names = dimensions.iter().map(|dimension| visible(&dimension.name));
        let head = ["trial", "state", "steps", "outer loss"].map(str::to_owned);
        let mut lines: Vec<Vec<String>> = vec![head.into_iter().chain(names).collect()];
        let mut trials: Vec<&Trial> = self.trials.iter().collect();
        trials.sort_by(|a, b| b.step().cmp(&a.step()).then(a.score().total_cmp(&b.score())));
        for trial in trials {
            let state = serde_json::to_string(&trial.state).expect("plain values").replace('"', "");
            let loss = match trial.score() {
                _ if trial.reports.is_empty() => "–".to_owned(),
                score if score.is_finite() => number(score),
                _ => "diverged".to_owned(),
            };
            let written = self.about.space.written(&trial.point);
            let value = |name: &str| match written.get(name) {
                None => "–".to_owned(),
                Some(Value::Float(value)) => number(*value),
                Some(Value::Text(text)) => visible(text),
                Some(other) => serde_json::to_string(other).expect("plain values"),
            };
            let cells = [trial.number.to_string(), state, trial.step().to_string(), loss];
            lines.push(cells.into_iter().chain(dimensions.iter().map(|d| value(&d.name))).collect());
        }
        lines
    }

    /// All numbers of it, each with what it belongs to.
    pub fn figures(&self) -> Vec<(String, String, f64)> {
        let mut figures = vec![(String::new(), "spent".to_owned(), self.spent)];
        for trial in &self.trials {
            let labels = format!("trial={}", trial.number);
            figures.push((labels.clone(), "steps".to_owned(), trial.step() as f64));
            for (name, value) in self.about.space.written(&trial.point) {
                let value = match value {
                    Value::Float(value) => value,
                    Value::Int(value) => value as f64,
                    Value::Bool(_) | Value::Text(_) => continue,
                };
                figures.push((labels.clone(), name, value));
            }
            for report in trial.reports.iter().filter(|report| report.value.is_finite()) {
                figures.push((format!("{labels} step={}", report.step), "outer_loss".to_owned(), report.value));
            }
        }
        for (name, share) in self.importance.iter().flat_map(|importance| &importance.shares) {
            figures.push((String::new(), format!("importance.{name}"), *share));
        }
        figures
    }
}

/// The pieces of all trainings, in the order in which they began.
fn turns(events: &[Event]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = vec![];
    for (at, event) in events.iter().enumerate() {
        let trial = event.trial();
        let state = match event {
            Event::Started { .. } | Event::Resumed { .. } => {
                turns.push(Turn { trial, from: at, to: at, state: State::Running });
                continue;
            }
            Event::Reported { .. } | Event::Changed { .. } => State::Running,
            Event::Paused { .. } => State::Paused,
            Event::Completed { .. } => State::Complete,
            Event::Pruned { .. } => State::Pruned,
            Event::Failed { .. } => State::Failed,
        };
        if let Some(turn) = turns.iter_mut().rev().find(|turn| turn.trial == trial) {
            if turn.state == State::Running {
                turn.to = at;
            }
            turn.state = state;
        }
    }
    turns
}
