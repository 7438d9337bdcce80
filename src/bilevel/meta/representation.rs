//! Hyper-representation (Franceschi et al. 2018): a feature map that tasks share, and a linear classifier of each.

use super::closed_form::ridge;
use super::episodes::Episode;
use super::learner::{Learner, Lesson, Shared, mean_loss, one_hot};
use super::maml::still;
use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::Model;
use crate::nn::functions::{log_softmax, matmul};
use crate::nn::optim::Dynamics;
use crate::nn::reading::Training;

/// λ has the parameters of the feature map, and the classifier's own number behind them: the logarithm of its learning
/// rate or of its penalty. Features are taken once an episode. Batch norms take the statistics of the batch at hand,
/// support and queries each their own, so that queries are judged together (transductively).
#[derive(Clone, Debug)]
pub struct Representation {
    /// The feature map, which ends with a vector.
    pub body: Model,
    /// How a task's classifier is trained.
    pub head: Head,
    /// Its learning rate or penalty at first.
    pub start: f64,
    /// Whether that is learned, too.
    pub learn_start: bool,
    /// Whether the feature map stays as it is drawn: the floor that everything else has to beat.
    pub frozen: bool,
}

/// How the classifier of a task is trained on its support examples.
#[derive(Clone, Debug)]
pub enum Head {
    /// From zero by so many steps of an optimiser at the usual values of its scalars on the mean cross-entropy.
    Steps {
        /// The optimiser.
        optimizer: Dynamics,
        /// T.
        steps: usize,
    },
    /// Ridge regression on one-hot classes, without bias:
    /// W = (ZᵀZ / n + e^λ I)⁻¹ ZᵀY / n.
    Ridge,
}

/// A task's classifier.
#[derive(Clone, Copy, Debug)]
pub struct Classifier {
    /// `[features, ways]`
    pub kernel: NodeId,
    /// `[ways]`; none in closed form.
    pub bias: Option<NodeId>,
}

impl Classifier {
    /// Scores `[n, ways]` of features `[n, features]`.
    pub fn scores(&self, g: &mut Graph, features: NodeId) -> NodeId {
        let scores = matmul(g, features, self.kernel, [false, false]);
        self.bias.map_or(scores, |bias| g.add(scores, bias))
    }
}

impl Representation {
    fn features_len(&self) -> usize {
        self.body.output()[0]
    }

    /// Features `[n, features]`.
    pub fn features(&self, g: &mut Graph, lambda: NodeId, x: NodeId) -> NodeId {
        let weights = g.segment(lambda, 0, self.body.parameter_count());
        self.body.apply(g, x, &mut Training::new(weights, None, vec![]))
    }

    /// A classifier trained on support features, and what it was trained on before each step, scalars.
    pub fn train(
        &self,
        g: &mut Graph,
        lambda: NodeId,
        features: NodeId,
        episode: &Episode,
    ) -> (Classifier, Vec<NodeId>) {
        let own = g.segment(lambda, self.body.parameter_count(), 1);
        let own = g.scalar(Scalar::Exp, &[own]);
        match &self.head {
            Head::Steps { optimizer, steps } => self.descend(g, own, features, episode, (optimizer, *steps)),
            Head::Ridge => {
                let targets = one_hot(g, episode.y, episode.ways);
                let kernel = ridge(g, features, targets, own);
                let classifier = Classifier { kernel, bias: None };
                let fitted = classifier.scores(g, features);
                let miss = g.sub(fitted, targets);
                let square = g.mul(miss, miss);
                let sum = g.sum_all(square);
                let loss = g.scale(sum, 0.5 / g.shape(features)[0] as f64);
                (classifier, vec![loss])
            }
        }
    }

    fn descend(
        &self,
        g: &mut Graph,
        rate: NodeId,
        features: NodeId,
        episode: &Episode,
        (optimizer, steps): (&Dynamics, usize),
    ) -> (Classifier, Vec<NodeId>) {
        let Episode { ways, y: labels, .. } = *episode;
        let kernel = self.features_len() * ways;
        let len = kernel + ways;
        let classifier = |g: &mut Graph, weights: NodeId| {
            let bias = g.segment(weights, kernel, ways);
            let kernel = g.segment(weights, 0, kernel);
            let kernel = g.reshape(kernel, &[self.features_len(), ways]);
            Classifier { kernel, bias: Some(bias) }
        };
        let scalars: Vec<NodeId> = optimizer.scalars().iter().map(|scalar| g.full(&[1], scalar.usual)).collect();
        let rates = g.broadcast_to(rate, &[len]);
        let slots = optimizer.start(len).into_iter().map(|(count, start)| g.full(&[count], f64::from(start)));
        let slots: Vec<NodeId> = slots.collect();
        let zero = g.full(&[len], 0.0);
        let mut state = g.concat(&[&[zero], &slots[..]].concat());
        let targets = one_hot(g, labels, ways);
        let mut losses = vec![];
        for _ in 0..steps {
            let weights = g.segment(state, 0, len);
            let scores = classifier(g, weights).scores(g, features);
            losses.push(mean_loss(g, scores, labels));
            // The gradient of softmax regression, Zᵀ (P − Y) / n: the first scores are constant, and have no other.
            let log_p = log_softmax(g, scores, 1);
            let p = g.scalar(Scalar::Exp, &[log_p]);
            let miss = g.sub(p, targets);
            let miss = g.scale(miss, 1.0 / g.shape(labels)[0] as f64);
            let of_kernel = matmul(g, features, miss, [true, false]);
            let of_kernel = g.reshape(of_kernel, &[kernel]);
            let of_bias = g.sum(miss, &[0]);
            let gradient = g.concat(&[of_kernel, of_bias]);
            state = optimizer.step(g, state, gradient, rates, &scalars);
        }
        let weights = optimizer.readout(g, state, len);
        (classifier(g, weights), losses)
    }
}

impl Learner for Representation {
    fn len(&self) -> usize {
        self.body.parameter_count() + 1
    }

    fn initial(&self, seed: u64) -> Vec<f32> {
        let mut lambda = self.body.initial_parameters(seed);
        lambda.push(self.start.ln() as f32);
        lambda
    }

    fn lesson(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> Lesson {
        let scores = self.predict(g, shared, episode);
        let mut lesson = Lesson::of_scores(g, shared.lambda, scores, episode);
        if self.frozen {
            lesson.gradient = g.full(&[self.len()], 0.0);
        } else if !self.learn_start {
            lesson.gradient = still(g, lesson.gradient, self.body.parameter_count());
        }
        lesson
    }

    fn predict(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> NodeId {
        let [support, query] = [episode.x, episode.xq].map(|x| self.features(g, shared.lambda, x));
        let (classifier, _) = self.train(g, shared.lambda, support, episode);
        classifier.scores(g, query)
    }
}
