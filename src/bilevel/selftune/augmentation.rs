//! What hyperparameters do to a training batch.

use crate::ir::{Graph, NodeId};

/// Something done to examples or activations in training whose strength c is a hyperparameter, each example's own. The
/// strength has no derivative here: hyperparameters are judged by how the weights answer to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Augmentation {
    /// Examples are multiplied by 1 + c ξ, with a standard normal draw ξ `[batch]`.
    InputScale,
    /// Activations at a place of dropout, counted from 0, are dropped with probability c. The draw is the mask, 1 where
    /// one is kept, of the activations' shape or with axes of 1: `[batch, …]`.
    Dropout(usize),
}

impl Augmentation {
    /// What arrays `[batch, …]` of `rank` axes are multiplied by, for strengths `[batch]` and the draw.
    pub(super) fn factor(self, g: &mut Graph, strength: NodeId, draw: NodeId, rank: usize) -> NodeId {
        let mut over = vec![1; rank];
        over[0] = g.shape(strength)[0];
        let strength = g.stop_gradient(strength);
        match self {
            Augmentation::InputScale => {
                let change = g.mul(strength, draw);
                let factor = g.offset(change, 1.0);
                g.reshape(factor, &over)
            }
            Augmentation::Dropout(_) => {
                let minus = g.neg(strength);
                let kept = g.offset(minus, 1.0);
                let kept = g.reshape(kept, &over);
                g.div(draw, kept)
            }
        }
    }
}
