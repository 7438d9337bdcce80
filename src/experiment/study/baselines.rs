//! Tuning beside what else one might do at equal cost.

use super::har::{self, HarTrial, Method};
use super::{Budget, Study, Trial};
use crate::experiment::config::TuneConfig;

pub const STUDY: Study = Study {
    name: "har-baselines",
    question: "What do hypergradients buy over random search, a grid and sensible defaults, at equal gradient evaluations?",
    source: "HO for time-series CNNs; the reference problem",
    data: har::DATA,
    trials,
    along: "method",
    apart: &[],
    charts: &["outer_loss", "test_accuracy"],
};

const METHODS: [(&str, Method); 5] = [
    ("hypergradients", Method::Tune),
    ("random search", Method::RandomSearch),
    ("grid search", Method::GridSearch),
    ("Adam 1e-3", Method::Adam),
    ("logistic regression on statistics", Method::Statistics),
];

fn trials(budget: Budget) -> Vec<Trial> {
    let (base, seeds) = match budget {
        Budget::Quick => (TuneConfig { outer: 5, ..TuneConfig::quick() }, 1),
        Budget::Desktop => (TuneConfig::default(), 3),
        Budget::Full => (TuneConfig::default(), 10),
    };
    let seeds = 0..seeds;
    let trial =
        |seed, (name, method)| HarTrial::labelled(&[("method", name)], method, TuneConfig { seed, ..base.clone() });
    seeds.flat_map(|seed| METHODS.map(|method| trial(seed, method))).collect()
}
