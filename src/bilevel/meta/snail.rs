//! SNAIL (Mishra et al. 2018): a task as a sequence, its support examples with their classes and then a query, which
//! dilated causal convolutions and attention read.

use super::episodes::Episode;
use super::learner::{Learner, Lesson, Shared, one_hot, together};
use super::parts::{self, Part};
use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::Model;
use crate::nn::functions::{log_softmax, matmul};
use crate::nn::reading::Predicting;

/// λ has the parameters of an embedding, and the arrays of what reads the sequence behind them: attention, a block of
/// convolutions, attention, another block, attention, and a score for each class. While it learns, support and queries
/// are one batch for the embedding's batch norms; where it is judged, these take their running statistics.
#[derive(Clone, Debug)]
pub struct Snail {
    /// The embedding, which ends with a vector.
    pub embedding: Model,
    /// Classes of a task.
    pub ways: usize,
    /// Support examples of a task.
    pub support: usize,
    /// Keys of the first attention; all other widths are multiples of it. As published 64.
    pub width: usize,
}

/// A stage of what reads the sequence.
#[derive(Clone, Copy)]
enum Stage {
    /// With so many keys and values.
    Attention { keys: usize, values: usize },
    /// A gated convolution of two places that lie so far apart, with so many filters.
    Convolution { dilation: usize, filters: usize },
}

impl Snail {
    /// Places of a sequence.
    fn length(&self) -> usize {
        self.support + 1
    }

    fn stages(&self) -> Vec<Stage> {
        let w = self.width;
        let block = || {
            // Until the last place sees the first.
            let dilations = (0..).map(|k| 1 << k).take_while(|&dilation| dilation < self.length());
            dilations.map(|dilation| Stage::Convolution { dilation, filters: 2 * w })
        };
        let attention = |keys, values| Stage::Attention { keys, values };
        let mut stages = vec![attention(w, w / 2)];
        stages.extend(block());
        stages.push(attention(4 * w, 2 * w));
        stages.extend(block());
        stages.push(attention(8 * w, 4 * w));
        stages
    }

    /// Numbers of a place before the first stage.
    fn inputs(&self) -> usize {
        self.embedding.output()[0] + self.ways
    }

    fn parts(&self) -> Vec<Part> {
        let mut width = self.inputs();
        let mut parts = vec![];
        for stage in self.stages() {
            let (maps, more): (Vec<usize>, usize) = match stage {
                Stage::Attention { keys, values } => (vec![keys, keys, values], values),
                Stage::Convolution { filters, .. } => (vec![filters; 4], filters),
            };
            parts.extend(maps.iter().map(|&outputs| Part::map(width, outputs)));
            if let Stage::Convolution { filters, .. } = stage {
                parts.extend([Part::all(filters, 0.0), Part::all(filters, 0.0)]);
            }
            width += more;
        }
        parts.extend([Part::map(width, self.ways), Part::all(self.ways, 0.0)]);
        parts
    }

    /// Scores of queries, from embedded examples.
    fn read(&self, g: &mut Graph, lambda: NodeId, [support, query]: [NodeId; 2], labels: NodeId) -> NodeId {
        let (queries, length) = (g.shape(query)[0], self.length());
        let features = g.shape(query)[1];
        let classes = one_hot(g, labels, self.ways);
        // Every query has a sequence of its own: the support examples, then itself without a class.
        let with_class = beside(g, support, classes);
        let unknown = g.full(&[queries, self.ways], 0.0);
        let last = beside(g, query, unknown);
        let width = features + self.ways;
        let first = g.broadcast(with_class, &[queries, self.support, width], &[1, 2]);
        let first = g.reshape(first, &[queries, self.support * width]);
        let x = beside(g, first, last);
        let mut x = g.reshape(x, &[queries, length, width]);
        let arrays = parts::read(g, lambda, self.embedding.parameter_count(), &self.parts());
        let mut arrays = arrays.into_iter();
        let mut next = || arrays.next().expect("an array for each place");
        for stage in self.stages() {
            let made = match stage {
                Stage::Attention { keys, .. } => attend(g, x, [next(), next(), next()], keys),
                Stage::Convolution { dilation, .. } => {
                    let maps = [next(), next(), next(), next()];
                    convolve(g, x, maps, [next(), next()], dilation)
                }
            };
            x = beside(g, x, made);
        }
        let width = g.shape(x)[2];
        let x = g.slice(x, &[0, length - 1, 0], &[queries, 1, width], &[1, 1, 1]);
        let x = g.reshape(x, &[queries, width]);
        let scores = matmul(g, x, next(), [false, false]);
        g.add(scores, next())
    }
}

/// Two arrays beside each other along the last axis.
fn beside(g: &mut Graph, a: NodeId, b: NodeId) -> NodeId {
    let (sa, sb) = (g.shape(a).to_vec(), g.shape(b).to_vec());
    let last = sa.len() - 1;
    let mut shape = sa.clone();
    shape[last] += sb[last];
    let step = vec![1; sa.len()];
    let mut behind = vec![0; sa.len()];
    behind[last] = sa[last];
    let (a, b) = (g.pad(a, &vec![0; sa.len()], &shape, &step), g.pad(b, &behind, &shape, &step));
    g.add(a, b)
}

/// Every place of `[n, length, width]` times a matrix.
fn each(g: &mut Graph, x: NodeId, matrix: NodeId) -> NodeId {
    let shape = g.shape(x).to_vec();
    let flat = g.reshape(x, &[shape[0] * shape[1], shape[2]]);
    let y = matmul(g, flat, matrix, [false, false]);
    let outputs = g.shape(y)[1];
    g.reshape(y, &[shape[0], shape[1], outputs])
}

/// Each place's mean of the values of the places up to it, weighted by how its query fits their keys.
fn attend(g: &mut Graph, x: NodeId, [query, key, value]: [NodeId; 3], keys: usize) -> NodeId {
    let [query, key, value] = [query, key, value].map(|matrix| each(g, x, matrix));
    let fit = g.matmul(query, key, [false, true]);
    let fit = g.scale(fit, 1.0 / (keys as f64).sqrt());
    let shape = g.shape(fit).to_vec();
    let (place, other) = (g.iota(&shape, 1), g.iota(&shape, 2));
    let is_later = g.scalar(Scalar::LtU, &[place, other]);
    let never = g.full(&shape, -1e9);
    let fit = g.select(is_later, never, fit);
    let share = log_softmax(g, fit, 2);
    let share = g.scalar(Scalar::Exp, &[share]);
    g.matmul(share, value, [false, false])
}

/// tanh(a) · σ(b) of two causal convolutions of a place and the one `dilation` before it, which is zero before the first.
fn convolve(g: &mut Graph, x: NodeId, maps: [NodeId; 4], biases: [NodeId; 2], dilation: usize) -> NodeId {
    let shape = g.shape(x).to_vec();
    let kept = [shape[0], shape[1] - dilation, shape[2]];
    let before = g.slice(x, &[0; 3], &kept, &[1; 3]);
    let before = g.pad(before, &[0, dilation, 0], &shape, &[1; 3]);
    let [a, b] = [0, 1].map(|k| {
        let (now, then) = (each(g, x, maps[2 * k]), each(g, before, maps[2 * k + 1]));
        let sum = g.add(now, then);
        g.add(sum, biases[k])
    });
    let (a, b) = (g.scalar(Scalar::Tanh, &[a]), g.scalar(Scalar::Sigmoid, &[b]));
    g.mul(a, b)
}

impl Learner for Snail {
    fn len(&self) -> usize {
        self.embedding.parameter_count() + parts::len(&self.parts())
    }

    fn initial(&self, seed: u64) -> Vec<f32> {
        [self.embedding.initial_parameters(seed), parts::initial(&self.parts(), seed)].concat()
    }

    fn statistics(&self) -> Vec<f32> {
        self.embedding.initial_statistics()
    }

    fn lesson(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> Lesson {
        let weights = g.segment(shared.lambda, 0, self.embedding.parameter_count());
        let (embedded, running) = together(g, &self.embedding, weights, shared.running, episode);
        let scores = self.read(g, shared.lambda, embedded, episode.y);
        Lesson { running, ..Lesson::of_scores(g, shared.lambda, scores, episode) }
    }

    fn predict(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> NodeId {
        let weights = g.segment(shared.lambda, 0, self.embedding.parameter_count());
        let reading = || Predicting { weights, running: shared.running };
        let sets = [episode.x, episode.xq].map(|x| self.embedding.apply(g, x, &mut reading()));
        self.read(g, shared.lambda, sets, episode.y)
    }
}
