//! What is shown of a study while it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::time::Instant;

use stackelberg::bilevel::Flow;
use stackelberg::engine::LocalFuture;
use stackelberg::experiment::config::Budget;
use stackelberg::experiment::error::TuneError;
use stackelberg::experiment::searching::executor::{self, spent};
use stackelberg::experiment::searching::subject::Rows;
use stackelberg::experiment::tune::{Event as Progress, Observed, Observer};
use stackelberg::search::journal::Journal;
use stackelberg::search::{Decision, Event, Trial, Value};

use crate::cli::interrupt::Interrupt;
use crate::cli::note;
use crate::cli::progress::number;

/// A line for each decision on a trial.
pub struct Watch<'a> {
    rows: &'a Rows<'a>,
    /// Steps of a whole training.
    whole: u64,
    budget: Budget,
    interrupt: Interrupt,
    deadline: Option<Instant>,
    /// Trials whose values were shown: once for each is enough.
    shown: BTreeSet<u64>,
}

impl<'a> Watch<'a> {
    pub fn new(
        rows: &'a Rows<'a>,
        whole: u64,
        budget: Budget,
        interrupt: Interrupt,
        deadline: Option<Instant>,
    ) -> Self {
        Watch { rows, whole, budget, interrupt, deadline, shown: BTreeSet::new() }
    }

    /// The same for what comes after the search, which no time limits.
    pub fn without_deadline(&self) -> Self {
        Watch::new(self.rows, self.whole, self.budget, self.interrupt.clone(), None)
    }

    /// Whether somebody wants it to end.
    pub fn is_stopped(&self) -> bool {
        self.interrupt.is_raised()
    }

    /// The exit status of what was stopped.
    pub fn code(&self) -> std::process::ExitCode {
        self.interrupt.code()
    }

    fn line(&mut self, study: &Journal, event: &Event) -> Option<String> {
        let trial = study.history.trial(event.trial())?;
        let loss = |trial: &Trial| match trial.score() {
            score if score.is_finite() => format!("outer loss {}", number(score)),
            _ => "diverged".to_owned(),
        };
        let step = trial.step();
        let what = match event {
            Event::Started { .. } | Event::Reported { .. } => return None,
            Event::Paused { .. } => format!("waits at {step}, {}", loss(trial)),
            Event::Resumed { budget, decision, .. } => format!("goes on to {budget}: {}", reason(decision, "within")),
            Event::Pruned { decision, .. } => format!("is stopped: {}", reason(decision, "past")),
            Event::Completed { .. } => {
                let best = study.history.best().is_some_and(|best| best.number == trial.number);
                format!("{}{}", loss(trial), if best { " (best)" } else { "" })
            }
            Event::Changed { change, .. } => format!("takes over trial {} at {step}, {}", change.from, loss(trial)),
            Event::Failed { .. } => "FAILED".to_owned(),
        };
        let is_new = self.shown.insert(trial.number) || matches!(event, Event::Changed { .. });
        let point = if is_new { "  ".to_owned() + &written(&self.rows.named(&trial.point)) } else { String::new() };
        let cost = spent(study, self.whole);
        let of = match self.budget {
            Budget::Seconds(_) | Budget::UNLIMITED => format!("{cost:>6.1}"),
            Budget::Trainings(all) => format!("{cost:>6.1}/{all}"),
        };
        Some(format!("{:>4}  {of} {what}{point}", trial.number))
    }
}

/// Why a trial was stopped or let go on.
fn reason(decision: &Decision, which: &str) -> String {
    let Decision { rung, threshold, value } = decision;
    if threshold.is_nan() {
        return format!("at {rung} its value is {}", number(*value));
    }
    format!("at rung {rung} its value {} is {which} the threshold {}", number(*value), number(*threshold))
}

/// Values by name in one line.
pub fn written(values: &BTreeMap<String, Value>) -> String {
    let value = |value: &Value| match value {
        Value::Float(value) => number(*value),
        Value::Int(value) => value.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Text(text) => text.clone(),
    };
    values.iter().map(|(name, v)| format!("{name} {}", value(v))).collect::<Vec<_>>().join("  ")
}

impl Observer for Watch<'_> {
    fn event(&mut self, _: Progress) -> Observed {
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(ready(if self.interrupt.is_raised() { Flow::Stop } else { Flow::Continue }))
    }
}

impl executor::Watch for Watch<'_> {
    fn happened(&mut self, study: &Journal, event: &Event) {
        if let Some(line) = self.line(study, event) {
            note(line);
        }
    }

    fn broke(&mut self, trial: u64, error: &TuneError) {
        note(format_args!("{trial:>4}  {error}"));
    }

    fn waits(&mut self) {
        note("Waiting for trials of other processes; Ctrl-C ends that");
    }

    fn is_over(&self) -> bool {
        self.interrupt.is_raised() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
