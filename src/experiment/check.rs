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

use serde::Serialize;

use super::config::TuneConfig;
use super::error::TuneError;
use super::names;
use super::setup::{outer_windows, problem, scaled, session_data, start_values};
use crate::bilevel::hyperparameters::{Group, Hyperparameters, Kind};
use crate::bilevel::{
    CHUNK, Counts, Directions, Estimate, Flow, Forward, Host, Memory, Method, Pace, Problem, Reverse, Session,
    SessionData, SolveError,
};
use crate::data::{Source, Split};
use crate::engine::{Engine, LocalFuture};
use crate::rng::{Purpose, Stream};

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Tune(#[from] TuneError),
    #[error(
        "training diverges at these hyperparameters, so there is no hypergradient to check. Start from a smaller \
         learning rate or smaller penalties"
    )]
    Diverged,
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
    fn of(config: &TuneConfig) -> Self {
        Size { steps: config.steps, batch: config.batch, validation_windows: config.validation_windows }
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

/// What one way gives for the derivative along each direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// `reverse mode`, `forward mode` or `differences`.
    pub method: String,
    /// The engine that computed it.
    pub engine: String,
    pub values: Vec<f64>,
    /// How far each may be off though nothing is wrong.
    pub uncertainty: Vec<f64>,
    /// The steps of differences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<f64>,
}

/// What two answers have to say of each other along a direction. The worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// They differ by no more than they may, and that is little beside them.
    Agree,
    /// They may differ by so much that agreeing says nothing.
    Unsettled,
    Disagree,
}

/// Two answers side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Places in the list of answers.
    pub answers: [usize; 2],
    /// Between the two vectors of derivatives, in degrees.
    pub angle: f64,
    /// Length of their difference over that of the second.
    pub relative_error: f64,
    /// Along each direction.
    pub verdicts: Vec<Verdict>,
    /// The relative error of one of the two that is sure to show, along each direction: twice what they may differ by,
    /// over the smaller.
    pub shows: Vec<f64>,
}

impl Comparison {
    /// Of all directions together: the worst.
    pub fn verdict(&self) -> Verdict {
        self.verdicts.iter().copied().max().unwrap_or(Verdict::Unsettled)
    }

    /// The relative error that is sure to show along every direction that is settled and not exactly zero; none where
    /// none is.
    pub fn shown(&self) -> Option<f64> {
        let settled = self.shows.iter().zip(&self.verdicts).filter(|(_, verdict)| **verdict == Verdict::Agree);
        settled.map(|(shows, _)| *shows).filter(|shows| shows.is_finite()).reduce(f64::max)
    }
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All answers agree along every direction.
    Passed,
    /// The same, but past the edge of stability: the hypergradient is exact there and leads nowhere.
    Edge,
    /// Nothing disagrees, but in f64 differences cannot tell along some direction.
    Unsettled,
    /// Two answers disagree along a direction.
    Failed,
}

/// What was computed in one precision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answers {
    /// How much of the settings was gone through.
    pub size: Size,
    pub outer_loss: f64,
    /// Reverse mode, forward mode and, in f64, differences.
    pub answers: Vec<Answer>,
    /// Each with each.
    pub comparisons: Vec<Comparison>,
    /// The worst of all comparisons along each direction.
    pub verdicts: Vec<Verdict>,
}

impl Answers {
    fn new(size: Size, outer_loss: f64, answers: Vec<Answer>, mark: impl Fn(Deviation) -> Verdict) -> Self {
        let pairs = (0..answers.len()).flat_map(|b| (0..b).map(move |a| [a, b]));
        let comparisons: Vec<Comparison> = pairs.map(|pair| compare(&answers, pair, &mark)).collect();
        let worst = |k: usize| comparisons.iter().map(|comparison| comparison.verdicts[k]).max();
        let verdicts = (0..answers[0].values.len()).filter_map(worst).collect();
        Answers { size, outer_loss, answers, comparisons, verdicts }
    }

    fn verdict(&self) -> Verdict {
        self.verdicts.iter().copied().max().unwrap_or(Verdict::Unsettled)
    }
}

/// The device's part of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDevice {
    Answered {
        #[serde(flatten)]
        answers: Answers,
        /// By how much neighbouring points' hypergradients scatter, over the length of one.
        scatter: f64,
        /// Why the point lies past the edge of stability, if it does.
        edge: Option<Edge>,
    },
    /// Its training diverges, here or beside here.
    Diverged { size: Size },
}

/// How a point shows that it lies past the edge of stability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Edge {
    /// Hypergradients at points that differ in their last digits differ by more than [`SCATTER`].
    Scatter,
    /// A derivative in the logarithm of a scalar is more than [`STEEP`] times the loss.
    Steep,
}

/// Past this share of a hypergradient's length, what its neighbours scatter by makes it noise.
pub const SCATTER: f64 = 0.01;

/// Derivatives beyond this many times the outer loss (of 0.05 at least) do not describe it over any step worth taking.
pub const STEEP: f64 = 5.0;

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GradientCheck {
    /// Names of the directions.
    pub directions: Vec<String>,
    /// In f64.
    pub exact: Answers,
    /// None where there is no device besides.
    pub device: Option<OnDevice>,
    pub outcome: Outcome,
}

impl GradientCheck {
    fn new(directions: Vec<String>, exact: Answers, device: Option<OnDevice>) -> Self {
        let there = match &device {
            Some(OnDevice::Answered { answers, edge, .. }) => (answers.verdict(), edge.is_some()),
            Some(OnDevice::Diverged { .. }) => (Verdict::Agree, true),
            None => (Verdict::Agree, false),
        };
        let outcome = match (exact.verdict().max(there.0), there.1) {
            (Verdict::Disagree, _) => Outcome::Failed,
            (Verdict::Unsettled, _) => Outcome::Unsettled,
            (Verdict::Agree, true) => Outcome::Edge,
            (Verdict::Agree, false) => Outcome::Passed,
        };
        GradientCheck { directions, exact, device, outcome }
    }

    /// Names of the directions with a verdict.
    pub fn along(&self, verdicts: &[Verdict], verdict: Verdict) -> Vec<&str> {
        let those = self.directions.iter().zip(verdicts).filter(|(_, of)| **of == verdict);
        those.map(|(name, _)| name.as_str()).collect()
    }
}

/// The relative error of differences that has to be sure to show for a direction to be settled.
pub const SETTLED: f64 = 0.1;

/// On the device, modes may differ by this share of a derivative whatever the rounding that was measured.
pub const MODES: f64 = 0.01;

/// What two answers differ by along a direction.
struct Deviation {
    off: f64,
    /// By what is explained.
    allowed: f64,
    /// The larger of the two.
    value: f64,
    /// The relative error that is sure to show.
    shows: f64,
}

impl Deviation {
    /// In f64, where next to nothing is explained.
    fn exact(self) -> Verdict {
        match self {
            // No answer moves at all.
            Deviation { value: 0.0, .. } => Verdict::Agree,
            // The training diverges on the way to every difference.
            Deviation { allowed: f64::INFINITY, .. } => Verdict::Unsettled,
            Deviation { off, allowed, .. } if off.is_nan() || off > allowed => Verdict::Disagree,
            Deviation { shows, .. } if shows < SETTLED => Verdict::Agree,
            _ => Verdict::Unsettled,
        }
    }

    /// In single precision.
    fn rounded(self) -> Verdict {
        let Deviation { off, allowed, value, .. } = self;
        if off <= allowed.max(MODES * value) { Verdict::Agree } else { Verdict::Disagree }
    }
}

/// Points of a measurement of noise; two less are its degrees of freedom.
const POINTS: usize = 6;

/// The most by chance: Student's t of four degrees of freedom that is exceeded, either way, once in a thousand times.
const STUDENT: f64 = 8.610;

/// Spacing of the points in unit roundoffs: the hyperparameters themselves are distinct numbers there.
const SPACING: f64 = 32.0;

/// The most steps that a difference is taken with, and the fewest from which one can be judged.
const MOST: usize = 9;
const FEWEST: usize = 3;

/// What rounding makes of a kink where there is none, in roundings of the quotient: of five losses with the weights 4, 4,
/// −6, −1, −1 over the wider step, √70 beside √2.
const AMPLIFIED: f64 = 5.92;

/// The reference engine adds one by one what devices add in blocks. The roundings of a sum of n grow with √n then, and
/// the sums of an adjoint have some thousands.
const IN_SEQUENCE: f64 = 64.0;

#[derive(Clone, Copy)]
enum Precision {
    Single,
    Double,
}

impl Precision {
    fn roundoff(self) -> f64 {
        match self {
            Precision::Single => f64::from(f32::EPSILON) / 2.0,
            Precision::Double => f64::EPSILON / 2.0,
        }
    }

    /// How many roundings of the measured kind a derivative may be off by.
    fn slack(self) -> f64 {
        match self {
            Precision::Single => 1.0,
            Precision::Double => IN_SEQUENCE,
        }
    }
}

/// What rounding alone changes.
struct Noise {
    loss: f64,
    derivatives: Vec<f64>,
    /// Standard deviation of each derivative between neighbours.
    scatter: Vec<f64>,
}

impl Noise {
    /// From losses and from derivatives along each direction at neighbouring points.
    fn measured(losses: &[f64], derivatives: &[Vec<f64>], steps: usize, precision: Precision) -> Noise {
        let roundoff = precision.roundoff();
        let one = |values: &Vec<f64>| {
            precision.slack() * (STUDENT * scatter(values) + steps as f64 * roundoff * values[0].abs())
        };
        Noise {
            loss: STUDENT * scatter(losses) + roundoff * losses[0].abs(),
            derivatives: derivatives.iter().map(one).collect(),
            scatter: derivatives.iter().map(|values| scatter(values)).collect(),
        }
    }
}

impl Subject {
    /// The problem of a configuration at its start values or at those that a run has come to. In f64, [`EXACT`] of it is
    /// gone through, or all if `in_full`.
    pub fn new(
        config: &TuneConfig,
        source: &Source,
        point: Option<Hyperparameters>,
        along: Along,
        in_full: bool,
    ) -> Result<Self, CheckError> {
        let (split, _) = scaled(config, source)?;
        let whole = Part::new(config, &split, point.clone(), along)?;
        let size = if in_full { Size::of(config) } else { EXACT.min(Size::of(config)) };
        let Size { steps, batch, validation_windows } = size;
        let less = TuneConfig { steps, batch, validation_windows, ..config.clone() };
        let exact = Part::new(&less, &split, point.map(|point| first_steps(point, steps)), along)?;
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
        let Size { steps, batch, validation_windows } = self.exact.size;
        TuneConfig { steps, batch, validation_windows, ..config.clone() }
    }

    /// Checks on an engine in f64 and, where one is given, on a device in single precision. The host's progress is that
    /// of the whole check, by the seconds that its parts are said to take.
    pub async fn check(
        &self,
        exact: &mut dyn Engine,
        device: Option<&mut dyn Engine>,
        seconds: [f64; 2],
        host: &mut dyn Host,
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
    host: &'a mut dyn Host,
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

impl Host for Portion<'_> {
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
        let problem = problem(config, split.train.len());
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
        Ok(Part { size: Size::of(config), problem, data, point, memory, lines, seed })
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

    async fn in_f64(&self, engine: &mut dyn Engine, host: &mut Portion<'_>) -> Result<Answers, CheckError> {
        let (reverse, outer_loss, noise) = self.reverse(engine, Precision::Double, &mut host.part(0.0, 0.3)).await?;
        let forward = self.forward(engine, &noise, &mut host.part(0.3, 0.4)).await?;
        let mut session = self.session(engine, Reverse { memory: self.memory }).await?;
        let differences = self.differences(&mut session, outer_loss, &noise, &mut host.part(0.4, 1.0)).await?;
        Ok(Answers::new(self.size, outer_loss, vec![reverse, forward, differences], Deviation::exact))
    }

    async fn in_single(&self, device: &mut dyn Engine, host: &mut Portion<'_>) -> Result<OnDevice, CheckError> {
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

    async fn session<'e>(
        &self,
        engine: &'e mut dyn Engine,
        method: impl Method + 'static,
    ) -> Result<Session<'e>, CheckError> {
        Ok(Session::new(engine, self.problem.clone(), &self.data, method).await?)
    }

    /// Reverse mode, and the noise of what it says.
    async fn reverse(
        &self,
        engine: &mut dyn Engine,
        precision: Precision,
        host: &mut Portion<'_>,
    ) -> Result<(Answer, f64, Noise), CheckError> {
        let mut session = self.session(engine, Reverse { memory: self.memory }).await?;
        let share = 1.0 / (1 + POINTS) as f64;
        let here = self.estimate(&mut session, &self.point, &mut host.part(0.0, share)).await?;
        let mut stream = Stream::new(self.seed, Purpose::Search, 1);
        let count = self.lines.first().map_or(0, |line| line.along.len());
        let aslant: Vec<f64> = (0..count).map(|_| stream.normal()).collect();
        let (mut losses, mut derivatives) = (vec![], vec![vec![]; self.lines.len()]);
        for k in 0..POINTS {
            let point = moved(&self.point, &aslant, (k as f64 - 2.5) * SPACING * precision.roundoff());
            let from = (k + 1) as f64 * share;
            let there = self.estimate(&mut session, &point, &mut host.part(from, from + share)).await?;
            losses.push(there.outer_loss);
            derivatives.iter_mut().zip(there.hypergradient).for_each(|(list, value)| list.push(value));
        }
        let noise = Noise::measured(&losses, &derivatives, self.problem.steps, precision);
        Ok((answer(&session, here.hypergradient, &noise), here.outer_loss, noise))
    }

    async fn forward(&self, engine: &mut dyn Engine, noise: &Noise, host: &mut dyn Host) -> Result<Answer, CheckError> {
        let mut session = self.session(engine, Forward::for_directions(self.lines.len())).await?;
        let estimate = self.estimate(&mut session, &self.point, host).await?;
        Ok(answer(&session, estimate.hypergradient, noise))
    }

    /// Trains and differentiates along the lines.
    async fn estimate(
        &self,
        session: &mut Session<'_>,
        point: &Hyperparameters,
        host: &mut dyn Host,
    ) -> Result<Estimate, CheckError> {
        let columns = session.directions_at(point);
        let mut along = Directions::new(&self.problem);
        for line in &self.lines {
            let moving = line.along.iter().enumerate().filter(|(_, factor)| **factor != 0.0);
            along.push(moving.flat_map(|(k, factor)| columns.entries(k).iter().map(move |&(at, d)| (at, factor * d))));
        }
        let estimate = session.estimate_along(point, &along, host).await?;
        if estimate.hypergradient.len() == along.len() { Ok(estimate) } else { Err(CheckError::Diverged) }
    }

    async fn differences(
        &self,
        session: &mut Session<'_>,
        loss: f64,
        noise: &Noise,
        host: &mut Portion<'_>,
    ) -> Result<Answer, CheckError> {
        let (mut values, mut uncertainty, mut steps) = (vec![], vec![], vec![]);
        let share = 1.0 / self.lines.len().max(1) as f64;
        for (k, line) in self.lines.iter().enumerate() {
            let from = k as f64 * share;
            let mut host = host.part(from, from + share);
            let found = self.difference(session, line, [loss, noise.loss], &mut host).await?;
            values.push(found.value);
            uncertainty.push(found.uncertainty);
            steps.push(found.step);
        }
        let engine = session.engine().info().engine.clone();
        Ok(Answer { method: "differences".to_owned(), engine, values, uncertainty, steps })
    }

    /// The central difference that is worth most, by the loss at the point and its noise.
    async fn difference(
        &self,
        session: &mut Session<'_>,
        line: &Line,
        [loss, noise]: [f64; 2],
        host: &mut Portion<'_>,
    ) -> Result<Difference, SolveError> {
        // Where truncation, about h², and rounding, noise / h, balance for a loss of the order of one.
        let mut step = 4.0 * noise.cbrt();
        let (mut quotients, mut bends) = (vec![], vec![]);
        let mut best = Difference { value: f64::NAN, uncertainty: f64::INFINITY, step };
        while quotients.len() < MOST {
            let mut ends = [0.0; 2];
            let from = quotients.len() as f64 / MOST as f64;
            for (side, (end, sign)) in ends.iter_mut().zip([1.0, -1.0]).enumerate() {
                let half = 0.5 / MOST as f64;
                let mut host = host.part(from + side as f64 * half, from + (side + 1) as f64 * half);
                let point = moved(&self.point, &line.along, sign * step);
                *end = session.train_at(&point, &mut host).await?.outer_loss;
            }
            quotients.push((ends[0] - ends[1]) / (2.0 * step));
            bends.push((ends[0] - loss + (ends[1] - loss)) / step);
            if let ([.., a, b, c], [.., wide, near]) = (&quotients[..], &bends[..]) {
                // If each halving changes it by at most two thirds of what the one before did, all that are left
                // together change it by at most twice the last.
                let change = 2.0 * f64::max((b - c).abs(), 0.5 * (a - b).abs());
                // What the slopes on both sides differ by shrinks with the step where the loss is smooth. What does not is
                // a kink, close enough for every step so far to reach beyond it: they all see the mean of both slopes.
                let kink = (2.0 * near - wide).abs();
                let rounding = noise / (std::f64::consts::SQRT_2 * step);
                let uncertainty = change + kink + rounding;
                if uncertainty < best.uncertainty {
                    best = Difference { value: *c, uncertainty, step };
                }
                if AMPLIFIED * rounding > change + kink {
                    break;
                }
            }
            step /= 2.0;
        }
        Ok(best)
    }
}

/// A derivative by a central difference.
struct Difference {
    value: f64,
    uncertainty: f64,
    step: f64,
}

fn answer(session: &Session, values: Vec<f64>, noise: &Noise) -> Answer {
    let engine = session.engine().info().engine.clone();
    let method = session.method().name().to_owned();
    Answer { method, engine, values, uncertainty: noise.derivatives.clone(), steps: vec![] }
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

/// The point so far along a direction.
fn moved(point: &Hyperparameters, along: &[f64], distance: f64) -> Hyperparameters {
    let mut point = point.clone();
    let values = point.groups.iter_mut().filter(|group| group.tuned).flat_map(|group| &mut group.values);
    values.zip(along).for_each(|(value, factor)| *value += distance * factor);
    point
}

/// The standard deviation of equally spaced values about the straight line that fits them best.
fn scatter(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let places = || (0..values.len()).map(|k| k as f64 - (n - 1.0) / 2.0);
    let slope = places().zip(values).map(|(x, y)| x * (y - mean)).sum::<f64>() / places().map(|x| x * x).sum::<f64>();
    let off: f64 = places().zip(values).map(|(x, y)| (y - mean - slope * x).powi(2)).sum();
    (off / (n - 2.0)).sqrt()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn compare(answers: &[Answer], pair: [usize; 2], mark: &impl Fn(Deviation) -> Verdict) -> Comparison {
    let [a, b] = pair.map(|k| &answers[k]);
    let off: Vec<f64> = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).collect();
    let (length, other) = (norm(&b.values), norm(&a.values));
    // Kahan's formula, which is exact for small angles too.
    let unit = |sign: f64| -> Vec<f64> {
        a.values.iter().zip(&b.values).map(|(a, b)| a / other + sign * b / length).collect()
    };
    let angle = 2.0 * norm(&unit(-1.0)).atan2(norm(&unit(1.0)));
    let (mut shows, mut verdicts) = (vec![], vec![]);
    for (k, &off) in off.iter().enumerate() {
        let [x, y] = [a, b].map(|answer| answer.values[k].abs());
        let allowed = a.uncertainty[k] + b.uncertainty[k];
        let show = 2.0 * allowed / x.min(y);
        shows.push(show);
        verdicts.push(mark(Deviation { off, allowed, value: x.max(y), shows: show }));
    }
    Comparison { answers: pair, angle: angle.to_degrees(), relative_error: norm(&off) / length, verdicts, shows }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODE: [f64; 2] = [-0.2, 2e-5];

    fn answer(values: &[f64], uncertainty: &[f64]) -> Answer {
        let (values, uncertainty) = (values.to_vec(), uncertainty.to_vec());
        Answer { method: String::new(), engine: String::new(), values, uncertainty, steps: vec![] }
    }

    fn exact(differences: Answer) -> Answers {
        let mode = answer(&MODE, &[1e-12, 1e-15]);
        Answers::new(EXACT, 1.0, vec![mode.clone(), mode, differences], Deviation::exact)
    }

    fn check(exact: Answers, device: Option<OnDevice>) -> GradientCheck {
        GradientCheck::new(["learning_rate", "l2"].map(str::to_owned).to_vec(), exact, device)
    }

    fn sound() -> Answers {
        exact(answer(&MODE, &[1e-6, 1e-9]))
    }

    fn on_device(forward: &[f64], edge: Option<Edge>) -> Option<OnDevice> {
        let answers = vec![answer(&MODE, &[1e-6, 1e-6]), answer(forward, &[1e-6, 1e-6])];
        let answers = Answers::new(EXACT, 1.0, answers, Deviation::rounded);
        Some(OnDevice::Answered { answers, scatter: 1e-5, edge })
    }

    #[test]
    fn a_large_derivative_hides_no_small_one() {
        use Verdict::{Agree, Disagree, Unsettled};
        // The whole vector's length is far above what it may be off by, and says nothing of its second entry.
        let rough = check(exact(answer(&[-0.2, 9e-5], &[1e-4, 2e-4])), None);
        assert_eq!((rough.outcome, &rough.exact.verdicts[..]), (Outcome::Unsettled, &[Agree, Unsettled][..]));
        assert_eq!(rough.along(&rough.exact.verdicts, Unsettled), ["l2"]);
        let wrong = check(exact(answer(&[-0.2, 3e-5], &[1e-4, 1e-6])), None);
        assert_eq!((wrong.outcome, &wrong.exact.verdicts[..]), (Outcome::Failed, &[Agree, Disagree][..]));
        assert_eq!(check(sound(), None).outcome, Outcome::Passed);
        // On the device, what rounding explains of a small derivative is no disagreement.
        assert_eq!(check(sound(), on_device(&[-0.2, 2.1e-5], None)).outcome, Outcome::Passed);
        assert_eq!(check(sound(), on_device(&[-0.2, 2.4e-5], None)).outcome, Outcome::Failed);
    }

    #[test]
    fn the_outcome_is_the_worst_of_both_precisions() {
        let edge = on_device(&MODE, Some(Edge::Steep));
        assert_eq!(check(sound(), edge.clone()).outcome, Outcome::Edge);
        assert_eq!(check(sound(), Some(OnDevice::Diverged { size: EXACT })).outcome, Outcome::Edge);
        assert_eq!(check(exact(answer(&[0.2, 2e-5], &[1e-6, 1e-9])), edge).outcome, Outcome::Failed);
        assert_eq!(check(sound(), on_device(&[0.2, 2e-5], Some(Edge::Scatter))).outcome, Outcome::Failed);
    }

    #[test]
    fn rough_differences_neither_pass_nor_fail() {
        for rough in [answer(&MODE, &[0.4, 1e-3]), answer(&[f64::NAN; 2], &[f64::INFINITY; 2])] {
            assert_eq!(check(exact(rough), None).outcome, Outcome::Unsettled);
        }
        assert_eq!(check(exact(answer(&[f64::NAN; 2], &[1e-3; 2])), None).outcome, Outcome::Failed);
    }

    #[test]
    fn a_derivative_that_every_answer_calls_zero_is_zero() {
        let zero = answer(&[-0.2, 0.0], &[1e-9, 0.0]);
        let differences = answer(&[-0.2, 0.0], &[1e-9, 1e-12]);
        let answers = Answers::new(EXACT, 1.0, vec![zero.clone(), zero.clone(), differences], Deviation::exact);
        assert_eq!(check(answers, None).outcome, Outcome::Passed);
        let moved = answer(&[-0.2, 1e-3], &[1e-9, 1e-12]);
        let answers = Answers::new(EXACT, 1.0, vec![zero.clone(), zero, moved], Deviation::exact);
        assert_eq!(check(answers, None).outcome, Outcome::Failed);
    }
}
