//! Functions composed of primitives: pooling, normalisation, softmax and losses.

use crate::ir::{ConvFace, ConvGeometry, Graph, NodeId, Scalar};

/// Convolution `[n, h, w, cin]` with kernel `[kh, kw, cin, cout]`; `pads` are zeros before and
/// after each spatial axis.
pub fn conv2d(g: &mut Graph, x: NodeId, w: NodeId, stride: [usize; 2], pads: [[usize; 2]; 2]) -> NodeId {
    let (x, w) = (grouped(g, x, 1), grouped(g, w, 1));
    let y = convolve(g, x, w, stride, pads);
    joined(g, y)
}

/// How a kernel goes along time.
#[derive(Clone, Copy)]
pub struct Along {
    /// Steps between outputs.
    pub stride: usize,
    /// Zeros before and after.
    pub pads: [usize; 2],
    /// Steps between the kernel's taps.
    pub dilation: usize,
    /// Parts of the channels that are convolved by themselves.
    pub groups: usize,
}

/// Convolution `[n, length, cin]` with kernel `[k, cin / groups, cout]`.
pub fn conv1d(g: &mut Graph, x: NodeId, w: NodeId, along: Along) -> NodeId {
    let Along { stride, pads, dilation, groups } = along;
    let (sx, sw) = (g.shape(x).to_vec(), g.shape(w).to_vec());
    let w = g.reshape(w, &[1, sw[0], sw[1], sw[2]]);
    let w = grouped(g, w, groups);
    if dilation == 1 {
        let x = g.reshape(x, &[sx[0], 1, sx[1], sx[2]]);
        let x = grouped(g, x, groups);
        let y = convolve(g, x, w, [1, stride], [[0, 0], pads]);
        let y = joined(g, y);
        let length = g.shape(y)[2];
        return g.reshape(y, &[sx[0], length, sw[2]]);
    }
    // Every `dilation`-th step makes a series of its own, along which the taps are neighbours.
    let length = pads[0] + sx[1] + pads[1];
    let rows = length.div_ceil(dilation);
    let x = g.pad(x, &[0, pads[0], 0], &[sx[0], rows * dilation, sx[2]], &[1; 3]);
    let x = g.reshape(x, &[sx[0], rows, dilation, sx[2]]);
    let x = g.permute(x, &[0, 2, 1, 3]);
    let x = g.reshape(x, &[sx[0] * dilation, 1, rows, sx[2]]);
    let x = grouped(g, x, groups);
    let y = convolve(g, x, w, [1, 1], [[0, 0], [0, 0]]);
    let y = joined(g, y);
    let rows = g.shape(y)[2];
    let y = g.reshape(y, &[sx[0], dilation, rows, sw[2]]);
    let y = g.permute(y, &[0, 2, 1, 3]);
    let y = g.reshape(y, &[sx[0], rows * dilation, sw[2]]);
    let outputs = (length - dilation * (sw[0] - 1) - 1) / stride + 1;
    g.slice(y, &[0; 3], &[sx[0], outputs, sw[2]], &[1, stride, 1])
}

/// `[…, groups · c]` as `[groups, …, c]`.
fn grouped(g: &mut Graph, x: NodeId, groups: usize) -> NodeId {
    let shape = g.shape(x).to_vec();
    let (channels, rest) = shape.split_last().expect("it has channels");
    if groups == 1 {
        return g.reshape(x, &[&[1], &shape[..]].concat());
    }
    let x = g.reshape(x, &[rest, &[groups, channels / groups]].concat());
    let axes: Vec<usize> = [rest.len()].into_iter().chain(0..rest.len()).chain([rest.len() + 1]).collect();
    g.permute(x, &axes)
}

/// `[groups, …, c]` as `[…, groups · c]`.
fn joined(g: &mut Graph, y: NodeId) -> NodeId {
    let shape = g.shape(y).to_vec();
    let last = shape.len() - 1;
    let together = [&shape[1..last], &[shape[0] * shape[last]]].concat();
    if shape[0] == 1 {
        return g.reshape(y, &together);
    }
    let axes: Vec<usize> = (1..last).chain([0, last]).collect();
    let y = g.permute(y, &axes);
    g.reshape(y, &together)
}

/// Convolution `[groups, n, h, w, cin]` with kernel `[groups, kh, kw, cin, cout]`.
fn convolve(g: &mut Graph, x: NodeId, w: NodeId, stride: [usize; 2], pads: [[usize; 2]; 2]) -> NodeId {
    let (sx, sw) = (g.shape(x), g.shape(w));
    let input = [sx[2], sx[3]];
    let kernel = [sw[1], sw[2]];
    let output = [0, 1].map(|a| (input[a] + pads[a][0] + pads[a][1] - kernel[a]) / stride[a] + 1);
    let geometry = ConvGeometry { input, kernel, output, stride, pad: [pads[0][0], pads[1][0]] };
    g.conv(ConvFace::Output, geometry, x, w)
}

/// `[m, k] · [k, n]`.
pub fn matmul(g: &mut Graph, a: NodeId, b: NodeId, transpose: [bool; 2]) -> NodeId {
    let (sa, sb) = (g.shape(a).to_vec(), g.shape(b).to_vec());
    let a = g.reshape(a, &[1, sa[0], sa[1]]);
    let b = g.reshape(b, &[1, sb[0], sb[1]]);
    let y = g.matmul(a, b, transpose);
    let shape = g.shape(y)[1..].to_vec();
    g.reshape(y, &shape)
}

/// The strided slices of `[n, spatial…, channels]` that hold each position of a pooling window, in
/// row-major order; an incomplete last window is dropped.
fn window_positions(g: &mut Graph, x: NodeId, window: &[usize], stride: &[usize]) -> Vec<NodeId> {
    let from = g.shape(x).to_vec();
    let mut shape = from.clone();
    let mut step = vec![1; from.len()];
    for (axis, (&k, &s)) in window.iter().zip(stride).enumerate() {
        shape[axis + 1] = (from[axis + 1] - k) / s + 1;
        step[axis + 1] = s;
    }
    (0..window.iter().product())
        .map(|position: usize| {
            let mut rest = position;
            let mut start = vec![0; from.len()];
            for axis in (0..window.len()).rev() {
                start[axis + 1] = rest % window[axis];
                rest /= window[axis];
            }
            g.slice(x, &start, &shape, &step)
        })
        .collect()
}

/// Max pooling of `[n, spatial…, channels]`; the derivative goes to the first maximum of a window.
pub fn max_pool(g: &mut Graph, x: NodeId, window: &[usize], stride: &[usize]) -> NodeId {
    let positions = window_positions(g, x, window, stride);
    positions
        .into_iter()
        .reduce(|best, next| {
            let greater = g.lt(best, next);
            g.select(greater, next, best)
        })
        .expect("a window has a position")
}

/// Average pooling of `[n, spatial…, channels]`.
pub fn average_pool(g: &mut Graph, x: NodeId, window: &[usize], stride: &[usize]) -> NodeId {
    let positions = window_positions(g, x, window, stride);
    let count = positions.len() as f64;
    let sum = positions.into_iter().reduce(|a, b| g.add(a, b)).expect("a window has a position");
    g.scale(sum, 1.0 / count)
}

/// Mean over all axes of `[n, spatial…, channels]` but the first and last, which stay.
pub fn spatial_mean(g: &mut Graph, x: NodeId) -> NodeId {
    let shape = g.shape(x).to_vec();
    let axes: Vec<usize> = (1..shape.len() - 1).collect();
    let mean = g.mean_keep(x, &axes);
    g.reshape(mean, &[shape[0], shape[shape.len() - 1]])
}

/// The largest element along `axis`, kept with size 1, constant to derivatives.
fn detached_max(g: &mut Graph, x: NodeId, axis: usize) -> NodeId {
    let mut shape = g.shape(x).to_vec();
    shape[axis] = 1;
    let max = g.max(x, axis);
    let max = g.reshape(max, &shape);
    g.stop_gradient(max)
}

/// log Σ exp x along `axis`, which stays with size 1.
fn log_sum_exp_keep(g: &mut Graph, x: NodeId, axis: usize) -> NodeId {
    let max = detached_max(g, x, axis);
    let minus = g.neg(max);
    let shifted = g.add(x, minus);
    let e = g.scalar(Scalar::Exp, &[shifted]);
    let sum = g.sum(e, &[axis]);
    let log = g.scalar(Scalar::Log, &[sum]);
    let shape = g.shape(max).to_vec();
    let log = g.reshape(log, &shape);
    g.add(log, max)
}

/// log Σ exp x along `axis`, which vanishes.
pub fn log_sum_exp(g: &mut Graph, x: NodeId, axis: usize) -> NodeId {
    let kept = log_sum_exp_keep(g, x, axis);
    let mut shape = g.shape(kept).to_vec();
    shape.remove(axis);
    g.reshape(kept, &shape)
}

/// x − max − log Σ exp(x − max) along `axis`: no digits lost to large logits.
pub fn log_softmax(g: &mut Graph, x: NodeId, axis: usize) -> NodeId {
    let max = detached_max(g, x, axis);
    let shifted = g.sub(x, max);
    let e = g.scalar(Scalar::Exp, &[shifted]);
    let sum = g.sum(e, &[axis]);
    let log = g.scalar(Scalar::Log, &[sum]);
    let shape = g.shape(max).to_vec();
    let log = g.reshape(log, &shape);
    g.sub(shifted, log)
}

/// Cross-entropy of each row of logits `[n, classes]` with labels `[n]`.
pub fn cross_entropy_each(g: &mut Graph, logits: NodeId, labels: NodeId) -> NodeId {
    let log_p = log_softmax(g, logits, 1);
    let chosen = g.pick(log_p, labels, 1);
    g.neg(chosen)
}

/// Mean squared error of each row: the mean over all outputs of a row.
pub fn mse_each(g: &mut Graph, output: NodeId, target: NodeId) -> NodeId {
    let shape = g.shape(output).to_vec();
    let difference = g.sub(output, target);
    let square = g.mul(difference, difference);
    let axes: Vec<usize> = (1..shape.len()).collect();
    let sum = g.sum(square, &axes);
    g.scale(sum, 1.0 / shape[1..].iter().product::<usize>() as f64)
}

/// Squared error of outputs `[n, classes]` against 1 for the class of the label `[n]` and 0 for the others, mean over
/// the classes.
pub fn one_hot_mse_each(g: &mut Graph, output: NodeId, label: NodeId) -> NodeId {
    let shape = g.shape(output).to_vec();
    let class = g.iota(&shape, 1);
    let label = g.broadcast(label, &shape, &[0]);
    let hit = g.eq_u(class, label);
    let target = g.scalar(Scalar::ToFloat, &[hit]);
    mse_each(g, output, target)
}

/// Mean, deviations from it and biased variance; mean and variance keep the axes they are taken over with size 1.
pub struct Moments {
    /// The mean.
    pub mean: NodeId,
    /// x − mean.
    pub centred: NodeId,
    /// Mean square of the deviations.
    pub variance: NodeId,
}

/// The moments of `x` over `axes`.
pub fn moments(g: &mut Graph, x: NodeId, axes: &[usize]) -> Moments {
    let mean = g.mean_keep(x, axes);
    let centred = g.sub(x, mean);
    let square = g.mul(centred, centred);
    let variance = g.mean_keep(square, axes);
    Moments { mean, centred, variance }
}

/// γ · centred / √(variance + ε) + β; γ (else 1) and β (else 0) lie along the last axis.
pub fn standardize(
    g: &mut Graph,
    centred: NodeId,
    variance: NodeId,
    gamma: Option<NodeId>,
    beta: Option<NodeId>,
    epsilon: f64,
) -> NodeId {
    let variance = g.offset(variance, epsilon);
    let deviation = g.scalar(Scalar::Sqrt, &[variance]);
    let scaled = gamma.map_or(centred, |gamma| g.mul(gamma, centred));
    let normal = g.div(scaled, deviation);
    beta.map_or(normal, |beta| g.add(normal, beta))
}

/// γ (x − mean) / √(variance + ε) + β with the biased variance over `axes`; γ and β lie along the
/// last axis.
pub fn normalize(g: &mut Graph, x: NodeId, gamma: NodeId, beta: NodeId, axes: &[usize], epsilon: f64) -> NodeId {
    let Moments { centred, variance, .. } = moments(g, x, axes);
    standardize(g, centred, variance, Some(gamma), Some(beta), epsilon)
}

/// mask / (1 − rate): what dropout multiplies activations by, given 1 where one is kept and 0 elsewhere.
pub fn dropout_factor(g: &mut Graph, mask: NodeId, rate: f64) -> NodeId {
    g.scale(mask, 1.0 / (1.0 - rate))
}

/// Share of rows whose predicted class is theirs, `[1]`.
pub fn accuracy(g: &mut Graph, predicted: NodeId, labels: NodeId) -> NodeId {
    let is_right = g.eq_u(predicted, labels);
    let is_right = g.scalar(Scalar::ToFloat, &[is_right]);
    let sum = g.sum_all(is_right);
    let share = g.scale(sum, 1.0 / g.shape(labels)[0] as f64);
    g.reshape(share, &[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::eval;
    use crate::ir::DType;

    #[test]
    fn labels_are_one_hot_targets() {
        let mut g = Graph::new();
        let output = g.input("output", &[2, 4], DType::F32);
        let label = g.input("label", &[2], DType::U32);
        let each = one_hot_mse_each(&mut g, output, label);
        let inputs = [vec![1.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.25, 0.0], vec![0.0, 2.0]];
        assert_eq!(eval(&g, &[each], &inputs), [[0.0, (0.25 + 0.25 + 0.5625) / 4.0]]);
    }

    /// The definition, output by output.
    fn by_hand(x: &[f64], sx: [usize; 3], w: &[f64], sw: [usize; 3], along: Along) -> Vec<f64> {
        let Along { stride, pads, dilation, groups } = along;
        let outputs = (pads[0] + sx[1] + pads[1] - dilation * (sw[0] - 1) - 1) / stride + 1;
        let places = (0..sx[0] * outputs * sw[2]).map(|k| (k / (outputs * sw[2]), k / sw[2] % outputs, k % sw[2]));
        let output = |(n, t, o): (usize, usize, usize)| {
            let first = o / (sw[2] / groups) * sw[1];
            let terms = (0..sw[0] * sw[1]).map(|k| (k / sw[1], k % sw[1]));
            let term = |(tap, c): (usize, usize)| {
                let at = (t * stride + tap * dilation).checked_sub(pads[0]).filter(|at| *at < sx[1]);
                at.map_or(0.0, |at| x[(n * sx[1] + at) * sx[2] + first + c] * w[(tap * sw[1] + c) * sw[2] + o])
            };
            terms.map(term).sum()
        };
        places.map(output).collect()
    }

    #[test]
    fn taps_may_lie_apart_and_channels_be_divided() {
        let values = |count: usize, factor: f64| (0..count).map(|k| (k as f64 * factor).sin()).collect::<Vec<_>>();
        let (sx, cout) = ([2, 11, 6], 9);
        for (k, stride, pads, dilation, groups) in [
            (3, 1, [0, 0], 1, 3),
            (3, 1, [4, 0], 2, 1),
            (2, 2, [1, 3], 3, 3),
            (1, 1, [0, 0], 4, 1),
            (4, 3, [2, 2], 4, 3),
            (3, 1, [32, 0], 16, 1),
        ] {
            let along = Along { stride, pads, dilation, groups };
            let sw = [k, sx[2] / groups, cout];
            let mut g = Graph::new();
            let (x, w) = (g.input("x", &sx, DType::F32), g.input("w", &sw, DType::F32));
            let y = conv1d(&mut g, x, w, along);
            let (x, w) = (values(sx.iter().product(), 0.7), values(sw.iter().product(), 1.3));
            let expected = by_hand(&x, sx, &w, sw, along);
            let found = eval(&g, &[y], &[x, w]).remove(0);
            assert_eq!(found.len(), expected.len(), "{k} {stride} {pads:?} {dilation} {groups}");
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {expected:?}");
        }
    }
}
