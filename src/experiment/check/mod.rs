//! Whether a hypergradient is right, on the problem of a configuration. Two things are looked at, and their sizes do
//! not depend on how fast a machine is.
//!
//! In f64, through [`EXACT`] of the settings: reverse mode against forward mode against central differences. On the
//! device, in its single precision and through all of the settings: reverse mode against forward mode.
//!
//! What may differ, and by how much, is measured and not assumed. Rounding: the loss and its derivatives are taken at
//! six points so close together that both are straight lines there; what is left when the lines are taken out is noise,
//! and Student's t says how much of it may be put up with. Roundings that are the same at all six points do not show as
//! noise: for them, each step may add one unit roundoff of the sum. Truncation, and the kinks of piecewise-linear networks, which
//! mislead a difference whose two ends lie on different pieces: the step is halved until rounding explains the rest,
//! and a difference is only trusted as far as the last halvings left it alone, and both sides of the point say the same.
//!
//! Past the edge of stability a training turns the last digits of a hyperparameter into another outcome. Its derivative
//! is exact there and of no use; both show, since neighbouring points then have other derivatives, or very large ones.

mod measure;
mod verdict;

pub use verdict::{
    Answer, Answers, Comparison, Edge, GradientCheck, MODES, OnDevice, Outcome, SCATTER, SETTLED, STEEP, Verdict,
};

use serde::Serialize;

use self::measure::{FEWEST, POINTS, Precision};
use self::verdict::{Deviation, norm};
use super::config::TuneConfig;
use super::error::TuneError;
use super::names;
use super::setup::{outer_windows, problem, scaled, session_data, start_values};
use crate::bilevel::hyperparameters::{Group, Hyperparameters, Kind};
use crate::bilevel::{CHUNK, Counts, Flow, Forward, Memory, Monitor, Pace, Problem, Reverse, SessionData, SolveError};
use crate::data::{Dataset, Split};
use crate::engine::LocalFuture;
use crate::rig::Device;
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
    fn all(config: &TuneConfig) -> Self {
        Size { steps: config.steps, batch: config.batch, validation_windows: config.validation_windows }
    }

    /// So much of a configuration.
    fn of(self, config: &TuneConfig) -> TuneConfig {
        let Size { steps, batch, validation_windows } = self;
        TuneConfig { steps, batch, validation_windows, ..config.clone() }
    }

    fn min(self, other: Size) -> Self {
        Size {
            steps: self.steps.min(other.steps),
            batch: self.batch.min(other.batch),
            validation_windows: self.validation_windows.min(other.validation_windows),
        }
    }
}

/// A hypergradient to check.
pub struct Subject {
    exact: Part,
    /// All of the settings.
    whole: Part,
}

/// A problem of some size at a point.
struct Part {
    size: Size,
    problem: Problem,
    data: SessionData,
    point: Hyperparameters,
    memory: Memory,
    lines: Vec<Line>,
    seed: u64,
}

/// A direction through the tuned unconstrained values.
struct Line {
    name: String,
    along: Vec<f64>,
    /// Whether it moves the only value of a group.
    is_scalar: bool,
}

impl Subject {
    /// The problem of a configuration at its start values or at those that a run has come to. In f64, [`EXACT`] of it is
    /// gone through, or all if `in_full`.
    pub fn new(
        config: &TuneConfig,
        data: &Dataset,
        point: Option<Hyperparameters>,
        along: Along,
        in_full: bool,
    ) -> Result<Self, CheckError> {
        let (split, _) = scaled(config, data)?;
        let whole = Part::new(config, &split, point.clone(), along)?;
        let size = if in_full { Size::all(config) } else { EXACT.min(Size::all(config)) };
        let exact = Part::new(&size.of(config), &split, point.map(|point| first_steps(point, size.steps)), along)?;
        Ok(Subject { exact, whole })
    }

    /// What is gone through in f64, and on the device.
    pub fn sizes(&self) -> [Size; 2] {
        [&self.exact, &self.whole].map(|part| part.size)
    }

    /// Seconds of the part in f64 and of that on a device, by the paces of both on the whole problem or, for f64, on
    /// the part.
    pub fn seconds(&self, exact: &Pace, device: &Pace) -> [f64; 2] {
        [self.exact.seconds(exact, true), self.whole.seconds(device, false)]
    }

    /// The configuration of the part in f64, to be timed.
    pub fn exact_config(&self, config: &TuneConfig) -> TuneConfig {
        self.exact.size.of(config)
    }

    /// Checks on an engine in f64 and, where one is given, on a device in single precision. The host's progress is that
    /// of the whole check, by the seconds that its parts are said to take.
    pub async fn check(
        &self,
        exact: &Device,
        device: Option<&Device>,
        seconds: [f64; 2],
        host: &mut dyn Monitor,
    ) -> Result<GradientCheck, CheckError> {
        let seconds = [seconds[0], if device.is_some() { seconds[1] } else { 0.0 }];
        let share = seconds[0] / (seconds[0] + seconds[1]).max(f64::MIN_POSITIVE);
        let exactly = self.exact.in_f64(exact, &mut Portion { host, from: 0.0, to: share }).await?;
        let device = match device {
            Some(device) => Some(self.whole.in_single(device, &mut Portion { host, from: share, to: 1.0 }).await?),
            None => None,
        };
        let directions = self.exact.lines.iter().map(|line| line.name.clone()).collect();
        Ok(GradientCheck::new(directions, exactly, device))
    }
}

/// A point with rates for the first steps of a schedule alone.
fn first_steps(mut point: Hyperparameters, steps: u32) -> Hyperparameters {
    let schedules = point.groups.iter_mut().filter(|group| group.kind == Kind::LrSchedule);
    schedules.for_each(|group| group.values.truncate(steps as usize));
    point
}

/// Passes the progress of a part on as that of the whole, in ten thousandths.
struct Portion<'a> {
    host: &'a mut dyn Monitor,
    from: f64,
    to: f64,
}

impl Portion<'_> {
    /// A part of this part.
    fn part(&mut self, from: f64, to: f64) -> Portion<'_> {
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

impl Part {
    fn new(
        config: &TuneConfig,
        split: &Split,
        point: Option<Hyperparameters>,
        along: Along,
    ) -> Result<Self, CheckError> {
        let problem = problem(config, &split.sizes()).map_err(TuneError::from)?;
        let outer = outer_windows(&split.validation, config);
        let data = session_data(config, &problem, split, &outer);
        let start = start_values(config, &problem);
        let point = point.unwrap_or_else(|| start.clone());
        let shape =
            |h: &Hyperparameters| h.groups.iter().map(|g| (g.kind, g.values.len(), g.tuned)).collect::<Vec<_>>();
        if shape(&point) != shape(&start) {
            return Err(CheckError::Point);
        }
        let seed = u64::from(config.seed);
        let lines = lines(&point, &problem, along, seed);
        let memory = Memory::Budget(config.memory_budget.0);
        Ok(Part { size: Size::all(config), problem, data, point, memory, lines, seed })
    }

    /// Seconds at a pace.
    fn seconds(&self, pace: &Pace, f64s: bool) -> f64 {
        let (steps, lines) = (self.problem.steps as u64, self.lines.len());
        let outer = self.data.validation.count.div_ceil(CHUNK) as f64 * pace.outer;
        let of = |counts: Counts| pace.of(&counts, self.problem.train) + outer;
        let training = of(Counts { steps, ..Counts::default() });
        let reverse = of(Counts { steps, adjoints: steps, ..Counts::default() });
        let passes = lines.div_ceil(Forward::for_directions(lines).width) as u64;
        let forward = of(Counts { steps: passes * steps, tangents: lines as u64 * steps, ..Counts::default() });
        let differences = (2 * (FEWEST + 2) * lines) as f64 * training;
        let sweeps = (1 + POINTS) as f64;
        sweeps * reverse + forward + if f64s { differences } else { 0.0 }
    }

    async fn in_f64(&self, device: &Device, host: &mut Portion<'_>) -> Result<Answers, CheckError> {
        let (reverse, outer_loss, noise) = self.reverse(device, Precision::Double, &mut host.part(0.0, 0.3)).await?;
        let forward = self.forward(device, &noise, &mut host.part(0.3, 0.4)).await?;
        let mut session = self.session(device, Reverse { memory: self.memory }).await?;
        let differences = self.differences(&mut session, outer_loss, &noise, &mut host.part(0.4, 1.0)).await?;
        Ok(Answers::new(self.size, outer_loss, vec![reverse, forward, differences], Deviation::exact))
    }

    async fn in_single(&self, device: &Device, host: &mut Portion<'_>) -> Result<OnDevice, CheckError> {
        let diverged = OnDevice::Diverged { size: self.size };
        let found = self.reverse(device, Precision::Single, &mut host.part(0.0, 0.8)).await;
        let (reverse, outer_loss, noise) = match found {
            Ok(found) => found,
            Err(CheckError::Diverged) => return Ok(diverged),
            Err(error) => return Err(error),
        };
        let forward = match self.forward(device, &noise, &mut host.part(0.8, 1.0)).await {
            Ok(forward) => forward,
            Err(CheckError::Diverged) => return Ok(diverged),
            Err(error) => return Err(error),
        };
        let scatter = norm(&noise.scatter) / norm(&reverse.values).max(f64::MIN_POSITIVE);
        let single = self.lines.iter().zip(&reverse.values).filter(|(line, _)| line.is_scalar);
        let steepest = single.map(|(_, value)| value.abs()).fold(0.0, f64::max);
        let edge = if scatter > SCATTER {
            Some(Edge::Scatter)
        } else if steepest > STEEP * outer_loss.max(0.05) {
            Some(Edge::Steep)
        } else {
            None
        };
        let answers = Answers::new(self.size, outer_loss, vec![reverse, forward], Deviation::rounded);
        Ok(OnDevice::Answered { answers, scatter, edge })
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
