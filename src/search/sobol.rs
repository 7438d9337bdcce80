//! Points of the Sobol sequence: as even as a grid, whatever their number, and along each dimension alone, too.

use super::draws::{Occasion, stream};
use super::history::History;
use super::searcher::{Sample, Sampler};
use super::space::{Point, Space};
use crate::gp::Points;

/// The sequence of Joe and Kuo, shifted digitally by the seed. It has 100 coordinates; dimensions beyond are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Sobol;

impl Sampler for Sobol {
    fn sample(&self, space: &Space, _: &History, seed: u64, trial: u64) -> Sample {
        sobol_point(space, seed, trial).into()
    }
}

/// Coordinates of the sequence.
const COORDINATES: usize = 100;

/// A number that no trial has.
const NO_TRIAL: u64 = u32::MAX as u64;

/// The point of the shifted sequence that a trial has.
pub(super) fn sobol_point(space: &Space, seed: u64, trial: u64) -> Point {
    // All trials share the shift: the stream of none.
    let mut points = Points::shifted(space.len().min(COORDINATES), &mut stream(seed, NO_TRIAL, Occasion::Point));
    let mut units = points.nth(trial as usize).expect("a sequence of four thousand million points");
    let mut draws = stream(seed, trial, Occasion::Point);
    units.resize_with(space.len(), || draws.uniform());
    space.at(&units)
}
