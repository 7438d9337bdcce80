//! The bilevel problem as graphs: one training step, its adjoint, and losses over whole sets.
//!
//! The hyperparameters reach the step as general arrays ([`Layout`]): a log learning rate for every
//! step and layer, the optimiser's scalars, a log penalty for every layer, a raw weight for every
//! training example. Shared values and constraints are maps in front (`hyperparameters`).

use std::ops::Range;

use super::noise::{self, Noise};
use super::{Loss, ParameterMap, Regularizer, SolveError, TrainingLoss};
use crate::autodiff::{grad, vjp};
use crate::compile::{CompileError, Output, Program, compile};
use crate::ir::{DType, Graph, NodeId, Scalar, numel};
use crate::nn::functions::dropout_factor;
use crate::nn::{Model, Place, optim::Dynamics, reading};
use crate::rng::Purpose;

/// Where a step's batch or dropout mask comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A table with a row for every step, given as an input.
    Table,
    /// Draws keyed by (seed, purpose, step, index).
    Keyed,
}

/// What is trained, and on what. The inner loss is the mean over the batch of weight · loss, plus the
/// penalties and the regularizer; the outer loss the mean over the validation set of the outer loss.
#[derive(Clone, Debug)]
pub struct Problem {
    pub model: Model,
    /// Inner loss of an example.
    pub loss: Loss,
    /// Outer loss of an example; its targets are of the same type.
    pub outer_loss: Loss,
    /// How it is trained.
    pub optimizer: Dynamics,
    /// Training steps T.
    pub steps: usize,
    /// Examples a step.
    pub batch: usize,
    /// Training examples.
    pub train: usize,
    /// Where batches come from. Keyed batches hold no example twice; one of all examples holds them in order.
    pub batches: Source,
    /// Where dropout masks come from; `None` trains without dropout.
    pub masks: Option<Source>,
    /// Whether the training loss has L2 penalties.
    pub l2: bool,
    /// Whether training examples are weighted.
    pub weights: bool,
    /// A term of one's own in the inner loss.
    pub regularizer: Option<Regularizer>,
    /// What noise the training has; each kind's strength is a hyperparameter.
    pub noise: Vec<Noise>,
}

/// Where each array lies in the hyperparameter vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Log learning rates `[steps, layers]`.
    pub log_lr: Range<usize>,
    /// The optimiser's scalars, in its order.
    pub scalars: Range<usize>,
    /// Log penalties `[layers]`; empty without L2.
    pub l2_log: Range<usize>,
    /// Raw weights `[training examples]`; empty without weights.
    pub weights: Range<usize>,
    /// The regularizer's own, as it takes them.
    pub regularizer: Range<usize>,
    /// Log standard deviations of the noise, in its order.
    pub noise_log: Range<usize>,
}

impl Layout {
    /// Length of the vector.
    pub fn len(&self) -> usize {
        self.noise_log.end
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of a whole-set loss that one dispatch sequence handles.
pub const CHUNK: usize = 128;

/// Value of the flag that says that no step went wrong.
pub const NO_BAD_STEP: u32 = u32::MAX;

/// A graph with its outputs.
pub struct Function {
    pub name: &'static str,
    pub graph: Graph,
    pub outputs: Vec<Output>,
}

impl Function {
    pub(super) fn new(name: &'static str) -> Self {
        Function { name, graph: Graph::new(), outputs: vec![] }
    }

    /// An input of this name that is there already.
    pub(super) fn input(&self, name: &str) -> NodeId {
        self.graph.inputs().iter().find(|(input, _)| input == name).expect("an input").1
    }

    pub(super) fn output(&mut self, name: &str, node: NodeId) {
        self.outputs.push(Output { name: name.to_owned(), node, in_place: None });
    }

    /// An output that replaces the input of the same name.
    pub(super) fn update(&mut self, input: NodeId, node: NodeId) {
        let position = self.graph.inputs().iter().position(|(_, id)| *id == input).expect("an input");
        let name = self.graph.inputs()[position].0.clone();
        self.outputs.push(Output { name, node, in_place: Some(position) });
    }

    /// Adds one to an input that counts chunks.
    pub(super) fn count(&mut self, chunk: NodeId) {
        let one = self.graph.full_u(&[1], 1);
        let next = self.graph.scalar(Scalar::AddU, &[chunk, one]);
        self.update(chunk, next);
    }

    /// Compiles it.
    pub fn compile(&self) -> Result<Program, CompileError> {
        compile(self.name, &self.graph, &self.outputs)
    }
}

/// The inputs that a step and its adjoint share.
pub(super) struct StepInputs {
    pub state: NodeId,
    pub time: NodeId,
    pub lambda: NodeId,
}

impl Problem {
    /// A training on all examples at once, with the model's dropout, without penalties, weights and noise.
    pub fn new(model: Model, loss: Loss, optimizer: impl Into<Dynamics>, steps: usize, train: usize) -> Self {
        let masks = model.places().iter().any(|place| place.rate > 0.0).then_some(Source::Keyed);
        Problem {
            model,
            loss,
            outer_loss: loss,
            optimizer: optimizer.into(),
            steps,
            batch: train,
            train,
            batches: Source::Keyed,
            masks,
            l2: false,
            weights: false,
            regularizer: None,
            noise: vec![],
        }
    }

    /// Whether there is something to train, and enough of it for a batch, and losses, noise and regularizer fit the
    /// model.
    pub fn check(&self) -> Result<(), SolveError> {
        let Problem { steps, batch, train, .. } = *self;
        let output = self.model.output();
        let twice = |noise: &Noise| self.noise.iter().filter(|other| *other == noise).count() > 1;
        let wrong = match () {
            () if train == 0 => "it has no training example; give at least 1".to_owned(),
            () if self.model.parameter_count() == 0 => "the model has no weights; add a layer that has some".to_owned(),
            () if self.loss.takes_labels() != self.outer_loss.takes_labels() => {
                let what = |loss: Loss| if loss.takes_labels() { "labels" } else { "values" };
                let [inner, outer] = [self.loss, self.outer_loss].map(what);
                format!("the inner loss takes {inner} and the outer loss {outer}, and examples have either")
            }
            () if self.loss.takes_labels() && output.len() != 1 => format!(
                "a loss of labels takes one output for each class, and the model's outputs have the shape {output:?}; \
                 add a flatten or dense layer"
            ),
            () if self.noise.contains(&Noise::Dropout) && self.model.places().is_empty() => {
                "Noise::Dropout acts at the model's dropout layers, and it has none".to_owned()
            }
            () if self.model.statistic_count() > 0 => "a training with batch norm is not there yet".to_owned(),
            () if self.noise.iter().any(twice) => "a kind of noise is named twice".to_owned(),
            () if self.regularizer.as_ref().is_some_and(|regularizer| regularizer.len == 0) => {
                "the regularizer has no hyperparameter; give it at least 1".to_owned()
            }
            () if steps == 0 => "it has no training steps; give at least 1".to_owned(),
            () if batch == 0 => "a batch holds no example; give at least 1".to_owned(),
            () if batch > train && self.batches == Source::Keyed => {
                format!("a batch of {batch} holds no example twice, but there are only {train}")
            }
            () => match self.check_own() {
                Some(wrong) => wrong,
                None => return Ok(()),
            },
        };
        Err(SolveError::Problem(wrong))
    }

    /// What is wrong with the graphs that functions of one's own make.
    fn check_own(&self) -> Option<String> {
        /// Examples of a trial, which nothing else has as many of.
        const TRIAL: usize = 3;
        for loss in [self.loss, self.outer_loss] {
            let mut g = Graph::new();
            let output = g.input("output", &[&[TRIAL], self.model.output()].concat(), DType::F32);
            let target = g.input("target", &self.target_shape(TRIAL), loss.target_type());
            let each = loss.each(&mut g, output, target);
            if g.shape(each) != [TRIAL] || g.dtype(each) != DType::F32 {
                return Some(format!(
                    "a loss is one number for each of n examples, [n]; for n = {TRIAL} this one has the shape {:?}",
                    g.shape(each)
                ));
            }
        }
        let regularizer = self.regularizer.as_ref()?;
        let mut g = Graph::new();
        let weights = g.input("weights", &[self.model.parameter_count()], DType::F32);
        let own = g.input("hyperparameters", &[regularizer.len], DType::F32);
        let value = regularizer.raw(&mut g, weights, own);
        let shape = g.shape(value);
        (numel(shape) != 1).then(|| format!("a regularizer is one number, and this one has the shape {shape:?}"))
    }

    pub fn layout(&self) -> Layout {
        let layers = self.model.parameter_layers();
        let mut end = 0;
        let mut take = |len: usize| {
            end += len;
            end - len..end
        };
        Layout {
            log_lr: take(self.steps * layers),
            scalars: take(self.optimizer.scalars().len()),
            l2_log: take(if self.l2 { layers } else { 0 }),
            weights: take(if self.weights { self.train } else { 0 }),
            regularizer: take(self.regularizer.as_ref().map_or(0, |r| r.len)),
            noise_log: take(self.noise.len()),
        }
    }

    /// Where dropout masks come from, if the training has any: noise may stand in their place.
    pub(super) fn masked(&self) -> Option<Source> {
        self.masks.filter(|_| !self.model.places().is_empty() && !self.noise.contains(&Noise::Dropout))
    }

    /// Whether anything in a step is drawn.
    pub(super) fn takes_seed(&self) -> bool {
        self.batches == Source::Keyed || self.masked() == Some(Source::Keyed) || !self.noise.is_empty()
    }

    /// Length D of the training state.
    pub fn state_len(&self) -> usize {
        self.optimizer.state_len(self.model.parameter_count())
    }

    /// Φ_t: (state, time, λ, data) → state', time + 1; records the training loss of the step and, in a
    /// sticky flag, the first step whose new state is not finite.
    pub fn step(&self) -> Function {
        let mut f = Function::new("step");
        let inputs = self.step_inputs(&mut f.graph);
        let g = &mut f.graph;
        let losses = g.input("losses", &[self.steps], DType::F32);
        let bad_step = g.input("bad_step", &[1], DType::U32);
        let (state, loss) = self.advance(g, &inputs);

        let one = g.full_u(&[1], 1);
        let time = g.scalar(Scalar::AddU, &[inputs.time, one]);

        let row = self.row(g, inputs.time);
        let position = g.iota(&[self.steps], 0);
        let now = g.eq_u(position, row);
        let recorded = g.select(now, loss, losses);

        let bad = g.scalar(Scalar::NonFinite, &[state]);
        let count = g.sum(bad, &[0]);
        let count = g.reshape(count, &[1]);
        let none = g.full_u(&[1], NO_BAD_STEP);
        let zero = g.full_u(&[1], 0);
        let any = g.scalar(Scalar::LtU, &[zero, count]);
        let first = g.eq_u(bad_step, none);
        let sets = g.scalar(Scalar::AndU, &[any, first]);
        let flag = g.select(sets, row, bad_step);

        f.output("next_state", state);
        f.output("next_time", time);
        f.update(losses, recorded);
        f.update(bad_step, flag);
        f
    }

    /// The adjoint of a step (algorithms.md A.3): from the state before it and the cotangent after it
    /// to the cotangent before it; its share of the hypergradient is added to `lambda_cotangent`.
    pub fn step_adjoint(&self) -> Function {
        let mut f = Function::new("step_adjoint");
        let inputs = self.step_inputs(&mut f.graph);
        let g = &mut f.graph;
        let cotangent = g.input("cotangent", &[self.state_len()], DType::F32);
        let lambda_cotangent = g.input("lambda_cotangent", &[self.layout().len()], DType::F32);
        let (state, _) = self.advance(g, &inputs);
        let pulled = vjp(g, &[state], &[cotangent], &[inputs.state, inputs.lambda]);
        let lambda_sum = g.add(lambda_cotangent, pulled[1]);
        f.output("next_cotangent", pulled[0]);
        f.update(lambda_cotangent, lambda_sum);
        f
    }

    /// One chunk of the mean loss over `count` examples without dropout, penalty or weights, and of
    /// its gradient in the state; called until the chunk counter has passed all.
    pub fn outer_gradient(&self, count: usize) -> Function {
        let mut f = Function::new("outer_gradient");
        let g = &mut f.graph;
        let gradient = g.input("gradient", &[self.state_len()], DType::F32);
        let state = g.input("state", &[self.state_len()], DType::F32);
        let value_sum = g.input("value", &[1], DType::F32);
        let chunk = g.input("chunk", &[1], DType::U32);
        let x = g.input("set_x", &[&[count], self.model.input()].concat(), DType::F32);
        let y = g.input("set_y", &self.target_shape(count), self.loss.target_type());

        let (row, valid) = chunk_rows(g, chunk, count);
        let (x, target) = (g.take_rows(x, row), g.take_rows(y, row));
        let (_, sum) = self.chunk_loss(g, state, x, target, valid);
        let mean = g.scale(sum, 1.0 / count as f64);
        let scalar = g.reshape(mean, &[]);
        let part = grad(g, scalar, &[state])[0];
        let value = g.add(value_sum, mean);
        let sum = g.add(gradient, part);
        f.update(gradient, sum);
        f.update(value_sum, value);
        f.count(chunk);
        f
    }

    /// Sum of losses of one chunk of examples, of which the first `limit` count, and, where they are labelled,
    /// confusion counts `[true class, predicted class]`.
    pub fn evaluation(&self) -> Function {
        let mut f = Function::new("evaluation");
        let g = &mut f.graph;
        let classes = self.model.output()[0];
        let state = g.input("state", &[self.state_len()], DType::F32);
        let value_sum = g.input("value", &[1], DType::F32);
        let confusion = self.loss.takes_labels().then(|| g.input("confusion", &[classes * classes], DType::F32));
        let limit = g.input("limit", &[1], DType::U32);
        let x = g.input("set_x", &[&[CHUNK], self.model.input()].concat(), DType::F32);
        let target = g.input("set_y", &self.target_shape(CHUNK), self.loss.target_type());

        let position = g.iota(&[CHUNK], 0);
        let limit = g.broadcast_to(limit, &[CHUNK]);
        let valid = g.scalar(Scalar::LtU, &[position, limit]);
        let (output, value) = self.chunk_loss(g, state, x, target, valid);
        let value = g.add(value_sum, value);
        let Some(confusion) = confusion else {
            f.update(value_sum, value);
            return f;
        };

        let predicted = g.argmax(output, 1);
        let width = g.full_u(&[CHUNK], classes as u32);
        let first = g.scalar(Scalar::MulU, &[target, width]);
        let cell = g.scalar(Scalar::AddU, &[first, predicted]);
        let wide = [CHUNK, classes * classes];
        let cell = g.broadcast(cell, &wide, &[0]);
        let position = g.iota(&wide, 1);
        let hit = g.eq_u(position, cell);
        let valid = g.broadcast(valid, &wide, &[0]);
        let counted = g.scalar(Scalar::AndU, &[hit, valid]);
        let counted = g.scalar(Scalar::ToFloat, &[counted]);
        let counted = g.sum(counted, &[0]);
        let counts = g.add(confusion, counted);
        f.update(confusion, counts);
        f.update(value_sum, value);
        f
    }

    /// The model's outputs for a chunk and the sum of its valid rows' losses (shape `[1]`).
    fn chunk_loss(&self, g: &mut Graph, state: NodeId, x: NodeId, target: NodeId, valid: NodeId) -> (NodeId, NodeId) {
        let theta = self.optimizer.readout(g, state, self.model.parameter_count());
        let output = self.model.apply(g, x, &mut reading::Predicting { weights: theta, running: None });
        let each = self.outer_loss.each(g, output, target);
        let nothing = g.full(&[CHUNK], 0.0);
        let each = g.select(valid, each, nothing);
        let sum = g.sum_all(each);
        let sum = g.reshape(sum, &[1]);
        (output, sum)
    }

    fn target_shape(&self, count: usize) -> Vec<usize> {
        if self.loss.takes_labels() { vec![count] } else { [&[count], self.model.output()].concat() }
    }

    pub(super) fn step_inputs(&self, g: &mut Graph) -> StepInputs {
        let state = g.input("state", &[self.state_len()], DType::F32);
        let time = g.input("time", &[1], DType::U32);
        let lambda = g.input("lambda", &[self.layout().len()], DType::F32);
        StepInputs { state, time, lambda }
    }

    /// The new state and the training loss (shape `[1]`) of one step.
    pub(super) fn advance(&self, g: &mut Graph, inputs: &StepInputs) -> (NodeId, NodeId) {
        let (layout, layers) = (self.layout(), self.model.parameter_layers());
        let part = |g: &mut Graph, range: Range<usize>| g.segment(inputs.lambda, range.start, range.len());
        let theta = g.segment(inputs.state, 0, self.model.parameter_count());
        let map = ParameterMap::input(g, &self.model);

        let (x, target, rows) = self.batch(g, inputs.time);
        let x = self.augment(g, inputs, x);
        let factors = self.dropout_factors(g, inputs);
        let weights = self.example_weights(g, inputs.lambda, rows);
        let l2_log = self.penalties(g, inputs.lambda);
        let output = self.model.apply(g, x, &mut reading::Training::new(theta, None, factors));
        let training = TrainingLoss { model: &self.model, map, loss: self.loss, l2_log, weights };
        let mut loss = training.of_output(g, theta, output, target);
        if let Some(value) = self.regularization(g, theta, inputs.lambda) {
            loss = g.add(loss, value);
        }
        g.name(loss, "inner_loss");
        let gradient = grad(g, loss, &[theta])[0];
        g.name(gradient, "inner_gradient");

        let table = part(g, layout.log_lr.clone());
        let table = g.reshape(table, &[self.steps, layers]);
        let row = self.row(g, inputs.time);
        let log_lr = g.take_rows(table, row);
        let log_lr = g.reshape(log_lr, &[layers]);
        let lr = g.scalar(Scalar::Exp, &[log_lr]);
        let eta = g.take_rows(lr, map.layer);
        let scalars: Vec<NodeId> = layout.scalars.clone().map(|k| g.segment(inputs.lambda, k, 1)).collect();
        let state = self.optimizer.step(g, inputs.state, gradient, eta, &scalars);
        let loss = g.reshape(loss, &[1]);
        (state, loss)
    }

    /// The batch of a step: examples, targets, and their rows in the training set.
    fn batch(&self, g: &mut Graph, time: NodeId) -> (NodeId, NodeId, NodeId) {
        let (x, y) = self.training_set(g);
        let rows = match self.batches {
            Source::Table => {
                let table = g.input("batches", &[self.steps, self.batch], DType::U32);
                let row = self.row(g, time);
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
        g.name(rows, "batch_rows");
        let (batch_x, batch_y) = (g.take_rows(x, rows), g.take_rows(y, rows));
        g.name(batch_x, "batch_x");
        (batch_x, batch_y, rows)
    }

    /// The row of the tables of T steps that a step takes: a training that goes on begins again there.
    fn row(&self, g: &mut Graph, time: NodeId) -> NodeId {
        let steps = g.full_u(&[1], self.steps as u32);
        g.scalar(Scalar::RemU, &[time, steps])
    }

    /// The training examples and their targets.
    pub(super) fn training_set(&self, g: &mut Graph) -> (NodeId, NodeId) {
        let x = g.input("train_x", &[&[self.train], self.model.input()].concat(), DType::F32);
        let y = g.input("train_y", &self.target_shape(self.train), self.loss.target_type());
        (x, y)
    }

    /// The weights of the training examples in these rows.
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
    fn augment(&self, g: &mut Graph, inputs: &StepInputs, x: NodeId) -> NodeId {
        let shape = g.shape(x).to_vec();
        let mut x = x;
        if let Some((channels, between)) = shape[1..].split_last() {
            let factors = [&[self.batch][..], &vec![1; between.len()], &[*channels]].concat();
            if let Some(noise) = self.noise(g, inputs, Noise::Scaling, &factors, 0) {
                let factor = g.offset(noise, 1.0);
                x = g.mul(x, factor);
            }
        }
        match self.noise(g, inputs, Noise::Jitter, &shape, 0) {
            Some(noise) => g.add(x, noise),
            None => x,
        }
    }

    /// What the dropout layers multiply by: masks, or noise about 1. Where nothing is dropped, activations pass.
    fn dropout_factors(&self, g: &mut Graph, inputs: &StepInputs) -> Vec<Option<NodeId>> {
        let places = self.model.places().iter().enumerate();
        let factors = places.map(|(k, place)| {
            let shape = [&[self.batch], &place.shape[..]].concat();
            match self.noise(g, inputs, Noise::Dropout, &shape, k as u32) {
                Some(noise) => Some(g.offset(noise, 1.0)),
                None => self.mask(g, inputs.time, k).map(|mask| dropout_factor(g, mask, place.rate)),
            }
        });
        factors.collect()
    }

    /// Normal noise of a step with its standard deviation, if the training has this kind; `stream` tells apart several
    /// of one kind.
    fn noise(&self, g: &mut Graph, inputs: &StepInputs, kind: Noise, shape: &[usize], stream: u32) -> Option<NodeId> {
        let position = self.noise.iter().position(|&other| other == kind)?;
        let deviation = g.segment(inputs.lambda, self.layout().noise_log.start + position, 1);
        let deviation = g.scalar(Scalar::Exp, &[deviation]);
        let count = numel(shape);
        let key = self.stream_key(g, kind.purpose(), inputs.time, count);
        let index = g.iota(&[count], 0);
        let xi = noise::normal(g, key, index, stream);
        let noise = g.mul(deviation, xi);
        Some(g.reshape(noise, shape))
    }

    /// Values in a step's masks: those of each dropout layer, one after another.
    pub(super) fn mask_len(&self) -> usize {
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
                let row = self.row(g, time);
                let row = g.take_rows(table, row);
                let before: usize = self.model.places()[..k].iter().map(|place| numel(&place.shape)).sum();
                let row = g.slice(row, &[0, self.batch * before], &[1, count], &[1, 1]);
                g.reshape(row, &shape)
            }
            Source::Keyed if *rate == 0.0 => return None,
            Source::Keyed => {
                let index = g.iota(&[count], 0);
                let stream = g.full_u(&[count], k as u32);
                let [k0, k1] = self.stream_key(g, Purpose::Dropout, time, count);
                let bits = g.scalar(Scalar::Threefry0, &[k0, k1, index, stream]);
                let threshold = g.full_u(&[count], ((1.0 - rate) * 2f64.powi(32)) as u32);
                let kept = g.scalar(Scalar::LtU, &[bits, threshold]);
                let kept = g.scalar(Scalar::ToFloat, &[kept]);
                g.reshape(kept, &shape)
            }
        };
        Some(g.name(mask, "mask"))
    }

    /// An input that several places of a graph read.
    fn input(&self, g: &mut Graph, name: &str, shape: &[usize], dtype: DType) -> NodeId {
        let known = g.inputs().iter().find(|(other, _)| other == name).map(|(_, id)| *id);
        known.unwrap_or_else(|| g.input(name, shape, dtype))
    }

    /// The two key words of a stream at a step, stretched to `count`; see [`crate::rng::stream_key`].
    fn stream_key(&self, g: &mut Graph, purpose: Purpose, time: NodeId, count: usize) -> [NodeId; 2] {
        let seed = self.input(g, "seed", &[2], DType::U32);
        let seed = [0, 1].map(|k| g.segment(seed, k, 1));
        let purpose = g.full_u(&[1], purpose as u32);
        [Scalar::Threefry0, Scalar::Threefry1].map(|word| {
            let key = g.scalar(word, &[seed[0], seed[1], purpose, time]);
            g.broadcast_to(key, &[count])
        })
    }
}

/// The rows of a chunk of a set with so many examples, and which of them exist; the others are row 0.
pub(super) fn chunk_rows(g: &mut Graph, chunk: NodeId, count: usize) -> (NodeId, NodeId) {
    let size = g.full_u(&[1], CHUNK as u32);
    let first = g.scalar(Scalar::MulU, &[chunk, size]);
    let first = g.broadcast_to(first, &[CHUNK]);
    let offset = g.iota(&[CHUNK], 0);
    let row = g.scalar(Scalar::AddU, &[first, offset]);
    let limit = g.full_u(&[CHUNK], count as u32);
    let valid = g.scalar(Scalar::LtU, &[row, limit]);
    let zero = g.full_u(&[CHUNK], 0);
    (g.select(valid, row, zero), valid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bilevel::Regularizer;
    use crate::bilevel::{Blueprint, Memory};
    use crate::nn::{Layer, Padding};

    #[test]
    fn what_cannot_be_trained_is_refused_before_anything_is_compiled() {
        let layers = Layer::Dense { name: "dense".into(), inputs: 3, outputs: 2, bias: true };
        let model = Model::new(vec![layers], &[3]).unwrap();
        let wide = Layer::Conv1d {
            name: "conv".into(),
            k: 3,
            cin: 3,
            cout: 2,
            stride: 1,
            padding: Padding::VALID,
            bias: false,
        };
        let sound = Problem::new(model, Loss::CrossEntropy, crate::nn::optim::Sgd, 4, 10);
        let cases = [
            (Problem { steps: 0, ..sound.clone() }, "no training steps"),
            (Problem { batch: 0, ..sound.clone() }, "no example"),
            (Problem { batch: 11, ..sound.clone() }, "only 10"),
            (Problem { train: 0, ..sound.clone() }, "no training example"),
            (Problem { model: Model::new(vec![Layer::Relu], &[3]).unwrap(), ..sound.clone() }, "no weights"),
            (Problem { outer_loss: Loss::MeanSquaredError, ..sound.clone() }, "takes labels and the outer loss values"),
            (Problem { model: Model::new(vec![wide], &[4, 3]).unwrap(), ..sound.clone() }, "shape [2, 2]"),
            (Problem { noise: vec![Noise::Dropout], ..sound.clone() }, "it has none"),
            (Problem { noise: vec![Noise::Jitter; 2], ..sound.clone() }, "named twice"),
            (Problem { regularizer: Some(Regularizer::new(0, |g, w, _| g.sum_all(w))), ..sound.clone() }, "at least 1"),
            (Problem { regularizer: Some(Regularizer::new(1, |_, w, _| w)), ..sound.clone() }, "is one number"),
            (
                Problem { loss: Loss::Own { labels: true, each: |_, output, _| output }, ..sound.clone() },
                "shape [3, 2]",
            ),
        ];
        for (problem, words) in cases {
            let Err(error) = Blueprint::new(&problem, 5, Memory::Slots(2)) else { panic!("{words}") };
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(Blueprint::new(&sound, 5, Memory::Slots(2)).is_ok());
    }
}
