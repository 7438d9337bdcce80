//! Functions composed of primitives: pooling, normalisation, softmax and losses.

use crate::ir::{ConvFace, ConvGeometry, Graph, NodeId, Scalar};

/// Convolution `[n, h, w, cin]` with kernel `[kh, kw, cin, cout]`; `pads` are zeros before and
/// after each spatial axis.
pub fn conv2d(g: &mut Graph, x: NodeId, w: NodeId, stride: [usize; 2], pads: [[usize; 2]; 2]) -> NodeId {
    let (sx, sw) = (g.shape(x).to_vec(), g.shape(w).to_vec());
    let input = [sx[1], sx[2]];
    let kernel = [sw[0], sw[1]];
    let output = [0, 1].map(|a| (input[a] + pads[a][0] + pads[a][1] - kernel[a]) / stride[a] + 1);
    let geometry = ConvGeometry { input, kernel, output, stride, pad: [pads[0][0], pads[1][0]] };
    let x = g.reshape(x, &[1, sx[0], sx[1], sx[2], sx[3]]);
    let w = g.reshape(w, &[1, sw[0], sw[1], sw[2], sw[3]]);
    let y = g.conv(ConvFace::Output, geometry, x, w);
    g.reshape(y, &[sx[0], output[0], output[1], sw[3]])
}

/// Convolution `[n, length, cin]` with kernel `[k, cin, cout]`.
pub fn conv1d(g: &mut Graph, x: NodeId, w: NodeId, stride: usize, pads: [usize; 2]) -> NodeId {
    let (sx, sw) = (g.shape(x).to_vec(), g.shape(w).to_vec());
    let x = g.reshape(x, &[sx[0], 1, sx[1], sx[2]]);
    let w = g.reshape(w, &[1, sw[0], sw[1], sw[2]]);
    let y = conv2d(g, x, w, [1, stride], [[0, 0], pads]);
    let length = g.shape(y)[2];
    g.reshape(y, &[sx[0], length, sw[2]])
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
}
