//! The inner loss over the whole training set, without dropout, and its second derivatives, as chunks
//! that are added up: what implicit differentiation needs.

use super::problem::{CHUNK, Function, Problem, chunk_rows};
use super::{ParameterMap, TrainingLoss};
use crate::autodiff::{grad, hvp, mixed};
use crate::ir::{DType, Graph, NodeId};
use crate::nn::reading;

/// One chunk of the inner loss L(w, λ) with what it is a function of.
struct Chunk {
    /// Its share of the loss: a scalar.
    loss: NodeId,
    weights: NodeId,
    lambda: NodeId,
    counter: NodeId,
}

impl Problem {
    /// One chunk of the gradient of the inner loss, added to `product`.
    pub(super) fn inner_gradient(&self) -> Function {
        let mut f = Function::new("inner_gradient");
        let (g, d) = (&mut f.graph, self.model.parameter_count());
        let product = g.input("product", &[d], DType::F32);
        let chunk = self.inner_chunk(g);
        let part = grad(g, chunk.loss, &[chunk.weights])[0];
        let sum = g.add(product, part);
        f.update(product, sum);
        f.count(chunk.counter);
        f
    }

    /// One chunk of H·`direction`, added to `product`.
    pub(super) fn hessian_product(&self) -> Function {
        let mut f = Function::new("hessian_product");
        let (g, d) = (&mut f.graph, self.model.parameter_count());
        let product = g.input("product", &[d], DType::F32);
        let direction = g.input("direction", &[d], DType::F32);
        let chunk = self.inner_chunk(g);
        let part = hvp(g, chunk.loss, &[(chunk.weights, direction)])[0];
        let sum = g.add(product, part);
        f.update(product, sum);
        f.count(chunk.counter);
        f
    }

    /// One chunk of −Mᵀ·`direction`, added to `lambda_cotangent`.
    pub(super) fn mixed_product(&self) -> Function {
        let mut f = Function::new("mixed_product");
        let (g, d) = (&mut f.graph, self.model.parameter_count());
        let cotangent = g.input("lambda_cotangent", &[self.layout().len()], DType::F32);
        let direction = g.input("direction", &[d], DType::F32);
        let chunk = self.inner_chunk(g);
        let part = mixed(g, chunk.loss, &[(chunk.weights, direction)], &[chunk.lambda])[0];
        let sum = g.sub(cotangent, part);
        f.update(cotangent, sum);
        f.count(chunk.counter);
        f
    }

    fn inner_chunk(&self, g: &mut Graph) -> Chunk {
        let state = g.input("state", &[self.state_len()], DType::F32);
        let lambda = g.input("lambda", &[self.layout().len()], DType::F32);
        let counter = g.input("chunk", &[1], DType::U32);
        let (x, y) = self.training_set(g);
        let weights = g.segment(state, 0, self.model.parameter_count());
        let (rows, valid) = chunk_rows(g, counter, self.train);
        let (x, y) = (g.take_rows(x, rows), g.take_rows(y, rows));
        let output = self.model.apply(g, x, &mut reading::Training::new(weights, None, vec![]));
        let mut each = self.loss.each(g, output, y);
        if let Some(of_examples) = self.example_weights(g, lambda, rows) {
            each = g.mul(each, of_examples);
        }
        let nothing = g.full(&[CHUNK], 0.0);
        let each = g.select(valid, each, nothing);
        let sum = g.sum_all(each);
        let mut loss = g.scale(sum, 1.0 / self.train as f64);
        if let Some(l2_log) = self.penalties(g, lambda) {
            let map = ParameterMap::input(g, &self.model);
            let training = TrainingLoss { model: &self.model, map, loss: self.loss, l2_log: None, weights: None };
            let penalty = training.penalty(g, weights, l2_log);
            loss = self.add_share(g, loss, penalty);
        }
        if let Some(value) = self.regularization(g, weights, lambda) {
            loss = self.add_share(g, loss, value);
        }
        Chunk { loss, weights, lambda, counter }
    }
    /// A chunk's loss with its share of a term that all chunks make up together.
    fn add_share(&self, g: &mut Graph, loss: NodeId, term: NodeId) -> NodeId {
        let share = g.scale(term, 1.0 / self.train.div_ceil(CHUNK) as f64);
        g.add(loss, share)
    }
}
