//! The inner and outer losses.

use std::fmt;
use std::rc::Rc;

use crate::ir::{DType, Graph, NodeId, Scalar};
use crate::nn::{Model, functions};

/// Loss of one example.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// Softmax cross-entropy of logits `[n, classes]` with labels `[n]`.
    CrossEntropy,
    /// Squared error, mean over the outputs, with targets of the outputs' shape.
    MeanSquaredError,
    /// One's own, of outputs and targets `[n, …]` (words where they are labels): its value for each
    /// example, `[n]`.
    Own {
        /// Whether targets are labels.
        labels: bool,
        /// From outputs and targets to the losses.
        each: fn(&mut Graph, NodeId, NodeId) -> NodeId,
    },
}

impl Loss {
    /// The loss that a reference case calls `xent` or `mse`.
    pub fn from_case(name: &str) -> Option<Self> {
        match name {
            "xent" => Some(Loss::CrossEntropy),
            "mse" => Some(Loss::MeanSquaredError),
            _ => None,
        }
    }

    /// Whether its targets are labels, one an example, and not values of the outputs' shape.
    pub fn takes_labels(self) -> bool {
        match self {
            Loss::CrossEntropy => true,
            Loss::MeanSquaredError => false,
            Loss::Own { labels, .. } => labels,
        }
    }

    /// Whether its labels name outputs of the model.
    pub(in crate::bilevel) fn has_classes(self) -> bool {
        matches!(self, Loss::CrossEntropy)
    }

    /// Type of its targets.
    pub fn target_type(self) -> DType {
        if self.takes_labels() { DType::U32 } else { DType::F32 }
    }

    /// The loss of each example, `[n]`.
    pub fn each(self, g: &mut Graph, output: NodeId, target: NodeId) -> NodeId {
        match self {
            Loss::CrossEntropy => functions::cross_entropy_each(g, output, target),
            Loss::MeanSquaredError => functions::mse_each(g, output, target),
            Loss::Own { each, .. } => each(g, output, target),
        }
    }
}

/// A term of the inner loss that depends on weights and hyperparameters alone.
#[derive(Clone)]
pub struct Regularizer {
    /// Its hyperparameters.
    pub len: usize,
    value: Rc<RegularizerValue>,
}

type RegularizerValue = dyn Fn(&mut Graph, NodeId, NodeId) -> NodeId;

impl Regularizer {
    /// One of so many hyperparameters; `value` makes a scalar of the weights, one vector in the order of
    /// [`Model::parameters`], and of the hyperparameters `[len]`, which are unconstrained: take the
    /// exponential where they are to be positive.
    pub fn new(len: usize, value: impl Fn(&mut Graph, NodeId, NodeId) -> NodeId + 'static) -> Self {
        Regularizer { len, value: Rc::new(value) }
    }

    /// What the function makes, which should be one number.
    pub(super) fn raw(&self, g: &mut Graph, weights: NodeId, hyperparameters: NodeId) -> NodeId {
        (self.value)(g, weights, hyperparameters)
    }

    pub(super) fn value(&self, g: &mut Graph, weights: NodeId, hyperparameters: NodeId) -> NodeId {
        let value = self.raw(g, weights, hyperparameters);
        g.reshape(value, &[])
    }
}

impl fmt::Debug for Regularizer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Regularizer").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The training loss: mean over the batch of weight · loss, plus ½ Σ over layers of
/// exp(l2_log) ‖kernel‖².
pub struct TrainingLoss<'a> {
    /// The model.
    pub model: &'a Model,
    /// Loss of an example.
    pub loss: Loss,
    /// Log penalties `[parameter layers]`.
    pub l2_log: Option<NodeId>,
    /// Weights `[batch]`; they multiply and are not normalised.
    pub weights: Option<NodeId>,
}

impl TrainingLoss<'_> {
    /// Its value, a scalar, for the model's output on a batch.
    pub fn of_output(&self, g: &mut Graph, theta: NodeId, output: NodeId, target: NodeId) -> NodeId {
        let mut each = self.loss.each(g, output, target);
        if let Some(weights) = self.weights {
            each = g.mul(each, weights);
        }
        let batch = g.shape(each)[0];
        let sum = g.sum_all(each);
        let mean = g.scale(sum, 1.0 / batch as f64);
        match self.l2_log {
            Some(l2_log) => {
                let penalty = self.penalty(g, theta, l2_log);
                g.add(mean, penalty)
            }
            None => mean,
        }
    }

    /// ½ Σ over layers of exp(l2_log) ‖kernel‖².
    pub(super) fn penalty(&self, g: &mut Graph, theta: NodeId, l2_log: NodeId) -> NodeId {
        let strength = g.scalar(Scalar::Exp, &[l2_log]);
        let along = g.repeat(strength, &self.model.kernel_runs());
        let square = g.mul(theta, theta);
        let terms = g.mul(along, square);
        let sum = g.sum_all(terms);
        g.scale(sum, 0.5)
    }
}
