//! How a dispatch's domain is cut into pieces, one an invocation.

use crate::compile::{Core, Dispatch};
use crate::ir::numel;

/// Elements that one invocation computes, and steps of the innermost reduced axis taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    pub rows: usize,
    pub columns: usize,
    pub steps: usize,
}

impl Tile {
    pub const ONE: Tile = Tile { rows: 1, columns: 1, steps: 1 };

    /// Rows and columns of the tile, row by row.
    pub fn cells(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.rows).flat_map(move |row| (0..self.columns).map(move |column| (row, column)))
    }
}

/// Tiles of a contraction, best first. The first that fits is taken: no larger than the problem
/// (rounded up to the next entry's size) and leaving at least [`MIN_TILES`] of them.
const TILES: [(usize, usize); 7] = [(8, 8), (8, 4), (4, 8), (4, 4), (4, 2), (2, 2), (1, 1)];

/// Fewer tiles than this leave most of a GPU idle.
const MIN_TILES: usize = 256;

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

    /// The tile of a contraction over this domain.
    pub fn contract_tile(&self) -> Tile {
        let fits = |&(rows, columns): &(usize, usize)| {
            let tile = Tile { rows, columns, steps: 1 };
            let [down, across] = self.tiles(tile);
            let padded = down * rows * across * columns;
            padded * 4 <= self.rows * self.columns * 5 && self.batch * down * across >= MIN_TILES
        };
        let (rows, columns) = TILES.iter().copied().find(fits).unwrap_or((1, 1));
        Tile { rows, columns, steps: 1 }
    }
}
