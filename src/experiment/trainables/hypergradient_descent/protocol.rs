//! What the authors' program trains, and how: networks, first weights, order of the images, optimisers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::experiment::config::ConfigError;
use crate::experiment::error::TuneError;
use crate::experiment::trainables::weights;
use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::optim::{Adam, Dynamics, Epsilon, HypergradientDescent, Nesterov, Rule, Sgd};
use crate::nn::{Layer, Model};
use crate::rng::{Purpose, permute_index, split_seed, stream_key};

/// Images in a batch.
pub(super) const BATCH: usize = 128;
/// The learning rate that every variant begins with.
pub(super) const RATE: f64 = 1e-3;
/// L2 penalty, on biases too.
pub(super) const PENALTY: f64 = 1e-4;
/// Mean and deviation of the pixels, of 0 to 1.
pub(super) const PIXELS: [f32; 2] = [0.1307, 0.3081];

/// What such a trial is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Hidden layers of the network, each so wide and followed by ReLU; none is logistic regression.
    pub hidden: Vec<usize>,
    /// What trains it.
    pub variant: Variant,
    /// Times that it goes through the training images.
    pub epochs: u32,
    /// Training images, the first ones of the published; all where nothing is said.
    pub images: Option<usize>,
    /// Of the first weights and the order of the images.
    pub seed: u32,
}

/// What trains a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Stochastic gradient descent.
    Sgd,
    /// The same with hypergradient descent.
    SgdHd,
    /// Nesterov's momentum, 0.9.
    Sgdn,
    /// The same with hypergradient descent.
    SgdnHd,
    /// Adam.
    Adam,
    /// The same with hypergradient descent.
    AdamHd,
    /// The same as the published program has it, whose learning rate moves on from tensor to tensor.
    AdamHdPerTensor,
}

impl Variant {
    /// The optimiser for a model.
    pub(super) fn dynamics(self, model: &Model) -> Dynamics {
        let moved = |base: Dynamics, rate| HypergradientDescent::new(base, Rule::Additive, &[rate]);
        let adam = || Dynamics::from(Adam(Epsilon::Outside));
        match self {
            Variant::Sgd => Sgd.into(),
            Variant::SgdHd => moved(Sgd.into(), 1e-3).into(),
            Variant::Sgdn => Nesterov.into(),
            Variant::SgdnHd => moved(Nesterov.into(), 1e-3).into(),
            Variant::Adam => adam(),
            Variant::AdamHd => moved(adam(), 1e-7).into(),
            Variant::AdamHdPerTensor => {
                let sizes: Vec<usize> = model.parameters().iter().map(|p| p.len()).collect();
                moved(adam(), 1e-7).per_tensor(&sizes).into()
            }
        }
    }
}

/// Values of the optimisers' scalars, as the published program has them.
pub(super) fn scalar(name: &str, usual: f64) -> f64 {
    match name {
        "momentum" => 0.9,
        "epsilon" => 1e-8,
        _ => usual,
    }
}

/// ½ λ ‖w‖² over all weights.
pub(super) fn penalty(g: &mut Graph, weights: NodeId, log: NodeId) -> NodeId {
    let squares = g.mul(weights, weights);
    let sum = g.sum_all(squares);
    let sum = g.reshape(sum, &[1]);
    let factor = g.scalar(Scalar::Exp, &[log]);
    let product = g.mul(factor, sum);
    g.scale(product, 0.5)
}

/// What the loss has of the penalty at these weights.
pub(super) fn penalty_at(weights: &[f32]) -> f64 {
    0.5 * PENALTY * weights.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>()
}

impl Settings {
    pub(super) fn model(&self) -> Result<Model, TuneError> {
        let widths = [&[28 * 28], &self.hidden[..], &[10]].concat();
        let mut layers = vec![];
        for (k, pair) in widths.windows(2).enumerate() {
            if k > 0 {
                layers.push(Layer::Relu);
            }
            layers.push(Layer::Dense {
                name: format!("dense{}", k + 1),
                inputs: pair[0],
                outputs: pair[1],
                bias: true,
            });
        }
        let wrong = |message: String| ConfigError::Setting { field: "hidden".to_owned(), message };
        Model::new(layers, &[28 * 28]).map_err(|error| wrong(error.to_string()).into())
    }

    /// Weights and biases, uniform between ∓ 1 / √(inputs of the layer).
    pub(super) fn initial(&self, model: &Model) -> Vec<f32> {
        weights::uniform(model, self.seed.into(), 0)
    }

    /// The order of the training images in an epoch.
    pub(super) fn order(&self, epoch: u32, images: usize) -> Vec<u32> {
        let key = stream_key(split_seed(self.seed.into()), Purpose::Batch, epoch);
        (0..images as u32).map(|i| permute_index(key, images as u32, i)).collect()
    }
}
