//! What a tuning run leaves behind: one [`OuterRecord`] an outer iteration, one [`RunResult`].

use std::collections::BTreeMap;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::TuneConfig;
use crate::bilevel::SetEvaluation;
use crate::engine::EngineInfo;

/// A number by name. Entries that are not finite are left out, since JSON cannot write them.
///
/// Names: `learning_rate`, `momentum`, `beta1`, `beta2`, `epsilon`, `hypergradient_rate`,
/// `momentum_hypergradient_rate`, `dropout`, `jitter`, `scaling`, `initial_scale`, `l2` or `l2.LAYER`, `lr_layers.LAYER`. What is too many for a line (`example_weights`,
/// `lr_schedule`, `initial_weights`) appears as `NAME.mean`, `.min` and `.max`, its hypergradient as
/// `NAME.norm` (Euclidean).
pub type Named = BTreeMap<String, f64>;

/// One outer iteration: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "An outer iteration")]
pub struct OuterRecord {
    /// Counted from 1.
    pub iteration: u32,
    /// What the run has cost so far, this iteration included, in trainings.
    #[serde(default)]
    pub spent: f64,
    /// Outer loss after training with the hyperparameters below; absent if training diverged.
    pub outer_loss: Option<f64>,
    /// Loss on the people who choose the iteration and are kept from the outer loss, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection_loss: Option<f64>,
    /// The training step, counted from 0, after which the weights were no longer finite; absent if
    /// they stayed so.
    pub diverged_at_step: Option<u32>,
    /// How much is left of the equation that implicit and fixed-point methods solve, over its right-hand
    /// side: near 1, nothing was solved. Absent with other methods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<f64>,
    /// Length of the gradient of the training loss at the final weights, with implicit methods, which take these for a
    /// minimum: the further from 0, the less the derivatives are those of the training's outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner_gradient: Option<f64>,
    /// The values that were trained with, as they enter the training (not their logs or logits).
    pub hyperparameters: Named,
    /// What hypergradient descent made of the learning rate and the momentum while the network was trained, as
    /// `NAME.last`, `.mean`, `.min` and `.max` over the steps.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    pub moved: Named,
    /// Whether the hypergradient was taken, or the training alone.
    #[serde(default = "yes")]
    pub differentiated: bool,
    /// Derivatives of the outer loss with respect to what the outer optimiser moves: the log of what is
    /// above 0 (rates, penalties, noise), the logit of what is between 0 and 1 (momentum, betas, dropout,
    /// example weights), initial weights themselves. Empty if training diverged or they were not taken.
    pub hypergradient: Named,
    /// Whether the derivative by the learning rate or the momentum is so large beside the loss that the training is past
    /// the edge of stability and its hypergradient noise.
    #[serde(default)]
    pub past_edge: bool,
    /// Whether the outer optimiser goes on from here; otherwise from where it was before.
    pub accepted: bool,
    /// Wall time of the training and its hypergradient, without scoring and saving.
    pub seconds: f64,
    /// Largest number of bytes allocated on the device since the program took it.
    pub peak_bytes: u64,
    /// Kernels launched in the iteration.
    pub dispatches: u64,
    /// Command submissions in the iteration.
    pub submits: u64,
    /// Read-backs from the device in the iteration.
    pub readbacks: u64,
    /// Device buffers made in the iteration.
    pub buffers_created: u64,
}

fn yes() -> bool {
    true
}

/// Mean loss and, of labels, share of right answers on one set of windows, without dropout, penalties and example
/// weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Score {
    /// Mean loss; absent if training diverged.
    pub loss: Option<f64>,
    /// Between 0 and 1; absent where the next sample is predicted, or training diverged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

impl Score {
    /// Of an evaluation; what is not finite counts as diverged.
    pub fn of(evaluation: &SetEvaluation) -> Self {
        let finite = evaluation.loss.is_finite();
        Score {
            loss: finite.then_some(evaluation.loss),
            accuracy: (finite && evaluation.classes > 0).then(|| evaluation.accuracy()),
        }
    }
}

/// Hyperparameters and how well the network does that is trained with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evaluation {
    /// Values of the hyperparameters by name, as people read them.
    pub hyperparameters: Named,
    /// On all training windows.
    pub train: Score,
    /// On all validation windows.
    pub validation: Score,
    /// On all test windows.
    pub test: Score,
    /// What the test windows were taken for; absent where the next sample is predicted, or training diverged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_classes: Option<Classification>,
}

/// Mean squared errors on the test windows of predictors that learn nothing, in the scale of the losses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trivial {
    /// The next sample is the last one again.
    pub last_sample: f64,
    /// The next sample is the mean of those that follow training windows.
    pub training_mean: f64,
}

/// How well one class is told from the others, each between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassScore {
    /// What the data set calls it.
    pub name: String,
    /// Share of the windows taken for this class that are of it.
    pub precision: f64,
    /// Share of the windows of this class that are taken for it.
    pub recall: f64,
    /// Harmonic mean of precision and recall; 0 if both are.
    pub f1: f64,
    /// Windows of this class.
    pub windows: u64,
}

/// Right and wrong answers by class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Classification {
    /// `confusion[true][predicted]`: windows.
    pub confusion: Vec<Vec<u64>>,
    /// Scores of each class, by label.
    pub classes: Vec<ClassScore>,
    /// Mean of the classes' F1; a class without windows counts as 0.
    pub macro_f1: f64,
}

impl Classification {
    /// Scores of the counts `confusion[true][predicted]`.
    pub fn from_confusion(names: &[impl AsRef<str>], confusion: Vec<Vec<u64>>) -> Self {
        let n = names.len();
        let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let classes: Vec<ClassScore> = (0..n)
            .map(|k| {
                let windows: u64 = confusion[k].iter().sum();
                let predicted: u64 = confusion.iter().map(|row| row[k]).sum();
                let hits = confusion[k][k];
                ClassScore {
                    name: names[k].as_ref().to_owned(),
                    precision: ratio(hits, predicted),
                    recall: ratio(hits, windows),
                    f1: ratio(2 * hits, windows + predicted),
                    windows,
                }
            })
            .collect();
        let macro_f1 = classes.iter().map(|c| c.f1).sum::<f64>() / n as f64;
        Classification { confusion, classes, macro_f1 }
    }

    /// Share of right answers.
    pub fn accuracy(&self) -> f64 {
        let hits: u64 = (0..self.confusion.len()).map(|k| self.confusion[k][k]).sum();
        let all: u64 = self.confusion.iter().flatten().sum();
        hits as f64 / all.max(1) as f64
    }
}

/// The device that computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceRecord {
    /// `gpu`, `cpu` or `reference`.
    pub engine: String,
    /// Name of the adapter, as its driver gives it.
    pub adapter: String,
    /// What the adapter is reached through, such as `vulkan` or `webgpu`; the number of threads of a processor.
    pub backend: String,
    /// Name and version of the driver.
    pub driver: String,
    /// Whether a processor stands in for a GPU.
    pub software: bool,
}

impl From<&EngineInfo> for DeviceRecord {
    fn from(info: &EngineInfo) -> Self {
        DeviceRecord {
            engine: info.engine.clone(),
            adapter: info.adapter.clone(),
            backend: info.backend.clone(),
            driver: info.driver.clone(),
            software: info.software,
        }
    }
}

/// The data that a run learnt from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DataRecord {
    /// What the data set is called.
    pub name: String,
    /// Hash of all values, labels and subjects, in hexadecimal.
    pub fingerprint: String,
    /// Whether this is the small built-in piece, whose accuracies are not comparable with those
    /// published for the whole data set.
    pub subset: bool,
    /// Windows trained on.
    pub training_windows: u64,
    /// Windows of the people that the hyperparameters are chosen on.
    pub validation_windows: u64,
    /// Windows of the people that only the end result is measured on.
    pub test_windows: u64,
    /// Validation windows that the outer loss is taken on.
    pub outer_windows: u64,
    /// Who gave the windows of each part; absent in records of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub people: Option<People>,
}

/// Who is trained, validated and tested on, by number; blocks of time where nothing is known of people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct People {
    /// Who is trained on.
    pub training: Vec<u32>,
    /// Who the hyperparameters are chosen on.
    pub validation: Vec<u32>,
    /// Who only the end result is measured on.
    pub test: Vec<u32>,
}

/// Whether and why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It goes on, or was killed or ended with an error; it can be resumed.
    Running,
    /// The budget was spent, all outer iterations were done, or the outer loss had settled.
    Finished,
    /// It was asked to stop; it can be resumed.
    Stopped,
    /// Training diverged twelve times in a row, or with the start values where nothing could be changed about it.
    Diverged,
}

/// The outcome of a run: `result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Result of a tuning run")]
pub struct RunResult {
    /// Version of the program.
    pub version: String,
    /// All settings of the run.
    pub configuration: TuneConfig,
    /// Seed of everything random; `configuration` has it too.
    pub seed: u32,
    /// What computed it.
    #[serde(flatten)]
    pub device: DeviceRecord,
    /// What was learnt from.
    pub data: DataRecord,
    /// Whether it is done.
    pub ending: Ending,
    /// Whether the last trainings have brought less than the patience of the settings asks for.
    #[serde(default)]
    pub settled: bool,
    /// Outer iterations done.
    pub iterations: u32,
    /// What they cost, in trainings.
    #[serde(default)]
    pub spent: f64,
    /// Hypergradients among them.
    #[serde(default)]
    pub hypergradients: u32,
    /// How many of these were past the edge of stability.
    #[serde(default)]
    pub past_edge: u32,
    /// The iteration with the lowest outer loss (or selection loss), whose hyperparameters are the result; 0 where all diverged.
    pub best_iteration: u32,
    /// Its outer loss; absent if all diverged.
    pub best_outer_loss: Option<f64>,
    /// Its loss on the people who choose the iteration, where there are some: it is then the one with the lowest such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection_loss: Option<f64>,
    /// Trained with the start values; absent if the run was stopped before that.
    pub start: Option<Evaluation>,
    /// Trained with the best hyperparameters; absent until the run ends.
    pub end: Option<Evaluation>,
    /// What to compare the test loss with where the next sample is predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trivial: Option<Trivial>,
    /// Wall time of all outer iterations.
    pub seconds: f64,
    /// Largest number of bytes allocated on the device.
    pub peak_bytes: u64,
    /// Kernels launched in all outer iterations.
    pub dispatches: u64,
}

impl RunResult {
    /// Its numbers by name, as outcomes of studies have them: those of the start values begin with `start_`.
    pub fn metrics(&self) -> Named {
        let mut metrics = Named::new();
        metrics.extend(self.best_outer_loss.map(|loss| ("outer_loss".to_owned(), loss)));
        metrics.insert("best_iteration".to_owned(), self.best_iteration.into());
        metrics.insert("spent".to_owned(), self.spent);
        metrics.insert("hypergradients".to_owned(), self.hypergradients.into());
        metrics.extend(self.selection_loss.map(|loss| ("selection_loss".to_owned(), loss)));
        for (prefix, evaluation) in [("start_", &self.start), ("", &self.end)] {
            if let Some(Evaluation { validation, test, hyperparameters, .. }) = evaluation {
                metrics.extend(scores(prefix, *validation, *test));
                metrics.extend(hyperparameters.iter().map(|(name, &value)| (format!("{prefix}{name}"), value)));
            }
        }
        if let Some(Trivial { last_sample, training_mean }) = self.trivial {
            metrics.insert("last_sample_loss".to_owned(), last_sample);
            metrics.insert("training_mean_loss".to_owned(), training_mean);
        }
        if let (Some(before), Some(after)) = (metrics.get("start_test_loss"), metrics.get("test_loss")) {
            metrics.insert("gain".to_owned(), 1.0 - after / before);
        }
        metrics
    }
}

/// What steps have recorded of each number that moved, in a line.
pub(super) fn moved(records: &BTreeMap<String, Vec<f64>>, steps: Range<usize>) -> Named {
    let mut named = Named::new();
    for (name, values) in records {
        let Some(values @ [.., last]) = values.get(steps.clone()) else { continue };
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let ends = [
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(-f64::INFINITY, f64::max),
        ];
        let line = [("last", *last), ("mean", mean), ("min", ends[0]), ("max", ends[1])];
        named.extend(
            line.map(|(what, value)| (format!("{name}.{what}"), value))
                .into_iter()
                .filter(|(_, value)| value.is_finite()),
        );
    }
    named
}

/// The scores of a network by name.
pub(super) fn scores(prefix: &str, validation: Score, test: Score) -> Named {
    let mut named = Named::new();
    for (name, score) in [("validation", validation), ("test", test)] {
        named.extend(score.accuracy.map(|accuracy| (format!("{prefix}{name}_accuracy"), accuracy)));
        named.extend(score.loss.map(|loss| (format!("{prefix}{name}_loss"), loss)));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classification_counts() {
        let confusion = vec![vec![1, 1, 0], vec![1, 2, 0], vec![0, 0, 0]];
        let c = Classification::from_confusion(&["a", "b", "c"], confusion);
        assert_eq!(c.accuracy(), 0.6);
        let [a, b, absent] = &c.classes[..] else { panic!("three classes") };
        assert_eq!((a.precision, a.recall, a.f1, a.windows), (0.5, 0.5, 0.5, 2));
        assert_eq!((b.precision, b.recall), (2.0 / 3.0, 2.0 / 3.0));
        assert_eq!((absent.precision, absent.recall, absent.f1, absent.windows), (0.0, 0.0, 0.0, 0));
        assert!((c.macro_f1 - (0.5 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
    }
}
