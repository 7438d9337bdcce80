//! Forward mode (Franceschi et al. 2017, algorithm 2; algorithms.md A.5): tangents of the training
//! state go along with it. Its memory does not depend on the number of steps.

use async_trait::async_trait;

use super::checkpoint::Plan;
use super::pacing::Progress;
use super::runner::Work;
use super::{Array, Counts, Directions, Estimate, Function, Host, Method, Problem, Refusal, Runner, SolveError};
use crate::autodiff::jvp;
use crate::engine::{Command, Values};
use crate::ir::DType;

/// Exact for all hyperparameters; a pass over the training takes `width` directions with it, and there
/// are as many passes as the directions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Tangents that one program moves beside the state, of which it shares all intermediate results; 0 counts as 1.
    pub width: usize,
}

impl Forward {
    fn width(&self) -> usize {
        self.width.max(1)
    }

    /// The width for a number of directions: the fewest passes of at most four, since a wider program
    /// shares little more and takes longer to compile.
    pub fn for_directions(count: usize) -> Self {
        let passes = count.div_ceil(4).max(1);
        Forward { width: count.div_ceil(passes).max(1) }
    }

    /// One training step with tangents of its state: the step's program and its derivative.
    fn step(&self, problem: &Problem) -> Function {
        let mut f = Function { name: "step_tangents", ..problem.step() };
        let (state, lambda) = (f.input("state"), f.input("lambda"));
        let next = f.outputs.iter().find(|output| output.name == "next_state").expect("a step has one").node;
        let (d, m) = (problem.state_len(), problem.layout().len());
        let g = &mut f.graph;
        let tangents = g.input("tangents", &[self.width() * d], DType::F32);
        let directions = g.input("directions", &[self.width() * m], DType::F32);
        let moved: Vec<_> = (0..self.width())
            .map(|k| {
                let seeds = [(state, g.segment(tangents, k * d, d)), (lambda, g.segment(directions, k * m, m))];
                jvp(g, &[next], &seeds)[0].expect("a state moves with the one before it")
            })
            .collect();
        let moved = g.concat(&moved);
        f.output("next_tangents", moved);
        f
    }

    /// One pass: trains, and takes so many directions from `first` on along. The tangents may be those
    /// that the last pass ended with.
    async fn pass(
        &self,
        runner: &mut Runner<'_>,
        lambda: &[f64],
        along: &Directions,
        first: usize,
        keep: bool,
        host: &mut dyn Host,
    ) -> Result<(), SolveError> {
        let (steps, d, m) = (runner.problem().steps, runner.problem().state_len(), runner.problem().layout().len());
        let (mut tangents, mut directions) = (vec![0.0; self.width() * d], vec![0.0; self.width() * m]);
        let corrections = runner.corrections(lambda, 0);
        for (k, column) in (first..along.len()).take(self.width()).enumerate() {
            let (direction, tangent) = (&mut directions[k * m..(k + 1) * m], &mut tangents[k * d..(k + 1) * d]);
            along.write(column, direction, tangent);
            corrections.iter().for_each(|c| tangent[c.slot] += c.derivative * direction[c.at]);
        }
        runner.begin(lambda)?;
        runner.write("directions", Values::F64(&directions))?;
        if !keep {
            runner.write("tangents 0", Values::F64(&tangents))?;
        } else if steps % 2 == 1 {
            let [to, from] = ["tangents 0", "tangents 1"].map(|name| runner.array(name));
            runner.engine.submit(&[Command::Copy { from, to }])?;
        }
        let buffers = ["tangents 0", "tangents 1"].map(|name| runner.array(name));
        let passes = [first.div_ceil(self.width()), self.passes(along.len())];
        let [done, total] = passes.map(|passes| (passes * steps) as u64);
        let progress = Progress { done, total };
        let binding = |runner: &mut Runner<'_>, t: usize| {
            let tangents = [("tangents", buffers[t % 2]), ("next_tangents", buffers[(t + 1) % 2])];
            let plan = runner.plan();
            let (from, to) = (plan.training_place(t), plan.training_place(t + 1));
            runner.bind_step("step_tangents", from, to, &tangents)
        };
        runner.repeat(Work::Step, steps, progress, host, binding).await
    }

    fn passes(&self, directions: usize) -> usize {
        directions.div_ceil(self.width()).max(1)
    }

    /// Trains and differentiates; the tangents of a single pass may be kept from the last one.
    pub(super) async fn sweep(
        &self,
        runner: &mut Runner<'_>,
        lambda: &[f64],
        along: &Directions,
        keep: bool,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        let (steps, d) = (runner.problem().steps, runner.problem().state_len());
        let last = runner.array(["tangents 0", "tangents 1"][steps % 2]);
        runner.counts = Counts::default();
        self.pass(runner, lambda, along, 0, keep, host).await?;
        runner.counts.steps += steps as u64;
        let mut estimate = runner.outer_loss(host).await?;
        if estimate.diverged() {
            return Ok(estimate);
        }
        let gradient = runner.read(&[runner.array("gradient")]).await?.remove(0);
        for first in (0..along.len()).step_by(self.width()) {
            if first > 0 {
                self.pass(runner, lambda, along, first, false, host).await?;
                runner.counts.steps += steps as u64;
            }
            let tangents = runner.read(&[last]).await?.remove(0);
            let here = tangents.chunks(d).take(along.len() - first);
            runner.counts.tangents += (steps * here.len()) as u64;
            estimate.hypergradient.extend(here.map(|z| z.iter().zip(&gradient).map(|(z, g)| z * g).sum::<f64>()));
        }
        Ok(runner.counted(estimate))
    }
}

#[async_trait(?Send)]
impl Method for Forward {
    fn name(&self) -> &'static str {
        "forward mode"
    }

    fn refusal(&self, _problem: &Problem, _along: &Directions) -> Option<Refusal> {
        None
    }

    fn functions(&self, problem: &Problem) -> Vec<Function> {
        vec![self.step(problem)]
    }

    fn arrays(&self, problem: &Problem) -> Vec<Array> {
        let tangents = |name| Array::new(name, DType::F32, self.width() * problem.state_len());
        let directions = Array::new("directions", DType::F32, self.width() * problem.layout().len());
        vec![tangents("tangents 0"), tangents("tangents 1"), directions]
    }

    fn counts(&self, problem: &Problem, _plan: &Plan, directions: usize) -> Counts {
        let (steps, tangents) = (self.passes(directions) * problem.steps, directions * problem.steps);
        Counts { steps: steps as u64, tangents: tangents as u64, ..Counts::default() }
    }

    async fn estimate(
        &mut self,
        runner: &mut Runner<'_>,
        lambda: &[f64],
        along: &Directions,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        self.sweep(runner, lambda, along, false, host).await
    }
}
