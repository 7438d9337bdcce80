//! What to start from: the learning rate that each optimiser does well with, by the size of its batches.

use super::trial::{Budget, Study, Trial, UCI_HAR};
use crate::experiment::config::{TuneConfig, usual_hyperparameters};
use crate::nn::optim;

pub const STUDY: Study = Study {
    name: "har-start",
    question: "Which learning rate does each optimiser do well with before anything is tuned, and how does that depend on the batch?",
    source: "our own; what the usual learning rates follow from",
    data: UCI_HAR,
    trials,
    along: "learning rate",
    apart: &["batch"],
    charts: &["validation_loss", "test_accuracy"],
};

/// Each half as large again as the one before, about.
const RATES: [f64; 12] = [0.001, 0.0015, 0.0025, 0.004, 0.006, 0.01, 0.025, 0.04, 0.06, 0.1, 0.15, 0.25];

fn trials(budget: Budget) -> Vec<Trial> {
    let (base, batches, seeds): (_, &[u32], u32) = match budget {
        Budget::Quick => (TuneConfig::quick(), &[64], 1),
        Budget::Desktop => (TuneConfig::default(), &[16, 64, 256], 4),
        Budget::Full => (TuneConfig::default(), &[16, 32, 64, 128, 256], 8),
    };
    let mut trials = vec![];
    for optimizer in optim::plain() {
        for &batch in batches {
            for rate in RATES {
                for seed in 0..seeds {
                    let hyperparameters = usual_hyperparameters(&*optimizer);
                    let (optimizer, learning_rate) = (optimizer.clone(), Some(rate));
                    let labels = [
                        ("optimizer", optimizer.name()),
                        ("batch", &batch.to_string()),
                        ("learning rate", &rate.to_string()),
                    ];
                    let config = TuneConfig {
                        seed,
                        batch: Some(batch),
                        hyperparameters,
                        learning_rate,
                        optimizer: optimizer.clone(),
                        ..base.clone()
                    };
                    trials.push(Trial::new(&labels, seed, "train", config.of_training()));
                }
            }
        }
    }
    trials
}
