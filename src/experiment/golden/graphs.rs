//! Graphs of the cases that are single functions: `op` and `loss_grad_hvp`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Array, Case, CaseError};
use crate::autodiff::{grad, jvp, vjp};
use crate::bilevel::{Loss, ParameterMap, TrainingLoss};
use crate::ir::{DType, Graph, NodeId, Scalar};
use crate::nn::{Model, Padding, functions as f};

/// A case as one graph: its inputs' values in order, and its outputs by the names of `case.json`.
pub struct CaseGraph {
    pub graph: Graph,
    pub inputs: Vec<Array>,
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

    fn input(&mut self, name: &str) -> Result<NodeId, CaseError> {
        if let Some(&id) = self.nodes.get(name) {
            return Ok(id);
        }
        let array = self.case.input(name)?;
        // A scalar may be stored with shape [1].
        let declared = self.case.meta["inputs"][name]["shape"].as_array();
        let shape = match declared {
            Some(axes) if axes.is_empty() => vec![],
            _ => array.shape.clone(),
        };
        let id = self.graph.input(name, &shape, array.dtype);
        self.inputs.push(array.clone());
        self.nodes.insert(name.to_owned(), id);
        Ok(id)
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
    let ct = {
        let shape = b.graph.shape(y).to_vec();
        b.graph.reshape(ct, &shape)
    };
    let tangents: Vec<NodeId> = names.iter().map(|n| b.input(&format!("t.{n}"))).collect::<Result<_, _>>()?;
    let seeds: Vec<(NodeId, NodeId)> = inputs.iter().copied().zip(tangents).collect();
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
    let rank = |b: &mut Builder| -> Result<usize, CaseError> {
        let x = b.input("x")?;
        Ok(b.graph.shape(x).len())
    };
    match op.as_str() {
        "add" | "sub" | "mul" | "div" => {
            let (x, y) = (b.input("a")?, b.input("b")?);
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
            let transpose = [attrs.value("trans_a")?, attrs.value("trans_b")?];
            Ok(f::matmul(&mut b.graph, x, y, transpose))
        }
        "conv1d" => {
            let (x, w) = (b.input("x")?, b.input("w")?);
            let stride: usize = attrs.value("stride")?;
            let padding: Padding = attrs.value("padding")?;
            let pads = padding.resolve(b.graph.shape(x)[1], b.graph.shape(w)[0], stride);
            Ok(f::conv1d(&mut b.graph, x, w, stride, pads))
        }
        "conv2d" => {
            let (x, w) = (b.input("x")?, b.input("w")?);
            let stride: [usize; 2] = attrs.value("stride")?;
            let padding: [Padding; 2] = attrs.value("padding")?;
            let pads = [0, 1].map(|a| padding[a].resolve(b.graph.shape(x)[1 + a], b.graph.shape(w)[a], stride[a]));
            Ok(f::conv2d(&mut b.graph, x, w, stride, pads))
        }
        "maxpool1d" | "avgpool1d" => {
            let x = b.input("x")?;
            let (window, stride) = ([attrs.value("window")?], [attrs.value("stride")?]);
            let pool = if op == "maxpool1d" { f::max_pool } else { f::average_pool };
            Ok(pool(&mut b.graph, x, &window, &stride))
        }
        "maxpool2d" | "avgpool2d" => {
            let x = b.input("x")?;
            let (window, stride): ([usize; 2], [usize; 2]) = (attrs.value("window")?, attrs.value("stride")?);
            let pool = if op == "maxpool2d" { f::max_pool } else { f::average_pool };
            Ok(pool(&mut b.graph, x, &window, &stride))
        }
        "logsumexp" | "log_softmax" | "softmax" => {
            let x = b.input("x")?;
            let axis = axis_of(attrs.value("axis")?, rank(b)?);
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
            let (logits, labels) = (b.input("logits")?, b.input("labels")?);
            let mut each = f::cross_entropy_each(&mut b.graph, logits, labels);
            if b.case.inputs.contains_key("weights") {
                let weights = b.input("weights")?;
                each = b.graph.mul(each, weights);
            }
            Ok(mean(&mut b.graph, each))
        }
        "mse" => {
            let (pred, target) = (b.input("pred")?, b.input("target")?);
            let each = f::mse_each(&mut b.graph, pred, target);
            Ok(mean(&mut b.graph, each))
        }
        "sum" | "mean" => {
            let x = b.input("x")?;
            let axes: Option<Vec<i64>> = attrs.value("axes")?;
            let keep: bool = attrs.value("keepdims")?;
            let rank = rank(b)?;
            let axes: Vec<usize> = match axes {
                Some(axes) => axes.into_iter().map(|a| axis_of(a, rank)).collect(),
                None => (0..rank).collect(),
            };
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
            let axis = axis_of(attrs.value("axis")?, rank(b)?);
            let mut shape = b.graph.shape(x).to_vec();
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
            Ok(b.graph.reshape(x, &shape))
        }
        "transpose" => {
            let x = b.input("x")?;
            let perm: Vec<usize> = attrs.value("perm")?;
            Ok(b.graph.permute(x, &perm))
        }
        "slice" => {
            let x = b.input("x")?;
            let (start, stop, step): (Vec<usize>, Vec<usize>, Vec<usize>) =
                (attrs.value("start")?, attrs.value("stop")?, attrs.value("step")?);
            let shape: Vec<usize> = (0..start.len()).map(|a| (stop[a] - start[a]).div_ceil(step[a])).collect();
            Ok(b.graph.slice(x, &start, &shape, &step))
        }
        "gather_rows" => {
            let (x, index) = (b.input("x")?, b.input("index")?);
            Ok(b.graph.take_rows(x, index))
        }
        "gather_per_row" => {
            let (x, index) = (b.input("x")?, b.input("index")?);
            Ok(b.graph.pick(x, index, 1))
        }
        "concat" => {
            let parts = [b.input("a")?, b.input("b")?];
            let axis = axis_of(attrs.value("axis")?, b.graph.shape(parts[0]).len());
            Ok(concat(&mut b.graph, &parts, axis))
        }
        "pad" => {
            let x = b.input("x")?;
            let pads: Vec<[usize; 2]> = attrs.value("pads")?;
            let from = b.graph.shape(x).to_vec();
            let shape: Vec<usize> = from.iter().zip(&pads).map(|(n, p)| n + p[0] + p[1]).collect();
            let start: Vec<usize> = pads.iter().map(|p| p[0]).collect();
            Ok(b.graph.pad(x, &start, &shape, &vec![1; from.len()]))
        }
        "layernorm" | "batchnorm_train" => {
            let (x, gamma, beta) = (b.input("x")?, b.input("gamma")?, b.input("beta")?);
            let last = rank(b)? - 1;
            let axes = if op == "layernorm" { vec![last] } else { (0..last).collect() };
            Ok(f::normalize(&mut b.graph, x, gamma, beta, &axes, attrs.value("eps")?))
        }
        "dropout" => {
            let (x, mask) = (b.input("x")?, b.input("mask")?);
            Ok(f::dropout(&mut b.graph, x, mask, attrs.value("rate")?))
        }
        _ => Err(b.case.inconsistent(format!("op `{op}` is not known"))),
    }
}

/// An axis, counted from the end where negative.
fn axis_of(axis: i64, rank: usize) -> usize {
    if axis < 0 { (rank as i64 + axis) as usize } else { axis as usize }
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
    let y = b.input("y")?;
    let model = Model::new(case.layers()?, &b.graph.shape(x)[1..]).map_err(|e| case.inconsistent(e.to_string()))?;
    let loss = Loss::from_case(case.meta["loss"].as_str().unwrap_or_default())
        .ok_or_else(|| case.inconsistent(format!("unknown loss {}", case.meta["loss"])))?;
    let mut optional = |name: &str| case.inputs.contains_key(name).then(|| b.input(name)).transpose();
    let (mask, l2_log, weights) = (optional("mask")?, optional("l2_log")?, optional("ex_w")?);
    let mut vector = |prefix: &str| -> Result<NodeId, CaseError> {
        let parts: Vec<NodeId> = model
            .parameters()
            .iter()
            .map(|p| {
                let part = b.input(&format!("{prefix}.{}", p.name))?;
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
    let output = model.apply(g, theta, x, mask);
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
