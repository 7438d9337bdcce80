//! Momentum in its velocity form.

use super::{MOMENTUM, Optimizer, ScalarSpec, Scalars, Slot, Slots, along, decayed};
use crate::ir::{Graph, NodeId};

/// v ← μ v + g, w ← w − η v.
#[derive(Clone, Copy, Debug)]
pub struct Momentum;

impl Optimizer for Momentum {
    fn name(&self) -> &'static str {
        "momentum"
    }

    fn formula(&self) -> &'static str {
        "v ← μ v + g, w ← w − η v"
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
        along(g, w, at.eta, v)
    }

    /// −v, and −η v⁻ where v⁻ = (v − g) / μ was there before.
    fn slopes(&self, g: &mut Graph, slots: &Slots, gradient: NodeId, at: &Scalars) -> Option<[NodeId; 2]> {
        let v = slots.get(g, 0);
        let change = g.sub(v, gradient);
        let before = g.div(change, at.own[0]);
        let moved = g.mul(at.eta, before);
        Some([v, moved].map(|x| g.neg(x)))
    }

    fn stable(&self, scalars: &[f64]) -> f64 {
        2.0 * (1.0 + scalars[0])
    }
}
