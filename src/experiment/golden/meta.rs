//! Cases of meta-learning: tasks that share a representation or a start, which is learned through their training.

use std::collections::BTreeMap;

use super::builder::row;
use super::setup::size;
use super::{Case, CaseError, RunError};
use crate::autodiff::grad;
use crate::bilevel::inner::{Acting, At, Inner, LOSSES, Part, Step, Through};
use crate::bilevel::{Device, Directions, Loss, Memory, Reverse, Session, Unattended};
use crate::engine::Values;
use crate::ir::{DType, Graph, NodeId, Scalar, numel};
use crate::nn::{Layer, Model, reading};
use crate::rig::Array;

type Outputs = BTreeMap<String, Vec<f64>>;

/// What the tasks share.
#[derive(Clone, Copy, PartialEq)]
enum Shared {
    /// The first layers, which no task's training moves; each task trains its own last layers from zero.
    Representation,
    /// Where all parameters of each task begin.
    Start,
}

/// Tasks of one network, each trained on all its support examples at once by gradient descent, judged by their mean
/// loss on query examples. The hyperparameter vector is (log η, log penalty, shared weights, a weight ωₖ for each task):
/// E = Σ ωₖ Eₖ, so that ∂E/∂ωₖ is a task's own loss.
struct Tasks {
    model: Model,
    loss: Loss,
    shared: Shared,
    tasks: usize,
    /// Support and query examples of a task.
    examples: [usize; 2],
    steps: usize,
    /// Parameters that are shared, the first of the parameter vector.
    common: usize,
}

impl Tasks {
    /// Parameters that a task trains.
    fn own(&self) -> usize {
        match self.shared {
            Shared::Representation => self.model.parameter_count() - self.common,
            Shared::Start => self.model.parameter_count(),
        }
    }

    /// Place of the task weights in the hyperparameter vector.
    fn task_weights(&self) -> usize {
        2 + self.common
    }

    /// A task's whole parameter vector.
    fn parameters(&self, g: &mut Graph, state: NodeId, lambda: NodeId, task: usize) -> NodeId {
        let own = g.segment(state, task * self.own(), self.own());
        match self.shared {
            Shared::Start => own,
            Shared::Representation => {
                let body = g.segment(lambda, 2, self.common);
                g.concat(&[body, own])
            }
        }
    }

    /// The mean loss of a task on its support (0) or query (1) examples, a scalar.
    fn task_loss(&self, g: &mut Graph, theta: NodeId, sets: [NodeId; 2], task: usize, which: usize) -> NodeId {
        let count = self.examples[which];
        let (x, y) = (row(g, sets[0], task), row(g, sets[1], task));
        let output = self.model.apply(g, x, &mut reading::Training::new(theta, None, vec![]));
        let each = self.loss.each(g, output, y);
        let sum = g.sum_all(each);
        g.scale(sum, 1.0 / count as f64)
    }

    /// The arrays of support or query examples of all tasks, as inputs.
    fn sets(&self, g: &mut Graph, which: usize) -> [NodeId; 2] {
        let [x, y] = NAMES[which];
        let lead = [self.tasks, self.examples[which]];
        let targets = if self.loss.takes_labels() { lead.to_vec() } else { [&lead[..], self.model.output()].concat() };
        let x = g.input(x, &[&lead[..], self.model.input()].concat(), DType::F32);
        [x, g.input(y, &targets, self.loss.target_type())]
    }
}

/// Arrays of support and query examples with their targets, by the names of the cases.
const NAMES: [[&str; 2]; 2] = [["x", "y"], ["xq", "yq"]];

impl Inner for Tasks {
    fn steps(&self) -> usize {
        self.steps
    }

    fn state(&self) -> Vec<Part> {
        let len = self.tasks * self.own();
        vec![Part { name: "tasks".to_owned(), range: 0..len, shape: vec![self.tasks, self.own()] }]
    }

    fn weights(&self) -> usize {
        self.tasks * self.own()
    }

    fn lambda(&self) -> Vec<Acting> {
        let through = if self.shared == Shared::Start { Through::Start } else { Through::Loss };
        let end = self.task_weights();
        vec![
            Acting { name: "log_lr", what: "the learning rate", range: 0..1, through: Through::Step },
            Acting { name: "l2_log", what: "the penalty", range: 1..2, through: Through::Loss },
            Acting { name: "w", what: "the shared weights", range: 2..end, through },
            Acting { name: "tasks", what: "task weights", range: end..end + self.tasks, through: Through::Outer },
        ]
    }

    fn arrays(&self) -> Vec<Array> {
        let mut g = Graph::new();
        for which in [0, 1] {
            self.sets(&mut g, which);
        }
        let inputs = g.inputs().iter();
        inputs.map(|(name, id)| Array::new(name, g.dtype(*id), numel(g.shape(*id)))).collect()
    }

    fn begin(&self, g: &mut Graph, lambda: NodeId, given: NodeId) -> NodeId {
        match self.shared {
            Shared::Representation => given,
            Shared::Start => {
                let start = g.segment(lambda, 2, self.common);
                g.concat(&vec![start; self.tasks])
            }
        }
    }

    fn step(&self, g: &mut Graph, at: &At) -> Step {
        let sets = self.sets(g, 0);
        let strength = g.segment(at.lambda, 1, 1);
        let strength = g.scalar(Scalar::Exp, &[strength]);
        let strength = g.reshape(strength, &[]);
        let mut losses = vec![];
        for task in 0..self.tasks {
            let theta = self.parameters(g, at.state, at.lambda, task);
            let mut loss = self.task_loss(g, theta, sets, task, 0);
            // What a task does not train has no penalty.
            let trained = self.model.parameter_count() - self.own();
            for kernel in self.model.parameters().iter().filter(|p| p.is_kernel() && p.offset >= trained) {
                let kernel = g.segment(theta, kernel.offset, kernel.len());
                let square = g.mul(kernel, kernel);
                let sum = g.sum_all(square);
                let half = g.scale(sum, 0.5);
                let penalty = g.mul(strength, half);
                loss = g.add(loss, penalty);
            }
            losses.push(loss);
        }
        // A task's loss depends on its own parameters alone, so the gradient of the sum holds that of each.
        let total = losses.into_iter().reduce(|a, b| g.add(a, b)).expect("there is a task");
        let gradient = grad(g, total, &[at.state])[0];
        let rate = g.segment(at.lambda, 0, 1);
        let rate = g.scalar(Scalar::Exp, &[rate]);
        let change = g.mul(rate, gradient);
        let state = g.sub(at.state, change);
        let total = g.reshape(total, &[1]);
        Step { state, records: vec![(LOSSES, total)] }
    }

    fn outer(&self, g: &mut Graph, state: NodeId, lambda: NodeId, _chunk: NodeId) -> NodeId {
        let sets = self.sets(g, 1);
        let losses = (0..self.tasks).map(|task| {
            let theta = self.parameters(g, state, lambda, task);
            let loss = self.task_loss(g, theta, sets, task, 1);
            let weight = g.segment(lambda, self.task_weights() + task, 1);
            let weight = g.reshape(weight, &[]);
            g.mul(weight, loss)
        });
        let losses: Vec<NodeId> = losses.collect();
        losses.into_iter().reduce(|a, b| g.add(a, b)).expect("there is a task")
    }
}

fn layers(case: &Case, key: &str) -> Result<Vec<Layer>, CaseError> {
    serde_json::from_value(case.meta[key].clone()).map_err(|e| case.inconsistent(format!("`{key}`: {e}")))
}

fn tasks(case: &Case) -> Result<Tasks, RunError> {
    let shared = match case.meta["mode"].as_str().unwrap_or_default() {
        "representation" => Shared::Representation,
        "init" => Shared::Start,
        other => return Err(case.inconsistent(format!("unknown mode `{other}` of meta-learning")).into()),
    };
    let tasks = size(case, "tasks")?;
    let [x, query] = [case.input("x")?, case.input("xq")?];
    if tasks == 0 || x.shape.len() < 3 || query.shape.len() < 3 || [x.shape[0], query.shape[0]] != [tasks; 2] {
        return Err(case.inconsistent("`in.x` and `in.xq` must have examples for each of `tasks`".to_owned()).into());
    }
    let loss = Loss::from_case(case.meta["loss"].as_str().unwrap_or_default())
        .ok_or_else(|| case.inconsistent(format!("unknown loss {}", case.meta["loss"])))?;
    let build = |layers: Vec<Layer>| Model::new(layers, &x.shape[2..]).map_err(|e| case.inconsistent(e.to_string()));
    let (body, head) = (layers(case, "body")?, layers(case, "head")?);
    let common = build(body.clone())?.parameter_count();
    let model = build(body.into_iter().chain(head).collect())?;
    let common = if shared == Shared::Start { model.parameter_count() } else { common };
    let examples = [x.shape[1], query.shape[1]];
    Ok(Tasks { model, loss, shared, tasks, examples, steps: size(case, "T")?, common })
}

pub(super) async fn run(case: &Case, device: &Device, memory: Memory) -> Result<Outputs, RunError> {
    let inner = tasks(case)?;
    let mut lambda = [case.input("log_lr")?.data.clone(), case.input("l2_log")?.data.clone()].concat();
    let parameters: Vec<_> = inner.model.parameters().iter().filter(|p| p.offset < inner.common).cloned().collect();
    for p in &parameters {
        lambda.extend(&case.input(&format!("w.{}", p.name))?.data);
    }
    lambda.extend(vec![1.0 / inner.tasks as f64; inner.tasks]);
    let along = Directions::arrays(&inner);
    let mut session = Session::open(device, inner, Reverse { memory }).await?;
    for name in NAMES.concat() {
        let data = &case.input(name)?.data;
        let words: Vec<u32> = data.iter().map(|&label| label as u32).collect();
        let labels = name.starts_with('y') && session.inner().loss.takes_labels();
        session.fill(name, if labels { Values::U32(&words) } else { Values::F64(data) })?;
    }
    let estimate = session.estimate(&lambda, &along, &mut Unattended).await?;
    let ends = session.final_weights().await?;
    let inner = session.inner();
    let mut outputs = Outputs::from([("val_loss".to_owned(), vec![estimate.outer_loss])]);
    if !estimate.hypergradient.is_empty() {
        let derivatives = &estimate.hypergradient;
        outputs.insert("d_log_lr".to_owned(), vec![derivatives[0]]);
        outputs.insert("d_l2_log".to_owned(), vec![derivatives[1]]);
        outputs.insert("task_val_loss".to_owned(), derivatives[inner.task_weights()..].to_vec());
        for p in &parameters {
            outputs.insert(format!("d_w.{}", p.name), derivatives[2 + p.offset..2 + p.offset + p.len()].to_vec());
        }
    }
    if inner.shared == Shared::Representation {
        for p in inner.model.parameters().iter().filter(|p| p.offset >= inner.common) {
            let at = p.offset - inner.common;
            let of_task = ends.chunks(inner.own()).flat_map(|head| head[at..at + p.len()].iter().copied());
            outputs.insert(p.name.replacen('.', "_final.", 1), of_task.collect());
        }
    }
    Ok(outputs)
}
