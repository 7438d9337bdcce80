//! Cases of implicit differentiation at a given solution of the inner problem.

use std::collections::BTreeMap;

use super::setup::{self, floats};
use super::{Case, RunError};
use crate::bilevel::{Directions, Implicit, Layout, Memory, Problem, Session, SessionData, Solver, Unattended};
use crate::nn::optim;
use crate::rig::Device;

type Outputs = BTreeMap<String, Vec<f64>>;

/// The inner problem is solved from zero weights by rounds of so many steps, with this momentum and the
/// case's rate, 0.9 / (largest eigenvalue), until the weights stay where they are.
const STEPS: usize = 400;
const MOST_ROUNDS: usize = 20;
const MOMENTUM: f64 = 0.95;

/// A log rate whose exponential is zero: a step stays where it is.
const STANDSTILL: f64 = -1000.0;

/// Each solver's answer at the given weights, and the weights themselves by training from zero.
pub(super) async fn run(case: &Case, device: &Device) -> Result<Outputs, RunError> {
    let (problem, data, rate) = setup(case)?;
    let mut outputs = Outputs::new();
    for (name, solver, iterations) in solvers(case, rate, problem.model.parameter_count())? {
        let layout = problem.layout();
        let along = Directions::new(&problem).each(layout.l2_log.clone()).each(layout.weights.clone());
        let lambda = point(case, &layout, STANDSTILL)?;
        let mut session = Session::new(device, problem.clone(), &data, Implicit::new(solver, iterations)).await?;
        let estimate = session.estimate(&lambda, &along, &mut Unattended).await?;
        let solution = session.array("solution").await?.unwrap_or_default();
        let mut gradient = session.array("gradient").await?.unwrap_or_default();
        gradient.truncate(solution.len());
        if let Some((by_penalty, by_weight)) = estimate.hypergradient.split_at_checked(layout.l2_log.len()) {
            outputs.insert(format!("{name}.p"), solution);
            outputs.insert(format!("{name}.d_l2_log"), by_penalty.to_vec());
            outputs.insert(format!("{name}.d_ex_w"), by_weight.to_vec());
        }
        outputs.insert("outer_grad_w".to_owned(), gradient);
        outputs.insert("val_loss".to_owned(), vec![estimate.outer_loss]);
    }
    outputs.insert("w_star64".to_owned(), solve(case, device, problem, data, rate).await?);
    Ok(outputs)
}

/// The problem at the case's weights, with one step that does not move them; and the case's rate.
fn setup(case: &Case) -> Result<(Problem, SessionData, f64), RunError> {
    let (model, loss) = setup::model(case)?;
    let train = setup::set(case, "x", "y", loss)?;
    let problem = Problem {
        masks: None,
        l2: case.inputs.contains_key("l2_log"),
        weights: case.inputs.contains_key("ex_w"),
        ..Problem::new(model, loss, optim::Sgd, 1, train.count)
    };
    let data = SessionData::new(train, setup::set(case, "xv", "yv", loss)?, floats(&case.input("w_star")?.data), 0);
    let rate = case.input("neumann_alpha")?.data.first().copied();
    let rate = rate.ok_or_else(|| case.inconsistent("`in.neumann_alpha` is empty".to_owned()))?;
    Ok((problem, data, rate))
}

/// The solvers that a case asks for, by the names of its outputs.
fn solvers(case: &Case, rate: f64, weights: usize) -> Result<Vec<(String, Solver, usize)>, RunError> {
    let list = |of: &str, key: &str| -> Result<Vec<usize>, RunError> {
        let value = case.meta[of][key].clone();
        Ok(serde_json::from_value(value).map_err(|e| case.inconsistent(format!("`{of}.{key}`: {e}")))?)
    };
    // In exact arithmetic as many iterations as weights solve the system.
    let mut solvers = vec![("exact".to_owned(), Solver::ConjugateGradient, 4 * weights)];
    for terms in list("neumann", "terms")? {
        solvers.push((format!("neumann{terms}"), Solver::Neumann { rate }, terms));
    }
    for steps in list("cg", "steps")? {
        solvers.push((format!("cg{steps}"), Solver::ConjugateGradient, steps));
    }
    Ok(solvers)
}

fn point(case: &Case, layout: &Layout, log_lr: f64) -> Result<Vec<f64>, RunError> {
    let mut lambda = vec![0.0; layout.len()];
    lambda[layout.log_lr.clone()].fill(log_lr);
    lambda[layout.scalars.clone()].fill(MOMENTUM);
    for (name, place) in [("l2_log", &layout.l2_log), ("ex_w", &layout.weights)] {
        if !place.is_empty() {
            setup::fill(case, name, &mut lambda[place.clone()])?;
        }
    }
    Ok(lambda)
}

/// The inner problem's solution, by momentum on all examples.
async fn solve(
    case: &Case,
    device: &Device,
    problem: Problem,
    mut data: SessionData,
    rate: f64,
) -> Result<Vec<f64>, RunError> {
    let problem = Problem { optimizer: optim::Momentum.into(), steps: STEPS, ..problem };
    data.initial.fill(0.0);
    let lambda = point(case, &problem.layout(), rate.ln())?;
    let mut session = Session::new(device, problem, &data, Memory::Slots(1)).await?;
    let mut weights = vec![0.0; data.initial.len()];
    for _ in 0..MOST_ROUNDS {
        session.train(&lambda, &mut Unattended).await?;
        let settled = session.final_weights().await?;
        let moved: f64 = weights.iter().zip(&settled).map(|(old, new)| (new - old).powi(2)).sum();
        let size: f64 = settled.iter().map(|w| w * w).sum();
        weights = settled;
        // What is left falls by as much again.
        if moved <= 1e-12 * size || !size.is_finite() {
            break;
        }
        session.set_initial_weights(&floats(&weights))?;
    }
    Ok(weights)
}
