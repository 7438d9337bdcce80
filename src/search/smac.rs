//! Bayesian optimisation by random forests (Hutter et al. 2011) after SMAC 2.4.1's facade for hyperparameters. Unlike there,
//! trees divide categories by their number.

use super::draws::{Draws, Occasion, stream};
use super::forest::{Forest, Shape};
use super::history::{History, Trial};
use super::normal::below;
use super::percentile::quantile;
use super::random::random_point;
use super::searcher::{Sample, Sampler};
use super::sobol::sobol_point;
use super::space::{Point, Space};

/// Constants of the search.
#[derive(Clone, Copy, Debug)]
pub struct Smac {
    /// Trials of the Sobol sequence before it begins: SMAC's are ten for each dimension, at most a quarter of all.
    pub beginning: usize,
    /// The probability of a point drawn at random instead.
    pub random: f64,
    /// Trials that are chosen by the same forest, one after another of what its searches found.
    pub retrain_after: u64,
    /// Trees of the forest.
    pub trees: usize,
    /// Points drawn at random that the acquisition is looked at for.
    pub candidates: usize,
    /// Searches that begin at points that were tried, and as many at points that were drawn.
    pub searches: usize,
}

impl Smac {
    /// SMAC's constants, for a study of so many trials in so many dimensions.
    pub fn new(dimensions: usize, trials: usize) -> Self {
        let beginning = (10 * dimensions).min(trials / 4).max(1);
        Smac { beginning, random: 0.2, retrain_after: 8, trees: 10, candidates: 10_000, searches: 10 }
    }
}

/// Targets as the forest takes them: ln((y − m)/(y_max − m)), m lying below the least value by as much as that lies below the
/// fifth percentile. Values that are no finite numbers count as the greatest.
pub fn encoded(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(&least), Some(&greatest)) = (sorted.first(), sorted.last()) else { return vec![0.0; values.len()] };
    let percentile = quantile(&sorted, 0.05).unwrap_or(least);
    let floor = least - (percentile - least) - 1e-10;
    values.iter().map(|value| ((value.min(greatest) - floor) / (greatest - floor)).ln()).collect()
}

/// The expected improvement on e^`best` of something whose logarithm is normal: e^f Φ(v) − e^{σ²/2 + μ} Φ(v − σ) with
/// v = (f − μ)/σ; none where there is no doubt.
pub fn log_expected_improvement(mean: f64, variance: f64, best: f64) -> f64 {
    if variance == 0.0 {
        return 0.0;
    }
    let deviation = variance.sqrt();
    let v = (best - mean) / deviation;
    best.exp() * below(v) - (0.5 * variance + mean).exp() * below(v - deviation)
}

/// A point as the forest sees it: shares of ranges, numbers of categories; what does not count is −1, of categories their
/// count.
fn features(space: &Space, point: &Point) -> Vec<f64> {
    let feature = |j: usize| {
        let domain = space.domain(j);
        match (point.get(j), domain.is_categorical()) {
            (Some(value), true) => value,
            (Some(value), false) => domain.unit(value),
            (None, true) => domain.count().unwrap_or_default() as f64,
            (None, false) => -1.0,
        }
    };
    (0..space.len()).map(feature).collect()
}

/// The deviation of a number's neighbours, as a share of its range: where it begins, and its ends.
const DEVIATION: f64 = 0.05;
const DEVIATION_ENDS: (f64, f64) = (0.005, 0.4);

/// After so many moves in a row it doubles, and after so many neighbourhoods without a better point it halves.
const PATIENCE: u32 = 3;

/// Neighbours of a point that differ in one number.
const NEIGHBOURS: usize = 4;

/// Neighbourhoods without a better point, after which a search ends.
const PLATEAU: u32 = 10;

/// Neighbourhoods of a search.
const MOVES: u32 = 1000;

/// What is searched for a point.
struct Acquisition<'a> {
    space: &'a Space,
    forest: Forest,
    best: f64,
}

impl Acquisition<'_> {
    fn at(&self, point: &Point) -> f64 {
        let (mean, variance) = self.forest.belief(&features(self.space, point));
        log_expected_improvement(mean, variance, self.best)
    }

    /// Points that differ in one dimension: for each category all others, for each number some that are drawn near it.
    fn neighbours(&self, point: &Point, deviation: f64, draws: &mut dyn Draws) -> Vec<Point> {
        let mut neighbours = vec![];
        for j in 0..self.space.len() {
            let (domain, Some(value)) = (self.space.domain(j), point.get(j)) else { continue };
            let values: Vec<f64> = if domain.is_categorical() {
                (0..domain.count().unwrap_or_default()).map(|k| k as f64).collect()
            } else {
                let near = |_| domain.value((domain.unit(value) + deviation * draws.normal()).clamp(0.0, 1.0));
                (0..NEIGHBOURS).map(near).collect()
            };
            for other in values.into_iter().filter(|other| *other != value) {
                // What counts now and did not before takes the middle of its range.
                neighbours.push(
                    self.space.point(
                        |k, domain| {
                            if k == j { other } else { point.get(k).unwrap_or_else(|| domain.value(0.5)) }
                        },
                    ),
                );
            }
        }
        neighbours
    }

    /// The end of a walk to the first better neighbour each time, and from a plateau to one that is as good.
    fn search(&self, mut point: Point, draws: &mut dyn Draws) -> (f64, Point) {
        let (mut value, mut deviation) = (self.at(&point), DEVIATION);
        let (mut moves, mut idle) = (0, 0);
        for _ in 0..MOVES {
            let mut neighbours = self.neighbours(&point, deviation, draws);
            let (mut better, mut level) = (None, None);
            while better.is_none() && !neighbours.is_empty() {
                let next = neighbours.swap_remove(draws.below(neighbours.len()));
                match self.at(&next) {
                    there if there > value => better = Some((there, next)),
                    there if there == value && level.is_none() => level = Some(next),
                    _ => {}
                }
            }
            let (least, most) = DEVIATION_ENDS;
            if let Some(better) = better {
                (value, point) = better;
                moves += 1;
                if moves >= PATIENCE && idle == 0 {
                    deviation = (2.0 * deviation).min(most);
                    moves = 0;
                }
                continue;
            }
            point = level.unwrap_or(point);
            (moves, idle) = (0, idle + 1);
            if idle % PATIENCE == 0 {
                deviation = (0.5 * deviation).max(least);
            }
            if idle == PLATEAU {
                break;
            }
        }
        (value, point)
    }
}

impl Smac {
    /// The ends of all searches over a forest of these trials, the best first.
    fn found(&self, space: &Space, scored: &[&Trial], draws: &mut dyn Draws) -> Vec<Point> {
        let values: Vec<f64> = scored.iter().map(|trial| trial.score()).collect();
        let inputs: Vec<Vec<f64>> = scored.iter().map(|trial| features(space, &trial.point)).collect();
        let forest = Forest::new(self.trees, Shape::facade(space.len()), &inputs, &encoded(&values), draws);
        // Searches begin at the points that were tried and are believed the best, and at the best that were drawn.
        let mut tried: Vec<(f64, usize)> = inputs.iter().enumerate().map(|(i, x)| (forest.belief(x).0, i)).collect();
        tried.sort_by(|a, b| a.0.total_cmp(&b.0));
        let acquisition = Acquisition { space, forest, best: tried[0].0 };
        let mut drawn: Vec<(f64, Point)> = (0..self.candidates)
            .map(|_| random_point(space, draws))
            .map(|point| (acquisition.at(&point), point))
            .collect();
        drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
        let tried = tried.iter().take(self.searches).map(|(_, i)| scored[*i].point.clone());
        let starts: Vec<Point> = tried.chain(drawn.into_iter().take(self.searches).map(|(_, point)| point)).collect();
        let mut ends: Vec<(f64, Point)> = starts.into_iter().map(|start| acquisition.search(start, draws)).collect();
        // Of equal ones, of which there are many, chance decides.
        for i in (1..ends.len()).rev() {
            ends.swap(i, draws.below(i + 1));
        }
        ends.sort_by(|a, b| b.0.total_cmp(&a.0));
        ends.into_iter().map(|(_, point)| point).collect()
    }
}

impl Sampler for Smac {
    fn sample(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Sample {
        let Some(after) = trial.checked_sub(self.beginning as u64) else {
            return sobol_point(space, seed, trial).into();
        };
        let first = trial - after % self.retrain_after.max(1);
        let before = history.trials().iter().take_while(|trial| trial.number < first);
        let scored: Vec<&Trial> = before.filter(|trial| trial.is_scored()).collect();
        let mut draws = stream(seed, trial, Occasion::Point);
        if scored.len() < 2 || draws.uniform() < self.random {
            return random_point(space, &mut draws).into();
        }
        // The forest is the same for all that it chooses; what they took is not taken again.
        let found = self.found(space, &scored, &mut stream(seed, first, Occasion::Bracket));
        let new = |point: &Point| history.trials().iter().all(|trial| trial.point != *point);
        found.into_iter().find(new).unwrap_or_else(|| random_point(space, &mut draws)).into()
    }
}
