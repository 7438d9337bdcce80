//! Hyperparameters moved by hand.

use serde::Serialize;
use tsify::Tsify;

/// The hypergradient at a point that the visitor chose.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Slope {
    /// The outer loss there.
    pub loss: f64,
    /// Whether training there is past the edge of stability, and the hypergradient noise.
    pub past_edge: bool,
    /// What can be moved.
    pub variables: Vec<Movable>,
    /// A short step down the slope, as in [`ToWorker::Foretell`](super::to_worker::ToWorker::Foretell).
    pub downhill: Vec<f64>,
}

/// A hyperparameter that can be moved by hand.
#[derive(Debug, Serialize, Tsify)]
pub struct Movable {
    /// Such as `l2.conv1`.
    pub name: String,
    /// In its natural unit.
    pub value: f64,
    /// The derivative of the outer loss by the coordinate that it is moved in.
    pub hypergradient: f64,
}
