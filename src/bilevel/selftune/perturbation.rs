//! Hyperparameters, each example's own draw of them, and how wide the draws are.

use crate::ir::{Graph, NodeId, Scalar};

/// The hyperparameters as they are tuned.
#[derive(Clone, Copy, Debug)]
pub struct Leader {
    /// λ `[n]`, unconstrained.
    pub lambda: NodeId,
    /// s `[n]`, the widths of the draws before they are made positive: σ = log(1 + eˢ).
    pub widths: NodeId,
}

impl Leader {
    /// σ ∘ ξ of standard normal draws ξ `[batch, n]`.
    pub fn deviations(&self, g: &mut Graph, draws: NodeId) -> NodeId {
        let sigma = g.scalar(Scalar::Softplus, &[self.widths]);
        g.mul(sigma, draws)
    }

    /// λ + σ ∘ ξ of standard normal draws ξ `[batch, n]`.
    pub fn perturbed(&self, g: &mut Graph, draws: NodeId) -> NodeId {
        let deviations = self.deviations(g, draws);
        g.add(self.lambda, deviations)
    }

    /// Σ log(σ √(2πe)), the entropy of the draws.
    pub fn entropy(&self, g: &mut Graph) -> NodeId {
        let count = g.shape(self.widths)[0] as f64;
        let sigma = g.scalar(Scalar::Softplus, &[self.widths]);
        let log = g.scalar(Scalar::Log, &[sigma]);
        let sum = g.sum_all(log);
        g.offset(sum, count * 0.5 * (2.0 * std::f64::consts::PI * std::f64::consts::E).ln())
    }
}
