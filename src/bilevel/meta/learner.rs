//! What is learned across tasks.

use super::episodes::Episode;
use crate::autodiff::grad;
use crate::ir::{Graph, NodeId};
use crate::nn::functions::cross_entropy_each;

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

/// 1 where a row is of a class, `[n, ways]`.
pub(super) fn one_hot(g: &mut Graph, labels: NodeId, ways: usize) -> NodeId {
    let shape = [g.shape(labels)[0], ways];
    let (class, label) = (g.iota(&shape, 1), g.broadcast(labels, &shape, &[0]));
    let is_it = g.eq_u(class, label);
    g.scalar(crate::ir::Scalar::ToFloat, &[is_it])
}
