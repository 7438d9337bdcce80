//! What happens during a run, for those who watch it.

use super::error::TuneError;
use super::record::{Evaluation, OuterRecord, RunResult};
use super::state::TunerState;
use crate::bilevel::{Flow, Monitor, SolveError};
use crate::engine::LocalFuture;

/// Result of an observer's call.
pub type Observed = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// What happens during a run.
pub enum Event<'a> {
    /// A part of an outer iteration is finished.
    Progress {
        /// The outer iteration, from 1.
        iteration: u32,
        /// Training and adjoint steps of the iteration that are finished.
        done: u64,
        /// Those of the whole iteration.
        total: u64,
        /// How much of the whole run is finished, from 0 to 1.
        share: f64,
    },
    /// Training loss of every step of the iteration.
    InnerLosses {
        /// The outer iteration, from 1.
        iteration: u32,
        /// One a step.
        losses: &'a [f64],
    },
    /// The network trained with the start values.
    Start(&'a Evaluation),
    /// An outer iteration is finished.
    Outer {
        /// What came of the iteration.
        record: &'a OuterRecord,
        /// What the run remembers: from this it goes on to the same bits.
        state: &'a TunerState,
        /// The run's outcome if it ended now.
        result: &'a RunResult,
        /// The trained network's, if its outer loss is the lowest so far.
        weights: Option<&'a [f32]>,
    },
}

/// Who watches a run.
pub trait Observer {
    /// Takes an event; an error ends the run.
    fn event(&mut self, event: Event) -> Observed;

    /// Called between segments of some 10 ms: gives others a turn, may pause.
    fn breathe(&mut self) -> LocalFuture<'_, Flow>;
}

/// Passes a sweep's progress on to the observer of the run.
pub(super) struct Watched<'a> {
    observer: &'a mut dyn Observer,
    /// The outer iteration whose progress is passed on, if any, and the shares of the run that it begins and ends at.
    iteration: Option<(u32, [f64; 2])>,
    failed: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl<'a> Watched<'a> {
    /// For an outer iteration.
    pub(super) fn of(observer: &'a mut dyn Observer, iteration: u32, shares: [f64; 2]) -> Self {
        Watched { observer, iteration: Some((iteration, shares)), failed: None }
    }

    /// For work that is no outer iteration.
    pub(super) fn quiet(observer: &'a mut dyn Observer) -> Self {
        Watched { observer, iteration: None, failed: None }
    }

    /// An observer's failure stops the sweep; it is what the caller wants to know then.
    pub(super) fn settle<T>(&mut self, result: Result<T, SolveError>) -> Result<T, TuneError> {
        match self.failed.take() {
            Some(error) => Err(TuneError::Observer(error)),
            None => Ok(result?),
        }
    }
}

impl Monitor for Watched<'_> {
    fn progress(&mut self, done: u64, total: u64) {
        let Some((iteration, [from, to])) = self.iteration else { return };
        let share = from + (to - from) * done as f64 / total.max(1) as f64;
        if let Err(error) = self.observer.event(Event::Progress { iteration, done, total, share }) {
            self.failed = Some(error);
        }
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        if self.failed.is_some() {
            return Box::pin(std::future::ready(Flow::Stop));
        }
        self.observer.breathe()
    }
}

/// Watches nothing.
#[cfg(test)]
pub(super) struct Nobody;

#[cfg(test)]
impl Observer for Nobody {
    fn event(&mut self, _: Event) -> Observed {
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(std::future::ready(Flow::Continue))
    }
}
