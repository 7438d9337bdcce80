//! What is learned across tasks, by name.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bilevel::Decay;
use crate::bilevel::meta::{
    Distance, Head, Learner, Maml, MetaLstm, Metric, Order, Representation, Shape, Siamese, Snail, Transfer,
};
use crate::experiment::config::ConfigError;
use crate::nn::optim::{Adam, Dynamics, Epsilon, Sgd};
use crate::nn::{Layer, Model, ModelError, zoo};

/// What is learned across tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Method {
    /// Hyper-representation (Franceschi et al. 2018): a feature map; each task trains a linear classifier.
    Representation {
        /// How the classifier is trained; by gradient descent where nothing is said.
        #[serde(default = "descent")]
        #[schemars(with = "String")]
        optimizer: Dynamics,
        /// Steps of it.
        inner_steps: usize,
        /// Its learning rate at first.
        inner_rate: f64,
        /// Whether that is learned.
        learn_rate: bool,
    },
    /// The same with the classifier of ridge regression in closed form.
    Ridge {
        /// Its penalty at first, which is learned.
        penalty: f64,
    },
    /// The classifier of hyper-representation on features that stay as they were drawn: the floor.
    RandomFeatures {
        /// Steps of the classifier.
        inner_steps: usize,
        /// Its learning rate.
        inner_rate: f64,
    },
    /// Logistic regression on statistics of the windows, without a network and anything that is learned across tasks.
    Statistics {
        /// Steps of the classifier.
        inner_steps: usize,
        /// Its learning rate.
        inner_rate: f64,
    },
    /// Where all tasks begin (Finn et al. 2017): each trains the whole network.
    Maml {
        /// What is followed.
        order: Following,
        /// Steps of a task while it learns; none learns one network for all tasks.
        inner_steps: usize,
        /// Steps of a task where it is judged.
        judged_steps: usize,
        /// Learning rate of these.
        inner_rate: f64,
    },
    /// Prototypical networks (Snell et al. 2017).
    Prototypical,
    /// Matching networks (Vinyals et al. 2016), without full context.
    Matching,
    /// Siamese networks (Koch et al. 2015).
    Siamese,
    /// SNAIL (Mishra et al. 2018).
    Snail {
        /// Keys of its first attention, which its other widths are multiples of.
        width: usize,
    },
    /// Meta-LSTM (Ravi and Larochelle 2017).
    MetaLstm {
        /// Steps of a task.
        inner_steps: usize,
        /// Units of its recurrent layer.
        units: usize,
    },
    /// Classical transfer: one network on all classes, whose features are kept.
    Transfer {
        /// Steps of a task's classifier.
        inner_steps: usize,
        /// Its learning rate.
        inner_rate: f64,
    },
}

/// What a task says of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Following {
    /// The gradient through the task's training.
    Second,
    /// That at its end (FOMAML).
    First,
    /// Its end itself (Reptile, Nichol et al. 2018).
    Reptile,
}

fn descent() -> Dynamics {
    Sgd.into()
}

impl Method {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |message: &str| {
            Err(ConfigError::Setting { field: "method".to_owned(), message: format!("{message}, and it is {self:?}") })
        };
        let is_rate = |rate: f64| rate > 0.0 && rate.is_finite();
        match *self {
            Method::Representation { inner_steps: 0, .. }
            | Method::RandomFeatures { inner_steps: 0, .. }
            | Method::Statistics { inner_steps: 0, .. }
            | Method::Transfer { inner_steps: 0, .. } => wrong("a classifier takes at least one step"),
            Method::MetaLstm { inner_steps, units } if inner_steps == 0 || units == 0 => {
                wrong("steps and units are at least 1")
            }
            Method::Snail { width } if width < 2 => wrong("the width is at least 2"),
            Method::Maml { order: Following::Reptile, inner_steps: 0, .. } => wrong("Reptile takes at least one step"),
            Method::Representation { inner_rate: rate, .. }
            | Method::RandomFeatures { inner_rate: rate, .. }
            | Method::Statistics { inner_rate: rate, .. }
            | Method::Maml { inner_rate: rate, .. }
            | Method::Transfer { inner_rate: rate, .. }
            | Method::Ridge { penalty: rate }
                if !is_rate(rate) =>
            {
                wrong("rates and penalties are above 0")
            }
            _ => Ok(()),
        }
    }

    /// Whether it takes statistics of windows for these.
    pub(super) fn takes_statistics(&self) -> bool {
        matches!(self, Method::Statistics { .. })
    }

    /// Whether it can only tell as many classes as it has learned from.
    pub(super) fn has_fixed_ways(&self) -> bool {
        matches!(self, Method::Maml { .. } | Method::Snail { .. } | Method::MetaLstm { .. })
    }

    /// What moves what is shared: Adam, and for Reptile plain steps along the mean way.
    pub(super) fn outer(&self) -> Dynamics {
        match self {
            Method::Maml { order: Following::Reptile, .. } => Sgd.into(),
            _ => Adam(Epsilon::Outside).into(),
        }
    }

    /// How its rate falls: Reptile's from the first step on.
    pub(super) fn decay(&self) -> Decay {
        match self {
            Method::Maml { order: Following::Reptile, .. } => Decay::Linear { share: 1.0 },
            _ => Decay::TAIL,
        }
    }

    /// The learner of tasks of so many classes, from examples of this shape in so many cells.
    pub(super) fn learner(
        &self,
        input: &[usize],
        filters: usize,
        shape: Shape,
        cells: usize,
    ) -> Result<Rc<dyn Learner>, ConfigError> {
        let ways = shape.ways;
        let wrong =
            |error: ModelError| ConfigError::Setting { field: "filters".to_owned(), message: error.to_string() };
        let body = match self {
            Method::Statistics { .. } => Model::new(vec![Layer::Flatten], input),
            _ => zoo::few_shot_body(input, filters),
        };
        let body = body.map_err(wrong)?;
        let classifier = |body: &Model| {
            let inputs = body.output()[0];
            body.clone().then(Layer::Dense { name: "head".to_owned(), inputs, outputs: ways, bias: true })
        };
        let representation = |head, start, learn_start, frozen| {
            Rc::new(Representation { body: body.clone(), head, start, learn_start, frozen })
        };
        let metric = |distance| Rc::new(Metric { embedding: body.clone(), distance });
        Ok(match self {
            Method::Representation { optimizer, inner_steps, inner_rate, learn_rate } => {
                let head = Head::Steps { optimizer: optimizer.clone(), steps: *inner_steps };
                representation(head, *inner_rate, *learn_rate, false)
            }
            Method::Ridge { penalty } => representation(Head::Ridge, *penalty, true, false),
            Method::RandomFeatures { inner_steps, inner_rate } | Method::Statistics { inner_steps, inner_rate } => {
                let head = Head::Steps { optimizer: Sgd.into(), steps: *inner_steps };
                representation(head, *inner_rate, false, true)
            }
            Method::Maml { order, inner_steps, judged_steps, inner_rate } => Rc::new(Maml {
                model: classifier(&body).map_err(wrong)?,
                steps: *inner_steps,
                judged_steps: *judged_steps,
                rate: *inner_rate,
                learn_rate: false,
                not_adapted: vec![],
                order: match order {
                    Following::Second => Order::Second,
                    Following::First => Order::First,
                    Following::Reptile => Order::Reptile,
                },
            }),
            Method::Prototypical => metric(Distance::Prototypes),
            Method::Matching => metric(Distance::Cosines),
            Method::Siamese => Rc::new(Siamese { embedding: body }),
            Method::Snail { width } => {
                Rc::new(Snail { embedding: body, ways, support: shape.support(), width: *width })
            }
            Method::MetaLstm { inner_steps, units } => {
                let model = classifier(&body).map_err(wrong)?;
                Rc::new(MetaLstm { model, steps: *inner_steps, units: *units })
            }
            Method::Transfer { inner_steps, inner_rate } => {
                let head = Head::Steps { optimizer: Sgd.into(), steps: *inner_steps };
                let (start, learn_start, frozen) = (*inner_rate, false, false);
                let tasks = Representation { body, head, start, learn_start, frozen };
                Rc::new(Transfer { tasks, cells })
            }
        })
    }
}
