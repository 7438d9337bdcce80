//! Random graphs with gradients and Hessian-vector products, for the tests of the error bounds.
#![allow(dead_code)] // each test file uses its part

use std::collections::HashSet;

use stackelberg::autodiff::{grad, hvp};
use stackelberg::ir::{DType, Graph, NodeId, Scalar, numel};
use stackelberg::nn::functions;
use stackelberg::rng::{Purpose, Stream};

/// A graph with named outputs and values of its inputs, floats exact in f32.
pub struct Problem {
    pub graph: Graph,
    pub outputs: Vec<(String, NodeId)>,
    pub inputs: Vec<Vec<f64>>,
}

impl Problem {
    pub fn new() -> Self {
        Problem { graph: Graph::new(), outputs: vec![], inputs: vec![] }
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.outputs.iter().map(|(_, id)| *id).collect()
    }

    /// Makes every node that the outputs need an output too.
    pub fn expose_all(&mut self) {
        let mut seen: HashSet<NodeId> = self.ids().into_iter().collect();
        let mut next = 0;
        while let Some(&(_, id)) = self.outputs.get(next) {
            let node = self.graph.node(id);
            let fresh: Vec<NodeId> = node.args.iter().copied().filter(|&a| seen.insert(a)).collect();
            self.outputs
                .extend(fresh.into_iter().map(|a| (format!("%{} = {:?}", a.index(), self.graph.node(a).op), a)));
            next += 1;
        }
    }

    /// A float input; its values are rounded to f32.
    pub fn input(&mut self, name: &str, shape: &[usize], mut value: impl FnMut() -> f64) -> NodeId {
        self.inputs.push((0..numel(shape)).map(|_| f64::from(value() as f32)).collect());
        self.graph.input(name, shape, DType::F32)
    }

    /// A word input with values below `bound`.
    pub fn words(&mut self, name: &str, shape: &[usize], bound: u32, stream: &mut Stream) -> NodeId {
        self.inputs.push((0..numel(shape)).map(|_| (stream.uniform() * f64::from(bound)).floor()).collect());
        self.graph.input(name, shape, DType::U32)
    }

    /// Adds as outputs a loss, its gradients in `inputs`, and its Hessian's product with `along`.
    pub fn differentiate(&mut self, loss: NodeId, inputs: &[NodeId], along: &[NodeId]) {
        let g = &mut self.graph;
        let gradients = grad(g, loss, inputs);
        let pairs: Vec<(NodeId, NodeId)> = inputs.iter().copied().zip(along.iter().copied()).collect();
        let products = hvp(g, loss, &pairs);
        self.outputs.push(("loss".to_owned(), loss));
        for (kind, nodes) in [("gradient", gradients), ("hvp", products)] {
            self.outputs.extend(nodes.into_iter().enumerate().map(|(k, id)| (format!("{kind} {k}"), id)));
        }
    }
}

const SHAPE: [usize; 2] = [4, 6];

/// Eight random operations on 4 × 6 matrices, the loss ½ mean square of the last, its gradients and
/// Hessian-vector products.
pub fn random_graph(seed: u64) -> Problem {
    let mut stream = Stream::new(seed, Purpose::Search, 7);
    let mut p = Problem::new();
    let inputs: Vec<NodeId> = (0..3).map(|k| p.input(&format!("x{k}"), &SHAPE, || stream.normal())).collect();
    let along: Vec<NodeId> = (0..3).map(|k| p.input(&format!("v{k}"), &SHAPE, || stream.normal())).collect();
    let rows = p.words("rows", &[SHAPE[0]], SHAPE[0] as u32, &mut stream);
    let labels = p.words("labels", &[SHAPE[0]], SHAPE[1] as u32, &mut stream);
    let mut pool = inputs.clone();
    for _ in 0..8 {
        let mut any = || (stream.uniform() * pool.len() as f64) as usize;
        let [a, b, c] = [any(), any(), any()].map(|k| pool[k]);
        let kind = (stream.uniform() * KINDS as f64) as usize;
        let next = operation(&mut p.graph, kind, [*pool.last().unwrap_or(&a), b, c], rows, labels);
        pool.push(next);
    }
    let last = pool[pool.len() - 1];
    let square = p.graph.mul(last, last);
    let sum = p.graph.sum_all(square);
    let loss = p.graph.scale(sum, 0.5 / 24.0);
    p.outputs.push(("last".to_owned(), last));
    let largest = p.graph.argmax(last, 1);
    p.outputs.push(("argmax".to_owned(), largest));
    p.differentiate(loss, &inputs, &along);
    p
}

/// Number of kinds of [`operation`].
const KINDS: usize = 18;

fn operation(g: &mut Graph, kind: usize, [a, b, c]: [NodeId; 3], rows: NodeId, labels: NodeId) -> NodeId {
    // Keeps arguments of growing functions within (−1, 1), of roots and poles away from 0.
    let tame = |g: &mut Graph, x| g.scalar(Scalar::Tanh, &[x]);
    let positive = |g: &mut Graph, x| {
        let y = g.scalar(Scalar::Softplus, &[x]);
        g.offset(y, 0.25)
    };
    match kind {
        0 => tame(g, a),
        1 => g.scalar(Scalar::Sigmoid, &[a]),
        2 => g.scalar(Scalar::Softplus, &[a]),
        3 => g.scalar(Scalar::Relu, &[a]),
        4 => {
            let x = tame(g, a);
            g.scalar(Scalar::Exp, &[x])
        }
        5 => {
            let x = positive(g, a);
            g.scalar(Scalar::Log, &[x])
        }
        6 => {
            let x = positive(g, a);
            g.scalar(Scalar::Sqrt, &[x])
        }
        7 => {
            let x = positive(g, b);
            g.div(a, x)
        }
        8 => g.add(a, b),
        9 => {
            let (a, b) = (tame(g, a), tame(g, b));
            g.mul(a, b)
        }
        10 => {
            let (a, b) = (tame(g, a), tame(g, b));
            let square = functions::matmul(g, a, b, [false, true]);
            functions::matmul(g, square, c, [true, false])
        }
        11 => {
            let x = g.reshape(a, &[1, 4, 3, 2]);
            let w = g.reshape(b, &[24]);
            let w = g.segment(w, 5, 16);
            let w = g.reshape(w, &[2, 2, 2, 2]);
            let w = tame(g, w);
            let y = functions::conv2d(g, x, w, [1, 1], [[0, 1], [1, 0]]);
            g.reshape(y, &SHAPE)
        }
        12 => functions::log_softmax(g, a, 1),
        13 => {
            let (gamma, beta) = (g.slice(b, &[0, 0], &[1, 6], &[1, 1]), g.slice(c, &[1, 0], &[1, 6], &[1, 1]));
            functions::normalize(g, a, gamma, beta, &[0, 1], 1e-2)
        }
        14 => {
            let x = g.reshape(a, &[1, 4, 6, 1]);
            let y = functions::max_pool(g, x, &[2, 2], &[1, 1]);
            let y = g.pad(y, &[0, 1, 0, 0], &[1, 4, 6, 1], &[1, 1, 1, 1]);
            g.reshape(y, &SHAPE)
        }
        15 => {
            let condition = g.lt(a, b);
            g.select(condition, c, a)
        }
        16 => {
            let x = g.take_rows(a, rows);
            let x = g.permute(x, &[1, 0]);
            let flat = g.reshape(x, &[24]);
            let (left, right) = (g.segment(flat, 0, 10), g.segment(flat, 10, 14));
            let flat = g.concat(&[right, left]);
            g.reshape(flat, &SHAPE)
        }
        _ => {
            let each = functions::cross_entropy_each(g, a, labels);
            let each = g.reshape(each, &[4, 1]);
            g.mul(b, each)
        }
    }
}
