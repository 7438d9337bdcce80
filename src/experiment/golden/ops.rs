//! Graphs of the cases that are single operations.

use serde_json::Value;

use super::builder::{Builder, CaseGraph, push_forward};
use super::{Case, CaseError};
use crate::autodiff::vjp;
use crate::ir::{Graph, NodeId, Scalar, numel};
use crate::nn::{Padding, functions as f};

/// A function of arrays with its derivatives of both orders.
pub fn op_case(case: &Case) -> Result<CaseGraph, CaseError> {
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
            Ok(f::conv1d(&mut b.graph, x, w, f::Along { stride, pads, dilation: 1, groups: 1 }))
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
