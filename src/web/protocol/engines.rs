//! Engines, and what they would do.

use serde::Serialize;
use tsify::Tsify;

use super::answers::Advice;
use super::to_worker::Engine;
use crate::experiment::config::Network;

/// An engine, and how it would do the run at hand.
#[derive(Debug, Clone, PartialEq, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct EngineState {
    /// Which it is.
    pub engine: Engine,
    /// What it runs on, as far as the browser tells.
    pub name: String,
    /// A processor, whether it plays a GPU or not.
    pub software: bool,
    /// Why it cannot be used.
    pub problem: Option<String>,
    /// Shaders, where it needs them and the run at hand was looked at.
    pub shaders: Option<Preparation>,
    /// Measured seconds of a training step.
    pub step: Option<f64>,
    /// Seconds that the whole run would take.
    pub run: Option<f64>,
    /// Which way to the hypergradient suits the run, once a step is measured.
    pub advice: Option<Advice>,
}

/// A run that is worth its time.
#[derive(Debug, Clone, PartialEq, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct FirstRun {
    /// The network, by a name of the command line.
    #[tsify(type = "string")]
    pub network: Network,
    /// Training steps T of one inner run.
    pub steps: u32,
    /// What it may cost, in trainings.
    pub budget: u32,
}

/// Shaders, of all that a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Preparation {
    /// Those that can run.
    pub done: u32,
    /// All of them.
    pub total: u32,
}
