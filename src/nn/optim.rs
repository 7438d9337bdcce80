//! Inner optimisers as maps on one state vector (algorithms.md A.2).

use serde::{Deserialize, Serialize};

use crate::ir::{Graph, NodeId, Scalar};

/// How the inner problem is trained. The state begins with the weights w (d floats).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// w ← w − η g. State (w).
    Sgd,
    /// v ← μ v + g, w ← w − η v. State (w, v).
    Momentum,
    /// Adam with ε outside the root. State (w, m, v, c₁, c₂), where the bias corrections
    /// c ← β c + (1 − β) equal 1 − βᵗ without cancellation.
    Adam { epsilon: f64 },
}

impl Optimizer {
    /// Length of the state for `d` weights.
    pub fn state_len(self, d: usize) -> usize {
        match self {
            Optimizer::Sgd => d,
            Optimizer::Momentum => 2 * d,
            Optimizer::Adam { .. } => 3 * d + 2,
        }
    }

    /// Names of its scalar hyperparameters besides the learning rate, in the order `step` takes.
    pub fn scalars(self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd => &[],
            Optimizer::Momentum => &["momentum"],
            Optimizer::Adam { .. } => &["beta1", "beta2"],
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
                let kept = g.mul(scalars[0], v);
                let v = g.add(kept, gradient);
                let w = descend(g, v);
                g.concat(&[w, v])
            }
            Optimizer::Adam { epsilon } => {
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
                let root = g.scalar(Scalar::Sqrt, &[v_hat]);
                let root = g.offset(root, epsilon);
                let direction = g.div(m_hat, root);
                let w = descend(g, direction);
                g.concat(&[w, m, v, c1, c2])
            }
        }
    }
}

/// β a + (1 − β) x.
fn average(g: &mut Graph, beta: NodeId, a: NodeId, x: NodeId) -> NodeId {
    let kept = g.mul(beta, a);
    let minus = g.neg(beta);
    let rest = g.offset(minus, 1.0);
    let new = g.mul(rest, x);
    g.add(kept, new)
}
