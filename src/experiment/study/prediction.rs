//! Classification against prediction: where does tuning through the training pay more? (What the first paper's
//! closing words promise.)

use super::trial::{Budget, Study, Trial, UCI_HAR, within};
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::{Network, Task, TuneConfig};
use crate::nn::optim::{Adam, Dynamics, Epsilon, Sgd};

pub const STUDY: Study = Study {
    name: "har-prediction",
    question: "What does tuning gain over the settings it starts from, on classification and on prediction of the next sample, and how does that depend on T?",
    source: "HO for time-series CNNs, tasks and sensitivity to T (algorithms A.12)",
    data: UCI_HAR,
    trials,
    along: "T",
    apart: &["network", "inner"],
    charts: &["gain", "start_test_loss", "test_loss", "last_sample_loss", "training_mean_loss"],
};

const TASKS: [(&str, Task); 4] = [
    ("classification", Task::Classification),
    ("classification, softplus and MSE", Task::ClassificationMse),
    ("prediction", Task::Prediction),
    ("prediction, linear head", Task::PredictionLinear),
];

/// A name of what is tuned, with the inner optimiser and the hyperparameters.
type Inner = (&'static str, fn() -> Dynamics, &'static [Kind]);

/// The paper's λ with gradient descent, and the scalars with Adam.
const INNER: [Inner; 2] = [
    ("SGD; example weights, lr", || Sgd.into(), &[Kind::ExampleWeights, Kind::Lr]),
    ("Adam; lr, betas, l2", || Adam(Epsilon::Inside).into(), &[Kind::Lr, Kind::Betas, Kind::L2]),
];

/// The paper's learning rate to start from, and one that Adam is usually given.
const RATE: f64 = 0.01;
const ADAM_RATE: f64 = 0.001;

fn trials(budget: Budget) -> Vec<Trial> {
    let (base, steps, seeds): (_, &[u32], u32) = match budget {
        Budget::Quick => (within(18, TuneConfig::quick()), &[25], 1),
        Budget::Desktop => (TuneConfig::default(), &[10, 50, 200], 3),
        Budget::Full => (TuneConfig::default(), &[10, 50, 200], 5),
    };
    let paper = TuneConfig { network: Network::PAPER, ..base.clone() };
    let mut trials = vec![];
    for seed in 0..seeds {
        for &t in steps {
            for task in TASKS {
                trials.extend(INNER.map(|inner| trial(&base, "narrow", task, inner, t, seed)));
            }
        }
        if budget == Budget::Full && seed < 3 {
            for t in [50, 200] {
                trials.extend(TASKS.map(|task| trial(&paper, "full", task, INNER[0], t, seed)));
            }
        }
    }
    trials
}

fn trial(
    base: &TuneConfig,
    network: &str,
    (name, task): (&str, Task),
    (inner, optimizer, kinds): Inner,
    steps: u32,
    seed: u32,
) -> Trial {
    let optimizer = optimizer();
    let learning_rate = Some(if optimizer.name() == "adam" { ADAM_RATE } else { RATE });
    let hyperparameters = kinds.to_vec();
    let config = TuneConfig { seed, task, steps, optimizer, hyperparameters, learning_rate, ..base.clone() };
    let labels = [("T", &*steps.to_string()), ("network", network), ("task", name), ("inner", inner)];
    Trial::tune(&labels, &config)
}
