//! Ridge regression with two weights, which the first lessons share: L = ½‖Xw − y‖² + ½e^λ‖w‖² is the follower's loss, and
//! E = ½‖Xᵥw − yᵥ‖² + price · λ the leader's.

use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::functions::matmul;
use crate::nn::optim::Sgd;

use super::follower::{Follower, Given, half_square};

const X: [[f64; 2]; 3] = [[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]];
const Y: [f64; 3] = [1.0, 2.0, 1.0];
const VALIDATION_X: [[f64; 2]; 2] = [[1.0, 1.0], [2.0, -1.0]];
const VALIDATION_Y: [f64; 2] = [1.0, 0.0];

/// Gradient descent on it from w = 0, for so many steps.
pub fn follower(steps: usize, price: f64) -> Follower {
    let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
    Follower {
        optimizer: Sgd.into(),
        scalars: vec![],
        inner,
        outer,
        data: vec![
            ("x", single(X.as_flattened())),
            ("y", single(&Y)),
            ("validation_x", single(VALIDATION_X.as_flattened())),
            ("validation_y", single(&VALIDATION_Y)),
            ("price", single(&[price])),
        ],
        start: vec![0.0, 0.0],
        lambda: 1,
        steps,
    }
}

/// ½‖Xw − y‖².
fn misfit(g: &mut Graph, x: NodeId, y: NodeId, w: NodeId) -> NodeId {
    let rows = g.shape(y)[0];
    let (x, y, w) = (g.reshape(x, &[rows, 2]), g.reshape(y, &[rows, 1]), g.reshape(w, &[2, 1]));
    let told = matmul(g, x, w, [false, false]);
    let residual = g.sub(told, y);
    half_square(g, residual)
}

fn inner(g: &mut Graph, given: &Given) -> NodeId {
    let fit = misfit(g, given.data[0], given.data[1], given.w);
    let size = half_square(g, given.w);
    let strength = g.scalar(Scalar::Exp, &[given.lambda]);
    let strength = g.reshape(strength, &[]);
    let penalty = g.mul(strength, size);
    g.add(fit, penalty)
}

fn outer(g: &mut Graph, given: &Given) -> NodeId {
    let fit = misfit(g, given.data[2], given.data[3], given.w);
    let cost = g.mul(given.data[4], given.lambda);
    let cost = g.reshape(cost, &[]);
    g.add(fit, cost)
}

/// ½ w′Hw − c′w + ½ y′y, the form that both losses have.
pub struct Bowl {
    h: [f64; 3],
    c: [f64; 2],
    rest: f64,
}

impl Bowl {
    fn of(x: &[[f64; 2]], y: &[f64], penalty: f64) -> Bowl {
        let sum = |term: &dyn Fn(usize) -> f64| (0..x.len()).map(term).sum::<f64>();
        Bowl {
            h: [
                sum(&|i| x[i][0] * x[i][0]) + penalty,
                sum(&|i| x[i][0] * x[i][1]),
                sum(&|i| x[i][1] * x[i][1]) + penalty,
            ],
            c: [sum(&|i| x[i][0] * y[i]), sum(&|i| x[i][1] * y[i])],
            rest: 0.5 * sum(&|i| y[i] * y[i]),
        }
    }

    /// The follower's loss at λ.
    pub fn inner(lambda: f64) -> Bowl {
        Bowl::of(&X, &Y, lambda.exp())
    }

    /// The leader's, without the price.
    pub fn outer() -> Bowl {
        Bowl::of(&VALIDATION_X, &VALIDATION_Y, 0.0)
    }

    /// Its lowest point.
    pub fn lowest(&self) -> [f64; 2] {
        let ([a, b, d], [p, q]) = (self.h, self.c);
        let determinant = a * d - b * b;
        [(d * p - b * q) / determinant, (a * q - b * p) / determinant]
    }

    /// Its value.
    pub fn at(&self, [u, v]: [f64; 2]) -> f64 {
        0.5 * (self.h[0] * u * u + 2.0 * self.h[1] * u * v + self.h[2] * v * v) - self.c[0] * u - self.c[1] * v
            + self.rest
    }

    /// The ellipse on which it lies so far above its lowest point.
    pub fn contour(&self, above: f64) -> Vec<(f64, f64)> {
        // H = L L′, so that w = lowest + √(2 above) L′⁻¹ (cos, sin).
        let l = self.h[0].sqrt();
        let below = self.h[1] / l;
        let right = (self.h[2] - below * below).sqrt();
        let ([u, v], reach) = (self.lowest(), (2.0 * above).sqrt());
        let point = |angle: f64| {
            let second = angle.sin() / right;
            (u + reach * (angle.cos() - below * second) / l, v + reach * second)
        };
        super::evenly(0.0, std::f64::consts::TAU, 49).into_iter().map(point).collect()
    }
}

/// E(w*(λ)): what the leader would be judged by if the follower trained for ever, without the price.
pub fn exact(lambda: f64) -> f64 {
    Bowl::outer().at(Bowl::inner(lambda).lowest())
}
