//! Noise in the training steps whose strength is a hyperparameter (algorithms.md A.10).
//!
//! Draws are functions of (seed, purpose, step, index), so a step that is run again sees the same. The
//! strengths reach the step as logarithms of standard deviations.

use serde::{Deserialize, Serialize};

use crate::rng::Purpose;

/// A kind of noise. Each has one strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// Gaussian dropout: the activations at the model's dropout layers are multiplied by 1 + s ξ. With
    /// s = √(p / (1 − p)) they have the variance of dropout at rate p, whose own masks have no derivative.
    Dropout,
    /// Every value of an example gets σ ξ added.
    Jitter,
    /// Every channel (last axis) of an example is multiplied by 1 + κ ξ.
    Scaling,
}

impl Noise {
    /// The stream of its draws.
    pub(super) fn purpose(self) -> Purpose {
        match self {
            Noise::Dropout => Purpose::GaussianDropout,
            Noise::Jitter => Purpose::Jitter,
            Noise::Scaling => Purpose::Scaling,
        }
    }
}
