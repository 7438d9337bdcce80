//! Tuning beside what else one might do at equal cost.

use super::trial::{Budget, Study, Trial, UCI_HAR, trainings_of_equal_cost};
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::{TuneConfig, usual_hyperparameters};
use crate::experiment::space::{Form, Space, Variables};
use crate::experiment::trainables::search::{Sampler, Settings};
use crate::experiment::trainables::statistics;
use crate::nn::optim::{Adam, Epsilon};

pub const STUDY: Study = Study {
    name: "har-baselines",
    question: "What do hypergradients buy over random search, a grid and sensible defaults, at equal gradient evaluations?",
    source: "HO for time-series CNNs; the reference problem",
    data: UCI_HAR,
    trials,
    along: "method",
    apart: &[],
    charts: &["outer_loss", "test_accuracy"],
};

/// The ranges that searches draw from.
const LR: [f64; 2] = [1e-4, 0.3];
const LEAST_DAMPING: f64 = 0.01;
const L2: [f64; 2] = [1e-6, 0.1];
/// Layers with a penalty of their own.
const LAYERS: usize = 4;

fn trials(budget: Budget) -> Vec<Trial> {
    let (base, seeds) = match budget {
        Budget::Quick => (TuneConfig { outer: 5, ..TuneConfig::quick() }, 1),
        Budget::Desktop => (TuneConfig::default(), 3),
        Budget::Full => (TuneConfig::default(), 10),
    };
    (0..seeds).flat_map(|seed| at_equal_cost(&TuneConfig { seed, ..base.clone() })).collect()
}

fn at_equal_cost(config: &TuneConfig) -> [Trial; 5] {
    let search = |method: &str, sampler, space: [Variables; 3]| {
        let (config, trainings) = (config.clone(), trainings_of_equal_cost(config));
        let settings = Settings { config, space: Space(space.into()), sampler, trainings, mislabelled: None };
        Trial::new(&[("method", method)], settings.config.seed, "search", settings)
    };
    let of = |kind, count, [from, to]: [f64; 2], form| Variables { kind, count, from, to, form };
    let rates = || of(Kind::Lr, 1, LR.map(f64::ln), Form::Itself);
    // Log-uniform learning rates and penalties, momentum log-uniform in its distance from 1.
    let drawn = [
        rates(),
        of(Kind::Momentum, 1, [LEAST_DAMPING.ln(), 0.0], Form::Damping),
        of(Kind::L2, LAYERS, L2.map(f64::ln), Form::Itself),
    ];
    // Learning rates by momenta, penalties 1e-3.
    let even = [
        rates(),
        of(Kind::Momentum, 1, [0.0, LEAST_DAMPING.ln()], Form::Damping),
        of(Kind::L2, 1, [1e-3f64.ln(); 2], Form::Itself),
    ];
    let mut adam = TuneConfig {
        optimizer: Adam(Epsilon::Outside).into(),
        learning_rate: 1e-3,
        betas: Some([0.9, 0.999]),
        epsilon: Some(1e-8),
        ..config.clone()
    };
    adam.hyperparameters = usual_hyperparameters(&*adam.optimizer);
    let statistics = statistics::Settings { data: config.data.clone(), split: config.split.clone(), seed: config.seed };
    [
        Trial::tune(&[("method", "hypergradients")], config),
        search("random search", Sampler::Random { stream: 0 }, drawn),
        search("grid search", Sampler::Grid, even),
        Trial::new(&[("method", "Adam 1e-3")], config.seed, "train", adam.of_training()),
        Trial::new(&[("method", "logistic regression on statistics")], config.seed, "statistics", statistics),
    ]
}
