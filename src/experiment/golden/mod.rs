//! Reference cases: problems with f64 results that an engine's results are held against. The format
//! is that of the directories' own README (schema `golden/1`).

mod builder;
mod case;
mod direct;
mod error;
mod fewshot;
mod graphs;
mod implicit;
mod meta;
mod ops;
mod population;
mod selftune;
mod setup;
mod training;

use std::collections::BTreeMap;

use serde::Serialize;

pub use builder::CaseGraph;
pub use case::{Array, Case, CaseError, OutputSpec};
pub use error::RunError;
pub use graphs::case_graph;

use crate::bilevel::{Memory, SolveError};
use crate::compile::{Output, compile};
use crate::engine::{Command, Values};
use crate::ir::{DType, numel};
use crate::rig::Device;

/// The kinds of case that can be run.
const KINDS: [&str; 13] = [
    "op",
    "loss_grad_hvp",
    "train",
    setup::HYPERGRADIENT_DESCENT,
    "hypergrad",
    "hypergrad_truncated",
    "implicit",
    "outer_loop",
    "outer_direct",
    "meta",
    "population",
    "selftune",
    "fewshot",
];

/// Whether a case can be run. Decided by its kind alone.
pub fn is_supported(case: &Case) -> bool {
    KINDS.contains(&case.kind.as_str())
}

/// Runs a case on an engine; outputs by the names of `case.json`. Training states are kept as
/// `memory` says.
pub async fn run(case: &Case, device: &Device, memory: Memory) -> Result<BTreeMap<String, Vec<f64>>, RunError> {
    case.check_keys()?;
    if let Some(function) = case_graph(case)? {
        return Ok(run_graph(&case.name, function, device).await?);
    }
    match case.kind.as_str() {
        "hypergrad_truncated" => training::run_truncated(case, device, memory).await,
        "implicit" => implicit::run(case, device).await,
        "outer_direct" => direct::run(case, device, memory).await,
        "meta" => meta::run(case, device, memory).await,
        "population" => population::run(case, device, memory).await,
        "selftune" => selftune::run(case, device).await,
        "outer_loop" => training::run_outer(case, device, memory).await,
        _ => training::run(case, device, memory).await,
    }
}

async fn run_graph(name: &str, function: CaseGraph, device: &Device) -> Result<BTreeMap<String, Vec<f64>>, SolveError> {
    let CaseGraph { graph, inputs, outputs } = function;
    let wanted: Vec<Output> =
        outputs.iter().map(|(name, node)| Output { name: name.clone(), node: *node, in_place: None }).collect();
    let program = device.load(&compile(name, &graph, &wanted)?).await?;
    let mut arguments = vec![];
    for ((name, _), array) in graph.inputs().iter().zip(&inputs) {
        let buffer = device.create(name, array.dtype, array.data.len())?;
        match array.dtype {
            DType::F32 => device.write(buffer, 0, Values::F64(&array.data))?,
            DType::U32 => {
                let words: Vec<u32> = array.data.iter().map(|&x| x as u32).collect();
                device.write(buffer, 0, Values::U32(&words))?;
            }
        }
        arguments.push(buffer);
    }
    let mut results = vec![];
    for (name, node) in &outputs {
        results.push(device.create(name, graph.dtype(*node), numel(graph.shape(*node)))?);
    }
    let binding = device.bind(program, &arguments, &results)?;
    device.submit(&[Command::Run(binding)])?;
    let values = device.read(&results).await?;
    arguments.iter().chain(&results).for_each(|&buffer| device.destroy(buffer));
    device.unload(program);
    Ok(outputs.into_iter().map(|(name, _)| name).zip(values).collect())
}

/// How one output compares with its reference. Errors of an output that is missing, has another length
/// or holds NaN are not finite, which JSON shows as `null`; such an output has not passed.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Name of the output in `case.json`.
    pub name: String,
    /// ‖ours − reference‖ / ‖reference‖.
    pub rel_err: f64,
    /// Relative tolerance, which such errors are held to.
    pub tol_rel: f64,
    /// `rel_err` over the error of a float32 run of the reference; 0 where that was exact.
    pub ratio: f64,
    /// Whether it is within its tolerances.
    pub passed: bool,
}

/// Holds outputs against a case: an output passes if ‖ours − reference‖ ≤ tol_abs + tol_rel ‖reference‖.
pub fn compare(case: &Case, outputs: &BTreeMap<String, Vec<f64>>) -> Vec<Comparison> {
    case.outputs
        .iter()
        .map(|(name, spec)| {
            let expected = &case.expected[name].data;
            let norm = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
            let error = match outputs.get(name) {
                Some(ours) if ours.len() == expected.len() => {
                    ours.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
                }
                _ => f64::INFINITY,
            };
            let rel_err = if error == 0.0 { 0.0 } else { error / norm.max(f64::MIN_POSITIVE) };
            let scored = !spec.zero && spec.f32_rel_err_max > 0.0;
            Comparison {
                name: name.clone(),
                rel_err,
                tol_rel: spec.tol_rel,
                ratio: if scored { rel_err / spec.f32_rel_err_max } else { 0.0 },
                passed: error <= spec.tol_abs + spec.tol_rel * norm,
            }
        })
        .collect()
}
