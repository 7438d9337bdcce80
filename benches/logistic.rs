//! Our side of `benches/peers/libraries.py --problem logistic`: softmax regression on 135 statistics of the activity
//! windows with a log penalty for each of them, trained on all windows at once from zero.
//!
//! `cargo bench --bench logistic -- --export DIR` writes the windows' statistics for the other side.
//! `cargo bench --bench logistic -- [--method keeping|reverse|revolve|implicit] [--T N] [--threads N] [--repeat N] [--json FILE]`
//! prints CPU and wall seconds (medians), memory, and the hypergradient, and adds them to FILE as a JSON line.

#[path = "har_cnn/process.rs"]
mod host;

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use stackelberg::bilevel::{
    Directions, Estimate, Examples, Implicit, Loss, Memory, Method, Problem, Regularizer, Session, SessionData, Set,
    Solver, Targets, Unattended,
};
use stackelberg::cpu::CpuEngine;
use stackelberg::data::har::builtin;
use stackelberg::data::har::statistics::{FEATURES, features};
use stackelberg::data::{Dataset, Split};
use stackelberg::ir::{Graph, NodeId, Scalar};
use stackelberg::nn::{Layer, Model, optim};
use stackelberg::rig::Device;

const LEARNING_RATE: f64 = 0.1;
const LOG_PENALTY: f64 = -3.0;
/// Bytes within which each step keeps its residuals too, slots of Revolve, and iterations of conjugate gradients.
const BUDGET: u64 = 64 << 20;
const SLOTS: usize = 16;
const ITERATIONS: usize = 100;

fn main() {
    host::main();
}

/// Does what the options ask.
async fn run(arguments: &[String]) {
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1).cloned());
    let number = |name: &str, default| option(name).map_or(default, |n| n.parse().unwrap_or_else(|_| panic!("{name}")));
    let ([train, validation], classes) = sets();
    if let Some(folder) = option("--export") {
        export(Path::new(&folder), &train, &validation, classes);
        return;
    }
    let method = option("--method").unwrap_or_else(|| "reverse".to_owned());
    let steps = number("--T", if method == "implicit" { 500 } else { 100 });
    let (threads, repeat) = (number("--threads", 1), number("--repeat", 3));
    let made: Box<dyn Method> = match method.as_str() {
        "keeping" => Memory::Budget(BUDGET).into(),
        "reverse" => Memory::StoreAll.into(),
        "revolve" => Memory::Slots(SLOTS).into(),
        "implicit" => Implicit::new(Solver::ConjugateGradient, ITERATIONS).into(),
        other => panic!("--method takes keeping, reverse, revolve and implicit, not {other}"),
    };
    let problem = problem(steps, train.count, classes);
    let initial = vec![0.0; problem.model.parameter_count()];
    let data = SessionData { train, validation, initial, seed: 0, batches: vec![], masks: vec![] };
    let layout = problem.layout();
    let mut lambda = vec![LOG_PENALTY; layout.len()];
    lambda[layout.log_lr].fill(LEARNING_RATE.ln());
    let along = Directions::new(&problem).each(layout.regularizer);

    let base = host::resident();
    host::forget_peak();
    let engine = Device::new(CpuEngine::new(threads));
    let session = Session::new(&engine, problem, &data, made).await;
    let mut session = session.unwrap_or_else(|error| panic!("{error}"));
    let mut last: Option<Estimate> = None;
    let (cpu, wall) = cost(repeat, async || {
        let estimate = session.estimate(&lambda, &along, &mut Unattended).await;
        last = Some(estimate.unwrap_or_else(|error| panic!("{error}")));
    })
    .await;
    let peak = host::peak() - base;
    let (training, _) = cost(repeat, async || {
        session.train(&lambda, &mut Unattended).await.unwrap_or_else(|error| panic!("{error}"));
    })
    .await;
    let estimate = last.expect("at least one sweep");
    let ratio = cpu / training;
    let arrays = session.device().counters().peak_bytes as f64 / 1e6;
    let line = format!("{method}, T = {steps}: {cpu:.3} CPU s, {wall:.3} s, {ratio:.2} trainings");
    host::print(&format!("{line}, {arrays:.1} MB of arrays, {peak:.0} MB resident"));
    let (loss, residual) = (estimate.outer_loss, estimate.residual);
    host::print(&format!("outer loss {loss:.7}, residual {residual:?}, first {:?}", &estimate.hypergradient[..6]));
    let Some(path) = option("--json") else { return };
    let work = if method == "implicit" { "logistic.implicit".to_owned() } else { format!("logistic.T{steps}") };
    let line = json!({
        "peer": "stackelberg", "work": work, "variant": method, "T": steps, "cpu_s": cpu, "s": wall,
        "train_cpu_s": training, "ratio": ratio, "arrays_mb": arrays, "peak_mb": peak, "base_mb": base,
        "load": host::load(), "val": loss, "residual": residual, "hypergradient": estimate.hypergradient,
    });
    host::append(&path, &line.to_string());
}

/// L = cross-entropy + ½ Σ over features of e^λ ‖its row of weights‖².
fn problem(steps: usize, train: usize, classes: usize) -> Problem {
    let layer = Layer::Dense { name: "softmax".into(), inputs: FEATURES, outputs: classes, bias: true };
    let model = Model::new(vec![layer], &[FEATURES]).expect("one layer");
    let penalty = move |g: &mut Graph, weights: NodeId, log_penalties: NodeId| {
        let rows = g.segment(weights, 0, FEATURES * classes);
        let rows = g.reshape(rows, &[FEATURES, classes]);
        let squares = g.mul(rows, rows);
        let squares = g.sum(squares, &[1]);
        let penalties = g.scalar(Scalar::Exp, &[log_penalties]);
        let terms = g.mul(penalties, squares);
        let sum = g.sum_all(terms);
        g.scale(sum, 0.5)
    };
    let regularizer = Some(Regularizer::new(FEATURES, penalty));
    Problem { regularizer, ..Problem::new(model, Loss::CrossEntropy, optim::Sgd, steps, train) }
}

/// Statistics of the training and of the validation windows, scaled by the training ones'; how many classes there are.
fn sets() -> ([Set; 2], usize) {
    let source = builtin::full().expect("the built-in data are whole");
    let split = Split::by_people(&source, &Default::default()).expect("the built-in data have the usual people");
    let scale = columns(&features(&split.train));
    let sets = [&split.train, &split.validation].map(|windows: &Dataset| {
        let mut x = features(windows);
        for row in x.chunks_mut(FEATURES) {
            row.iter_mut().zip(&scale).for_each(|(v, (mean, deviation))| *v = (*v - mean) / deviation);
        }
        Set { x: x.into(), targets: Targets::Labels(windows.labels().to_vec()), count: windows.len() }
    });
    (sets, split.sizes().outputs)
}

/// Mean and standard deviation of every feature.
fn columns(x: &[f32]) -> Vec<(f32, f32)> {
    let count = (x.len() / FEATURES) as f64;
    let of = |column: usize| {
        let values = || x.iter().skip(column).step_by(FEATURES).map(|&v| f64::from(v));
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        (mean as f32, variance.sqrt().max(1e-6) as f32)
    };
    (0..FEATURES).map(of).collect()
}

fn export(folder: &Path, train: &Set, validation: &Set, classes: usize) {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, bytes)).expect("the folder can be written");
    };
    for (name, set) in [("train", train), ("validation", validation)] {
        let (Examples::Floats(x), Targets::Labels(labels)) = (&set.x, &set.targets) else {
            unreachable!("statistics are numbers, and windows have labels")
        };
        write(&format!("{name}_x.f32"), &x.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        write(&format!("{name}_y.u32"), &labels.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    }
    let about = json!({
        "features": FEATURES, "classes": classes, "learning_rate": LEARNING_RATE, "log_penalty": LOG_PENALTY,
    });
    write("about.json", about.to_string().as_bytes());
}

/// Median CPU and wall seconds; the first run, which warms up, is not counted.
async fn cost(repeat: usize, mut run: impl AsyncFnMut()) -> (f64, f64) {
    run().await;
    let (mut cpus, mut walls) = (vec![], vec![]);
    for _ in 0..repeat {
        let (cpu, wall) = (host::processor_seconds().await, Instant::now());
        run().await;
        cpus.push(host::processor_seconds().await - cpu);
        walls.push(wall.elapsed().as_secs_f64());
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    (median(cpus), median(walls))
}
