//! Implicit differentiation (algorithms.md A.8): at a stationary point of the inner loss,
//! h = −Mᵀq with H q = ∇_w E. How the training got there does not matter, and is not kept.

use async_trait::async_trait;

use super::checkpoint::Plan;
use super::linear::{Solver, Stage};
use super::pacing::Progress;
use super::problem::CHUNK;
use super::runner::Work;
use super::{Array, Counts, Directions, Estimate, Function, Host, Method, Problem, Refusal, Runner, SolveError};
use crate::engine::{BufferId, Values, several};
use crate::ir::DType;

/// Trains, takes the end for a stationary point of the loss over all training examples, and solves one
/// linear system there. The estimate's residual says how well.
#[derive(Clone, Debug, PartialEq)]
pub struct Implicit {
    pub solver: Solver,
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
        runner: &mut Runner<'_>,
        lambda: &[f64],
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        let Some(Until { tolerance, trainings }) = self.until else {
            return runner.train_only(lambda, host).await;
        };
        if std::mem::take(&mut self.goes_on) {
            runner.carry_on()?;
        }
        let first = match self.first_gradient {
            Some(first) => first,
            None => {
                runner.begin(lambda)?;
                *self.first_gradient.insert(inner_gradient(runner, runner.initial_state(), host).await?)
            }
        };
        let mut steps = 0;
        for training in 1.. {
            let estimate = runner.train_only(lambda, host).await?;
            steps += runner.counts.steps;
            runner.counts.steps = steps;
            if estimate.diverged() {
                return Ok(runner.counted(estimate));
            }
            let last = runner.final_state();
            if training >= trainings || inner_gradient(runner, last, host).await? <= tolerance * first {
                self.goes_on = true;
                return Ok(estimate);
            }
            runner.carry_on()?;
        }
        unreachable!("trainings are counted")
    }

    /// Iterates until the residual is small enough; gives it.
    async fn solve(&self, runner: &mut Runner<'_>, host: &mut dyn Host) -> Result<f64, SolveError> {
        let (block, enough) = self.until.map_or((self.iterations, 0.0), |until| (BLOCK, until.tolerance));
        let mut left = self.iterations;
        loop {
            let now = block.min(left);
            left -= now;
            self.stages(runner, self.solver.iteration(), now, host).await?;
            self.stages(runner, &[Solver::CHECK], 1, host).await?;
            let norms = runner.read(&[runner.array("norms")]).await?.remove(0);
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
        runner: &mut Runner<'_>,
        lambda: &[f64],
        along: &Directions,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        let mut estimate = self.train(runner, lambda, host).await?;
        if estimate.diverged() {
            return Ok(estimate);
        }
        let d = runner.problem().model.parameter_count();
        let zeros = vec![0.0; d];
        estimate.inner_gradient = Some(inner_gradient(runner, runner.final_state(), host).await?);
        runner.write("norms", Values::F64(&[0.0; 3]))?;
        runner.write("product", Values::F64(&zeros))?;
        runner.write("chunk", Values::U32(&[0]))?;
        runner.write("settings", Values::F64(&[self.solver.rate(), self.damping]))?;
        if !(self.warm_start && self.solved) {
            runner.write("solution", Values::F64(&zeros))?;
        }
        self.solved = false;
        self.stages(runner, self.solver.start(), 1, host).await?;
        estimate.residual = Some(self.solve(runner, host).await?);
        estimate.hypergradient = along.pull_back(&mixed(runner, host).await?, &[]);
        self.solved = true;
        Ok(runner.counted(estimate))
    }

    /// Repeats some stages: all chunks of a product, then the program that uses it.
    async fn stages(
        &self,
        runner: &mut Runner<'_>,
        stages: &[Stage],
        times: usize,
        host: &mut dyn Host,
    ) -> Result<(), SolveError> {
        let chunks = runner.problem().train.div_ceil(CHUNK);
        let state = runner.final_state();
        let total = times * stages.len() * (chunks + 1);
        let binding = |runner: &mut Runner<'_>, k: usize| {
            let stage = stages[k / (chunks + 1) % stages.len()];
            match k % (chunks + 1) {
                last if last == chunks => runner.bind(stage.then, &[]),
                _ => runner.bind("hessian_product", &[("state", state), ("direction", runner.array(stage.along))]),
            }
        };
        runner.counts.products += (times * stages.len()) as u64;
        runner.repeat(Work::Product, total, Progress { done: 0, total: total as u64 }, host, binding).await
    }
}

/// Length of the gradient of the inner loss over all training examples.
async fn inner_gradient(runner: &mut Runner<'_>, state: BufferId, host: &mut dyn Host) -> Result<f64, SolveError> {
    let product = runner.array("product");
    runner.write("product", Values::F64(&vec![0.0; runner.problem().model.parameter_count()]))?;
    runner.write("chunk", Values::U32(&[0]))?;
    let binding = runner.bind("inner_gradient", &[("state", state)])?;
    for _ in 0..runner.problem().train.div_ceil(CHUNK) {
        runner.submit_and_breathe(binding, host).await?;
    }
    let gradient = runner.read(&[product]).await?.remove(0);
    Ok(gradient.iter().map(|g| g * g).sum::<f64>().sqrt())
}

/// −Mᵀ·solution.
async fn mixed(runner: &mut Runner<'_>, host: &mut dyn Host) -> Result<Vec<f64>, SolveError> {
    let zeros = vec![0.0; runner.problem().layout().len()];
    runner.write("lambda_cotangent", Values::F64(&zeros))?;
    let (state, solution) = (runner.final_state(), runner.array("solution"));
    let binding = runner.bind("mixed_product", &[("state", state), ("direction", solution)])?;
    for _ in 0..runner.problem().train.div_ceil(CHUNK) {
        runner.submit_and_breathe(binding, host).await?;
    }
    Ok(runner.read(&[runner.array("lambda_cotangent")]).await?.remove(0))
}

/// What implicit methods cannot see: whatever does not move the stationary point.
pub(super) fn refusal(method: &'static str, problem: &Problem, along: &Directions) -> Option<Refusal> {
    let layout = problem.layout();
    let unmoved = "the stationary point of the inner loss does not depend on it";
    let random = "a training with dropout or other noise has no stationary point";
    let instead = "reverse mode, or forward mode for a few";
    if problem.masked().is_some() || !problem.noise.is_empty() {
        let instead = "reverse mode (or train without dropout and noise)";
        return Some(Refusal { method, what: "any hyperparameter", reason: random.to_owned(), instead });
    }
    let (what, reason) = if along.move_lambda(layout.log_lr) {
        ("the learning rate", unmoved)
    } else if along.move_lambda(layout.scalars) {
        ("momentum, decay rates or ε", unmoved)
    } else if along.move_initial() {
        ("the initial weights", unmoved)
    } else {
        return None;
    };
    Some(Refusal { method, what, reason: reason.to_owned(), instead })
}

#[async_trait(?Send)]
impl Method for Implicit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn refusal(&self, problem: &Problem, along: &Directions) -> Option<Refusal> {
        refusal(self.name(), problem, along)
    }

    fn functions(&self, problem: &Problem) -> Vec<Function> {
        let mut functions = vec![problem.hessian_product(), problem.mixed_product(), problem.inner_gradient()];
        functions.extend(self.solver.functions(problem));
        functions
    }

    fn set_tolerance(&mut self, tolerance: f64) {
        if let Some(until) = &mut self.until {
            until.tolerance = tolerance;
        }
    }

    fn arrays(&self, problem: &Problem) -> Vec<Array> {
        let mut arrays = self.solver.arrays(problem);
        arrays.push(Array::new("lambda_cotangent", DType::F32, problem.layout().len()));
        arrays
    }

    fn counts(&self, problem: &Problem, _plan: &Plan, _directions: usize) -> Counts {
        let checks = if self.until.is_some() { self.iterations.div_ceil(BLOCK).max(1) } else { 1 };
        let products = self.solver.start().len() + self.iterations * self.solver.iteration().len() + checks;
        let steps = self.until.map_or(1, |until| until.trainings) * problem.steps;
        Counts { steps: steps as u64, products: products as u64, ..Counts::default() }
    }

    async fn estimate(
        &mut self,
        runner: &mut Runner<'_>,
        lambda: &[f64],
        along: &Directions,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        self.train_and_solve(runner, lambda, along, host).await
    }
}
