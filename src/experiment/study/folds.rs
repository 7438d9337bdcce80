//! Whether a validation loss over folds of people finds hyperparameters that fit other people better.

use super::trial::{Budget, Study, Trial, UCI_HAR, trainings, within};
use crate::experiment::config::TuneConfig;
use crate::experiment::trainables::retrain::Settings;

pub const STUDY: Study = Study {
    name: "har-folds",
    question: "Does an outer loss over folds of people close the gap between validation and test people?",
    source: "the cross-validation of the fourth paper's V",
    data: UCI_HAR,
    trials,
    along: "outer loss",
    apart: &["points"],
    charts: &["tuned_outer_loss", "test_accuracy", "test_loss"],
};

/// Seeds from here on, none of which was used before.
const SEEDS: u32 = 48;

/// Every trial ends with a training on all people who are not tested on, as long as those that tuned.
fn trials(budget: Budget) -> Vec<Trial> {
    let (base, seeds) = match budget {
        Budget::Quick => (within(18, TuneConfig::quick()), SEEDS..SEEDS + 1),
        Budget::Desktop => (TuneConfig::default(), SEEDS..SEEDS + 16),
        Budget::Full => (TuneConfig::default(), SEEDS..SEEDS + 16),
    };
    let base = TuneConfig { patience: 0, ..base };
    let mut trials = vec![];
    for seed in seeds {
        let mut trial = |outer_loss: &str, points: &str, config: TuneConfig| {
            let settings = Settings { steps: config.steps, config: TuneConfig { seed, ..config } };
            trials.push(Trial::new(&[("outer loss", outer_loss), ("points", points)], seed, "retrain", settings));
        };
        trial("none: start values", "equal cost", TuneConfig { outer: Some(1), ..base.clone() });
        trial("five people", "equal cost", base.clone());
        trial("3 folds", "equal cost", TuneConfig { folds: Some(3), ..base.clone() });
        if budget == Budget::Full {
            trial("5 folds", "equal cost", TuneConfig { folds: Some(5), ..base.clone() });
            for folds in [3, 5] {
                let config = within(folds * trainings(&base), TuneConfig { folds: Some(folds), ..base.clone() });
                trial(&format!("{folds} folds"), "equal points", config);
            }
        }
    }
    trials
}
