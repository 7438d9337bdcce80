//! Draws in graphs: functions of (seed, purpose, step, index), whose bits are those of [`crate::rng`].

use crate::ir::{Graph, NodeId, Scalar};
use crate::rng::Purpose;

/// The two key words of a stream at a step, stretched to `count`, from a seed `[2]` and a step `[1]`; see
/// [`crate::rng::stream_key`].
pub(super) fn stream_key(g: &mut Graph, seed: NodeId, purpose: Purpose, time: NodeId, count: usize) -> [NodeId; 2] {
    let seed = [0, 1].map(|k| g.segment(seed, k, 1));
    let purpose = g.full_u(&[1], purpose as u32);
    [Scalar::Threefry0, Scalar::Threefry1].map(|word| {
        let key = g.scalar(word, &[seed[0], seed[1], purpose, time]);
        g.broadcast_to(key, &[count])
    })
}

/// Random words, a function of a stream's two key words, of `index` (all of one shape) and of the number of a stream
/// beside others under one key.
pub(super) fn words(g: &mut Graph, key: [NodeId; 2], index: NodeId, stream: u32) -> NodeId {
    let shape = g.shape(index).to_vec();
    let stream = g.full_u(&shape, stream);
    g.scalar(Scalar::Threefry0, &[key[0], key[1], index, stream])
}

/// Numbers between 0 and 1, the ends left out, from random words.
pub(super) fn uniform(g: &mut Graph, words: NodeId) -> NodeId {
    let top = top_bits(g, words);
    let middle = g.offset(top, 0.5);
    g.scale(middle, 2f64.powi(-23))
}

/// The highest 23 bits as a number: half a unit more than these has an exact sum.
fn top_bits(g: &mut Graph, words: NodeId) -> NodeId {
    let shape = g.shape(words).to_vec();
    let unit = g.full_u(&shape, 1 << 9);
    let top = g.scalar(Scalar::DivU, &[words, unit]);
    g.scalar(Scalar::ToFloat, &[top])
}

/// Standard normal numbers, a function of a stream's two key words, of `index` (all of one shape) and of the number of a
/// stream beside others under one key.
///
/// The inverse of the normal distribution function, ξ = √2 erf⁻¹(x), by Giles's single-precision
/// approximation ("Approximating the erfinv function", GPU Computing Gems, 2010, table 5), which needs nothing but a
/// logarithm and a root: WGSL promises little about sine and cosine.
pub(super) fn normal(g: &mut Graph, key: [NodeId; 2], index: NodeId, stream: u32) -> NodeId {
    let bits = words(g, key, index, stream);
    let top = top_bits(g, bits);
    // x lies inside (−1, 1), symmetrically.
    let middle = g.offset(top, 0.5 - 2f64.powi(22));
    let x = g.scale(middle, 2f64.powi(-22));
    erf_inverse(g, x, 2f64.sqrt())
}

/// factor · erf⁻¹(x) for |x| < 1.
fn erf_inverse(g: &mut Graph, x: NodeId, factor: f64) -> NodeId {
    let minus = g.neg(x);
    let (low, high) = (g.offset(minus, 1.0), g.offset(x, 1.0));
    let product = g.mul(low, high);
    let log = g.scalar(Scalar::Log, &[product]);
    let w = g.neg(log);
    let root = g.scalar(Scalar::Sqrt, &[w]);
    let (near, far) = (g.offset(w, -2.5), g.offset(root, -3.0));
    let shape = g.shape(x).to_vec();
    let edge = g.full(&shape, 5.0);
    let central = g.lt(w, edge);
    let (near, far) = (polynomial(g, near, &NEAR), polynomial(g, far, &FAR));
    let value = g.select(central, near, far);
    let value = g.mul(value, x);
    g.scale(value, factor)
}

const NEAR: [f64; 9] = [
    2.810_226_36e-8,
    3.432_739_39e-7,
    -3.523_387_7e-6,
    -4.391_506_54e-6,
    2.185_808_7e-4,
    -1.253_725_03e-3,
    -4.177_681_64e-3,
    0.246_640_727,
    1.501_409_41,
];

const FAR: [f64; 9] = [
    -2.002_142_57e-4,
    1.009_505_58e-4,
    1.349_343_22e-3,
    -3.673_428_44e-3,
    5.739_507_73e-3,
    -7.622_461_3e-3,
    9.438_870_47e-3,
    1.001_674_06,
    2.832_976_82,
];

/// Horner's rule, the highest power first.
fn polynomial(g: &mut Graph, x: NodeId, coefficients: &[f64]) -> NodeId {
    let shape = g.shape(x).to_vec();
    let first = g.full(&shape, coefficients[0]);
    coefficients[1..].iter().fold(first, |sum, &c| {
        let product = g.mul(sum, x);
        g.offset(product, c)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp;
    use crate::ir::DType;

    /// erf(y) = 2/√π ∫₀ʸ e^(−t²) dt by Simpson's rule.
    fn erf(y: f64) -> f64 {
        let n = 2000;
        let h = y / f64::from(n);
        let weight = |k: i32| if k == 0 || k == n { 1.0 } else { f64::from(2 + 2 * (k % 2)) };
        let sum: f64 = (0..=n).map(|k| weight(k) * (-(h * f64::from(k)).powi(2)).exp()).sum();
        2.0 / std::f64::consts::PI.sqrt() * sum * h / 3.0
    }

    #[test]
    fn erf_inverse_inverts_erf() {
        let x: Vec<f64> =
            (-999..=999).map(|k| f64::from(k) / 1000.0).chain([-1.0 + 1e-6, 1.0 - 2f64.powi(-23)]).collect();
        let mut g = Graph::new();
        let input = g.input("x", &[x.len()], DType::F32);
        let y = erf_inverse(&mut g, input, 1.0);
        for (x, y) in x.iter().zip(&interp::eval(&g, &[y], std::slice::from_ref(&x))[0]) {
            let slope = (y * y).exp();
            let error = (erf(*y) - x) * slope;
            assert!(error.abs() < 3e-6 * y.abs().max(1e-3), "{x}: {y} is {error:e} off");
        }
    }

    #[test]
    fn draws_are_normal_and_belong_to_their_step() {
        let n = 40_000;
        let mut g = Graph::new();
        let keys = [0, 1].map(|k| g.input(&format!("k{k}"), &[n], DType::U32));
        let index = g.iota(&[n], 0);
        let xi = normal(&mut g, keys, index, 0);
        let draw = |key: [u32; 2]| interp::eval(&g, &[xi], &key.map(|k| vec![f64::from(k); n])).remove(0);
        let draws = draw([3, 4]);
        let moment = |p: i32| draws.iter().map(|x| x.powi(p)).sum::<f64>() / n as f64;
        // Five standard errors each.
        let error = |variance: f64| 5.0 * (variance / n as f64).sqrt();
        assert!(moment(1).abs() < error(1.0) && (moment(2) - 1.0).abs() < error(2.0), "{} {}", moment(1), moment(2));
        assert!(moment(3).abs() < error(15.0) && (moment(4) - 3.0).abs() < error(96.0), "{} {}", moment(3), moment(4));
        assert_ne!(draws, draw([3, 5]));
        assert_eq!(draws, draw([3, 4]));
    }
}
