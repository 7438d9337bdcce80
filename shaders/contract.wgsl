// contract: acc[row, column] = Σ a[row, k] · b[k, column], then the stores, for every batch index.
//
// One invocation computes a tile of rows × columns in registers: each step of the sum loads one
// value of `a` a row and one of `b` a column and does rows · columns multiply-adds. Rows and columns
// beyond the end repeat the last one and are not stored. Sums run in row-major order of the reduced
// axes, so a result does not depend on the tile. There is no workgroup memory and no barrier: both
// are very slow where a processor stands in for a GPU.
//
// The generator replaces the hooks; as it stands this is a matrix product with a 1 × 2 tile.

// #hook constants
const ROWS: u32 = 1u;
const COLUMNS: u32 = 2u;
const REDUCED: u32 = 8u;
/// Rows and columns of a tile; tiles along each and in all; invocations of a workgroup, and
/// workgroups along x.
const TILE_ROWS: u32 = 1u;
const TILE_COLUMNS: u32 = 2u;
const ROW_TILES: u32 = 1u;
const COLUMN_TILES: u32 = 1u;
const TILES: u32 = 1u;
const GROUP: u32 = 64u;
const GRID_X: u32 = 1u;
// #end
// #hook bindings
@group(0) @binding(0) var<storage, read> left: array<f32>;
@group(0) @binding(1) var<storage, read> right: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
// #end
// #hook functions
// #end

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = (group.y * GRID_X + group.x) * GROUP + lane;
    if tile >= TILES {
        return;
    }
    let batch = tile / (ROW_TILES * COLUMN_TILES);
    let first_row = tile / COLUMN_TILES % ROW_TILES * TILE_ROWS;
    let first_column = tile % COLUMN_TILES * TILE_COLUMNS;
    // #hook element: rows and columns of the tile and what does not change in the loop
    let row = (batch * ROWS + first_row) * REDUCED;
    let column_c0 = first_column;
    let column_c1 = min(first_column + 1u, COLUMNS - 1u);
    // #end
    // #hook sum: the loops over the reduced axes
    var acc_c0 = 0.0;
    var acc_c1 = 0.0;
    for (var r0 = 0u; r0 < REDUCED; r0++) {
        let a = left[row + r0];
        let b = (batch * REDUCED + r0) * COLUMNS;
        acc_c0 = fma(a, right[b + column_c0], acc_c0);
        acc_c1 = fma(a, right[b + column_c1], acc_c1);
    }
    // #end
    // #hook finish: the stores
    let flat = (batch * ROWS + first_row) * COLUMNS + first_column;
    result[flat] = acc_c0;
    if first_column + 1u < COLUMNS {
        result[flat + 1u] = acc_c1;
    }
    // #end
}
