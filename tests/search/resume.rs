//! Studies that are interrupted anywhere go on to the same bits, with any number of workers.

use stackelberg::search::asha::{AshaStopping, Brackets, Stop};
use stackelberg::search::brackets::Table;
use stackelberg::search::freeze_thaw::Mode;
use stackelberg::search::{
    Condition, Dimension, Domain, FreezeThaw, Full, Hyperband, Limits, METHODS, Method, ModelRl, Point, Random, Record,
    Search, Searcher, Simulation, Size, Smac, Space, Task, Value,
};

use crate::vectors::{categories, float, int};

/// A float, a whole number, a category and one that counts with one of its values only.
fn mixed() -> Space {
    let dimension =
        |name: &str, domain: Domain| Dimension { name: name.to_owned(), domain, when: None, structural: false };
    let when = Some(Condition { parent: "kind".to_owned(), values: vec![Value::Int(1)] });
    Space::new(vec![
        dimension("rate", float(1e-4, 1.0, true)),
        dimension("width", int(4, 64, true)),
        dimension("kind", categories(3)),
        Dimension { when, ..dimension("momentum", float(0.0, 1.0, false)) },
    ])
    .unwrap()
}

/// A training with a memory, that breaks now and then and takes longer for wider networks.
struct Training;

impl Task for Training {
    type State = (u64, f64);

    fn begin(&self, trial: u64, _: &Point) -> (u64, f64) {
        (trial, 2.0)
    }

    fn advance(&self, (trial, loss): &mut (u64, f64), point: &Point, step: u64) -> Option<f64> {
        let distance = (point.get(0)?.ln() + 3.0).powi(2) * 0.1
            + point.get(2)? * 0.2
            + (point.get(3).unwrap_or(0.5) - 0.8).abs()
            + (point.get(1)? - 30.0).abs() * 0.01;
        *loss += 0.3 * (distance - *loss);
        let breaks = *trial % 7 == 5 && step == 2;
        let diverges = *trial % 11 == 3;
        if breaks { None } else { Some(if diverges { f64::NAN } else { *loss }) }
    }

    fn seconds(&self, point: &Point, step: u64) -> f64 {
        0.1 + 0.013 * point.get(1).unwrap_or(1.0) + 0.01 * (step % 3) as f64
    }
}

fn same(name: &str, searcher: &dyn Searcher, trials: u64, cuts: usize) {
    let (space, limits) = (mixed(), Limits::trials(trials));
    for workers in [1, 4] {
        let start = || Simulation::new(searcher, &space, &Training, 17, workers, limits);
        let (history, records) = start().run().unwrap();
        let lines: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        assert!(lines.len() > 30, "{name}: {} events", lines.len());
        // At the beginning, the end, and at places that have nothing to do with the study.
        let cuts = (0..cuts).map(|k| (k * 2_654_435_761usize) % lines.len()).chain([lines.len()]);
        for cut in cuts {
            let known: Vec<Record> = lines[..cut].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            let mut resumed = start();
            resumed.replay(&known).unwrap();
            let (again, went_on) = resumed.run().unwrap();
            let went_on: Vec<String> = went_on.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
            let differs = lines.iter().zip(&went_on).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{name}, {workers} workers, cut at {cut} of {}", lines.len());
            assert_eq!(went_on.len(), lines.len(), "{name}, {workers} workers, cut at {cut}");
            assert_eq!(serde_json::to_string(&again).unwrap(), serde_json::to_string(&history).unwrap());
        }
    }
}

/// Every method by its name; those that model every step are cut short.
fn all(names: impl Fn(&str) -> bool) {
    let size = Size { dimensions: 4, trials: 24, least: 1, most: 9, factor: 3 };
    for method in METHODS.iter().filter(|method| names(method.name)) {
        let trials = match method.name {
            "pbt" | "pb2" => 6,
            "freeze-thaw" | "gp" => 13,
            _ => 30,
        };
        let size = Size { trials: if trials == 6 { 6 } else { size.trials }, ..size };
        same(method.name, &*method.searcher(size), trials, if SLOW.contains(&method.name) { 2 } else { 6 });
    }
}

const SLOW: [&str; 5] = ["gp", "gp-median", "freeze-thaw", "smac", "model-rl"];

#[test]
fn methods_that_are_quick() {
    all(|name| !SLOW.contains(&name));
}

#[test]
fn methods_that_model() {
    all(|name| SLOW.contains(&name) && !["smac", "model-rl"].contains(&name));
    // As named, they look at ten thousand points each time, and fit a network.
    let schedule = Full { budget: 3 };
    let smac = Smac { candidates: 50, searches: 2, ..Smac::new(4, 25) };
    same("smac", &Search { sampler: smac, schedule }, 25, 6);
    let policy = ModelRl { hidden: 4, predictor: 4, fitting: 5, ..ModelRl::default() };
    same("model-rl", &Search { sampler: policy, schedule }, 25, 6);
}

#[test]
fn modes_without_a_name() {
    let stopping = |brackets, rule| AshaStopping { least: 1, most: 9, factor: 3, brackets, rule };
    let named = stopping(Brackets::Named("study".to_owned(), 3), Stop::Optuna);
    same("hyperband of optuna", &Search { sampler: Random, schedule: named }, 30, 6);
    for table in [Table::Ray, Table::HpBandSter] {
        let schedule = Hyperband::new(table, 1, 9, 3, Some(2));
        same("hyperband of others", &Search { sampler: Random, schedule }, 1000, 6);
    }
    let entropy = FreezeThaw { log: true, mode: Mode::Entropy, ..FreezeThaw::new(3, 9) };
    same("freeze-thaw by entropy", &entropy, 8, 2);
}

#[test]
fn names_are_found_and_stand_once() {
    for (i, method) in METHODS.iter().enumerate() {
        assert!(METHODS[..i].iter().all(|other| other.name != method.name), "{}", method.name);
        assert_eq!(Method::named(method.name).unwrap().says, method.says);
    }
    assert!(Method::named("none").is_none());
}
