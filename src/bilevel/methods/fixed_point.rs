//! Implicit differentiation of a training step's fixed point (algorithms.md A.8): at s = Φ(s, λ),
//! h = Bᵀq with q = Aᵀq + ∇_s E, by iterating that equation.

use async_trait::async_trait;

use super::implicit;
use crate::autodiff::vjp;
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::inner::Inner;
use crate::bilevel::programs::step_inputs;
use crate::bilevel::trajectory::work;
use crate::bilevel::{Counts, Directions, Estimate, Method, Refusal, SolveError, Trajectory};
use crate::engine::{Values, several};
use crate::ir::DType;
use crate::rig::{Array, Function, Monitor, Progress, Rig};

/// Trains, takes the end for a fixed point of the training step, and iterates the step's adjoint there.
/// Converges where training does, at the same rate; q is kept for the next estimate.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedPoint {
    /// Iterations of the adjoint.
    pub iterations: usize,
    /// Whether a solution is the next one's start.
    pub warm_start: bool,
    /// Which of the two vectors holds one.
    solved: Option<usize>,
}

const VECTORS: [&str; 2] = ["fixed 0", "fixed 1"];

impl FixedPoint {
    /// From zero each time.
    pub fn new(iterations: usize) -> Self {
        FixedPoint { iterations, warm_start: false, solved: None }
    }

    /// Starts from the solution of the estimate before.
    pub fn warm(self) -> Self {
        FixedPoint { warm_start: true, ..self }
    }

    async fn train_and_iterate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let mut estimate = trajectory.train_only(lambda, monitor).await?;
        if estimate.diverged() {
            return Ok(estimate);
        }
        let first = match self.solved.take().filter(|_| self.warm_start) {
            Some(first) => first,
            None => {
                trajectory.fill(VECTORS[0], Values::F64(&vec![0.0; trajectory.inner().state_len()]))?;
                0
            }
        };
        // The last run gives Bᵀq, and in Aᵀq + ∇E − q how far q is from the fixed point.
        let runs = self.iterations + 1;
        let (state, time) = (trajectory.final_state(), trajectory.last_time());
        let vectors = [trajectory.array(VECTORS[0])?, trajectory.array(VECTORS[1])?];
        let binding = |rig: &mut Rig, k: usize| {
            let (now, next) = (vectors[(first + k) % 2], vectors[(first + k + 1) % 2]);
            let ports = [("state", state), ("time", time), ("fixed", now), ("next_fixed", next)];
            rig.bind("fixed_point", &ports)
        };
        let progress = &mut Progress { done: 0, total: runs as u64 };
        trajectory.repeat(work::ADJOINT, runs, progress, monitor, binding).await?;
        trajectory.counts().adjoints += runs as u64;
        let solution = (first + self.iterations) % 2;
        let reads = [vectors[solution], vectors[1 - solution]];
        let [pulled, gradient] = [trajectory.array("lambda_cotangent")?, trajectory.array("gradient")?];
        let values = trajectory.read(&[pulled, reads[0], reads[1], gradient]).await?;
        estimate.hypergradient = along.pull_back(&values[0]);
        let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
        let off = norm(&mut values[1].iter().zip(&values[2]).map(|(a, b)| a - b));
        let residual = off / norm(&mut values[3].iter().copied()).max(f64::MIN_POSITIVE);
        if residual.is_nan() || residual > 1.0 {
            let reason = format!(
                "after {} the residual is {residual:.1e} times its right-hand side, more than without a solution: they are too \
                 few, or a step does not contract where the training ended. Take more, train to a minimum with a smaller \
                 learning rate, or take reverse mode",
                several(self.iterations as u64, "iteration")
            );
            return Err(SolveError::Unsolved { method: self.name(), reason });
        }
        estimate.residual = Some(residual);
        self.solved = Some(solution);
        Ok(trajectory.counted(estimate))
    }
}

/// One iteration: q ↦ Aᵀq + ∇_s E, and Bᵀq.
fn iteration(inner: &dyn Inner) -> Function {
    let mut f = Function::new("fixed_point");
    let g = &mut f.graph;
    let at = step_inputs(g, inner);
    let fixed = g.input("fixed", &[inner.state_len()], DType::F32);
    let gradient = g.input("gradient", &[inner.state_len()], DType::F32);
    let state = inner.step(g, &at).state;
    let pulled = vjp(g, &[state], &[fixed], &[at.state, at.lambda]);
    let next = g.add(pulled[0], gradient);
    f.output("next_fixed", next);
    f.output("lambda_cotangent", pulled[1]);
    f
}

#[async_trait(?Send)]
impl Method for FixedPoint {
    fn name(&self) -> &'static str {
        "fixed-point differentiation"
    }

    fn refusal(&self, inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
        let many_maps = (!inner.is_autonomous()).then(|| Refusal {
            method: self.name(),
            what: "any hyperparameter",
            reason: "each step trains on another batch, so there is no one map with a fixed point".to_owned(),
            instead: "implicit differentiation or a batch of all examples",
        });
        implicit::refusal(self.name(), inner, along).or(many_maps)
    }

    fn functions(&self, inner: &dyn Inner) -> Vec<Function> {
        vec![iteration(inner)]
    }

    fn arrays(&self, inner: &dyn Inner) -> Vec<Array> {
        let mut arrays: Vec<Array> =
            VECTORS.iter().map(|name| Array::new(name, DType::F32, inner.state_len())).collect();
        arrays.push(Array::new("lambda_cotangent", DType::F32, inner.lambda_len()));
        arrays
    }

    fn counts(&self, inner: &dyn Inner, _plan: &Plan, _directions: usize) -> Counts {
        Counts { steps: inner.steps() as u64, adjoints: self.iterations as u64 + 1, ..Counts::default() }
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        self.train_and_iterate(trajectory, lambda, along, monitor).await
    }
}
