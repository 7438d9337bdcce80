//! Learned example weights against wrong labels.

use super::har::{self, HarTrial, Method, Mislabelled};
use super::{Budget, Study, Trial};
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::TuneConfig;

pub const STUDY: Study = Study {
    name: "har-label-noise",
    question: "A third of the training windows carry a wrong label: do learned example weights find them out?",
    source: "HO for time-series CNNs, example weights as hyperparameters",
    data: har::DATA,
    trials,
    along: "training",
    apart: &[],
    charts: &["test_accuracy", "auc"],
};

/// Share of the training windows that get a wrong label.
const WRONG: f64 = 1.0 / 3.0;

fn trials(budget: Budget) -> Vec<Trial> {
    let (base, seeds) = match budget {
        Budget::Quick => (TuneConfig { outer: 5, ..TuneConfig::quick() }, 1),
        Budget::Desktop => (TuneConfig { outer: 40, ..TuneConfig::default() }, 3),
        Budget::Full => (TuneConfig { outer: 100, ..TuneConfig::default() }, 5),
    };
    let plain = vec![Kind::Lr];
    let weighted = vec![Kind::Lr, Kind::ExampleWeights];
    let mut trials = vec![];
    for seed in 0..seeds {
        let cases = [
            ("right labels", &plain, Mislabelled::None),
            ("wrong labels", &plain, Mislabelled::Share(WRONG)),
            ("wrong labels, example weights", &weighted, Mislabelled::Share(WRONG)),
            ("wrong labels left out", &plain, Mislabelled::LeftOut(WRONG)),
        ];
        for (training, hyperparameters, mislabelled) in cases {
            let config = TuneConfig { seed, hyperparameters: hyperparameters.clone(), ..base.clone() };
            trials.push(HarTrial { method: Method::Tune, config, mislabelled }.with(&[("training", training)]));
        }
    }
    trials
}
