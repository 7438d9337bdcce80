//! Derivatives, graph to graph.
//!
//! Two transforms do all the work: [`jvp`] pushes tangents forward, and `transpose` pulls
//! cotangents back through what is linear in them. Everything else is a composition. Ordinary
//! primitives come out, so derivatives nest to any order.

pub mod check;
mod jvp;
mod transpose;

pub use jvp::jvp;

use crate::ir::{Graph, NodeId};

/// Cotangents of `inputs` for the given cotangents of `outputs`: the tangents of the outputs are
/// linear in fresh tangents of the inputs, and that linear map is transposed.
pub fn vjp(g: &mut Graph, outputs: &[NodeId], cotangents: &[NodeId], inputs: &[NodeId]) -> Vec<NodeId> {
    let shapes: Vec<Vec<usize>> = inputs.iter().map(|&x| g.shape(x).to_vec()).collect();
    let holes: Vec<NodeId> = shapes.iter().map(|shape| g.hole(shape)).collect();
    let seeds: Vec<(NodeId, NodeId)> = inputs.iter().copied().zip(holes.iter().copied()).collect();
    let tangents = jvp(g, outputs, &seeds);
    let linear: Vec<(NodeId, NodeId)> =
        tangents.iter().zip(cotangents).filter_map(|(t, &ct)| t.map(|t| (t, ct))).collect();
    let pulled = transpose::transpose(g, &linear, &holes);
    pulled.into_iter().zip(shapes).map(|(ct, shape)| ct.unwrap_or_else(|| g.full(&shape, 0.0))).collect()
}

/// Gradients of a scalar node.
pub fn grad(g: &mut Graph, scalar: NodeId, inputs: &[NodeId]) -> Vec<NodeId> {
    assert!(g.shape(scalar).is_empty(), "gradient of an array of shape {:?}", g.shape(scalar));
    let one = g.full(&[], 1.0);
    vjp(g, &[scalar], &[one], inputs)
}

/// Hessian-vector products H v of a scalar node, forward over reverse. `along` pairs each input
/// with its direction; the products come in the order of the inputs.
pub fn hvp(g: &mut Graph, scalar: NodeId, along: &[(NodeId, NodeId)]) -> Vec<NodeId> {
    let inputs: Vec<NodeId> = along.iter().map(|(x, _)| *x).collect();
    let gradients = grad(g, scalar, &inputs);
    let products = jvp(g, &gradients, along);
    products
        .into_iter()
        .zip(inputs)
        .map(|(product, x)| {
            let shape = g.shape(x).to_vec();
            product.unwrap_or_else(|| g.full(&shape, 0.0))
        })
        .collect()
}

/// Mixed products Mᵀv, the derivative in `parameters` of ⟨∇_w scalar, v⟩.
pub fn mixed(g: &mut Graph, scalar: NodeId, along: &[(NodeId, NodeId)], parameters: &[NodeId]) -> Vec<NodeId> {
    let inputs: Vec<NodeId> = along.iter().map(|(x, _)| *x).collect();
    let directions: Vec<NodeId> = along.iter().map(|(_, v)| *v).collect();
    let gradients = grad(g, scalar, &inputs);
    vjp(g, &gradients, &directions, parameters)
}
