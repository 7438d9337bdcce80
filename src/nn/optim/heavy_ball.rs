//! Momentum in Polyak's position form.

use super::{MOMENTUM, Optimizer, ScalarSpec, Scalars, Slot, Slots, decayed};
use crate::ir::{Graph, NodeId};

/// Polyak's position form w ← w − η g + μ (w − w⁻), with u = w − w⁻ kept instead of w⁻:
/// u ← μ u − η g, w ← w + u. A change of η leaves past steps as they were.
#[derive(Clone, Copy, Debug)]
pub struct HeavyBall;

impl Optimizer for HeavyBall {
    fn name(&self) -> &'static str {
        "heavy-ball"
    }

    fn formula(&self) -> &'static str {
        "Polyak's w ← w − η g + μ (w − w⁻), w⁻ being the weights a step before"
    }

    fn slots(&self) -> &[Slot] {
        const { &[Slot::each("u")] }
    }

    fn scalars(&self) -> &[ScalarSpec] {
        &[MOMENTUM]
    }

    fn usual_rate(&self) -> f64 {
        0.04
    }

    fn descend(&self, g: &mut Graph, slots: &mut Slots, w: NodeId, gradient: NodeId, at: &Scalars) -> NodeId {
        let u = slots.get(g, 0);
        let change = g.mul(at.eta, gradient);
        let change = g.neg(change);
        let u = decayed(g, at.own[0], u, change);
        slots.set(0, u);
        g.add(w, u)
    }

    /// −g, and u⁻ = (u + η g) / μ, which was there before.
    fn slopes(&self, g: &mut Graph, slots: &Slots, gradient: NodeId, at: &Scalars) -> Option<[NodeId; 2]> {
        let u = slots.get(g, 0);
        let change = g.mul(at.eta, gradient);
        let sum = g.add(u, change);
        Some([g.neg(gradient), g.div(sum, at.own[0])])
    }

    fn stable(&self, scalars: &[f64]) -> f64 {
        2.0 * (1.0 + scalars[0])
    }
}
