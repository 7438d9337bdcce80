//! What every hypergradient costs, in processor time and memory, against the number of training steps T and of
//! hyperparameters m: the narrow network on the built-in windows.
//!
//! `cargo bench --bench methods -- [--T 10,30,100,300,1000] [--m 1,4,16,64] [--threads N] [--repeat N] [--json FILE]
//! [--svg FILE]`
//!
//! Prints two tables in Markdown, adds JSON lines to FILE, and draws a picture. CPU seconds are those of all threads;
//! "÷ training" is beside one training with the gradient of its outer loss. Bytes are planned before there is an
//! engine, counted by the engine, and resident in the process over what was before (set `MALLOC_MMAP_THRESHOLD_=65536`
//! so that glibc keeps nothing of what an earlier line gave back). "Off" is the distance to reverse mode's derivatives,
//! relative. Fails where Revolve gives other bits than all states stored. What is not run is marked "≈": forward mode's
//! passes all take the same time.

#[path = "../har_cnn/process.rs"]
mod host;
#[path = "../support/plot.rs"]
mod plot;

use std::time::Instant;

use plotters::prelude::IntoLogRange;
use serde_json::json;
use stackelberg::bilevel::hyperparameters::Kind;
use stackelberg::bilevel::{
    Blueprint, Directions, Estimate, Forward, Implicit, Memory, Method, Problem, Reverse, Session, SessionData, Solver,
    Truncated, Unattended,
};
use stackelberg::cpu::CpuEngine;
use stackelberg::data::Split;
use stackelberg::data::har::builtin;
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::setup::{outer_windows, problem, set};
use stackelberg::rig::Device;

const SLOTS: usize = 16;
const LAST: usize = 20;
const ITERATIONS: usize = 10;
/// Steps of the trainings that are differentiated in many hyperparameters.
const STEPS: usize = 100;
/// Runs that take longer are not repeated.
const SECONDS_TO_REPEAT: f64 = 2.0;

fn main() {
    host::main();
}

/// Does what the options ask.
async fn run(arguments: &[String]) {
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1).cloned());
    let number = |name: &str, default| option(name).map_or(default, |n| n.parse().unwrap_or_else(|_| panic!("{name}")));
    let list = |name: &str, default: &str| -> Vec<usize> {
        let text = option(name).unwrap_or_else(|| default.to_owned());
        text.split(',').map(|n| n.parse().unwrap_or_else(|_| panic!("{name} takes numbers"))).collect()
    };
    let bench = Bench::new(number("--threads", 0), number("--repeat", 3), option("--json"));
    let by_steps = bench.against_steps(&list("--T", "10,30,100,300,1000")).await;
    let by_number = bench.against_hyperparameters(&list("--m", "1,4,16,64")).await;
    if let Some(path) = option("--svg") {
        std::fs::write(&path, draw(&by_steps, &by_number)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

/// What is asked of a method.
#[derive(Clone, Copy)]
enum Asked {
    /// The learning rate.
    Rate,
    /// One penalty a layer: implicit differentiation sees nothing else here.
    Penalties,
    /// Learning rate, momentum, penalties.
    All,
    /// The weights of the first training windows.
    Weights(usize),
}

impl Asked {
    fn directions(self, problem: &Problem) -> Directions {
        let (layout, none) = (problem.layout(), Directions::new(problem));
        match self {
            Asked::Rate => none.shared(layout.log_lr),
            Asked::Penalties => none.each(layout.l2_log),
            Asked::All => none.shared(layout.log_lr).each(layout.scalars).each(layout.l2_log),
            Asked::Weights(count) => none.each(layout.weights.start..layout.weights.start + count),
        }
    }

    /// Its part of the derivatives in all.
    fn part(self, all: &[f64]) -> &[f64] {
        match self {
            Asked::Rate => &all[..1],
            Asked::Penalties => &all[2..],
            Asked::All | Asked::Weights(_) => all,
        }
    }
}

/// A training that is differentiated.
#[derive(Clone, Copy)]
struct Training {
    steps: usize,
    /// Whether its examples are weighted.
    weights: bool,
    /// CPU seconds with the gradient of its outer loss.
    cpu: f64,
}

/// A line of a table.
pub struct Row {
    /// Name of the method.
    pub method: String,
    /// Training steps T.
    pub steps: usize,
    /// Derivatives.
    pub hyperparameters: usize,
    /// CPU seconds of a hypergradient.
    pub cpu: f64,
    /// CPU seconds of one training.
    pub training: f64,
    /// Bytes on the device as planned.
    pub planned: u64,
    /// What only a run tells; none is foretold.
    pub run: Option<Run>,
}

/// What one run was measured at.
pub struct Run {
    wall: f64,
    /// The most bytes that the engine held.
    counted: u64,
    /// MB resident over those before; the system counts them in MiB.
    resident: f64,
    /// Distance to reverse mode's derivatives, relative.
    off: f64,
    estimate: Estimate,
}

impl Row {
    fn hypergradient(&self) -> &[f64] {
        &self.run.as_ref().expect("it was run").estimate.hypergradient
    }
}

struct Bench {
    threads: usize,
    repeat: usize,
    json: Option<String>,
    split: Split,
}

impl Bench {
    fn new(threads: usize, repeat: usize, json: Option<String>) -> Self {
        let source = builtin::full().expect("the built-in data are whole");
        let split = Split::by_people(&source, &TuneConfig::default().split).and_then(Split::standardized);
        let (split, _) = split.expect("the built-in data have the usual people");
        Bench { threads, repeat, json, split }
    }

    /// The narrow network without dropout, for which there is no stationary point.
    fn problem(&self, steps: usize, weights: bool) -> (Problem, SessionData, Vec<f64>) {
        let mut config = TuneConfig { steps: steps as u32, dropout: Some(0.0), ..TuneConfig::default() };
        config.hyperparameters.extend(weights.then_some(Kind::ExampleWeights));
        let problem = problem(&config, &self.split.sizes()).unwrap();
        let data = SessionData {
            train: set(&self.split.train),
            validation: set(&outer_windows(&self.split.validation, &config)),
            initial: problem.model.initial_parameters(0),
            seed: 0,
            batches: vec![],
            masks: vec![],
        };
        let layout = problem.layout();
        let mut lambda = vec![0.5; layout.len()];
        lambda[layout.log_lr].fill(0.01f64.ln());
        lambda[layout.l2_log].fill(1e-3f64.ln());
        (problem, data, lambda)
    }

    async fn against_steps(&self, steps: &[usize]) -> Vec<Row> {
        head("");
        let mut rows = vec![];
        for &steps in steps {
            let training = self.training(steps, false).await;
            let all = Memory::StoreAll.into();
            let reverse = self.measure("reverse, all states", all, Asked::All, training, None).await;
            let exact = reverse.hypergradient().to_vec();
            rows.push(reverse);
            let ways: [(String, Box<dyn Method>, Asked); 4] = [
                (format!("reverse, Revolve {SLOTS}"), Memory::Slots(SLOTS).into(), Asked::All),
                (format!("truncated to {LAST}"), truncated().into(), Asked::All),
                ("forward, m = 1".to_owned(), Forward { width: 1 }.into(), Asked::Rate),
                (format!("implicit, {ITERATIONS} CG iterations"), conjugate_gradients().into(), Asked::Penalties),
            ];
            for (name, method, asked) in ways {
                let row = self.measure(&name, method, asked, training, Some(&exact)).await;
                assert!(!name.contains("Revolve") || row.hypergradient() == exact, "Revolve gives other bits");
                rows.push(row);
            }
        }
        rows
    }

    /// In the weights of so many windows, by forward mode and by reverse mode; more are foretold.
    async fn against_hyperparameters(&self, numbers: &[usize]) -> Vec<Row> {
        head("\n");
        let training = self.training(STEPS, true).await;
        let reverse = async |count| {
            let method = Reverse { memory: Memory::StoreAll }.into();
            self.measure("reverse, all states", method, Asked::Weights(count), training, None).await
        };
        let (mut rows, mut pass) = (vec![], 0.0);
        for &count in numbers {
            let (reverse, forward) = (reverse(count).await, Forward::for_directions(count));
            let (method, asked, exact) = (forward.into(), Asked::Weights(count), reverse.hypergradient());
            let row = self.measure("forward", method, asked, training, Some(exact)).await;
            pass = row.cpu / count.div_ceil(forward.width) as f64;
            rows.extend([reverse, row]);
        }
        let (problem, data, _) = self.problem(STEPS, true);
        for count in [256, 1024, problem.train] {
            let forward = Forward::for_directions(count);
            let plan = Blueprint::new(&problem, data.validation.count, forward).expect("a plan");
            let cpu = pass * count.div_ceil(forward.width) as f64;
            let (method, planned) = ("forward".to_owned(), plan.bytes());
            let row =
                Row { method, steps: STEPS, hyperparameters: count, cpu, training: training.cpu, planned, run: None };
            self.put(&row);
            rows.push(row);
        }
        rows.push(reverse(problem.train).await);
        rows
    }

    async fn training(&self, steps: usize, weights: bool) -> Training {
        let (problem, data, lambda) = self.problem(steps, weights);
        let engine = Device::new(CpuEngine::new(self.threads));
        let session = Session::new(&engine, problem, &data, Memory::Slots(1)).await;
        let mut session = session.unwrap_or_else(|error| panic!("{error}"));
        let run = async || {
            session.train(&lambda, &mut Unattended).await.unwrap_or_else(|error| panic!("{error}"));
        };
        Training { steps, weights, cpu: self.cost(run).await.0 }
    }

    /// Runs a method on an engine of its own. `exact` is what reverse mode answers to all that may be asked.
    async fn measure(
        &self,
        name: &str,
        method: Box<dyn Method>,
        asked: Asked,
        training: Training,
        exact: Option<&[f64]>,
    ) -> Row {
        let (problem, data, lambda) = self.problem(training.steps, training.weights);
        let along = asked.directions(&problem);
        let before = host::resident();
        host::forget_peak();
        let engine = Device::new(CpuEngine::new(self.threads));
        let mut session = Session::new(&engine, problem, &data, method).await.unwrap_or_else(|e| panic!("{e}"));
        let mut estimate = None;
        let sweep = async || {
            let sweep = session.estimate(&lambda, &along, &mut Unattended).await;
            estimate = Some(sweep.unwrap_or_else(|error| panic!("{error}")));
        };
        let (cpu, wall) = self.cost(sweep).await;
        let (resident, planned) = (1.048576 * (host::peak() - before), session.predicted_bytes());
        drop(session);
        let estimate = estimate.expect("at least one run");
        let off = exact.map_or(0.0, |exact| distance(&estimate.hypergradient, asked.part(exact)));
        let row = Row {
            method: name.to_owned(),
            steps: training.steps,
            hyperparameters: along.len(),
            cpu,
            training: training.cpu,
            planned,
            run: Some(Run { wall, counted: engine.counters().peak_bytes, resident, off, estimate }),
        };
        self.put(&row);
        row
    }

    /// Median CPU and wall seconds; the first of several runs, which warms up, is not counted.
    async fn cost(&self, mut run: impl AsyncFnMut()) -> (f64, f64) {
        let mut costs = vec![];
        while costs.len() <= self.repeat {
            let (cpu, wall) = (host::processor_seconds().await, Instant::now());
            run().await;
            costs.push((host::processor_seconds().await - cpu, wall.elapsed().as_secs_f64()));
            if costs[0].0 > SECONDS_TO_REPEAT {
                return costs[0];
            }
        }
        costs.remove(0);
        costs.sort_by(|a, b| a.0.total_cmp(&b.0));
        costs[costs.len() / 2]
    }

    /// Prints a line and adds it to the file.
    fn put(&self, row: &Row) {
        let Row { method, steps, hyperparameters: m, cpu, training, planned, run } = row;
        let (ratio, plan) = (cpu / training, megabytes(*planned));
        let sign = if run.is_some() { "" } else { "≈ " };
        let measured = run.as_ref().map_or("| | | |".to_owned(), |run| {
            let (counted, resident) = (megabytes(run.counted), run.resident);
            format!("| {counted:.1} | {resident:.0} | {:.1e} |", run.off)
        });
        let wall = run.as_ref().map_or(String::new(), |run| format!("{:.2}", run.wall));
        let costs = format!("{sign}{cpu:.3} | {sign}{ratio:.2} | {wall}");
        host::print(&format!("| {steps} | {method} | {m} | {costs} | {plan:.1} {measured}"));
        let Some(path) = &self.json else { return };
        let mut line = json!({
            "method": method, "T": steps, "m": m, "cpu_s": cpu, "train_cpu_s": training, "ratio": ratio,
            "planned_bytes": planned, "foretold": run.is_none(), "load": host::load(),
        });
        if let Some(Run { wall, counted, resident, off, estimate }) = run {
            let counts = estimate.counts;
            let more = json!({
                "s": wall, "counted_bytes": counted, "resident_mb": resident, "off": off,
                "steps": counts.steps, "adjoints": counts.adjoints, "tangents": counts.tangents,
                "products": counts.products, "residual": estimate.residual, "outer_loss": estimate.outer_loss,
            });
            line.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        }
        host::append(path, &line.to_string());
    }
}

fn head(before: &str) {
    host::print(&format!(
        "{before}| T | method | m | CPU s | ÷ training | wall s | planned MB | counted MB | resident MB | off |"
    ));
    host::print("|---|---|---|---|---|---|---|---|---|---|");
}

fn truncated() -> Truncated {
    Truncated { last: LAST, memory: Memory::StoreAll }
}

fn conjugate_gradients() -> Implicit {
    Implicit::new(Solver::ConjugateGradient, ITERATIONS)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// ‖a − b‖ over ‖b‖.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied()).max(f64::MIN_POSITIVE)
}

/// Time and memory against steps and against hyperparameters, as a picture.
fn draw(by_steps: &[Row], by_number: &[Row]) -> String {
    plot::svg((960, 720), (2, 2), |quarters| {
        let rows = [("training steps T", by_steps), ("hyperparameters m, at T = 100", by_number)];
        for (quarters, (along, rows)) in quarters.chunks(2).zip(rows) {
            let many = along.starts_with("hyperparameters");
            let x = |row: &Row| if many { row.hyperparameters as f64 } else { row.steps as f64 };
            let time = series(rows, |row| (x(row), row.cpu));
            let (least, most) = plot::ends(&time, |point| point.1);
            plot::chart(&quarters[0], [along, "CPU s"], (least / 1.5..most * 1.5).log_scale(), &time, many);
            let memory = series(rows, |row| (x(row), row.planned as f64 / 1e6));
            let most = plot::ends(&memory, |point| point.1).1;
            plot::chart(&quarters[1], [along, "MB"], 0.0..1.1 * most, &memory, !many);
        }
    })
}

fn series(rows: &[Row], point: impl Fn(&Row) -> (f64, f64)) -> plot::Points<'_> {
    let mut series = plot::Points::new();
    rows.iter().for_each(|row| series.entry(&row.method).or_default().push(point(row)));
    series
}
