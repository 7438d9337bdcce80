//! How the cost of a hypergradient grows with the training steps T, the hyperparameters m, the batch and the width of the
//! network: reverse mode with all states kept, on the built-in windows.
//!
//! `cargo bench --bench growth -- [--threads N] [--rounds N] [--json FILE] [--svg FILE]`
//!
//! The model is that of docs/performance.md. Dispatches are held against those that the engine counts, operations of
//! matrix products against those of the programs; both have to be the same. CPU seconds, the least of all rounds, are held
//! against a price for each dispatch and for operations and bytes in whole vectors, fitted to the first, third and fifth
//! point of each axis; the table says how far each point is off.

#[path = "../har_cnn/process.rs"]
#[allow(dead_code, reason = "it serves other benchmarks, too")]
mod host;
#[path = "../support/plot.rs"]
mod plot;

use std::collections::BTreeMap;

use plotters::prelude::IntoLogRange;
use serde_json::json;
use stackelberg::bilevel::{Blueprint, CHUNK, Directions, Loss, Memory, Problem, Session, SessionData, Unattended};
use stackelberg::compile::{Core, Dispatch, Program};
use stackelberg::cpu::CpuEngine;
use stackelberg::data::Split;
use stackelberg::data::har::builtin;
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::setup::{Scaled, outer_windows, set};
use stackelberg::ir::numel;
use stackelberg::nn::optim::Momentum;
use stackelberg::nn::zoo;
use stackelberg::rig::Device;

fn main() {
    host::main();
}

/// What is run.
#[derive(Clone, Copy, PartialEq)]
struct Case {
    steps: usize,
    hyperparameters: usize,
    batch: usize,
    filters: usize,
}

const BASE: Case = Case { steps: 100, hyperparameters: 6, batch: 64, filters: 8 };

/// Floats of a vector (AVX-512).
const LANES: usize = 16;

/// What is varied: its name, the cases, and its value in one.
type Axis = (&'static str, Vec<Case>, fn(&Case) -> usize);

/// What it costs.
#[derive(Clone, Copy)]
struct Cost {
    dispatches: u64,
    flops: u64,
    bytes: u64,
    /// Operations and bytes with rows filled up to whole vectors.
    filled: [f64; 2],
    cpu: f64,
}

impl Cost {
    fn work(&self) -> [f64; 3] {
        [self.dispatches as f64, self.filled[0], self.filled[1]]
    }
}

/// Does what the options ask.
async fn run(arguments: &[String]) {
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1).cloned());
    let number = |name: &str, default| option(name).map_or(default, |n| n.parse().unwrap_or_else(|_| panic!("{name}")));
    let (threads, rounds) = (number("--threads", 1), number("--rounds", 3));
    let source = builtin::full().expect("the built-in data are whole");
    let split = Scaled::new(&TuneConfig::default(), &source).expect("they can be divided").split;
    let axes: [Axis; 4] = [
        ("T", [10, 30, 100, 300, 1000].map(|steps| Case { steps, ..BASE }).to_vec(), |case| case.steps),
        ("m", [1, 6, 100, 1000, 5000].map(|hyperparameters| Case { hyperparameters, ..BASE }).to_vec(), |case| {
            case.hyperparameters
        }),
        ("batch", [16, 32, 64, 128, 256].map(|batch| Case { batch, ..BASE }).to_vec(), |case| case.batch),
        ("filters", [4, 8, 16, 32, 64].map(|filters| Case { filters, ..BASE }).to_vec(), |case| case.filters),
    ];
    let mut rows: Vec<Vec<(f64, Cost)>> = vec![vec![]; axes.len()];
    for _ in 0..rounds {
        for ((_, cases, x), row) in axes.iter().zip(&mut rows) {
            for (at, case) in cases.iter().enumerate() {
                let cost = measure(case, &split, threads).await;
                match row.get_mut(at) {
                    Some((_, least)) => least.cpu = least.cpu.min(cost.cpu),
                    None => row.push((x(case) as f64, cost)),
                }
            }
        }
    }
    let fitted: Vec<Cost> = rows.iter().flat_map(|row| row.iter().step_by(2)).map(|(_, cost)| *cost).collect();
    let price = fit(&fitted);
    println!(
        "fitted: {:.2} µs a dispatch, {:.1} GFLOP/s, {:.1} GB/s\n",
        1e6 * price[0],
        1e-9 / price[1],
        1e-9 / price[2]
    );
    println!("| | | dispatches | GFLOP | GB | CPU s | model, CPU s | off | |\n|---|---|---|---|---|---|---|---|---|");
    let mut lines = vec![];
    for ((axis, ..), row) in axes.iter().zip(&rows) {
        for (at, (x, cost)) in row.iter().enumerate() {
            let (foretold, Cost { dispatches, flops, bytes, cpu, .. }) = (priced(&price, cost), *cost);
            let off = 100.0 * (foretold / cpu - 1.0);
            let (flops, bytes) = (flops as f64 / 1e9, bytes as f64 / 1e9);
            let part = ["fitted", "checked"][at % 2];
            println!(
                "| {axis} | {x} | {dispatches} | {flops:.3} | {bytes:.3} | {cpu:.3} | {foretold:.3} | {off:+.0} % | {part} |"
            );
            let line = json!({
                "axis": axis, "x": x, "dispatches": dispatches, "gflop": flops, "gb": bytes, "cpu_s": cpu, "model_s": foretold,
            });
            lines.push(line.to_string() + "\n");
        }
    }
    let write =
        |path: String, text: String| std::fs::write(&path, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    if let Some(path) = option("--json") {
        write(path, lines.concat());
    }
    if let Some(path) = option("--svg") {
        let names = axes.iter().map(|(axis, ..)| *axis).collect::<Vec<_>>();
        write(path, draw(&names, &rows, &price));
    }
}

/// Runs a case twice, the first time to warm it, and holds the model against what was counted.
async fn measure(case: &Case, split: &Split, threads: usize) -> Cost {
    let Case { steps, hyperparameters, batch, filters } = *case;
    let hidden = 2 * filters;
    let model = zoo::har_cnn(&[128, 9], filters, hidden, 6, 0.0).expect("a network");
    let train = set(&split.train);
    let outer = set(&outer_windows(&split.validation, &TuneConfig::default()));
    let chunks = outer.count.div_ceil(CHUNK);
    let weights = hyperparameters > BASE.hyperparameters;
    let problem =
        Problem { batch, l2: true, weights, ..Problem::new(model, Loss::CrossEntropy, Momentum, steps, train.count) };
    let layout = problem.layout();
    let mut lambda = vec![0.5; layout.len()];
    lambda[layout.log_lr.clone()].fill(0.01f64.ln());
    lambda[layout.l2_log.clone()].fill(1e-3f64.ln());
    // The learning rate; momentum and penalties; weights of windows.
    let mut along = Directions::new(&problem).shared(layout.log_lr);
    if hyperparameters > 1 {
        along = along.each(layout.scalars).each(layout.l2_log);
    }
    let more = hyperparameters - along.len();
    along = along.each(layout.weights.start..layout.weights.start + more);
    assert_eq!(along.len(), hyperparameters);

    let blueprint = Blueprint::new(&problem, outer.count, Memory::StoreAll).expect("a plan");
    let data = SessionData::new(train, outer, problem.model.initial_parameters(1), 1);
    let times = |name: &str| match name {
        "step" | "step_adjoint" => steps as u64,
        "outer_gradient" => chunks as u64,
        "begin" => 1,
        other => panic!("{other}"),
    };
    let sum = |of: &dyn Fn(&Program) -> u64| blueprint.programs.iter().map(|p| times(&p.name) * of(p)).sum::<u64>();
    let mut filled = [0.0; 2];
    for program in &blueprint.programs {
        for dispatch in &program.dispatches {
            let cost = program.cost(dispatch);
            let each = times(&program.name) as f64 * filling(dispatch);
            filled[0] += each * cost.flops as f64;
            filled[1] += each * cost.bytes as f64;
        }
    }
    let (flops, bytes) =
        (sum(&|p| p.costs().iter().map(|c| c.flops).sum()), sum(&|p| p.costs().iter().map(|c| c.bytes).sum()));
    // The model: f operations of a forward pass, f₁ those of its first layer.
    let forward = |examples: usize| {
        let (f, h) = (filters as u64, hidden as u64);
        let first = 2 * 126 * 27 * f;
        let all = first + 2 * 124 * 3 * f * f + 2 * 62 * f * h + 2 * h * 6;
        [examples as u64 * all, examples as u64 * first]
    };
    let ([all, first], [outer_all, outer_first]) = (forward(batch), forward(CHUNK));
    let step = 3 * all - first;
    // A cotangent of the second convolution's input goes over two positions more than its output has.
    let edge = |examples: usize| (examples * 2 * 2 * 3 * filters * filters) as u64;
    let products = steps as u64 * (2 * step + 6 * all - 4 * first + 4 * edge(batch))
        + chunks as u64 * (3 * outer_all - outer_first + edge(CHUNK));
    assert_eq!(sum(&products_of), products, "operations of products");

    let device = Device::new(CpuEngine::new(threads));
    let mut session = Session::new(&device, problem, &data, Memory::StoreAll).await.unwrap_or_else(|e| panic!("{e}"));
    let mut cpu = 0.0;
    for _ in 0..2 {
        let (start, before) = (host::processor_seconds().await, device.counters().dispatches);
        session.estimate(&lambda, &along, &mut Unattended).await.unwrap_or_else(|e| panic!("{e}"));
        cpu = host::processor_seconds().await - start;
        let counted = device.counters().dispatches - before;
        assert_eq!(counted, sum(&|p| p.launches.len() as u64), "launches");
    }
    Cost { dispatches: sum(&|p| p.dispatches.len() as u64), flops, bytes, filled, cpu }
}

/// By how much the vectors that a dispatch goes through are more than their elements: rows along the last axis, or along
/// a sum that leaves one number, are not continued in one another's vectors.
fn filling(dispatch: &Dispatch) -> f64 {
    let last = |sizes: &[usize]| sizes.last().copied().filter(|&size| size > 1);
    let row = last(&dispatch.domain).or(last(dispatch.core.extent())).unwrap_or(1);
    row.next_multiple_of(LANES) as f64 / row as f64
}

/// Operations of a program's matrix products.
fn products_of(program: &Program) -> u64 {
    let products = program.dispatches.iter().filter(|d| matches!(d.core, Core::Contract { .. }));
    products.map(|d| 2 * (numel(&d.domain) * numel(d.core.extent())) as u64).sum()
}

/// Seconds of a dispatch, and of an operation and a byte of whole vectors, all at least 0, that leave the least squares of
/// relative errors.
fn fit(costs: &[Cost]) -> [f64; 3] {
    let scaled = |cost: &Cost| cost.work().map(|work| work / cost.cpu);
    let mut price = [0.0; 3];
    // One after the other; the problem is convex.
    for _ in 0..10_000 {
        for k in 0..3 {
            let (mut along, mut square) = (0.0, 0.0);
            for cost in costs {
                let work = scaled(cost);
                let others: f64 = (0..3).filter(|&other| other != k).map(|other| price[other] * work[other]).sum();
                along += work[k] * (1.0 - others);
                square += work[k] * work[k];
            }
            price[k] = (along / square).max(0.0);
        }
    }
    price
}

fn priced(price: &[f64; 3], cost: &Cost) -> f64 {
    price.iter().zip(cost.work()).map(|(price, work)| price * work).sum()
}

/// A row of charts for each axis.
fn draw(axes: &[&str], rows: &[Vec<(f64, Cost)>], price: &[f64; 3]) -> String {
    plot::svg((1280, 1040), (4, 4), |areas| {
        for ((areas, axis), row) in areas.chunks(4).zip(axes).zip(rows) {
            let points = |of: &dyn Fn(&Cost) -> f64| row.iter().map(|(x, cost)| (*x, of(cost))).collect::<Vec<_>>();
            let charts: [(&str, plot::Points); 4] = [
                ("dispatches", BTreeMap::from([("counted", points(&|cost| cost.dispatches as f64))])),
                ("GFLOP", BTreeMap::from([("counted", points(&|cost| cost.flops as f64 / 1e9))])),
                ("GB", BTreeMap::from([("counted", points(&|cost| cost.bytes as f64 / 1e9))])),
                (
                    "CPU s",
                    BTreeMap::from([
                        ("measured", points(&|cost| cost.cpu)),
                        ("model", points(&|cost| priced(price, cost))),
                    ]),
                ),
            ];
            for (area, (up, series)) in areas.iter().zip(charts) {
                let (least, most) = plot::ends(&series, |point| point.1);
                plot::chart(area, [axis, up], (least / 1.5..most * 1.5).log_scale(), &series, true);
            }
        }
    })
}
