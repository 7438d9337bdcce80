//! What studies are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::experiment::config::{self, TuneConfig};
use crate::experiment::error::TuneError;
use crate::experiment::library::Library;
use crate::experiment::record::{DeviceRecord, Named};
use crate::experiment::trainable::Job;
use crate::experiment::trainables;

/// What most studies name as their data.
pub(super) const UCI_HAR: &str = "UCI HAR, built in";

/// Seeds from here on: start, decay and the constants of the outer optimisers were chosen on those before.
pub(super) const FRESH: u32 = 16;

/// Settings with a budget of so many trainings.
pub(super) fn within(trainings: u32, config: TuneConfig) -> TuneConfig {
    TuneConfig { budget: config::Budget::Trainings(trainings), ..config }
}

/// The trainings of a budget.
pub(super) fn trainings(config: &TuneConfig) -> u32 {
    match config.budget {
        config::Budget::Trainings(trainings) => trainings,
        config::Budget::Seconds(_) => unreachable!("studies count trainings"),
    }
}

/// How much machine time a study may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Budget {
    /// A look at what the study does: few steps, one seed, a part of the data.
    Quick,
    /// What a few processor cores can do: most of it with few seeds; `list` tells how long.
    Desktop,
    /// As the source of the study has it, or with as many seeds; for a GPU.
    Full,
}

/// A question and the trials that answer it.
pub struct Study {
    /// What `experiment NAME` calls it.
    pub name: &'static str,
    /// What it asks, in a sentence.
    pub question: &'static str,
    /// The paper, table or figure that it belongs to.
    pub source: &'static str,
    /// The data that it needs.
    pub data: &'static str,
    /// What there is to run with so much time, in order.
    pub trials: fn(Budget) -> Vec<Trial>,
    /// The label along which charts run.
    pub along: &'static str,
    /// The labels whose settings have charts of their own.
    pub apart: &'static [&'static str],
    /// The metrics that charts show.
    pub charts: &'static [&'static str],
}

/// What tells a trial from the others of its study.
pub type Labels = BTreeMap<String, String>;

/// Something to do, whose outcome is a row of numbers: as data, which may be sent and kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What makes it unlike the others.
    pub labels: Labels,
    /// What it does: a row of the registry.
    pub trainable: String,
    /// The settings of that.
    pub settings: Value,
}

impl Trial {
    /// A trial with these labels and, as another one, its seed.
    pub(super) fn new(labels: &[(&str, &str)], seed: u32, trainable: &str, settings: impl Serialize) -> Self {
        let seed = ("seed".to_owned(), seed.to_string());
        let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).chain([seed]).collect();
        let settings = serde_json::to_value(settings).expect("settings are plain values");
        Trial { labels, trainable: trainable.to_owned(), settings }
    }

    /// The main job as a trial.
    pub(super) fn tune(labels: &[(&str, &str)], config: &TuneConfig) -> Self {
        Trial::new(labels, config.seed, "tune", config)
    }

    /// Makes it ready for a device.
    pub fn job(&self, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        trainables::job(&self.trainable, &self.settings, library)
    }

    /// Its labels in one line: unique in a study.
    pub fn id(&self) -> String {
        id(&self.labels)
    }
}

/// Labels in one line.
pub fn id(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

impl Study {
    /// The labels that each of its trials has.
    pub fn labels(&self) -> Vec<String> {
        (self.trials)(Budget::Quick).first().map(|trial| trial.labels.keys().cloned().collect()).unwrap_or_default()
    }
}

/// What a trial came to: a line of a study's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the study.
    pub study: String,
    /// Labels of the trial.
    pub labels: Labels,
    /// Losses are means over examples, accuracies and shares lie between 0 and 1. What is not finite is not there.
    #[serde(deserialize_with = "finite")]
    pub metrics: Named,
    /// Wall time.
    pub seconds: f64,
    /// Version of the program.
    pub version: String,
    /// What computed it.
    #[serde(flatten)]
    pub device: DeviceRecord,
}

/// Numbers by name. JSON has null for what is not finite.
fn finite<'de, D: Deserializer<'de>>(from: D) -> Result<Named, D::Error> {
    let numbers = BTreeMap::<String, Option<f64>>::deserialize(from)?;
    Ok(numbers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}
