//! From a dispatch of a program to a WGSL kernel: the hand-written templates of `shaders/` with
//! their hooks filled by generated expressions.

mod source;
mod tile;
mod values;

pub use source::{FILES, TemplateError};
pub use tile::{Target, Tile};

use crate::compile::{Core, Dispatch, ExprId, MAX_EXTENT, Place, Program};
use crate::ir::{DType, numel};
use tile::Domain;
use values::{Axis, Values, type_name};

/// Invocations of a workgroup, as the templates say.
const WORKGROUP: usize = 64;

/// Most workgroups along one axis of a grid (WebGPU's default limit).
const MAX_GROUPS: usize = 65_535;

/// Most storage buffers of a kernel (WebGPU's default limit).
pub const MAX_BINDINGS: usize = 8;

/// A dispatch ready for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The whole shader; its entry point is `main`.
    pub wgsl: String,
    /// Workgroups along x and y.
    pub grid: [u32; 2],
    /// What is bound, in the order of the binding numbers of group 0.
    pub bindings: Vec<Binding>,
}

/// An array bound to a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    pub place: Place,
    pub dtype: DType,
    /// Whether the kernel stores in it (and may also read it).
    pub written: bool,
    /// Whether it is declared as an array of four-vectors.
    pub vectors: bool,
}

/// Why a dispatch has no kernel.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum KernelError {
    #[error("it touches {0} arrays, a kernel may bind {MAX_BINDINGS}")]
    TooManyArrays(usize),
    #[error("it has {0} elements, more than a grid of workgroups holds")]
    TooLarge(usize),
    #[error("its loop has {0} steps, a kernel may have {MAX_EXTENT}")]
    TooLong(usize),
    #[error("the constant {value} is not a finite 32-bit float")]
    Constant { value: f64 },
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// The kernel of a dispatch with the tile that suits its shape. The domain is not empty.
pub fn kernel(program: &Program, dispatch: &Dispatch, target: Target) -> Result<Kernel, KernelError> {
    kernel_with_tile(program, dispatch, choose_tile(program, dispatch, target)?)
}

fn choose_tile(program: &Program, dispatch: &Dispatch, target: Target) -> Result<Tile, KernelError> {
    let Core::Contract { extent, .. } = &dispatch.core else { return Ok(Tile::ONE) };
    let tile = Domain::of(dispatch).contract_tile(target);
    if extent.iter().rfind(|&&length| length > 1).is_some_and(|length| length.is_multiple_of(4)) {
        let stepped = Tile { steps: 4, ..tile };
        if Values::new(program, dispatch, stepped)?.has_step_vectors() {
            return Ok(stepped);
        }
    }
    Ok(tile)
}

/// The kernel of a dispatch with a given tile; only contractions have one larger than [`Tile::ONE`].
pub fn kernel_with_tile(program: &Program, dispatch: &Dispatch, tile: Tile) -> Result<Kernel, KernelError> {
    let mut values = Values::new(program, dispatch, tile)?;
    if values.bindings.len() > MAX_BINDINGS {
        return Err(KernelError::TooManyArrays(values.bindings.len()));
    }
    let steps = numel(dispatch.core.extent());
    if steps > MAX_EXTENT {
        return Err(KernelError::TooLong(steps));
    }
    let domain = values.domain;
    let [down, across] = domain.tiles(tile);
    let tiles = domain.batch * down * across;
    let groups = tiles.div_ceil(WORKGROUP);
    let grid = [groups.min(MAX_GROUPS), groups.div_ceil(MAX_GROUPS)];
    if grid[1] > MAX_GROUPS {
        return Err(KernelError::TooLarge(numel(&dispatch.domain)));
    }
    let constants = |constants: &[(&str, usize)]| {
        constants.iter().map(|(name, value)| format!("const {name} = {value}u;\n")).collect::<String>()
    };
    let mut hooks = vec![("bindings", declarations(&values.bindings)), ("functions", values.imports())];
    let template = match dispatch.core {
        Core::Map => "map",
        Core::Reduce { .. } => "reduce",
        Core::ArgMax { .. } => "argmax",
        Core::Contract { .. } => "contract",
    };
    hooks.push(match dispatch.core {
        Core::Contract { .. } => (
            "constants",
            constants(&[
                ("ROWS", domain.rows),
                ("COLUMNS", domain.columns),
                ("TILE_ROWS", tile.rows),
                ("TILE_COLUMNS", tile.columns),
                ("ROW_TILES", down),
                ("COLUMN_TILES", across),
                ("TILES", tiles),
                ("GRID_X", grid[0]),
            ]),
        ),
        _ => ("constants", constants(&[("ELEMENTS", tiles), ("GRID_X", grid[0])])),
    });
    match dispatch.core {
        Core::Map => {}
        Core::Reduce { value, .. } => {
            let zero = if values.dtype(value) == DType::F32 { "0.0" } else { "0u" };
            let (element, sum) =
                loops(&mut values, &[value], |values| Ok(format!("acc = acc + {};\n", values.name(value, [0; 3])?)))?;
            hooks.extend([("element", element), ("sum", format!("var acc = {zero};\n{sum}"))]);
        }
        Core::ArgMax { value, .. } => {
            let zero = if values.dtype(value) == DType::F32 { "0.0" } else { "0u" };
            let (element, search) = loops(&mut values, &[value], |values| {
                let value = values.name(value, [0; 3])?;
                let index = if values.loops.is_empty() { "0u" } else { "r0" };
                Ok(format!("if {index} == 0u || {value} > best {{\n    best = {value};\n    acc = {index};\n}}\n"))
            })?;
            hooks.extend([("element", element), ("search", format!("var acc = 0u;\nvar best = {zero};\n{search}"))]);
        }
        Core::Contract { a, b, .. } => {
            let (element, sum) = loops(&mut values, &[a, b], |values| multiply_add(values, a, b))?;
            let mut start = String::new();
            for (row, column) in tile.cells() {
                start += &format!("var {} = 0.0;\n", values.accumulator(row, column));
            }
            hooks.extend([("element", positions(&values) + &element), ("sum", start + &sum)]);
        }
    }
    hooks.push(("finish", finish(&mut values, dispatch)?));
    Ok(Kernel {
        wgsl: source::expand(template, &hooks)?,
        grid: grid.map(|groups| groups as u32),
        bindings: values.bindings,
    })
}

fn declarations(bindings: &[Binding]) -> String {
    let declare = |(at, binding): (usize, &Binding)| {
        let access = if binding.written { "read_write" } else { "read" };
        let scalar = type_name(binding.dtype);
        let element = if binding.vectors { format!("vec4<{scalar}>") } else { scalar.to_owned() };
        format!("@group(0) @binding({at}) var<storage, {access}> b{at}: array<{element}>;\n")
    };
    bindings.iter().enumerate().map(declare).collect()
}

/// The loops over the reduced axes around the values and `body`: what stands before them, and they.
fn loops(
    values: &mut Values,
    roots: &[ExprId],
    body: impl FnOnce(&Values) -> Result<String, KernelError>,
) -> Result<(String, String), KernelError> {
    let mut sections = vec![String::new(); values.loops.len() + 1];
    values.write(roots, &mut sections)?;
    let mut inner = body(values)?;
    for (depth, section) in sections.iter().enumerate().skip(1).rev() {
        let axis = values.loops[depth - 1];
        let length = values.core().extent()[axis];
        let step = if depth == values.loops.len() { values.tile.steps } else { 1 };
        let code = indent(&(section.clone() + &inner));
        inner = format!("for (var r{axis} = 0u; r{axis} < {length}u; r{axis} += {step}u) {{\n{code}}}\n");
    }
    Ok((sections.swap_remove(0), inner))
}

fn indent(code: &str) -> String {
    code.lines().map(|line| format!("    {line}\n")).collect()
}

/// Names the flattened rows and columns of a contraction's tile.
fn positions(values: &Values) -> String {
    let mut text = String::new();
    let (domain, tile) = (values.domain, values.tile);
    for (axis, count, total, first, end) in [
        (Axis::Row, tile.rows, domain.rows, "first_row", "ROWS"),
        (Axis::Column, tile.columns, domain.columns, "first_column", "COLUMNS"),
    ] {
        for at in 0..count {
            let mut copy = [0; 3];
            copy[axis as usize] = at;
            let name = values.position(axis, copy);
            text += &if total.is_multiple_of(count) {
                format!("let {name} = {first} + {at}u;\n")
            } else if total.is_multiple_of(4) {
                // Runs of four stay whole, so that they can be loaded as vectors.
                format!("let {name} = min({first} + {}u, {end} - 4u) + {}u;\n", at / 4 * 4, at % 4)
            } else {
                format!("let {name} = min({first} + {at}u, {end} - 1u);\n")
            };
        }
    }
    text
}

/// The innermost body of a contraction.
fn multiply_add(values: &Values, a: ExprId, b: ExprId) -> Result<String, KernelError> {
    let mut text = String::new();
    for step in 0..values.tile.steps {
        for (row, column) in values.tile.cells() {
            let acc = values.accumulator(row, column);
            let copy = [row, column, step];
            text += &format!("{acc} = fma({}, {}, {acc});\n", values.name(a, copy)?, values.name(b, copy)?);
        }
    }
    Ok(text)
}

/// The stores of every element of the tile.
fn finish(values: &mut Values, dispatch: &Dispatch) -> Result<String, KernelError> {
    let roots: Vec<ExprId> = dispatch.stores.iter().map(|store| store.value).collect();
    let mut text = [String::new()];
    values.write(&roots, &mut text)?;
    let [code] = text;
    let mut text = values.flat_positions() + &code;
    for (row, column) in values.tile.cells() {
        let mut inside = vec![];
        if row > 0 && !values.domain.rows.is_multiple_of(values.tile.rows) {
            inside.push(format!("first_row + {row}u < ROWS"));
        }
        if column > 0 && !values.domain.columns.is_multiple_of(values.tile.columns) {
            inside.push(format!("first_column + {column}u < COLUMNS"));
        }
        let stores = values.stores(row, column)?;
        text += &match inside.is_empty() {
            true => stores,
            false => format!("if {} {{\n{}}}\n", inside.join(" && "), indent(&stores)),
        };
    }
    Ok(text)
}
