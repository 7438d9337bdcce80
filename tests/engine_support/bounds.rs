//! Graphs with gradients and Hessian-vector products, random ones and the HAR network, and engines held
//! to the computed error bounds on them.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use stackelberg::autodiff::{grad, hvp};
use stackelberg::bilevel::{Loss, TrainingLoss};
use stackelberg::compile::{Output, compile};
use stackelberg::engine::Engine;
use stackelberg::experiment::golden::{Case, CaseGraph, case_graph};
use stackelberg::interp::{Report, bound};
use stackelberg::ir::{DType, Graph, NodeId, Run, Scalar, numel};
use stackelberg::nn::reading::Training;
use stackelberg::nn::{functions, zoo};
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

/// Eight random operations on matrices with an even number of columns, the loss ½ mean square of the last, its gradients and
/// Hessian-vector products.
pub fn random_graph(seed: u64, shape: [usize; 2]) -> Problem {
    let [rows, columns] = shape;
    let mut stream = Stream::new(seed, Purpose::Search, 7);
    let mut p = Problem::new();
    let inputs: Vec<NodeId> = (0..3).map(|k| p.input(&format!("x{k}"), &shape, || stream.normal())).collect();
    let along: Vec<NodeId> = (0..3).map(|k| p.input(&format!("v{k}"), &shape, || stream.normal())).collect();
    let indices = p.words("rows", &[rows], rows as u32, &mut stream);
    let labels = p.words("labels", &[rows], columns as u32, &mut stream);
    let mut pool = inputs.clone();
    for _ in 0..8 {
        let mut any = || (stream.uniform() * pool.len() as f64) as usize;
        let [a, b, c] = [any(), any(), any()].map(|k| pool[k]);
        let kind = (stream.uniform() * KINDS as f64) as usize;
        let next = operation(&mut p.graph, kind, [*pool.last().unwrap_or(&a), b, c], indices, labels);
        pool.push(next);
    }
    let last = pool[pool.len() - 1];
    let square = p.graph.mul(last, last);
    let sum = p.graph.sum_all(square);
    let loss = p.graph.scale(sum, 0.5 / (rows * columns) as f64);
    p.outputs.push(("last".to_owned(), last));
    let largest = p.graph.argmax(last, 1);
    p.outputs.push(("argmax".to_owned(), largest));
    p.differentiate(loss, &inputs, &along);
    p
}

/// Number of kinds of [`operation`].
const KINDS: usize = 18;

fn operation(g: &mut Graph, kind: usize, [a, b, c]: [NodeId; 3], indices: NodeId, labels: NodeId) -> NodeId {
    let shape = g.shape(a).to_vec();
    let [rows, columns] = [shape[0], shape[1]];
    let len = rows * columns;
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
            let x = g.reshape(a, &[1, rows, columns / 2, 2]);
            let w = g.reshape(b, &[len]);
            let w = g.segment(w, 5, 16);
            let w = g.reshape(w, &[2, 2, 2, 2]);
            let w = tame(g, w);
            let y = functions::conv2d(g, x, w, [1, 1], [[0, 1], [1, 0]]);
            g.reshape(y, &shape)
        }
        12 => functions::log_softmax(g, a, 1),
        13 => {
            let (gamma, beta) =
                (g.slice(b, &[0, 0], &[1, columns], &[1, 1]), g.slice(c, &[1, 0], &[1, columns], &[1, 1]));
            functions::normalize(g, a, gamma, beta, &[0, 1], 1e-2)
        }
        14 => {
            let x = g.reshape(a, &[1, rows, columns, 1]);
            let y = functions::max_pool(g, x, &[2, 2], &[1, 1]);
            let y = g.pad(y, &[0, 1, 0, 0], &[1, rows, columns, 1], &[1, 1, 1, 1]);
            g.reshape(y, &shape)
        }
        15 => {
            let condition = g.lt(a, b);
            g.select(condition, c, a)
        }
        16 => {
            let x = g.take_rows(a, indices);
            let x = g.permute(x, &[1, 0]);
            let flat = g.reshape(x, &[len]);
            let (left, right) = (g.segment(flat, 0, 10), g.segment(flat, 10, len - 10));
            let flat = g.concat(&[right, left]);
            g.reshape(flat, &shape)
        }
        _ => {
            let each = functions::cross_entropy_each(g, a, labels);
            let each = g.reshape(each, &[rows, 1]);
            g.mul(b, each)
        }
    }
}

/// How one output kept to its bounds.
pub struct Held {
    pub name: String,
    pub report: Report,
    /// ‖bound‖ ÷ ‖value‖ of the elements with finite bounds: what size of mistake would be seen.
    pub width: f64,
}

/// Σ eᵡ y² where x has a value for each run of y, some runs are gaps, and values have several runs; its gradients and
/// Hessian-vector products.
pub fn runs(lengths: &[usize], count: usize) -> Problem {
    let run = |(k, &length): (usize, &usize)| Run { length, value: (k % 5 != 4).then_some(k % count) };
    let runs: Vec<Run> = lengths.iter().enumerate().map(run).collect();
    let mut stream = Stream::new(count as u64, Purpose::Search, 12);
    let mut p = Problem::new();
    let shapes = [[count], [lengths.iter().sum()]];
    let [x, y] = ["x", "y"].map(|name| p.input(name, &shapes[usize::from(name == "y")], || stream.normal()));
    let along = shapes.map(|shape| p.input("along", &shape, || stream.normal()));
    let g = &mut p.graph;
    let rate = g.scalar(Scalar::Exp, &[x]);
    let rate = g.repeat(rate, &runs);
    let square = g.mul(y, y);
    let terms = g.mul(rate, square);
    let loss = g.sum_all(terms);
    p.differentiate(loss, &[x, y], &along);
    p
}

/// Runs of a few layers, of many, and of more than a dispatch chooses among.
pub fn runs_of_every_kind(engine: &mut dyn Engine) {
    let layers: Vec<usize> = (0..600).map(|k| 1 + 97 * k % 301).collect();
    let cases: [(&[usize], usize); 4] =
        [(&[7], 1), (&[1, 2, 1, 3], 4), (&[900, 9, 20_000, 64, 5000, 6], 4), (&layers, 300)];
    for (lengths, count) in cases {
        for Held { name, report, .. } in hold(engine, &format!("{} runs", lengths.len()), &runs(lengths, count)) {
            assert_eq!(report.excluded, 0, "{name}");
        }
    }
}

/// Compiles a problem, runs it and holds every output to its bounds.
pub fn hold(engine: &mut dyn Engine, title: &str, problem: &Problem) -> Vec<Held> {
    let outputs: Vec<Output> = problem.outputs.iter().map(|(name, id)| Output::new(name, *id)).collect();
    let program = compile(title, &problem.graph, &outputs).unwrap();
    let results = super::run(engine, &program, &problem.inputs);
    let bounds = bound(&problem.graph, &problem.ids(), &problem.inputs);
    let held = problem.outputs.iter().zip(bounds.iter().zip(&results)).map(|((name, _), (bounds, result))| {
        let name = format!("{title}: {name}");
        let report = bounds.check(&name, result).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        let finite = bounds.value.iter().zip(&bounds.bound).filter(|(_, bound)| bound.is_finite());
        let (value, bound) = finite.fold((0.0, 0.0), |(v, b), (value, bound)| (v + value * value, b + bound * bound));
        Held { name, report, width: (bound / value).sqrt() }
    });
    held.collect()
}

/// Holds random graphs of one shape; returns the largest error ÷ bound and the share of elements behind
/// undecided choices.
pub fn random_graphs(engine: &mut dyn Engine, seeds: Range<u64>, shape: [usize; 2]) -> (f64, f64) {
    let held: Vec<Held> =
        seeds.flat_map(|seed| hold(engine, &format!("graph {seed}"), &random_graph(seed, shape))).collect();
    let elements: usize = held.iter().map(|h| h.report.elements).sum();
    let excluded: usize = held.iter().map(|h| h.report.excluded).sum();
    let worst = held.iter().max_by(|a, b| a.report.worst.total_cmp(&b.report.worst)).unwrap();
    println!(
        "{elements} elements, {excluded} excluded; largest error / bound {:.3} ({})",
        worst.report.worst, worst.name
    );
    (worst.report.worst, excluded as f64 / elements as f64)
}

/// The functions among the bundled reference cases: every op, and models with gradients and Hessian
/// products.
pub fn reference_cases(engine: &mut dyn Engine) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let folders = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let cases = folders.filter(|folder| folder.is_dir()).map(|folder| Case::load(&folder).unwrap());
    let mut held = vec![];
    for case in cases.filter(|case| case.inputs.values().all(|array| array.data.len() < 100_000)) {
        if let Some(CaseGraph { graph, inputs, outputs }) = case_graph(&case).unwrap() {
            let inputs = inputs.into_iter().map(|array| array.data).collect();
            held.extend(hold(engine, &case.name, &Problem { graph, outputs, inputs }));
        }
    }
    let worst = held.iter().max_by(|a, b| a.report.worst.total_cmp(&b.report.worst)).unwrap();
    println!("{} outputs; largest error / bound {:.3} ({})", held.len(), worst.report.worst, worst.name);
    assert!(held.len() > 150, "only {} outputs", held.len());
}

/// The training loss of the HAR network with F filters and H hidden units on random windows: weighted cross-entropy with L2
/// penalties, through dropout.
pub fn network(filters: usize, hidden: usize, batch: usize, seed: u64) -> Problem {
    let model = zoo::har_cnn(&[128, 9], filters, hidden, 6, 0.5).unwrap();
    let mut stream = Stream::new(seed, Purpose::Search, 10);
    let mut p = Problem::new();
    let mut initial = model.initial_parameters(seed).into_iter();
    let theta = p.input("theta", &[model.parameter_count()], || f64::from(initial.next().unwrap()));
    let along = p.input("along", &[model.parameter_count()], || stream.normal());
    let x = p.input("x", &[batch, 128, 9], || stream.normal());
    let mask_shape = [&[batch], &model.places()[0].shape[..]].concat();
    let mask = p.input("mask", &mask_shape, || (2.0 * stream.uniform()).floor());
    let labels = p.words("labels", &[batch], 6, &mut stream);
    let weights = p.input("weights", &[batch], || stream.uniform());
    let l2_log = p.input("l2", &[model.parameter_layers()], || -6.0 + stream.normal());
    let output = model.apply(&mut p.graph, x, &mut Training::new(theta, None, vec![Some(mask)]));
    let loss = TrainingLoss { model: &model, loss: Loss::CrossEntropy, l2_log: Some(l2_log), weights: Some(weights) };
    let loss = loss.of_output(&mut p.graph, theta, output, labels);
    p.differentiate(loss, &[theta], &[along]);
    p
}
