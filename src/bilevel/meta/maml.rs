//! Model-agnostic meta-learning (Finn et al. 2017), its first-order form, and Reptile (Nichol et al. 2018).

use super::episodes::Episode;
use super::learner::{Learner, Lesson, Shared, mean_loss};
use crate::autodiff::grad;
use crate::ir::{Graph, NodeId, Run, Scalar};
use crate::nn::reading::Training;
use crate::nn::{Model, Parameter};

/// What tasks share is where all of them begin: λ has the model's parameters and log α behind them. Each task takes T
/// steps w ← w − α ∇L(w) on the mean cross-entropy L of its support examples. Batch norms take the statistics of the
/// batch at hand, support and queries each their own, so that queries are judged together (transductively).
#[derive(Clone, Debug)]
pub struct Maml {
    /// The network, which ends with a score for each class.
    pub model: Model,
    /// T while it learns.
    pub steps: usize,
    /// T where it is judged.
    pub judged_steps: usize,
    /// α at first.
    pub rate: f64,
    /// Whether α is learned, too.
    pub learn_rate: bool,
    /// Layers whose parameters stay as they are shared, by name.
    pub not_adapted: Vec<String>,
    /// What is followed.
    pub order: Order,
}

/// What a task says of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The gradient of the loss on the query examples, through all steps.
    Second,
    /// The same, as if the steps did not depend on the start.
    First,
    /// Start − end (Reptile): queries are not looked at.
    Reptile,
}

impl Maml {
    fn parameters(&self) -> usize {
        self.model.parameter_count()
    }

    fn is_adapted(&self, parameter: &Parameter) -> bool {
        let layer = parameter.name.rsplit_once('.').map_or("", |(layer, _)| layer);
        !self.not_adapted.iter().any(|name| name == layer)
    }

    fn scores(&self, g: &mut Graph, weights: NodeId, x: NodeId) -> NodeId {
        self.model.apply(g, x, &mut Training::new(weights, None, vec![]))
    }

    /// The parameters `[parameters]` of a task after its training, and its support losses before each step, scalars.
    pub fn adapted(&self, g: &mut Graph, lambda: NodeId, episode: &Episode, steps: usize) -> (NodeId, Vec<NodeId>) {
        let mut weights = g.segment(lambda, 0, self.parameters());
        let rate = g.segment(lambda, self.parameters(), 1);
        let rate = g.scalar(Scalar::Exp, &[rate]);
        // The rate of each parameter: none where it is not adapted.
        let runs: Vec<Run> = self
            .model
            .parameters()
            .iter()
            .map(|p| Run { length: p.len(), value: self.is_adapted(p).then_some(0) })
            .collect();
        let rates = g.repeat(rate, &runs);
        let mut losses = vec![];
        for _ in 0..steps {
            let scores = self.scores(g, weights, episode.x);
            let loss = mean_loss(g, scores, episode.y);
            losses.push(loss);
            let mut gradient = grad(g, loss, &[weights])[0];
            if self.order != Order::Second {
                gradient = g.stop_gradient(gradient);
            }
            let change = g.mul(rates, gradient);
            weights = g.sub(weights, change);
        }
        (weights, losses)
    }
}

impl Learner for Maml {
    fn len(&self) -> usize {
        self.parameters() + 1
    }

    fn initial(&self, seed: u64) -> Vec<f32> {
        let mut lambda = self.model.initial_parameters(seed);
        lambda.push(self.rate.ln() as f32);
        lambda
    }

    fn lesson(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> Lesson {
        let (weights, _) = self.adapted(g, shared.lambda, episode, self.steps);
        let scores = self.scores(g, weights, episode.xq);
        let loss = mean_loss(g, scores, episode.yq);
        let gradient = match self.order {
            Order::Second | Order::First => grad(g, loss, &[shared.lambda])[0],
            Order::Reptile => {
                let start = g.segment(shared.lambda, 0, self.parameters());
                let way = g.sub(start, weights);
                let still = g.full(&[1], 0.0);
                g.concat(&[way, still])
            }
        };
        let gradient = if self.learn_rate { gradient } else { still(g, gradient, self.parameters()) };
        Lesson { loss, gradient, scores, running: None }
    }

    fn predict(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> NodeId {
        let (weights, _) = self.adapted(g, shared.lambda, episode, self.judged_steps);
        self.scores(g, weights, episode.xq)
    }
}

/// A gradient whose numbers from `from` on are 0.
pub(super) fn still(g: &mut Graph, gradient: NodeId, from: usize) -> NodeId {
    let len = g.shape(gradient)[0];
    let moving = g.segment(gradient, 0, from);
    g.pad(moving, &[0], &[len], &[1])
}
