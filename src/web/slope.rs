//! A hypergradient at a point that the visitor chose, and what it foretells of points around it.

use std::rc::Rc;

use super::bench::Bench;
use super::plans::Plans;
use super::post::Visitor;
use super::protocol::{Engine, Movable};
use crate::bilevel::hyperparameters::{Group, Hyperparameters};
use crate::bilevel::outer::Variables;
use crate::bilevel::{Flow, Session, SolveError};
use crate::experiment::error::TuneError;
use crate::experiment::names;
use crate::experiment::prepared::Prepared;

/// The most that a step down the slope moves a coordinate: a factor of 1.35 for a rate.
const STEP: f64 = 0.3;

/// The outer loss at a point and its derivatives there.
pub struct Slope {
    pub point: Hyperparameters,
    pub loss: f64,
    pub past_edge: bool,
    /// By the variables that have a name.
    gradient: Vec<f64>,
    /// Their places among all variables, and their names.
    named: Vec<(usize, String)>,
}

impl Slope {
    /// Takes it at a point, by itself the start values.
    pub async fn take(
        engine: Engine,
        plans: &Plans<'_>,
        at: Option<Hyperparameters>,
        bench: &mut Bench,
        flow: impl Fn() -> Flow,
    ) -> Result<Slope, TuneError> {
        let run = Rc::new(bench.ready(plans)?);
        let point = at.unwrap_or_else(|| run.start.clone());
        let mut session = session(engine, &run, bench, &flow).await?;
        let estimate = session.estimate_at(&point, &mut Visitor { flow }).await?;
        let (loss, all) = (if estimate.diverged() { f64::NAN } else { estimate.outer_loss }, &estimate.hypergradient);
        let past_edge = !all.is_empty() && Variables::of(&point, |_| 0.0).past_edge(loss, all);
        let mut named = vec![];
        let mut place = 0;
        for group in point.groups.iter().filter(|group| group.tuned) {
            let each = names::each(group, &run.problem).into_iter().flatten().enumerate();
            named.extend(each.map(|(at, name)| (place + at, name)));
            place += group.values.len();
        }
        let gradient = named.iter().map(|(place, _)| all.get(*place).copied().unwrap_or(f64::NAN)).collect();
        Ok(Slope { point, loss, past_edge, gradient, named })
    }

    /// What can be moved.
    pub fn movable(&self) -> Vec<Movable> {
        let values = self.values(&self.point);
        let one = |((_, name), (value, &hypergradient)): (&(usize, String), (f64, &f64))| Movable {
            name: name.clone(),
            value,
            hypergradient,
        };
        self.named.iter().zip(values.into_iter().zip(&self.gradient)).map(one).collect()
    }

    /// A short step down.
    pub fn downhill(&self) -> Vec<f64> {
        let steepest = self.gradient.iter().copied().map(f64::abs).fold(f64::MIN_POSITIVE, f64::max);
        self.gradient.iter().map(|slope| -STEP * slope / steepest).collect()
    }

    /// The outer loss so far from the point, if it were a straight line, and the values there.
    pub fn foretell(&self, moves: &[f64]) -> (f64, Vec<f64>) {
        let rise: f64 = self.gradient.iter().zip(moves).map(|(slope, by)| slope * by).sum();
        (self.loss + rise, self.values(&self.at(moves)))
    }

    /// The point so far from this one.
    pub fn at(&self, moves: &[f64]) -> Hyperparameters {
        let mut variables = self.point.variables();
        for ((place, _), by) in self.named.iter().zip(moves) {
            variables[*place] += by;
        }
        let mut point = self.point.clone();
        point.set_variables(&variables);
        point
    }

    /// Trains at a point; the outer loss, or nothing where that diverges.
    pub async fn try_out(
        engine: Engine,
        plans: &Plans<'_>,
        at: &Hyperparameters,
        bench: &mut Bench,
        flow: impl Fn() -> Flow,
    ) -> Result<Option<f64>, TuneError> {
        let run = Rc::new(bench.ready(plans)?);
        let mut session = session(engine, &run, bench, &flow).await?;
        let estimate = session.train_at(at, &mut Visitor { flow }).await?;
        Ok((!estimate.diverged() && estimate.outer_loss.is_finite()).then_some(estimate.outer_loss))
    }

    fn values(&self, point: &Hyperparameters) -> Vec<f64> {
        let all: Vec<f64> = point.groups.iter().filter(|group| group.tuned).flat_map(Group::constrained).collect();
        self.named.iter().map(|(place, _)| all[*place]).collect()
    }
}

/// A session of a run, its pipelines made one by one.
async fn session(
    engine: Engine,
    run: &Rc<Prepared>,
    bench: &mut Bench,
    flow: &impl Fn() -> Flow,
) -> Result<Session, TuneError> {
    if bench.prepare(engine, run, flow).await? == Flow::Stop {
        return Err(SolveError::Stopped.into());
    }
    let device = bench.engine(engine).await.map_err(SolveError::from)?;
    Ok(run.session(&device, run.method()?).await?)
}
