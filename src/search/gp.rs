//! Bayesian optimisation by a Gaussian process, after Optuna 5.0.0's `GPSampler`: its prior, its acquisition and how that is
//! maximised. The first trials are Sobol points, where Optuna's are random; what runs is taken for observed at its expected
//! value, where Optuna integrates over it.

use super::domain::Domain;
use super::draws::{Occasion, stream};
use super::history::{History, State, Trial};
use super::searcher::{Sample, Sampler};
use super::sobol::sobol_point;
use super::space::{Point, Space};
use crate::gp::{Coordinate, Gp, Observation};

/// Values beyond so many are as good as dense: what is proposed is rounded.
const MOST_LEVELS: usize = 1000;

/// The sampler. It learns from completed trials. What does not count at a point stands in the middle of its range, or is a
/// category of its own.
#[derive(Clone, Copy, Debug)]
pub struct GpSampler {
    /// Trials of the Sobol sequence before it begins.
    pub beginning: usize,
}

impl Default for GpSampler {
    fn default() -> Self {
        GpSampler { beginning: 10 }
    }
}

/// What the dimensions of a space can be in the unit cube.
pub(super) fn coordinates(space: &Space) -> Vec<Coordinate> {
    (0..space.len()).map(|j| coordinate(space.domain(j), space.is_conditional(j))).collect()
}

/// What a dimension can be in the unit cube.
fn coordinate(domain: &Domain, conditional: bool) -> Coordinate {
    match domain.count() {
        // What does not count is one more category.
        Some(count) if domain.is_categorical() => Coordinate::Category(count + usize::from(conditional)),
        Some(count) if count <= MOST_LEVELS => {
            Coordinate::Levels((0..count).map(|k| domain.unit(domain.level(k))).collect())
        }
        _ => Coordinate::Dense,
    }
}

/// A point in the unit cube.
pub(super) fn place(space: &Space, point: &Point) -> Vec<f64> {
    let coordinate = |j: usize| {
        let domain = space.domain(j);
        match (point.get(j), domain.is_categorical()) {
            (Some(value), true) => value,
            (Some(value), false) => domain.unit(value),
            (None, true) => domain.count().unwrap_or_default() as f64,
            (None, false) => 0.5,
        }
    };
    (0..space.len()).map(coordinate).collect()
}

impl Sampler for GpSampler {
    fn sample(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Sample {
        let of = |state: State| history.trials().iter().filter(move |trial| trial.state == state);
        let seen = |trial: &Trial| Observation { point: place(space, &trial.point), value: trial.score() };
        let observed: Vec<Observation> = of(State::Complete).map(seen).collect();
        // The sequence of the acquisition has as many coordinates.
        if observed.len() < self.beginning.max(1) || space.len() > 100 {
            return sobol_point(space, seed, trial).into();
        }
        let coordinates = coordinates(space);
        let running: Vec<Vec<f64>> = of(State::Running).map(|trial| place(space, &trial.point)).collect();
        let gp = Gp::fit_over(&coordinates, &observed, None).assuming(&running);
        let chosen = gp.propose(&mut stream(seed, trial, Occasion::Point));
        let value = |j: usize, domain: &Domain| match domain.count() {
            Some(count) if domain.is_categorical() => chosen[j].min(count as f64 - 1.0),
            _ => domain.value(chosen[j]),
        };
        space.point(value).into()
    }
}
