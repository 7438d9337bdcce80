//! Learned example weights against wrong labels.

use super::trial::{Budget, FRESH, Study, Trial, UCI_HAR, within};
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::TuneConfig;
use crate::experiment::trainables::mislabelled::{Mislabelled, Settings};

pub const STUDY: Study = Study {
    name: "har-label-noise",
    question: "A third of the training windows carry a wrong label: do learned example weights find them out?",
    source: "HO for time-series CNNs, example weights as hyperparameters",
    data: UCI_HAR,
    trials,
    along: "training",
    apart: &[],
    charts: &["test_accuracy", "auc"],
};

/// Share of the training windows that get a wrong label.
const WRONG: f64 = 1.0 / 3.0;

fn trials(budget: Budget) -> Vec<Trial> {
    let (base, seeds) = match budget {
        Budget::Quick => (within(18, TuneConfig::quick()), 1),
        Budget::Desktop => (TuneConfig::default(), 3),
        Budget::Full => (within(144, TuneConfig::default()), 5),
    };
    let plain = vec![Kind::Lr];
    let weighted = vec![Kind::Lr, Kind::ExampleWeights];
    let mut trials = vec![];
    for seed in FRESH..FRESH + seeds {
        let wrong = Mislabelled { share: WRONG, annotators: None, left_out: false };
        let left_out = Mislabelled { left_out: true, ..wrong };
        let cases = [
            ("right labels", &plain, None, None),
            ("right labels, example weights", &weighted, None, None),
            ("wrong labels", &plain, Some(wrong), None),
            ("wrong labels, example weights", &weighted, Some(wrong), None),
            ("wrong labels, example weights, nobody to select by", &weighted, Some(wrong), Some(0)),
            ("wrong labels left out", &plain, Some(left_out), None),
        ];
        for (training, hyperparameters, mislabelled, selection_people) in cases {
            let of = TuneConfig { seed, hyperparameters: hyperparameters.clone(), ..base.clone() };
            let config = TuneConfig { patience: 0, selection_people, ..of };
            let labels = [("training", training)];
            trials.push(match mislabelled {
                None => Trial::tune(&labels, &config),
                Some(mislabelled) => Trial::new(&labels, seed, "tune-mislabelled", Settings { config, mislabelled }),
            });
        }
    }
    trials
}
