//! Graphs of the cases that are single functions: `op` and `loss_grad_hvp`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Array, Case, CaseError};
use crate::autodiff::{grad, jvp, vjp};
use crate::bilevel::{Loss, ParameterMap, TrainingLoss};
use crate::ir::{DType, Graph, NodeId, Scalar, numel};
use crate::nn::reading::Training;
use crate::nn::{Model, Padding, functions as f};

/// A case as one graph: its inputs' values in order, and its outputs by the names of `case.json`.
pub struct CaseGraph {
    /// The function.
    pub graph: Graph,
    /// Values of the inputs.
    pub inputs: Vec<Array>,
    /// What to compare.
    pub outputs: Vec<(String, NodeId)>,
}

/// The graph of a case, or `None` for a kind that is no single function.
pub fn case_graph(case: &Case) -> Result<Option<CaseGraph>, CaseError> {
    match case.kind.as_str() {
        "op" => op_case(case).map(Some),
        "loss_grad_hvp" => model_case(case).map(Some),
        _ => Ok(None),
    }
}

/// Inputs are made on demand and remembered by name.
struct Builder<'a> {
    case: &'a Case,
    graph: Graph,
    inputs: Vec<Array>,
    nodes: BTreeMap<String, NodeId>,
}

impl<'a> Builder<'a> {
    fn new(case: &'a Case) -> Self {
        Builder { case, graph: Graph::new(), inputs: vec![], nodes: BTreeMap::new() }
    }

    /// An input of floats.
    fn input(&mut self, name: &str) -> Result<NodeId, CaseError> {
        self.array(name, DType::F32)
    }

    /// An input of words, each below `limit`.
    fn words(&mut self, name: &str, limit: usize) -> Result<NodeId, CaseError> {
        let id = self.array(name, DType::U32)?;
        match self.case.input(name)?.data.iter().find(|&&word| word >= limit as f64) {
            Some(word) => Err(self.case.inconsistent(format!("`in.{name}` holds {word}, but must stay below {limit}"))),
            None => Ok(id),
        }
    }

    fn array(&mut self, name: &str, dtype: DType) -> Result<NodeId, CaseError> {
        if let Some(&id) = self.nodes.get(name) {
            return Ok(id);
        }
        let array = self.case.input(name)?;
        if array.dtype != dtype {
            let kind = if dtype == DType::F32 { "floats" } else { "whole numbers" };
            return Err(self.case.inconsistent(format!("`in.{name}` must hold {kind}")));
        }
        if array.data.is_empty() {
            return Err(self.case.inconsistent(format!("`in.{name}` is empty")));
        }
        // A scalar may be stored with shape [1].
        let declared = self.case.meta["inputs"][name]["shape"].as_array();
        let shape = match declared {
            Some(axes) if axes.is_empty() => vec![],
            _ => array.shape.clone(),
        };
        if array.data.len() != numel(&shape) {
            let problem = format!("`in.{name}` has {} values, its shape {shape:?}", array.data.len());
            return Err(self.case.inconsistent(problem));
        }
        let id = self.graph.input(name, &shape, array.dtype);
        self.inputs.push(array.clone());
        self.nodes.insert(name.to_owned(), id);
        Ok(id)
    }

    fn shape(&self, id: NodeId) -> &[usize] {
        self.graph.shape(id)
    }

    /// Refuses inputs that a graph would not take, before it is asked to.
    fn require(&self, holds: bool) -> Result<(), CaseError> {
        if holds { Ok(()) } else { Err(self.misfit()) }
    }

    fn misfit(&self) -> CaseError {
        let shapes = self.nodes.iter().map(|(name, &id)| format!("`in.{name}` {:?}", self.shape(id)));
        let shapes = shapes.collect::<Vec<_>>().join(", ");
        let (op, attrs) = (&self.case.meta["op"], &self.case.meta["attrs"]);
        let what = if op.is_null() { "the model".to_owned() } else { format!("op {op} with attributes {attrs}") };
        self.case.inconsistent(format!("{what} cannot take inputs of these shapes: {shapes}"))
    }

    /// An axis of an array, counted from the end where negative.
    fn axis(&self, x: NodeId, axis: i64) -> Result<usize, CaseError> {
        let rank = self.shape(x).len() as i64;
        self.require((-rank..rank).contains(&axis))?;
        Ok(axis.rem_euclid(rank) as usize)
    }

    fn finish(self, mut outputs: Vec<(String, NodeId)>) -> CaseGraph {
        outputs.retain(|(name, _)| self.case.outputs.contains_key(name));
        CaseGraph { graph: self.graph, inputs: self.inputs, outputs }
    }
}

fn zeros_like(g: &mut Graph, id: NodeId) -> NodeId {
    let shape = g.shape(id).to_vec();
    g.full(&shape, 0.0)
}

/// The jvp of one node, zero where it does not move.
fn push_forward(g: &mut Graph, output: NodeId, seeds: &[(NodeId, NodeId)]) -> NodeId {
    jvp(g, &[output], seeds)[0].unwrap_or_else(|| zeros_like(g, output))
}

fn op_case(case: &Case) -> Result<CaseGraph, CaseError> {
    let mut b = Builder::new(case);
    let names = strings(&case.meta["differentiable_inputs"]);
    let inputs: Vec<NodeId> = names.iter().map(|n| b.input(n)).collect::<Result<_, _>>()?;
    let y = apply_op(&mut b)?;
    let ct = b.input("ct")?;
    let shape = b.shape(y).to_vec();
    b.require(numel(b.shape(ct)) == numel(&shape))?;
    let ct = b.graph.reshape(ct, &shape);
    let tangents: Vec<NodeId> = names.iter().map(|n| b.input(&format!("t.{n}"))).collect::<Result<_, _>>()?;
    let seeds: Vec<(NodeId, NodeId)> = inputs.iter().copied().zip(tangents).collect();
    b.require(seeds.iter().all(|&(x, t)| b.shape(x) == b.shape(t)))?;
    let g = &mut b.graph;
    let mut outputs = vec![("y".to_owned(), y), ("jvp".to_owned(), push_forward(g, y, &seeds))];
    let pulled = vjp(g, &[y], &[ct], &inputs);
    let weighted = g.mul(ct, y);
    let squared = vjp(g, &[y], &[weighted], &inputs);
    for (k, name) in names.iter().enumerate() {
        outputs.push((format!("vjp.{name}"), pulled[k]));
        outputs.push((format!("hvp.{name}"), push_forward(g, pulled[k], &seeds)));
        outputs.push((format!("sq_grad.{name}"), squared[k]));
        outputs.push((format!("sq_hvp.{name}"), push_forward(g, squared[k], &seeds)));
    }
    Ok(b.finish(outputs))
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// Attributes of an op, with errors that name the case.
struct Attrs<'a>(&'a Case);

impl Attrs<'_> {
    fn value<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T, CaseError> {
        let value = self.0.meta["attrs"][key].clone();
        serde_json::from_value(value).map_err(|e| self.0.inconsistent(format!("attribute `{key}`: {e}")))
    }
}

fn apply_op(b: &mut Builder) -> Result<NodeId, CaseError> {
    let attrs = Attrs(b.case);
    let op = b.case.meta["op"].as_str().unwrap_or_default().to_owned();
    let unary = |op: &str| {
        Some(match op {
            "relu" => Scalar::Relu,
            "softplus" => Scalar::Softplus,
            "tanh" => Scalar::Tanh,
            "sigmoid" => Scalar::Sigmoid,
            "exp" => Scalar::Exp,
            "log" => Scalar::Log,
            "sqrt" => Scalar::Sqrt,
            _ => return None,
        })
    };
    if let Some(scalar) = unary(&op) {
        let x = b.input("x")?;
        return Ok(b.graph.scalar(scalar, &[x]));
    }
    match op.as_str() {
        "add" | "sub" | "mul" | "div" => {
            let (x, y) = (b.input("a")?, b.input("b")?);
            b.require(broadcast(b.shape(x), b.shape(y)).is_some())?;
            let g = &mut b.graph;
            Ok(match op.as_str() {
                "add" => g.add(x, y),
                "sub" => g.sub(x, y),
                "mul" => g.mul(x, y),
                _ => g.div(x, y),
            })
        }
        "matmul" => {
            let (x, y) = (b.input("a")?, b.input("b")?);
            let transpose: [bool; 2] = [attrs.value("trans_a")?, attrs.value("trans_b")?];
            b.require(match (b.shape(x), b.shape(y)) {
                (&[m, k], &[l, n]) => (if transpose[0] { m } else { k }) == (if transpose[1] { n } else { l }),
                _ => false,
            })?;
            Ok(f::matmul(&mut b.graph, x, y, transpose))
        }
        "conv1d" => {
            let (x, w) = (b.input("x")?, b.input("w")?);
            let stride: usize = attrs.value("stride")?;
            let padding: Padding = attrs.value("padding")?;
            b.require(match (b.shape(x), b.shape(w)) {
                (&[_, n, from], &[k, cin, _]) => from == cin && padding.output(n, k, stride).is_ok(),
                _ => false,
            })?;
            let pads = padding.resolve(b.shape(x)[1], b.shape(w)[0], stride);
            Ok(f::conv1d(&mut b.graph, x, w, stride, pads))
        }
        "conv2d" => {
            let (x, w) = (b.input("x")?, b.input("w")?);
            let stride: [usize; 2] = attrs.value("stride")?;
            let padding: [Padding; 2] = attrs.value("padding")?;
            b.require(match (b.shape(x), b.shape(w)) {
                (&[_, height, width, from], &[kh, kw, cin, _]) => {
                    let fits = |axis: usize, n, k| padding[axis].output(n, k, stride[axis]).is_ok();
                    from == cin && fits(0, height, kh) && fits(1, width, kw)
                }
                _ => false,
            })?;
            let pads = [0, 1].map(|a| padding[a].resolve(b.shape(x)[1 + a], b.shape(w)[a], stride[a]));
            Ok(f::conv2d(&mut b.graph, x, w, stride, pads))
        }
        "maxpool1d" | "avgpool1d" => {
            let x = b.input("x")?;
            let (window, stride) = ([attrs.value("window")?], [attrs.value("stride")?]);
            b.require(pools(b.shape(x), &window, &stride))?;
            let pool = if op == "maxpool1d" { f::max_pool } else { f::average_pool };
            Ok(pool(&mut b.graph, x, &window, &stride))
        }
        "maxpool2d" | "avgpool2d" => {
            let x = b.input("x")?;
            let (window, stride): ([usize; 2], [usize; 2]) = (attrs.value("window")?, attrs.value("stride")?);
            b.require(pools(b.shape(x), &window, &stride))?;
            let pool = if op == "maxpool2d" { f::max_pool } else { f::average_pool };
            Ok(pool(&mut b.graph, x, &window, &stride))
        }
        "logsumexp" | "log_softmax" | "softmax" => {
            let x = b.input("x")?;
            let axis = b.axis(x, attrs.value("axis")?)?;
            let g = &mut b.graph;
            Ok(match op.as_str() {
                "logsumexp" => f::log_sum_exp(g, x, axis),
                "log_softmax" => f::log_softmax(g, x, axis),
                _ => {
                    let log = f::log_softmax(g, x, axis);
                    g.scalar(Scalar::Exp, &[log])
                }
            })
        }
        "cross_entropy" => {
            let logits = b.input("logits")?;
            b.require(b.shape(logits).len() == 2)?;
            let [rows, classes] = [0, 1].map(|axis| b.shape(logits)[axis]);
            let labels = b.words("labels", classes)?;
            b.require(b.shape(labels) == [rows])?;
            let mut each = f::cross_entropy_each(&mut b.graph, logits, labels);
            if b.case.inputs.contains_key("weights") {
                let weights = b.input("weights")?;
                b.require(b.shape(weights) == [rows])?;
                each = b.graph.mul(each, weights);
            }
            Ok(mean(&mut b.graph, each))
        }
        "mse" => {
            let (pred, target) = (b.input("pred")?, b.input("target")?);
            b.require(b.shape(pred) == b.shape(target) && !b.shape(pred).is_empty())?;
            let each = f::mse_each(&mut b.graph, pred, target);
            Ok(mean(&mut b.graph, each))
        }
        "sum" | "mean" => {
            let x = b.input("x")?;
            let axes: Option<Vec<i64>> = attrs.value("axes")?;
            let keep: bool = attrs.value("keepdims")?;
            let rank = b.shape(x).len();
            let axes: Vec<usize> = match axes {
                Some(axes) => axes.into_iter().map(|axis| b.axis(x, axis)).collect::<Result<_, _>>()?,
                None => (0..rank).collect(),
            };
            b.require((1..axes.len()).all(|k| !axes[..k].contains(&axes[k])))?;
            let g = &mut b.graph;
            let from = g.shape(x).to_vec();
            let mut y = g.sum(x, &axes);
            if op == "mean" {
                y = g.scale(y, 1.0 / axes.iter().map(|&a| from[a]).product::<usize>() as f64);
            }
            if keep {
                let shape: Vec<usize> = (0..rank).map(|a| if axes.contains(&a) { 1 } else { from[a] }).collect();
                y = g.reshape(y, &shape);
            }
            Ok(y)
        }
        "max" => {
            let x = b.input("x")?;
            let axis = b.axis(x, attrs.value("axis")?)?;
            let mut shape = b.shape(x).to_vec();
            let y = b.graph.max(x, axis);
            if attrs.value("keepdims")? {
                shape[axis] = 1;
                return Ok(b.graph.reshape(y, &shape));
            }
            Ok(y)
        }
        "reshape" => {
            let x = b.input("x")?;
            let shape: Vec<usize> = attrs.value("shape")?;
            let count = shape.iter().try_fold(1usize, |count, &n| count.checked_mul(n));
            b.require(count == Some(numel(b.shape(x))))?;
            Ok(b.graph.reshape(x, &shape))
        }
        "transpose" => {
            let x = b.input("x")?;
            let perm: Vec<usize> = attrs.value("perm")?;
            let rank = b.shape(x).len();
            b.require(perm.len() == rank && (0..rank).all(|axis| perm.contains(&axis)))?;
            Ok(b.graph.permute(x, &perm))
        }
        "slice" => {
            let x = b.input("x")?;
            let (start, stop, step): (Vec<usize>, Vec<usize>, Vec<usize>) =
                (attrs.value("start")?, attrs.value("stop")?, attrs.value("step")?);
            let from = b.shape(x);
            b.require([&start, &stop, &step].iter().all(|list| list.len() == from.len()))?;
            b.require((0..from.len()).all(|a| start[a] < stop[a] && stop[a] <= from[a] && step[a] > 0))?;
            let shape: Vec<usize> = (0..start.len()).map(|a| (stop[a] - start[a]).div_ceil(step[a])).collect();
            Ok(b.graph.slice(x, &start, &shape, &step))
        }
        "gather_rows" => {
            let x = b.input("x")?;
            b.require(!b.shape(x).is_empty())?;
            let index = b.words("index", b.shape(x)[0])?;
            b.require(b.shape(index).len() == 1)?;
            Ok(b.graph.take_rows(x, index))
        }
        "gather_per_row" => {
            let x = b.input("x")?;
            b.require(b.shape(x).len() == 2)?;
            let index = b.words("index", b.shape(x)[1])?;
            b.require(b.shape(index) == [b.shape(x)[0]])?;
            Ok(b.graph.pick(x, index, 1))
        }
        "concat" => {
            let parts = [b.input("a")?, b.input("b")?];
            let axis = b.axis(parts[0], attrs.value("axis")?)?;
            let [first, second] = parts.map(|part| b.shape(part));
            let same = |a: usize| a == axis || first[a] == second[a];
            b.require(first.len() == second.len() && (0..first.len()).all(same))?;
            Ok(concat(&mut b.graph, &parts, axis))
        }
        "pad" => {
            let x = b.input("x")?;
            let pads: Vec<[usize; 2]> = attrs.value("pads")?;
            let from = b.shape(x).to_vec();
            // A million zeros on either side are more than any case has.
            b.require(pads.len() == from.len() && pads.iter().flatten().all(|&pad| pad < 1_000_000))?;
            let shape: Vec<usize> = from.iter().zip(&pads).map(|(n, p)| n + p[0] + p[1]).collect();
            let start: Vec<usize> = pads.iter().map(|p| p[0]).collect();
            Ok(b.graph.pad(x, &start, &shape, &vec![1; from.len()]))
        }
        "layernorm" | "batchnorm_train" => {
            let (x, gamma, beta) = (b.input("x")?, b.input("gamma")?, b.input("beta")?);
            let &[.., features] = b.shape(x) else { return Err(b.misfit()) };
            let last = b.shape(x).len() - 1;
            b.require([gamma, beta].iter().all(|&array| b.shape(array) == [features]))?;
            let axes = if op == "layernorm" { vec![last] } else { (0..last).collect() };
            Ok(f::normalize(&mut b.graph, x, gamma, beta, &axes, attrs.value("eps")?))
        }
        "dropout" => {
            let (x, mask) = (b.input("x")?, b.input("mask")?);
            b.require(b.shape(x) == b.shape(mask))?;
            let factor = f::dropout_factor(&mut b.graph, mask, attrs.value("rate")?);
            Ok(b.graph.mul(x, factor))
        }
        _ => Err(b.case.inconsistent(format!("op `{op}` is not known"))),
    }
}

/// The shape that two arrays stretch to, if there is one.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |k| shape[k]);
    let stretched = |axis| match (size(a, axis), size(b, axis)) {
        (m, n) if m == n || n == 1 => Some(m),
        (1, n) => Some(n),
        _ => None,
    };
    (0..rank).map(stretched).collect()
}

/// Whether pooling windows fit an array `[n, spatial…, channels]`.
fn pools(shape: &[usize], window: &[usize], stride: &[usize]) -> bool {
    let spatial = |k: usize| window[k] > 0 && window[k] <= shape[k + 1] && stride[k] > 0;
    shape.len() == window.len() + 2 && (0..window.len()).all(spatial)
}

fn mean(g: &mut Graph, x: NodeId) -> NodeId {
    let count = g.shape(x).iter().product::<usize>() as f64;
    let sum = g.sum_all(x);
    g.scale(sum, 1.0 / count)
}

/// Arrays end to end along an axis: each padded to its place, then added.
fn concat(g: &mut Graph, parts: &[NodeId], axis: usize) -> NodeId {
    let mut shape = g.shape(parts[0]).to_vec();
    shape[axis] = parts.iter().map(|&p| g.shape(p)[axis]).sum();
    let mut start = vec![0; shape.len()];
    let placed: Vec<NodeId> = parts
        .iter()
        .map(|&part| {
            let placed = g.pad(part, &start, &shape, &vec![1; shape.len()]);
            start[axis] += g.shape(part)[axis];
            placed
        })
        .collect();
    placed.into_iter().reduce(|a, b| g.add(a, b)).expect("concat of at least one array")
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
    let map = ParameterMap::input(&mut b.graph, &model);
    for words in ParameterMap::values(&model) {
        let data = words.into_iter().map(f64::from).collect();
        b.inputs.push(Array { shape: vec![model.parameter_count()], dtype: DType::U32, data });
    }
    let g = &mut b.graph;
    let factors = masks.iter().zip(model.places());
    let factors = factors.map(|(mask, place)| mask.map(|mask| f::dropout_factor(g, mask, place.rate))).collect();
    let output = model.apply(g, x, &mut Training::new(theta, None, factors));
    let training = TrainingLoss { model: &model, map, loss, l2_log, weights };
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
