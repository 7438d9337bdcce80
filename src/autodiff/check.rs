//! Checks of derivatives against what they mean, in f64: for tests.

use super::{jvp, vjp};
use crate::interp::eval;
use crate::ir::{DType, Graph, NodeId};
use crate::rng::{Purpose, Stream};

/// Checks derivatives of `outputs` in `inputs` at `point` (all inputs of the graph, in order) up to
/// the given order: each jvp against central differences, each vjp against its jvp by inner
/// products, and higher orders by checking the jvp's own graph. The error says what disagreed.
pub fn check_grads(
    g: &mut Graph,
    outputs: &[NodeId],
    inputs: &[NodeId],
    point: &[Vec<f64>],
    order: usize,
) -> Result<(), String> {
    let mut point = point.to_vec();
    let mut outputs = outputs.to_vec();
    let mut stream = Stream::new(11, Purpose::Search, 0);
    for level in 1..=order {
        let tangents: Vec<NodeId> = inputs
            .iter()
            .map(|&x| {
                let shape = g.shape(x).to_vec();
                let direction: Vec<f64> = (0..crate::ir::numel(&shape)).map(|_| stream.normal()).collect();
                point.push(direction);
                g.input("tangent", &shape, DType::F32)
            })
            .collect();
        let seeds: Vec<(NodeId, NodeId)> = inputs.iter().copied().zip(tangents.iter().copied()).collect();
        let pushed: Vec<NodeId> = jvp(g, &outputs, &seeds)
            .into_iter()
            .zip(outputs.clone())
            .map(|(t, o)| {
                let shape = g.shape(o).to_vec();
                t.unwrap_or_else(|| g.full(&shape, 0.0))
            })
            .collect();
        against_differences(g, &outputs, &pushed, &seeds, &point).map_err(|e| format!("order {level}: {e}"))?;
        against_inner_products(g, &outputs, &pushed, &seeds, &point, &mut stream)
            .map_err(|e| format!("order {level}: {e}"))?;
        outputs = pushed;
    }
    Ok(())
}

fn input_position(g: &Graph, id: NodeId) -> usize {
    g.inputs().iter().position(|(_, node)| *node == id).expect("derivatives are checked in inputs")
}

/// Central difference of fourth order against the jvp.
fn against_differences(
    g: &Graph,
    outputs: &[NodeId],
    pushed: &[NodeId],
    seeds: &[(NodeId, NodeId)],
    point: &[Vec<f64>],
) -> Result<(), String> {
    let shifted = |h: f64| {
        let mut moved = point.to_vec();
        for &(x, t) in seeds {
            let direction = point[input_position(g, t)].clone();
            moved[input_position(g, x)].iter_mut().zip(direction).for_each(|(x, d)| *x += h * d);
        }
        eval(g, outputs, &moved)
    };
    let h = 1e-4;
    let [near, far] = [h, 2.0 * h].map(|h| (shifted(h), shifted(-h)));
    let exact = eval(g, pushed, point);
    for (k, exact) in exact.iter().enumerate() {
        let (mut error, mut size) = (0.0f64, 0.0f64);
        for (i, exact) in exact.iter().enumerate() {
            let difference = (8.0 * (near.0[k][i] - near.1[k][i]) - (far.0[k][i] - far.1[k][i])) / (12.0 * h);
            error += (difference - exact).powi(2);
            size += exact.powi(2);
        }
        // Fourth-order differences at h = 1e-4 leave about 1e-12 / h of rounding.
        if error.sqrt() > 1e-6 * size.sqrt() + 1e-7 {
            return Err(format!(
                "jvp of output {k} differs from differences by {:e} of {:e}",
                error.sqrt(),
                size.sqrt()
            ));
        }
    }
    Ok(())
}

/// ⟨ct, J t⟩ = ⟨Jᵀ ct, t⟩ for random cotangents.
fn against_inner_products(
    g: &Graph,
    outputs: &[NodeId],
    pushed: &[NodeId],
    seeds: &[(NodeId, NodeId)],
    point: &[Vec<f64>],
    stream: &mut Stream,
) -> Result<(), String> {
    // The cotangent inputs are for this check alone, so they go into a copy.
    let g = &mut g.clone();
    let mut point = point.to_vec();
    let cotangents: Vec<NodeId> = outputs
        .iter()
        .map(|&o| {
            let shape = g.shape(o).to_vec();
            point.push((0..crate::ir::numel(&shape)).map(|_| stream.normal()).collect());
            g.input("cotangent", &shape, DType::F32)
        })
        .collect();
    let inputs: Vec<NodeId> = seeds.iter().map(|(x, _)| *x).collect();
    let pulled = vjp(g, outputs, &cotangents, &inputs);
    let values = eval(g, &[pushed, &pulled].concat(), &point);
    let (forward, backward) = values.split_at(pushed.len());
    let first = point.len() - cotangents.len();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let left: f64 = forward.iter().zip(&point[first..]).map(|(t, ct)| dot(t, ct)).sum();
    let right: f64 = backward.iter().zip(seeds).map(|(ct, (_, t))| dot(ct, &point[input_position(g, *t)])).sum();
    let scale: f64 = forward.iter().zip(&point[first..]).map(|(t, ct)| dot(t, t).sqrt() * dot(ct, ct).sqrt()).sum();
    if (left - right).abs() > 1e-10 * scale + 1e-12 {
        return Err(format!("inner products differ: forward {left:e}, reverse {right:e}"));
    }
    Ok(())
}
