//! What there is to choose among: networks, tasks, inner dynamics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words;
use crate::bilevel::Loss;
use crate::bilevel::hyperparameters::Kind;
use crate::data::Dataset;
use crate::nn::functions;
use crate::nn::optim::{Epsilon, Optimizer};

/// The network to train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Network {
    /// 8 filters, 16 hidden units: fast, for slow machines and for trying things out.
    #[default]
    Narrow,
    /// 64 filters, 100 hidden units: the full network of the papers.
    Paper,
}

impl Network {
    /// Filters of each convolution.
    pub fn filters(self) -> usize {
        match self {
            Network::Narrow => 8,
            Network::Paper => 64,
        }
    }

    /// Units of the hidden dense layer.
    pub fn hidden(self) -> usize {
        match self {
            Network::Narrow => 16,
            Network::Paper => 100,
        }
    }
}

/// What the network is to learn of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Task {
    /// Its activity: softmax and cross-entropy.
    #[default]
    Classification,
    /// Its activity, as the first paper prints it: softplus outputs and their squared error.
    ClassificationMse,
    /// The sample that follows, every channel scaled to 0…1: softplus outputs and their squared error.
    Prediction,
    /// The same with linear outputs.
    PredictionLinear,
}

impl Task {
    /// Whether it is the activity that is learnt, and not the next sample.
    pub fn classifies(self) -> bool {
        matches!(self, Task::Classification | Task::ClassificationMse)
    }

    /// Outputs of the network on windows with their activity.
    pub fn outputs(self, data: &Dataset) -> usize {
        let about = data.about();
        if self.classifies() { about.outputs.len() } else { about.channels.len() }
    }

    /// Whether the outputs pass through softplus.
    pub fn softplus(self) -> bool {
        matches!(self, Task::ClassificationMse | Task::Prediction)
    }

    /// Inner and outer loss of a window.
    pub fn loss(self) -> Loss {
        match self {
            Task::Classification => Loss::CrossEntropy,
            Task::ClassificationMse => Loss::Own { labels: true, each: functions::one_hot_mse_each },
            Task::Prediction | Task::PredictionLinear => Loss::MeanSquaredError,
        }
    }
}

/// How the inner problem is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Dynamics {
    /// Stochastic gradient descent.
    #[cfg_attr(feature = "cli", value(help = words::SGD))]
    #[schemars(description = words::SGD)]
    Sgd,
    /// With momentum, in its velocity form.
    #[cfg_attr(feature = "cli", value(help = words::VELOCITY))]
    #[schemars(description = words::VELOCITY)]
    #[default]
    Momentum,
    /// With momentum, in Polyak's position form.
    #[cfg_attr(feature = "cli", value(help = words::HEAVY_BALL))]
    #[schemars(description = words::HEAVY_BALL)]
    HeavyBall,
    /// With Nesterov's momentum.
    #[cfg_attr(feature = "cli", value(help = words::NESTEROV))]
    #[schemars(description = words::NESTEROV)]
    Nesterov,
    /// Adam, with ε inside the root.
    #[cfg_attr(feature = "cli", value(help = words::ADAM))]
    #[schemars(description = words::ADAM)]
    Adam,
}

impl Dynamics {
    /// What is tuned where nothing else is asked for.
    pub fn usual_hyperparameters(self) -> Vec<Kind> {
        match self {
            Dynamics::Sgd => vec![Kind::Lr, Kind::L2],
            Dynamics::Adam => vec![Kind::Lr, Kind::Betas, Kind::L2],
            Dynamics::Momentum | Dynamics::HeavyBall | Dynamics::Nesterov => vec![Kind::Lr, Kind::Momentum, Kind::L2],
        }
    }

    /// Whether it has a momentum.
    pub fn has_momentum(self) -> bool {
        matches!(self, Dynamics::Momentum | Dynamics::HeavyBall | Dynamics::Nesterov)
    }

    /// The inner optimiser.
    pub fn optimizer(self) -> Optimizer {
        match self {
            Dynamics::Sgd => Optimizer::Sgd,
            Dynamics::Momentum => Optimizer::Momentum,
            Dynamics::HeavyBall => Optimizer::HeavyBall,
            Dynamics::Nesterov => Optimizer::Nesterov,
            Dynamics::Adam => Optimizer::Adam(Epsilon::Inside),
        }
    }
}
