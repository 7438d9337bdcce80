//! From settings and windows to a bilevel problem, its data and its start values.

use std::rc::Rc;

use super::config::{ConfigError, TuneConfig};
use super::error::TuneError;
use super::leader::Leader;
use super::mislabelled::Mislabelled;
use super::record::Trivial;
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::hyperparameters::{Hyperparameters, Kind, ROWS, Row, Start};
use crate::bilevel::outer::Variables;
use crate::bilevel::{Counts, Memory, Method, Pace, Problem, Room, SessionData, Set, SolveError, Targets};
use crate::data::{DataError, Dataset, Sizes, Split, Standardizer};
use crate::nn::{Layer, optim};
use crate::rng::{Purpose, permute_index, split_seed, stream_key};

/// The bilevel problem that a configuration states for data of these sizes. Refuses a network that does not fit them.
pub fn problem(config: &TuneConfig, sizes: &Sizes) -> Result<Problem, ConfigError> {
    let task = config.task;
    let mut model = config.network.model(&sizes.input, sizes.outputs, config.setting("dropout")[0])?;
    config.check_dropout(&model)?;
    if task.softplus() {
        model = model.then(Layer::Softplus).expect("softplus fits everywhere");
    }
    Ok(Problem {
        batch: config.batch_of(sizes.train) as usize,
        decay: config.decay,
        l2: true,
        weights: config.hyperparameters.contains(&Kind::ExampleWeights),
        noise: config.noise(),
        initial_weights: config.hyperparameters.contains(&Kind::InitialWeights),
        initial_scale: config.hyperparameters.contains(&Kind::InitialScale),
        validation: sizes.validation.min(config.validation_windows as usize),
        ..Problem::new(model, task.loss(), config.optimizer.clone(), config.steps as usize, sizes.train)
    })
}

/// The start values of a configuration: of what is always there, and of what is there where it is tuned.
pub(super) fn start_values(config: &TuneConfig, problem: &Problem) -> Hyperparameters {
    let is_tuned = |kind: Kind| config.hyperparameters.contains(&kind);
    let stands = |row: &&Row| is_tuned(row.kind) || row.required && !row.apart.is_some_and(is_tuned);
    let rows = ROWS.iter().filter(stands).filter(|row| row.kind.count(problem) > 0);
    rows.fold(Hyperparameters::default(), |point, row| {
        let count = row.kind.count(problem);
        let values = match row.start {
            // One rate for all of its layers, or the problem would have been refused.
            Start::Setting("dropout") => vec![problem.model.places()[0].rate],
            Start::Setting(key) => config.setting(key),
            Start::SettingOr(key, other) => {
                config.setting(key).iter().map(|&v| if v > 0.0 { v } else { other }).collect()
            }
            Start::Value(value) => vec![value],
            Start::Weights => initial_weights(config, problem).into_iter().map(f64::from).collect(),
        };
        let values = if values.len() == count { values } else { vec![values[0]; count] };
        point.with(row.kind, &values, is_tuned(row.kind))
    })
}

pub(super) fn initial_weights(config: &TuneConfig, problem: &Problem) -> Vec<f32> {
    problem.model.initial_parameters(u64::from(config.seed))
}

/// The rate of the outer optimiser on a kind.
pub(super) fn outer_rate(config: &TuneConfig, kind: Kind) -> f64 {
    let rate = kind.row().rate;
    rate.share * config.setting(rate.setting)[0]
}

/// The outer optimiser of a configuration, before its first step.
pub(super) fn leader(config: &TuneConfig, start: &Hyperparameters) -> Leader {
    let variables = Variables::of(start, |kind| outer_rate(config, kind));
    config.leader().0.start(variables, u64::from(config.seed))
}

/// The method of a configuration. It refuses what it cannot see before there is a device.
pub(super) fn method(
    config: &TuneConfig,
    problem: &Problem,
    start: &Hyperparameters,
) -> Result<Box<dyn Method>, TuneError> {
    if !optim::named().contains(&config.optimizer) {
        return Err(ConfigError::Value {
            field: "optimizer",
            value: config.optimizer.name().to_owned(),
            must: "one whose steps can be differentiated".to_owned(),
            mend: "Take adam, whose ε stands within the root.".to_owned(),
        }
        .into());
    }
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

/// More numbers than these fit the validation people by heart.
const FEW: usize = 20;

/// Those of the validation windows that the outer loss may be taken on, and those of the people who are kept from it,
/// where so many numbers are tuned.
pub(super) fn apart(
    config: &TuneConfig,
    validation: &Dataset,
    tuned: usize,
) -> Result<(Dataset, Option<Dataset>), ConfigError> {
    let people = validation.present_people();
    let usual = if tuned > FEW && config.folds.is_none() { 2 * people.len() / 5 } else { 0 };
    let count = config.selection_people.map_or(usual, |count| count as usize);
    if count == 0 {
        return Ok((validation.clone(), None));
    }
    if count >= people.len() {
        return Err(ConfigError::Value {
            field: "selection_people",
            value: count.to_string(),
            must: format!("below {}, the number of people to validate on", people.len()),
            mend: "Someone has to be left for the outer loss.".to_owned(),
        });
    }
    let last = &people[people.len() - count..];
    let [kept, rest] = [true, false].map(|kept| {
        let rows = (0..validation.len()).filter(|&row| last.contains(&validation.people()[row]) == kept);
        validation.select(&rows.collect::<Vec<_>>())
    });
    Ok((rest, Some(kept)))
}

/// A data set as a run sees it.
pub struct Scaled {
    /// Its parts, scaled.
    pub split: Split,
    /// By what they were scaled.
    pub scale: Standardizer,
    /// Of the data as they were read, wrong labels included, in hexadecimal.
    pub fingerprint: String,
    /// Which training windows have a wrong label, where some have on purpose.
    pub wrong: Option<Rc<[bool]>>,
}

impl Scaled {
    /// Divides and scales data as a configuration says, once labels are wrong that it wants to be.
    pub fn new(config: &TuneConfig, data: &Dataset) -> Result<Scaled, DataError> {
        if config.mislabelled == 0.0 {
            return Self::of(config, data, Split::by_people(data, &config.split)?);
        }
        let (data, wrong) =
            Mislabelled { share: config.mislabelled, annotators: None, left_out: false }.of(config, data)?;
        let scaled = Self::of(config, &data, Split::by_people(&data, &config.split)?)?;
        Ok(Scaled { wrong: Some(wrong.into()), ..scaled })
    }

    /// The same with windows drawn at random, as many in each part: those of one person, and those that overlap, come into
    /// all parts, so that scores say nothing of people who were not recorded.
    pub fn at_random(config: &TuneConfig, data: &Dataset) -> Result<Scaled, DataError> {
        let honest = Split::by_people(data, &config.split)?;
        let share = |part: &Dataset| part.len() as f64 / data.len() as f64;
        let seed = u64::from(config.seed);
        Self::of(config, data, Split::by_share(data, share(&honest.validation), share(&honest.test), seed)?)
    }

    fn of(config: &TuneConfig, data: &Dataset, split: Split) -> Result<Scaled, DataError> {
        let (split, scale) = if config.task.classifies() { split.standardized()? } else { split.forecasting()? };
        Ok(Scaled { split, scale, fingerprint: format!("{:016x}", data.fingerprint()), wrong: None })
    }
}

/// What an outer iteration on data of these sizes runs with the states of a plan.
pub(super) fn counts(config: &TuneConfig, plan: &Plan, sizes: &Sizes) -> Counts {
    let problem = problem(config, sizes).expect("the plan was made for this problem");
    let directions = start_values(config, &problem).variables().len();
    let method = config.method.method(Memory::Budget(config.memory_budget.0), directions);
    method.counts(&problem, plan, directions)
}

/// What a hypergradient costs, in trainings: by counted operations, as if all states were kept, so that it does not
/// depend on the memory there is.
pub(super) fn price(config: &TuneConfig, problem: &Problem, start: &Hyperparameters) -> f64 {
    let along = start.variables().len();
    let method = config.method.method(Memory::StoreAll, along);
    let all = method.plan(problem, Room { fixed: 0, state: 0, residuals: 0 }).expect("all states always fit");
    Pace::of_step(1.0).of(&method.counts(problem, &all, along), problem.train) / problem.steps as f64
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
