//! Adam (Kingma and Ba 2015).

use super::{Domain, Optimizer, ScalarSpec, Scalars, Slot, Slots, along, average};
use crate::ir::{Graph, NodeId, Scalar};

/// w ← w − η m̂ / δ. The bias corrections c ← β c + (1 − β) equal 1 − βᵗ without cancellation.
#[derive(Clone, Copy, Debug)]
pub struct Adam(pub Epsilon);

/// Where Adam's ε stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epsilon {
    /// δ = √v̂ + ε, as published. Its derivative is unbounded where a gradient is zero at first.
    Outside,
    /// δ = √(v̂ + ε²), smooth everywhere.
    Inside,
}

impl Optimizer for Adam {
    fn name(&self) -> &'static str {
        match self.0 {
            Epsilon::Outside => "adam-outside",
            Epsilon::Inside => "adam",
        }
    }

    fn formula(&self) -> &'static str {
        match self.0 {
            Epsilon::Outside => {
                "w ← w − η m̂ / (√v̂ + ε), m̂ and v̂ being the bias-corrected means of the gradient and of its square"
            }
            Epsilon::Inside => {
                "w ← w − η m̂ / √(v̂ + ε²), m̂ and v̂ being the bias-corrected means of the gradient and of its square"
            }
        }
    }

    fn slots(&self) -> &[Slot] {
        const { &[Slot::each("m"), Slot::each("v"), Slot::correction("c1", 0), Slot::correction("c2", 1)] }
    }

    fn scalars(&self) -> &[ScalarSpec] {
        &[
            ScalarSpec { name: "beta1", domain: Domain::Unit, usual: 0.9 },
            ScalarSpec { name: "beta2", domain: Domain::Unit, usual: 0.999 },
            ScalarSpec { name: "epsilon", domain: Domain::Positive, usual: 1e-5 },
        ]
    }

    fn usual_rate(&self) -> f64 {
        0.006
    }

    fn descend(&self, g: &mut Graph, slots: &mut Slots, w: NodeId, gradient: NodeId, at: &Scalars) -> NodeId {
        let square = g.mul(gradient, gradient);
        let one = g.full(&[1], 1.0);
        let [m, v, c1, c2] = [(0, 0, gradient), (1, 1, square), (2, 0, one), (3, 1, one)].map(|(k, beta, x)| {
            let mean = slots.get(g, k);
            let mean = average(g, at.own[beta], mean, x);
            slots.set(k, mean)
        });
        let m_hat = g.div(m, c1);
        let v_hat = g.div(v, c2);
        let spread = self.0.spread(g, v_hat, at.own[2]);
        let direction = g.div(m_hat, spread);
        along(g, w, at.eta, direction)
    }

    /// Its steps are as long as η, whatever the curvature.
    fn stable(&self, _: &[f64]) -> f64 {
        f64::INFINITY
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
