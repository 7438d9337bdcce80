//! Siamese networks (Koch et al. 2015).

use super::episodes::Episode;
use super::learner::{Learner, Lesson, Shared, one_hot, together};
use crate::autodiff::grad;
use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::Model;
use crate::nn::functions::matmul;
use crate::nn::reading::Predicting;

/// λ has the parameters of an embedding f and a factor αⱼ for each feature behind them. Two examples are of one class with
/// probability σ(Σⱼ αⱼ |fⱼ(a) − fⱼ(b)|), and a query is of the class of the support example that it fits best. It learns
/// from all pairs of a query and a support example; those of one class together count as much as all others.
#[derive(Clone, Debug)]
pub struct Siamese {
    /// The embedding, which ends with a vector.
    pub embedding: Model,
}

impl Siamese {
    fn features_len(&self) -> usize {
        self.embedding.output()[0]
    }

    /// The factors αⱼ, `[features]`.
    pub fn factors(&self, g: &mut Graph, lambda: NodeId) -> NodeId {
        g.segment(lambda, self.embedding.parameter_count(), self.features_len())
    }

    fn weights(&self, g: &mut Graph, lambda: NodeId) -> NodeId {
        g.segment(lambda, 0, self.embedding.parameter_count())
    }

    /// Scores of every pair of rows `[a, features]` and `[b, features]`: `[a, b]`.
    pub fn pair_scores(&self, g: &mut Graph, factors: NodeId, a: NodeId, b: NodeId) -> NodeId {
        let wide = [g.shape(a)[0], g.shape(b)[0], self.features_len()];
        let (a, b) = (g.broadcast(a, &wide, &[0, 2]), g.broadcast(b, &wide, &[1, 2]));
        let distance = absolute_difference(g, a, b);
        let weighted = g.mul(distance, factors);
        g.sum(weighted, &[2])
    }

    /// Scores of pairs of rows, `[n, features]` each: `[n]`.
    pub fn row_scores(&self, g: &mut Graph, factors: NodeId, a: NodeId, b: NodeId) -> NodeId {
        let distance = absolute_difference(g, a, b);
        let weighted = g.mul(distance, factors);
        g.sum(weighted, &[1])
    }

    /// The best score of a query among a class's support examples, `[query, ways]`.
    fn best(g: &mut Graph, scores: NodeId, episode: &Episode) -> NodeId {
        let [queries, support] = g.shape(scores)[..] else { unreachable!("a score for each pair") };
        let wide = [queries, episode.ways, support];
        let score = g.broadcast(scores, &wide, &[0, 2]);
        let (class, label) = (g.iota(&wide, 1), g.broadcast(episode.y, &wide, &[2]));
        let is_class = g.eq_u(class, label);
        let least = g.full(&wide, f64::from(f32::MIN));
        let own = g.select(is_class, score, least);
        g.max(own, 2)
    }
}

/// Binary cross-entropy of scores with what is 1 where both are of one class.
pub fn pair_losses(g: &mut Graph, scores: NodeId, same: NodeId) -> NodeId {
    // −s log σ(x) − (1 − s) log(1 − σ(x)) = log(1 + eˣ) − s x.
    let soft = g.scalar(Scalar::Softplus, &[scores]);
    let hit = g.mul(same, scores);
    g.sub(soft, hit)
}

/// |a − b|, whose derivative where they are equal is 0.
fn absolute_difference(g: &mut Graph, a: NodeId, b: NodeId) -> NodeId {
    let way = g.sub(a, b);
    let back = g.neg(way);
    let [up, down] = [way, back].map(|x| g.scalar(Scalar::Relu, &[x]));
    g.add(up, down)
}

impl Learner for Siamese {
    fn len(&self) -> usize {
        self.embedding.parameter_count() + self.features_len()
    }

    /// Factors begin at −1: what is far apart is of two classes.
    fn initial(&self, seed: u64) -> Vec<f32> {
        let mut lambda = self.embedding.initial_parameters(seed);
        lambda.resize(self.len(), -1.0);
        lambda
    }

    fn statistics(&self) -> Vec<f32> {
        self.embedding.initial_statistics()
    }

    fn lesson(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> Lesson {
        let weights = self.weights(g, shared.lambda);
        let ([support, query], running) = together(g, &self.embedding, weights, shared.running, episode);
        let factors = self.factors(g, shared.lambda);
        let pairs = self.pair_scores(g, factors, query, support);
        let [of_query, of_support] = [episode.yq, episode.y].map(|labels| one_hot(g, labels, episode.ways));
        let same = matmul(g, of_query, of_support, [false, true]);
        let losses = pair_losses(g, pairs, same);
        // Half of the weight for pairs of one class, half for the others.
        let minus = g.neg(same);
        let other = g.offset(minus, 1.0);
        let halves = [same, other].map(|kind| {
            let (counted, count) = (g.mul(kind, losses), g.sum_all(kind));
            let sum = g.sum_all(counted);
            let mean = g.div(sum, count);
            g.scale(mean, 0.5)
        });
        let loss = g.add(halves[0], halves[1]);
        let gradient = grad(g, loss, &[shared.lambda])[0];
        let scores = Self::best(g, pairs, episode);
        Lesson { loss, gradient, scores, running }
    }

    fn predict(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> NodeId {
        let weights = self.weights(g, shared.lambda);
        let reading = || Predicting { weights, running: shared.running };
        let [support, query] = [episode.x, episode.xq].map(|x| self.embedding.apply(g, x, &mut reading()));
        let factors = self.factors(g, shared.lambda);
        let pairs = self.pair_scores(g, factors, query, support);
        Self::best(g, pairs, episode)
    }
}
