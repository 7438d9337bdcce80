//! The supervised problem: a model trained on examples, judged by its loss on others.
//!
//! The hyperparameters reach the step as general arrays ([`Layout`]): a log learning rate for every
//! step and layer, the optimiser's scalars, a log penalty for every layer, a raw weight for every
//! training example. Shared values and constraints are maps in front (`hyperparameters`).

use std::ops::Range;

use super::noise::Noise;
use super::{Decay, Loss, Regularizer};
use crate::bilevel::SolveError;
use crate::data::Standardizer;
use crate::ir::{DType, Graph, numel};
use crate::nn::{Model, optim::Dynamics};

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
    /// What is trained.
    pub model: Model,
    /// What bytes stand for where examples are bytes (the scale of the training set); `None` where they are numbers.
    pub bytes: Option<Standardizer>,
    /// Inner loss of an example.
    pub loss: Loss,
    /// Outer loss of an example; its targets are of the same type.
    pub outer_loss: Loss,
    /// How it is trained.
    pub optimizer: Dynamics,
    /// Training steps T.
    pub steps: usize,
    /// How the learning rates fall towards the last of them.
    pub decay: Decay,
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
    /// Whether the initial weights are hyperparameters, instead of those that a session is given.
    pub initial_weights: bool,
    /// Whether a factor on the initial weights is one.
    pub initial_scale: bool,
    /// Validation examples, which the outer loss is taken on; a session counts those that it is given.
    pub validation: usize,
    /// Examples of the pool that training and validation examples are rows of; `None` where they are sets of their own.
    pub pool: Option<usize>,
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
    /// Raw weights `[training examples]`, or `[examples of the pool]` where they lie in one; empty without weights.
    pub weights: Range<usize>,
    /// The regularizer's own, as it takes them.
    pub regularizer: Range<usize>,
    /// Log standard deviations of the noise, in its order.
    pub noise_log: Range<usize>,
    /// Log factor on the initial weights; empty without.
    pub initial_scale_log: Range<usize>,
    /// Initial weights; empty where they are given.
    pub initial_weights: Range<usize>,
}

impl Layout {
    /// Length of the vector.
    pub fn len(&self) -> usize {
        self.initial_weights.end
    }

    /// Whether there is no hyperparameter at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of a whole-set loss that one dispatch sequence handles.
pub const CHUNK: usize = 128;

impl Problem {
    /// A training on all examples at once, with the model's dropout, without decay, penalties, weights and noise.
    pub fn new(model: Model, loss: Loss, optimizer: impl Into<Dynamics>, steps: usize, train: usize) -> Self {
        let masks = model.places().iter().any(|place| place.rate > 0.0).then_some(Source::Keyed);
        Problem {
            model,
            bytes: None,
            loss,
            outer_loss: loss,
            optimizer: optimizer.into(),
            steps,
            decay: Decay::None,
            batch: train,
            train,
            batches: Source::Keyed,
            masks,
            l2: false,
            weights: false,
            regularizer: None,
            noise: vec![],
            initial_weights: false,
            initial_scale: false,
            validation: 0,
            pool: None,
        }
    }

    /// Whether there is something to train, and enough of it for a batch, and losses, noise and regularizer fit the
    /// model.
    pub fn check(&self) -> Result<(), SolveError> {
        let Problem { steps, batch, train, .. } = *self;
        let output = self.model.output();
        let twice = |noise: &Noise| self.noise.iter().filter(|other| *other == noise).count() > 1;
        let wrong = match () {
            () if self.pool == Some(0) => "its pool has no example; give it at least 1".to_owned(),
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
            () if self.noise.iter().any(twice) => "a kind of noise is named twice".to_owned(),
            () if self.regularizer.as_ref().is_some_and(|regularizer| regularizer.len == 0) => {
                "the regularizer has no hyperparameter; give it at least 1".to_owned()
            }
            () if steps == 0 => "it has no training steps; give at least 1".to_owned(),
            () if batch == 0 => "a batch holds no example; give at least 1".to_owned(),
            () if batch > train && self.batches == Source::Keyed => {
                format!("a batch of {batch} holds no example twice, but there are only {train}")
            }
            () if self.rates_and_own().is_none_or(|entries| entries >= 1 << 31) => {
                "its log learning rates, one for each step and layer, and the regularizer's hyperparameters are 2³¹ or \
                 more; take fewer steps"
                    .to_owned()
            }
            () => match self.wrong_scale().or_else(|| self.check_own()) {
                Some(wrong) => wrong,
                None => return Ok(()),
            },
        };
        Err(SolveError::Problem(wrong))
    }

    /// How many of the hyperparameters no data or model bounds; none where that is no number.
    fn rates_and_own(&self) -> Option<usize> {
        let rates = self.steps.checked_mul(self.model.parameter_layers())?;
        rates.checked_add(self.regularizer.as_ref().map_or(0, |regularizer| regularizer.len))
    }

    /// What is wrong with the scale of bytes.
    fn wrong_scale(&self) -> Option<String> {
        let scale = self.bytes.as_ref()?;
        let (channels, example) = (scale.mean.len(), numel(self.model.input()));
        if channels == 0 || !example.is_multiple_of(channels) {
            return Some(format!("the scale is of {channels} channels, and an example has {example} values"));
        }
        scale.wrong(channels)
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

    /// Where each array lies for this problem.
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
            weights: take(if self.weights { self.pool.unwrap_or(self.train) } else { 0 }),
            regularizer: take(self.regularizer.as_ref().map_or(0, |r| r.len)),
            noise_log: take(self.noise.len()),
            initial_scale_log: take(usize::from(self.initial_scale)),
            initial_weights: take(if self.initial_weights { self.model.parameter_count() } else { 0 }),
        }
    }

    /// Where dropout masks come from, if the training has any: noise may stand in their place.
    pub(in crate::bilevel) fn masked(&self) -> Option<Source> {
        self.masks.filter(|_| !self.model.places().is_empty() && !self.noise.contains(&Noise::Dropout))
    }

    /// Whether anything in a step is drawn.
    pub(super) fn takes_seed(&self) -> bool {
        self.batches == Source::Keyed || self.masked() == Some(Source::Keyed) || !self.noise.is_empty()
    }

    /// Length D of the training state: weights, slots of the optimiser, running statistics.
    pub fn state_len(&self) -> usize {
        self.optimizer_len() + self.model.statistic_count()
    }

    /// How much of the state is the optimiser's: weights and slots, which come first.
    pub(super) fn optimizer_len(&self) -> usize {
        self.optimizer.state_len(self.model.parameter_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            dilation: 1,
            groups: 1,
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
