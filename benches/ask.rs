//! What it costs each searcher to say what comes next, by the clock (the least of three), against the number n of trials behind it and d of
//! dimensions: studies of a formula, of which each trial costs nothing.
//!
//! `cargo bench --bench ask -- [--n 10,30,100,300,1000] [--d 2,6,20] [--methods gp,smac,…] [--limit SECONDS] [--svg FILE]`
//!
//! Prints a table in Markdown: seconds of one `ask` with n trials behind it (a space of six dimensions), with a hundred behind it
//! in d dimensions, and of all that is decided in a study of a hundred trials, divided by these. Of a population, which is not asked
//! again, only the last. A searcher that has taken longer than the limit is not asked with more trials behind it (–).

#[path = "support/plot.rs"]
mod plot;

use std::collections::BTreeMap;
use std::time::Instant;

use plotters::prelude::IntoLogRange;
use stackelberg::search::{Dimension, Domain, History, Limits, METHODS, Method, Point, Simulation, Size, Space};

/// Steps of a whole trial.
const MOST: u64 = 27;
/// Trials of a study that is timed as a whole, and before which the dimensions count.
const TRIALS: u64 = 100;
const DIMENSIONS: usize = 6;
const SEED: u64 = 0;
/// Those that are drawn: one of each kind, as many as a chart has colours.
const DRAWN: [&str; 5] = ["gp", "smac", "freeze-thaw", "tpe", "hyperband"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1).cloned());
    let list = |name: &str, default: &str| -> Vec<usize> {
        let text = option(name).unwrap_or_else(|| default.to_owned());
        text.split(',').map(|n| n.parse().unwrap_or_else(|_| panic!("{name} takes numbers"))).collect()
    };
    let (counts, dimensions) = (list("--n", "10,30,100,300,1000"), list("--d", "2,6,20"));
    let limit = option("--limit").map_or(20.0, |text| text.parse().expect("--limit takes seconds"));
    let named = option("--methods");
    let wanted = |method: &&Method| named.as_ref().is_none_or(|list| list.split(',').any(|name| name == method.name));
    let heads: Vec<String> = [("n", &counts), ("d", &dimensions)]
        .into_iter()
        .flat_map(|(letter, values)| values.iter().map(move |value| format!("{letter} = {value}")))
        .collect();
    println!("| | {} | a study |", heads.join(" | "));
    println!("|---|{}---|", "---|".repeat(heads.len()));
    let mut series: plot::Points = BTreeMap::new();
    for method in METHODS.iter().filter(wanted) {
        let by_count = within(limit, counts.iter().map(|&n| (n as u64, DIMENSIONS)), method);
        let by_dimension = within(limit, dimensions.iter().map(|&d| (TRIALS, d)), method);
        if DRAWN.contains(&method.name) {
            let points = counts.iter().zip(&by_count).filter_map(|(&n, seconds)| Some((n as f64, (*seconds)? * 1e3)));
            series.insert(method.name, points.collect());
        }
        let cells: Vec<String> = by_count.iter().chain(&by_dimension).map(|seconds| cell(*seconds)).collect();
        let whole = study(method, TRIALS, DIMENSIONS).1 / TRIALS as f64;
        println!("| {} | {} | {} |", method.name, cells.join(" | "), cell(Some(whole)));
    }
    if let Some(path) = option("--svg") {
        let (least, most) = plot::ends(&series, |point| point.1);
        let svg = plot::svg((560, 380), (1, 1), |areas| {
            let up = (least / 1.3..most * 1.3).log_scale();
            plot::chart(&areas[0], ["trials behind it", "ms of an ask"], up, &series, true);
        });
        std::fs::write(&path, svg).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

/// Seconds of an `ask` with so many trials behind it in so many dimensions, until one takes longer than the limit.
fn within(limit: f64, sizes: impl Iterator<Item = (u64, usize)>, method: &Method) -> Vec<Option<f64>> {
    let mut over = false;
    let mut timed = |(trials, dimensions)| {
        let seconds = if over { None } else { ask(method, trials, dimensions) };
        over |= seconds.is_some_and(|seconds| seconds > limit);
        seconds
    };
    sizes.map(&mut timed).collect()
}

/// Milliseconds with three digits.
fn cell(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "–".to_owned() };
    match seconds * 1e3 {
        ms if ms < 1.0 => format!("{ms:.3}"),
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms if ms < 100.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

fn space(dimensions: usize) -> Space {
    let domain = Domain::Float { low: 0.0, high: 1.0, log: false, step: None };
    let dimension = |k| Dimension { name: format!("x{k}"), domain: domain.clone(), when: None, structural: false };
    Space::new((0..dimensions).map(dimension).collect()).expect("a space")
}

/// A valley, to which a trial comes down on its way.
fn loss(point: &Point, step: u64) -> f64 {
    let distance = |x: Option<f64>| (x.unwrap_or_default() - 0.3).powi(2);
    let valley: f64 = (0..DIMENSIONS).map(|k| distance(point.get(k))).sum();
    valley + 1.0 / (1.0 + step as f64)
}

/// A study of so many trials, and the seconds of all that was decided in it.
fn study(method: &Method, trials: u64, dimensions: usize) -> (History, f64) {
    let size = Size { dimensions, trials, least: 1, most: MOST, factor: 3 };
    let (searcher, space) = (method.searcher(size), space(dimensions));
    let workers = if method.is_of_population() { trials as usize } else { 1 };
    let simulation = Simulation::new(&*searcher, &space, &loss, SEED, workers, Limits::trials(trials));
    let begin = Instant::now();
    let (history, _) = simulation.run().expect("its own events");
    (history, begin.elapsed().as_secs_f64())
}

/// Seconds of what is asked next, with so many trials behind it, drawn at random: the least of three.
fn ask(method: &Method, trials: u64, dimensions: usize) -> Option<f64> {
    if method.is_of_population() {
        return None;
    }
    let random = Method::named("random").expect("a method");
    let (history, _) = study(random, trials, dimensions);
    let size = Size { dimensions, trials: 2 * trials, least: 1, most: MOST, factor: 3 };
    let (searcher, space) = (method.searcher(size), space(dimensions));
    let once = |_| {
        let begin = Instant::now();
        std::hint::black_box(searcher.ask(&space, &history, SEED, history.next()));
        begin.elapsed().as_secs_f64()
    };
    (0..3).map(once).reduce(f64::min)
}
