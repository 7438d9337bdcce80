//! Our side of `../shared/peers`: one training step (W1), a Hessian-vector product (W3) and the exact
//! hypergradient (W2) of the full HAR network, on the peers' data and weights.
//!
//! `cargo bench --bench har_cnn -- [--device cpu[:THREADS]|reference|NAME|INDEX] [--work w1,w3,w2]
//! [--T 20,200] [--repeat N] [--json FILE] [--round R]`
//!
//! Prints a table, appends the JSON lines that the peers' README defines to FILE, and fails where a
//! value disagrees with the README's. CPU seconds are those of all threads of the process; a software
//! GPU computes in them too. Memory is counted by the engine and, over what was resident when the
//! process began, by the kernel; run W2 and one T by themselves to read it.
//!
//! `cargo xtask bench-web -- …` runs the same with the same options in Chromium.

// Long because the peers' three works share their set-up, and one file is compared with theirs.

#[cfg_attr(target_arch = "wasm32", path = "browser.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "process.rs")]
mod host;

/// A line of the table.
macro_rules! say {
    ($($line:tt)*) => { host::print(&format!($($line)*)) };
}

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::fmt::Display;

use serde_json::{Value, json};
use stackelberg::autodiff::{grad, hvp};
use stackelberg::bilevel::{
    Estimate, Examples, Loss, Memory, Problem, Session, SessionData, Set, Source, Targets, TrainingLoss, Unattended,
    programs,
};
use stackelberg::compile::{Output, Program, compile};
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::{BindingId, BufferId, Command, ProgramId, Values};
use stackelberg::gpu::GpuEngine;
use stackelberg::ir::{DType, Graph, NodeId};
use stackelberg::nn::{Model, optim, reading::Predicting, zoo};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;
use web_time::Instant;

const BATCH: usize = 64;
/// Training batches, used one after the other again and again.
const BATCHES: usize = 16;
const VALIDATION: usize = 256;
/// Samples and channels of a window.
const EXAMPLE: [usize; 2] = [128, 9];
const LEARNING_RATE: f64 = 0.01;
const MOMENTUM: f64 = 0.9;
/// Penalty of a layer, λ‖kernel‖² (without the ½ of [`TrainingLoss`]).
const L2: f64 = 1e-4;
/// Steps that are timed together in W1.
const STEPS: usize = 20;

fn main() {
    host::main();
}

/// Does what the options ask.
async fn run(arguments: &[String]) {
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1).cloned());
    let number = |name: &str, default| option(name).map_or(default, |n| n.parse().unwrap_or_else(|_| panic!("{name}")));
    let choice = option("--device").unwrap_or_else(|| "cpu".to_owned());
    let base = host::resident();
    let steps = option("--T").unwrap_or_else(|| "20".to_owned());
    let mut bench = Bench {
        device: open(&choice).await,
        choice,
        repeat: number("--repeat", 5),
        round: number("--round", 0),
        json: option("--json"),
        base,
    };
    say!("{} on {}", bench.choice, bench.device.info().adapter);
    for work in option("--work").unwrap_or_else(|| "w1,w3,w2".to_owned()).split(',') {
        match work {
            "w1" => bench.training_step().await,
            "w3" => bench.hessian_product().await,
            "w2" => {
                for steps in steps.split(',') {
                    bench.hypergradient(steps.parse().expect("--T takes numbers of steps")).await;
                }
            }
            other => panic!("--work takes w1, w2 and w3, not {other}"),
        }
    }
}

async fn open(device: &str) -> Device {
    match (device, device.strip_prefix("cpu:")) {
        ("reference", _) => Device::new(ReferenceEngine::new()),
        ("cpu", _) => Device::new(CpuEngine::new(0)),
        (_, Some(threads)) => Device::new(CpuEngine::new(threads.parse().expect("cpu:THREADS"))),
        _ => Device::new(GpuEngine::new(device).await.unwrap_or_else(|error| panic!("{error}"))),
    }
}

// ---- the work, as the peers define it ----

/// An integer hash.
fn hash(i: u64) -> u32 {
    let x = i as u32;
    let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

/// The `i`-th number in [-1, 1) of a stream.
fn uniform(stream: u64, i: usize) -> f64 {
    f64::from(hash(i as u64 + stream * 1_000_003)) / f64::from(1u32 << 31) - 1.0
}

/// Labelled windows: noise and a sine wave, the faster the higher the label.
fn windows(stream: u64, count: usize) -> Set {
    let [length, channels] = EXAMPLE;
    let labels: Vec<u32> = (0..count).map(|i| hash(i as u64 + stream * 7919 + 13) % 6).collect();
    let value = |i: usize| {
        let (window, time, channel) = (i / channels / length, i / channels % length, i % channels);
        let phase = TAU * f64::from(labels[window] + 1) * time as f64 / length as f64 + channel as f64;
        (uniform(stream, i) + 0.7 * phase.sin()) as f32
    };
    let x: Vec<f32> = (0..count * length * channels).map(value).collect();
    Set { x: x.into(), targets: Targets::Labels(labels.clone()), count }
}

/// The parameter vector, from a stream for each array: starting weights, or a direction in [-1, 1).
fn parameters(model: &Model, first_stream: u64, direction: bool) -> Vec<f32> {
    let arrays = model.parameters().iter().zip(first_stream..);
    let values = arrays.flat_map(|(array, stream)| {
        let fan_in: usize = array.shape[..array.shape.len() - 1].iter().product();
        let size = match (direction, array.is_kernel()) {
            (true, _) => 1.0,
            (_, true) => (6.0 / fan_in as f64).sqrt(),
            (_, false) => 0.01,
        };
        (0..array.len()).map(move |i| (size * uniform(stream, i)) as f32)
    });
    values.collect()
}

fn problem(steps: usize) -> Problem {
    let model = zoo::har_cnn(&EXAMPLE, 64, 100, 6, 0.0).unwrap();
    Problem {
        batch: BATCH,
        batches: Source::Table,
        l2: true,
        ..Problem::new(model, Loss::CrossEntropy, optim::Momentum, steps, BATCH * BATCHES)
    }
}

fn data(problem: &Problem) -> SessionData {
    SessionData {
        train: windows(1, problem.train),
        validation: windows(2, VALIDATION),
        initial: parameters(&problem.model, 101, false),
        seed: 0,
        batches: (0..problem.steps * BATCH).map(|i| (i % problem.train) as u32).collect(),
        masks: vec![],
    }
}

/// The hyperparameter vector.
fn lambda(problem: &Problem) -> Vec<f64> {
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    lambda[layout.log_lr].fill(LEARNING_RATE.ln());
    lambda[layout.scalars].fill(MOMENTUM);
    lambda[layout.l2_log].fill((2.0 * L2).ln());
    lambda
}

/// Derivatives as the peers take them: in the log of the common learning rate, in momentum, in each L2.
fn derivatives(problem: &Problem, estimate: &Estimate) -> (f64, f64, Vec<f64>) {
    let (layout, h) = (problem.layout(), &estimate.hypergradient);
    let l2 = h[layout.l2_log].iter().map(|d| d / L2).collect();
    (h[layout.log_lr].iter().sum(), h[layout.scalars].iter().sum(), l2)
}

// ---- check values of the peers' README ----

/// T, validation loss, derivatives in log learning rate and momentum, relative tolerance: the longer
/// the training, the further rounding carries runs apart.
const HYPERGRADIENTS: [(usize, f64, f64, f64, f64); 4] = [
    (2, 2.974905, 2.49389, 0.623179, 1e-4),
    (5, 0.214337, -0.079544, -0.560493, 1e-3),
    (20, 0.0023776, -0.0061907, 0.0222011, 1e-2),
    (200, 1.4240e-5, -3.6436e-5, -7.1090e-4, 5e-2),
];
const L2_DERIVATIVES_AT_2: [f64; 4] = [-0.178364, -0.182642, -0.0166698, -0.166375];
const STARTING_LOSS: f64 = 3.157116;
const CURVATURE: f64 = 422.985;

fn check(what: &str, got: f64, wanted: f64, tolerance: f64) {
    let off = (got - wanted).abs() / wanted.abs();
    assert!(off <= tolerance, "{what} is {got}, the peers have {wanted}: {off:.1e} apart, {tolerance:.0e} allowed");
}

// ---- measuring ----

struct Bench {
    device: Device,
    choice: String,
    repeat: usize,
    round: usize,
    json: Option<String>,
    /// MB resident when the process began.
    base: f64,
}

/// CPU seconds (all threads) and wall seconds.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
}

/// Medians over some runs; the first run, which warms up, is not counted.
async fn cost(repeat: usize, mut run: impl AsyncFnMut()) -> Cost {
    run().await;
    let mut costs: Vec<Cost> = vec![];
    for _ in 0..repeat {
        let (cpu, wall) = (host::processor_seconds().await, Instant::now());
        run().await;
        let wall = wall.elapsed().as_secs_f64();
        costs.push(Cost { cpu: host::processor_seconds().await - cpu, wall });
    }
    let median = |of: &dyn Fn(&Cost) -> f64| {
        let mut all: Vec<f64> = costs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Cost { cpu: median(&|cost| cost.cpu), wall: median(&|cost| cost.wall) }
}

fn row(name: impl Display, cost: Cost, times: usize, unit: &str) {
    let scale = if unit == "ms" { 1e3 } else { 1.0 } / times as f64;
    say!("  {name:32} {:9.3} CPU {unit} {:9.3} {unit}", scale * cost.cpu, scale * cost.wall);
}

impl Bench {
    fn put(&self, work: &str, variant: &str, mut values: Value) {
        let Some(path) = &self.json else { return };
        let variant = [self.choice.as_str(), variant].join(" ").trim().to_owned();
        for (key, value) in [
            ("peer", json!("stackelberg")),
            ("work", json!(work)),
            ("variant", json!(variant)),
            ("round", json!(self.round)),
            ("load", json!(host::load())),
        ] {
            values[key] = value;
        }
        host::append(path, &values.to_string());
    }

    /// W1: SGD with momentum.
    async fn training_step(&mut self) {
        let problem = problem(STEPS);
        let data = data(&problem);
        let (Examples::Floats(x), Targets::Labels(labels)) = (&data.train.x, &data.train.targets) else {
            unreachable!("labelled numbers")
        };
        let mut arrays =
            Arrays::new(&self.device, &programs::step(&problem).compile().expect("the step compiles")).await;
        arrays.write("train_x", Values::F32(x));
        arrays.write("train_y", Values::U32(labels));
        arrays.write("batches", Values::U32(&data.batches));
        arrays.write("lambda", Values::F64(&lambda(&problem)));
        arrays.write("state", Values::F32(&data.initial));
        let there = arrays.bind(&[]);
        let swapped = [("state", "next_state"), ("time", "next_time"), ("next_state", "state"), ("next_time", "time")];
        let back = arrays.bind(&swapped);
        let commands: Vec<Command> = (0..STEPS).map(|t| Command::Run([there, back][t % 2])).collect();
        let cost = cost(self.repeat, async || {
            arrays.write("time", Values::U32(&[0]));
            arrays.run(&commands).await;
        })
        .await;
        drop(arrays);
        row("training step", cost, STEPS, "ms");
        let each = 1e3 / STEPS as f64;
        self.put("W1", "", json!({"cpu_ms": each * cost.cpu, "ms": each * cost.wall}));
    }

    /// W3: gradient and Hessian-vector product of the training loss with penalties.
    async fn hessian_product(&mut self) {
        let problem = problem(1);
        let data = data(&problem);
        let model = &problem.model;
        let mut g = Graph::new();
        let theta = g.input("theta", &[model.parameter_count()], DType::F32);
        let along = g.input("along", &[model.parameter_count()], DType::F32);
        let l2_log = g.input("l2_log", &[model.parameter_layers()], DType::F32);
        let x = g.input("x", &[BATCH, EXAMPLE[0], EXAMPLE[1]], DType::F32);
        let y = g.input("y", &[BATCH], DType::U32);
        let output = model.apply(&mut g, x, &mut Predicting { weights: theta, running: None });
        let training = |l2_log: Option<NodeId>| TrainingLoss { model, loss: problem.loss, l2_log, weights: None };
        let plain = training(None).of_output(&mut g, theta, output, y);
        let loss = training(Some(l2_log)).of_output(&mut g, theta, output, y);
        let gradient = grad(&mut g, loss, &[theta])[0];
        let product = hvp(&mut g, loss, &[(theta, along)])[0];
        let curvature = g.mul(along, product);
        let curvature = g.sum_all(curvature);

        let direction = parameters(model, 301, true);
        let (Examples::Floats(values), Targets::Labels(labels)) = (&data.train.x, &data.train.targets) else {
            unreachable!("labelled numbers")
        };
        let device = &self.device;
        let measure = async |name: &str, outputs: &[(&str, NodeId)], read: &str| {
            let outputs: Vec<Output> = outputs.iter().map(|(name, id)| Output::new(name, *id)).collect();
            let mut arrays = Arrays::new(device, &compile(name, &g, &outputs).expect("the graph compiles")).await;
            arrays.write("theta", Values::F32(&data.initial));
            arrays.write("along", Values::F32(&direction));
            arrays.write("l2_log", Values::F64(&[(2.0 * L2).ln(); 4]));
            arrays.write("x", Values::F32(&values[..BATCH * EXAMPLE[0] * EXAMPLE[1]]));
            arrays.write("y", Values::U32(&labels[..BATCH]));
            let commands = [Command::Run(arrays.bind(&[])); STEPS];
            let cost = cost(self.repeat, async || arrays.run(&commands).await).await;
            row(name, cost, STEPS, "ms");
            (cost, arrays.read(read).await[0])
        };
        let (of_gradient, loss) = measure("gradient", &[("loss", plain), ("gradient", gradient)], "loss").await;
        let outputs = [("product", product), ("curvature", curvature)];
        let (of_product, curvature) = measure("Hessian-vector product", &outputs, "curvature").await;
        let ratio = of_product.cpu / of_gradient.cpu;
        say!("  {:32} {ratio:9.2}; loss {loss:.6}, v'Hv {curvature:.4}", "ratio");
        check("the loss at the start", loss, STARTING_LOSS, 1e-6);
        check("v'Hv", curvature, CURVATURE, 5e-5);
        let each = 1e3 / STEPS as f64;
        let values = json!({
            "grad_cpu_ms": each * of_gradient.cpu, "hvp_cpu_ms": each * of_product.cpu, "cpu_ratio": ratio,
            "grad_ms": each * of_gradient.wall, "hvp_ms": each * of_product.wall,
            "ratio": of_product.wall / of_gradient.wall, "vhv": curvature, "loss": loss,
        });
        self.put("W3", "forward over reverse", values);
    }

    /// W2: by Revolve within 100 MB of arrays, with all states stored, and with as many steps' residuals beside them as
    /// 2 GB hold, which must give the same bits. In this order memory that the allocator keeps hides nothing.
    async fn hypergradient(&mut self, steps: usize) {
        let problem = problem(steps);
        let (data, lambda) = (data(&problem), lambda(&problem));
        let mut first: Option<Estimate> = None;
        let memories = [
            ("Revolve within 100 MB", Memory::Budget(100_000_000)),
            ("store all", Memory::StoreAll),
            ("residuals kept within 2 GB", Memory::Budget(2_000_000_000)),
        ];
        for (name, memory) in memories {
            host::forget_peak();
            let session = Session::new(&self.device, problem.clone(), &data, memory).await;
            let mut session = session.unwrap_or_else(|error| panic!("{error}"));
            let mut estimate = None;
            let cost_of_sweep = cost(self.repeat, async || {
                let sweep = session.hypergradient(&lambda, &mut Unattended).await;
                estimate = Some(sweep.unwrap_or_else(|error| panic!("{error}")));
            })
            .await;
            let peak = host::peak() - self.base;
            let bytes = session.device().counters().bytes;
            if let Memory::Budget(most) = memory {
                assert!(bytes < most, "{bytes} bytes of arrays, {most} allowed");
            }
            let counted = bytes as f64 / f64::from(1 << 20);
            let training = cost(self.repeat, async || {
                session.train(&lambda, &mut Unattended).await.unwrap_or_else(|error| panic!("{error}"));
            })
            .await;
            let (again, kept) = (session.plan().steps_run() - steps as u64, session.plan().kept);
            drop(session);
            let estimate = estimate.expect("at least one sweep");
            let (log_lr, momentum, l2) = derivatives(&problem, &estimate);
            let ratio = cost_of_sweep.cpu / training.cpu;
            say!("T = {steps}, {name} ({again} steps run again, residuals of {kept} kept)");
            row("training and outer gradient", training, 1, "s");
            row("hypergradient", cost_of_sweep, 1, "s");
            say!("  {:32} {ratio:9.2}; memory: {counted:.0} MB of arrays, {peak:.0} MB resident", "ratio");
            say!("  validation loss {:.6e}, d log lr {log_lr:.6e}, d momentum {momentum:.6e}", estimate.outer_loss);
            say!("  d l2 {l2:.6?}");
            let values = json!({
                "cpu_s": cost_of_sweep.cpu, "s": cost_of_sweep.wall, "cpu_ratio": ratio,
                "ratio": cost_of_sweep.wall / training.wall, "train_cpu_s": training.cpu, "train_s": training.wall,
                "peak_mb": peak, "kept": kept, "arrays_mb": counted, "val": estimate.outer_loss, "dloglr": log_lr,
                "dmom": momentum, "dl2": l2,
            });
            self.put(&format!("W2.T{steps}"), name, values);
            if let Some((_, loss, by_lr, by_momentum, tolerance)) = HYPERGRADIENTS.into_iter().find(|c| c.0 == steps) {
                check("the validation loss", estimate.outer_loss, loss, tolerance);
                check("the derivative in log learning rate", log_lr, by_lr, tolerance);
                check("the derivative in momentum", momentum, by_momentum, tolerance);
                if steps == 2 {
                    l2.iter().zip(L2_DERIVATIVES_AT_2).for_each(|(&d, wanted)| check("d l2", d, wanted, tolerance));
                }
            }
            match &first {
                None => first = Some(estimate),
                Some(first) => {
                    let same = first.outer_loss == estimate.outer_loss && first.hypergradient == estimate.hypergradient;
                    assert!(same, "Revolve gives other bits");
                    say!("  the same bits as by Revolve");
                }
            }
        }
    }
}

/// A program's arrays by name.
struct Arrays {
    device: Device,
    program: Program,
    loaded: ProgramId,
    buffers: HashMap<String, BufferId>,
}

impl Arrays {
    async fn new(device: &Device, program: &Program) -> Self {
        let loaded = device.load(program).await.unwrap_or_else(|error| panic!("{error}"));
        let mut buffers = HashMap::new();
        for index in program.inputs.iter().chain(&program.outputs) {
            let buffer = program.buffer(*index);
            let array = || device.create(&buffer.name, buffer.dtype, buffer.len).unwrap_or_else(|e| panic!("{e}"));
            buffers.entry(buffer.name.clone()).or_insert_with(array);
        }
        Arrays { device: device.clone(), program: program.clone(), loaded, buffers }
    }

    fn write(&mut self, name: &str, values: Values) {
        self.device.write(self.buffers[name], 0, values).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Binds every port to the array of its name, or of the name that `others` gives.
    fn bind(&mut self, others: &[(&str, &str)]) -> BindingId {
        let array = |index| {
            let name = self.program.buffer(index).name.as_str();
            self.buffers[others.iter().find(|(port, _)| *port == name).map_or(name, |(_, other)| other)]
        };
        let inputs: Vec<BufferId> = self.program.inputs.iter().copied().map(array).collect();
        let outputs: Vec<BufferId> = self.program.outputs.iter().copied().map(array).collect();
        self.device.bind(self.loaded, &inputs, &outputs).unwrap_or_else(|error| panic!("{error}"))
    }

    async fn run(&mut self, commands: &[Command]) {
        self.device.submit(commands).unwrap_or_else(|error| panic!("{error}"));
        self.device.finish().await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn read(&mut self, name: &str) -> Vec<f64> {
        self.device.read(&[self.buffers[name]]).await.unwrap_or_else(|error| panic!("{error}")).remove(0)
    }
}

impl Drop for Arrays {
    fn drop(&mut self) {
        self.buffers.values().for_each(|&array| self.device.destroy(array));
        self.device.unload(self.loaded);
    }
}
