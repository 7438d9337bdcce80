//! How a model is read. What is done with parameters, batch norm and dropout is the reading's; all else is the model's.

use super::functions::{self, Moments};
use super::layer::{Linear, Statistics};
use super::{Parameter, Statistic};
use crate::ir::{Graph, NodeId, numel};

/// A linear map with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// Its matrix or kernel.
    pub kernel: Parameter,
    /// What is added, if anything.
    pub bias: Option<Parameter>,
    pub(super) map: Linear,
}

impl Affine {
    /// The map of an activation `[batch, …]` with this kernel, without bias.
    pub fn linear(&self, g: &mut Graph, h: NodeId, kernel: NodeId) -> NodeId {
        self.map.apply(g, h, kernel)
    }
}

/// A batch norm with its parameters and statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// What multiplies, if it is not 1.
    pub scale: Option<Parameter>,
    /// What is added, if anything.
    pub offset: Option<Parameter>,
    /// Running mean.
    pub mean: Statistic,
    /// Running variance.
    pub variance: Statistic,
    /// What is added to the variance.
    pub epsilon: f64,
    /// What a training normalises by.
    pub statistics: Statistics,
}

/// Share of the batch in new running statistics (`momentum` in PyTorch).
const FRESH: f64 = 0.1;

impl Norm {
    /// scale · centred / √(variance + ε) + offset.
    fn apply(&self, g: &mut Graph, weights: NodeId, centred: NodeId, variance: NodeId) -> NodeId {
        let [scale, offset] = [&self.scale, &self.offset].map(|p| p.as_ref().map(|p| p.read(g, weights)));
        functions::standardize(g, centred, variance, scale, offset, self.epsilon)
    }

    /// The running mean and variance once a batch with these moments has entered them: 0.9 of the old, 0.1 of the
    /// batch's, its variance unbiased.
    fn entered(&self, g: &mut Graph, running: NodeId, h: NodeId, moments: &Moments) -> [NodeId; 2] {
        let count = numel(&g.shape(h)[..g.shape(h).len() - 1]) as f64;
        let unbiased = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
        [(&self.mean, moments.mean, 1.0), (&self.variance, moments.variance, unbiased)].map(
            |(statistic, new, factor)| {
                let old = statistic.read(g, running);
                let new = g.reshape(new, &[statistic.len]);
                let (old, new) = (g.scale(old, 1.0 - FRESH), g.scale(new, FRESH * factor));
                g.add(old, new)
            },
        )
    }
}

/// A way to read a model.
pub trait Reading {
    /// What a linear layer makes of an activation.
    fn affine(&mut self, g: &mut Graph, layer: &Affine, h: NodeId) -> NodeId;

    /// What batch norm makes of an activation.
    fn normalize(&mut self, g: &mut Graph, layer: &Norm, h: NodeId) -> NodeId;

    /// What a place of dropout, counted from 0, makes of an activation.
    fn drop(&mut self, _g: &mut Graph, _place: usize, h: NodeId) -> NodeId {
        h
    }
}

/// The model as it predicts: its weights, running statistics, no dropout.
pub struct Predicting {
    /// The parameter vector.
    pub weights: NodeId,
    /// The vector of running statistics; none where the model has none.
    pub running: Option<NodeId>,
}

impl Reading for Predicting {
    fn affine(&mut self, g: &mut Graph, layer: &Affine, h: NodeId) -> NodeId {
        with_weights(g, layer, self.weights, h)
    }

    fn normalize(&mut self, g: &mut Graph, layer: &Norm, h: NodeId) -> NodeId {
        let running = self.running.expect("a model with batch norm is read with running statistics");
        let [mean, variance] = [&layer.mean, &layer.variance].map(|statistic| statistic.read(g, running));
        let centred = g.sub(h, mean);
        layer.apply(g, self.weights, centred, variance)
    }
}

/// The model as a training step reads it.
pub struct Training {
    weights: NodeId,
    running: Option<NodeId>,
    factors: Vec<Option<NodeId>>,
    entered: Vec<NodeId>,
}

impl Training {
    /// With a parameter vector, the vector of running statistics before the step, and what activations are multiplied
    /// by at each place of dropout (`[batch, …]`, such as [`functions::dropout_factor`]); without a factor they pass.
    pub fn new(weights: NodeId, running: Option<NodeId>, factors: Vec<Option<NodeId>>) -> Self {
        Training { weights, running, factors, entered: vec![] }
    }

    /// The running statistics that the batch has entered, once the model is read; none where there are none.
    pub fn running(&self, g: &mut Graph) -> Option<NodeId> {
        (!self.entered.is_empty()).then(|| g.concat(&self.entered))
    }
}

impl Reading for Training {
    fn affine(&mut self, g: &mut Graph, layer: &Affine, h: NodeId) -> NodeId {
        with_weights(g, layer, self.weights, h)
    }

    fn normalize(&mut self, g: &mut Graph, layer: &Norm, h: NodeId) -> NodeId {
        let axes: Vec<usize> = (0..g.shape(h).len() - 1).collect();
        let moments = functions::moments(g, h, &axes);
        let entered = self.running.map(|running| layer.entered(g, running, h, &moments));
        self.entered.extend(entered.into_iter().flatten());
        let (centred, variance) = match (layer.statistics, entered) {
            (Statistics::Running, Some([mean, variance])) => (g.sub(h, mean), variance),
            _ => (moments.centred, moments.variance),
        };
        layer.apply(g, self.weights, centred, variance)
    }

    fn drop(&mut self, g: &mut Graph, place: usize, h: NodeId) -> NodeId {
        self.factors.get(place).copied().flatten().map_or(h, |factor| g.mul(h, factor))
    }
}

/// kernel · h + bias.
fn with_weights(g: &mut Graph, layer: &Affine, weights: NodeId, h: NodeId) -> NodeId {
    let kernel = layer.kernel.read(g, weights);
    let h = layer.linear(g, h, kernel);
    match &layer.bias {
        Some(bias) => {
            let bias = bias.read(g, weights);
            g.add(h, bias)
        }
        None => h,
    }
}
