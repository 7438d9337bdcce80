//! How far a network gets whose settings are tuned on a short training and kept for a long one.

use super::trial::{Budget, FRESH, Study, Trial, UCI_HAR, within};
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::{Network, TuneConfig};
use crate::experiment::trainables::retrain::Settings;

pub const STUDY: Study = Study {
    name: "har-best",
    question: "Can a network with tuned settings and a long training pass the 94.5 % of a linear model on 135 statistics?",
    source: "HO for time-series CNNs; scikit-learn's logistic regression on window statistics",
    data: UCI_HAR,
    trials,
    along: "settings",
    apart: &[],
    charts: &["test_accuracy"],
};

/// What is tuned, beside learning rate, momentum and a penalty for each layer.
const BESIDE: [(&str, &[Kind]); 4] = [
    ("tuned", &[]),
    ("tuned, with augmentation", &[Kind::Jitter, Kind::Scaling]),
    ("tuned, with augmentation and schedule", &[Kind::Jitter, Kind::Scaling, Kind::LrSchedule]),
    ("tuned, with augmentation and example weights", &[Kind::Jitter, Kind::Scaling, Kind::ExampleWeights]),
];

fn trials(budget: Budget) -> Vec<Trial> {
    let paper = TuneConfig { network: Network::PAPER, ..TuneConfig::default() };
    let (base, steps, seeds) = match budget {
        Budget::Quick => (within(18, TuneConfig::quick()), 200, 1),
        Budget::Desktop => (within(54, TuneConfig { steps: 100, ..paper }), 4000, 5),
        Budget::Full => (paper, 4000, 5),
    };
    let trial = |settings: &str, config: TuneConfig| {
        Trial::new(&[("settings", settings)], config.seed, "retrain", Settings { config, steps })
    };
    let start =
        (FRESH..FRESH + seeds).map(|seed| trial("start values", TuneConfig { seed, outer: Some(1), ..base.clone() }));
    let tuned = BESIDE.iter().flat_map(|&(settings, beside)| {
        let hyperparameters = [&*base.hyperparameters, beside].concat();
        let config = TuneConfig { hyperparameters, ..base.clone() };
        (FRESH..FRESH + seeds).map(move |seed| trial(settings, TuneConfig { seed, ..config.clone() }))
    });
    start.chain(tuned).collect()
}
