//! One loop as WGSL: what the file that it is written in asks for.

use super::kernel::KernelError;
use super::values::{Axis, Values};
use super::{LITTLE, WORKGROUP, indent};
use crate::compile::{Core, ExprId, MAX_EXTENT};
use crate::ir::{DType, numel};

impl Values<'_> {
    /// Tiles that its domain is cut into.
    pub fn tiles(&self) -> usize {
        let [down, across] = self.domain.tiles(self.tile);
        self.domain.batch * down * across
    }

    /// Invocations of a workgroup that suit it.
    pub fn group(&self) -> usize {
        let [fewest, most] = WORKGROUP;
        let little = numel(&self.dispatch.domain) * numel(self.core().extent()) < LITTLE;
        if little { most } else { (self.tiles() / 16).next_power_of_two().clamp(fewest, most) }
    }

    /// The file that its loop is written in.
    pub fn template(&self) -> &'static str {
        match self.core() {
            Core::Map => "map",
            Core::Reduce { .. } => "reduce",
            Core::ArgMax { .. } => "argmax",
            Core::Contract { .. } => "contract",
        }
    }

    /// Constants of its own that the file asks for.
    pub fn constants(&self) -> Vec<(&'static str, usize)> {
        let Values { domain, tile, .. } = self;
        let [down, across] = domain.tiles(*tile);
        match self.core() {
            Core::Contract { .. } => vec![
                ("ROWS", domain.rows),
                ("COLUMNS", domain.columns),
                ("TILE_ROWS", tile.rows),
                ("TILE_COLUMNS", tile.columns),
                ("ROW_TILES", down),
                ("COLUMN_TILES", across),
                ("TILES", self.tiles()),
            ],
            _ => vec![("ELEMENTS", self.tiles())],
        }
    }

    /// What stands for the hooks within its entry point.
    pub fn body(&mut self) -> Result<Vec<(&'static str, String)>, KernelError> {
        let steps = numel(self.core().extent());
        if steps > MAX_EXTENT {
            return Err(KernelError::TooLong(steps));
        }
        let zero = |values: &Self, value| if values.dtype(value) == DType::F32 { "0.0" } else { "0u" };
        let mut hooks = match *self.core() {
            Core::Map => vec![],
            Core::Reduce { value, .. } => {
                let zero = zero(self, value);
                let (element, sum) =
                    loops(self, &[value], |values| Ok(format!("acc = acc + {};\n", values.name(value, [0; 3])?)))?;
                vec![("element", element), ("sum", format!("var acc = {zero};\n{sum}"))]
            }
            Core::ArgMax { value, .. } => {
                let zero = zero(self, value);
                let (element, search) = loops(self, &[value], |values| {
                    let value = values.name(value, [0; 3])?;
                    let index = if values.loops.is_empty() { "0u" } else { "r0" };
                    Ok(format!("if {index} == 0u || {value} > best {{\n    best = {value};\n    acc = {index};\n}}\n"))
                })?;
                vec![("element", element), ("search", format!("var acc = 0u;\nvar best = {zero};\n{search}"))]
            }
            Core::Contract { a, b, .. } => {
                let (element, sum) = loops(self, &[a, b], |values| multiply_add(values, a, b))?;
                let mut start = String::new();
                for (row, column) in self.tile.cells() {
                    start += &format!("var {} = 0.0;\n", self.accumulator(row, column));
                }
                vec![("element", positions(self) + &element), ("sum", start + &sum)]
            }
        };
        hooks.push(("finish", finish(self)?));
        Ok(hooks)
    }
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
fn finish(values: &mut Values) -> Result<String, KernelError> {
    let roots: Vec<ExprId> = values.dispatch.stores.iter().map(|store| store.value).collect();
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
