//! Cutting planes, which tie the response to the general weights.
//!
//! With w_h(λ) = (G λ) ∘ w_h, the distance ‖wₑ − w_h(λ)‖₁ of each layer is bounded below by the planes that touch it
//! where training was: ⟨S, wₑ − w_h(λ)⟩ with the signs S and the λ of that moment, held.

use super::gates::{Gates, Weights};
use crate::ir::{Graph, NodeId};
use crate::nn::Model;

/// How the planes act on a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constraint {
    /// What the distance of a layer is.
    pub tie: Tie,
    /// What the distance may be, for each weight: ε².
    pub slack: f64,
    /// How much a new plane counts, μ; above 0, since planes of 0 are none.
    pub start: f64,
    /// How that changes.
    pub multiplier: Multiplier,
    /// Planes that are kept at most, 1 or more. The oldest goes.
    pub planes: usize,
}

/// What the distance of a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// The mean over its weights, so that μ does not depend on their number.
    Mean,
    /// The sum.
    Sum,
}

/// How the multiplier of a plane changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Multiplier {
    /// It stays.
    Fixed,
    /// μ ← max(0, μ + ρ φ) with the plane's value φ after each training step, at this rate ρ.
    Dual(f64),
}

/// The planes of a network. They are one vector: for each plane, the latest first, the signs `[P]`, λ `[n]` and μ.
#[derive(Clone, Copy, Debug)]
pub struct Planes<'a> {
    /// The network.
    pub gates: Gates<'a>,
    /// How they act.
    pub constraint: Constraint,
}

impl Planes<'_> {
    fn model(&self) -> &Model {
        self.gates.model
    }

    fn plane_len(&self) -> usize {
        self.model().parameter_count() + self.gates.inputs + 1
    }

    /// Length of the vector of planes; zeros are no planes.
    pub fn state_len(&self) -> usize {
        self.constraint.planes * self.plane_len()
    }

    /// wₑ − w_h(λ), `[P]`.
    fn difference(&self, g: &mut Graph, weights: Weights, lambda: NodeId) -> NodeId {
        let response = self.gates.response_at(g, weights.response, lambda);
        g.sub(weights.general, response)
    }

    /// The planes with a new one in front, which touches the distance at these weights and λ.
    pub fn cut(&self, g: &mut Graph, weights: Weights, lambda: NodeId, planes: NodeId) -> NodeId {
        let difference = self.difference(g, weights, lambda);
        let [minus, zero, one] = [-1.0, 0.0, 1.0].map(|sign| g.full(&[1], sign));
        let (above, below) = (g.lt(zero, difference), g.lt(difference, zero));
        let rest = g.select(below, minus, zero);
        let signs = g.select(above, one, rest);
        let start = g.full(&[1], self.constraint.start);
        let kept = self.state_len() - self.plane_len();
        let older = (kept > 0).then(|| g.segment(planes, 0, kept));
        let parts: Vec<NodeId> = [signs, lambda, start].into_iter().chain(older).collect();
        g.concat(&parts)
    }

    /// The multiplier of a plane, `[1]`, and what it makes of each layer, `[layers]`: ⟨S, wₑ − w_h⟩ beyond the slack.
    pub fn layers(&self, g: &mut Graph, weights: Weights, planes: NodeId, plane: usize) -> [NodeId; 2] {
        let (start, p) = (plane * self.plane_len(), self.model().parameter_count());
        let signs = g.segment(planes, start, p);
        let lambda = g.segment(planes, start + p, self.gates.inputs);
        let multiplier = g.segment(planes, start + self.plane_len() - 1, 1);
        let difference = self.difference(g, weights, lambda);
        let terms = g.mul(signs, difference);
        let count = self.model().parameter_layers();
        let sums = g.segment_sum(terms, &self.model().layer_runs(), count);
        let mut sizes = vec![0; count];
        self.model().parameters().iter().for_each(|p| sizes[p.layer] += p.len());
        let each = |g: &mut Graph, of: &dyn Fn(f64) -> f64| {
            let parts: Vec<NodeId> = sizes.iter().map(|&size| g.full(&[1], of(size as f64))).collect();
            g.concat(&parts)
        };
        let slack = self.constraint.slack;
        let beyond = match self.constraint.tie {
            Tie::Mean => {
                let shares = each(g, &|size| 1.0 / size);
                let means = g.mul(sums, shares);
                g.offset(means, -slack)
            }
            Tie::Sum => {
                let slacks = each(g, &|size| -slack * size);
                g.add(sums, slacks)
            }
        };
        [multiplier, beyond]
    }

    /// The multiplier of a plane and its value φ, the sum over the layers, both `[1]`.
    pub fn value(&self, g: &mut Graph, weights: Weights, planes: NodeId, plane: usize) -> [NodeId; 2] {
        let [multiplier, layers] = self.layers(g, weights, planes, plane);
        let sum = g.sum_all(layers);
        [multiplier, g.reshape(sum, &[1])]
    }

    /// Σ μ φ over the planes, a scalar, which the response descends on besides the loss.
    pub fn penalty(&self, g: &mut Graph, weights: Weights, planes: NodeId) -> NodeId {
        let terms: Vec<NodeId> = (0..self.constraint.planes)
            .map(|plane| {
                let [multiplier, value] = self.value(g, weights, planes, plane);
                g.mul(multiplier, value)
            })
            .collect();
        let terms = g.concat(&terms);
        g.sum_all(terms)
    }

    /// The planes with the multipliers that follow from these weights, and the values φ `[planes]`.
    pub fn follow(&self, g: &mut Graph, weights: Weights, planes: NodeId) -> [NodeId; 2] {
        let (mut parts, mut values) = (vec![], vec![]);
        for plane in 0..self.constraint.planes {
            let [multiplier, value] = self.value(g, weights, planes, plane);
            let len = self.plane_len();
            parts.push(g.segment(planes, plane * len, len - 1));
            parts.push(match self.constraint.multiplier {
                Multiplier::Fixed => multiplier,
                Multiplier::Dual(rate) => {
                    let change = g.scale(value, rate);
                    let moved = g.add(multiplier, change);
                    let zero = g.full(&[1], 0.0);
                    let (is_one, stays) = (g.lt(zero, multiplier), g.lt(zero, moved));
                    let moved = g.select(stays, moved, zero);
                    g.select(is_one, moved, zero)
                }
            });
            values.push(value);
        }
        [g.concat(&parts), g.concat(&values)]
    }

    /// The multipliers `[planes]`.
    pub fn multipliers(&self, g: &mut Graph, planes: NodeId) -> NodeId {
        let place = |plane: usize| (plane + 1) * self.plane_len() - 1;
        let each: Vec<NodeId> = (0..self.constraint.planes).map(|plane| g.segment(planes, place(plane), 1)).collect();
        g.concat(&each)
    }
}
