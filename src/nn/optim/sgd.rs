//! Gradient descent.

use super::{Optimizer, ScalarSpec, Scalars, Slot, Slots, along};
use crate::ir::{Graph, NodeId};

/// w ← w − η g: gradient descent where a batch holds all examples, else stochastic.
#[derive(Clone, Copy, Debug)]
pub struct Sgd;

impl Optimizer for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn formula(&self) -> &'static str {
        "w ← w − η g, g being the gradient of the training loss"
    }

    fn slots(&self) -> &[Slot] {
        &[]
    }

    fn scalars(&self) -> &[ScalarSpec] {
        &[]
    }

    fn usual_rate(&self) -> f64 {
        0.1
    }

    fn descend(&self, g: &mut Graph, _: &mut Slots, w: NodeId, gradient: NodeId, at: &Scalars) -> NodeId {
        along(g, w, at.eta, gradient)
    }

    fn stable(&self, _: &[f64]) -> f64 {
        2.0
    }
}
