//! One training step of the supervised problem as a graph: batch, noise, loss, gradient, optimiser.

use std::ops::Range;

use super::TrainingLoss;
use super::noise::Noise;
use super::problem::{Problem, Source};
use crate::autodiff::grad;
use crate::bilevel::draws;
use crate::bilevel::inner::{At, LOSSES, Step};
use crate::bilevel::programs::row;
use crate::ir::{DType, Graph, NodeId, Scalar, numel};
use crate::nn::functions::dropout_factor;
use crate::nn::optim::Scalars;
use crate::nn::{Place, reading};
use crate::rng::Purpose;

/// The training or the validation examples in a graph.
pub(super) struct Side {
    x: NodeId,
    y: NodeId,
    /// Their rows, where they lie in a pool.
    list: Option<NodeId>,
}

impl Side {
    /// Places among them as rows of the set, or of the pool that they lie in.
    pub(super) fn rows(&self, g: &mut Graph, places: NodeId) -> NodeId {
        self.list.map_or(places, |list| g.take_rows(list, places))
    }
}

impl Problem {
    /// One step: the new state, and as records the training loss and what the optimiser keeps of every step.
    pub(super) fn advance(&self, g: &mut Graph, at: &At) -> Step {
        let (layout, layers) = (self.layout(), self.model.parameter_layers());
        let part = |g: &mut Graph, range: Range<usize>| g.segment(at.lambda, range.start, range.len());
        let theta = g.segment(at.state, 0, self.model.parameter_count());

        let (x, target, rows) = self.batch(g, at.time);
        let x = self.augment(g, at, x);
        let factors = self.dropout_factors(g, at);
        let weights = self.example_weights(g, at.lambda, rows);
        let l2_log = self.penalties(g, at.lambda);
        let running = self.running(g, at.state);
        let mut reading = reading::Training::new(theta, running, factors);
        let output = self.model.apply(g, x, &mut reading);
        let training = TrainingLoss { model: &self.model, loss: self.loss, l2_log, weights };
        let mut loss = training.of_output(g, theta, output, target);
        if let Some(value) = self.regularization(g, theta, at.lambda) {
            loss = g.add(loss, value);
        }
        g.name(loss, "inner_loss");
        let gradient = grad(g, loss, &[theta])[0];
        g.name(gradient, "inner_gradient");

        let table = part(g, layout.log_lr.clone());
        let table = g.reshape(table, &[self.steps, layers]);
        let row = row(g, at.time, self.steps);
        let log_lr = g.take_rows(table, row);
        let log_lr = g.reshape(log_lr, &[layers]);
        let mut lr = g.scalar(Scalar::Exp, &[log_lr]);
        if let Some(factor) = self.decay.factor(g, row, self.steps) {
            lr = g.mul(lr, factor);
        }
        let eta = g.repeat(lr, &self.model.layer_runs());
        let scalars: Vec<NodeId> = layout.scalars.clone().map(|k| g.segment(at.lambda, k, 1)).collect();
        let before = g.segment(at.state, 0, self.optimizer_len());
        let state = self.optimizer.step(g, before, gradient, eta, &scalars);
        let mut records = self.optimizer.records(g, state, &Scalars { eta, own: &scalars });
        let state = match reading.running(g) {
            Some(running) => g.concat(&[state, running]),
            None => state,
        };
        records.insert(0, (LOSSES, g.reshape(loss, &[1])));
        Step { state, records }
    }

    /// The running statistics in a state; none where the model has none.
    pub(super) fn running(&self, g: &mut Graph, state: NodeId) -> Option<NodeId> {
        let count = self.model.statistic_count();
        (count > 0).then(|| g.segment(state, self.optimizer_len(), count))
    }

    /// The batch of a step: examples, targets, and their rows in the training set, or in the pool.
    fn batch(&self, g: &mut Graph, time: NodeId) -> (NodeId, NodeId, NodeId) {
        let set = self.side(g, "train", self.train);
        let rows = match self.batches {
            Source::Table => {
                let table = g.input("batches", &[self.steps, self.batch], DType::U32);
                let row = row(g, time, self.steps);
                let row = g.take_rows(table, row);
                g.reshape(row, &[self.batch])
            }
            // A batch of everything: no order is better than the one there is.
            Source::Keyed if self.batch == self.train => g.iota(&[self.batch], 0),
            Source::Keyed => {
                let index = g.iota(&[self.batch], 0);
                let count = g.full_u(&[self.batch], self.train as u32);
                let [k0, k1] = self.stream_key(g, Purpose::Batch, time, self.batch);
                g.scalar(Scalar::PermuteIndex, &[k0, k1, count, index])
            }
        };
        let rows = set.rows(g, rows);
        g.name(rows, "batch_rows");
        let (batch_x, batch_y) = self.taken(g, &set, rows);
        g.name(batch_x, "batch_x");
        (batch_x, batch_y, rows)
    }

    /// Shape of the targets of so many examples.
    pub(super) fn target_shape(&self, count: usize) -> Vec<usize> {
        if self.loss.takes_labels() { vec![count] } else { [&[count], self.model.output()].concat() }
    }

    /// The training or the validation examples, of which there are so many.
    pub(super) fn side(&self, g: &mut Graph, name: &str, count: usize) -> Side {
        let (set, kept) = self.pool.map_or((name, count), |pool| ("pool", pool));
        let x = self.examples(g, &format!("{set}_x"), kept);
        let y = g.input(&format!("{set}_y"), &self.target_shape(kept), self.loss.target_type());
        let list = self.pool.map(|_| g.input(&format!("{name}_rows"), &[count], DType::U32));
        Side { x, y, list }
    }

    /// The examples in these rows of the set or of the pool, and their targets.
    pub(super) fn taken(&self, g: &mut Graph, side: &Side, rows: NodeId) -> (NodeId, NodeId) {
        let (x, y) = (g.take_rows(side.x, rows), g.take_rows(side.y, rows));
        (self.unpacked(g, x), y)
    }

    /// The weights of the training examples in these rows of the set or of the pool.
    pub(super) fn example_weights(&self, g: &mut Graph, lambda: NodeId, rows: NodeId) -> Option<NodeId> {
        let Range { start, end } = self.layout().weights;
        self.weights.then(|| {
            let all = g.segment(lambda, start, end - start);
            g.take_rows(all, rows)
        })
    }

    /// The log penalties of the layers.
    pub(super) fn penalties(&self, g: &mut Graph, lambda: NodeId) -> Option<NodeId> {
        let Range { start, end } = self.layout().l2_log;
        self.l2.then(|| g.segment(lambda, start, end - start))
    }

    /// The regularizer's value, a scalar.
    pub(super) fn regularization(&self, g: &mut Graph, weights: NodeId, lambda: NodeId) -> Option<NodeId> {
        let Range { start, end } = self.layout().regularizer;
        self.regularizer.as_ref().map(|regularizer| {
            let own = g.segment(lambda, start, end - start);
            regularizer.value(g, weights, own)
        })
    }

    /// Examples with the noise of a step on their values.
    fn augment(&self, g: &mut Graph, at: &At, x: NodeId) -> NodeId {
        let shape = g.shape(x).to_vec();
        let mut x = x;
        if let Some((channels, between)) = shape[1..].split_last() {
            let factors = [&[self.batch][..], &vec![1; between.len()], &[*channels]].concat();
            if let Some(noise) = self.noise(g, at, Noise::Scaling, &factors, 0) {
                let factor = g.offset(noise, 1.0);
                x = g.mul(x, factor);
            }
        }
        match self.noise(g, at, Noise::Jitter, &shape, 0) {
            Some(noise) => g.add(x, noise),
            None => x,
        }
    }

    /// What the dropout layers multiply by: masks, or noise about 1. Where nothing is dropped, activations pass.
    fn dropout_factors(&self, g: &mut Graph, at: &At) -> Vec<Option<NodeId>> {
        let places = self.model.places().iter().enumerate();
        let factors = places.map(|(k, place)| {
            let shape = [&[self.batch], &place.shape[..]].concat();
            match self.noise(g, at, Noise::Dropout, &shape, k as u32) {
                Some(noise) => Some(g.offset(noise, 1.0)),
                None => self.mask(g, at.time, k).map(|mask| dropout_factor(g, mask, place.rate)),
            }
        });
        factors.collect()
    }

    /// Normal noise of a step with its standard deviation, if the training has this kind; `stream` tells apart several
    /// of one kind.
    fn noise(&self, g: &mut Graph, at: &At, kind: Noise, shape: &[usize], stream: u32) -> Option<NodeId> {
        let position = self.noise.iter().position(|&other| other == kind)?;
        let deviation = g.segment(at.lambda, self.layout().noise_log.start + position, 1);
        let deviation = g.scalar(Scalar::Exp, &[deviation]);
        let count = numel(shape);
        let key = self.stream_key(g, kind.purpose(), at.time, count);
        let index = g.iota(&[count], 0);
        let xi = draws::normal(g, key, index, stream);
        let noise = g.mul(deviation, xi);
        Some(g.reshape(noise, shape))
    }

    /// Values in a step's masks: those of each dropout layer, one after another.
    pub(in crate::bilevel) fn mask_len(&self) -> usize {
        self.batch * self.model.places().iter().map(|place| numel(&place.shape)).sum::<usize>()
    }

    /// The mask of a dropout layer in a step, 1 where an activation is kept. None where nothing is dropped.
    fn mask(&self, g: &mut Graph, time: NodeId, k: usize) -> Option<NodeId> {
        let Place { shape, rate } = &self.model.places()[k];
        let shape = [&[self.batch], &shape[..]].concat();
        let count = numel(&shape);
        let mask = match self.masked()? {
            Source::Table => {
                let table = self.input(g, "masks", &[self.steps, self.mask_len()], DType::F32);
                let row = row(g, time, self.steps);
                let row = g.take_rows(table, row);
                let before: usize = self.model.places()[..k].iter().map(|place| numel(&place.shape)).sum();
                let row = g.slice(row, &[0, self.batch * before], &[1, count], &[1, 1]);
                g.reshape(row, &shape)
            }
            Source::Keyed if *rate == 0.0 => return None,
            Source::Keyed => {
                let index = g.iota(&[count], 0);
                let key = self.stream_key(g, Purpose::Dropout, time, count);
                let bits = draws::words(g, key, index, k as u32);
                let threshold = g.full_u(&[count], ((1.0 - rate) * 2f64.powi(32)) as u32);
                let kept = g.scalar(Scalar::LtU, &[bits, threshold]);
                let kept = g.scalar(Scalar::ToFloat, &[kept]);
                g.reshape(kept, &shape)
            }
        };
        Some(g.name(mask, "mask"))
    }

    /// An input that several places of a graph read.
    pub(super) fn input(&self, g: &mut Graph, name: &str, shape: &[usize], dtype: DType) -> NodeId {
        let known = g.inputs().iter().find(|(other, _)| other == name).map(|(_, id)| *id);
        known.unwrap_or_else(|| g.input(name, shape, dtype))
    }

    /// The two key words of a stream at a step, stretched to `count`.
    fn stream_key(&self, g: &mut Graph, purpose: Purpose, time: NodeId, count: usize) -> [NodeId; 2] {
        let seed = self.input(g, "seed", &[2], DType::U32);
        draws::stream_key(g, seed, purpose, time, count)
    }
}
