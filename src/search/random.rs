//! Random search (Bergstra and Bengio 2012): one uniform draw a dimension, in the space's order.

use super::draws::{Draws, Occasion, stream};
use super::history::History;
use super::searcher::{Sample, Sampler};
use super::space::{Point, Space};

/// Points drawn from the space.
#[derive(Clone, Copy, Debug)]
pub struct Random;

impl Sampler for Random {
    fn sample(&self, space: &Space, _: &History, seed: u64, trial: u64) -> Sample {
        random_point(space, &mut stream(seed, trial, Occasion::Point)).into()
    }
}

/// A point drawn from the space; a draw is taken for what does not count, too.
pub fn random_point(space: &Space, draws: &mut dyn Draws) -> Point {
    let units: Vec<f64> = (0..space.len()).map(|_| draws.uniform()).collect();
    space.at(&units)
}
