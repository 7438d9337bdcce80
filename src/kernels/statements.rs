//! Scalar expressions as WGSL: named values, one statement each, as far out of the loops as they go.

use super::kernel::KernelError;
use super::values::{AXES, Axis, Values};
use crate::compile::{BufferIndex, Core, Expr, ExprId};
use crate::ir::{DType, Scalar, numel};

/// Letters of the axes in names: `v7_r2c0` is value 7 for row 2 and column 0 of the tile.
const LETTERS: [char; 3] = ['r', 'c', 'k'];

/// Which copy of a value: its position along each of [`AXES`].
pub type Copy3 = [usize; 3];

impl Values<'_> {
    /// The copies in which a value exists; of a vector, only the first of each four.
    fn copies(&self, id: usize) -> Vec<Copy3> {
        let node = &self.nodes[id];
        let mut copies = vec![[0; 3]];
        for axis in AXES {
            if node.varies[axis as usize] {
                let stride = if node.vector == Some(axis) { 4 } else { 1 };
                let positions = (0..self.sizes()[axis as usize]).step_by(stride);
                copies =
                    copies.iter().flat_map(|&copy| positions.clone().map(move |at| with(copy, axis, at))).collect();
            }
        }
        copies
    }

    /// The text that stands for a copy of a value in other expressions.
    pub fn name(&self, id: ExprId, copy: Copy3) -> Result<String, KernelError> {
        let node = &self.nodes[id.0 as usize];
        if let Some(value) = node.literal {
            return literal(node.dtype, value);
        }
        Ok(match node.vector {
            Some(axis) => {
                let at = copy[axis as usize];
                format!("{}.{}", self.stem(id, with(copy, axis, at / 4 * 4)), ["x", "y", "z", "w"][at % 4])
            }
            None => self.stem(id, copy),
        })
    }

    fn stem(&self, id: ExprId, copy: Copy3) -> String {
        let stem = match self.dispatch.exprs[id.0 as usize] {
            Expr::Coord(axis) => format!("i{axis}"),
            Expr::Flat => "flat".to_owned(),
            // The first step of a loop is its variable.
            Expr::Reduced(axis) if copy[Axis::Step as usize] == 0 => return format!("r{axis}"),
            Expr::Reduced(axis) => format!("r{axis}"),
            Expr::Acc => "acc".to_owned(),
            _ => format!("v{}", id.0),
        };
        stem + &suffix(self.nodes[id.0 as usize].varies, copy)
    }

    /// Name of the accumulator of a row and column of the tile.
    pub fn accumulator(&self, row: usize, column: usize) -> String {
        format!("acc{}", suffix(self.held([true, true, false]), [row, column, 0]))
    }

    /// Writes every value that the roots need and that is not yet written, each into the section of
    /// its level (values that no loop surrounds go to `sections[0]`).
    pub fn write(&mut self, roots: &[ExprId], sections: &mut [String]) -> Result<(), KernelError> {
        for id in self.needed(roots) {
            if self.written[id] || self.nodes[id].literal.is_some() {
                continue;
            }
            self.written[id] = true;
            for copy in self.copies(id) {
                if let Some(value) = self.value(id, copy)? {
                    let name = self.stem(ExprId(id as u32), copy);
                    sections[self.nodes[id].level] += &format!("let {name} = {value};\n");
                }
            }
        }
        Ok(())
    }

    /// The statement's right side; `None` for what the template or the loops name already.
    fn value(&self, id: usize, copy: Copy3) -> Result<Option<String>, KernelError> {
        Ok(match &self.dispatch.exprs[id] {
            Expr::Coord(axis) => Some(self.coordinate(*axis, copy)),
            Expr::Reduced(axis) if copy[Axis::Step as usize] > 0 => {
                Some(format!("r{axis} + {}u", copy[Axis::Step as usize]))
            }
            Expr::Flat | Expr::Reduced(_) | Expr::Acc | Expr::Const(_) | Expr::ConstU(_) => None,
            Expr::Load { buffer, index } => {
                let (at, binding) = self.binding(*buffer);
                let index = self.of_member(*buffer, self.name(*index, copy)?);
                let wanted = self.nodes[id].dtype;
                Some(match binding.vectors {
                    true => format!("b{at}[{index} / 4u]"),
                    false if wanted == binding.dtype => format!("b{at}[{index}]"),
                    false => format!("bitcast<{}>(b{at}[{index}])", type_name(wanted)),
                })
            }
            Expr::Scalar(scalar, arguments) => {
                let texts: Result<Vec<String>, _> = arguments.iter().map(|a| self.name(*a, copy)).collect();
                Some(scalar.wgsl(&texts?))
            }
        })
    }

    /// An index into a buffer's copy of one member as one into all of them: a layer of workgroups each.
    fn of_member(&self, buffer: BufferIndex, index: String) -> String {
        match self.program.buffer(buffer).step {
            0 => index,
            step => format!("(group.z * {step}u + {index})"),
        }
    }

    /// Names the flattened positions of the tile's elements; the other templates name their one.
    pub fn flat_positions(&self) -> String {
        if !matches!(self.dispatch.core, Core::Contract { .. }) {
            return String::new();
        }
        let mut text = String::new();
        for (row, column) in self.tile.cells() {
            let copy = [row, column, 0];
            let (name, row) = (self.flat(copy), self.position(Axis::Row, copy));
            text +=
                &format!("let {name} = (batch * ROWS + {row}) * COLUMNS + {};\n", self.position(Axis::Column, copy));
        }
        text
    }

    fn flat(&self, copy: Copy3) -> String {
        format!("flat{}", suffix(self.held([true, true, false]), copy))
    }

    /// Name of the flattened row or column of a copy.
    pub fn position(&self, axis: Axis, copy: Copy3) -> String {
        let mut only = [false; 3];
        only[axis as usize] = true;
        let stem = if axis == Axis::Row { "row" } else { "column" };
        format!("{stem}{}", suffix(self.held(only), copy))
    }

    /// A coordinate from the flat position within its group of axes.
    fn coordinate(&self, axis: usize, copy: Copy3) -> String {
        let domain = &self.dispatch.domain;
        let (group, position) = match self.dispatch.core {
            Core::Contract { batch, .. } if axis < batch => (0..batch, "batch".to_owned()),
            Core::Contract { batch, rows, .. } if axis < batch + rows => {
                (batch..batch + rows, self.position(Axis::Row, copy))
            }
            Core::Contract { batch, rows, .. } => (batch + rows..domain.len(), self.position(Axis::Column, copy)),
            _ => (0..domain.len(), "flat".to_owned()),
        };
        let inner = numel(&domain[axis + 1..group.end]);
        let outer = numel(&domain[group.start..axis]);
        let quotient = if inner > 1 { format!("{position} / {inner}u") } else { position };
        if outer > 1 { format!("{quotient} % {}u", domain[axis]) } else { quotient }
    }

    /// The stores of one row and column of the tile, whose values are written already.
    pub fn stores(&self, row: usize, column: usize) -> Result<String, KernelError> {
        let copy = [row, column, 0];
        let flat = self.flat(copy);
        let mut text = String::new();
        for store in &self.dispatch.stores {
            let (at, binding) = self.binding(store.buffer);
            let position = if store.offset > 0 { format!("{flat} + {}u", store.offset) } else { flat.clone() };
            let position = self.of_member(store.buffer, position);
            let value = self.name(store.value, copy)?;
            let value = match self.dtype(store.value) == binding.dtype {
                true => value,
                false => format!("bitcast<{}>({value})", type_name(binding.dtype)),
            };
            text += &format!("b{at}[{position}] = {value};\n");
        }
        Ok(text)
    }
}

/// Lines that import the libraries which the expressions of these call.
pub fn imports(parts: &[Values]) -> String {
    let exprs = || parts.iter().flat_map(|part| &part.dispatch.exprs);
    let calls = |rows: &[Scalar]| exprs().any(|expr| matches!(expr, Expr::Scalar(scalar, _) if rows.contains(scalar)));
    let mut imports = String::new();
    if calls(&[Scalar::Tanh, Scalar::Sigmoid, Scalar::Softplus, Scalar::NonFinite]) {
        imports += "// #import lib/math\n";
    }
    if calls(&[Scalar::Threefry0, Scalar::Threefry1, Scalar::PermuteIndex]) {
        imports += "// #import lib/random\n";
    }
    imports
}

fn with(mut copy: Copy3, axis: Axis, at: usize) -> Copy3 {
    copy[axis as usize] = at;
    copy
}

fn suffix(varies: [bool; 3], copy: Copy3) -> String {
    let parts: String =
        (0..3).filter(|&axis| varies[axis]).map(|axis| format!("{}{}", LETTERS[axis], copy[axis])).collect();
    if parts.is_empty() { parts } else { format!("_{parts}") }
}

pub fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "f32",
        DType::U32 => "u32",
    }
}

/// A constant as WGSL text. WGSL has no infinities and no NaN.
fn literal(dtype: DType, value: f64) -> Result<String, KernelError> {
    match dtype {
        DType::U32 => Ok(format!("{}u", value as u32)),
        DType::F32 if !(value as f32).is_finite() => Err(KernelError::Constant { value }),
        DType::F32 if value < 0.0 => Ok(format!("({:?}f)", value as f32)),
        DType::F32 => Ok(format!("{:?}f", value as f32)),
    }
}
