//! How many training steps to differentiate through (the first paper's sensitivity to T).

use super::trial::{Budget, FRESH, Study, Trial, UCI_HAR, within};
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::TuneConfig;
use crate::nn::optim::{Dynamics, Momentum, Sgd};

pub const STUDY: Study = Study {
    name: "har-horizon",
    question: "How do the number of differentiated training steps T and the choice of hyperparameters matter?",
    source: "HO for time-series CNNs, sensitivity to T (algorithms A.12)",
    data: UCI_HAR,
    trials,
    along: "T",
    apart: &["work"],
    charts: &["validation_loss", "test_accuracy"],
};

/// A name of what is tuned, with the hyperparameters, the inner optimiser and the learning rate to start from, if not
/// the usual one.
type Tuned = (&'static str, &'static [Kind], fn() -> Dynamics, Option<f64>);

const TUNED: [Tuned; 6] = [
    ("example weights, lr, as in the paper", &[Kind::ExampleWeights, Kind::Lr], || Sgd.into(), Some(0.01)),
    ("example weights, lr", &[Kind::ExampleWeights, Kind::Lr], || Momentum.into(), None),
    ("lr", &[Kind::Lr], || Momentum.into(), None),
    ("lr, momentum, l2", &[Kind::Lr, Kind::Momentum, Kind::L2], || Momentum.into(), None),
    ("lr, regularisers", &[Kind::Lr, Kind::L2, Kind::Dropout, Kind::Jitter, Kind::Scaling], || Momentum.into(), None),
    ("lr, initial scale", &[Kind::Lr, Kind::InitialScale], || Momentum.into(), None),
];

/// Trainings where all T get equally many, and the T whose total of training steps all get otherwise.
const TRAININGS: u32 = 72;
const TYPICAL: u32 = 100;

fn trials(budget: Budget) -> Vec<Trial> {
    let (base, steps, seeds): (_, &[u32], u32) = match budget {
        Budget::Quick => (within(18, TuneConfig::quick()), &[10, 50], 1),
        Budget::Desktop => (TuneConfig::default(), &[10, 25, 50, 100, 200], 3),
        Budget::Full => (TuneConfig::default(), &[10, 25, 50, 100, 200, 400], 5),
    };
    let mut trials = vec![];
    for seed in FRESH..FRESH + seeds {
        for &t in steps {
            for (tuned, kinds, optimizer, learning_rate) in TUNED {
                let hyperparameters = kinds.to_vec();
                let optimizer = optimizer();
                let config = TuneConfig { seed, steps: t, hyperparameters, optimizer, learning_rate, ..base.clone() };
                let label = |work: &str, config: &TuneConfig| {
                    let labels = [("T", &*t.to_string()), ("tuned", tuned), ("work", work)];
                    Trial::tune(&labels, config)
                };
                trials.push(label("equal trainings", &config));
                if budget != Budget::Quick {
                    trials.push(label("equal training steps", &within(TRAININGS * TYPICAL / t, config)));
                }
            }
        }
    }
    trials
}
