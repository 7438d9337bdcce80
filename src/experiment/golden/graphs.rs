//! Graphs of the cases that are single functions: `op`, `loss_grad_hvp`, `fewshot` and single steps of `selftune`.

use super::builder::{Builder, CaseGraph, push_forward};
use super::ops::op_case;
use super::{Case, CaseError, selftune};
use crate::autodiff::grad;
use crate::bilevel::{Loss, TrainingLoss};
use crate::ir::{Graph, NodeId};
use crate::nn::reading::Training;
use crate::nn::{Model, functions as f};

/// The graph of a case, or `None` for a kind that is no single function.
pub fn case_graph(case: &Case) -> Result<Option<CaseGraph>, CaseError> {
    match case.kind.as_str() {
        "op" => op_case(case).map(Some),
        "loss_grad_hvp" => model_case(case).map(Some),
        "selftune" => selftune::graph(case),
        "fewshot" => super::fewshot::graph(case).map(Some),
        _ => Ok(None),
    }
}

fn model_case(case: &Case) -> Result<CaseGraph, CaseError> {
    let mut b = Builder::new(case);
    let x = b.input("x")?;
    let Some((&batch, example)) = case.input("x")?.shape.split_first() else { return Err(b.misfit()) };
    let model = Model::new(case.layers()?, example).map_err(|e| case.inconsistent(e.to_string()))?;
    let loss = Loss::from_case(case.meta["loss"].as_str().unwrap_or_default())
        .ok_or_else(|| case.inconsistent(format!("unknown loss {}", case.meta["loss"])))?;
    let (y, target) = match (loss.takes_labels(), model.output()) {
        (true, &[classes]) => (b.words("y", classes)?, vec![batch]),
        (true, _) => return Err(b.misfit()),
        (false, output) => (b.input("y")?, [&[batch], output].concat()),
    };
    b.require(b.shape(y) == target && !model.parameters().is_empty())?;
    let mut optional = |name: &str, shape: &[usize]| {
        let given = case.inputs.contains_key(name).then(|| b.input(name)).transpose()?;
        b.require(given.is_none_or(|id| b.shape(id) == shape))?;
        Ok::<_, CaseError>(given)
    };
    let masks: Vec<Option<NodeId>> = (0..model.places().len())
        .map(|k| {
            let name = if k == 0 { "mask".to_owned() } else { format!("mask{k}") };
            optional(&name, &[&[batch], &model.places()[k].shape[..]].concat())
        })
        .collect::<Result<_, CaseError>>()?;
    let (l2_log, weights) = (optional("l2_log", &[model.parameter_layers()])?, optional("ex_w", &[batch])?);
    let mut vector = |prefix: &str| -> Result<NodeId, CaseError> {
        let parts: Vec<NodeId> = model
            .parameters()
            .iter()
            .map(|p| {
                let part = b.input(&format!("{prefix}.{}", p.name))?;
                b.require(b.shape(part) == p.shape)?;
                Ok(b.graph.reshape(part, &[p.len()]))
            })
            .collect::<Result<_, CaseError>>()?;
        Ok(b.graph.concat(&parts))
    };
    let (theta, v) = (vector("w")?, vector("v")?);
    let g = &mut b.graph;
    let factors = masks.iter().zip(model.places());
    let factors = factors.map(|(mask, place)| mask.map(|mask| f::dropout_factor(g, mask, place.rate))).collect();
    let output = model.apply(g, x, &mut Training::new(theta, None, factors));
    let training = TrainingLoss { model: &model, loss, l2_log, weights };
    let value = training.of_output(g, theta, output, y);
    let gradient = grad(g, value, &[theta])[0];
    let product = push_forward(g, gradient, &[(theta, v)]);
    let mut outputs = vec![("loss".to_owned(), value), ("output".to_owned(), output)];
    for (prefix, vector) in [("grad", gradient), ("hvp", product)] {
        for p in model.parameters() {
            let part = g.segment(vector, p.offset, p.len());
            let name = format!("{prefix}.{}", p.name);
            large_outputs(case, g, &name, part, &p.shape, &mut outputs);
            outputs.push((name, part));
        }
    }
    Ok(b.finish(outputs))
}

/// The digest that stands for an output too large to store: every n-th element, row and column sums.
fn large_outputs(
    case: &Case,
    g: &mut Graph,
    name: &str,
    flat: NodeId,
    shape: &[usize],
    outputs: &mut Vec<(String, NodeId)>,
) {
    let Some(about) = case.meta["large_outputs"].get(name) else { return };
    let columns = shape[shape.len() - 1];
    let length = g.shape(flat)[0];
    // "… elements 0, 61, 122, …": the second number is the step.
    let mut numbers = about["@sub"].as_str().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
    let step = numbers.by_ref().filter_map(|n| n.parse::<usize>().ok()).find(|&n| n > 0).unwrap_or(1);
    let sub = g.slice(flat, &[0], &[length.div_ceil(step)], &[step]);
    let matrix = g.reshape(flat, &[length / columns, columns]);
    let (rows, cols) = (g.sum(matrix, &[1]), g.sum(matrix, &[0]));
    for (suffix, id) in [("sub", sub), ("rowsum", rows), ("colsum", cols)] {
        outputs.push((format!("{name}@{suffix}"), id));
    }
}
