//! Whether a hypergradient is right: reverse mode against forward mode against central differences, on the
//! problem of a configuration.
//!
//! What may differ, and by how much, is measured and not assumed. Rounding: the loss and its derivatives are taken at
//! six points so close together that both are straight lines there; what is left when the lines are taken out is noise,
//! and Student's t says how much of it may be put up with. Roundings that are the same at all six points do not show as
//! noise: for them, each step may add one unit roundoff of the sum. Truncation, and the kinks of piecewise-linear networks, which
//! mislead a difference whose two ends lie on different pieces: the step is halved until rounding explains the rest,
//! and a difference is only trusted as far as the last halvings left it alone, and both sides of the point say the same.

use serde::Serialize;

use super::config::TuneConfig;
use super::error::TuneError;
use super::names;
use super::setup::{outer_windows, problem, scaled, session_data, start_values};
use crate::bilevel::hyperparameters::{Group, Hyperparameters};
use crate::bilevel::{
    CHUNK, Counts, Directions, Estimate, Forward, Host, Memory, Method, Pace, Problem, Reverse, Session, SessionData,
    SolveError,
};
use crate::data::Source;
use crate::engine::Engine;
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

/// A hypergradient to check.
pub struct Subject {
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
    /// Places in [`GradientCheck::answers`].
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
    /// The direction along which most of what is allowed is used up.
    pub worst: usize,
    /// The share of it that is, above 1 where the two disagree.
    pub worst_ratio: f64,
}

impl Comparison {
    /// Of all directions together: the worst.
    pub fn verdict(&self) -> Verdict {
        self.verdicts.iter().copied().max().unwrap_or(Verdict::Unsettled)
    }

    /// The relative error that is sure to show along every direction that is settled; none where none is.
    pub fn shown(&self) -> Option<f64> {
        let settled = self.shows.iter().zip(&self.verdicts).filter(|(_, verdict)| **verdict == Verdict::Agree);
        settled.map(|(shows, _)| *shows).reduce(f64::max)
    }
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All answers agree along every direction.
    Passed,
    /// So they do along some; along the others nothing disagrees, but not everything is settled.
    Partly,
    /// Nothing disagrees, but no direction is settled.
    Unsettled,
    /// Two answers disagree along a direction.
    Failed,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GradientCheck {
    /// Training steps.
    pub steps: usize,
    pub outer_loss: f64,
    /// Names of the directions.
    pub directions: Vec<String>,
    pub answers: Vec<Answer>,
    pub comparisons: Vec<Comparison>,
    /// The worst of all comparisons along each direction.
    pub verdicts: Vec<Verdict>,
    pub outcome: Outcome,
    /// The relative error of one mode on the device that the other is sure to show, along what they settle.
    pub shown_by_modes: Option<f64>,
    /// The same of differences, which alone show an error that both modes have.
    pub shown_by_differences: Option<f64>,
}

impl GradientCheck {
    fn new(steps: usize, outer_loss: f64, directions: Vec<String>, answers: Vec<Answer>) -> Self {
        let last = answers.len() - 1;
        let pairs = (0..last).step_by(2).flat_map(|k| [[k, k + 1], [k, last], [k + 1, last]]);
        let comparisons: Vec<Comparison> = pairs.map(|pair| compare(&answers, pair)).collect();
        let worst = |k: usize| comparisons.iter().map(|comparison| comparison.verdicts[k]).max();
        let verdicts: Vec<Verdict> = (0..directions.len()).filter_map(worst).collect();
        let outcome = if verdicts.contains(&Verdict::Disagree) {
            Outcome::Failed
        } else if !verdicts.contains(&Verdict::Agree) {
            Outcome::Unsettled
        } else if verdicts.contains(&Verdict::Unsettled) {
            Outcome::Partly
        } else {
            Outcome::Passed
        };
        let [shown_by_modes, shown_by_differences] = [0, 1].map(|k: usize| comparisons[k].shown());
        GradientCheck {
            steps,
            outer_loss,
            directions,
            answers,
            comparisons,
            verdicts,
            outcome,
            shown_by_modes,
            shown_by_differences,
        }
    }

    /// Names of the directions with a verdict, of the whole check or of one of its comparisons.
    pub fn along(&self, verdicts: &[Verdict], verdict: Verdict) -> Vec<&str> {
        let those = self.directions.iter().zip(verdicts).filter(|(_, of)| **of == verdict);
        those.map(|(name, _)| name.as_str()).collect()
    }
}

/// The relative error that has to be sure to show for a direction to be settled: then a factor of two shows, either way.
const SETTLED: f64 = 0.5;

/// Points of a measurement of noise; two less are its degrees of freedom.
const POINTS: usize = 6;

/// The most by chance: Student's t of four degrees of freedom that is exceeded, either way, once in a thousand times.
const STUDENT: f64 = 8.610;

/// Spacing of the points in unit roundoffs: the hyperparameters themselves are distinct numbers there.
const SPACING: f64 = 32.0;

/// Unit roundoff of the devices.
const ROUNDOFF: f64 = (f32::EPSILON / 2.0) as f64;

/// The most steps that a difference is taken with, and the fewest from which one can be judged.
const MOST: usize = 9;
const FEWEST: usize = 3;

/// What rounding makes of a kink where there is none, in roundings of the quotient: of five losses with the weights 4, 4,
/// −6, −1, −1 over the wider step, √70 beside √2.
const AMPLIFIED: f64 = 5.92;

/// The reference engine adds one by one what devices add in blocks. The roundings of a sum of n grow with √n then, and
/// the sums of an adjoint have some thousands.
const IN_SEQUENCE: f64 = 64.0;

/// What rounding alone changes.
struct Noise {
    loss: f64,
    derivatives: Vec<f64>,
}

impl Noise {
    /// In single precision, from losses and from derivatives along each direction at neighbouring points.
    fn measured(losses: &[f64], derivatives: &[Vec<f64>], steps: usize) -> Noise {
        let one = |values: &Vec<f64>| STUDENT * scatter(values) + steps as f64 * ROUNDOFF * values[0].abs();
        let loss = STUDENT * scatter(losses) + ROUNDOFF * losses[0].abs();
        Noise { loss, derivatives: derivatives.iter().map(one).collect() }
    }

    /// The same in f64.
    fn in_f64(&self) -> Noise {
        let factor = f64::EPSILON / f64::from(f32::EPSILON);
        let derivatives = self.derivatives.iter().map(|d| IN_SEQUENCE * factor * d).collect();
        Noise { loss: factor * self.loss, derivatives }
    }
}

impl Subject {
    /// The problem of a configuration at its start values or at those that a run has come to.
    pub fn new(
        config: &TuneConfig,
        source: &Source,
        point: Option<Hyperparameters>,
        along: Along,
    ) -> Result<Self, CheckError> {
        let (split, _) = scaled(config, source)?;
        let problem = problem(config, split.train.len());
        let outer = outer_windows(&split.validation, config);
        let data = session_data(config, &problem, &split, &outer);
        let start = start_values(config, &problem);
        let point = point.unwrap_or_else(|| start.clone());
        let shape =
            |h: &Hyperparameters| h.groups.iter().map(|g| (g.kind, g.values.len(), g.tuned)).collect::<Vec<_>>();
        if shape(&point) != shape(&start) {
            return Err(CheckError::Point);
        }
        let seed = u64::from(config.seed);
        let lines = lines(&point, &problem, along, seed);
        Ok(Subject { problem, data, point, memory: Memory::Budget(config.memory_budget.0), lines, seed })
    }

    /// As many training steps of a configuration as are checked in time, but at least so many, and the seconds that
    /// they take.
    pub fn in_time(
        config: &mut TuneConfig,
        least: u32,
        limit: f64,
        subject: impl Fn(&TuneConfig) -> Result<Subject, CheckError>,
        seconds: impl Fn(&Subject) -> f64,
    ) -> Result<(Subject, f64), CheckError> {
        loop {
            let subject = subject(config)?;
            let taken = seconds(&subject);
            if taken <= limit || config.steps <= least {
                return Ok((subject, taken));
            }
            config.steps = ((f64::from(config.steps) * limit / taken) as u32).clamp(least, config.steps - 1);
        }
    }

    /// Training steps.
    pub fn steps(&self) -> usize {
        self.problem.steps
    }

    /// Seconds of a check on an engine of that pace, in f64 or else with a measurement of its noise.
    pub fn seconds(&self, pace: &Pace, f64s: bool) -> f64 {
        let (steps, lines) = (self.problem.steps as u64, self.lines.len());
        let outer = self.data.validation.count.div_ceil(CHUNK) as f64 * pace.outer;
        let of = |counts: Counts| pace.of(&counts, self.problem.train) + outer;
        let training = of(Counts { steps, ..Counts::default() });
        let reverse = of(Counts { steps, adjoints: steps, ..Counts::default() });
        let passes = lines.div_ceil(Forward::for_directions(lines).width) as u64;
        let forward = of(Counts { steps: passes * steps, tangents: lines as u64 * steps, ..Counts::default() });
        let differences = (2 * (FEWEST + 2) * lines) as f64 * training;
        let sweeps = if f64s { 1.0 } else { (1 + POINTS) as f64 };
        sweeps * reverse + forward + differences
    }

    /// Checks the answers of a device in f32 against each other and against differences, which are taken in f64 where
    /// the reference engine is given; then its own answers are checked too.
    pub async fn check(
        &self,
        device: &mut dyn Engine,
        reference: Option<&mut dyn Engine>,
        host: &mut dyn Host,
    ) -> Result<GradientCheck, CheckError> {
        let (reverse, outer_loss, noise) = self.reverse(device, host).await?;
        let forward = self.forward(device, &noise, host).await?;
        let mut answers = vec![reverse, forward];
        match reference {
            Some(reference) => {
                let noise = noise.in_f64();
                let mut session = self.session(reference, Reverse { memory: self.memory }).await?;
                let exact = self.estimate(&mut session, &self.point, host).await?;
                let differences = self.differences(&mut session, exact.outer_loss, &noise, host).await?;
                let exact = answer(&session, exact.hypergradient, &noise);
                drop(session);
                let forward = self.forward(reference, &noise, host).await?;
                answers.extend([exact, forward, differences]);
            }
            None => {
                let mut session = self.session(device, Reverse { memory: self.memory }).await?;
                answers.push(self.differences(&mut session, outer_loss, &noise, host).await?);
            }
        }
        let directions = self.lines.iter().map(|line| line.name.clone()).collect();
        Ok(GradientCheck::new(self.problem.steps, outer_loss, directions, answers))
    }

    async fn session<'e>(
        &self,
        engine: &'e mut dyn Engine,
        method: impl Method + 'static,
    ) -> Result<Session<'e>, CheckError> {
        Ok(Session::new(engine, self.problem.clone(), &self.data, method).await?)
    }

    /// Reverse mode on a device of single precision, and the noise of what it says.
    async fn reverse(&self, device: &mut dyn Engine, host: &mut dyn Host) -> Result<(Answer, f64, Noise), CheckError> {
        let mut session = self.session(device, Reverse { memory: self.memory }).await?;
        let here = self.estimate(&mut session, &self.point, host).await?;
        let mut stream = Stream::new(self.seed, Purpose::Search, 1);
        let count = self.lines.first().map_or(0, |line| line.along.len());
        let aslant: Vec<f64> = (0..count).map(|_| stream.normal()).collect();
        let (mut losses, mut derivatives) = (vec![], vec![vec![]; self.lines.len()]);
        for k in 0..POINTS {
            let point = moved(&self.point, &aslant, (k as f64 - 2.5) * SPACING * ROUNDOFF);
            let there = self.estimate(&mut session, &point, host).await?;
            losses.push(there.outer_loss);
            derivatives.iter_mut().zip(there.hypergradient).for_each(|(list, value)| list.push(value));
        }
        let noise = Noise::measured(&losses, &derivatives, self.problem.steps);
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
        host: &mut dyn Host,
    ) -> Result<Answer, CheckError> {
        let (mut values, mut uncertainty, mut steps) = (vec![], vec![], vec![]);
        for line in &self.lines {
            let found = self.difference(session, line, [loss, noise.loss], host).await?;
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
        host: &mut dyn Host,
    ) -> Result<Difference, SolveError> {
        // Where truncation, about h², and rounding, noise / h, balance for a loss of the order of one.
        let mut step = 4.0 * noise.cbrt();
        let (mut quotients, mut bends) = (vec![], vec![]);
        let mut best = Difference { value: f64::NAN, uncertainty: f64::INFINITY, step };
        while quotients.len() < MOST {
            let mut ends = [0.0; 2];
            for (end, sign) in ends.iter_mut().zip([1.0, -1.0]) {
                let point = moved(&self.point, &line.along, sign * step);
                *end = session.train_at(&point, host).await?.outer_loss;
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
                Line { name, along }
            }));
        } else {
            lines.extend((1..=along.random).map(|number| {
                let mut along = vec![0.0; all];
                along[place.clone()].fill_with(|| if stream.uniform() < 0.5 { -1.0 } else { 1.0 });
                Line { name: format!("{name}, random signs {number}"), along }
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

fn compare(answers: &[Answer], pair: [usize; 2]) -> Comparison {
    let [a, b] = pair.map(|k| &answers[k]);
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let off: Vec<f64> = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).collect();
    let allowed: Vec<f64> = a.uncertainty.iter().zip(&b.uncertainty).map(|(a, b)| a + b).collect();
    // Equal values use up nothing of what is allowed, though that may be nothing too.
    let ratios = off.iter().zip(&allowed).map(|(off, allowed)| if *off == 0.0 { 0.0 } else { off / allowed });
    let order = |x: &(usize, f64), y: &(usize, f64)| x.1.total_cmp(&y.1);
    let (worst, worst_ratio) = ratios.enumerate().max_by(order).unwrap_or_default();
    let (length, other) = (norm(&b.values), norm(&a.values));
    // Kahan's formula, which is exact for small angles too.
    let unit = |sign: f64| -> Vec<f64> {
        a.values.iter().zip(&b.values).map(|(a, b)| a / other + sign * b / length).collect()
    };
    let angle = 2.0 * norm(&unit(-1.0)).atan2(norm(&unit(1.0)));
    let smaller = a.values.iter().zip(&b.values).map(|(a, b)| a.abs().min(b.abs()));
    let shows: Vec<f64> = allowed.iter().zip(smaller).map(|(allowed, value)| 2.0 * allowed / value).collect();
    let verdicts = (0..off.len()).map(|k| verdict(off[k], allowed[k], shows[k])).collect();
    Comparison {
        answers: pair,
        angle: angle.to_degrees(),
        relative_error: norm(&off) / length,
        verdicts,
        shows,
        worst,
        worst_ratio,
    }
}

/// By what two derivatives differ by, what they may, and what is sure to show.
fn verdict(off: f64, allowed: f64, shows: f64) -> Verdict {
    if allowed == f64::INFINITY {
        // The training diverges on the way to every difference.
        Verdict::Unsettled
    } else if off.is_nan() || off > allowed {
        Verdict::Disagree
    } else if shows < SETTLED {
        Verdict::Agree
    } else {
        Verdict::Unsettled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(values: &[f64], uncertainty: &[f64]) -> Answer {
        let (values, uncertainty) = (values.to_vec(), uncertainty.to_vec());
        Answer { method: String::new(), engine: String::new(), values, uncertainty, steps: vec![] }
    }

    fn check(differences: Answer) -> GradientCheck {
        let modes = [answer(&[-0.2, 2e-5], &[1e-6, 1e-9]), answer(&[-0.2, 2e-5], &[1e-6, 1e-9])];
        let directions = ["learning_rate", "l2"].map(str::to_owned).to_vec();
        GradientCheck::new(10, 1.0, directions, [&modes[..], &[differences]].concat())
    }

    #[test]
    fn a_large_derivative_hides_no_small_one() {
        use Verdict::{Agree, Disagree, Unsettled};
        // The whole vector's length is far above what it may be off by, and says nothing of its second entry.
        let partly = check(answer(&[-0.2, 9e-5], &[1e-4, 2e-4]));
        assert_eq!((partly.outcome, &partly.verdicts[..]), (Outcome::Partly, &[Agree, Unsettled][..]));
        assert_eq!(partly.along(&partly.verdicts, Unsettled), ["l2"]);
        // What shows is of what is settled, and of the modes and of differences apart.
        let (modes, differences) = (partly.shown_by_modes.unwrap(), partly.shown_by_differences.unwrap());
        assert!((modes / 2e-4 - 1.0).abs() < 1e-9 && (differences / 1.01e-3 - 1.0).abs() < 1e-9, "{partly:?}");

        let wrong = check(answer(&[-0.2, 3e-5], &[1e-4, 1e-6]));
        assert_eq!((wrong.outcome, &wrong.verdicts[..]), (Outcome::Failed, &[Agree, Disagree][..]));
        let right = check(answer(&[-0.2, 2.01e-5], &[1e-4, 1e-6]));
        assert_eq!(right.outcome, Outcome::Passed);
    }

    #[test]
    fn rough_differences_neither_pass_nor_fail() {
        for rough in [answer(&[-0.2, 2e-5], &[0.4, 1e-3]), answer(&[f64::NAN; 2], &[f64::INFINITY; 2])] {
            let check = check(rough);
            assert_eq!((check.outcome, check.shown_by_differences), (Outcome::Unsettled, None));
            assert!(check.shown_by_modes.is_some());
        }
        assert_eq!(check(answer(&[f64::NAN; 2], &[1e-3; 2])).outcome, Outcome::Failed);
    }

    #[test]
    fn a_factor_of_two_always_shows_where_it_is_settled() {
        for factor in [0.5, 2.0] {
            let differences = answer(&[-0.2 * factor, 2e-5 * factor], &[0.024, 2.4e-6]);
            assert_eq!(check(differences).outcome, Outcome::Failed);
        }
        assert_eq!(check(answer(&[-0.2, 2e-5], &[0.024, 2.4e-6])).outcome, Outcome::Passed);
    }
}
