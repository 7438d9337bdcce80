//! Nesterov's momentum.

use super::{MOMENTUM, Optimizer, ScalarSpec, Scalars, Slot, Slots, along, decayed};
use crate::ir::{Graph, NodeId};

/// v ← μ v + g, w ← w − η (g + μ v).
#[derive(Clone, Copy, Debug)]
pub struct Nesterov;

impl Optimizer for Nesterov {
    fn name(&self) -> &'static str {
        "nesterov"
    }

    fn formula(&self) -> &'static str {
        "Nesterov's v ← μ v + g, w ← w − η (g + μ v)"
    }

    fn slots(&self) -> &[Slot] {
        const { &[Slot::each("v")] }
    }

    fn scalars(&self) -> &[ScalarSpec] {
        &[MOMENTUM]
    }

    fn usual_rate(&self) -> f64 {
        0.04
    }

    fn descend(&self, g: &mut Graph, slots: &mut Slots, w: NodeId, gradient: NodeId, at: &Scalars) -> NodeId {
        let v = slots.get(g, 0);
        let v = decayed(g, at.own[0], v, gradient);
        slots.set(0, v);
        let direction = decayed(g, at.own[0], v, gradient);
        along(g, w, at.eta, direction)
    }

    fn stable(&self, scalars: &[f64]) -> f64 {
        2.0 * (1.0 + scalars[0]) / (1.0 + 2.0 * scalars[0])
    }
}
