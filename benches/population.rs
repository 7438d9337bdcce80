//! What a member of a population costs, by how many there are: a training step, and a hypergradient through 20 of them.
//!
//! `cargo bench --bench population -- [--device cpu|cpu:THREADS|gpu|NAME] [--network narrow|paper] [--members 1,2,4,8,16,32,64]
//! [--repeat N] [--memory MB] [--json FILE]`
//!
//! Prints a table in Markdown: CPU seconds are those of all threads (a software GPU computes in them), both are the median
//! of the repeats, per member; memory is what the process holds at most over what it held before. Members have their own weights, seeds and hyperparameters on the built-in windows. A
//! population that is planned to take more memory than so many MB is left out.

#[path = "har_cnn/process.rs"]
mod host;

use std::time::Instant;

use serde_json::{Value, json};
use stackelberg::bilevel::{
    Blueprint, Directions, Member, Memory, Problem, Reverse, Session, SessionData, Sets, Unattended,
};
use stackelberg::cpu::CpuEngine;
use stackelberg::data::Split;
use stackelberg::data::har::builtin;
use stackelberg::experiment::config::{Network, TuneConfig};
use stackelberg::experiment::setup::{outer_windows, problem, set};
use stackelberg::gpu::GpuEngine;
use stackelberg::rig::{Compiled, Device};

const STEPS: u32 = 20;

fn main() {
    host::main();
}

/// Does what the options ask.
async fn run(arguments: &[String]) {
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1).cloned());
    let number =
        |name: &str, usual: usize| option(name).map_or(usual, |n| n.parse().unwrap_or_else(|_| panic!("{name}")));
    let members = option("--members").unwrap_or_else(|| "1,2,4,8,16,32,64".to_owned());
    let members: Vec<usize> = members.split(',').map(|n| n.parse().expect("--members takes numbers")).collect();
    let network = if option("--network").as_deref() == Some("paper") { Network::PAPER } else { Network::NARROW };
    let choice = option("--device").unwrap_or_else(|| "cpu".to_owned());
    let (repeat, budget) = (number("--repeat", 5), number("--memory", 8000) as u64 * 1_000_000);
    let device = match (choice.as_str(), choice.strip_prefix("cpu:")) {
        ("cpu", _) => Device::new(CpuEngine::new(0)),
        (_, Some(threads)) => Device::new(CpuEngine::new(threads.parse().expect("cpu:THREADS"))),
        (name, _) => {
            let name = if name == "gpu" { "auto" } else { name };
            Device::new(GpuEngine::new(name).await.unwrap_or_else(|error| panic!("{error}")))
        }
    };

    let config = TuneConfig { steps: STEPS, network, ..TuneConfig::default() };
    let source = builtin::full().expect("the built-in data are whole");
    let split = Split::by_people(&source, &config.split).and_then(Split::standardized);
    let (split, _) = split.expect("the built-in data have the usual people");
    let problem = problem(&config, &split.sizes()).unwrap();
    let outer = set(&outer_windows(&split.validation, &config));
    let data = SessionData::new(set(&split.train), outer, problem.model.initial_parameters(0), 0);

    let info = device.info();
    let on = format!("{} on {} ({}), network {}", info.engine, info.adapter, info.backend, config.network);
    host::print(&format!("{on}, load {:?}\n", host::load()));
    host::print(
        "| members | step, CPU ms | step, ms | hypergradient, CPU s | hypergradient, s | dispatches of a step | memory, MB |",
    );
    host::print("|---|---|---|---|---|---|---|");
    for count in members {
        let planned = {
            let problem = Problem { validation: data.validation.count, ..problem.clone() };
            Blueprint::population(&problem, count, &Reverse { memory: Memory::StoreAll }, &Compiled::default())
                .unwrap()
                .bytes()
        };
        if planned > budget {
            host::print(&format!("| {count} | – | – | – | – | – | {:.0} planned |", planned as f64 / 1e6));
            continue;
        }
        let row = row(&device, &problem, &data, count, repeat).await;
        host::print(&row.print());
        if let Some(path) = option("--json") {
            host::append(&path, &row.json(&on).to_string());
        }
    }
}

/// What a member of so many costs: CPU and wall seconds of a step and of a hypergradient.
struct Row {
    members: usize,
    step: [f64; 2],
    sweep: [f64; 2],
    dispatches: u64,
    megabytes: f64,
}

impl Row {
    fn print(&self) -> String {
        let Row { members, step, sweep, dispatches, megabytes } = self;
        let step = step.map(|seconds| 1e3 * seconds);
        format!(
            "| {members} | {:.3} | {:.3} | {:.4} | {:.4} | {dispatches} | {megabytes:.0} |",
            step[0], step[1], sweep[0], sweep[1]
        )
    }

    fn json(&self, on: &str) -> Value {
        let Row { members, step, sweep, dispatches, megabytes } = self;
        json!({
            "on": on, "members": members, "dispatches": dispatches, "mb": megabytes,
            "step_cpu_s": step[0], "step_s": step[1], "hypergradient_cpu_s": sweep[0], "hypergradient_s": sweep[1],
        })
    }
}

async fn row(device: &Device, problem: &Problem, data: &SessionData, count: usize, repeat: usize) -> Row {
    host::forget_peak();
    let held = host::resident();
    let weights: Vec<Vec<f32>> = (0..count).map(|k| problem.model.initial_parameters(k as u64)).collect();
    let members: Vec<Member> =
        weights.iter().zip(0..).map(|(initial, seed)| Member { initial, seed, ..Member::from(data) }).collect();
    let lambda: Vec<f64> = (0..count)
        .flat_map(|k| {
            let layout = problem.layout();
            let mut lambda = vec![0.0; layout.len()];
            lambda[layout.log_lr].fill(0.01f64.ln() - 0.01 * k as f64);
            lambda[layout.scalars].fill(0.5);
            lambda[layout.l2_log].fill(1e-3f64.ln());
            lambda
        })
        .collect();
    let session = Session::population(
        device,
        problem.clone(),
        Sets::from(data),
        &members,
        Memory::StoreAll,
        &Compiled::default(),
    )
    .await;
    let mut session = session.unwrap_or_else(|error| panic!("{error}"));
    let along = Directions::arrays(problem);
    let along = vec![&along; count];
    // Software adapters compile a pipeline at its first use, and segments find their length.
    session.estimate_each(&lambda, &along, &mut Unattended).await.unwrap_or_else(|error| panic!("{error}"));
    let before = device.counters().dispatches;
    session.advance_each(&lambda, 1, &mut Unattended).await.unwrap_or_else(|error| panic!("{error}"));
    // Of which one begins the training.
    let dispatches = device.counters().dispatches - before - 1;
    session.begin_anew().unwrap_or_else(|error| panic!("{error}"));

    let (mut steps, mut sweeps) = (vec![], vec![]);
    for _ in 0..repeat {
        let start = Clock::now().await;
        session.advance_each(&lambda, STEPS as usize, &mut Unattended).await.unwrap_or_else(|error| panic!("{error}"));
        steps.push(start.elapsed().await);
        session.begin_anew().unwrap_or_else(|error| panic!("{error}"));
        let start = Clock::now().await;
        let estimates = session.estimate_each(&lambda, &along, &mut Unattended).await;
        sweeps.push(start.elapsed().await);
        assert!(estimates.unwrap_or_else(|error| panic!("{error}")).iter().all(|estimate| !estimate.diverged()));
    }
    let each = |costs: &mut Vec<[f64; 2]>, part: usize| {
        costs.sort_by(|a, b| a[part].total_cmp(&b[part]));
        costs[costs.len() / 2][part] / count as f64
    };
    Row {
        members: count,
        step: [0, 1].map(|part| each(&mut steps, part) / f64::from(STEPS)),
        sweep: [0, 1].map(|part| each(&mut sweeps, part)),
        dispatches,
        megabytes: host::peak() - held,
    }
}

/// A point in time, by the processors' clock and by the wall's.
struct Clock {
    cpu: f64,
    wall: Instant,
}

impl Clock {
    async fn now() -> Self {
        Clock { cpu: host::processor_seconds().await, wall: Instant::now() }
    }

    async fn elapsed(&self) -> [f64; 2] {
        [host::processor_seconds().await - self.cpu, self.wall.elapsed().as_secs_f64()]
    }
}
