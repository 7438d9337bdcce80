//! Forward mode (Franceschi et al. 2017, algorithm 2; algorithms.md A.5): tangents of the training
//! state go along with it. Its memory does not depend on the number of steps.

use async_trait::async_trait;

use crate::autodiff::jvp;
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::inner::{Inner, Through};
use crate::bilevel::states::bind_step;
use crate::bilevel::trajectory::work;
use crate::bilevel::{Counts, Directions, Estimate, Method, Refusal, SolveError, Trajectory, programs};
use crate::engine::Values;
use crate::ir::{DType, Graph, NodeId};
use crate::rig::{Array, Function, Monitor, Progress, Rig};

/// Exact for all hyperparameters; a pass over the training takes `width` directions with it, and there
/// are as many passes as the directions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Tangents that one program moves beside the state, of which it shares all intermediate results: at
    /// least one, and at most as many as there are independent directions.
    pub width: usize,
}

/// The program of a training step with tangents.
pub(in crate::bilevel) const STEP: &str = "step_tangents";

/// A training's tangents come from one and go to the other.
pub(in crate::bilevel) const TANGENTS: [&str; 2] = ["tangents 0", "tangents 1"];

impl Forward {
    fn width(&self, inner: &dyn Inner) -> usize {
        self.width.min(inner.lambda_len()).max(1)
    }

    /// The width for a number of directions: the fewest passes of at most four, since a wider program
    /// shares little more and takes longer to compile.
    pub fn for_directions(count: usize) -> Self {
        let passes = count.div_ceil(4).max(1);
        Forward { width: count.div_ceil(passes).max(1) }
    }

    /// One training step with tangents of its state: the step's program and its derivative.
    fn step(&self, inner: &dyn Inner) -> Function {
        let mut f = Function { name: STEP, ..programs::step(inner) };
        let (state, lambda) = (f.input("state"), f.input("lambda"));
        let next = f.outputs.iter().find(|output| output.name == "next_state").expect("a step has one").node;
        let d = inner.state_len();
        let g = &mut f.graph;
        let tangents = g.input("tangents", &[self.width(inner) * d], DType::F32);
        let directions = self.directions(g, inner);
        let moved: Vec<_> = directions
            .into_iter()
            .enumerate()
            .map(|(k, direction)| {
                let seeds = [(state, g.segment(tangents, k * d, d)), (lambda, direction)];
                jvp(g, &[next], &seeds)[0].expect("a state moves with the one before it")
            })
            .collect();
        let moved = g.concat(&moved);
        f.output("next_tangents", moved);
        f
    }

    /// The tangents of what the training begins with.
    fn begin(&self, inner: &dyn Inner) -> Function {
        let mut f = Function::new("begin_tangents");
        let (lambda, _, state) = programs::start(&mut f, inner);
        let g = &mut f.graph;
        let none = g.full(&[inner.state_len()], 0.0);
        let directions = self.directions(g, inner);
        let moved: Vec<_> = directions
            .into_iter()
            .map(|direction| jvp(g, &[state], &[(lambda, direction)])[0].unwrap_or(none))
            .collect();
        let moved = g.concat(&moved);
        f.output("next_tangents", moved);
        f
    }

    /// The directions that a program takes along, each a tangent of the hyperparameters.
    fn directions(&self, g: &mut Graph, inner: &dyn Inner) -> Vec<NodeId> {
        let m = inner.lambda_len();
        let directions = g.input("directions", &[self.width(inner) * m], DType::F32);
        (0..self.width(inner)).map(|k| g.segment(directions, k * m, m)).collect()
    }

    /// One pass: trains, and takes so many directions from `first` on along. The tangents may be those
    /// that the last pass ended with.
    async fn pass(
        &self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        first: usize,
        keep: bool,
        monitor: &mut dyn Monitor,
    ) -> Result<(), SolveError> {
        trajectory.begin(lambda)?;
        let (steps, d, m) = (trajectory.inner().steps(), trajectory.inner().state_len(), lambda.len());
        let width = self.width(trajectory.inner());
        let (mut tangents, mut directions) = (vec![0.0; width * d], vec![0.0; width * m]);
        let known = trajectory.known(lambda, 0)?;
        for (k, column) in (first..along.len()).take(width).enumerate() {
            let (direction, tangent) = (&mut directions[k * m..(k + 1) * m], &mut tangents[k * d..(k + 1) * d]);
            along.write(column, direction);
            known.iter().for_each(|known| tangent[known.slot] += known.derivative * direction[known.at]);
        }
        trajectory.fill("directions", Values::F64(&directions))?;
        let buffers = [trajectory.array(TANGENTS[0])?, trajectory.array(TANGENTS[1])?];
        if keep {
            if steps % 2 == 1 {
                trajectory.rig().copy(&[(buffers[1], buffers[0])])?;
            }
        } else if trajectory.starts(along) {
            let binding = trajectory.rig().bind("begin_tangents", &[("next_tangents", buffers[0])])?;
            trajectory.rig().submit(&[binding])?;
        } else {
            trajectory.fill(TANGENTS[0], Values::F64(&tangents))?;
        }
        let passes = [first, along.len()].map(|directions| directions.div_ceil(width));
        let [done, total] = passes.map(|passes| (passes * steps) as u64);
        let progress = &mut Progress { done, total };
        let plan = trajectory.plan().clone();
        let states = trajectory.states().to_vec();
        let binding = |rig: &mut Rig, t: usize| {
            let places = [t, t + 1].map(|t| plan.training_place(t));
            let tangents = [("tangents", buffers[t % 2]), ("next_tangents", buffers[(t + 1) % 2])];
            bind_step(rig, &states, STEP, places, &tangents)
        };
        trajectory.repeat(work::STEP, steps, progress, monitor, binding).await
    }

    /// Trains and differentiates; the tangents of a single pass may be kept from the last one.
    pub(super) async fn sweep(
        &self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        keep: bool,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let (steps, d) = (trajectory.inner().steps(), trajectory.inner().state_len());
        let last = trajectory.array(TANGENTS[steps % 2])?;
        *trajectory.counts() = Counts::default();
        self.pass(trajectory, lambda, along, 0, keep, monitor).await?;
        trajectory.counts().steps += steps as u64;
        let mut estimate = trajectory.outer_loss(monitor).await?;
        if estimate.diverged() {
            return Ok(estimate);
        }
        let gradient = trajectory.read(&[trajectory.array("gradient")?]).await?.remove(0);
        for first in (0..along.len()).step_by(self.width(trajectory.inner())) {
            if first > 0 {
                self.pass(trajectory, lambda, along, first, false, monitor).await?;
                trajectory.counts().steps += steps as u64;
            }
            let tangents = trajectory.read(&[last]).await?.remove(0);
            let here = tangents.chunks(d).take(along.len() - first);
            trajectory.counts().tangents += (steps * here.len()) as u64;
            estimate.hypergradient.extend(here.map(|z| z.iter().zip(&gradient).map(|(z, g)| z * g).sum::<f64>()));
        }
        Ok(trajectory.counted(estimate))
    }
}

#[async_trait(?Send)]
impl Method for Forward {
    fn name(&self) -> &'static str {
        "forward mode"
    }

    fn refusal(&self, _inner: &dyn Inner, _along: &Directions) -> Option<Refusal> {
        None
    }

    fn functions(&self, inner: &dyn Inner) -> Vec<Function> {
        let starts = inner.lambda().iter().any(|part| part.through == Through::Start && !part.range.is_empty());
        let mut functions = vec![self.step(inner)];
        functions.extend(starts.then(|| self.begin(inner)));
        functions
    }

    fn arrays(&self, inner: &dyn Inner) -> Vec<Array> {
        let mut arrays =
            TANGENTS.map(|name| Array::new(name, DType::F32, self.width(inner) * inner.state_len())).to_vec();
        arrays.push(Array::new("directions", DType::F32, self.width(inner) * inner.lambda_len()));
        arrays
    }

    fn counts(&self, inner: &dyn Inner, _plan: &Plan, directions: usize) -> Counts {
        let passes = directions.div_ceil(self.width(inner)).max(1);
        let (steps, tangents) = (passes * inner.steps(), directions * inner.steps());
        Counts { steps: steps as u64, tangents: tangents as u64, ..Counts::default() }
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        self.sweep(trajectory, lambda, along, false, monitor).await
    }
}
