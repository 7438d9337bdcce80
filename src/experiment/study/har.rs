//! Trials on activity recognition: tunings, searches and trainings that a [`TuneConfig`] describes.

use async_trait::async_trait;

use super::{Library, Trial, Work};
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::{Loss, Memory, Pace, Problem, Session, SessionData, Set, SolveError, Targets};
use crate::data::har::statistics;
use crate::data::{Dataset, Sizes, Split};
use crate::experiment::config::{Network, TuneConfig};
use crate::experiment::error::TuneError;
use crate::experiment::predict;
use crate::experiment::record::{Ending, Evaluation, Named, Score, Trivial};
use crate::experiment::setup::{outer_windows, planned, problem, scaled, session_data, set};
use crate::experiment::tune::{Observer, Tuner, Watched};
use crate::nn::optim::{self, Epsilon};
use crate::nn::{Layer, Model};
use crate::rig::Device;
use crate::rng::{Purpose, Stream};

/// What studies name as their data.
pub(super) const DATA: &str = "UCI HAR, built in";

/// A way to choose hyperparameters, and the problem to choose them for.
#[derive(Clone, Debug, PartialEq)]
pub struct HarTrial {
    /// How its hyperparameters are chosen.
    pub method: Method,
    /// The problem, its start values and its seed.
    pub config: TuneConfig,
    /// What is done to the training labels.
    pub mislabelled: Mislabelled,
}

/// How hyperparameters are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By hypergradients.
    Tune,
    /// The best of random settings, at the gradient evaluations of [`Method::Tune`].
    RandomSearch,
    /// The best of a grid over learning rate and momentum, likewise.
    GridSearch,
    /// Not at all: Adam with learning rate 1e-3 instead of the tuned dynamics.
    Adam,
    /// Logistic regression on 135 statistics of each window, its penalty chosen on the validation people.
    Statistics,
}

/// What happens to the training labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mislabelled {
    /// The labels are those of the data.
    None,
    /// This share of the training windows gets another label.
    Share(f64),
    /// The windows that would have got another label are left out.
    LeftOut(f64),
}

impl HarTrial {
    /// A trial with these labels and, as another one, its seed.
    pub(super) fn labelled(labels: &[(&str, &str)], method: Method, config: TuneConfig) -> Trial {
        HarTrial { method, config, mislabelled: Mislabelled::None }.with(labels)
    }

    /// The same for one of another kind.
    pub(super) fn with(self, labels: &[(&str, &str)]) -> Trial {
        Trial::new(labels, self.config.seed, self)
    }
}

#[async_trait(?Send)]
impl Work for HarTrial {
    fn load(&self, library: &Library) -> Result<(), TuneError> {
        self.config.check()?;
        library.windows(&self.config.data)?;
        Ok(())
    }

    fn problem(&self) -> String {
        match &self.config.network {
            network if *network == Network::NARROW => "UCI HAR, narrow network".to_owned(),
            network if *network == Network::PAPER => "UCI HAR, full network".to_owned(),
            other => format!("UCI HAR, network {other}"),
        }
    }

    async fn measure(&self, device: &Device, library: &Library, seconds: f64) -> Result<Pace, TuneError> {
        let source = library.windows(&self.config.data)?;
        predict::measure(device, &self.config, &source, seconds).await
    }

    fn seconds(&self, pace: &Pace, library: &Library) -> Result<f64, TuneError> {
        let config = &self.config;
        let training = f64::from(config.steps) * pace.step;
        Ok(match self.method {
            Method::Tune => {
                let sizes = sizes(config, &*library.windows(&config.data)?)?;
                let plan = planned(config, &sizes)?.checkpoints;
                predict::seconds(pace, &plan, config, &sizes)
            }
            Method::RandomSearch | Method::GridSearch => f64::from(trainings_of_equal_cost(config)) * training,
            Method::Adam => training,
            // A linear model: nothing beside the networks.
            Method::Statistics => 0.0,
        })
    }

    async fn run(&self, device: &Device, library: &Library, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let config = &self.config;
        let (source, wrong) = mislabel(&*library.windows(&config.data)?, self)?;
        match self.method {
            Method::Tune => tune(config, device, &source, &wrong, observer).await,
            Method::RandomSearch => {
                let trainings = trainings_of_equal_cost(config);
                search(config, device, &source, &random_settings(config, trainings), observer).await
            }
            Method::GridSearch => {
                search(config, device, &source, &grid(trainings_of_equal_cost(config)), observer).await
            }
            Method::Adam => adam(config, device, &source, observer).await,
            Method::Statistics => on_statistics(config, device, &source, observer).await,
        }
    }
}

/// Adjoint and training step together cost this many gradients of the inner loss (counted floating-point
/// operations with all states stored): what a hypergradient counts in comparisons at equal cost.
pub const GRADIENTS_PER_STEP: f64 = 3.58;

/// Trainings that cost as much as a tuning run.
pub fn trainings_of_equal_cost(config: &TuneConfig) -> u32 {
    (f64::from(config.outer) * GRADIENTS_PER_STEP).round() as u32
}

/// How large the parts of the data are, before windows are left out that nothing follows.
fn sizes(config: &TuneConfig, data: &Dataset) -> Result<Sizes, TuneError> {
    let (validation, test) = config.split.resolve(data)?;
    let of = |people: &[u32]| data.people().iter().filter(|&person| people.contains(person)).count();
    let (validation, test) = (of(&validation), of(&test));
    let (input, outputs) = (data.about().shape.clone(), config.task.outputs(data));
    Ok(Sizes { input, outputs, train: data.len() - validation - test, validation, test })
}

/// The data with training labels spoilt as the trial says, and which training windows are.
fn mislabel(data: &Dataset, trial: &HarTrial) -> Result<(Dataset, Vec<bool>), TuneError> {
    let (share, name) = match trial.mislabelled {
        Mislabelled::None => return Ok((data.clone(), vec![])),
        Mislabelled::Share(share) => (share, "wrong labels"),
        Mislabelled::LeftOut(share) => (share, "windows left out"),
    };
    let (validation, test) = trial.config.split.resolve(data)?;
    let trained_on = |subject: &u32| !validation.contains(subject) && !test.contains(subject);
    let mut stream = Stream::new(u64::from(trial.config.seed), Purpose::Labels, 0);
    let (mut wrong, mut kept, mut labels) = (vec![], vec![], data.labels().to_vec());
    for (at, person) in data.people().iter().enumerate() {
        let spoilt = trained_on(person) && stream.uniform() < share;
        if trained_on(person) {
            wrong.push(spoilt);
        }
        if spoilt {
            labels[at] = stream.other_label(labels[at], data.about().outputs.len());
        } else {
            kept.push(at);
        }
    }
    let named = data.clone().named(format!("{}, {:.0} % {name}", data.about().name, 100.0 * share));
    Ok(match trial.mislabelled {
        Mislabelled::LeftOut(_) => (named.select(&kept), vec![]),
        _ => (named.with_labels(labels)?, wrong),
    })
}

async fn tune(
    config: &TuneConfig,
    device: &Device,
    data: &Dataset,
    wrong: &[bool],
    observer: &mut dyn Observer,
) -> Result<Named, TuneError> {
    let mut tuner = Tuner::new(device, config, data, None).await?;
    let ending = tuner.run(observer).await?;
    if ending == Ending::Stopped {
        return Err(SolveError::Stopped.into());
    }
    let (result, _) = tuner.conclude(ending, observer).await?;
    let mut metrics = Named::new();
    metrics.extend(result.best_outer_loss.map(|loss| ("outer_loss".to_owned(), loss)));
    metrics.insert("best_iteration".to_owned(), result.best_iteration.into());
    for (prefix, evaluation) in [("start_", &result.start), ("", &result.end)] {
        if let Some(Evaluation { validation, test, hyperparameters, .. }) = evaluation {
            metrics.extend(scores(prefix, *validation, *test));
            metrics.extend(hyperparameters.iter().map(|(name, &value)| (format!("{prefix}{name}"), value)));
        }
    }
    if let Some(Trivial { last_sample, training_mean }) = result.trivial {
        metrics.insert("last_sample_loss".to_owned(), last_sample);
        metrics.insert("training_mean_loss".to_owned(), training_mean);
    }
    if let (Some(before), Some(after)) = (metrics.get("start_test_loss"), metrics.get("test_loss")) {
        metrics.insert("gain".to_owned(), 1.0 - after / before);
    }
    let best = tuner.state().best.as_ref();
    let weights = best.map_or(vec![], |best| best.hyperparameters.values(Kind::ExampleWeights));
    if !weights.is_empty() && !wrong.is_empty() {
        metrics.insert("auc".to_owned(), auc(&weights, wrong));
    }
    Ok(metrics)
}

/// The probability that a right label has a larger weight than a wrong one (ties count half).
fn auc(weights: &[f64], wrong: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[a].total_cmp(&weights[b]));
    let (mut below, mut won) = (0.0, 0.0);
    for tied in order.chunk_by(|&a, &b| weights[a] == weights[b]) {
        let of_wrong = tied.iter().filter(|&&at| wrong[at]).count() as f64;
        won += (tied.len() as f64 - of_wrong) * (below + 0.5 * of_wrong);
        below += of_wrong;
    }
    won / (below * (weights.len() as f64 - below))
}

fn scores(prefix: &str, validation: Score, test: Score) -> Named {
    let mut named = Named::new();
    for (name, score) in [("validation", validation), ("test", test)] {
        named.extend(score.accuracy.map(|accuracy| (format!("{prefix}{name}_accuracy"), accuracy)));
        named.extend(score.loss.map(|loss| (format!("{prefix}{name}_loss"), loss)));
    }
    named
}

/// Learning rate, momentum and log penalties of the layers.
struct Setting {
    log_lr: f64,
    momentum: f64,
    /// One for each layer, or for all.
    log_l2: Vec<f64>,
}

/// The ranges that searches draw from.
const LR: [f64; 2] = [1e-4, 0.3];
const LEAST_DAMPING: f64 = 0.01;
const L2: [f64; 2] = [1e-6, 0.1];
/// Most layers with a penalty of their own.
const LAYERS: usize = 4;

/// Log-uniform learning rates and penalties, momentum log-uniform in its distance from 1.
fn random_settings(config: &TuneConfig, count: u32) -> Vec<Setting> {
    let mut stream = Stream::new(u64::from(config.seed), Purpose::Search, 0);
    let mut uniform = move |low: f64, high: f64| low + (high - low) * stream.uniform();
    let setting = |_| Setting {
        log_lr: uniform(LR[0].ln(), LR[1].ln()),
        momentum: 1.0 - uniform(LEAST_DAMPING.ln(), 0.0).exp(),
        log_l2: (0..LAYERS).map(|_| uniform(L2[0].ln(), L2[1].ln())).collect(),
    };
    (0..count).map(setting).collect()
}

/// At most `count` points: learning rates by momenta, as near to a square as they go, penalties 1e-3.
fn grid(count: u32) -> Vec<Setting> {
    let momenta = f64::from(count).sqrt().floor().max(1.0) as u32;
    let rates = count / momenta;
    let at = |k: u32, of: u32| if of > 1 { f64::from(k) / f64::from(of - 1) } else { 0.5 };
    let setting = |k: u32| Setting {
        log_lr: LR[0].ln() + at(k / momenta, rates) * (LR[1] / LR[0]).ln(),
        momentum: 1.0 - (at(k % momenta, momenta) * LEAST_DAMPING.ln()).exp(),
        log_l2: vec![1e-3f64.ln()],
    };
    (0..rates * momenta).map(setting).collect()
}

/// Trains with each setting and scores the one with the lowest outer loss.
async fn search(
    config: &TuneConfig,
    device: &Device,
    data: &Dataset,
    settings: &[Setting],
    observer: &mut dyn Observer,
) -> Result<Named, TuneError> {
    let (split, _) = scaled(config, data)?;
    let problem = problem(config, &split.sizes())?;
    let layout = problem.layout();
    let data = session_data(config, &problem, &split, &outer_windows(&split.validation, config));
    let mut session = Session::new(device, problem, &data, Memory::Slots(1)).await?;
    let mut best = (f64::INFINITY, vec![]);
    for setting in settings {
        let mut lambda = vec![0.0; layout.len()];
        lambda[layout.log_lr.clone()].fill(setting.log_lr);
        lambda[layout.scalars.clone()].fill(setting.momentum);
        let penalties = setting.log_l2.iter().cycle();
        lambda[layout.l2_log.clone()].iter_mut().zip(penalties).for_each(|(l, &value)| *l = value);
        let mut host = Watched::quiet(observer);
        let estimate = session.train(&lambda, &mut host).await;
        let estimate = host.settle(estimate)?;
        if estimate.bad_step.is_none() && estimate.outer_loss < best.0 {
            best = (estimate.outer_loss, lambda);
        }
    }
    let (outer_loss, lambda) = best;
    let trainings = ("trainings".to_owned(), settings.len() as f64);
    if lambda.is_empty() {
        // Every training diverged.
        return Ok(Named::from([trainings]));
    }
    let mut metrics = train_and_score(&mut session, &lambda, &sets(&split), observer).await?;
    metrics.insert("outer_loss".to_owned(), outer_loss);
    metrics.insert("learning_rate".to_owned(), lambda[layout.log_lr.start].exp());
    metrics.insert("momentum".to_owned(), lambda[layout.scalars.start]);
    metrics.extend([trainings]);
    Ok(metrics)
}

/// The validation and test windows.
pub(super) fn sets(split: &Split) -> [Set; 2] {
    [set(&split.validation), set(&split.test)]
}

/// Trains and scores on the validation and test sets.
pub(super) async fn train_and_score(
    session: &mut Session,
    lambda: &[f64],
    [validation, test]: &[Set; 2],
    observer: &mut dyn Observer,
) -> Result<Named, TuneError> {
    let mut host = Watched::quiet(observer);
    let estimate = session.train(lambda, &mut host).await;
    let estimate = host.settle(estimate)?;
    let validation = session.evaluate(validation, &mut host).await;
    let validation = host.settle(validation)?;
    let test = session.evaluate(test, &mut host).await;
    let test = host.settle(test)?;
    let mut metrics = scores("", Score::of(&validation), Score::of(&test));
    metrics.insert("outer_loss".to_owned(), estimate.outer_loss);
    metrics.retain(|_, value| value.is_finite());
    Ok(metrics)
}

async fn adam(
    config: &TuneConfig,
    device: &Device,
    data: &Dataset,
    observer: &mut dyn Observer,
) -> Result<Named, TuneError> {
    let (split, _) = scaled(config, data)?;
    let problem = Problem { optimizer: optim::Adam(Epsilon::Outside).into(), ..problem(config, &split.sizes())? };
    let layout = problem.layout();
    let data = session_data(config, &problem, &split, &outer_windows(&split.validation, config));
    let mut lambda = vec![0.0; layout.len()];
    lambda[layout.log_lr.clone()].fill(1e-3f64.ln());
    lambda[layout.scalars.clone()].copy_from_slice(&[0.9, 0.999, 1e-8]);
    lambda[layout.l2_log.clone()].fill(config.l2.ln());
    let mut session = Session::new(device, problem, &data, Memory::Slots(1)).await?;
    train_and_score(&mut session, &lambda, &sets(&split), observer).await
}

/// Softmax regression by momentum over 600 steps of 512 windows, with one of three penalties.
async fn on_statistics(
    config: &TuneConfig,
    device: &Device,
    data: &Dataset,
    observer: &mut dyn Observer,
) -> Result<Named, TuneError> {
    let split = Split::by_people(data, &config.split)?;
    let mut features = [&split.train, &split.validation, &split.test].map(statistics::features);
    statistics::standardize(&mut features);
    let labelled = |(x, windows): (Vec<f32>, &Dataset)| Set {
        x: x.into(),
        targets: Targets::Labels(windows.labels().to_vec()),
        count: windows.len(),
    };
    let parts = [&split.train, &split.validation, &split.test];
    let sets: Vec<Set> = features.into_iter().zip(parts).map(labelled).collect();
    let [train, validation, test] = <[Set; 3]>::try_from(sets).unwrap_or_else(|_| unreachable!("three parts"));
    let outputs = data.about().outputs.len();
    let layers = Layer::Dense { name: "dense".into(), inputs: statistics::FEATURES, outputs, bias: true };
    let model = Model::new(vec![layers], &[statistics::FEATURES]).expect("one dense layer fits");
    let problem = Problem {
        batch: 512.min(train.count),
        l2: true,
        ..Problem::new(model, Loss::CrossEntropy, optim::Momentum, 600, train.count)
    };
    let layout = problem.layout();
    let initial = vec![0.0; problem.model.parameter_count()];
    let data = SessionData::new(train, validation.clone(), initial, u64::from(config.seed));
    let mut session = Session::new(device, problem, &data, Memory::Slots(1)).await?;
    let sets = [validation, test];
    let mut best: Option<Named> = None;
    for penalty in [1e-4f64, 1e-3, 1e-2] {
        let mut lambda = vec![0.0; layout.len()];
        lambda[layout.log_lr.clone()].fill(0.05f64.ln());
        lambda[layout.scalars.clone()].fill(0.9);
        lambda[layout.l2_log.clone()].fill(penalty.ln());
        let metrics = train_and_score(&mut session, &lambda, &sets, observer).await?;
        let loss = |metrics: &Named| metrics.get("outer_loss").copied().unwrap_or(f64::INFINITY);
        if best.as_ref().is_none_or(|best| loss(&metrics) < loss(best)) {
            best = Some(metrics);
        }
    }
    Ok(best.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::har::builtin;

    #[test]
    fn auc_counts_pairs_in_the_right_order() {
        let wrong = [true, false, true, false, false];
        assert_eq!(auc(&[0.0, 1.0, 0.0, 1.0, 2.0], &wrong), 1.0);
        assert_eq!(auc(&[5.0; 5], &wrong), 0.5);
        // Of six pairs, the wrong label at 3 beats two right ones.
        assert_eq!(auc(&[0.0, 1.0, 3.0, 2.0, 4.0], &wrong), 4.0 / 6.0);
    }

    #[test]
    fn only_training_labels_are_spoilt() {
        let source = builtin::subset().unwrap();
        let trial = |mislabelled| HarTrial {
            method: Method::Tune,
            config: TuneConfig { seed: 3, ..TuneConfig::quick() },
            mislabelled,
        };
        let (spoilt, wrong) = mislabel(&source, &trial(Mislabelled::Share(1.0 / 3.0))).unwrap();
        let before = Split::by_people(&source, &TuneConfig::quick().split).unwrap();
        let after = Split::by_people(&spoilt, &TuneConfig::quick().split).unwrap();
        let unnamed = |part: &Dataset| part.clone().named("");
        assert!(unnamed(&before.validation) == unnamed(&after.validation));
        assert!(unnamed(&before.test) == unnamed(&after.test));
        let changed: Vec<bool> = before.train.labels().iter().zip(after.train.labels()).map(|(a, b)| a != b).collect();
        assert_eq!(changed, wrong);
        let share = changed.iter().filter(|&&c| c).count() as f64 / changed.len() as f64;
        assert!((share - 1.0 / 3.0).abs() < 0.05, "{share}");
        let (cut, _) = mislabel(&source, &trial(Mislabelled::LeftOut(1.0 / 3.0))).unwrap();
        let kept = wrong.iter().filter(|&&spoilt| !spoilt).count();
        assert_eq!(Split::by_people(&cut, &TuneConfig::quick().split).unwrap().train.len(), kept);
    }

    #[test]
    fn a_grid_covers_the_ranges() {
        let grid = grid(72);
        assert_eq!(grid.len(), 72);
        let rates = grid.iter().map(|s| s.log_lr.exp());
        let (low, high) = rates.fold((f64::MAX, 0.0f64), |(low, high), r| (low.min(r), high.max(r)));
        assert!((low - LR[0]).abs() < 1e-9 && (high - LR[1]).abs() < 1e-9);
        assert!(grid.iter().all(|s| (0.0..0.991).contains(&s.momentum)));
    }
}
