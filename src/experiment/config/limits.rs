//! How far settings go: what the check of settings and their schema share.

use std::ops::RangeInclusive;

/// Training steps that a plan is made for.
pub const MOST_STEPS: u32 = 1_000_000;

/// An iteration at this rate goes through all of single precision: e⁸⁸ is its largest number.
pub const FASTEST: f64 = 88.0;

/// What single precision holds, with room to multiply.
pub const LEAST: f64 = 1e-30;
pub const MOST: f64 = 1e30;
pub const SINGLE: RangeInclusive<f64> = LEAST..=MOST;

/// Of more wrong labels than this, hardly a right one is left to learn from.
pub const MOST_MISLABELLED: f64 = 0.9;

/// Noise ten times as strong as what it is put on leaves nothing of it.
pub const LOUDEST: f64 = 10.0;

/// Shares that are not yet 1 in single precision, nor is what is divided by what is left.
pub const MOST_DROPOUT: f64 = 0.999;
pub const MOST_BETA: f64 = 0.999999;
