//! What cases that train say of their problem.

use super::{Case, CaseError, RunError};
use crate::bilevel::{Loss, Problem, SessionData, Set, Source, Targets};
use crate::ir::DType;
use crate::nn::Model;
use crate::nn::optim::{Adam, Dynamics, Epsilon, HeavyBall, HypergradientDescent, Momentum, Nesterov, Rule, Sgd};

/// A case's bilevel problem at its point.
pub(super) struct Setup {
    pub problem: Problem,
    pub data: SessionData,
    /// The hyperparameter vector.
    pub lambda: Vec<f64>,
}

/// The inner optimiser of a case.
fn optimizer(case: &Case) -> Result<Dynamics, CaseError> {
    if case.kind == HYPERGRADIENT_DESCENT {
        return hypergradient_descent(case).map(Dynamics::from);
    }
    match case.meta["inner"]["optimizer"].as_str().unwrap_or_default() {
        "sgd" => Ok(Sgd.into()),
        "momentum" => Ok(Momentum.into()),
        "adam" => Ok(Adam(Epsilon::Outside).into()),
        other => Err(case.inconsistent(format!("unknown inner optimiser `{other}`"))),
    }
}

/// The kind of cases whose learning rate moves while the weights are trained.
pub(super) const HYPERGRADIENT_DESCENT: &str = "hypergradient_descent";

fn hypergradient_descent(case: &Case) -> Result<HypergradientDescent, CaseError> {
    let of = |base: Dynamics, rule, rates| Ok(HypergradientDescent::new(base, rule, rates));
    const ONE: &[f64] = &[1.0];
    const TWO: &[f64] = &[1.0, 1.0];
    match case.meta["algorithm"].as_str().unwrap_or_default() {
        "sgd_hd" => of(Sgd.into(), Rule::Additive, ONE),
        "sgd_hd_multiplicative" => of(Sgd.into(), Rule::Multiplicative, ONE),
        "sgdn_hd" => of(Nesterov.into(), Rule::Additive, ONE),
        "adam_hd" => of(Adam(Epsilon::Outside).into(), Rule::Additive, ONE),
        // The second is a mistake that is to be recognised: we compute what it should have been.
        "hd_lr_momentum" | "hd_lr_momentum_mixed_sign" => of(HeavyBall.into(), Rule::Additive, TWO),
        "hd_lr_momentum_paper_literal" => of(HeavyBall.into(), Rule::Additive, TWO).map(HypergradientDescent::printed),
        other => Err(case.inconsistent(format!("unknown algorithm `{other}`"))),
    }
}

pub(super) fn size(case: &Case, key: &str) -> Result<usize, CaseError> {
    let value = case.meta[key].as_u64();
    value.map(|n| n as usize).ok_or_else(|| case.inconsistent(format!("`{key}` must be a count")))
}

pub(super) fn floats(data: &[f64]) -> Vec<f32> {
    data.iter().map(|&x| x as f32).collect()
}

pub(super) fn set(case: &Case, x: &str, y: &str, loss: Loss) -> Result<Set, CaseError> {
    let count = match case.input(x)?.shape.first() {
        Some(&count) if count > 0 => count,
        _ => return Err(case.inconsistent(format!("`in.{x}` must have a row for each example"))),
    };
    let (x, y) = (case.input(x)?, case.input(y)?);
    let targets = if loss.takes_labels() {
        Targets::Labels(y.data.iter().map(|&l| l as u32).collect())
    } else {
        Targets::Values(floats(&y.data))
    };
    Ok(Set { x: floats(&x.data).into(), targets, count })
}

impl Setup {
    /// Reads the problem of a case that trains.
    pub fn new(case: &Case) -> Result<Setup, RunError> {
        let (model, loss) = model(case)?;
        let has = |name: &str| case.inputs.contains_key(name);
        let (steps, train) = (size(case, "T")?, case.input("x")?.shape[0]);
        let problem = Problem {
            batch: size(case, "batch")?,
            batches: Source::Table,
            masks: has("masks").then_some(Source::Table),
            l2: has("l2_log"),
            weights: has("ex_w"),
            initial_weights: !["train", "outer_loop", HYPERGRADIENT_DESCENT].contains(&case.kind.as_str()),
            ..Problem::new(model, loss, optimizer(case)?, steps, train)
        };
        if problem.steps == 0 || problem.batch == 0 {
            return Err(case.inconsistent("`T` and `batch` must be at least 1".to_owned()).into());
        }
        in_range(case, "idx", problem.train)?;
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
        let mut lambda = hyperparameters(case, &problem)?;
        let start = &mut lambda[problem.layout().initial_weights];
        start.iter_mut().zip(&data.initial).for_each(|(place, &weight)| *place = weight.into());
        Ok(Setup { problem, data, lambda })
    }
}

/// The model and the loss of a case, whose labels are checked.
pub(super) fn model(case: &Case) -> Result<(Model, Loss), CaseError> {
    let x = case.input("x")?;
    if x.shape.is_empty() {
        return Err(case.inconsistent("`in.x` must have a row for each example".to_owned()));
    }
    let model = Model::new(case.layers()?, &x.shape[1..]).map_err(|e| case.inconsistent(e.to_string()))?;
    let loss = Loss::from_case(case.meta["loss"].as_str().unwrap_or_default())
        .ok_or_else(|| case.inconsistent(format!("unknown loss {}", case.meta["loss"])))?;
    if loss.takes_labels() {
        let classes = model.output().iter().product();
        in_range(case, "y", classes)?;
        in_range(case, "yv", classes)?;
    }
    Ok((model, loss))
}

/// The general hyperparameter vector at a case's point. `train` cases give scalars in `inner`.
fn hyperparameters(case: &Case, problem: &Problem) -> Result<Vec<f64>, CaseError> {
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    let [inner, settings] = ["inner", "settings"].map(|key| &case.meta[key]);
    match case.inputs.get("log_lr_full") {
        Some(_) => fill(case, "log_lr_full", &mut lambda[layout.log_lr.clone()])?,
        None => {
            let shared = case.inputs.get("log_lr").and_then(|array| array.data.first().copied());
            let log_lr =
                shared.or_else(|| inner["log_lr"].as_f64()).or_else(|| settings["alpha0"].as_f64().map(f64::ln));
            let log_lr = log_lr.ok_or_else(|| case.inconsistent("no learning rate".to_owned()))?;
            lambda[layout.log_lr.clone()].fill(log_lr);
        }
    }
    let scalars = layout.scalars.clone().zip(problem.optimizer.scalars());
    for (position, scalar) in scalars {
        let short = match scalar.name {
            "momentum" if settings["gamma0"].is_number() => "gamma0",
            "momentum" => "mu",
            "beta1" => "b1",
            "beta2" => "b2",
            "hypergradient_rate" => "beta",
            "momentum_hypergradient_rate" => "eta",
            _ => "eps",
        };
        let given = match case.inputs.get(short) {
            Some(array) => array.data.first().copied(),
            None => inner[short].as_f64().or_else(|| settings[short].as_f64()),
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
pub(super) fn fill(case: &Case, name: &str, place: &mut [f64]) -> Result<(), CaseError> {
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
