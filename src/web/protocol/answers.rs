//! What the worker answers to questions about methods and hypergradients.

use serde::Serialize;
use tsify::Tsify;

/// What to take, and what else there is.
#[derive(Debug, Clone, PartialEq, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Advice {
    /// The ways to the hypergradient.
    pub choices: Vec<Choice>,
    /// The one of them to take.
    pub best: u32,
    /// Why, in a sentence without its capital and its full stop.
    pub reason: String,
}

/// One way to the hypergradient.
#[derive(Debug, Clone, PartialEq, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// For people: the method and its size.
    pub name: String,
    /// What the setting `method` calls it; none where a run has no such setting.
    pub setting: Option<String>,
    /// Whether it is the derivative of the loss after all training steps.
    pub exact: bool,
    /// Seconds of a hypergradient; none where there is no plan that fits.
    pub seconds: Option<f64>,
    /// Bytes on the device, likewise.
    pub bytes: Option<f64>,
    /// Why it is not possible.
    pub impossible: Option<String>,
    /// What is to be known of it.
    pub remark: String,
}

/// Whether the ways to the hypergradient agree.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// What the derivatives are taken along, such as `learning_rate`.
    pub directions: Vec<String>,
    /// In f64, through a part of the settings that is always the same.
    pub exact: CheckPart,
    /// On the device, through all of the settings.
    pub device: CheckPart,
    /// How the settings show that they lie past the edge of stability, if they do.
    pub edge: Option<Edge>,
    /// What both parts come to.
    pub outcome: Outcome,
}

/// What was found in one precision.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct CheckPart {
    /// Training steps that were gone through.
    pub steps: u32,
    /// Windows in a batch.
    pub batch: u32,
    /// Windows of the outer loss, at most.
    pub validation_windows: u32,
    /// Ways to the derivatives: `reverse mode`, `forward mode`, `differences`. None where the training diverged.
    pub methods: Vec<String>,
    /// For each method its derivatives.
    pub values: Vec<Vec<f64>>,
    /// For each direction the worst that two methods have to say of each other.
    pub verdicts: Vec<Verdict>,
}

/// How settings show that their hypergradient, though exact, is rough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Edge {
    /// Points that differ in their last digits have other hypergradients.
    Scatter,
    /// A derivative is many times the loss.
    Steep,
    /// Through all of its steps training diverges.
    Diverged,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All agree along every direction.
    Passed,
    /// The same, but the hypergradient is rough there.
    Edge,
    /// Nothing disagrees, but differences cannot tell along some direction.
    Unsettled,
    /// Two disagree.
    Failed,
}

/// What two ways have to say of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// They differ by no more than is explained.
    Agree,
    /// So much is explained that agreeing says nothing.
    Unsettled,
    /// They differ by more.
    Disagree,
}
