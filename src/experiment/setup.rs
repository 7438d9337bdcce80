//! From settings and windows to a bilevel problem, its data and its start values.

use super::config::TuneConfig;
use super::error::TuneError;
use super::record::Trivial;
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::hyperparameters::{Hyperparameters, Kind};
use crate::bilevel::{Blueprint, Counts, Memory, Method, Problem, SessionData, Set, SolveError, Targets};
use crate::data::{Dataset, Sizes, Split, Standardizer};
use crate::nn::{Layer, zoo};
use crate::rng::{Purpose, permute_index, split_seed, stream_key};

/// The bilevel problem that a configuration states for data of these sizes.
pub fn problem(config: &TuneConfig, sizes: &Sizes) -> Problem {
    let task = config.task;
    let (filters, hidden) = (config.network.filters(), config.network.hidden());
    let model = zoo::har_cnn(&sizes.input, filters, hidden, sizes.outputs, config.dropout);
    let mut model = model.expect("the sizes fit by construction");
    if task.softplus() {
        model = model.then(Layer::Softplus).expect("softplus fits everywhere");
    }
    Problem {
        batch: config.batch as usize,
        l2: true,
        weights: config.hyperparameters.contains(&Kind::ExampleWeights),
        noise: config.noise(),
        initial_weights: config.hyperparameters.contains(&Kind::InitialWeights),
        initial_scale: config.hyperparameters.contains(&Kind::InitialScale),
        ..Problem::new(model, task.loss(), config.optimizer.clone(), config.steps as usize, sizes.train)
    }
}

/// The start values of a configuration.
pub(super) fn start_values(config: &TuneConfig, problem: &Problem) -> Hyperparameters {
    let is_tuned = |kind: Kind| config.hyperparameters.contains(&kind);
    // What is always there, and what is there where it is tuned.
    let l2 = if is_tuned(Kind::L2Global) { Kind::L2Global } else { Kind::L2 };
    let always = [Kind::Lr, Kind::Momentum, Kind::Betas, Kind::Epsilon, l2, Kind::Dropout, Kind::Jitter, Kind::Scaling];
    let kinds = Kind::ALL.into_iter().filter(|kind| always.contains(kind) || is_tuned(*kind));
    kinds.filter(|kind| kind.count(problem) > 0).fold(Hyperparameters::default(), |point, kind| {
        let or = |value: f64, other: f64| if value > 0.0 { value } else { other };
        let start = match kind {
            Kind::Lr => config.learning_rate,
            Kind::Momentum => config.momentum,
            Kind::Betas => return point.with(kind, &config.betas, is_tuned(kind)),
            Kind::Epsilon => config.epsilon,
            Kind::L2 | Kind::L2Global => config.l2,
            Kind::Dropout => config.dropout,
            Kind::Jitter => or(config.jitter, 0.05),
            Kind::Scaling => or(config.scaling, 0.1),
            Kind::ExampleWeights => 0.5,
            Kind::LrLayers | Kind::LrSchedule | Kind::InitialScale => 1.0,
            Kind::InitialWeights => {
                let weights: Vec<f64> = initial_weights(config, problem).into_iter().map(f64::from).collect();
                return point.with(kind, &weights, true);
            }
            Kind::Regularizer => 0.0,
        };
        point.with(kind, &vec![start; kind.count(problem)], is_tuned(kind))
    })
}

pub(super) fn initial_weights(config: &TuneConfig, problem: &Problem) -> Vec<f32> {
    problem.model.initial_parameters(u64::from(config.seed))
}

/// The rate of the outer optimiser on a kind: less where there are many of it, or where a little does much.
pub(super) fn outer_rate(config: &TuneConfig, kind: Kind) -> f64 {
    match kind {
        Kind::ExampleWeights => config.example_weight_rate,
        // It acts on the outputs by its fourth power, once in each layer.
        Kind::LrSchedule | Kind::InitialScale => 0.25 * config.outer_rate,
        Kind::InitialWeights => 0.0025 * config.outer_rate,
        _ => config.outer_rate,
    }
}

/// The method of a configuration. It refuses what it cannot see before there is a device.
pub(super) fn method(
    config: &TuneConfig,
    problem: &Problem,
    start: &Hyperparameters,
) -> Result<Box<dyn Method>, TuneError> {
    let along = start.directions(problem);
    let method = config.method.method(Memory::Budget(config.memory_budget.0), along.len());
    match method.refusal(problem, &along) {
        Some(refusal) => Err(SolveError::from(refusal).into()),
        None => Ok(method),
    }
}

/// A data set as a set of the bilevel problem, in numbers.
pub fn set(data: &Dataset) -> Set {
    Set { x: data.values().into_owned().into(), targets: data.targets().clone(), count: data.len() }
}

/// How predictors that learn nothing do on the test windows, where there is something to predict.
pub(super) fn trivial(split: &Split) -> Option<Trivial> {
    let (Targets::Values(train), Targets::Values(test)) = (split.train.targets(), split.test.targets()) else {
        return None;
    };
    let channels = split.test.about().outputs.len();
    let mean = |c: usize| {
        train.iter().skip(c).step_by(channels).map(|&v| f64::from(v)).sum::<f64>() / split.train.len() as f64
    };
    let mean: Vec<f64> = (0..channels).map(mean).collect();
    let error = |predict: &dyn Fn(usize, usize) -> f64| {
        let squares = test.iter().enumerate();
        let squares = squares.map(|(k, &v)| (f64::from(v) - predict(k / channels, k % channels)).powi(2));
        squares.sum::<f64>() / test.len() as f64
    };
    let last = |window: usize, c: usize| {
        let window = split.test.example(window);
        f64::from(window[window.len() - channels + c])
    };
    Some(Trivial { last_sample: error(&last), training_mean: error(&|_, c| mean[c]) })
}

/// The fixed random choice of validation windows that the outer loss is taken on.
pub fn outer_windows(validation: &Dataset, config: &TuneConfig) -> Dataset {
    let (all, wanted) = (validation.len(), config.validation_windows as usize);
    if wanted >= all {
        return validation.clone();
    }
    let key = stream_key(split_seed(u64::from(config.seed)), Purpose::Validation, 0);
    let chosen: Vec<usize> = (0..wanted).map(|i| permute_index(key, all as u32, i as u32) as usize).collect();
    validation.select(&chosen)
}

/// The windows split and scaled as a configuration says, and whether the two fit.
pub(super) fn scaled(config: &TuneConfig, data: &Dataset) -> Result<(Split, Standardizer), TuneError> {
    config.check()?;
    let split = Split::by_people(data, &config.split)?;
    let (split, scale) = if config.task.classifies() { split.standardized()? } else { split.forecasting()? };
    config.check_batch(split.train.len())?;
    Ok((split, scale))
}

/// What a run on these windows would compute and hold. Refuses whatever a [`Tuner`](super::tune::Tuner) would refuse of
/// the configuration, but needs no device.
pub fn blueprint(config: &TuneConfig, data: &Dataset) -> Result<Blueprint, TuneError> {
    let (split, _) = scaled(config, data)?;
    planned(config, &split.sizes())
}

/// What a run on data of these sizes would compute and hold, within its memory budget.
pub fn planned(config: &TuneConfig, sizes: &Sizes) -> Result<Blueprint, TuneError> {
    config.check()?;
    config.check_batch(sizes.train)?;
    let outer = sizes.validation.min(config.validation_windows as usize);
    let problem = problem(config, sizes);
    let method = method(config, &problem, &start_values(config, &problem))?;
    Ok(Blueprint::new(&problem, outer, method)?.within(config.memory_budget.0)?)
}

/// What an outer iteration on data of these sizes runs with the states of a plan.
pub(super) fn counts(config: &TuneConfig, plan: &Plan, sizes: &Sizes) -> Counts {
    let problem = problem(config, sizes);
    let directions = start_values(config, &problem).variables().len();
    let method = config.method.method(Memory::Budget(config.memory_budget.0), directions);
    method.counts(&problem, plan, directions)
}

/// What the session of a run is made of.
pub(super) fn session_data(config: &TuneConfig, problem: &Problem, split: &Split, outer: &Dataset) -> SessionData {
    SessionData::new(set(&split.train), set(outer), initial_weights(config, problem), u64::from(config.seed))
}

/// The sizes of the built-in windows, but for so many to train on.
#[cfg(test)]
pub(super) fn with_training(train: usize) -> Sizes {
    let data = crate::data::har::builtin::subset().expect("the built-in data are whole");
    let split = Split::by_people(&data, &crate::data::SubjectSplit::default()).expect("they have the usual people");
    Sizes { train, ..split.sizes() }
}
