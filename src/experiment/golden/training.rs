//! Cases that train: `train`, `hypergradient_descent`, `hypergrad`, `hypergrad_truncated` and `outer_loop`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::setup::{HYPERGRADIENT_DESCENT, Setup};
use super::{Case, RunError};
use crate::bilevel::outer::{Descent, OuterOptimizer, Rule};
use crate::bilevel::{Adam, Directions, Estimate, Memory, Problem, Reverse, Session, Truncated, Unattended};
use crate::rig::Device;

type Outputs = BTreeMap<String, Vec<f64>>;

/// One training run, with its exact hypergradient unless the case is about training alone.
pub(super) async fn run(case: &Case, device: &Device, memory: Memory) -> Result<Outputs, RunError> {
    let Setup { problem, data, lambda } = Setup::new(case)?;
    let along = Directions::arrays(&problem);
    let mut session = Session::new(device, problem, &data, Reverse { memory }).await?;
    let mut outputs = Outputs::new();
    let estimate = match case.kind.as_str() {
        "train" | HYPERGRADIENT_DESCENT => session.train(&lambda, &mut Unattended).await?,
        _ => session.estimate(&lambda, &along, &mut Unattended).await?,
    };
    let weights = session.final_weights().await?;
    for p in session.problem().model.parameters() {
        outputs.insert(format!("w_final.{}", p.name), weights[p.offset..p.offset + p.len()].to_vec());
    }
    gradients("", session.problem(), &lambda, 0, &estimate.hypergradient, &mut outputs);
    outputs.insert("val_loss".to_owned(), vec![estimate.outer_loss]);
    outputs.insert("losses".to_owned(), estimate.inner_losses);
    for (name, values) in estimate.records {
        outputs.insert(if name == "momentum" { "gamma" } else { "alpha" }.to_owned(), values);
    }
    Ok(outputs)
}

/// The hypergradient through the last K steps, for several K and for all steps.
pub(super) async fn run_truncated(case: &Case, device: &Device, memory: Memory) -> Result<Outputs, RunError> {
    let Setup { problem, data, lambda } = Setup::new(case)?;
    let steps = problem.steps;
    let depths: Vec<usize> = serde_json::from_value(case.meta["K"].clone())
        .map_err(|e| case.inconsistent(format!("`K` must list numbers of steps: {e}")))?;
    let mut outputs = Outputs::new();
    for last in depths.into_iter().chain([steps]) {
        if last == 0 || last > steps {
            return Err(case.inconsistent(format!("`K` holds {last}, but must lie in 1 to {steps}")).into());
        }
        let layout = problem.layout();
        let first = (steps - last) * problem.model.parameter_layers();
        let end = if last == steps { layout.len() } else { layout.initial_weights.start };
        let along = Directions::new(&problem).each(first..end);
        let mut session = Session::new(device, problem.clone(), &data, Truncated { last, memory }).await?;
        let estimate = session.estimate(&lambda, &along, &mut Unattended).await?;
        gradients(&format!("K{last}."), &problem, &lambda, first, &estimate.hypergradient, &mut outputs);
        outputs.insert("val_loss".to_owned(), vec![estimate.outer_loss]);
    }
    Ok(outputs)
}

/// Outer descent on the log learning rate and the log penalties, each training from the start.
pub(super) async fn run_outer(case: &Case, device: &Device, memory: Memory) -> Result<Outputs, RunError> {
    let Setup { problem, data, mut lambda } = Setup::new(case)?;
    let outer = &case.meta["outer_loop"];
    let number = |key: &str| {
        outer[key].as_f64().ok_or_else(|| case.inconsistent(format!("`outer_loop` must have a number `{key}`")))
    };
    let rule = match outer["optimizer"].as_str().unwrap_or_default() {
        "sgd" => Rule::GradientDescent,
        // Single precision, as the references have it.
        "adam" => Rule::Adam(Adam { beta1: 0.9f32.into(), beta2: 0.999f32.into(), epsilon: 1e-8 }),
        other => return Err(case.inconsistent(format!("unknown outer optimiser `{other}`")).into()),
    };
    let (rate, steps) = (number("lr")?, number("steps")? as usize);
    let layout = problem.layout();
    let along = Directions::new(&problem).shared(layout.log_lr.clone()).each(layout.l2_log.clone());
    let mut variables = vec![lambda[layout.log_lr.start]];
    variables.extend(&lambda[layout.l2_log.clone()]);
    let mut descent = Descent::new(rule, rate, variables.len());
    let mut session = Session::new(device, problem, &data, Reverse { memory }).await?;
    let mut outputs = Outputs::new();
    let mut record = |name: &str, values: &[f64]| outputs.entry(name.to_owned()).or_default().extend(values);
    for step in 0..=steps {
        lambda[layout.log_lr.clone()].fill(variables[0]);
        lambda[layout.l2_log.clone()].copy_from_slice(&variables[1..]);
        record("log_lr", &variables[..1]);
        record("l2_log", &variables[1..]);
        if step == steps {
            let end = session.train(&lambda, &mut Unattended).await?;
            record("val_loss", &[end.outer_loss]);
        } else {
            let Estimate { outer_loss, hypergradient, .. } = session.estimate(&lambda, &along, &mut Unattended).await?;
            record("val_loss", &[outer_loss]);
            descent.step(&mut variables, outer_loss, &hypergradient);
        }
    }
    Ok(outputs)
}

/// The hypergradient under every parametrisation that cases list. It begins at entry `first` of the
/// hyperparameter vector, a row of the learning rates, and may end before the initial weights.
pub(super) fn gradients(
    prefix: &str,
    problem: &Problem,
    lambda: &[f64],
    first: usize,
    hypergradient: &[f64],
    outputs: &mut Outputs,
) {
    if hypergradient.is_empty() {
        return;
    }
    let (layout, layers) = (problem.layout(), problem.model.parameter_layers());
    let part = |range: Range<usize>| hypergradient[range.start.max(first) - first..range.end - first].to_vec();
    let full = part(layout.log_lr);
    let mut insert = |name: &str, values: Vec<f64>| outputs.insert(format!("{prefix}{name}"), values);
    insert("d_log_lr", vec![full.iter().sum()]);
    insert("d_log_lr_layers", (0..layers).map(|l| full[l..].iter().step_by(layers).sum()).collect());
    insert("d_log_lr_steps", full.chunks(layers).map(|step| step.iter().sum()).collect());
    insert("d_log_lr_full", full);
    for (position, scalar) in layout.scalars.zip(problem.optimizer.scalars()) {
        let name = scalar.name;
        let (value, derivative) = (lambda[position], hypergradient[position - first]);
        insert(&format!("d_{name}"), vec![derivative]);
        if name != "epsilon" {
            insert(&format!("d_{name}_logit"), vec![derivative * value * (1.0 - value)]);
        }
    }
    let whole = hypergradient.len() + first == problem.layout().len();
    insert("d_l2_log", part(layout.l2_log));
    insert("d_ex_w", part(layout.weights));
    if whole {
        let initial = part(layout.initial_weights);
        for p in problem.model.parameters() {
            insert(&format!("d_w0.{}", p.name), initial[p.offset..p.offset + p.len()].to_vec());
        }
    }
}
