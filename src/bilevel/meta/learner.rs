//! What is learned across tasks.

use super::episodes::Episode;
use crate::autodiff::grad;
use crate::ir::{Graph, NodeId, Scalar, numel};
use crate::nn::Model;
use crate::nn::functions::cross_entropy_each;
use crate::nn::reading::Training;

/// What all tasks share, in a graph.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// The hyperparameter vector λ, `[len]`.
    pub lambda: NodeId,
    /// Running statistics of batch norms `[statistics]`; none where the learner has none.
    pub running: Option<NodeId>,
}

/// What a learner makes of an episode that it learns from.
#[derive(Clone, Copy, Debug)]
pub struct Lesson {
    /// What λ is to make small, a scalar.
    pub loss: NodeId,
    /// Its derivative, or what the learner takes for it, `[len]`.
    pub gradient: NodeId,
    /// Scores of the query examples' classes, `[query, ways]`.
    pub scores: NodeId,
    /// Running statistics that the episode has entered.
    pub running: Option<NodeId>,
}

/// A way to learn, across tasks, how to learn one of few examples.
pub trait Learner {
    /// How many numbers tasks share: length of λ.
    fn len(&self) -> usize;

    /// λ at first, a function of the seed.
    fn initial(&self, seed: u64) -> Vec<f32>;

    /// Running statistics at first; empty where there are none.
    fn statistics(&self) -> Vec<f32> {
        vec![]
    }

    /// What it makes of an episode that it learns from. Its gradient is that of its loss, if it says no other.
    fn lesson(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> Lesson;

    /// Scores `[query, ways]` of the query examples of an episode that it is judged by.
    fn predict(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> NodeId;

    /// Whether λ is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Lesson {
    /// One that follows the gradient of its loss, which is the mean cross-entropy of the queries.
    pub(super) fn of_scores(g: &mut Graph, lambda: NodeId, scores: NodeId, episode: &Episode) -> Lesson {
        let loss = mean_loss(g, scores, episode.yq);
        let gradient = grad(g, loss, &[lambda])[0];
        Lesson { loss, gradient, scores, running: None }
    }
}

/// Mean cross-entropy of scores `[n, ways]` with classes `[n]`, a scalar.
pub fn mean_loss(g: &mut Graph, scores: NodeId, labels: NodeId) -> NodeId {
    let each = cross_entropy_each(g, scores, labels);
    let sum = g.sum_all(each);
    let count = g.shape(labels)[0];
    g.scale(sum, 1.0 / count as f64)
}

/// Support and query examples `[…, features]` as a model makes them of both as one batch, and the running statistics that
/// this has entered.
pub(super) fn together(
    g: &mut Graph,
    model: &Model,
    weights: NodeId,
    running: Option<NodeId>,
    episode: &Episode,
) -> ([NodeId; 2], Option<NodeId>) {
    let counts = [episode.x, episode.xq].map(|x| g.shape(x)[0]);
    let both = stack(g, episode.x, episode.xq);
    let mut reading = Training::new(weights, running, vec![]);
    let features = model.apply(g, both, &mut reading);
    let width = g.shape(features)[1];
    let support = g.slice(features, &[0, 0], &[counts[0], width], &[1, 1]);
    let query = g.slice(features, &[counts[0], 0], &[counts[1], width], &[1, 1]);
    ([support, query], reading.running(g))
}

/// One array behind another along the first axis.
pub(super) fn stack(g: &mut Graph, a: NodeId, b: NodeId) -> NodeId {
    let mut shape = g.shape(a).to_vec();
    shape[0] += g.shape(b)[0];
    let flat = [a, b].map(|x| {
        let len = numel(g.shape(x));
        g.reshape(x, &[len])
    });
    let both = g.concat(&flat);
    g.reshape(both, &shape)
}

/// 1 where a row is of a class, `[n, ways]`.
pub(super) fn one_hot(g: &mut Graph, labels: NodeId, ways: usize) -> NodeId {
    let shape = [g.shape(labels)[0], ways];
    let (class, label) = (g.iota(&shape, 1), g.broadcast(labels, &shape, &[0]));
    let is_it = g.eq_u(class, label);
    g.scalar(Scalar::ToFloat, &[is_it])
}
