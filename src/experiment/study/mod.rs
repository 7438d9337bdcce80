//! Named studies: trials on real data, and what their outcomes say together.
//!
//! A study is a list of [`Trial`]s; [`run::run`] does one, [`summary::rows`] puts the outcomes of all
//! side by side. Adding a study takes one file here with its entry in [`STUDIES`].

mod baselines;
mod horizon;
mod label_noise;
pub mod run;
pub mod summary;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::TuneConfig;
use super::record::{DeviceRecord, Named};

/// All studies, in the order in which `experiment all` runs them.
pub const STUDIES: [Study; 3] = [horizon::STUDY, baselines::STUDY, label_noise::STUDY];

/// How much machine time a study may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Budget {
    /// A look at what the study does: few steps, one seed, 12 people.
    Quick,
    /// What two processor cores do in an hour or so.
    Desktop,
    /// As the paper has it.
    Full,
}

/// A question and the trials that answer it.
pub struct Study {
    pub name: &'static str,
    /// What it asks, in a sentence.
    pub question: &'static str,
    /// The paper, table or figure that it belongs to.
    pub source: &'static str,
    pub trials: fn(Budget) -> Vec<Trial>,
    /// The label along which charts run.
    pub along: &'static str,
    /// The metrics that charts show.
    pub charts: &'static [&'static str],
}

/// The study of that name.
pub fn find(name: &str) -> Option<&'static Study> {
    STUDIES.iter().find(|study| study.name == name)
}

/// What tells a trial from the others of its study.
pub type Labels = BTreeMap<String, String>;

/// One training, tuning or search.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    pub labels: Labels,
    pub method: Method,
    pub config: TuneConfig,
    pub mislabelled: Mislabelled,
}

/// How hyperparameters are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By hypergradients.
    Tune,
    /// The best of random settings, at the gradient evaluations of [`Method::Tune`].
    RandomSearch,
    /// The best of a grid over learning rate and momentum, likewise.
    GridSearch,
    /// Not at all: Adam with learning rate 1e-3 instead of the tuned dynamics.
    Adam,
    /// Logistic regression on 135 statistics of each window, its penalty chosen on the validation people.
    Statistics,
}

/// What happens to the training labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mislabelled {
    None,
    /// This share of the training windows gets another label.
    Share(f64),
    /// The windows that would have got another label are left out.
    LeftOut(f64),
}

impl Trial {
    /// A trial with these labels and, as another one, its seed.
    fn new(labels: &[(&str, &str)], method: Method, config: TuneConfig) -> Self {
        let seed = ("seed".to_owned(), config.seed.to_string());
        let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).chain([seed]).collect();
        Trial { labels, method, config, mislabelled: Mislabelled::None }
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

/// What a trial came to: a line of a study's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub study: String,
    pub labels: Labels,
    /// Losses are means over windows, accuracies and shares lie between 0 and 1.
    pub metrics: Named,
    /// Wall time.
    pub seconds: f64,
    pub version: String,
    #[serde(flatten)]
    pub device: DeviceRecord,
}

/// Adjoint and training step together cost this many gradients of the inner loss (counted floating-point
/// operations with all states stored): what a hypergradient counts in comparisons at equal cost.
pub const GRADIENTS_PER_STEP: f64 = 3.58;

/// Trainings that cost as much as a tuning run.
pub fn trainings_of_equal_cost(config: &TuneConfig) -> u32 {
    (f64::from(config.outer) * GRADIENTS_PER_STEP).round() as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn trials_are_distinct_and_their_settings_sound() {
        for study in &STUDIES {
            for budget in [Budget::Quick, Budget::Desktop, Budget::Full] {
                let trials = (study.trials)(budget);
                let ids: BTreeSet<String> = trials.iter().map(Trial::id).collect();
                assert_eq!(ids.len(), trials.len(), "{}", study.name);
                assert!(trials.iter().all(|trial| trial.config.check().is_ok()), "{}", study.name);
                assert!(trials.iter().all(|trial| trial.labels.contains_key(study.along)), "{}", study.name);
                let names = |trial: &Trial| trial.labels.keys().cloned().collect::<Vec<_>>();
                assert!(trials.iter().all(|trial| names(trial) == names(&trials[0])), "{}", study.name);
            }
        }
    }
}
