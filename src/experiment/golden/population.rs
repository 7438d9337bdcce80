//! Populations: several trainings as one, each with hyperparameters of its own, or all with the same and a fold of the
//! rows each.

use std::collections::BTreeMap;

use super::case::Array;
use super::setup::{self, Setup};
use super::training::gradients;
use super::{Case, CaseError, RunError};
use crate::bilevel::{Directions, Estimate, Member, Memory, Problem, Reverse, Rows, Session, Sets, Unattended};
use crate::rig::{Compiled, Device};

type Outputs = BTreeMap<String, Vec<f64>>;

/// The inputs that all members share whatever the case is about.
const SHARED: [&str; 4] = ["x", "y", "xv", "yv"];
/// Those that each has for itself in any case.
const OWN: [&str; 3] = ["idx", "masks", "val_rows"];

pub(super) async fn run(case: &Case, device: &Device, memory: Memory) -> Result<Outputs, RunError> {
    let folds = match case.meta["mode"].as_str() {
        Some("members") => false,
        Some("folds") => true,
        _ => return Err(case.inconsistent("`mode` must be `members` or `folds`".to_owned()).into()),
    };
    let count = setup::size(case, "members")?;
    let cases = (0..count).map(|member| of_member(case, member, count, folds)).collect::<Result<Vec<_>, _>>()?;
    let setups = cases.iter().map(Setup::new).collect::<Result<Vec<_>, _>>()?;
    let first = setups.first().ok_or_else(|| case.inconsistent("`members` must be at least 1".to_owned()))?;
    let whole = first.data.train.count;
    let problem = Problem { pool: folds.then_some(whole), ..first.problem.clone() };
    let sets = if folds { Sets::Pool(&first.data.train) } else { Sets::from(&first.data) };
    let all: Vec<u32> = (0..whole as u32).collect();
    let validation: Vec<Vec<u32>> = cases.iter().map(validation_rows).collect();
    let rows = |validation| folds.then_some(Rows { train: &all, validation });
    let members: Vec<Member> = setups
        .iter()
        .zip(&validation)
        .map(|(setup, validation)| Member { rows: rows(validation), ..Member::from(&setup.data) })
        .collect();
    let lambda: Vec<f64> = setups.iter().flat_map(|setup| setup.lambda.iter().copied()).collect();

    let mut session =
        Session::population(device, problem, sets, &members, Reverse { memory }, &Compiled::default()).await?;
    let along = Directions::arrays(session.problem());
    let estimates = session.estimate_each(&lambda, &vec![&along; count], &mut Unattended).await?;
    let mut outputs = Outputs::new();
    let mut append = |name: &str, values: &[f64]| outputs.entry(name.to_owned()).or_default().extend(values);
    for ((setup, estimate), weights) in setups.iter().zip(&estimates).zip(session.final_weights_each().await?) {
        for p in session.problem().model.parameters() {
            append(&format!("w_final.{}", p.name), &weights[p.offset..p.offset + p.len()]);
        }
        let mut own = Outputs::new();
        gradients("", session.problem(), &setup.lambda, 0, &estimate.hypergradient, &mut own);
        own.insert("val_loss".to_owned(), vec![estimate.outer_loss]);
        for (name, values) in own {
            let of_all = folds && !name.starts_with("d_w0.");
            append(&if of_all { format!("member_{name}") } else { name }, &values);
        }
        append("losses", &estimate.inner_losses);
    }
    if folds {
        let sum = Estimate::sum(estimates);
        let mut shared = Outputs::new();
        gradients("", session.problem(), &first.lambda, 0, &sum.hypergradient, &mut shared);
        shared.retain(|name, _| !name.starts_with("d_w0."));
        outputs.extend(shared);
        outputs.insert("val_loss".to_owned(), vec![sum.outer_loss]);
    }
    Ok(outputs)
}

/// What a case would be with one of its members alone. Where members are folds, it is validated on all rows.
fn of_member(case: &Case, member: usize, members: usize, folds: bool) -> Result<Case, CaseError> {
    let mut one = case.clone();
    for (name, array) in &mut one.inputs {
        let is_own = name.starts_with("w0.") || OWN.contains(&name.as_str());
        if !is_own && (folds || SHARED.contains(&name.as_str())) {
            continue;
        }
        if array.shape.first() != Some(&members) {
            return Err(case.inconsistent(format!("`in.{name}` must have a row for each of the {members} members")));
        }
        let len = array.data.len() / members;
        let (shape, data) = (array.shape[1..].to_vec(), array.data[member * len..][..len].to_vec());
        *array = Array { shape, dtype: array.dtype, data };
    }
    if folds {
        for (of, name) in [("x", "xv"), ("y", "yv")] {
            let all = one.input(of)?.clone();
            one.inputs.insert(name.to_owned(), all);
        }
    }
    Ok(one)
}

fn validation_rows(case: &Case) -> Vec<u32> {
    case.inputs.get("val_rows").map(|rows| rows.data.iter().map(|&row| row as u32).collect()).unwrap_or_default()
}
