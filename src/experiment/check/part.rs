//! What a check goes through, and along what.

use std::rc::Rc;

use serde::Serialize;

use crate::bilevel::hyperparameters::{Group, Hyperparameters, Kind};
use crate::bilevel::{Flow, Monitor, Problem, SolveError};
use crate::engine::LocalFuture;
use crate::experiment::config::{TuneConfig, USUAL_BATCH};
use crate::experiment::error::TuneError;
use crate::experiment::names;
use crate::experiment::prepared::Prepared;
use crate::rng::{Purpose, Stream};

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The run that is checked cannot be prepared.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// Training does not end in finite numbers, so there is no derivative.
    #[error(
        "training diverges at these hyperparameters, so there is no hypergradient to check. Start from a smaller \
         learning rate or smaller penalties"
    )]
    Diverged,
    /// A point of other hyperparameters than those tuned.
    #[error("the hyperparameters to check at are not those that the configuration tunes")]
    Point,
}

impl From<SolveError> for CheckError {
    fn from(error: SolveError) -> Self {
        CheckError::Tune(error.into())
    }
}

/// What is checked along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Along {
    /// Groups of up to so many values are gone through one by one.
    pub each: usize,
    /// Random directions through a larger group.
    pub random: usize,
}

impl Along {
    /// Every scalar; two directions through example weights and their like.
    pub const EACH: Along = Along { each: 16, random: 2 };
    /// One direction for every group.
    pub const GROUPS: Along = Along { each: 1, random: 1 };
}

/// What makes a check long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Training steps.
    pub steps: u32,
    /// Windows in a training batch.
    pub batch: u32,
    /// Windows of the outer loss.
    pub validation_windows: u32,
}

/// The most that is gone through in f64, where not all of the settings is.
pub const EXACT: Size = Size { steps: 10, batch: 8, validation_windows: 64 };

impl Size {
    pub(super) fn all(config: &TuneConfig) -> Self {
        Size {
            steps: config.steps,
            batch: config.batch.unwrap_or(USUAL_BATCH),
            validation_windows: config.validation_windows,
        }
    }

    /// So much of a configuration.
    pub(super) fn of(self, config: &TuneConfig) -> TuneConfig {
        let Size { steps, batch, validation_windows } = self;
        TuneConfig { steps, batch: Some(batch), validation_windows, ..config.clone() }
    }

    pub(super) fn min(self, other: Size) -> Self {
        Size {
            steps: self.steps.min(other.steps),
            batch: self.batch.min(other.batch),
            validation_windows: self.validation_windows.min(other.validation_windows),
        }
    }
}

/// A run at a point.
pub(super) struct Part {
    pub run: Rc<Prepared>,
    pub point: Hyperparameters,
    pub lines: Vec<Line>,
}

/// A direction through the tuned unconstrained values.
pub(super) struct Line {
    pub name: String,
    pub along: Vec<f64>,
    /// Whether it moves the only value of a group.
    pub is_scalar: bool,
}

impl Part {
    pub(super) fn new(run: Rc<Prepared>, point: Option<Hyperparameters>, along: Along) -> Result<Self, CheckError> {
        let point = point.unwrap_or_else(|| run.start.clone());
        let shape =
            |h: &Hyperparameters| h.groups.iter().map(|g| (g.kind, g.values.len(), g.tuned)).collect::<Vec<_>>();
        if shape(&point) != shape(&run.start) {
            return Err(CheckError::Point);
        }
        let lines = lines(&point, &run.problem, along, u64::from(run.config.seed));
        Ok(Part { run, point, lines })
    }

    /// What it goes through.
    pub(super) fn size(&self) -> Size {
        Size::all(&self.run.config)
    }
}

/// The directions to check along: unit vectors through small groups, vectors of random signs through large ones. Signs
/// move each value as far as a single one is moved, so steps along both are alike.
fn lines(point: &Hyperparameters, problem: &Problem, along: Along, seed: u64) -> Vec<Line> {
    let tuned: Vec<&Group> = point.groups.iter().filter(|group| group.tuned).collect();
    let all: usize = tuned.iter().map(|group| group.values.len()).sum();
    let mut stream = Stream::new(seed, Purpose::Search, 0);
    let (mut lines, mut first) = (vec![], 0);
    for group in tuned {
        let (name, len) = (group.kind.name(), group.values.len());
        let place = first..first + len;
        if len <= along.each {
            let names =
                names::each(group, problem).unwrap_or_else(|| (1..=len).map(|k| format!("{name} {k}")).collect());
            lines.extend(place.zip(names).map(|(k, name)| {
                let mut along = vec![0.0; all];
                along[k] = 1.0;
                Line { name, along, is_scalar: len == 1 }
            }));
        } else {
            lines.extend((1..=along.random).map(|number| {
                let mut along = vec![0.0; all];
                along[place.clone()].fill_with(|| if stream.uniform() < 0.5 { -1.0 } else { 1.0 });
                Line { name: format!("{name}, random signs {number}"), along, is_scalar: false }
            }));
        }
        first += len;
    }
    lines
}

/// A point with rates for the first steps of a schedule alone.
pub(super) fn first_steps(mut point: Hyperparameters, steps: u32) -> Hyperparameters {
    let schedules = point.groups.iter_mut().filter(|group| group.kind == Kind::LrSchedule);
    schedules.for_each(|group| group.values.truncate(steps as usize));
    point
}

/// Passes the progress of a part on as that of the whole, in ten thousandths.
pub(super) struct Portion<'a> {
    pub host: &'a mut dyn Monitor,
    pub from: f64,
    pub to: f64,
}

impl Portion<'_> {
    /// A part of this part.
    pub fn part(&mut self, from: f64, to: f64) -> Portion<'_> {
        let at = |share: f64| self.from + share * (self.to - self.from);
        let (from, to) = (at(from), at(to));
        Portion { host: &mut *self.host, from, to }
    }
}

impl Monitor for Portion<'_> {
    fn progress(&mut self, done: u64, total: u64) {
        const ALL: f64 = 10_000.0;
        let share = self.from + done as f64 / total.max(1) as f64 * (self.to - self.from);
        self.host.progress((ALL * share) as u64, ALL as u64);
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        self.host.breathe()
    }
}
