//! Studies that are interrupted anywhere go on to the same bits, with any number of workers.

use stackelberg::search::asha::{Asha, AshaStopping, Brackets, Promotion, Stop};
use stackelberg::search::brackets::Table;
use stackelberg::search::pb2::Form;
use stackelberg::search::{
    Bohb, Condition, CurveStopping, Dimension, Domain, Explore, FreezeThaw, Full, Genetic, GpSampler, Grid, Hyperband,
    Limits, Median, ModelRl, Pb2, Pbt, Point, Population, Pso, Random, Record, Schedule, Search, Searcher, Simulation,
    Smac, Sobol, Space, Tabu, Task, Tpe, Value,
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

fn same(name: &str, searcher: &dyn Searcher, trials: u64) {
    let (space, limits) = (mixed(), Limits::trials(trials));
    for workers in [1, 4] {
        let start = || Simulation::new(searcher, &space, &Training, 17, workers, limits);
        let (history, records) = start().run().unwrap();
        let lines: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        assert!(lines.len() > 40, "{name}: {} events", lines.len());
        // At the beginning, the end, and at places that have nothing to do with the study.
        let cuts = (0..6).map(|k| (k * 2_654_435_761usize) % lines.len()).chain([lines.len()]);
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

fn full() -> Full {
    Full { budget: 3 }
}

#[test]
fn samplers() {
    same("random", &Search { sampler: Random, schedule: full() }, 25);
    same("grid", &Search { sampler: Grid { levels: 3 }, schedule: full() }, 25);
    same("sobol", &Search { sampler: Sobol, schedule: full() }, 25);
    same("tpe", &Search { sampler: Tpe::OPTUNA5, schedule: full() }, 25);
    same("tpe of hyperopt", &Search { sampler: Tpe { beginning: 8, ..Tpe::HYPEROPT }, schedule: full() }, 25);
    let smac = Smac { candidates: 50, beginning: 8, searches: 2, ..Smac::new(4, 25) };
    same("smac", &Search { sampler: smac, schedule: full() }, 25);
    same("genetic", &Search { sampler: Genetic { population: 6, ..Genetic::default() }, schedule: full() }, 25);
    same("swarm", &Search { sampler: Pso { particles: 6, ..Pso::default() }, schedule: full() }, 25);
    let policy = ModelRl { hidden: 4, predictor: 4, fitting: 5, ..ModelRl::default() };
    same("model-based reinforcement learning", &Search { sampler: policy, schedule: full() }, 25);
    same("gp", &Search { sampler: GpSampler { beginning: 6 }, schedule: full() }, 12);
    same("tabu", &Search { sampler: Tabu::default(), schedule: full() }, 25);
}

fn by(name: &str, schedule: impl Schedule + Copy) {
    same(name, &Search { sampler: Random, schedule }, 30);
}

#[test]
fn schedules() {
    let asha = |promotion| Asha { least: 1, most: 9, factor: 3, promotion };
    by("asha", asha(Promotion::Count));
    by("asha by quantiles", asha(Promotion::Quantile));
    by("median", Median::new(9));
    by("curve", CurveStopping::new(9));
    for (name, brackets, rule) in [
        ("asha by stopping", Brackets::Chance(1), Stop::Ray),
        ("asynchronous hyperband", Brackets::Chance(3), Stop::Ray),
        ("hyperband of optuna", Brackets::Named("study".to_owned(), 3), Stop::Optuna),
    ] {
        let schedule = AshaStopping { least: 1, most: 9, factor: 3, brackets, rule };
        same(name, &Search { sampler: Random, schedule }, 30);
    }
    let hyperband = || Hyperband::new(Table::Paper, 1, 9, 3, Some(2));
    same("hyperband", &Search { sampler: Random, schedule: hyperband() }, 1000);
    same("halving", &Search { sampler: Random, schedule: Hyperband::halving(20, 1, 9, 3, None) }, 40);
    same("bohb", &Search { sampler: Bohb::default(), schedule: hyperband() }, 1000);
    same("halving of tpe", &Search { sampler: Tpe::OPTUNA5, schedule: hyperband() }, 1000);
}

#[test]
fn populations() {
    let population = Population { members: 6, budget: 24, interval: 3, fraction: 0.25 };
    same("pbt", &Pbt { population, explore: Explore::default() }, 6);
    same("freeze-thaw", &FreezeThaw { log: true, ..FreezeThaw::new(2, 12) }, 12);
    same("pb2", &Pb2 { population, form: Form::Noisy }, 6);
}
