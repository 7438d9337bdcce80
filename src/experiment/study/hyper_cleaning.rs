//! Data hyper-cleaning on MNIST: a weight for each training example, found by hypergradients, against wrong
//! labels (Franceschi et al. 2017, as their script has it).

use super::trial::{Budget, Study, Trial};
use crate::experiment::trainables::hyper_cleaning::{Settings, Weights};

pub const STUDY: Study = Study {
    name: "mnist-hyper-cleaning",
    question: "Half of the training labels are wrong: do learned example weights find them, and win back the accuracy?",
    source: "Franceschi et al. 2017, data hyper-cleaning: test accuracy 90.5 % without the wrong labels, 90.1 % cleaned, 87.7 % not cleaned; F1 0.91 to 0.92",
    data: "MNIST",
    trials,
    along: "training",
    apart: &[],
    charts: &["test_accuracy", "f1"],
};

fn trials(budget: Budget) -> Vec<Trial> {
    let settings = |examples, steps, outer, outer_rate, final_steps| Settings {
        examples,
        steps,
        outer,
        outer_rate,
        final_steps,
        weights: Weights::Equal,
        seed: 0,
    };
    let (base, shares): (_, &[f64]) = match budget {
        Budget::Quick => (settings(1000, 100, 15, 0.02, 400), &[0.2]),
        // The script's quick demonstration.
        Budget::Desktop => (settings(5000, 500, 30, 0.01, 4000), &[0.2]),
        Budget::Full => (settings(5000, 1000, 500, 0.005, 4000), &[0.2, 0.3, 0.4, 0.5]),
    };
    let fixed = [("not cleaned", Weights::Equal), ("wrong labels left out", Weights::Oracle)];
    let fixed = fixed.map(|(name, weights)| (name.to_owned(), weights));
    let learned = shares.iter().map(|&share| {
        let radius = share * base.examples as f64;
        (format!("weights learned, R = {radius}"), Weights::Learned { share })
    });
    let trial = |(name, weights): (String, Weights)| {
        Trial::new(&[("training", &*name)], base.seed, "hyper-cleaning", Settings { weights, ..base.clone() })
    };
    fixed.into_iter().chain(learned).map(trial).collect()
}
