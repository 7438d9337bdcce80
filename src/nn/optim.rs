//! Inner optimisers as maps on one state vector (algorithms.md A.2).

use serde::{Deserialize, Serialize};

use crate::ir::{Graph, NodeId, Scalar};

/// How the inner problem is trained. The state begins with the weights w (d floats); every other slot
/// starts at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// w ← w − η g: gradient descent where a batch holds all examples. State (w).
    Sgd,
    /// v ← μ v + g, w ← w − η v. State (w, v).
    Momentum,
    /// Polyak's position form w ← w − η g + μ (w − w⁻), with u = w − w⁻ kept instead of w⁻:
    /// u ← μ u − η g, w ← w + u. State (w, u). A change of η leaves past steps as they were.
    HeavyBall,
    /// v ← μ v + g, w ← w − η (g + μ v). State (w, v).
    Nesterov,
    /// w ← w − η m̂ / δ. State (w, m, v, c₁, c₂), where the bias corrections c ← β c + (1 − β) equal
    /// 1 − βᵗ without cancellation.
    Adam(Epsilon),
}

/// Where Adam's ε stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Epsilon {
    /// δ = √v̂ + ε, as published. Its derivative is unbounded where a gradient is zero at first.
    Outside,
    /// δ = √(v̂ + ε²), smooth everywhere.
    Inside,
}

impl Optimizer {
    /// Every one, for tests that go through all.
    pub const ALL: [Optimizer; 6] = [
        Optimizer::Sgd,
        Optimizer::Momentum,
        Optimizer::HeavyBall,
        Optimizer::Nesterov,
        Optimizer::Adam(Epsilon::Outside),
        Optimizer::Adam(Epsilon::Inside),
    ];

    /// Length of the state for `d` weights.
    pub fn state_len(self, d: usize) -> usize {
        match self {
            Optimizer::Sgd => d,
            Optimizer::Momentum | Optimizer::HeavyBall | Optimizer::Nesterov => 2 * d,
            Optimizer::Adam(_) => 3 * d + 2,
        }
    }

    /// Names of its scalar hyperparameters besides the learning rate, in the order `step` takes.
    pub fn scalars(self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd => &[],
            Optimizer::Momentum | Optimizer::HeavyBall | Optimizer::Nesterov => &["momentum"],
            Optimizer::Adam(_) => &["beta1", "beta2", "epsilon"],
        }
    }

    /// The scalars β whose bias correction 1 − βᵗ the state carries, each with its place in the state:
    /// a function of β and the step alone, unlike the rest of the state.
    pub fn corrections(self, d: usize) -> Vec<(usize, usize)> {
        match self {
            Optimizer::Adam(_) => vec![(0, 3 * d), (1, 3 * d + 1)],
            _ => vec![],
        }
    }

    /// The new state, for gradient `g` and learning rates `eta` (both `[d]`) and the scalars, each
    /// `[1]`.
    pub fn step(self, g: &mut Graph, state: NodeId, gradient: NodeId, eta: NodeId, scalars: &[NodeId]) -> NodeId {
        let d = g.shape(gradient)[0];
        let slot = |g: &mut Graph, k: usize| g.segment(state, k * d, d);
        let w = slot(g, 0);
        let descend = |g: &mut Graph, direction: NodeId| {
            let change = g.mul(eta, direction);
            g.sub(w, change)
        };
        match self {
            Optimizer::Sgd => descend(g, gradient),
            Optimizer::Momentum => {
                let v = slot(g, 1);
                let v = decayed(g, scalars[0], v, gradient);
                let w = descend(g, v);
                g.concat(&[w, v])
            }
            Optimizer::HeavyBall => {
                let u = slot(g, 1);
                let change = g.mul(eta, gradient);
                let change = g.neg(change);
                let u = decayed(g, scalars[0], u, change);
                let w = g.add(w, u);
                g.concat(&[w, u])
            }
            Optimizer::Nesterov => {
                let v = slot(g, 1);
                let v = decayed(g, scalars[0], v, gradient);
                let ahead = decayed(g, scalars[0], v, gradient);
                let w = descend(g, ahead);
                g.concat(&[w, v])
            }
            Optimizer::Adam(epsilon) => {
                let square = g.mul(gradient, gradient);
                let m = slot(g, 1);
                let m = average(g, scalars[0], m, gradient);
                let v = slot(g, 2);
                let v = average(g, scalars[1], v, square);
                let one = g.full(&[1], 1.0);
                let c1 = g.segment(state, 3 * d, 1);
                let c1 = average(g, scalars[0], c1, one);
                let c2 = g.segment(state, 3 * d + 1, 1);
                let c2 = average(g, scalars[1], c2, one);
                let m_hat = g.div(m, c1);
                let v_hat = g.div(v, c2);
                let spread = epsilon.spread(g, v_hat, scalars[2]);
                let direction = g.div(m_hat, spread);
                let w = descend(g, direction);
                g.concat(&[w, m, v, c1, c2])
            }
        }
    }
}

impl Epsilon {
    /// δ, by which Adam divides.
    fn spread(self, g: &mut Graph, v_hat: NodeId, epsilon: NodeId) -> NodeId {
        match self {
            Epsilon::Outside => {
                let root = g.scalar(Scalar::Sqrt, &[v_hat]);
                g.add(root, epsilon)
            }
            Epsilon::Inside => {
                let square = g.mul(epsilon, epsilon);
                let sum = g.add(v_hat, square);
                g.scalar(Scalar::Sqrt, &[sum])
            }
        }
    }
}

/// μ a + x.
fn decayed(g: &mut Graph, mu: NodeId, a: NodeId, x: NodeId) -> NodeId {
    let kept = g.mul(mu, a);
    g.add(kept, x)
}

/// β a + (1 − β) x.
fn average(g: &mut Graph, beta: NodeId, a: NodeId, x: NodeId) -> NodeId {
    let kept = g.mul(beta, a);
    let minus = g.neg(beta);
    let rest = g.offset(minus, 1.0);
    let new = g.mul(rest, x);
    g.add(kept, new)
}
