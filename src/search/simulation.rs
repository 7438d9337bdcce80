//! A study on a virtual clock: workers that train by a function instead of a device, so that searchers which wait, promote
//! and copy can be run to their end, to the same bits each time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::history::{Event, History, HistoryError, State};
use super::searcher::{Ask, Searcher};
use super::slots::Slots;
use super::space::{Point, Space};

/// What trials train.
pub trait Task {
    /// What a training has come to; it is copied where a trial takes over another's.
    type State: Clone;

    /// A new training.
    fn begin(&self, trial: u64, point: &Point) -> Self::State;

    /// The value after the training went on to this step; none if it broke.
    fn advance(&self, state: &mut Self::State, point: &Point, step: u64) -> Option<f64>;

    /// How long a step takes, in virtual seconds.
    fn seconds(&self, _point: &Point, _step: u64) -> f64 {
        1.0
    }
}

/// Curves that depend on the point alone: a tabulated pool, or a formula.
impl<F: Fn(&Point, u64) -> f64> Task for F {
    type State = ();

    fn begin(&self, _: u64, _: &Point) {}

    fn advance(&self, (): &mut (), point: &Point, step: u64) -> Option<f64> {
        Some(self(point, step))
    }
}

/// An event with its time and its worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Virtual seconds since the study began.
    pub at: f64,
    /// The worker that it happened to.
    pub worker: usize,
    /// What happened.
    pub event: Event,
}

/// How far a simulation goes, and how often trials report.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// No trial is begun beyond so many.
    pub trials: u64,
    /// Nothing is recorded after so many virtual seconds.
    pub seconds: f64,
    /// Trials report after so many steps, and at the end of their budgets.
    pub interval: u64,
}

impl Limits {
    /// So many trials, which report after each step.
    pub fn trials(trials: u64) -> Self {
        Limits { trials, seconds: f64::INFINITY, interval: 1 }
    }
}

/// A study under way.
pub struct Simulation<'a, S: ?Sized, T: Task> {
    searcher: &'a S,
    space: &'a Space,
    task: &'a T,
    seed: u64,
    limits: Limits,
    slots: Slots,
    states: BTreeMap<u64, T::State>,
    history: History,
    records: Vec<Record>,
}

impl<'a, S: Searcher + ?Sized, T: Task> Simulation<'a, S, T> {
    /// A study that has not begun, with so many workers.
    pub fn new(searcher: &'a S, space: &'a Space, task: &'a T, seed: u64, workers: usize, limits: Limits) -> Self {
        let (slots, states) = (Slots::new(workers, limits.interval), BTreeMap::new());
        let (history, records) = (History::default(), vec![]);
        Simulation { searcher, space, task, seed, limits, slots, states, history, records }
    }

    /// Takes in what is known of the study from before.
    ///
    /// # Errors
    /// If the records are of no such study.
    pub fn replay(&mut self, records: &[Record]) -> Result<(), HistoryError> {
        for record in records {
            let last = self.records.len() + 1 == records.len();
            self.take(record.clone())?;
            if let Event::Reported { trial, .. } = record.event {
                // What became of the last one may not have been recorded any more.
                if last {
                    self.settle(record.worker, trial)?;
                } else {
                    self.schedule(record.worker, trial);
                }
            }
        }
        Ok(())
    }

    /// Goes on to the end, or to the limits.
    ///
    /// # Errors
    /// If the searcher asks for what cannot be, such as to go on with a trial that does not wait.
    pub fn run(mut self) -> Result<(History, Vec<Record>), HistoryError> {
        loop {
            // After each answer from the first worker on again, as after an interruption.
            while self.assign()? {}
            let next = self.slots.next().filter(|(_, job)| job.ends <= self.limits.seconds);
            let Some((worker, job)) = next else { break };
            self.slots.set_clock(job.ends);
            let (state, trial) = (self.states.get(&job.trial).cloned(), self.history.trial(job.trial));
            let (Some(mut state), Some(trial)) = (state, trial) else { break };
            // Every step up to the report, so that a follower may count them.
            let mut values =
                (trial.step() + 1..=job.step).map(|step| self.task.advance(&mut state, &trial.point, step));
            let value = values.try_fold(f64::NAN, |_, value| value);
            let event = match value {
                Some(value) => Event::Reported { trial: job.trial, step: job.step, value },
                None => Event::Failed { trial: job.trial },
            };
            self.happen(worker, event)?;
            if value.is_some() {
                self.settle(worker, job.trial)?;
            }
        }
        Ok((self.history, self.records))
    }

    /// Gives one worker something to do, if there is anything for any of them.
    fn assign(&mut self) -> Result<bool, HistoryError> {
        let Some(worker) = self.slots.idle() else { return Ok(false) };
        let next = self.history.next();
        let ask = self.searcher.ask(self.space, &self.history, self.seed, next);
        if matches!(ask, Ask::Start { .. }) && next >= self.limits.trials {
            return Ok(false);
        }
        let Some(event) = ask.event(next) else { return Ok(false) };
        self.happen(worker, event)?;
        Ok(true)
    }

    /// Asks what becomes of a trial that has reported.
    fn settle(&mut self, worker: usize, trial: u64) -> Result<(), HistoryError> {
        match self.searcher.judge(self.space, &self.history, self.seed, trial).event(&self.history, trial) {
            Some(event) => self.happen(worker, event),
            None => {
                self.schedule(worker, trial);
                Ok(())
            }
        }
    }

    fn happen(&mut self, worker: usize, event: Event) -> Result<(), HistoryError> {
        self.take(Record { at: self.slots.clock(), worker, event })
    }

    /// Takes in a record: history, states, and what its worker does.
    fn take(&mut self, record: Record) -> Result<(), HistoryError> {
        let Record { at, worker, event } = record.clone();
        let before = event.trial();
        let (waited, step) = self.history.trial(before).map_or((false, 0), |t| (t.state == State::Paused, t.step()));
        if let (Event::Reported { step: to, .. }, Some(state), Some(trial)) =
            (&event, self.states.get_mut(&before), self.history.trial(before))
        {
            (step + 1..=*to).for_each(|step| {
                self.task.advance(state, &trial.point, step);
            });
        }
        self.history.record(event.clone())?;
        self.slots.set_clock(at);
        self.records.push(record);
        match event {
            Event::Started { trial, point, .. } => {
                self.states.insert(trial, self.task.begin(trial, &point));
                self.schedule(worker, trial);
            }
            Event::Resumed { trial, .. } => self.schedule(worker, trial),
            Event::Changed { trial, change } => {
                if let Some(state) = self.states.get(&change.from).cloned() {
                    self.states.insert(trial, state);
                }
                self.schedule(worker, trial);
            }
            Event::Reported { .. } => {}
            // A trial that waits has no worker.
            Event::Paused { .. } | Event::Completed { .. } | Event::Pruned { .. } | Event::Failed { .. } if !waited => {
                self.slots.free(worker);
            }
            Event::Paused { .. } | Event::Completed { .. } | Event::Pruned { .. } | Event::Failed { .. } => {}
        }
        Ok(())
    }

    /// Sets when a worker's trial reports next.
    fn schedule(&mut self, worker: usize, trial: u64) {
        let Some(trial) = self.history.trial(trial) else { return };
        self.slots.begin(worker, trial, |step| self.task.seconds(&trial.point, step));
    }
}
