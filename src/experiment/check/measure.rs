//! The three ways to a derivative, and what rounding and truncation make of each.

use super::part::{CheckError, Line, Part, Portion};
use super::verdict::{Answer, norm};
use crate::bilevel::hyperparameters::Hyperparameters;
use crate::bilevel::{Directions, Estimate, Forward, Memory, Method, Monitor, Reverse, Session, SolveError};
use crate::rig::Device;
use crate::rng::{Purpose, Stream};

/// Points of a measurement of noise; two less are its degrees of freedom.
pub(super) const POINTS: usize = 6;

/// The most by chance: Student's t of four degrees of freedom that is exceeded, either way, once in a thousand times.
const STUDENT: f64 = 8.610;

/// Spacing of the points in unit roundoffs: the hyperparameters themselves are distinct numbers there.
const SPACING: f64 = 32.0;

/// The most steps that a difference is taken with, and the fewest from which one can be judged.
const MOST: usize = 9;
pub(super) const FEWEST: usize = 3;

/// What rounding makes of a kink where there is none, in roundings of the quotient: of five losses with the weights 4, 4,
/// −6, −1, −1 over the wider step, √70 beside √2.
const AMPLIFIED: f64 = 5.92;

/// The reference engine adds one by one what devices add in blocks. The roundings of a sum of n grow with √n then, and
/// the sums of an adjoint have some thousands.
const IN_SEQUENCE: f64 = 64.0;

#[derive(Clone, Copy)]
pub(super) enum Precision {
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
pub(super) struct Noise {
    loss: f64,
    derivatives: Vec<f64>,
    /// Standard deviation of each derivative between neighbours.
    pub(super) scatter: Vec<f64>,
}

impl Noise {
    /// From losses and from derivatives along each direction at neighbouring points.
    fn measured(losses: &[f64], derivatives: &[Vec<f64>], steps: usize, precision: Precision) -> Noise {
        let roundoff = precision.roundoff();
        // What cancels to nothing leaves roundings of what it is made of, as large as the loss and the other derivatives.
        let whole: Vec<f64> = derivatives.iter().map(|values| values[0]).collect();
        let floor = roundoff * norm(&whole).max(losses[0].abs());
        let one = |values: &Vec<f64>| {
            precision.slack() * (STUDENT * scatter(values) + steps as f64 * roundoff * values[0].abs() + floor)
        };
        Noise {
            loss: STUDENT * scatter(losses) + roundoff * losses[0].abs(),
            derivatives: derivatives.iter().map(one).collect(),
            scatter: derivatives.iter().map(|values| scatter(values)).collect(),
        }
    }
}

impl Part {
    pub(super) async fn session(&self, device: &Device, method: impl Method + 'static) -> Result<Session, CheckError> {
        Ok(self.run.session(device, method).await?)
    }

    pub(super) fn reverse_mode(&self) -> Reverse {
        Reverse { memory: Memory::Budget(self.run.config.memory_budget.0) }
    }

    /// Reverse mode, and the noise of what it says.
    pub(super) async fn reverse(
        &self,
        device: &Device,
        precision: Precision,
        host: &mut Portion<'_>,
    ) -> Result<(Answer, f64, Noise), CheckError> {
        let mut session = self.session(device, self.reverse_mode()).await?;
        let share = 1.0 / (1 + POINTS) as f64;
        let here = self.estimate(&mut session, &self.point, &mut host.part(0.0, share)).await?;
        let mut stream = Stream::new(u64::from(self.run.config.seed), Purpose::Search, 1);
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
        let noise = Noise::measured(&losses, &derivatives, self.run.problem.steps, precision);
        Ok((answer(&session, here.hypergradient, &noise), here.outer_loss, noise))
    }

    pub(super) async fn forward(
        &self,
        device: &Device,
        noise: &Noise,
        host: &mut dyn Monitor,
    ) -> Result<Answer, CheckError> {
        let mut session = self.session(device, Forward::for_directions(self.lines.len())).await?;
        let estimate = self.estimate(&mut session, &self.point, host).await?;
        Ok(answer(&session, estimate.hypergradient, noise))
    }

    /// Trains and differentiates along the lines.
    async fn estimate(
        &self,
        session: &mut Session,
        point: &Hyperparameters,
        host: &mut dyn Monitor,
    ) -> Result<Estimate, CheckError> {
        let columns = point.directions(session.problem());
        let mut along = Directions::new(&self.run.problem);
        for line in &self.lines {
            let moving = line.along.iter().enumerate().filter(|(_, factor)| **factor != 0.0);
            along.push(moving.flat_map(|(k, factor)| columns.entries(k).iter().map(move |&(at, d)| (at, factor * d))));
        }
        let estimate = session.estimate_along(point, &along, host).await?;
        if estimate.hypergradient.len() == along.len() { Ok(estimate) } else { Err(CheckError::Diverged) }
    }

    pub(super) async fn differences(
        &self,
        session: &mut Session,
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
        let engine = session.device().info().engine;
        Ok(Answer { method: "differences".to_owned(), engine, values, uncertainty, steps })
    }

    /// The central difference that is worth most, by the loss at the point and its noise.
    async fn difference(
        &self,
        session: &mut Session,
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
    let engine = session.device().info().engine;
    let method = session.method().name().to_owned();
    Answer { method, engine, values, uncertainty: noise.derivatives.clone(), steps: vec![] }
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
