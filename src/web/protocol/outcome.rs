//! What a run comes to, and what it is held against.

use serde::Serialize;
use tsify::Tsify;

use super::data::Trace;
use super::own_data::RunFile;
use crate::experiment::leader::OuterMethod;

/// Scores on the people the model never saw.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// At the start values or at the tuned ones.
    pub which: Which,
    /// Mean cross-entropy, nats.
    pub loss: f64,
    /// Share of windows named right, 0 to 1.
    pub accuracy: f64,
    /// Mean of the F1 scores of the activities, 0 to 1.
    pub macro_f1: f64,
    /// F1 score of each activity, 0 to 1.
    pub f1: Vec<f64>,
    /// Share of the windows named so that are of the activity.
    pub precision: Vec<f64>,
    /// Share of the windows of the activity that are named so.
    pub recall: Vec<f64>,
    /// Windows by true activity (row) and named activity (column), row by row.
    pub confusion: Vec<u32>,
}

/// Which settings were evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The start values.
    Before,
    /// The best that was found.
    After,
    /// The best of random search at equal cost.
    Random,
    /// The start values on right labels, where labels are wrong on purpose.
    RightLabels,
}

/// How networks tell the next sample, and predictors that learn nothing; mean squared errors on the test people.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// At the start values.
    pub before: Option<f64>,
    /// At the tuned ones.
    pub after: Option<f64>,
    /// The last sample again.
    pub last_sample: f64,
    /// The mean of the training windows.
    pub training_mean: f64,
}

/// How example weights tell right labels from wrong ones.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Weights {
    /// The outer iteration that moved them, from 1.
    pub iteration: u32,
    /// The probability that a right label has a larger weight than a wrong one.
    pub auc: f64,
    /// Training windows with right labels by weight, from 0 to 2 in bins of one width.
    pub right: Vec<u32>,
    /// Those with wrong labels.
    pub wrong: Vec<u32>,
}

/// A training of a random search.
#[derive(Debug, Clone, Copy, Serialize, Tsify)]
pub struct Drawn {
    /// What the search has cost so far, in trainings.
    pub spent: f64,
    /// Validation loss, nats; none if training diverged.
    pub loss: Option<f64>,
}

/// What the kept network does with single windows and people.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Everybody who is tested on.
    pub people: Vec<PersonScore>,
    /// Test windows that are named wrong, the surest first.
    pub worst: Vec<NamedWindow>,
    /// Training windows with the least weights, the least first; none where these were not tuned.
    pub doubted: Vec<DoubtedWindow>,
}

/// How the network does on one person.
#[derive(Debug, Serialize, Tsify)]
pub struct PersonScore {
    /// Their number.
    pub person: u32,
    /// Their windows.
    pub windows: u32,
    /// Share of these named right, 0 to 1.
    pub accuracy: f64,
}

/// A window and what the network names it.
#[derive(Debug, Serialize, Tsify)]
pub struct NamedWindow {
    /// The window.
    pub trace: Trace,
    /// What the network names.
    pub named: String,
    /// How sure it is, 0 to 1.
    pub probability: f32,
}

/// A window whose label is doubted.
#[derive(Debug, Serialize, Tsify)]
pub struct DoubtedWindow {
    /// The window; its activity is what was done.
    pub trace: Trace,
    /// The label that it was trained with.
    pub label: String,
    /// Its weight in training, 0 to 2.
    pub weight: f64,
}

/// The end of a run.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// Why it ended.
    pub ending: Ending,
    /// The outer iteration whose hyperparameters were kept, from 1; 0 if all diverged.
    pub best: u32,
    /// What the run has cost, in trainings.
    pub spent: f64,
    /// Hypergradients taken.
    pub hypergradients: u32,
    /// How many of these were past the edge of stability.
    pub past_edge: u32,
    /// Whether the last trainings brought so little that patience was at its end.
    pub settled: bool,
    /// What moved the hyperparameters, by its name on the command line.
    #[tsify(type = "string")]
    pub method: OuterMethod,
    /// Why it was this one, in a sentence without its capital and its full stop.
    pub reason: String,
    /// Seconds it took, pauses left out.
    pub seconds: f64,
    /// Its files, as the command line writes them, those first that the others follow from; the network is not among them if a
    /// device was lost with it.
    pub files: Vec<RunFile>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The budget was spent, or the outer loss had settled.
    Finished,
    /// The visitor ended it early.
    Stopped,
    /// Training diverged time and again.
    Diverged,
}
