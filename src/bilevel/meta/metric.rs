//! Networks whose embeddings are compared: prototypical (Snell et al. 2017) and matching networks (Vinyals et al. 2016).

use super::episodes::Episode;
use super::learner::{Learner, Lesson, Shared, one_hot, together};
use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::Model;
use crate::nn::functions::{log_sum_exp, matmul};
use crate::nn::reading::Predicting;

/// λ has the parameters of an embedding. While it learns, support and query examples are one batch for its batch norms;
/// where it is judged, these take their running statistics.
#[derive(Clone, Debug)]
pub struct Metric {
    /// The embedding, which ends with a vector.
    pub embedding: Model,
    /// How a query is compared with the support examples.
    pub distance: Distance,
}

/// How a query is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// With the mean of each class: a score is minus the squared Euclidean distance to it.
    Prototypes,
    /// With each support example: a class's score is the logarithm of what its examples have of a softmax over the
    /// cosines with all of them.
    Cosines,
}

/// What a comparison finds.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// Scores of the queries, `[query, ways]`.
    pub scores: NodeId,
    /// Prototypes `[ways, features]`, or the attention `[query, support]`.
    pub seen: NodeId,
}

impl Metric {
    /// Compares embedded queries `[query, features]` with embedded support examples.
    pub fn compare(&self, g: &mut Graph, [support, query]: [NodeId; 2], episode: &Episode) -> Compared {
        let is_class = one_hot(g, episode.y, episode.ways);
        match self.distance {
            Distance::Prototypes => {
                let count = g.sum(is_class, &[0]);
                let count = g.reshape(count, &[episode.ways, 1]);
                let sums = matmul(g, is_class, support, [true, false]);
                let prototypes = g.div(sums, count);
                let wide = [g.shape(query)[0], episode.ways, g.shape(query)[1]];
                let (query, centre) = (g.broadcast(query, &wide, &[0, 2]), g.broadcast(prototypes, &wide, &[1, 2]));
                let way = g.sub(query, centre);
                let square = g.mul(way, way);
                let distance = g.sum(square, &[2]);
                Compared { scores: g.neg(distance), seen: prototypes }
            }
            Distance::Cosines => {
                let [support, query] = [support, query].map(|features| unit_rows(g, features));
                let cosines = matmul(g, query, support, [false, true]);
                let all = log_sum_exp(g, cosines, 1);
                let all = g.reshape(all, &[g.shape(all)[0], 1]);
                let shares = g.sub(cosines, all);
                let attention = g.scalar(Scalar::Exp, &[shares]);
                let probabilities = matmul(g, attention, is_class, [false, false]);
                Compared { scores: g.scalar(Scalar::Log, &[probabilities]), seen: attention }
            }
        }
    }

    /// Embedded support and query examples as they are while it learns, and the running statistics that they have
    /// entered.
    pub fn embed(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> ([NodeId; 2], Option<NodeId>) {
        together(g, &self.embedding, shared.lambda, shared.running, episode)
    }
}

impl Learner for Metric {
    fn len(&self) -> usize {
        self.embedding.parameter_count()
    }

    fn initial(&self, seed: u64) -> Vec<f32> {
        self.embedding.initial_parameters(seed)
    }

    fn statistics(&self) -> Vec<f32> {
        self.embedding.initial_statistics()
    }

    fn lesson(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> Lesson {
        let (embedded, running) = self.embed(g, shared, episode);
        let scores = self.compare(g, embedded, episode).scores;
        Lesson { running, ..Lesson::of_scores(g, shared.lambda, scores, episode) }
    }

    fn predict(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> NodeId {
        let reading = || Predicting { weights: shared.lambda, running: shared.running };
        let embedded = [episode.x, episode.xq].map(|x| self.embedding.apply(g, x, &mut reading()));
        self.compare(g, embedded, episode).scores
    }
}

/// Rows over their Euclidean length; those of zeros, which ReLU may leave, stay so.
fn unit_rows(g: &mut Graph, features: NodeId) -> NodeId {
    let square = g.mul(features, features);
    let sum = g.sum(square, &[1]);
    let shape = g.shape(sum).to_vec();
    let (zero, one) = (g.full(&shape, 0.0), g.full(&shape, 1.0));
    let is_there = g.lt(zero, sum);
    let square = g.select(is_there, sum, one);
    let length = g.scalar(Scalar::Sqrt, &[square]);
    let length = g.reshape(length, &[g.shape(length)[0], 1]);
    g.div(features, length)
}
