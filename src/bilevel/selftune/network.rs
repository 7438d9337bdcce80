//! A self-tuning network: what it makes of a batch, and its losses.

use super::augmentation::{Augmentation, Change, Draws, Strengths};
use super::gates::{Gated, Gates, Linearized, Weights};
use super::perturbation::Leader;
use crate::autodiff::jvp;
use crate::bilevel::{Loss, SolveError, TrainingLoss, Transform};
use crate::ir::{Graph, NodeId};
use crate::nn::Model;
use crate::nn::reading::Training;

/// A network and the hyperparameters that it learns to answer to.
#[derive(Clone, Debug)]
pub struct SelfTuned {
    /// Its layers: dense ones and convolutions have gates.
    pub model: Model,
    /// Loss of an example.
    pub loss: Loss,
    /// The domains of the hyperparameters, n of them.
    pub domains: Vec<Transform>,
    /// What is done in training, each with the hyperparameter that is its strength.
    pub augmentations: Vec<(Augmentation, usize)>,
    /// What the entropy of the draws counts in the outer loss, τ.
    pub entropy: f64,
}

/// Outputs with their mean loss.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// `[batch, …]`
    pub output: NodeId,
    /// A scalar.
    pub loss: NodeId,
}

/// A batch as a training step reads it: with what activations are multiplied by at each place of dropout.
#[derive(Clone, Debug)]
pub struct Augmented {
    x: NodeId,
    factors: Vec<Option<NodeId>>,
}

impl Augmented {
    /// The examples `[batch, …]`.
    pub fn x(&self) -> NodeId {
        self.x
    }
}

impl SelfTuned {
    /// Refuses what has no rule.
    ///
    /// # Errors
    /// If a layer has no gates, or an augmentation has no hyperparameter or no place.
    pub fn check(&self) -> Result<(), SolveError> {
        if !self.model.statistics().is_empty() {
            let problem = "batch norm does not answer to hyperparameters; take a model without it";
            return Err(SolveError::Problem(problem.to_owned()));
        }
        let wrong = |(augmentation, by): &(Augmentation, usize)| augmentation.wrong(&self.model, *by, &self.domains);
        match self.augmentations.iter().find_map(wrong) {
            Some(wrong) => Err(SolveError::Problem(wrong)),
            None => Ok(()),
        }
    }

    /// The shapes of the draws of a batch, one for each augmentation.
    pub fn draw_shapes(&self, batch: usize) -> Vec<Vec<usize>> {
        let shape =
            |&(augmentation, by): &(Augmentation, usize)| augmentation.draw_shape(&self.model, batch, self.domains[by]);
        self.augmentations.iter().map(shape).collect()
    }

    /// Where the gates lie.
    pub fn gates(&self) -> Gates<'_> {
        Gates { model: &self.model, inputs: self.domains.len() }
    }

    /// Constrained hyperparameters, each `[batch]`, of unconstrained ones `[batch, n]`.
    pub fn constrained(&self, g: &mut Graph, unconstrained: NodeId) -> Vec<NodeId> {
        let batch = g.shape(unconstrained)[0];
        let column = |(k, domain): (usize, &Transform)| {
            let column = g.slice(unconstrained, &[0, k], &[batch, 1], &[1, 1]);
            let column = g.reshape(column, &[batch]);
            domain.apply(g, column)
        };
        self.domains.iter().enumerate().map(column).collect()
    }

    /// A batch with the augmentations of unconstrained hyperparameters `[batch, n]`.
    pub fn augment(&self, g: &mut Graph, x: NodeId, unconstrained: NodeId, draws: Draws) -> Augmented {
        let all = self.constrained(g, unconstrained);
        let mut augmented = Augmented { x, factors: vec![None; self.model.places().len()] };
        for (k, &(augmentation, by)) in self.augmentations.iter().enumerate() {
            let strengths = Strengths { all: &all, domains: &self.domains, by };
            let draw = match draws {
                Draws::Given(draws) => draws[k],
                Draws::Keyed { keyed, shapes, set } => {
                    let stream = set * shapes.len() as u32 + k as u32;
                    augmentation.draw(g, &strengths, keyed, stream, (&shapes[k], self.model.input()))
                }
            };
            let place = match augmentation {
                Augmentation::Dropout(place) => Some(place),
                _ => None,
            };
            let of = place.map_or(self.model.input(), |place| &self.model.places()[place].shape);
            let shape = [&g.shape(x)[..1], of].concat();
            match (augmentation.change(g, &strengths, draw, &shape), place) {
                (Change::Times(factor), None) => augmented.x = g.mul(augmented.x, factor),
                (Change::Plus(term), None) => augmented.x = g.add(augmented.x, term),
                (Change::Times(factor) | Change::Plus(factor), Some(place)) => {
                    let other = augmented.factors[place];
                    augmented.factors[place] = Some(other.map_or(factor, |other| g.mul(other, factor)));
                }
            }
        }
        augmented
    }

    /// A batch as it is.
    pub fn plain(&self, x: NodeId) -> Augmented {
        Augmented { x, factors: vec![] }
    }

    /// The network at z = 0: its general weights alone.
    pub fn general(&self, g: &mut Graph, general: NodeId, batch: &Augmented) -> NodeId {
        let mut reading = Training::new(general, None, batch.factors.clone());
        self.model.apply(g, batch.x, &mut reading)
    }

    /// The network with each example's own z, `[batch, n]`.
    pub fn gated(&self, g: &mut Graph, weights: Weights, batch: &Augmented, z: NodeId) -> NodeId {
        let plain = Training::new(weights.general, None, batch.factors.clone());
        let mut reading = Gated { plain, gates: self.gates(), response: weights.response, z };
        self.model.apply(g, batch.x, &mut reading)
    }

    /// The network at z = 0 and its derivative along each example's own direction `[batch, n]`.
    pub fn linearized(
        &self,
        g: &mut Graph,
        weights: Weights,
        batch: &Augmented,
        direction: NodeId,
    ) -> (NodeId, NodeId) {
        let plain = Training::new(weights.general, None, batch.factors.clone());
        let response = weights.response;
        let mut reading = Linearized { plain, gates: self.gates(), response, direction, tangents: vec![] };
        let output = self.model.apply(g, batch.x, &mut reading);
        let tangent = jvp(g, &[output], &reading.tangents)[0];
        let tangent = tangent.unwrap_or_else(|| g.scale(output, 0.0));
        (output, tangent)
    }

    /// Outputs with their mean loss, in which each counts as much as its weight says, of `[batch]`, where there are some.
    pub fn judge(&self, g: &mut Graph, output: NodeId, target: NodeId, weights: Option<NodeId>) -> Judged {
        let loss = TrainingLoss { model: &self.model, loss: self.loss, l2_log: None, weights };
        Judged { output, loss: loss.of_output(g, output, output, target) }
    }

    /// Loss − τ · entropy: what hyperparameters descend on.
    pub fn outer(&self, g: &mut Graph, loss: NodeId, leader: Leader) -> NodeId {
        let entropy = leader.entropy(g);
        let counted = g.scale(entropy, self.entropy);
        g.sub(loss, counted)
    }
}
