//! Values.

use crate::ir::{ConvFace, ConvGeometry, Graph, Node, NodeId, Op, Run, numel, strides};

/// Values of `outputs` given the inputs in order, each row-major; words are exact integers.
///
/// Panics if an input is missing or has another length than the graph says: tests and the compiler
/// feed it, users never do.
pub fn eval(graph: &Graph, outputs: &[NodeId], inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let live = graph.live(outputs);
    let mut values: Vec<Vec<f64>> = Vec::with_capacity(graph.nodes().len());
    for (position, node) in graph.nodes().iter().enumerate() {
        let args: Vec<&[f64]> = node.args.iter().map(|a| &values[a.index()][..]).collect();
        let value = if live[position] { apply(graph, node, &args, inputs) } else { Vec::new() };
        debug_assert!(!live[position] || value.len() == numel(&node.shape), "{node:?}");
        values.push(value);
    }
    outputs.iter().map(|id| values[id.index()].clone()).collect()
}

/// A node's primitive applied to `args`, which have the shapes of the node's arguments but may be
/// other values: the error bounds run it on magnitudes.
pub(super) fn apply(graph: &Graph, node: &Node, args: &[&[f64]], inputs: &[Vec<f64>]) -> Vec<f64> {
    let arg = |k: usize| args[k];
    let arg_shape = |k: usize| graph.shape(node.args[k]);
    let count = numel(&node.shape);
    match &node.op {
        Op::Input(position) => {
            assert_eq!(inputs[*position].len(), count, "input {}", graph.inputs()[*position].0);
            inputs[*position].clone()
        }
        Op::Const(bits) => vec![f64::from_bits(*bits); count],
        Op::ConstU(word) => vec![f64::from(*word); count],
        Op::Iota { axis } => {
            let stride = strides(&node.shape)[*axis];
            (0..count).map(|i| (i / stride % node.shape[*axis]) as f64).collect()
        }
        Op::Hole(_) => unreachable!("a tangent placeholder survived transposition"),
        Op::Scalar(f) => {
            let mut x = vec![0.0; node.args.len()];
            (0..count)
                .map(|i| {
                    x.iter_mut().enumerate().for_each(|(k, x)| *x = arg(k)[i]);
                    f.eval(&x)
                })
                .collect()
        }
        Op::Broadcast { axes } => {
            let from = strides(arg_shape(0));
            let step = |axis: usize| {
                axes.iter().position(|&a| a == axis).map_or(0, |k| if arg_shape(0)[k] == 1 { 0 } else { from[k] })
            };
            gather(arg(0), &node.shape, 0, &(0..node.shape.len()).map(step).collect::<Vec<_>>())
        }
        Op::Sum { axes } => {
            let from = arg_shape(0);
            let kept: Vec<usize> = (0..from.len()).filter(|a| !axes.contains(a)).collect();
            let to = strides(&node.shape);
            let mut out = vec![0.0; count];
            for (i, x) in arg(0).iter().enumerate() {
                let coords = unravel(i, from);
                let o: usize = kept.iter().zip(&to).map(|(&axis, stride)| coords[axis] * stride).sum();
                out[o] += x;
            }
            out
        }
        Op::Reshape | Op::StopGradient => arg(0).to_vec(),
        Op::Permute { perm } => {
            let from = strides(arg_shape(0));
            gather(arg(0), &node.shape, 0, &perm.iter().map(|&p| from[p]).collect::<Vec<_>>())
        }
        Op::Slice { start, step } => {
            let from = strides(arg_shape(0));
            let first = start.iter().zip(&from).map(|(s, stride)| s * stride).sum();
            let steps: Vec<usize> = step.iter().zip(&from).map(|(s, stride)| s * stride).collect();
            gather(arg(0), &node.shape, first, &steps)
        }
        Op::Pad { start, step } => {
            let to = strides(&node.shape);
            let mut out = vec![0.0; count];
            for (i, &x) in arg(0).iter().enumerate() {
                let coords = unravel(i, arg_shape(0));
                let o: usize = (0..coords.len()).map(|a| (start[a] + coords[a] * step[a]) * to[a]).sum();
                out[o] = x;
            }
            out
        }
        Op::Repeat { runs } => {
            let filled = |run: &Run| vec![run.value.map_or(0.0, |value| arg(0)[value]); run.length];
            runs.iter().flat_map(filled).collect()
        }
        Op::SegmentSum { runs } => {
            let (mut out, mut rest) = (vec![0.0; count], arg(0));
            for run in runs {
                let (elements, after) = rest.split_at(run.length);
                rest = after;
                if let Some(value) = run.value {
                    out[value] += elements.iter().sum::<f64>();
                }
            }
            out
        }
        Op::Concat => args.concat(),
        Op::MatMul { transpose } => {
            let (groups, m, n) = (node.shape[0], node.shape[1], node.shape[2]);
            let k = if transpose[0] { arg_shape(0)[1] } else { arg_shape(0)[2] };
            let a = |g: usize, i: usize, l: usize| {
                arg(0)[if transpose[0] { (g * k + l) * m + i } else { (g * m + i) * k + l }]
            };
            let b = |g: usize, l: usize, j: usize| {
                arg(1)[if transpose[1] { (g * n + j) * k + l } else { (g * k + l) * n + j }]
            };
            let mut out = Vec::with_capacity(count);
            for g in 0..groups {
                for i in 0..m {
                    for j in 0..n {
                        out.push((0..k).map(|l| a(g, i, l) * b(g, l, j)).sum());
                    }
                }
            }
            out
        }
        Op::Conv { face, geometry } => {
            conv(*face, *geometry, [arg(0), arg(1)], [arg_shape(0), arg_shape(1)], &node.shape)
        }
        Op::TakeRows => {
            let row = numel(&arg_shape(0)[1..]);
            arg(1).iter().flat_map(|&i| arg(0)[i as usize * row..][..row].iter().copied()).collect()
        }
        Op::ArgMax { axis } => (0..count)
            .map(|o| {
                let first_largest = lane(arg_shape(0), *axis, o)
                    .enumerate()
                    .reduce(|best, next| if arg(0)[next.1] > arg(0)[best.1] { next } else { best });
                first_largest.map_or(0.0, |(k, _)| k as f64)
            })
            .collect(),
    }
}

/// Positions of the elements along `axis` that element `o` of the array without that axis stands for.
pub(super) fn lane(shape: &[usize], axis: usize, o: usize) -> impl Iterator<Item = usize> {
    let (size, stride) = (shape[axis], strides(shape)[axis]);
    (0..size).map(move |k| o / stride * stride * size + o % stride + k * stride)
}

/// Row-major coordinates of element `i`.
fn unravel(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut coords = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        coords[axis] = i % shape[axis];
        i /= shape[axis];
    }
    coords
}

/// Reads `x[first + Σ coordinate · step]` for every element of `shape`.
fn gather(x: &[f64], shape: &[usize], first: usize, steps: &[usize]) -> Vec<f64> {
    (0..numel(shape))
        .map(|i| x[first + unravel(i, shape).iter().zip(steps).map(|(c, s)| c * s).sum::<usize>()])
        .collect()
}

/// All three faces from the trilinear form: every (x, w, y) triple of elements that meet.
fn conv(face: ConvFace, geometry: ConvGeometry, args: [&[f64]; 2], shapes: [&[usize]; 2], out: &[usize]) -> Vec<f64> {
    let ConvGeometry { input: [h, w], kernel: [kh, kw], output: [oh, ow], stride, pad } = geometry;
    let groups = out[0];
    let (batch, cin, cout) = match face {
        ConvFace::Output => (shapes[0][1], shapes[0][4], shapes[1][4]),
        ConvFace::Input => (shapes[0][1], shapes[1][3], shapes[0][4]),
        ConvFace::Kernel => (shapes[0][1], shapes[0][4], shapes[1][4]),
    };
    let mut result = vec![0.0; numel(out)];
    for g in 0..groups {
        for n in 0..batch {
            for (p, q) in (0..oh).flat_map(|p| (0..ow).map(move |q| (p, q))) {
                for (d, e) in (0..kh).flat_map(|d| (0..kw).map(move |e| (d, e))) {
                    let (r, c) = (p * stride[0] + d, q * stride[1] + e);
                    let inside = r >= pad[0] && r - pad[0] < h && c >= pad[1] && c - pad[1] < w;
                    if !inside {
                        continue;
                    }
                    let x0 = (((g * batch + n) * h + r - pad[0]) * w + c - pad[1]) * cin;
                    let w0 = ((g * kh + d) * kw + e) * cin * cout;
                    let y0 = (((g * batch + n) * oh + p) * ow + q) * cout;
                    for i in 0..cin {
                        for o in 0..cout {
                            let (x, w, y) = (x0 + i, w0 + i * cout + o, y0 + o);
                            match face {
                                ConvFace::Output => result[y] += args[0][x] * args[1][w],
                                ConvFace::Input => result[x] += args[0][y] * args[1][w],
                                ConvFace::Kernel => result[w] += args[0][x] * args[1][y],
                            }
                        }
                    }
                }
            }
        }
    }
    result
}
