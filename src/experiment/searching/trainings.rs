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
use crate::search::history::Change;
use crate::search::{History, Trial};

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

    /// A trial takes over another's training, which it goes on with from what is kept.
    ///
    /// # Errors
    /// If that is not one of the study's, or cannot be kept.
    pub fn take_over(&mut self, states: &States, trial: u64, change: &Change) -> Result<(), TuneError> {
        self.close(trial);
        // Where it is not there, the trial cannot go on, and says so.
        let Some(donor) = states.load(change.from, change.from_step) else { return Ok(()) };
        let own = states.load(trial, change.step);
        let joined = self.subject.taken_over(&change.point, donor, own.as_deref())?;
        states.save(trial, change.step, &joined).map_err(|error| TuneError::Observer(error.into()))
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

/// How often a trial's training was changed midway; those that it took over were before its own.
pub fn changes(history: &History, trial: u64) -> usize {
    fn until(history: &History, trial: &Trial, step: u64) -> usize {
        let Some(change) = before(trial, step) else { return 0 };
        1 + history.trial(change.from).map_or(0, |from| until(history, from, change.from_step))
    }
    history.trial(trial).map_or(0, |trial| until(history, trial, trial.step()))
}

/// The last change of a trial before it had done so many steps.
fn before(trial: &Trial, step: u64) -> Option<&Change> {
    trial.changes.iter().rev().find(|change| change.step < step)
}

/// The score of a training that goes through all that a trial's has gone through, with what that took over from others; none
/// if it was stopped or diverged.
///
/// # Errors
/// If the training cannot be, or the device failed.
pub async fn retrained(
    subject: &dyn Subject,
    device: &Device,
    history: &History,
    trial: u64,
    observer: &mut dyn Observer,
) -> Result<Option<Named>, TuneError> {
    let Some(trial) = history.trial(trial) else { return Ok(None) };
    match again(subject, device, history, (trial, trial.step()), observer).await? {
        Some(mut training) => training.score(observer).await.map(Some),
        None => Ok(None),
    }
}

type Again<'a> = LocalFuture<'a, Result<Option<Box<dyn Training>>, TuneError>>;

/// A trial's training as it was after so many steps, trained again.
fn again<'a>(
    subject: &'a dyn Subject,
    device: &'a Device,
    history: &'a History,
    (trial, step): (&'a Trial, u64),
    observer: &'a mut dyn Observer,
) -> Again<'a> {
    Box::pin(async move {
        let (mut training, left) = match before(trial, step) {
            None => (subject.job(&trial.begun)?.open(device).await?, step),
            Some(to) => {
                let Some(from) = history.trial(to.from) else { return Ok(None) };
                let donor = again(subject, device, history, (from, to.from_step), observer).await?;
                let Some(mut training) = donor else { return Ok(None) };
                let own = match subject.keeps_own() {
                    true => again(subject, device, history, (trial, to.step), observer).await?,
                    false => None,
                };
                let own = match own {
                    Some(mut own) => Some(own.save().await?),
                    None => None,
                };
                let joined = subject.taken_over(&to.point, training.save().await?, own.as_deref())?;
                training.load(&joined).await?;
                change(&mut *training, &subject.midway(&to.point))?;
                (training, step - to.step)
            }
        };
        let report = training.advance(left, observer).await?;
        let ended = matches!(report.ending, Ending::Stopped | Ending::Diverged);
        Ok((!ended).then_some(training))
    })
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
