//! Meta-LSTM (Ravi and Larochelle 2017): a recurrent network that trains the network of a task.

use super::episodes::Episode;
use super::learner::{Learner, Lesson, Shared, mean_loss};
use super::parts::{self, Part};
use crate::autodiff::grad;
use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::Model;
use crate::nn::functions::matmul;
use crate::nn::reading::Training;

/// λ has the parameters that a task begins with, and the arrays of what trains it behind them. Each step takes
/// w ← f ∘ w − i ∘ ∇L(w), where f and i, between 0 and 1, are told for each weight by the same small network: a recurrent
/// layer (LSTM) that reads gradient and loss, then a gate that reads its output, the weight and its own last value. As
/// published, gradient and loss are taken as constants. Batch norms take the statistics of the batch at hand.
#[derive(Clone, Debug)]
pub struct MetaLstm {
    /// The network of a task, which ends with a score for each class.
    pub model: Model,
    /// Steps of a task.
    pub steps: usize,
    /// Units of the recurrent layer; as published 20.
    pub units: usize,
}

/// Numbers that a gradient or a loss is told by.
const TOLD: usize = 2;
/// Gradients below e⁻ᵖ are told by their value, others by logarithm and sign.
const SMALL: f64 = 10.0;
/// Biases of the gates: what is kept is nearly all of the weight at first, and what is added little of the gradient.
const KEEP: f32 = 5.0;
const ADD: f32 = -4.5;

/// A gate of each weight, `[n]`.
struct Gate {
    value: NodeId,
    maps: [NodeId; 2],
}

impl MetaLstm {
    fn parts(&self) -> Vec<Part> {
        let (units, inputs) = (self.units, 2 * TOLD);
        vec![
            Part::map(inputs + units, 4 * units),
            Part::all(4 * units, 0.0),
            Part::map(units + 2, 1),
            Part::all(1, KEEP),
            Part::map(units + 2, 1),
            Part::all(1, ADD),
        ]
    }

    fn train(&self, g: &mut Graph, lambda: NodeId, episode: &Episode) -> NodeId {
        let (n, units) = (self.model.parameter_count(), self.units);
        let mut weights = g.segment(lambda, 0, n);
        let parts = parts::read(g, lambda, n, &self.parts());
        let [mut hidden, mut cell] = [0.0; 2].map(|zero| g.full(&[n, units], zero));
        let start = |g: &mut Graph, maps: [NodeId; 2], bias: f32| {
            let bias = g.full(&[n], f64::from(bias));
            Gate { value: g.scalar(Scalar::Sigmoid, &[bias]), maps }
        };
        let mut keep = start(g, [parts[2], parts[3]], KEEP);
        let mut add = start(g, [parts[4], parts[5]], ADD);
        for _ in 0..self.steps {
            let scores = self.scores(g, weights, episode.x);
            let loss = mean_loss(g, scores, episode.y);
            let gradient = grad(g, loss, &[weights])[0];
            let gradient = g.stop_gradient(gradient);
            let loss = g.stop_gradient(loss);
            let loss = g.reshape(loss, &[1]);
            let loss = g.broadcast_to(loss, &[n]);
            let told = [told(g, gradient), told(g, loss)].concat();
            let told = columns(g, &told);
            (hidden, cell) = remember(g, [parts[0], parts[1]], told, hidden, cell);
            keep.next(g, hidden, weights);
            add.next(g, hidden, weights);
            let (kept, added) = (g.mul(keep.value, weights), g.mul(add.value, gradient));
            weights = g.sub(kept, added);
        }
        weights
    }

    fn scores(&self, g: &mut Graph, weights: NodeId, x: NodeId) -> NodeId {
        self.model.apply(g, x, &mut Training::new(weights, None, vec![]))
    }
}

impl Gate {
    /// σ of a map of the recurrent layer's output, the weight and the gate's last value.
    fn next(&mut self, g: &mut Graph, hidden: NodeId, weights: NodeId) {
        let own = columns(g, &[weights, self.value]);
        let units = g.shape(hidden)[1];
        let [of_hidden, of_own] = [(0, units), (units, 2)].map(|(at, rows)| {
            let [_, outputs] = g.shape(self.maps[0])[..] else { unreachable!("a map has rows and columns") };
            g.slice(self.maps[0], &[at, 0], &[rows, outputs], &[1, 1])
        });
        let (a, b) = (matmul(g, hidden, of_hidden, [false, false]), matmul(g, own, of_own, [false, false]));
        let sum = g.add(a, b);
        let sum = g.add(sum, self.maps[1]);
        let sum = g.reshape(sum, &[g.shape(sum)[0]]);
        self.value = g.scalar(Scalar::Sigmoid, &[sum]);
    }
}

/// A step of an LSTM on `[n, inputs]`: its output and cell, `[n, units]` each.
fn remember(g: &mut Graph, [map, bias]: [NodeId; 2], x: NodeId, hidden: NodeId, cell: NodeId) -> (NodeId, NodeId) {
    let ([n, inputs], units) = ([g.shape(x)[0], g.shape(x)[1]], g.shape(hidden)[1]);
    let [of_x, of_hidden] =
        [(0, inputs), (inputs, units)].map(|(at, rows)| g.slice(map, &[at, 0], &[rows, 4 * units], &[1, 1]));
    let (a, b) = (matmul(g, x, of_x, [false, false]), matmul(g, hidden, of_hidden, [false, false]));
    let sum = g.add(a, b);
    let sum = g.add(sum, bias);
    let part = |g: &mut Graph, k: usize| g.slice(sum, &[0, k * units], &[n, units], &[1, 1]);
    let [forget, input, output] = [0, 1, 2].map(|k| {
        let part = part(g, k);
        g.scalar(Scalar::Sigmoid, &[part])
    });
    let candidate = part(g, 3);
    let candidate = g.scalar(Scalar::Tanh, &[candidate]);
    let (kept, new) = (g.mul(forget, cell), g.mul(input, candidate));
    let cell = g.add(kept, new);
    let shown = g.scalar(Scalar::Tanh, &[cell]);
    (g.mul(output, shown), cell)
}

/// Numbers of any size as two of moderate size: (log |x| / p, sign x) where |x| ≥ e⁻ᵖ, else (−1, eᵖ x)
/// (Andrychowicz et al. 2016, appendix A).
fn told(g: &mut Graph, x: NodeId) -> Vec<NodeId> {
    let shape = g.shape(x).to_vec();
    let minus = g.neg(x);
    let [up, down] = [x, minus].map(|x| g.scalar(Scalar::Relu, &[x]));
    let size = g.add(up, down);
    let edge = g.full(&shape, (-SMALL).exp());
    let is_small = g.lt(size, edge);
    let safe = g.select(is_small, edge, size);
    let log = g.scalar(Scalar::Log, &[safe]);
    let log = g.scale(log, 1.0 / SMALL);
    let sign = g.div(x, safe);
    let (low, scaled) = (g.full(&shape, -1.0), g.scale(x, SMALL.exp()));
    vec![g.select(is_small, low, log), g.select(is_small, scaled, sign)]
}

/// Vectors `[n]` as the columns of a matrix.
fn columns(g: &mut Graph, vectors: &[NodeId]) -> NodeId {
    let n = g.shape(vectors[0])[0];
    let shape = [n, vectors.len()];
    let column = |(k, &vector): (usize, &NodeId)| {
        let column = g.reshape(vector, &[n, 1]);
        g.pad(column, &[0, k], &shape, &[1, 1])
    };
    let columns: Vec<NodeId> = vectors.iter().enumerate().map(column).collect();
    columns.into_iter().reduce(|a, b| g.add(a, b)).expect("there is a vector")
}

impl Learner for MetaLstm {
    fn len(&self) -> usize {
        self.model.parameter_count() + parts::len(&self.parts())
    }

    fn initial(&self, seed: u64) -> Vec<f32> {
        [self.model.initial_parameters(seed), parts::initial(&self.parts(), seed)].concat()
    }

    fn lesson(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> Lesson {
        let scores = self.predict(g, shared, episode);
        Lesson::of_scores(g, shared.lambda, scores, episode)
    }

    fn predict(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> NodeId {
        let weights = self.train(g, shared.lambda, episode);
        self.scores(g, weights, episode.xq)
    }
}
