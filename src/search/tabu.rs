//! Tabu search (Glover 1986): from a point to the best of its neighbours, even to a worse one, but not back.

use std::collections::BTreeMap;

use super::domain::Domain;
use super::draws::{Occasion, stream};
use super::history::{Attributes, History, Trial};
use super::random::random_point;
use super::searcher::{Sample, Sampler};
use super::space::{Point, Space};

/// Constants of the walk.
#[derive(Clone, Debug)]
pub struct Tabu {
    /// Where the first walk begins; at random if nothing is said.
    pub start: Option<Point>,
    /// Levels of a dimension whose values lie dense.
    pub levels: usize,
    /// So many moves, a value that a dimension has left is not taken again, unless it leads to the best point of all.
    pub tenure: usize,
    /// Moves without a new best point before the walk begins somewhere else.
    pub patience: usize,
}

impl Default for Tabu {
    fn default() -> Self {
        Tabu { start: None, levels: 20, tenure: 7, patience: 20 }
    }
}

/// A place by the number of its level in each dimension; 0 where a dimension does not count.
type Place = Vec<usize>;

impl Tabu {
    fn count(&self, domain: &Domain) -> usize {
        domain.count().unwrap_or(self.levels)
    }

    fn level(&self, domain: &Domain, place: usize) -> f64 {
        if domain.count().is_some() {
            domain.level(place)
        } else {
            domain.value(place as f64 / (self.levels - 1).max(1) as f64)
        }
    }

    fn point(&self, space: &Space, place: &Place) -> Point {
        space.point(|j, domain| self.level(domain, place[j]))
    }

    /// The neighbours of a place with the dimension that changes: one level down or up, or another category.
    fn neighbours(&self, space: &Space, place: &Place) -> Vec<(usize, Place)> {
        let here = self.point(space, place);
        let mut neighbours = vec![];
        for j in (0..space.len()).filter(|&j| here.get(j).is_some()) {
            let count = self.count(space.domain(j));
            let levels: Vec<usize> = if space.domain(j).is_categorical() {
                (0..count).filter(|level| *level != place[j]).collect()
            } else {
                [place[j].checked_sub(1), Some(place[j] + 1).filter(|up| *up < count)].into_iter().flatten().collect()
            };
            for level in levels {
                let mut next = place.clone();
                next[j] = level;
                neighbours.push((j, next));
            }
        }
        neighbours
    }

    /// Where a walk begins: at the levels nearest to the point that was given, or to one drawn.
    fn start(&self, space: &Space, seed: u64, walk: u64) -> Place {
        let given = self.start.clone().filter(|_| walk == 0);
        let point = given.unwrap_or_else(|| random_point(space, &mut stream(seed, walk, Occasion::Point)));
        let near = |j: usize| {
            let (domain, value) = (space.domain(j), point.get(j)?);
            Some(match domain.count() {
                Some(_) => domain.index(value),
                None => (domain.unit(value) * (self.levels - 1) as f64).round() as usize,
            })
        };
        (0..space.len()).map(|j| near(j).unwrap_or_default()).collect()
    }
}

/// A walk as far as the values that are known lead it.
struct Walk {
    here: Place,
    best: f64,
    /// The move before which a value of a dimension is not taken again.
    forbidden: BTreeMap<(usize, usize), usize>,
    moves: usize,
    idle: usize,
}

impl Sampler for Tabu {
    fn sample(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Sample {
        let key = |point: &Point| -> Vec<Option<u64>> { point.0.iter().map(|value| value.map(f64::to_bits)).collect() };
        let mut known: BTreeMap<Vec<Option<u64>>, &Trial> = BTreeMap::new();
        for trial in history.trials() {
            known.entry(key(&trial.point)).or_insert(trial);
        }
        // The walk is gone again from its beginning: each trial is either known, or runs, or is the next to be tried.
        let mut starts = 0;
        let here = self.start(space, seed, starts);
        let mut walk = Walk { here, best: f64::INFINITY, forbidden: BTreeMap::new(), moves: 0, idle: 0 };
        // Where all values are known, the walk may go on forever without a new point.
        for _ in 0..100 * (trial as usize + 10) {
            let here = self.point(space, &walk.here);
            match known.get(&key(&here)) {
                None => return Sample::Point(here, Attributes::from([("walk".to_owned(), starts.into())])),
                Some(trial) if trial.is_open() => return Sample::Wait,
                Some(trial) => walk.best = walk.best.min(trial.score()),
            }
            let neighbours = self.neighbours(space, &walk.here);
            let mut waiting = false;
            for (_, place) in &neighbours {
                let point = self.point(space, place);
                match known.get(&key(&point)) {
                    None => return Sample::Point(point, Attributes::from([("walk".to_owned(), starts.into())])),
                    Some(trial) => waiting |= trial.is_open(),
                }
            }
            if waiting {
                return Sample::Wait;
            }
            let mut chosen: Option<(f64, usize, Place)> = None;
            for (j, place) in neighbours {
                let Some(value) = known.get(&key(&self.point(space, &place))).map(|trial| trial.score()) else {
                    continue;
                };
                let tabu = walk.forbidden.get(&(j, place[j])).is_some_and(|until| walk.moves < *until);
                let better = chosen.as_ref().is_none_or(|(least, ..)| value < *least);
                if better && (!tabu || value < walk.best) {
                    chosen = Some((value, j, place));
                }
            }
            match chosen {
                Some((value, j, place)) if walk.idle < self.patience => {
                    walk.moves += 1;
                    walk.forbidden.insert((j, walk.here[j]), walk.moves + self.tenure);
                    walk.idle = if value < walk.best { 0 } else { walk.idle + 1 };
                    walk.best = walk.best.min(value);
                    walk.here = place;
                }
                // Nothing is allowed, or nothing was gained for long.
                _ => {
                    starts += 1;
                    walk.here = self.start(space, seed, starts);
                    walk.forbidden.clear();
                    walk.idle = 0;
                }
            }
        }
        Sample::Done
    }
}
