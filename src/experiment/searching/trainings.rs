//! The trainings of a study on its device: opened, gone on with, kept and given up.

use std::collections::BTreeMap;

use super::states::States;
use super::subject::Subject;
use crate::bilevel::{Flow, SolveError};
use crate::engine::{EngineError, LocalFuture};
use crate::experiment::error::TuneError;
use crate::experiment::event::{Event as Progress, Observed, Observer};
use crate::experiment::record::{Ending, Named};
use crate::experiment::training::Training;
use crate::rig::Device;
use crate::search::{History, Point, Trial};

/// The trainings of trials that have a slot. They take turns on one device.
pub struct Trainings<'a> {
    subject: &'a dyn Subject,
    device: &'a Device,
    /// Steps of a whole training.
    pub whole: u64,
    /// As far as they were opened.
    open: BTreeMap<u64, Box<dyn Training>>,
}

/// What came of a turn.
pub enum Came {
    /// A value, and what the trial has cost so far, if its training tells.
    Value(f64, Option<f64>),
    /// It broke.
    Broke(TuneError),
    /// Whoever watches wanted to stop.
    Stopped,
}

impl<'a> Trainings<'a> {
    /// None yet.
    pub fn new(subject: &'a dyn Subject, device: &'a Device, whole: u64) -> Self {
        Trainings { subject, device, whole, open: BTreeMap::new() }
    }

    /// Takes a training from the device.
    pub fn close(&mut self, trial: u64) {
        self.open.remove(&trial);
    }

    /// Whether a trial's training has diverged for good.
    pub fn is_lost(&self, trial: &Trial) -> bool {
        !self.subject.keeps_best() && trial.has_diverged()
    }

    /// Trains until the next report, and keeps what that has come to.
    ///
    /// # Errors
    /// If the device is lost, or whoever watches cannot go on.
    pub async fn turn(
        &mut self,
        states: &States,
        trial: &Trial,
        step: u64,
        observer: &mut dyn Observer,
    ) -> Result<Came, TuneError> {
        if self.is_lost(trial) {
            return Ok(Came::Value(f64::INFINITY, None));
        }
        let mut tap = Tap { observer, best: None, spent: None };
        match self.trained(states, trial, step, &mut tap).await {
            Ok(Some(value)) => Ok(Came::Value(value, tap.spent)),
            Ok(None) => Ok(Came::Stopped),
            Err(error) if error.is_stop() => Ok(Came::Stopped),
            Err(
                error @ (TuneError::Observer(_) | TuneError::Solve(SolveError::Engine(EngineError::DeviceLost { .. }))),
            ) => Err(error),
            // The others may be trained all the same.
            Err(error) => Ok(Came::Broke(error)),
        }
    }

    async fn trained(
        &mut self,
        states: &States,
        trial: &Trial,
        step: u64,
        tap: &mut Tap<'_>,
    ) -> Result<Option<f64>, TuneError> {
        if !self.open.contains_key(&trial.number) {
            let Some(training) = self.opened(states, trial, tap).await? else { return Ok(None) };
            self.open.insert(trial.number, training);
        }
        let training = self.open.get_mut(&trial.number).expect("it was opened");
        let report = training.advance(step - trial.step(), tap).await?;
        if report.ending == Ending::Stopped {
            return Ok(None);
        }
        let last = report.outer_loss.unwrap_or(f64::INFINITY);
        let value = match self.subject.keeps_best() {
            true => trial.score().min(tap.best.unwrap_or(last)),
            false => last,
        };
        // Of what diverged there is nothing to go on with.
        if value.is_finite() && step < self.whole {
            let saved = training.save().await?;
            let kept = states.save(trial.number, step, &saved);
            kept.map_err(|error| TuneError::Observer(error.into()))?;
        }
        Ok(Some(value))
    }

    /// The training of a trial as its last report left it; none if it was stopped.
    async fn opened(
        &self,
        states: &States,
        trial: &Trial,
        tap: &mut Tap<'_>,
    ) -> Result<Option<Box<dyn Training>>, TuneError> {
        let job = self.subject.job(&trial.point)?;
        let mut training = job.open(self.device).await?;
        let step = trial.step();
        if step == 0 {
            return Ok(Some(training));
        }
        let loaded = match states.load(trial.number, step) {
            Some(saved) => training.load(&saved).await,
            None => Err(TuneError::Resume("what was saved of it is not there any more".to_owned())),
        };
        match loaded {
            Ok(()) => {}
            // It comes to the same bits again.
            Err(TuneError::Resume(_)) if trial.changes.is_empty() => {
                training = job.open(self.device).await?;
                if training.advance(step, tap).await?.ending == Ending::Stopped {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
        if trial.changes.last().is_some_and(|change| change.step == step) {
            change(&mut *training, &self.subject.midway(&trial.point))?;
        }
        Ok(Some(training))
    }
}

/// Gives a training other values, if there are any.
fn change(training: &mut dyn Training, values: &serde_json::Value) -> Result<(), TuneError> {
    if values.as_object().is_none_or(serde_json::Map::is_empty) { Ok(()) } else { training.set(values) }
}

/// What a trial's training went through: at each point so many steps. A trial that took over others' trainings has theirs
/// before its own.
pub fn lineage(history: &History, trial: u64) -> Vec<(u64, Point)> {
    let Some(trial) = history.trial(trial) else { return vec![] };
    fn until(history: &History, trial: &Trial, step: u64) -> Vec<(u64, Point)> {
        let change = trial.changes.iter().rev().find(|change| change.step < step);
        let Some(change) = change else { return vec![(step, trial.begun.clone())] };
        let before = history.trial(change.from).map(|from| until(history, from, change.from_step));
        let mut before = before.unwrap_or_default();
        before.push((step - change.step, change.point.clone()));
        before
    }
    until(history, trial, trial.step())
}

/// The score of a training that goes through such a lineage; none if it was stopped or diverged.
///
/// # Errors
/// If the training cannot be, or the device failed.
pub async fn retrained(
    subject: &dyn Subject,
    device: &Device,
    lineage: &[(u64, Point)],
    observer: &mut dyn Observer,
) -> Result<Option<Named>, TuneError> {
    let Some((_, first)) = lineage.first() else { return Ok(None) };
    let mut training = subject.job(first)?.open(device).await?;
    for (at, (steps, point)) in lineage.iter().enumerate() {
        if at > 0 {
            change(&mut *training, &subject.midway(point))?;
        }
        let report = training.advance(*steps, observer).await?;
        if matches!(report.ending, Ending::Stopped | Ending::Diverged) {
            return Ok(None);
        }
    }
    training.score(observer).await.map(Some)
}

/// Hears what a training that tunes itself has come to.
struct Tap<'a> {
    observer: &'a mut dyn Observer,
    best: Option<f64>,
    spent: Option<f64>,
}

impl Observer for Tap<'_> {
    fn event(&mut self, event: Progress) -> Observed {
        if let Progress::Outer { record, result, .. } = &event {
            self.best = result.best_outer_loss.or(self.best);
            self.spent = Some(record.spent);
        }
        self.observer.event(event)
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        self.observer.breathe()
    }
}
