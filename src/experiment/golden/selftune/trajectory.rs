//! Cases of trainings, step after step on a device.

use std::collections::BTreeMap;

use super::super::{Case, CaseError, RunError};
use super::network::{Network, number, values};
use crate::bilevel::selftune::{Act, Constraint, Counts, Multiplier, Session, Supply, Tie, Tuning, Variant};
use crate::engine::Values;
use crate::ir::{DType, numel};
use crate::nn::optim::{Momentum, RmsProp};
use crate::rig::{Compiled, Device};

type Outputs = BTreeMap<String, Vec<f64>>;

/// A table of a case: what an array of the session holds in each step, a row a step.
struct Table {
    array: String,
    row: usize,
    data: Vec<f64>,
    words: bool,
}

/// Runs the schedule of a case.
pub async fn run(case: &Case, device: &Device) -> Result<Outputs, RunError> {
    let network = Network::new(case)?;
    let schedule = schedule(case)?;
    let steps = |act: Act| schedule.iter().filter(|&&other| other == act).count();
    let constrained = steps(Act::Cut) > 0;
    let variant = if constrained { cpmlho(case)? } else { Variant::Stn };
    let counts = counts(case, &network, steps(Act::Train))?;
    let [training, tuning] = tables(case, &network, &counts, [steps(Act::Train), steps(Act::Tune)], constrained)?;

    let n = network.count();
    let tuned = Tuning { network: network.tuned.clone(), variant, inner: Momentum.into(), outer: RmsProp.into() };
    let mut session = Session::open(device, tuned, counts.clone(), &Compiled::default()).await?;
    start(case, &network, &counts, &session)?;
    let mut outputs = Outputs::new();
    let mut record = |name: &str, values: &[f64]| outputs.entry(name.to_owned()).or_default().extend(values);
    let mut taken = [0, 0];
    for act in schedule {
        let of = usize::from(act == Act::Tune);
        if act != Act::Cut {
            [&training, &tuning][of].iter().try_for_each(|table| table.fill(&session, taken[of]))?;
            taken[of] += 1;
        }
        session.act(act)?;
        match act {
            Act::Train => {
                record("losses", &session.read("loss").await?);
                if constrained {
                    let planes = session.read("planes").await?;
                    record("mu", &planes[planes.len() - 1..]);
                    record("phi_k", &session.read("values").await?);
                }
            }
            Act::Tune => {
                record("F", &session.read("outer_loss").await?);
                let leader = session.read("leader").await?;
                record("lambda", &leader[..n]);
                record("s", &leader[n..2 * n]);
            }
            Act::Cut => {}
        }
    }
    let leader = session.read("leader").await?;
    for (name, part) in ["lambda_final", "s_final", "rms_final.lambda", "rms_final.s"].into_iter().zip(leader.chunks(n))
    {
        record(name, part);
    }
    let (general, response) = (session.read("general").await?, session.read("response").await?);
    outputs.extend(network.arrays("phi_final", [&general, &response]));
    Ok(outputs)
}

fn schedule(case: &Case) -> Result<Vec<Act>, CaseError> {
    let listed = case.meta["conventions"]["schedule"].as_array();
    let acts = listed.map(|acts| {
        let act = |act: &serde_json::Value| match act.as_str() {
            Some("train") => Some(Act::Train),
            Some("valid") => Some(Act::Tune),
            Some("cut") => Some(Act::Cut),
            _ => None,
        };
        acts.iter().map(act).collect::<Option<Vec<Act>>>()
    });
    let problem = || "`conventions.schedule` must list `train`, `valid` and `cut`";
    acts.flatten().ok_or_else(|| case.inconsistent(problem().to_owned()))
}

/// The planes and the outer loss of a case.
fn cpmlho(case: &Case) -> Result<Variant, CaseError> {
    let told = |key: &str| case.meta["conventions"][key].as_str().unwrap_or_default();
    let tie = match told("plane_form") {
        "mean" => Tie::Mean,
        "sum" => Tie::Sum,
        other => return Err(case.inconsistent(format!("unknown form `{other}` of planes"))),
    };
    let multiplier = match told("multiplier").split(':').next() {
        Some("fixed") => Multiplier::Fixed,
        Some("dual") => Multiplier::Dual(number(case, "rho_mu")?),
        _ => return Err(case.inconsistent("a multiplier must be `fixed` or `dual`".to_owned())),
    };
    let (slack, start) = (number(case, "eps2")?, number(case, "mu0")?);
    let constraint = Constraint { tie, slack, start, multiplier, planes: 1 };
    Ok(Variant::Cpmlho { constraint: Some(constraint), validation: number(case, "theta")? })
}

/// How much there is of what the session is given.
fn counts(case: &Case, network: &Network, steps: usize) -> Result<Counts, CaseError> {
    let axis = |name: &str, axis: usize| {
        let size = case.input(name)?.shape.get(axis).copied().filter(|&size| size > 0);
        size.ok_or_else(|| case.inconsistent(format!("`in.{name}` holds nothing along axis {axis}")))
    };
    let batch = axis("idx", 1)?;
    let draw = |(k, name): (usize, &String)| {
        let given = case.input(name)?.shape.get(1..).unwrap_or_default();
        let shape = network.draw_shape(k, batch, given);
        values(case, name, &[&[steps], &shape[..]].concat())?;
        Ok(shape)
    };
    Ok(Counts {
        training: axis("x", 0)?,
        validation: axis("xv", 0)?,
        test: 0,
        batch,
        validation_batch: axis("idxv", 1)?,
        draws: network.draws.iter().enumerate().map(draw).collect::<Result<_, CaseError>>()?,
        bytes: None,
        supply: Supply::Given,
    })
}

/// What steps of training and of tuning read.
fn tables(
    case: &Case,
    network: &Network,
    counts: &Counts,
    steps: [usize; 2],
    constrained: bool,
) -> Result<[Vec<Table>; 2], CaseError> {
    let table = |name: &str, array: &str, steps: usize, row: &[usize]| {
        let data = values(case, name, &[&[steps], row].concat())?;
        let words = case.input(name)?.dtype == DType::U32;
        if words != array.starts_with("rows") {
            let kind = if words { "floats" } else { "whole numbers" };
            return Err(case.inconsistent(format!("`in.{name}` must hold {kind}")));
        }
        Ok(Table { array: array.to_owned(), row: numel(row), data, words })
    };
    let (n, [train, tune]) = (network.count(), steps);
    let (batch, validation) = (counts.batch, counts.validation_batch);
    let mut training = vec![table("idx", "rows", train, &[batch])?, table("xi", "xi", train, &[batch, n])?];
    for (k, (name, shape)) in network.draws.iter().zip(&counts.draws).enumerate() {
        training.push(table(name, &format!("draw{k}"), train, shape)?);
    }
    let mut tuning = vec![
        table("idxv", "rows_validation", tune, &[validation])?,
        table("xiv", "xi_validation", tune, &[validation, n])?,
    ];
    if constrained {
        tuning.push(table("idxo", "rows_other", tune, &[batch])?);
        tuning.push(table("xio", "xi_other", tune, &[batch, n])?);
    }
    Ok([training, tuning])
}

impl Table {
    fn fill(&self, session: &Session, step: usize) -> Result<(), RunError> {
        let row = &self.data[step * self.row..][..self.row];
        fill(session, &self.array, row, self.words)
    }
}

fn fill(session: &Session, array: &str, data: &[f64], words: bool) -> Result<(), RunError> {
    let whole: Vec<u32> = if words { data.iter().map(|&x| x as u32).collect() } else { vec![] };
    Ok(session.fill(array, if words { Values::U32(&whole) } else { Values::F64(data) })?)
}

/// Fills the examples, the rates and the states before the first step.
fn start(case: &Case, network: &Network, counts: &Counts, session: &Session) -> Result<(), RunError> {
    let model = &network.tuned.model;
    for (from, to, count) in [("", "", counts.training), ("v", "_validation", counts.validation)] {
        let x = values(case, &format!("x{from}"), &[&[count], model.input()].concat())?;
        fill(session, &format!("x{to}"), &x, false)?;
        let y = values(case, &format!("y{from}"), &[count])?;
        fill(session, &format!("y{to}"), &y, true)?;
    }
    let numbers = |names: [&str; 2]| names.into_iter().map(|name| number(case, name)).collect::<Result<Vec<_>, _>>();
    fill(session, "inner_rates", &numbers(["lr", "momentum"])?, false)?;
    fill(session, "outer_rates", &numbers(["lr_outer", "decay"])?, false)?;
    for (name, response) in [("general", false), ("response", true)] {
        let mut state = network.values(case, response)?;
        state.resize(2 * state.len(), 0.0);
        fill(session, name, &state, false)?;
    }
    let n = [network.count()];
    let leader = ["lambda", "s", "rms0.lambda", "rms0.s"].map(|name| values(case, name, &n));
    let leader = leader.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    fill(session, "leader", &leader, false)
}
