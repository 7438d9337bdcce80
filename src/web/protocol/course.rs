//! The course of a run.

use serde::Serialize;
use tsify::Tsify;

use crate::bilevel::hyperparameters::Kind;

/// Where a run is.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The outer iteration being worked on, from 1.
    pub iteration: u32,
    /// What is being done.
    pub phase: Phase,
    /// Steps of this phase that are done.
    pub step: u32,
    /// Steps of this phase.
    pub steps: u32,
    /// What is spent so far, in trainings, the part of this iteration that is done included.
    pub spent: f64,
    /// Seconds since the start, pauses left out.
    pub seconds: f64,
    /// Seconds to go, as far as one can tell.
    pub seconds_left: Option<f64>,
    /// Share of the whole run that is done, random search included, 0 to 1.
    pub share: f64,
}

/// The parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Inner training, step by step.
    Training,
    /// The adjoint run, from the last step to the first.
    Backward,
    /// Inner training with tangents, once or more.
    Forward,
    /// All windows of all people, after training with the start values.
    ScoringStart,
    /// A last training with the best values, then all windows of all people.
    ScoringTuned,
    /// Random search at equal cost.
    RandomSearch,
    /// One training with the start values on right labels, where labels are wrong on purpose.
    RightLabels,
}

/// One outer iteration.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct OuterIteration {
    /// From 1.
    pub iteration: u32,
    /// What the run has cost so far, this iteration included, in trainings.
    pub spent: f64,
    /// Validation loss at `hyperparameters`, nats; none if training diverged.
    pub loss: Option<f64>,
    /// Loss on the people who choose the iteration and are kept from that, where there are some.
    pub selection: Option<f64>,
    /// Whether a hypergradient was taken, or the training alone.
    pub differentiated: bool,
    /// Whether that hypergradient is of a training past the edge of stability, and noise.
    pub past_edge: bool,
    /// How rough the outer loss is there, by the derivatives of learning rate and momentum: beyond 1 it is past the edge.
    pub roughness: Option<f64>,
    /// The loss that the last hypergradient before foretold of this point, if it were a straight line.
    pub foretold: Option<f64>,
    /// Whether the outer optimiser goes on from here; otherwise from where it was before.
    pub accepted: bool,
    /// The point this loss belongs to.
    pub hyperparameters: Vec<Hyperparameter>,
    /// Seconds it took.
    pub seconds: f64,
}

/// One hyperparameter at one outer iteration.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Hyperparameter {
    /// As in the record, such as `l2.conv1`.
    pub name: String,
    /// The kind that it is of.
    #[tsify(type = "string")]
    pub group: Kind,
    /// In its natural unit: a rate, a factor, a penalty.
    pub value: f64,
    /// dF/dλ in the coordinate that the outer optimiser moves (the logarithm or logit); none for a summary of many, and
    /// where the hypergradient was not taken.
    pub hypergradient: Option<f64>,
}
