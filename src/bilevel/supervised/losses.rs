//! Losses of the supervised problem over whole sets, a chunk at a time.

use super::TrainingLoss;
use super::problem::{CHUNK, Problem};
use crate::bilevel::inner::Objective;
use crate::ir::{DType, Graph, NodeId, Scalar};
use crate::nn::reading;
use crate::rig::Function;

impl Problem {
    /// A chunk's share of the mean outer loss over the validation set, without dropout, penalty or weights.
    pub(super) fn outer_share(&self, g: &mut Graph, state: NodeId, chunk: NodeId) -> NodeId {
        let count = self.validation;
        let set = self.side(g, "validation", count);
        let (places, valid) = chunk_rows(g, chunk, count, CHUNK);
        let rows = set.rows(g, places);
        let (x, target) = self.taken(g, &set, rows);
        let (_, sum) = self.chunk_loss(g, state, x, target, valid);
        g.scale(sum, 1.0 / count as f64)
    }

    /// Sum of losses of one chunk of examples, of which the first `limit` count, and, where they are labelled,
    /// confusion counts `[true class, predicted class]`.
    pub fn evaluation(&self) -> Function {
        let mut f = Function::new("evaluation");
        let g = &mut f.graph;
        let classes = self.model.output()[0];
        let state = g.input("state", &[self.state_len()], DType::F32);
        let value_sum = g.input("value", &[1], DType::F32);
        let confusion = self.loss.takes_labels().then(|| g.input("confusion", &[classes * classes], DType::F32));
        let limit = g.input("limit", &[1], DType::U32);
        let x = self.examples(g, "set_x", CHUNK);
        let x = self.unpacked(g, x);
        let target = g.input("set_y", &self.target_shape(CHUNK), self.loss.target_type());

        let position = g.iota(&[CHUNK], 0);
        let limit = g.broadcast_to(limit, &[CHUNK]);
        let valid = g.scalar(Scalar::LtU, &[position, limit]);
        let (output, value) = self.chunk_loss(g, state, x, target, valid);
        let value = g.add(value_sum, value);
        let Some(confusion) = confusion else {
            f.update(value_sum, value);
            return f;
        };

        let predicted = g.argmax(output, 1);
        let width = g.full_u(&[CHUNK], classes as u32);
        let first = g.scalar(Scalar::MulU, &[target, width]);
        let cell = g.scalar(Scalar::AddU, &[first, predicted]);
        let wide = [CHUNK, classes * classes];
        let cell = g.broadcast(cell, &wide, &[0]);
        let position = g.iota(&wide, 1);
        let hit = g.eq_u(position, cell);
        let valid = g.broadcast(valid, &wide, &[0]);
        let counted = g.scalar(Scalar::AndU, &[hit, valid]);
        let counted = g.scalar(Scalar::ToFloat, &[counted]);
        let counted = g.sum(counted, &[0]);
        let counts = g.add(confusion, counted);
        f.update(confusion, counts);
        f.update(value_sum, value);
        f
    }

    /// The model's outputs for a chunk and the sum of its valid rows' losses (shape `[1]`).
    fn chunk_loss(&self, g: &mut Graph, state: NodeId, x: NodeId, target: NodeId, valid: NodeId) -> (NodeId, NodeId) {
        let running = self.running(g, state);
        let optimizer = g.segment(state, 0, self.optimizer_len());
        let weights = self.optimizer.readout(g, optimizer, self.model.parameter_count());
        let output = self.model.apply(g, x, &mut reading::Predicting { weights, running });
        let each = self.outer_loss.each(g, output, target);
        let nothing = g.full(&[CHUNK], 0.0);
        let each = g.select(valid, each, nothing);
        let sum = g.sum_all(each);
        let sum = g.reshape(sum, &[1]);
        (output, sum)
    }

    /// A chunk's loss with its share of a term that all chunks make up together.
    fn add_share(&self, g: &mut Graph, loss: NodeId, term: NodeId) -> NodeId {
        let share = g.scale(term, 1.0 / self.train.div_ceil(CHUNK) as f64);
        g.add(loss, share)
    }
}

/// The inner loss over the whole training set, without dropout.
impl Objective for Problem {
    fn share(&self, g: &mut Graph, weights: NodeId, lambda: NodeId, chunk: NodeId) -> NodeId {
        let set = self.side(g, "train", self.train);
        let (places, valid) = chunk_rows(g, chunk, self.train, CHUNK);
        let rows = set.rows(g, places);
        let (x, y) = self.taken(g, &set, rows);
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
            let training = TrainingLoss { model: &self.model, loss: self.loss, l2_log: None, weights: None };
            let penalty = training.penalty(g, weights, l2_log);
            loss = self.add_share(g, loss, penalty);
        }
        if let Some(value) = self.regularization(g, weights, lambda) {
            loss = self.add_share(g, loss, value);
        }
        loss
    }

    fn chunks(&self) -> usize {
        self.train.div_ceil(CHUNK)
    }
}

/// The rows of a chunk, of `size` each, of a set with so many examples, and which of them exist; the others are row 0.
pub(in crate::bilevel) fn chunk_rows(g: &mut Graph, chunk: NodeId, count: usize, size: usize) -> (NodeId, NodeId) {
    let first = g.full_u(&[1], size as u32);
    let first = g.scalar(Scalar::MulU, &[chunk, first]);
    let first = g.broadcast_to(first, &[size]);
    let offset = g.iota(&[size], 0);
    let row = g.scalar(Scalar::AddU, &[first, offset]);
    let limit = g.full_u(&[size], count as u32);
    let valid = g.scalar(Scalar::LtU, &[row, limit]);
    let zero = g.full_u(&[size], 0);
    (g.select(valid, row, zero), valid)
}
