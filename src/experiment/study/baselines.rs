//! Tuning beside what else one might do at equal cost.

use super::trial::{Budget, FRESH, Study, Trial, UCI_HAR, trainings, within};
use crate::bilevel::Decay;
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::{TuneConfig, usual_hyperparameters};
use crate::experiment::leader::OuterMethod;
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
    // All of the budget is spent, whether it pays or not.
    let (base, seeds) = match budget {
        Budget::Quick => (within(18, TuneConfig::quick()), 0..1),
        Budget::Desktop => (TuneConfig::default(), FRESH..FRESH + 3),
        Budget::Full => (TuneConfig::default(), FRESH..FRESH + 16),
    };
    let of = |seed| at_equal_cost(&TuneConfig { seed, patience: 0, ..base.clone() }, budget != Budget::Quick);
    seeds.flat_map(of).collect()
}

/// Every method on one seed, or a choice of them.
fn at_equal_cost(config: &TuneConfig, every: bool) -> Vec<Trial> {
    let search = |method: &str, sampler, space: [Variables; 3]| {
        let (config, trainings) = (config.clone(), trainings(config));
        let settings = Settings { config, space: Space(space.into()), sampler, trainings, mislabelled: None };
        Trial::new(&[("method", method)], settings.config.seed, "search", settings)
    };
    // All begin with the training that the tuner begins with.
    let of = |kind, count, [from, to]: [f64; 2], form, start: f64| Variables {
        kind,
        count,
        from,
        to,
        form,
        start: Some(start),
    };
    let start = |key| config.setting(key)[0];
    let rates = || of(Kind::Lr, 1, LR.map(f64::ln), Form::Itself, start("learning_rate").ln());
    let damping = |ends| of(Kind::Momentum, 1, ends, Form::Damping, (1.0 - start("momentum")).ln());
    let penalties = |count, ends| of(Kind::L2, count, ends, Form::Itself, start("l2").ln());
    // Log-uniform learning rates and penalties, momentum log-uniform in its distance from 1.
    let drawn = [rates(), damping([LEAST_DAMPING.ln(), 0.0]), penalties(LAYERS, L2.map(f64::ln))];
    // Learning rates by momenta, penalties 1e-3.
    let even = [rates(), damping([0.0, LEAST_DAMPING.ln()]), penalties(1, [start("l2").ln(); 2])];
    let tune =
        |method: &str, outer_method| Trial::tune(&[("method", method)], &TuneConfig { outer_method, ..config.clone() });
    // What was usual before there were decay, probe descent and a start that was measured.
    let before = TuneConfig {
        outer_method: OuterMethod::Adam,
        learning_rate: Some(1e-3),
        momentum: Some(0.5),
        decay: Decay::None,
        ..config.clone()
    };
    let mut adam = TuneConfig {
        optimizer: Adam(Epsilon::Outside).into(),
        learning_rate: Some(1e-3),
        decay: Decay::None,
        betas: Some([0.9, 0.999]),
        epsilon: Some(1e-8),
        ..config.clone()
    };
    adam.hyperparameters = usual_hyperparameters(&*adam.optimizer);
    let statistics = statistics::Settings { data: config.data.clone(), split: config.split.clone(), seed: config.seed };
    let others = [
        tune("guarded Adam", OuterMethod::GuardedAdam),
        tune("Gaussian process", OuterMethod::Gp),
        tune("Sobol", OuterMethod::Sobol),
        Trial::tune(&[("method", "Adam, constant rate from 0.001")], &before),
    ];
    let chosen = [
        tune("probe descent", OuterMethod::ProbeDescent),
        search("random search", Sampler::Random { stream: 0 }, drawn),
        search("grid search", Sampler::Grid, even),
        Trial::new(&[("method", "Adam 1e-3")], config.seed, "train", adam.of_training()),
        Trial::new(&[("method", "logistic regression on statistics")], config.seed, "statistics", statistics),
    ];
    chosen.into_iter().chain(others.into_iter().filter(|_| every)).collect()
}
