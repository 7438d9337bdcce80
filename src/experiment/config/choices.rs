//! What there is to choose among: tasks, usual hyperparameters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::{Decay, Loss};
use crate::data::Dataset;
use crate::nn::functions;
use crate::nn::optim::Optimizer;

/// Windows in a training batch, where there are so many.
pub const USUAL_BATCH: u32 = 64;

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

/// What is tuned where nothing else is asked for: the learning rate, what an optimiser has besides but its ε, and the
/// penalties.
pub fn usual_hyperparameters(optimizer: &dyn Optimizer) -> Vec<Kind> {
    let own = [Kind::Momentum, Kind::Betas].into_iter().filter(|kind| kind.is_of(optimizer));
    [Kind::Lr].into_iter().chain(own).chain([Kind::L2]).collect()
}

/// How the learning rate falls where nothing else is asked for: one that moves by itself does not fall besides.
pub fn usual_decay(optimizer: &dyn Optimizer) -> Decay {
    if Kind::HypergradientRate.is_of(optimizer) { Decay::None } else { Decay::TAIL }
}
