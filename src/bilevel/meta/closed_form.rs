//! Ridge regression in closed form, as a graph.

use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::functions::matmul;

/// argmin over W of ‖Z W − Y‖² / n + s ‖W‖², `[features, outputs]`, for features Z `[n, features]`, targets Y
/// `[n, outputs]` and a strength s `[1]` above 0. Of the two systems that say the same, the smaller is solved:
/// (ZᵀZ / n + s I) W = ZᵀY / n, or W = Zᵀ A / n with (ZZᵀ / n + s I) A = Y.
pub(super) fn ridge(g: &mut Graph, z: NodeId, y: NodeId, strength: NodeId) -> NodeId {
    let [n, features] = g.shape(z)[..] else { unreachable!("features are rows of a matrix") };
    let share = 1.0 / n as f64;
    let is_tall = n > features;
    let (size, transpose) = if is_tall { (features, [true, false]) } else { (n, [false, true]) };
    let gram = matmul(g, z, z, transpose);
    let gram = g.scale(gram, share);
    let identity = identity(g, size);
    let penalty = g.mul(identity, strength);
    let system = g.add(gram, penalty);
    let right = if is_tall { matmul(g, z, y, [true, false]) } else { y };
    let right = g.scale(right, share);
    let solution = solve(g, system, right);
    if is_tall { solution } else { matmul(g, z, solution, [true, false]) }
}

/// X with A X = B for a symmetric positive definite A `[n, n]` and B `[n, m]`, by elimination, which needs no
/// pivoting there.
fn solve(g: &mut Graph, mut a: NodeId, mut b: NodeId) -> NodeId {
    let [n, m] = g.shape(b)[..] else { unreachable!("right sides are columns of a matrix") };
    let identity = identity(g, n);
    for k in 0..n {
        let pivot = g.slice(a, &[k, k], &[1, 1], &[1, 1]);
        let pivot = g.recip(pivot);
        let [row, right] = [(a, n), (b, m)].map(|(of, width)| {
            let row = g.slice(of, &[k, 0], &[1, width], &[1, 1]);
            g.mul(row, pivot)
        });
        // Row k becomes itself over the pivot; of every other, its multiple is taken off.
        let column = g.slice(a, &[0, k], &[n, 1], &[1, 1]);
        let unit = g.slice(identity, &[0, k], &[n, 1], &[1, 1]);
        let factors = g.sub(column, unit);
        [a, b] = [(a, row), (b, right)].map(|(of, row)| {
            let multiples = g.mul(factors, row);
            g.sub(of, multiples)
        });
    }
    b
}

fn identity(g: &mut Graph, n: usize) -> NodeId {
    let (row, column) = (g.iota(&[n, n], 0), g.iota(&[n, n], 1));
    let is_same = g.eq_u(row, column);
    g.scalar(Scalar::ToFloat, &[is_same])
}
