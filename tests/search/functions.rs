//! Cheap functions for measuring how strong searchers are.

use stackelberg::search::Full;
use stackelberg::search::{Limits, Point, Sampler, Search, Simulation, Space};

use crate::vectors::{float, int, space};

/// Branin's function on the unit square, less its least value.
pub fn branin(x: &[f64]) -> f64 {
    use std::f64::consts::PI;
    let (a, b) = (15.0 * x[0] - 5.0, 15.0 * x[1]);
    let valley = b - 5.1 / (4.0 * PI * PI) * a * a + 5.0 / PI * a - 6.0;
    valley * valley + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * a.cos() + 10.0 - 0.397_887_357_729_738_16
}

pub fn square() -> Space {
    space([float(0.0, 1.0, false), float(0.0, 1.0, false)])
}

/// How many sizes each dimension of the fourth paper's Table 2 has, and the best of each.
const SIZES: [i64; 6] = [8, 8, 8, 5, 4, 5];
const BEST: [f64; 6] = [5.0, 6.0, 4.0, 1.0, 2.0, 2.0];
const WEIGHTS: [f64; 6] = [1.0, 0.8, 0.6, 0.2, 0.2, 1.0];

pub fn ladder_space() -> Space {
    space(SIZES.map(|size| int(0, size - 1, false)))
}

/// Six discrete dimensions like those of Table 2, two of which depend on each other; its least value is zero.
pub fn ladder(x: &[f64]) -> f64 {
    let part = |j: usize| WEIGHTS[j] * ((x[j] - BEST[j]) / (SIZES[j] - 1) as f64).powi(2);
    (0..6).map(part).sum::<f64>() + 0.3 * ((x[0] - 5.0) * (x[5] - 2.0)).abs() / 20.0
}

pub fn coordinates(point: &Point) -> Vec<f64> {
    point.0.iter().map(|value| value.unwrap()).collect()
}

/// The least value that a sampler finds in so many trials by one worker.
pub fn least(sampler: impl Sampler, space: &Space, f: fn(&[f64]) -> f64, trials: u64, seed: u64) -> f64 {
    let searcher = Search { sampler, schedule: Full { budget: 1 } };
    let task = |point: &Point, _: u64| f(&coordinates(point));
    let (history, _) = Simulation::new(&searcher, space, &task, seed, 1, Limits::trials(trials)).run().unwrap();
    assert_eq!(history.trials().len() as u64, trials);
    history.best().unwrap().score()
}

/// The quantile at a share of what a sampler finds from many seeds, with the mean.
pub fn regrets(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    (at(0.5), at(0.9), values.iter().sum::<f64>() / values.len() as f64)
}
