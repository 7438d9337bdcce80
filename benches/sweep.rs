//! What a hypergradient costs beside the training it goes through.
//!
//! `cargo bench --bench sweep -- [--steps T] [--network narrow|paper] [--device NAME] [--repeat N]`
//! prints CPU seconds of the whole process (software adapters compute in it), wall seconds, the load
//! of the machine, dispatches, and device memory against the plan, for store-all and for Revolve with
//! 8 slots, in one run.

use std::time::Instant;

use stackelberg::bilevel::{Memory, Problem, Session, SessionData, Unattended};
use stackelberg::cpu::CpuEngine;
use stackelberg::data::Split;
use stackelberg::data::har::builtin;
use stackelberg::experiment::config::{Network, TuneConfig};
use stackelberg::experiment::setup::{outer_windows, problem, set};
use stackelberg::gpu::GpuEngine;
use stackelberg::rig::Device;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1).cloned());
    let steps = option("--steps").map_or(200, |s| s.parse().expect("--steps takes a number"));
    let network = if option("--network").as_deref() == Some("paper") { Network::PAPER } else { Network::NARROW };
    let repeat: usize = option("--repeat").map_or(3, |s| s.parse().expect("--repeat takes a number"));
    let device = option("--device").unwrap_or_else(|| "auto".to_owned());
    let config = TuneConfig { steps, network, ..TuneConfig::default() };

    let source = builtin::full().expect("the built-in data are whole");
    let split = Split::by_people(&source, &config.split).and_then(Split::standardized);
    let (split, _) = split.expect("the built-in data have the usual people");
    let problem = problem(&config, &split.sizes()).unwrap();
    let data = SessionData {
        train: set(&split.train),
        validation: set(&outer_windows(&split.validation, &config)),
        initial: problem.model.initial_parameters(0),
        seed: 0,
        batches: vec![],
        masks: vec![],
    };
    pollster::block_on(async {
        for memory in [Memory::StoreAll, Memory::Slots(8)] {
            let engine = match (device.as_str(), device.strip_prefix("cpu:")) {
                ("cpu", _) => Device::new(CpuEngine::new(0)),
                (_, Some(threads)) => Device::new(CpuEngine::new(threads.parse().expect("cpu:THREADS"))),
                _ => Device::new(GpuEngine::new(&device).await.unwrap_or_else(|e| panic!("{e}"))),
            };
            measure(&engine, &problem, &data, memory, repeat).await;
        }
    });
}

async fn measure(device: &Device, problem: &Problem, data: &SessionData, memory: Memory, repeat: usize) {
    let adapter = device.info().adapter;
    let session = Session::new(device, problem.clone(), data, memory).await;
    let mut session = session.unwrap_or_else(|e| panic!("{e}"));
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    lambda[layout.log_lr].fill(0.01f64.ln());
    lambda[layout.scalars].fill(0.5);
    lambda[layout.l2_log].fill(1e-3f64.ln());
    // Software adapters compile a pipeline at its first use.
    session.hypergradient(&lambda, &mut Unattended).await.unwrap_or_else(|e| panic!("{e}"));

    let (mut trainings, mut sweeps) = (vec![], vec![]);
    for _ in 0..repeat {
        let start = Clock::now(&session);
        session.train(&lambda, &mut Unattended).await.unwrap_or_else(|e| panic!("{e}"));
        trainings.push(start.elapsed(&session));
        let start = Clock::now(&session);
        session.hypergradient(&lambda, &mut Unattended).await.unwrap_or_else(|e| panic!("{e}"));
        sweeps.push(start.elapsed(&session));
    }
    let plan = session.plan();
    let kind = if plan.stores_all() { "store all".to_owned() } else { format!("Revolve, {} slots", plan.slots) };
    println!("{kind}, T = {}, {} parameters, on {adapter}", problem.steps, problem.model.parameter_count());
    let (training, sweep) = (median(&mut trainings), median(&mut sweeps));
    for (name, cost) in [("training and outer gradient", training), ("hypergradient", sweep)] {
        println!("  {name:28} {:8.2} CPU s {:8.2} s  {} dispatches", cost.cpu, cost.wall, cost.dispatches);
    }
    println!("  {:28} {:8.2}       {:8.2}", "ratio", sweep.cpu / training.cpu, sweep.wall / training.wall);
    println!("  {:28} {} ({} again)", "training steps run", plan.steps_run(), plan.steps_run() - plan.steps as u64);
    println!(
        "  {:28} {} bytes at its peak, {} planned; {} states of {} bytes",
        "device memory",
        session.device().counters().peak_bytes,
        session.predicted_bytes(),
        plan.places,
        4 * (problem.state_len() + 1)
    );
    println!("  {:28} {}", "load", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
}

/// What something took.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
    dispatches: u64,
}

/// A point in time.
struct Clock {
    cpu: f64,
    wall: Instant,
    dispatches: u64,
}

impl Clock {
    fn now(session: &Session) -> Self {
        let dispatches = session.device().counters().dispatches;
        Clock { cpu: processor_seconds(), wall: Instant::now(), dispatches }
    }

    fn elapsed(&self, session: &Session) -> Cost {
        let dispatches = session.device().counters().dispatches - self.dispatches;
        Cost { cpu: processor_seconds() - self.cpu, wall: self.wall.elapsed().as_secs_f64(), dispatches }
    }
}

fn median(costs: &mut [Cost]) -> Cost {
    costs.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
    costs[costs.len() / 2]
}

/// User and system seconds of this process, by the kernel's count of 1/100 s (0 where there is none).
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
