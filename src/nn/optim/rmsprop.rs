//! RMSprop (Tieleman and Hinton 2012). Self-tuning networks move their hyperparameters by it.

use super::{Domain, Optimizer, ScalarSpec, Scalars, Slot, Slots, along, average};
use crate::ir::{Graph, NodeId, Scalar};

/// r ← β r + (1 − β) g², w ← w − η g / (√r + ε).
#[derive(Clone, Copy, Debug)]
pub struct RmsProp;

/// ε, which is added to the root.
const EPSILON: f64 = 1e-8;

impl Optimizer for RmsProp {
    fn name(&self) -> &'static str {
        "rmsprop"
    }

    fn formula(&self) -> &'static str {
        "r ← β r + (1 − β) g², w ← w − η g / (√r + ε)"
    }

    fn slots(&self) -> &[Slot] {
        const { &[Slot::each("r")] }
    }

    fn scalars(&self) -> &[ScalarSpec] {
        &[ScalarSpec { name: "decay", domain: Domain::Unit, usual: 0.99 }]
    }

    fn usual_rate(&self) -> f64 {
        0.01
    }

    fn descend(&self, g: &mut Graph, slots: &mut Slots, w: NodeId, gradient: NodeId, at: &Scalars) -> NodeId {
        let square = g.mul(gradient, gradient);
        let old = slots.get(g, 0);
        let mean = average(g, at.own[0], old, square);
        slots.set(0, mean);
        let root = g.scalar(Scalar::Sqrt, &[mean]);
        let spread = g.offset(root, EPSILON);
        let direction = g.div(gradient, spread);
        along(g, w, at.eta, direction)
    }

    /// Its steps are as long as η, whatever the curvature.
    fn stable(&self, _: &[f64]) -> f64 {
        f64::INFINITY
    }
}
