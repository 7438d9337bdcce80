//! Brackets, rungs, promotions and stops against Ray, HpBandSter, Optuna, Syne Tune and the papers' rules.

use std::collections::BTreeMap;

use serde_json::Value;
use stackelberg::search::asha::{Asha, AshaStopping, Brackets, Promotion, Stop};
use stackelberg::search::brackets::{Table, brackets, optuna_bracket};
use stackelberg::search::history::{Event, History, State};
use stackelberg::search::searcher::{Sample, Sampler};
use stackelberg::search::{
    Attributes, CurveStopping, Full, Hyperband, Limits, Median, Point, Random, Schedule, Search, Simulation, Space,
};

use crate::vectors::{all_close, close, float, index, number, numbers, rows, space, vectors};

#[test]
fn bracket_tables_are_the_references() {
    let Some(v) = vectors("multifidelity.json") else { return };
    let mut checked = 0;
    for (name, want) in v["hyperband"].as_object().unwrap() {
        let numbers: Vec<u64> = name.split('_').filter_map(|part| part.parse().ok()).collect();
        let (table, least) = match name.split('_').next().unwrap() {
            "paper" => (Table::Paper, 1),
            "ray" => (Table::Ray, 1),
            _ => (Table::HpBandSter, numbers[0]),
        };
        let [.., most, factor] = numbers[..] else { panic!("{name}") };
        let got = brackets(table, least, most, factor);
        let want = want.as_array().unwrap();
        assert_eq!(got.len(), want.len(), "{name}");
        for (got, want) in got.iter().zip(want) {
            let trials: Vec<f64> = got.iter().map(|rung| rung.trials as f64).collect();
            let budgets: Vec<f64> = got.iter().map(|rung| rung.budget).collect();
            let want = rows(want);
            all_close(&trials, &want.iter().map(|rung| rung[0]).collect::<Vec<_>>(), 0.0);
            all_close(&budgets, &want.iter().map(|rung| rung[1]).collect::<Vec<_>>(), 1e-9);
            checked += 1;
        }
    }
    assert!(checked > 30);
    let case = &v["optuna_hyperband"];
    let budgets: Vec<u64> = numbers(&case["budgets"]).iter().map(|b| *b as u64).collect();
    for (trial, want) in numbers(&case["bracket_of_trial_0_19"]).iter().enumerate() {
        assert_eq!(optuna_bracket("stackelberg", trial as u64, &budgets), *want as usize);
    }
}

/// The first points of a line, and then none.
struct First(u64);

impl Sampler for First {
    fn sample(&self, _: &Space, _: &History, _: u64, trial: u64) -> Sample {
        if trial < self.0 { Point(vec![Some(trial as f64)]).into() } else { Sample::Done }
    }
}

fn line() -> Space {
    space([float(0.0, 1e6, false)])
}

/// The jobs of one worker, written trial@steps with trials from 1.
fn jobs(schedule: impl Schedule, losses: &BTreeMap<u64, f64>) -> Vec<String> {
    let (space, searcher) = (line(), Search { sampler: First(losses.len() as u64), schedule });
    let task = |point: &Point, _: u64| losses[&(point.get(0).unwrap() as u64 + 1)];
    let (_, records) = Simulation::new(&searcher, &space, &task, 0, 1, Limits::trials(1000)).run().unwrap();
    let job = |event: &Event| match event {
        Event::Started { trial, budget, .. } | Event::Resumed { trial, budget, .. } => {
            Some(format!("{}@{budget}", trial + 1))
        }
        _ => None,
    };
    records.iter().filter_map(|record| job(&record.event)).collect()
}

#[test]
fn promotions_are_the_references() {
    let Some(v) = vectors("promotion.json") else { return };
    let nine: BTreeMap<u64, f64> = (1..).zip([5.0, 3.0, 4.0, 9.0, 2.0, 8.0, 1.0, 7.0, 6.0]).collect();
    let forty: BTreeMap<u64, f64> =
        v["losses40"].as_object().unwrap().iter().map(|(k, l)| (k.parse().unwrap(), number(l))).collect();
    for (name, losses, most, factor) in
        [("1_9_3", &nine, 9, 3), ("1_27_3_40", &forty, 27, 3), ("1_64_4_40", &forty, 64, 4)]
    {
        for (mode, promotion) in [("paper", Promotion::Count), ("syne", Promotion::Quantile)] {
            let want: Vec<String> = serde_json::from_value(v[format!("{mode}_{name}")].clone()).unwrap();
            assert_eq!(jobs(Asha { least: 1, most, factor, promotion }, losses), want, "{mode} {name}");
        }
    }
}

fn stopping(least: u64, most: u64, factor: u64, rule: Stop) -> AshaStopping {
    AshaStopping { least, most, factor, brackets: Brackets::Chance(1), rule }
}

/// Whether each report of a stream stops its trial. Trials are numbered from 1 in the order in which they appear.
fn stops(schedule: &AshaStopping, stream: &Value) -> Vec<(bool, bool)> {
    let mut history = History::default();
    let mut decided = vec![];
    for report in stream.as_array().unwrap() {
        let (trial, step, value) = (index(&report[0]) as u64 - 1, index(&report[1]) as u64, number(&report[2]));
        if trial == history.next() {
            let attributes = Attributes::new();
            history.record(Event::Started { trial, point: Point(vec![]), budget: 99, attributes }).unwrap();
        }
        // A report again of the same step, as one of the references' drivers makes, is one of the next.
        let step = step + u64::from(history.trial(trial).unwrap().value_at(step).is_some());
        history.record(Event::Reported { trial, step, value }).unwrap();
        let decision = schedule.decision(&history, trial);
        if let Some(decision) = decision {
            assert!(decision.value > decision.threshold);
            history.record(Event::Pruned { trial, decision }).unwrap();
        }
        decided.push((decision.is_some(), report[3] == "STOP" || report[3] == true));
    }
    decided
}

#[test]
fn stops_are_the_references() {
    let Some(v) = vectors("multifidelity.json") else { return };
    for (rule, name) in
        [(Stop::Ray, "async_stop_trace_1worker"), (Stop::Ray, "async_jump"), (Stop::Optuna, "optuna_sha_trace")]
    {
        let decided = stops(&stopping(1, 27, 3, rule), &v[name]);
        assert!(decided.iter().all(|(got, want)| got == want), "{name}: {decided:?}");
        assert!(decided.iter().any(|(_, want)| *want));
    }
    for (name, want) in v["async_milestones"].as_object().unwrap() {
        let part = |key: &str| -> u64 {
            let part = name.split('_').find(|part| part.starts_with(key)).unwrap();
            part.trim_start_matches(key).parse().unwrap()
        };
        let rungs = stopping(part("min"), part("max"), part("rf"), Stop::Ray).rungs(part("s") as u32);
        let want: Vec<u64> = serde_json::from_value(want.clone()).unwrap();
        assert_eq!(rungs, want, "{name}");
    }
    let chances = stopping(1, 81, 3, Stop::Ray).chances(3);
    all_close(&chances, &numbers(&v["async_bracket_prob_1_81_3"]), 1e-9);
    // What the last trial of the trace would have had to reach.
    let cutoff = -number(&v["async_cutoffs_after"]["1"]);
    let mut trace = v["async_stop_trace_1worker"].as_array().unwrap().clone();
    trace.push(serde_json::json!([10, 1, cutoff + 1e-9, "STOP"]));
    assert!(stops(&stopping(1, 27, 3, Stop::Ray), &Value::Array(trace.clone())).iter().all(|(got, want)| got == want));
    trace.pop();
    trace.push(serde_json::json!([10, 1, cutoff - 1e-9, "CONTINUE"]));
    assert!(stops(&stopping(1, 27, 3, Stop::Ray), &Value::Array(trace)).iter().all(|(got, want)| got == want));
}

#[test]
fn brackets_by_name_are_optunas() {
    let Some(v) = vectors("multifidelity.json") else { return };
    let brackets = Brackets::Named("stackelberg".to_owned(), 5);
    let schedule = AshaStopping { brackets, ..stopping(1, 81, 3, Stop::Optuna) };
    let searcher = Search { sampler: Random, schedule };
    let task = |point: &Point, _: u64| point.get(0).unwrap();
    let (history, _) = Simulation::new(&searcher, &line(), &task, 0, 1, Limits::trials(20)).run().unwrap();
    let got: Vec<f64> = history.trials().iter().map(|t| t.number_of("bracket").unwrap() as f64).collect();
    assert_eq!(got, numbers(&v["optuna_hyperband"]["bracket_of_trial_0_19"]));
}

/// Values that never cross: the best stay the best.
fn level(point: &Point, step: u64) -> f64 {
    point.get(0).unwrap() + 1.0 / step as f64
}

#[test]
fn halving_keeps_the_best_whoever_waits_for_whom() {
    for workers in [1, 3, 81] {
        let searcher = Search { sampler: Random, schedule: Hyperband::halving(81, 1, 81, 3, Some(1)) };
        let space = line();
        let run = Simulation::new(&searcher, &space, &level, 4, workers, Limits::trials(1000));
        let (history, _) = run.run().unwrap();
        let mut ranked: Vec<_> = history.trials().iter().collect();
        ranked.sort_by(|a, b| a.point.get(0).unwrap().total_cmp(&b.point.get(0).unwrap()));
        for (rank, trial) in ranked.iter().enumerate() {
            let steps =
                [(0, 81), (2, 27), (8, 9), (26, 3), (80, 1)].into_iter().find(|(last, _)| rank <= *last).unwrap().1;
            assert_eq!(trial.step(), steps, "rank {rank}, {workers} workers");
            assert_eq!(trial.state, if rank == 0 { State::Complete } else { State::Pruned });
            assert!(
                trial.pruning.is_none_or(|decision| decision.rung == steps && decision.value >= decision.threshold)
            );
        }
    }
}

#[test]
fn hyperband_goes_through_its_brackets() {
    for table in [Table::Paper, Table::Ray, Table::HpBandSter] {
        let hyperband = Hyperband::new(table, 1, 27, 3, Some(2));
        let brackets = hyperband.brackets().to_vec();
        let searcher = Search { sampler: Random, schedule: hyperband };
        let (space, limits) = (line(), Limits::trials(1000));
        let (history, _) = Simulation::new(&searcher, &space, &level, 1, 4, limits).run().unwrap();
        let mut first = 0;
        for bracket in brackets.iter().chain(&brackets) {
            let members = &history.trials()[first..first + bracket.trials[0] as usize];
            for (&trials, &budget) in bracket.trials.iter().zip(&bracket.budgets) {
                let there = members.iter().filter(|trial| trial.value_at(budget).is_some()).count() as u64;
                assert_eq!(there, trials, "{table:?}: {bracket:?} at {budget}");
            }
            first += members.len();
        }
        assert_eq!(first, history.trials().len());
        assert!(history.trials().iter().all(|trial| !trial.is_open()));
    }
}

#[test]
fn the_median_and_the_curve_stop_the_hopeless_and_spare_the_best() {
    let space = line();
    // One in ten begins well and ends badly.
    let crossing = |point: &Point, step: u64| {
        let x = point.get(0).unwrap() / 1e6;
        if x > 0.9 { 0.4 + 0.1 * (-(step as f64)).exp() } else { 0.3 * x + 0.5 * (step as f64).powf(-0.5) }
    };
    let run = |searcher: &dyn stackelberg::search::Searcher| {
        Simulation::new(searcher, &space, &crossing, 2, 2, Limits::trials(60)).run().unwrap().0
    };
    let steps = |history: &History| history.trials().iter().map(|trial| trial.step()).sum::<u64>();
    let full = run(&Search { sampler: Random, schedule: Full { budget: 100 } });
    let median = run(&Search { sampler: Random, schedule: Median::new(100) });
    let curve = run(&Search { sampler: Random, schedule: CurveStopping::new(100) });
    for history in [&median, &curve] {
        assert!(steps(history) < steps(&full) * 7 / 10, "{} of {}", steps(history), steps(&full));
        assert!(history.trials().iter().any(|trial| trial.state == State::Pruned));
    }
    // The curve knows where a trial leads to; the median does not.
    close(curve.best().unwrap().score(), full.best().unwrap().score(), 1e-12);
}
