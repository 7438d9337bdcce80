//! How a dispatch's domain is cut into pieces, one an invocation.

use crate::compile::{Core, Dispatch};
use crate::ir::numel;

/// Elements that one invocation computes, and steps of the innermost reduced axis taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Rows of a contraction.
    pub rows: usize,
    /// Columns of a contraction.
    pub columns: usize,
    /// Steps along the sum, 1 or 4.
    pub steps: usize,
}

impl Tile {
    /// A single element.
    pub const ONE: Tile = Tile { rows: 1, columns: 1, steps: 1 };

    /// Rows and columns of the tile, row by row.
    pub fn cells(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.rows).flat_map(move |row| (0..self.columns).map(move |column| (row, column)))
    }
}

/// What the kernels are written for: a GPU, or a processor that stands in for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Thousands of threads that share registers.
    Gpu,
    /// A few cores with vector registers: llvmpipe, SwiftShader.
    Processor,
}

/// Tiles of a contraction with the speed that each reached on llvmpipe (GFLOP per second of
/// processor time, on the convolutions of the activity network; `tests/gpu_speed.rs`).
const TILES: [(usize, usize, f64); 8] =
    [(8, 8, 6.0), (8, 4, 4.3), (4, 8, 4.4), (4, 4, 3.4), (8, 2, 2.5), (4, 2, 2.1), (2, 2, 1.5), (1, 1, 0.8)];

impl Target {
    /// Tiles that keep the target busy.
    fn enough(self) -> usize {
        match self {
            Target::Gpu => 4096,
            Target::Processor => 16,
        }
    }

    /// Most accumulators of a tile: a GPU's registers are shared by the threads it runs at once.
    fn accumulators(self) -> usize {
        match self {
            Target::Gpu => 32,
            Target::Processor => 64,
        }
    }
}

/// A domain as `batch × rows × columns`. Cores other than a contraction have columns only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    pub batch: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Domain {
    pub fn of(dispatch: &Dispatch) -> Self {
        match dispatch.core {
            Core::Contract { batch, rows, .. } => Self {
                batch: numel(&dispatch.domain[..batch]),
                rows: numel(&dispatch.domain[batch..batch + rows]),
                columns: numel(&dispatch.domain[batch + rows..]),
            },
            _ => Self { batch: 1, rows: 1, columns: numel(&dispatch.domain) },
        }
    }

    /// Tiles along rows and along columns.
    pub fn tiles(&self, tile: Tile) -> [usize; 2] {
        [self.rows.div_ceil(tile.rows), self.columns.div_ceil(tile.columns)]
    }

    /// The tile of a contraction over this domain: the fastest, counting what it computes beyond
    /// the domain's ends and what stays idle for want of tiles.
    pub fn contract_tile(&self, target: Target) -> Tile {
        let score = |rows: usize, columns: usize, speed: f64| {
            let [down, across] = self.tiles(Tile { rows, columns, steps: 1 });
            let useful = (self.rows * self.columns) as f64 / (down * rows * across * columns) as f64;
            let busy = (self.batch * down * across) as f64 / target.enough() as f64;
            speed * useful * busy.min(1.0)
        };
        let mut best = (Tile::ONE, 0.0);
        for (rows, columns, speed) in TILES {
            let score = score(rows, columns, speed);
            if rows * columns <= target.accumulators() && score > best.1 {
                best = (Tile { rows, columns, steps: 1 }, score);
            }
        }
        best.0
    }
}
