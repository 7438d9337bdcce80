//! Points that fill the unit cube evenly.

use sobol::Sobol;
use sobol::params::JoeKuoD6;

use crate::rng::Stream;

/// The Sobol sequence (direction numbers of Joe and Kuo), 2³² points of up to 100 coordinates.
pub struct Points {
    sequence: Sobol<u32>,
    shift: Vec<u32>,
}

impl Points {
    /// As it is; the first point is the origin.
    ///
    /// # Panics
    /// If there are more than 100 coordinates.
    pub fn new(dimensions: usize) -> Self {
        Self { sequence: Sobol::new(dimensions, &JoeKuoD6::minimal()), shift: vec![0; dimensions] }
    }

    /// Shifted digitally by draws: each point is then uniform in the cube, and all fill it as evenly as before.
    ///
    /// # Panics
    /// If there are more than 100 coordinates.
    pub fn shifted(dimensions: usize, draws: &mut Stream) -> Self {
        let shift = (0..dimensions).map(|_| (draws.uniform() * 2f64.powi(32)) as u32).collect();
        Self { shift, ..Self::new(dimensions) }
    }
}

impl Iterator for Points {
    type Item = Vec<f64>;

    fn next(&mut self) -> Option<Vec<f64>> {
        let point = self.sequence.next()?;
        Some(point.iter().zip(&self.shift).map(|(digits, shift)| f64::from(digits ^ shift) / 2f64.powi(32)).collect())
    }
}
