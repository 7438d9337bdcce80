//! Classification against prediction: where does tuning through the training pay more? (What the first paper's
//! closing words promise.)

use super::har::{self, HarTrial, Method};
use super::{Budget, Study, Trial};
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::{Dynamics, Task, TuneConfig};

pub const STUDY: Study = Study {
    name: "har-prediction",
    question: "What does tuning gain over the settings it starts from, on classification and on prediction of the next sample, and how does that depend on T?",
    source: "HO for time-series CNNs, tasks and sensitivity to T (algorithms A.12)",
    data: har::DATA,
    trials,
    along: "T",
    charts: &["gain", "start_test_loss", "test_loss", "last_sample_loss", "training_mean_loss"],
};

const TASKS: [(&str, Task); 4] = [
    ("classification", Task::Classification),
    ("classification, softplus and MSE", Task::ClassificationMse),
    ("prediction", Task::Prediction),
    ("prediction, linear head", Task::PredictionLinear),
];

/// The paper's λ with gradient descent, and the scalars with Adam.
const INNER: [(&str, Dynamics, &[Kind]); 2] = [
    ("SGD; example weights, lr", Dynamics::Sgd, &[Kind::ExampleWeights, Kind::Lr]),
    ("Adam; lr, betas, l2", Dynamics::Adam, &[Kind::Lr, Kind::Betas, Kind::L2]),
];

/// The paper's learning rate to start from, and one that Adam is usually given.
const RATE: f64 = 0.01;
const ADAM_RATE: f64 = 0.001;

fn trials(budget: Budget) -> Vec<Trial> {
    let (base, steps, seeds): (_, &[u32], u32) = match budget {
        Budget::Quick => (TuneConfig { outer: 5, ..TuneConfig::quick() }, &[25], 1),
        Budget::Desktop => (TuneConfig::default(), &[10, 50, 200], 3),
        Budget::Full => (TuneConfig::default(), &[10, 25, 50, 100, 200, 400], 5),
    };
    let mut trials = vec![];
    for seed in 0..seeds {
        for &t in steps {
            for (name, task) in TASKS {
                for (inner, optimizer, kinds) in INNER {
                    let config = TuneConfig {
                        seed,
                        task,
                        steps: t,
                        optimizer,
                        hyperparameters: kinds.to_vec(),
                        learning_rate: if optimizer == Dynamics::Adam { ADAM_RATE } else { RATE },
                        ..base.clone()
                    };
                    let labels = [("T", &*t.to_string()), ("task", name), ("inner", inner)];
                    trials.push(HarTrial::labelled(&labels, Method::Tune, config));
                }
            }
        }
    }
    trials
}
