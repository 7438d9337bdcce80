//! Classical transfer: one network on all classes that are learned from, whose features are kept.

use super::episodes::Episode;
use super::learner::{Learner, Lesson, Shared, mean_loss, stack};
use super::representation::Representation;
use crate::autodiff::grad;
use crate::ir::{Graph, NodeId};
use crate::nn::functions::matmul;
use crate::nn::reading::{Predicting, Training};

/// λ has the parameters of the body and of a linear classifier of every cell of the pool that it learns from. A task that it is judged by trains a
/// classifier of its own on the body's features, whose batch norms then take their running statistics.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// The body, and the classifier of a task.
    pub tasks: Representation,
    /// Cells of the pool.
    pub cells: usize,
}

impl Transfer {
    fn features(&self) -> usize {
        self.tasks.body.output()[0]
    }

    fn classifier(&self) -> usize {
        (self.features() + 1) * self.cells
    }
}

impl Learner for Transfer {
    fn len(&self) -> usize {
        self.tasks.len() + self.classifier()
    }

    /// The classifier begins with zeros.
    fn initial(&self, seed: u64) -> Vec<f32> {
        let mut lambda = self.tasks.initial(seed);
        lambda.resize(self.len(), 0.0);
        lambda
    }

    fn statistics(&self) -> Vec<f32> {
        self.tasks.body.initial_statistics()
    }

    /// Its scores of the queries are those of the episode's own cells.
    fn lesson(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> Lesson {
        let cells = episode.cells.expect("episodes that are learned from are drawn from cells");
        let (features, all) = (self.features(), self.cells);
        let both = stack(g, episode.x, episode.xq);
        let weights = g.segment(shared.lambda, 0, self.tasks.body.parameter_count());
        let mut reading = Training::new(weights, shared.running, vec![]);
        let z = self.tasks.body.apply(g, both, &mut reading);
        let at = self.tasks.len();
        let kernel = g.segment(shared.lambda, at, features * all);
        let kernel = g.reshape(kernel, &[features, all]);
        let bias = g.segment(shared.lambda, at + features * all, all);
        let scores = matmul(g, z, kernel, [false, false]);
        let scores = g.add(scores, bias);
        let [support, query] = [episode.y, episode.yq].map(|labels| g.take_rows(cells, labels));
        let labels = g.concat(&[support, query]);
        let loss = mean_loss(g, scores, labels);
        let gradient = grad(g, loss, &[shared.lambda])[0];
        let counts = [episode.x, episode.xq].map(|x| g.shape(x)[0]);
        let of_query = g.slice(scores, &[counts[0], 0], &[counts[1], all], &[1, 1]);
        let ways = episode.ways;
        let each = (0..ways).map(|way| {
            let cell = g.segment(cells, way, 1);
            let cell = g.broadcast_to(cell, &[counts[1]]);
            g.pick(of_query, cell, 1)
        });
        let each: Vec<NodeId> = each.collect();
        let own = g.concat(&each);
        let own = g.reshape(own, &[ways, counts[1]]);
        let scores = g.permute(own, &[1, 0]);
        let running = reading.running(g);
        Lesson { loss, gradient, scores, running }
    }

    fn predict(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> NodeId {
        let weights = g.segment(shared.lambda, 0, self.tasks.body.parameter_count());
        let reading = || Predicting { weights, running: shared.running };
        let [support, query] = [episode.x, episode.xq].map(|x| self.tasks.body.apply(g, x, &mut reading()));
        let (classifier, _) = self.tasks.train(g, shared.lambda, support, episode);
        classifier.scores(g, query)
    }
}
