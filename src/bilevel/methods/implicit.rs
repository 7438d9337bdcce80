//! Implicit differentiation (algorithms.md A.8): at a stationary point of the inner loss,
//! h = −Mᵀq with H q = ∇_w E. How the training got there does not matter, and is not kept.

use async_trait::async_trait;

use super::linear::{Solver, Stage};
use super::products;
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::inner::{Inner, Objective, Through};
use crate::bilevel::trajectory::work;
use crate::bilevel::{Counts, Directions, Estimate, Method, Refusal, SolveError, Trajectory};
use crate::engine::{BufferId, Values, several};
use crate::ir::DType;
use crate::rig::{Array, Function, Monitor, Progress, Quiet, Rig};

/// Trains, takes the end for a stationary point of the loss over all training examples, and solves one
/// linear system there. The estimate's residual says how well.
#[derive(Clone, Debug, PartialEq)]
pub struct Implicit {
    /// How the linear system is solved.
    pub solver: Solver,
    /// Its iterations; with [`Until`] those of one attempt.
    pub iterations: usize,
    /// δ in (H + δI) q = ∇_w E.
    pub damping: f64,
    /// Whether a solution is the next one's start.
    pub warm_start: bool,
    /// What is near enough; without it, one training and all iterations.
    pub until: Option<Until>,
    /// Whether there is one.
    solved: bool,
    /// Length of the inner gradient at the initial weights.
    first_gradient: Option<f64>,
    /// Whether the last training ended in a state to go on from.
    goes_on: bool,
}

/// When training and solving end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Until {
    /// The gradient of the inner loss over what it was at the initial weights, and the residual of the
    /// linear system over its right-hand side.
    pub tolerance: f64,
    /// Trainings of T steps at most; each goes on from the one before, also from one estimate to the next.
    pub trainings: usize,
}

const NAME: &str = "implicit differentiation";

/// A residual below which nothing that the solver met on its way matters.
const SOLVED: f64 = 0.01;

/// Iterations between two looks at the residual.
const BLOCK: usize = 8;

impl Implicit {
    /// Without damping, from zero each time.
    pub fn new(solver: Solver, iterations: usize) -> Self {
        Implicit {
            solver,
            iterations,
            damping: 0.0,
            warm_start: false,
            until: None,
            solved: false,
            first_gradient: None,
            goes_on: false,
        }
    }

    /// One term of Neumann's series, q = rate · ∇_w E: the T1–T2 estimator (Luketina et al. 2016). With
    /// [`Online`](super::Online) and few steps, hyperparameters move along with the training.
    pub fn t1_t2(rate: f64) -> Self {
        Implicit::new(Solver::Neumann { rate }, 1)
    }

    /// Starts from the solution of the estimate before.
    pub fn warm(self) -> Self {
        Implicit { warm_start: true, ..self }
    }

    /// Solves with H + δI.
    pub fn damped(self, damping: f64) -> Self {
        Implicit { damping, ..self }
    }

    /// Trains on and iterates until both are near enough; `iterations` are the most then.
    pub fn until(self, tolerance: f64, trainings: usize) -> Self {
        Implicit { until: Some(Until { tolerance, trainings }), ..self }
    }

    /// Trains, again and again where the inner problem is to be solved to a tolerance.
    async fn train(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let Some(Until { tolerance, trainings }) = self.until else {
            return trajectory.train_only(lambda, monitor).await;
        };
        if std::mem::take(&mut self.goes_on) {
            trajectory.carry_on()?;
        }
        let first = match self.first_gradient {
            Some(first) => first,
            None => {
                trajectory.begin(lambda)?;
                *self.first_gradient.insert(length_of_gradient(trajectory, trajectory.initial_state(), monitor).await?)
            }
        };
        let mut steps = 0;
        for training in 1.. {
            let estimate = trajectory.train_only(lambda, monitor).await?;
            steps += trajectory.counts().steps;
            trajectory.counts().steps = steps;
            if estimate.diverged() {
                return Ok(trajectory.counted(estimate));
            }
            let last = trajectory.final_state();
            if training >= trainings || length_of_gradient(trajectory, last, monitor).await? <= tolerance * first {
                self.goes_on = true;
                return Ok(estimate);
            }
            trajectory.carry_on()?;
        }
        unreachable!("trainings are counted")
    }

    /// Iterates until the residual is small enough; gives it.
    async fn solve(&self, trajectory: &mut Trajectory, monitor: &mut dyn Monitor) -> Result<f64, SolveError> {
        let (block, enough) = self.until.map_or((self.iterations, 0.0), |until| (BLOCK, until.tolerance));
        let mut left = self.iterations;
        loop {
            let now = block.min(left);
            left -= now;
            self.stages(trajectory, self.solver.iteration(), now, monitor).await?;
            self.stages(trajectory, &[Solver::CHECK], 1, monitor).await?;
            let norms = trajectory.read(&[trajectory.array("norms")?]).await?.remove(0);
            let residual = (norms[0] / norms[1].max(f64::MIN_POSITIVE)).sqrt();
            if left == 0 || residual <= enough {
                return self.judged(residual, norms[2] > 0.0);
            }
        }
    }

    /// The residual, or why there is no solution.
    fn judged(&self, residual: f64, negative_curvature: bool) -> Result<f64, SolveError> {
        let iterations = several(self.iterations as u64, "iteration");
        let left = format!("after {iterations} the residual is {residual:.1e} times its right-hand side");
        // One term of a series is what it is.
        let series = matches!(self.solver, Solver::Neumann { .. });
        let grown = residual.is_nan() || residual > 1.0 && !(series && self.iterations == 1);
        let reason = match self.solver {
            Solver::ConjugateGradient if negative_curvature && residual > SOLVED => format!(
                "the Hessian has a direction of negative curvature, where conjugate gradients end ({left}). Train to a \
                 minimum, damp the system, or take the normal equations"
            ),
            Solver::Neumann { rate } if grown => format!(
                "{left}, and it grows: Neumann's series diverges with the rate {rate}. Take a smaller one, below 2 over \
                 the largest eigenvalue of a positive Hessian, or conjugate gradients"
            ),
            _ if grown => format!("{left}, more than without a solution. Take more iterations, or damp the system"),
            _ => return Ok(residual),
        };
        Err(SolveError::Unsolved { method: NAME, reason })
    }

    async fn train_and_solve(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let mut estimate = self.train(trajectory, lambda, monitor).await?;
        if estimate.diverged() {
            return Ok(estimate);
        }
        let last = trajectory.final_state();
        estimate.inner_gradient = Some(length_of_gradient(trajectory, last, monitor).await?);
        trajectory.rig().clear("norms")?;
        clear_product(trajectory)?;
        trajectory.fill("settings", Values::F64(&[self.solver.rate(), self.damping]))?;
        if !(self.warm_start && self.solved) {
            trajectory.rig().clear("solution")?;
        }
        self.solved = false;
        self.stages(trajectory, self.solver.start(), 1, monitor).await?;
        estimate.residual = Some(self.solve(trajectory, monitor).await?);
        estimate.hypergradient = along.pull_back(&mixed(trajectory, monitor).await?);
        self.solved = true;
        Ok(trajectory.counted(estimate))
    }

    /// Repeats some stages: all chunks of a product, then the program that uses it.
    async fn stages(
        &self,
        trajectory: &mut Trajectory,
        stages: &[Stage],
        times: usize,
        monitor: &mut dyn Monitor,
    ) -> Result<(), SolveError> {
        let chunks = chunks(trajectory.inner());
        let state = trajectory.final_state();
        let total = times * stages.len() * (chunks + 1);
        let binding = |rig: &mut Rig, k: usize| {
            let stage = stages[k / (chunks + 1) % stages.len()];
            if k % (chunks + 1) == chunks {
                return rig.bind(stage.then, &[]);
            }
            let direction = rig.array(stage.along)?;
            rig.bind("hessian_product", &[("state", state), ("direction", direction)])
        };
        trajectory.counts().products += (times * stages.len()) as u64;
        let progress = &mut Progress { done: 0, total: total as u64 };
        trajectory.repeat(work::PRODUCT, total, progress, monitor, binding).await
    }
}

/// The chunks of the inner loss; none where it has no stationary point, which is refused before.
fn chunks(inner: &dyn Inner) -> usize {
    inner.objective().map_or(0, Objective::chunks)
}

/// Makes room for the sum over the chunks of a product.
fn clear_product(trajectory: &mut Trajectory) -> Result<(), SolveError> {
    trajectory.rig().clear("product")?;
    trajectory.fill("chunk", Values::U32(&[0]))
}

/// Length of the gradient of the inner loss over all training examples.
async fn length_of_gradient(
    trajectory: &mut Trajectory,
    state: BufferId,
    monitor: &mut dyn Monitor,
) -> Result<f64, SolveError> {
    clear_product(trajectory)?;
    let binding = trajectory.rig().bind("inner_gradient", &[("state", state)])?;
    let (chunks, progress) = (chunks(trajectory.inner()), &mut Progress::default());
    trajectory.repeat(work::PRODUCT, chunks, progress, &mut Quiet(monitor), |_, _| Ok(binding)).await?;
    let gradient = trajectory.read(&[trajectory.array("product")?]).await?.remove(0);
    Ok(gradient.iter().map(|g| g * g).sum::<f64>().sqrt())
}

/// −Mᵀ·solution.
async fn mixed(trajectory: &mut Trajectory, monitor: &mut dyn Monitor) -> Result<Vec<f64>, SolveError> {
    trajectory.rig().clear("lambda_cotangent")?;
    trajectory.fill("chunk", Values::U32(&[0]))?;
    let (state, solution) = (trajectory.final_state(), trajectory.array("solution")?);
    let binding = trajectory.rig().bind("mixed_product", &[("state", state), ("direction", solution)])?;
    let (chunks, progress) = (chunks(trajectory.inner()), &mut Progress::default());
    trajectory.repeat(work::PRODUCT, chunks, progress, &mut Quiet(monitor), |_, _| Ok(binding)).await?;
    Ok(trajectory.read(&[trajectory.array("lambda_cotangent")?]).await?.remove(0))
}

/// What implicit methods cannot see: whatever does not move the stationary point.
pub(super) fn refusal(method: &'static str, inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
    if let Err(none) = inner.objective() {
        let (reason, instead) = (none.reason.to_owned(), none.instead);
        return Some(Refusal { method, what: "any hyperparameter", reason, instead });
    }
    let part = along.moved(inner, &[Through::Steps, Through::Step, Through::Start])?;
    let reason = "the stationary point of the inner loss does not depend on it".to_owned();
    Some(Refusal { method, what: part.what, reason, instead: "reverse mode, or forward mode for a few" })
}

#[async_trait(?Send)]
impl Method for Implicit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn refusal(&self, inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
        refusal(self.name(), inner, along)
    }

    fn functions(&self, inner: &dyn Inner) -> Vec<Function> {
        let Ok(objective) = inner.objective() else { return vec![] };
        let mut functions = products::all(inner, objective);
        functions.extend(self.solver.functions(inner));
        functions
    }

    fn forget(&mut self) {
        (self.goes_on, self.first_gradient) = (false, None);
    }

    fn set_tolerance(&mut self, tolerance: f64) {
        if let Some(until) = &mut self.until {
            until.tolerance = tolerance;
        }
    }

    fn arrays(&self, inner: &dyn Inner) -> Vec<Array> {
        let mut arrays = self.solver.arrays(inner);
        arrays.push(Array::new("lambda_cotangent", DType::F32, inner.lambda_len()));
        arrays
    }

    fn counts(&self, inner: &dyn Inner, _plan: &Plan, _directions: usize) -> Counts {
        let checks = if self.until.is_some() { self.iterations.div_ceil(BLOCK).max(1) } else { 1 };
        let products = self.solver.start().len() + self.iterations * self.solver.iteration().len() + checks;
        let steps = self.until.map_or(1, |until| until.trainings) * inner.steps();
        Counts { steps: steps as u64, products: products as u64, ..Counts::default() }
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        self.train_and_solve(trajectory, lambda, along, monitor).await
    }
}
