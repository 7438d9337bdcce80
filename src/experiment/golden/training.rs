//! Cases that train: `train` and `hypergrad`, through the bilevel session.

use std::collections::BTreeMap;

use super::{Case, CaseError};
use crate::bilevel::{
    Estimate, Loss, Memory, Problem, Session, SessionData, Set, SolveError, Source, Targets, Unattended,
};
use crate::engine::Engine;
use crate::ir::DType;
use crate::nn::Model;
use crate::nn::optim::{Epsilon, Optimizer};

/// Why a case gave no outputs.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error(transparent)]
    Solve(#[from] SolveError),
}

/// The inner optimiser of a case.
pub(super) fn optimizer(case: &Case) -> Result<Optimizer, CaseError> {
    let inner = &case.meta["inner"];
    match inner["optimizer"].as_str().unwrap_or_default() {
        "sgd" => Ok(Optimizer::Sgd),
        "momentum" => Ok(Optimizer::Momentum),
        "adam" => Ok(Optimizer::Adam(Epsilon::Outside)),
        other => Err(case.inconsistent(format!("unknown inner optimiser `{other}`"))),
    }
}

fn size(case: &Case, key: &str) -> Result<usize, CaseError> {
    let value = case.meta[key].as_u64();
    value.map(|n| n as usize).ok_or_else(|| case.inconsistent(format!("`{key}` must be a count")))
}

fn floats(data: &[f64]) -> Vec<f32> {
    data.iter().map(|&x| x as f32).collect()
}

fn set(case: &Case, x: &str, y: &str, loss: Loss) -> Result<Set, CaseError> {
    let count = match case.input(x)?.shape.first() {
        Some(&count) if count > 0 => count,
        _ => return Err(case.inconsistent(format!("`in.{x}` must have a row for each example"))),
    };
    let (x, y) = (case.input(x)?, case.input(y)?);
    let targets = match loss {
        Loss::CrossEntropy => Targets::Labels(y.data.iter().map(|&l| l as u32).collect()),
        Loss::MeanSquaredError => Targets::Values(floats(&y.data)),
    };
    Ok(Set { x: floats(&x.data), targets, count })
}

/// Outputs of a training case, by the names of `case.json`.
pub(super) async fn run(
    case: &Case,
    engine: &mut dyn Engine,
    memory: Memory,
) -> Result<BTreeMap<String, Vec<f64>>, RunError> {
    let x = case.input("x")?;
    if x.shape.is_empty() {
        return Err(case.inconsistent("`in.x` must have a row for each example".to_owned()).into());
    }
    let model = Model::new(case.layers()?, &x.shape[1..]).map_err(|e| case.inconsistent(e.to_string()))?;
    let loss = Loss::from_case(case.meta["loss"].as_str().unwrap_or_default())
        .ok_or_else(|| case.inconsistent(format!("unknown loss {}", case.meta["loss"])))?;
    let has = |name: &str| case.inputs.contains_key(name);
    let problem = Problem {
        optimizer: optimizer(case)?,
        loss,
        steps: size(case, "T")?,
        batch: size(case, "batch")?,
        train: x.shape[0],
        batches: Source::Table,
        masks: has("masks").then_some(Source::Table),
        l2: has("l2_log"),
        weights: has("ex_w"),
        model,
    };
    if problem.steps == 0 || problem.batch == 0 {
        return Err(case.inconsistent("`T` and `batch` must be at least 1".to_owned()).into());
    }
    in_range(case, "idx", problem.train)?;
    if loss == Loss::CrossEntropy {
        let classes = problem.model.output().iter().product();
        in_range(case, "y", classes)?;
        in_range(case, "yv", classes)?;
    }
    let parameters = problem.model.parameters().iter();
    let initial: Vec<f32> = parameters
        .map(|p| Ok(floats(&case.input(&format!("w0.{}", p.name))?.data)))
        .collect::<Result<Vec<_>, CaseError>>()?
        .concat();
    let data = SessionData {
        train: set(case, "x", "y", loss)?,
        validation: set(case, "xv", "yv", loss)?,
        initial,
        seed: 0,
        batches: case.input("idx")?.data.iter().map(|&i| i as u32).collect(),
        masks: case.inputs.get("masks").map(|m| floats(&m.data)).unwrap_or_default(),
    };
    let lambda = hyperparameters(case, &problem)?;
    let mut session = Session::new(engine, problem, &data, memory).await?;
    let mut outputs = BTreeMap::new();
    let estimate = if case.kind == "train" {
        session.train(&lambda, &mut Unattended).await?
    } else {
        session.hypergradient(&lambda, &mut Unattended).await?
    };
    let weights = session.final_weights().await?;
    for p in session.problem().model.parameters() {
        outputs.insert(format!("w_final.{}", p.name), weights[p.offset..p.offset + p.len()].to_vec());
    }
    if case.kind == "hypergrad" {
        gradients(session.problem(), &lambda, &estimate, &mut outputs);
    }
    outputs.insert("val_loss".to_owned(), vec![estimate.outer_loss]);
    outputs.insert("losses".to_owned(), estimate.inner_losses);
    Ok(outputs)
}

/// The general hyperparameter vector at a case's point. `train` cases give scalars in `inner`.
fn hyperparameters(case: &Case, problem: &Problem) -> Result<Vec<f64>, CaseError> {
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    let inner = &case.meta["inner"];
    match case.inputs.get("log_lr_full") {
        Some(_) => fill(case, "log_lr_full", &mut lambda[layout.log_lr.clone()])?,
        None => {
            let log_lr = inner["log_lr"].as_f64().ok_or_else(|| case.inconsistent("no learning rate".to_owned()))?;
            lambda[layout.log_lr.clone()].fill(log_lr);
        }
    }
    let scalars = layout.scalars.clone().zip(problem.optimizer.scalars());
    for (position, name) in scalars {
        let short = match *name {
            "momentum" => "mu",
            "beta1" => "b1",
            "beta2" => "b2",
            _ => "eps",
        };
        let given = match case.inputs.get(short) {
            Some(array) => array.data.first().copied(),
            None => inner[short].as_f64(),
        };
        lambda[position] = given.ok_or_else(|| case.inconsistent(format!("no value for `{short}`")))?;
    }
    if problem.l2 {
        fill(case, "l2_log", &mut lambda[layout.l2_log.clone()])?;
    }
    if problem.weights {
        fill(case, "ex_w", &mut lambda[layout.weights])?;
    }
    Ok(lambda)
}

/// Copies an input into its place in the hyperparameter vector.
fn fill(case: &Case, name: &str, place: &mut [f64]) -> Result<(), CaseError> {
    let data = &case.input(name)?.data;
    if data.len() != place.len() {
        return Err(case.inconsistent(format!("`in.{name}` has {} values, {} are needed", data.len(), place.len())));
    }
    place.copy_from_slice(data);
    Ok(())
}

/// Refuses indices that are none, or point beyond what they choose from.
fn in_range(case: &Case, name: &str, below: usize) -> Result<(), CaseError> {
    let array = case.input(name)?;
    if array.dtype != DType::U32 {
        return Err(case.inconsistent(format!("`in.{name}` must hold whole numbers")));
    }
    match array.data.iter().find(|&&i| i >= below as f64) {
        Some(i) => Err(case.inconsistent(format!("`in.{name}` holds {i}, but must stay below {below}"))),
        None => Ok(()),
    }
}

/// The hypergradient under every parametrisation that cases list.
fn gradients(problem: &Problem, lambda: &[f64], estimate: &Estimate, outputs: &mut BTreeMap<String, Vec<f64>>) {
    if estimate.hypergradient.is_empty() {
        return;
    }
    let (layout, layers) = (problem.layout(), problem.model.parameter_layers());
    let full = &estimate.hypergradient[layout.log_lr.clone()];
    let mut insert = |name: &str, values: Vec<f64>| outputs.insert(name.to_owned(), values);
    insert("d_log_lr_full", full.to_vec());
    insert("d_log_lr", vec![full.iter().sum()]);
    insert("d_log_lr_layers", (0..layers).map(|l| full[l..].iter().step_by(layers).sum()).collect());
    insert("d_log_lr_steps", full.chunks(layers).map(|step| step.iter().sum()).collect());
    for (position, name) in layout.scalars.clone().zip(problem.optimizer.scalars()) {
        let (value, derivative) = (lambda[position], estimate.hypergradient[position]);
        insert(&format!("d_{name}"), vec![derivative]);
        if *name != "epsilon" {
            insert(&format!("d_{name}_logit"), vec![derivative * value * (1.0 - value)]);
        }
    }
    insert("d_l2_log", estimate.hypergradient[layout.l2_log].to_vec());
    insert("d_ex_w", estimate.hypergradient[layout.weights].to_vec());
    for p in problem.model.parameters() {
        insert(&format!("d_w0.{}", p.name), estimate.initial[p.offset..p.offset + p.len()].to_vec());
    }
}
