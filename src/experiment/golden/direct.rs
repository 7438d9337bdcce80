//! Cases whose outer loss depends on the hyperparameters directly.

use std::collections::BTreeMap;

use super::setup::{Setup, floats, size};
use super::{Case, RunError};
use crate::bilevel::inner::{Acting, At, Inner, Known, NoObjective, Objective, Part, Step, Through};
use crate::bilevel::{
    Device, Directions, Estimate, Implicit, Memory, Method, Problem, Quadratic, QuadraticForm, Reverse, Session,
    SolveError, Solver, Truncated, Unattended,
};
use crate::ir::{Graph, NodeId, Scalar};
use crate::rig::Array;

type Outputs = BTreeMap<String, Vec<f64>>;

pub(super) async fn run(case: &Case, device: &Device, memory: Memory) -> Result<Outputs, RunError> {
    match case.meta["mode"].as_str().unwrap_or_default() {
        "quadratic" => quadratic(case, device, memory).await,
        "mlp" => penalized(case, device, memory).await,
        other => Err(case.inconsistent(format!("unknown mode `{other}` of an outer loss that sees λ")).into()),
    }
}

// ---- quadratic forms ----

fn form(case: &Case, names: [&str; 4], sizes: [usize; 2]) -> Result<QuadraticForm, RunError> {
    let [m, _] = sizes;
    let read = |name: &str| Ok::<_, RunError>(floats(&case.input(name)?.data));
    Ok(QuadraticForm {
        weights: read(names[0])?,
        mixed: read(names[1])?,
        // The inner form of a case has none: it would not move the weights.
        hyperparameters: if names[2].is_empty() { vec![0.0; m * m] } else { read(names[2])? },
        linear: read(names[3])?,
    })
}

/// The forms of a case.
fn forms(case: &Case) -> Result<Quadratic, RunError> {
    let (hyperparameters, weights) = (case.input("lambda")?.data.len(), case.input("w0")?.data.len());
    let sizes = [hyperparameters, weights];
    Ok(Quadratic {
        inner: form(case, ["A", "C", "", "b"], sizes)?,
        outer: form(case, ["D", "F", "G", "d"], sizes)?,
        weights,
        hyperparameters,
        steps: size(case, "T")?,
    })
}

async fn open(
    device: &Device,
    problem: &Quadratic,
    method: impl Into<Box<dyn Method>>,
) -> Result<Session<Quadratic>, SolveError> {
    let mut session = Session::open(device, problem.clone(), method).await?;
    Quadratic::fill(&mut session)?;
    Ok(session)
}

/// The inner problem is solved by rounds of so many steps, until its gradient is this share of what it was, or at most
/// so many rounds.
const STEPS: usize = 500;
const NEAR: f64 = 1e-7;
const MOST_ROUNDS: usize = 40;

async fn quadratic(case: &Case, device: &Device, memory: Memory) -> Result<Outputs, RunError> {
    let problem = forms(case)?;
    let lambda = ["log_lr", "lambda", "w0"].map(|name| Ok::<_, RunError>(case.input(name)?.data.clone()));
    let lambda = lambda.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let [rate, own, start] = problem.layout();
    let moved = Directions::new(&problem).each(own.clone());
    let mut outputs = Outputs::new();
    let mut put = |name: &str, values: &[f64]| outputs.insert(name.to_owned(), values.to_vec());

    let along = Directions::arrays(&problem);
    let mut session = open(device, &problem, Reverse { memory }).await?;
    let all = session.estimate(&lambda, &along, &mut Unattended).await?;
    let direct = all.direct.clone().unwrap_or_default();
    put("val_loss", &[all.outer_loss]);
    put("w_final", &session.final_weights().await?);
    if !all.hypergradient.is_empty() {
        put("d_log_lr", &all.hypergradient[rate.clone()]);
        put("d_lambda", &all.hypergradient[own.clone()]);
        put("d_w0", &all.hypergradient[start]);
        put("direct.d_lambda", &direct[own.clone()]);
        put("indirect.d_lambda", &indirect(&all)[own.clone()]);
    }
    for last in [1, 2] {
        let along = Directions::new(&problem).each(rate.clone()).each(own.clone());
        let mut session = open(device, &problem, Truncated { last, memory }).await?;
        let estimate = session.estimate(&lambda, &along, &mut Unattended).await?;
        if let Some((by_rate, by_lambda)) = estimate.hypergradient.split_at_checked(1) {
            put(&format!("K{last}.d_log_lr"), by_rate);
            put(&format!("K{last}.d_lambda"), by_lambda);
        }
    }
    let exact = Implicit::new(Solver::ConjugateGradient, 4 * problem.weights);
    let settled = exact.clone().until(NEAR, MOST_ROUNDS);
    for (prefix, steps, exact) in [("implicit_at_w_final", problem.steps, exact), ("implicit", STEPS, settled)] {
        let problem = Quadratic { steps, ..problem.clone() };
        let mut session = open(device, &problem, exact).await?;
        let estimate = session.estimate(&lambda, &moved, &mut Unattended).await?;
        put(&format!("{prefix}.d_lambda"), &estimate.hypergradient);
        put(&format!("{prefix}.direct.d_lambda"), &estimate.direct.unwrap_or_default());
        put(&format!("{prefix}.val_loss"), &[estimate.outer_loss]);
        put(&format!("{prefix}.w_star"), &session.final_weights().await?);
    }
    Ok(outputs)
}

/// What passes through the training.
fn indirect(estimate: &Estimate) -> Vec<f64> {
    let direct = estimate.direct.iter().flatten();
    estimate.hypergradient.iter().zip(direct).map(|(sum, direct)| sum - direct).collect()
}

// ---- a network with a penalized outer loss ----

/// A supervised problem whose outer loss also holds the training loss with its penalties, θ times, and the
/// hyperparameters themselves, ρ times: E = validation loss + θ L + ρ (Σ e^(2 penalty) + e^(2 log rate)). Its
/// hyperparameter vector is the problem's with (θ, ρ) behind it.
struct Penalized(Problem);

impl Penalized {
    /// Place of θ.
    fn theta(&self) -> usize {
        self.0.layout().len()
    }

    fn of_problem(&self, g: &mut Graph, lambda: NodeId) -> NodeId {
        g.segment(lambda, 0, self.theta())
    }
}

impl Inner for Penalized {
    fn check(&self) -> Result<(), SolveError> {
        Inner::check(&self.0)
    }

    fn steps(&self) -> usize {
        self.0.steps
    }

    fn state(&self) -> Vec<Part> {
        self.0.state()
    }

    fn weights(&self) -> usize {
        Inner::weights(&self.0)
    }

    fn lambda(&self) -> Vec<Acting> {
        let own = self.theta()..self.theta() + 2;
        let own = Acting { name: "theta_rho", what: "θ or ρ", range: own, through: Through::Outer };
        self.0.lambda().into_iter().chain([own]).collect()
    }

    fn arrays(&self) -> Vec<Array> {
        self.0.arrays()
    }

    fn begin(&self, g: &mut Graph, lambda: NodeId, given: NodeId) -> NodeId {
        let lambda = self.of_problem(g, lambda);
        self.0.begin(g, lambda, given)
    }

    fn step(&self, g: &mut Graph, at: &At) -> Step {
        let lambda = self.of_problem(g, at.lambda);
        self.0.step(g, &At { lambda, ..*at })
    }

    fn outer(&self, g: &mut Graph, state: NodeId, lambda: NodeId, chunk: NodeId) -> NodeId {
        let problem = &self.0;
        let own = self.of_problem(g, lambda);
        let validation = problem.outer(g, state, own, chunk);
        let weights = g.segment(state, 0, Inner::weights(problem));
        let training = problem.share(g, weights, own, chunk);
        let layout = problem.layout();
        let rate = g.segment(lambda, layout.log_lr.start, 1);
        let penalties = g.segment(lambda, layout.l2_log.start, layout.l2_log.len());
        let logs = g.concat(&[rate, penalties]);
        let doubled = g.scale(logs, 2.0);
        let squares = g.scalar(Scalar::Exp, &[doubled]);
        let hyper = g.sum_all(squares);
        let [theta, rho] = [0, 1].map(|k| {
            let factor = g.segment(lambda, self.theta() + k, 1);
            g.reshape(factor, &[])
        });
        let [validation, training, hyper] = [validation, training, hyper].map(|part| g.reshape(part, &[]));
        let training = g.mul(theta, training);
        let hyper = g.mul(rho, hyper);
        let sum = g.add(validation, training);
        g.add(sum, hyper)
    }

    fn outer_chunks(&self) -> usize {
        self.0.outer_chunks()
    }

    fn objective(&self) -> Result<&dyn Objective, NoObjective> {
        self.0.objective()
    }

    fn known(&self, lambda: &[f64], steps: usize) -> Vec<Known> {
        self.0.known(lambda, steps)
    }
}

async fn penalized(case: &Case, device: &Device, memory: Memory) -> Result<Outputs, RunError> {
    let Setup { problem, data, mut lambda } = Setup::new(case)?;
    let problem = Problem { validation: data.validation.count, ..problem };
    if problem.outer_chunks() != 1 || problem.chunks() != 1 {
        return Err(case.inconsistent("more than 128 examples in a set".to_owned()).into());
    }
    let number = |name: &str| {
        let value = case.input(name)?.data.first().copied();
        value.ok_or_else(|| case.inconsistent(format!("`in.{name}` is empty")))
    };
    let (theta, rho) = (number("theta")?, number("rho")?);
    lambda.extend([theta, rho]);
    data.check(&problem)?;
    let inner = Penalized(problem);
    let layout = inner.0.layout();
    let along = Directions::new(&inner).shared(layout.log_lr).each(layout.l2_log.clone());
    let along = along.each(layout.initial_weights).each(inner.theta()..inner.theta() + 2);
    let mut session = Session::open(device, inner, Reverse { memory }).await?;
    let problem = session.inner().0.clone();
    data.fill(&problem, &mut session)?;
    let estimate = session.estimate(&lambda, &along, &mut Unattended).await?;

    let mut outputs = Outputs::new();
    let weights = session.final_weights().await?;
    for p in problem.model.parameters() {
        outputs.insert(format!("w_final.{}", p.name), weights[p.offset..p.offset + p.len()].to_vec());
    }
    outputs.insert("val_loss".to_owned(), vec![estimate.outer_loss]);
    if !estimate.hypergradient.is_empty() {
        let penalties = 1..1 + layout.l2_log.len();
        let direct = estimate.direct.clone().unwrap_or_default();
        for (prefix, values) in
            [("", &estimate.hypergradient), ("direct.", &direct), ("indirect.", &indirect(&estimate))]
        {
            outputs.insert(format!("{prefix}d_log_lr"), vec![values[0]]);
            outputs.insert(format!("{prefix}d_l2_log"), values[penalties.clone()].to_vec());
        }
        let start = penalties.end;
        for p in problem.model.parameters() {
            let range = start + p.offset..start + p.offset + p.len();
            outputs.insert(format!("d_w0.{}", p.name), estimate.hypergradient[range].to_vec());
        }
        let [training, hyper] = estimate.hypergradient[start + weights.len()..] else {
            unreachable!("θ and ρ come last")
        };
        outputs.insert("d_theta".to_owned(), vec![training]);
        outputs.insert("part_training".to_owned(), vec![training]);
        outputs.insert("part_hyper".to_owned(), vec![hyper]);
        outputs.insert("part_validation".to_owned(), vec![estimate.outer_loss - theta * training - rho * hyper]);
    }
    outputs.insert("losses".to_owned(), estimate.inner_losses);
    Ok(outputs)
}
