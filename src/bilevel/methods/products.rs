//! Derivatives of the inner loss over the whole training set, as chunks that are added up: what implicit
//! differentiation needs.

use crate::autodiff::{grad, hvp, mixed};
use crate::bilevel::inner::{Inner, Objective};
use crate::ir::{DType, Graph, NodeId};
use crate::rig::Function;

/// One chunk of the inner loss L(w, λ) with what it is a function of.
struct Chunk {
    /// Its share of the loss: a scalar.
    loss: NodeId,
    weights: NodeId,
    lambda: NodeId,
    counter: NodeId,
}

/// The products that are taken with chunks of the inner loss.
pub(super) fn all(inner: &dyn Inner, objective: &dyn Objective) -> Vec<Function> {
    vec![hessian_product(inner, objective), mixed_product(inner, objective), gradient(inner, objective)]
}

/// One chunk of the gradient of the inner loss, added to `product`.
fn gradient(inner: &dyn Inner, objective: &dyn Objective) -> Function {
    let mut f = Function::new("inner_gradient");
    let g = &mut f.graph;
    let product = g.input("product", &[inner.weights()], DType::F32);
    let chunk = chunk(g, inner, objective);
    let part = grad(g, chunk.loss, &[chunk.weights])[0];
    let sum = g.add(product, part);
    f.update(product, sum);
    f.count(chunk.counter);
    f
}

/// One chunk of H·`direction`, added to `product`.
fn hessian_product(inner: &dyn Inner, objective: &dyn Objective) -> Function {
    let mut f = Function::new("hessian_product");
    let (g, d) = (&mut f.graph, inner.weights());
    let product = g.input("product", &[d], DType::F32);
    let direction = g.input("direction", &[d], DType::F32);
    let chunk = chunk(g, inner, objective);
    let part = hvp(g, chunk.loss, &[(chunk.weights, direction)])[0];
    let sum = g.add(product, part);
    f.update(product, sum);
    f.count(chunk.counter);
    f
}

/// One chunk of −Mᵀ·`direction`, added to `lambda_cotangent`.
fn mixed_product(inner: &dyn Inner, objective: &dyn Objective) -> Function {
    let mut f = Function::new("mixed_product");
    let (g, d) = (&mut f.graph, inner.weights());
    let cotangent = g.input("lambda_cotangent", &[inner.lambda_len()], DType::F32);
    let direction = g.input("direction", &[d], DType::F32);
    let chunk = chunk(g, inner, objective);
    let part = mixed(g, chunk.loss, &[(chunk.weights, direction)], &[chunk.lambda])[0];
    let sum = g.sub(cotangent, part);
    f.update(cotangent, sum);
    f.count(chunk.counter);
    f
}

fn chunk(g: &mut Graph, inner: &dyn Inner, objective: &dyn Objective) -> Chunk {
    let state = g.input("state", &[inner.state_len()], DType::F32);
    let lambda = g.input("lambda", &[inner.lambda_len()], DType::F32);
    let counter = g.input("chunk", &[1], DType::U32);
    let weights = g.segment(state, 0, inner.weights());
    let loss = objective.share(g, weights, lambda, counter);
    let loss = g.reshape(loss, &[]);
    Chunk { loss, weights, lambda, counter }
}
