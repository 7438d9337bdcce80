//! What tuning by hypergradients is compared with in docs/results.md, on the same problem and people:
//!
//! * `random`: random search over learning rate, momentum and L2 at the same total of inner gradient
//!   evaluations, selected by the same outer loss;
//! * `adam`: Adam with learning rate 1e-3 and the start penalties, T steps;
//! * `logistic`: logistic regression on 135 statistics of each window.
//!
//! `cargo run --release --example baselines -- METHOD [--seed S] [--evaluations N] [--device NAME]`
//! prints one JSON object.

use serde_json::{Value, json};
use stackelberg::bilevel::{
    Loss, Memory, Problem, Session, SessionData, Set, SetEvaluation, SolveError, Source, Targets, Unattended,
};
use stackelberg::data::{self, CLASSES, Split, Windows, statistics};
use stackelberg::engine::Engine;
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::tune::{outer_windows, problem, set};
use stackelberg::gpu::GpuEngine;
use stackelberg::nn::optim::{Epsilon, Optimizer};
use stackelberg::nn::{Layer, Model};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rng::{Purpose, Stream};

/// A training step with its share of the hypergradient costs 2.7 training steps (measured in processor
/// seconds: docs/results.md), so 20 iterations of 200 steps cost this many gradients of the inner loss.
const EVALUATIONS: f64 = 20.0 * 200.0 * 2.7;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    let method = arguments.first().map_or("", String::as_str);
    let seed = option("--seed").map_or(0, |s| s.parse().expect("--seed takes a number"));
    let evaluations = option("--evaluations").map_or(EVALUATIONS, |n| n.parse().expect("--evaluations takes a number"));
    let config = TuneConfig { seed, ..TuneConfig::default() };
    let mut engine: Box<dyn Engine> = match option("--device").as_deref() {
        Some("reference") => Box::new(ReferenceEngine::new()),
        device => {
            let choice = device.unwrap_or("auto");
            Box::new(pollster::block_on(GpuEngine::new(choice)).unwrap_or_else(|e| panic!("{e}")))
        }
    };
    let source = data::load(None).expect("the built-in data are whole");
    let raw = Split::new(&source.windows, &config.split).expect("the built-in data have the usual people");
    let result = pollster::block_on(async {
        match method {
            "random" => random_search(&mut *engine, &config, raw, evaluations).await,
            "adam" => adam(&mut *engine, &config, raw).await,
            "logistic" => logistic_regression(&mut *engine, &config, &raw).await,
            other => panic!("no baseline `{other}`: random, adam or logistic"),
        }
    });
    let mut result = result.unwrap_or_else(|e| panic!("{e}"));
    result["method"] = method.into();
    result["seed"] = seed.into();
    result["adapter"] = engine.info().adapter.clone().into();
    println!("{result}");
}

fn scores(name: &str, outer_loss: f64, validation: &SetEvaluation, test: &SetEvaluation) -> Value {
    json!({ "settings": name, "outer_loss": outer_loss,
        "validation": { "loss": validation.loss, "accuracy": validation.accuracy() },
        "test": { "loss": test.loss, "accuracy": test.accuracy() } })
}

fn session_data(config: &TuneConfig, split: &Split, problem: &Problem) -> SessionData {
    SessionData {
        train: set(&split.train),
        validation: set(&outer_windows(&split.validation, config)),
        initial: problem.model.initial_parameters(u64::from(config.seed)),
        seed: u64::from(config.seed),
        batches: vec![],
        masks: vec![],
    }
}

async fn random_search(
    engine: &mut dyn Engine,
    config: &TuneConfig,
    raw: Split,
    evaluations: f64,
) -> Result<Value, SolveError> {
    let (split, _) = raw.standardized().expect("every channel varies");
    let problem = problem(config, split.train.len());
    let layout = problem.layout();
    let data = session_data(config, &split, &problem);
    let trials = (evaluations / problem.steps as f64) as usize;
    let mut session = Session::new(engine, problem, &data, Memory::Slots(1)).await?;
    let mut stream = Stream::new(u64::from(config.seed), Purpose::Search, 0);
    let mut uniform = move |low: f64, high: f64| low + (high - low) * stream.uniform();
    let (mut best, mut best_loss, mut curve) = (vec![], f64::INFINITY, vec![]);
    for _ in 0..trials {
        let mut lambda = vec![0.0; layout.len()];
        lambda[layout.log_lr.clone()].fill(uniform(1e-4f64.ln(), 0.3f64.ln()));
        lambda[layout.scalars.clone()].fill(1.0 - uniform(0.01f64.ln(), 0.0).exp());
        lambda[layout.l2_log.clone()].iter_mut().for_each(|l| *l = uniform(1e-6f64.ln(), 1e-1f64.ln()));
        let estimate = session.train(&lambda, &mut Unattended).await?;
        if estimate.bad_step.is_none() && estimate.outer_loss < best_loss {
            (best, best_loss) = (lambda, estimate.outer_loss);
        }
        curve.push(best_loss);
    }
    session.train(&best, &mut Unattended).await?;
    let validation = session.evaluate(&set(&split.validation), &mut Unattended).await?;
    let test = session.evaluate(&set(&split.test), &mut Unattended).await?;
    let settings = format!("lr {:.3e}, momentum {:.3}", best[0].exp(), best[layout.scalars.start]);
    let mut result = scores(&settings, best_loss, &validation, &test);
    result["trials"] = trials.into();
    result["best_by_trial"] = curve.into();
    Ok(result)
}

async fn adam(engine: &mut dyn Engine, config: &TuneConfig, raw: Split) -> Result<Value, SolveError> {
    let (split, _) = raw.standardized().expect("every channel varies");
    let problem = Problem { optimizer: Optimizer::Adam(Epsilon::Outside), ..problem(config, split.train.len()) };
    let data = session_data(config, &split, &problem);
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    lambda[layout.log_lr.clone()].fill(1e-3f64.ln());
    lambda[layout.scalars.clone()].copy_from_slice(&[0.9, 0.999, 1e-8]);
    lambda[layout.l2_log.clone()].fill(config.l2.ln());
    let mut session = Session::new(engine, problem, &data, Memory::Slots(1)).await?;
    let outer_loss = session.train(&lambda, &mut Unattended).await?.outer_loss;
    let validation = session.evaluate(&set(&split.validation), &mut Unattended).await?;
    let test = session.evaluate(&set(&split.test), &mut Unattended).await?;
    Ok(scores("Adam, lr 1e-3", outer_loss, &validation, &test))
}

/// Softmax regression on standardised features, by full-batch momentum; the penalty is chosen on the
/// validation people.
async fn logistic_regression(engine: &mut dyn Engine, config: &TuneConfig, raw: &Split) -> Result<Value, SolveError> {
    let features = |w: &Windows| statistics::features(w);
    let mut parts = [&raw.train, &raw.validation, &raw.test].map(features);
    standardize(&mut parts);
    let [train, validation, test] = [&raw.train, &raw.validation, &raw.test];
    let sets: Vec<Set> = parts
        .into_iter()
        .zip([train, validation, test])
        .map(|(x, w)| Set { x, targets: Targets::Labels(w.labels.clone()), count: w.len() })
        .collect();
    let layers =
        vec![Layer::Dense { name: "dense".into(), inputs: statistics::FEATURES, outputs: CLASSES, bias: true }];
    let model = Model::new(layers, &[statistics::FEATURES]).expect("one dense layer fits");
    let problem = Problem {
        model,
        loss: Loss::CrossEntropy,
        optimizer: Optimizer::Momentum,
        steps: 600,
        batch: 512,
        train: sets[0].count,
        batches: Source::Keyed,
        masks: None,
        l2: true,
        weights: false,
    };
    let layout = problem.layout();
    let data = SessionData {
        train: sets[0].clone(),
        validation: sets[1].clone(),
        initial: vec![0.0; problem.model.parameter_count()],
        seed: u64::from(config.seed),
        batches: vec![],
        masks: vec![],
    };
    let mut session = Session::new(engine, problem, &data, Memory::Slots(1)).await?;
    let mut best: Option<Value> = None;
    for penalty in [1e-4, 1e-3, 1e-2] {
        let mut lambda = vec![0.0; layout.len()];
        lambda[layout.log_lr.clone()].fill(0.05f64.ln());
        lambda[layout.scalars.clone()].fill(0.9);
        lambda[layout.l2_log.clone()].fill(f64::ln(penalty));
        let outer_loss = session.train(&lambda, &mut Unattended).await?.outer_loss;
        let validation = session.evaluate(&sets[1], &mut Unattended).await?;
        let test = session.evaluate(&sets[2], &mut Unattended).await?;
        let better = best.as_ref().is_none_or(|b| outer_loss < b["outer_loss"].as_f64().unwrap_or(f64::INFINITY));
        if better {
            best = Some(scores(&format!("l2 {penalty:e}"), outer_loss, &validation, &test));
        }
    }
    Ok(best.expect("three penalties were tried"))
}

/// Scales features by the training part's mean and deviation; constant ones become 0.
fn standardize(parts: &mut [Vec<f32>; 3]) {
    let width = statistics::FEATURES;
    for column in 0..width {
        let values = || parts[0][column..].iter().step_by(width).map(|&v| f64::from(v));
        let count = values().count() as f64;
        let mean = values().sum::<f64>() / count;
        let deviation = (values().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
        let scale = if deviation > 1e-12 { 1.0 / deviation } else { 0.0 };
        for part in parts.iter_mut() {
            part[column..].iter_mut().step_by(width).for_each(|v| *v = ((f64::from(*v) - mean) * scale) as f32);
        }
    }
}
