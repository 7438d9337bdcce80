//! Grid search: all points whose coordinates lie on some levels.

use super::domain::Domain;
use super::history::History;
use super::searcher::{Sample, Sampler};
use super::space::Space;

/// The points of a grid in lexicographic order, the last dimension fastest.
///
/// A dimension of dense values has as many levels as are wanted, from end to end, geometrically where ratios count; one of
/// whole numbers all of them, or as many rounded to them; a categorical one all. Points that differ only in what does not
/// count are one.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Levels wanted in each dimension.
    pub levels: usize,
}

impl Default for Grid {
    fn default() -> Self {
        Grid { levels: 5 }
    }
}

impl Grid {
    /// The levels of a dimension.
    pub fn levels_of(&self, domain: &Domain) -> Vec<f64> {
        match domain.count() {
            Some(count) if domain.is_categorical() || count <= self.levels => {
                (0..count).map(|k| domain.level(k)).collect()
            }
            _ => {
                let (low, high) = domain.ends();
                let [from, to] = [low, high].map(|end| domain.modelled(end));
                let last = self.levels.saturating_sub(1).max(1) as f64;
                let level = |k: usize| match k {
                    0 => low,
                    _ if k as f64 == last => high,
                    _ => domain.nearest(from + (to - from) * k as f64 / last),
                };
                let mut levels: Vec<f64> = (0..self.levels).map(level).collect();
                levels.dedup();
                levels
            }
        }
    }
}

impl Sampler for Grid {
    fn sample(&self, space: &Space, _: &History, _: u64, trial: u64) -> Sample {
        let levels: Vec<Vec<f64>> = space.dimensions().iter().map(|d| self.levels_of(&d.domain)).collect();
        if levels.iter().any(Vec::is_empty) {
            return Sample::Done;
        }
        // An odometer that passes over dimensions that do not count.
        let mut places = vec![0; space.len()];
        for _ in 0..trial {
            let point = space.point(|j, _| levels[j][places[j]]);
            let next = (0..space.len()).rev().find(|&j| point.get(j).is_some() && places[j] + 1 < levels[j].len());
            let Some(next) = next else { return Sample::Done };
            places[next] += 1;
            places[next + 1..].fill(0);
        }
        space.point(|j, _| levels[j][places[j]]).into()
    }
}
