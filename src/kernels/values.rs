//! Scalar expressions as WGSL: named values, one statement each, as far out of the loops as they go.

use super::tile::{Domain, Tile};
use super::{Binding, KernelError};
use crate::compile::{BufferIndex, Core, Dispatch, Expr, ExprId, Program};
use crate::ir::{DType, Scalar, numel};

/// A direction in which an invocation holds several copies of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    Row,
    Column,
    /// The innermost loop, taken several steps at once.
    Step,
}

pub const AXES: [Axis; 3] = [Axis::Row, Axis::Column, Axis::Step];

/// Letters of the axes in names: `v7_r2c0` is value 7 for row 2 and column 0 of the tile.
const LETTERS: [char; 3] = ['r', 'c', 'k'];

/// Which copy of a value: its position along each of [`AXES`].
pub type Copy3 = [usize; 3];

/// What the generator knows of an expression.
struct Node {
    dtype: DType,
    /// Its value, if it is constant.
    literal: Option<f64>,
    /// Along which of [`AXES`] it changes.
    varies: [bool; 3],
    /// Number of loops around it.
    level: usize,
    /// A load whose four neighbours along an axis are one vector of memory.
    vector: Option<Axis>,
}

/// Writes the expressions of one dispatch.
pub struct Values<'a> {
    program: &'a Program,
    dispatch: &'a Dispatch,
    pub domain: Domain,
    pub tile: Tile,
    /// Reduced axes longer than one, outermost first.
    pub loops: Vec<usize>,
    nodes: Vec<Node>,
    written: Vec<bool>,
    pub bindings: Vec<Binding>,
}

impl<'a> Values<'a> {
    pub fn new(program: &'a Program, dispatch: &'a Dispatch, tile: Tile) -> Result<Self, KernelError> {
        let extent = dispatch.core.extent();
        let mut values = Self {
            program,
            dispatch,
            domain: Domain::of(dispatch),
            tile,
            loops: (0..extent.len()).filter(|&axis| extent[axis] > 1).collect(),
            nodes: vec![],
            written: vec![false; dispatch.exprs.len()],
            bindings: vec![],
        };
        for expr in &dispatch.exprs {
            let node = values.node(expr)?;
            values.nodes.push(node);
        }
        values.bind();
        values.find_vectors();
        Ok(values)
    }

    pub fn dtype(&self, id: ExprId) -> DType {
        self.nodes[id.0 as usize].dtype
    }

    pub fn core(&self) -> &'a Core {
        &self.dispatch.core
    }

    /// Whether some load takes several steps of the innermost loop at once.
    pub fn has_step_vectors(&self) -> bool {
        self.nodes.iter().any(|node| node.vector == Some(Axis::Step))
    }

    fn node(&self, expr: &Expr) -> Result<Node, KernelError> {
        let at = |id: &ExprId| &self.nodes[id.0 as usize];
        let constant = |dtype, value| Node { dtype, literal: Some(value), varies: [false; 3], level: 0, vector: None };
        let node = |dtype, varies, level| Node { dtype, literal: None, varies, level, vector: None };
        Ok(match expr {
            Expr::Const(bits) => constant(DType::F32, f64::from_bits(*bits)),
            Expr::ConstU(word) => constant(DType::U32, f64::from(*word)),
            Expr::Coord(axis) if self.dispatch.domain[*axis] == 1 => constant(DType::U32, 0.0),
            Expr::Coord(axis) => node(DType::U32, self.varies_with_coordinate(*axis), 0),
            Expr::Flat => node(DType::U32, self.held([true, true, false]), 0),
            Expr::Reduced(axis) => match self.loops.iter().position(|looped| looped == axis) {
                None => constant(DType::U32, 0.0),
                Some(depth) => {
                    let innermost = depth + 1 == self.loops.len();
                    node(DType::U32, self.held([false, false, innermost]), depth + 1)
                }
            },
            Expr::Acc => node(self.accumulator_type(), self.held([true, true, false]), 0),
            Expr::Load { buffer, index } => node(self.program.buffer(*buffer).dtype, at(index).varies, at(index).level),
            Expr::Scalar(scalar, arguments) => {
                let dtype = match scalar {
                    Scalar::Select => at(&arguments[1]).dtype,
                    _ => scalar.signature().1,
                };
                let literals: Option<Vec<f64>> = arguments.iter().map(|id| at(id).literal).collect();
                match literals {
                    Some(literals) => constant(dtype, round(dtype, scalar.eval(&literals))),
                    None => {
                        let varies = [0, 1, 2].map(|axis| arguments.iter().any(|id| at(id).varies[axis]));
                        node(dtype, varies, arguments.iter().map(|id| at(id).level).max().unwrap_or(0))
                    }
                }
            }
        })
    }

    /// Masks out the axes along which the tile holds one copy.
    fn held(&self, varies: [bool; 3]) -> [bool; 3] {
        let sizes = self.sizes();
        [0, 1, 2].map(|axis| varies[axis] && sizes[axis] > 1)
    }

    fn sizes(&self) -> [usize; 3] {
        [self.tile.rows, self.tile.columns, self.tile.steps]
    }

    fn varies_with_coordinate(&self, axis: usize) -> [bool; 3] {
        match self.dispatch.core {
            Core::Contract { batch, rows, .. } => {
                self.held([axis >= batch && axis < batch + rows, axis >= batch + rows, false])
            }
            _ => [false; 3],
        }
    }

    fn accumulator_type(&self) -> DType {
        match self.dispatch.core {
            Core::Reduce { value, .. } => self.dtype(value),
            Core::ArgMax { .. } => DType::U32,
            Core::Map | Core::Contract { .. } => DType::F32,
        }
    }

    /// Expressions that the given ones need, arguments first.
    fn needed(&self, roots: &[ExprId]) -> Vec<usize> {
        let mut needed = vec![false; self.nodes.len()];
        for root in roots {
            needed[root.0 as usize] = true;
        }
        for id in (0..self.nodes.len()).rev() {
            if needed[id] && self.nodes[id].literal.is_none() {
                match &self.dispatch.exprs[id] {
                    Expr::Load { index, .. } => needed[index.0 as usize] = true,
                    Expr::Scalar(_, arguments) => arguments.iter().for_each(|a| needed[a.0 as usize] = true),
                    _ => {}
                }
            }
        }
        (0..needed.len()).filter(|&id| needed[id]).collect()
    }

    fn roots(&self) -> Vec<ExprId> {
        let mut roots: Vec<ExprId> = self.dispatch.stores.iter().map(|store| store.value).collect();
        match self.dispatch.core {
            Core::Map => {}
            Core::Reduce { value, .. } | Core::ArgMax { value, .. } => roots.push(value),
            Core::Contract { a, b, .. } => roots.extend([a, b]),
        }
        roots
    }

    /// Lists the arrays that are read or written, each once.
    fn bind(&mut self) {
        let mut touched: Vec<(BufferIndex, bool)> = vec![];
        for id in self.needed(&self.roots()) {
            if let Expr::Load { buffer, .. } = self.dispatch.exprs[id] {
                touched.push((buffer, false));
            }
        }
        touched.extend(self.dispatch.stores.iter().map(|store| (store.buffer, true)));
        for (buffer, written) in touched {
            let buffer = self.program.buffer(buffer);
            match self.bindings.iter_mut().find(|binding| binding.place == buffer.place) {
                Some(binding) => binding.written |= written,
                None => {
                    let (place, dtype) = (buffer.place, buffer.dtype);
                    self.bindings.push(Binding { place, dtype, written, vectors: false });
                }
            }
        }
    }

    fn binding(&self, buffer: BufferIndex) -> (usize, &Binding) {
        let place = self.program.buffer(buffer).place;
        let found = self.bindings.iter().enumerate().find(|(_, binding)| binding.place == place);
        found.expect("every buffer that a dispatch touches is bound")
    }

    /// Chooses the loads made four values at a time. An array is declared as vectors only if all
    /// its loads are such and nothing is stored in it.
    fn find_vectors(&mut self) {
        let needed = self.needed(&self.roots());
        let loads: Vec<(usize, BufferIndex, ExprId)> = needed
            .into_iter()
            .filter_map(|id| match self.dispatch.exprs[id] {
                Expr::Load { buffer, index } => Some((id, buffer, index)),
                _ => None,
            })
            .collect();
        let axis_of = |index: ExprId| AXES.into_iter().find(|&axis| self.is_vector(index, axis));
        let axes: Vec<Option<Axis>> = loads.iter().map(|&(_, _, index)| axis_of(index)).collect();
        for at in 0..self.bindings.len() {
            let of_binding: Vec<usize> = (0..loads.len()).filter(|&l| self.binding(loads[l].1).0 == at).collect();
            if !self.bindings[at].written && of_binding.iter().all(|&l| axes[l].is_some()) {
                self.bindings[at].vectors = true;
                for l in of_binding {
                    self.nodes[loads[l].0].vector = axes[l];
                }
            }
        }
    }

    /// Whether the copies 0..4, 4..8, … of an index along an axis are aligned runs of four.
    fn is_vector(&self, index: ExprId, axis: Axis) -> bool {
        let innermost = match axis {
            Axis::Row => self.last_axis(|batch, rows| batch..batch + rows),
            Axis::Column => self.last_axis(|batch, rows| batch + rows..self.dispatch.domain.len()),
            Axis::Step => self.loops.last().map(|&axis| self.dispatch.core.extent()[axis]),
        };
        self.sizes()[axis as usize].is_multiple_of(4)
            && innermost.is_some_and(|length| length.is_multiple_of(4))
            && self.slope(index, axis).is_some_and(|slope| slope.rise == 1 && slope.divisor == 4)
    }

    /// Length of the last axis longer than one among the rows or columns of a contraction.
    fn last_axis(&self, range: impl Fn(usize, usize) -> std::ops::Range<usize>) -> Option<usize> {
        match self.dispatch.core {
            Core::Contract { batch, rows, .. } => {
                self.dispatch.domain[range(batch, rows)].iter().copied().rfind(|&length| length > 1)
            }
            _ => None,
        }
    }

    /// An index over four neighbouring copies along an axis, if it rises evenly.
    fn slope(&self, id: ExprId, axis: Axis) -> Option<Slope> {
        let node = &self.nodes[id.0 as usize];
        if let Some(literal) = node.literal {
            return Some(Slope { rise: 0, divisor: divisor(literal as u64) });
        }
        let varies = |id: ExprId| self.nodes[id.0 as usize].varies[axis as usize];
        let of = |id: ExprId| self.slope(id, axis);
        let literal = |id: ExprId| self.nodes[id.0 as usize].literal.map(|value| value as u64);
        let risen = match &self.dispatch.exprs[id.0 as usize] {
            Expr::Flat if axis == Axis::Column => Some(Slope { rise: 1, divisor: 4 }),
            Expr::Reduced(_) if varies(id) => Some(Slope { rise: 1, divisor: 4 }),
            Expr::Coord(coordinate) if varies(id) && self.is_last(*coordinate, axis) => {
                Some(Slope { rise: 1, divisor: 4 })
            }
            // Other coordinates of the same group stay the same over aligned runs of four.
            Expr::Coord(_) => Some(Slope { rise: 0, divisor: 1 }),
            Expr::Scalar(Scalar::AddU, sum) => match (of(sum[0]), of(sum[1])) {
                (Some(x), Some(y)) => {
                    Some(Slope { rise: x.rise.saturating_add(y.rise), divisor: x.divisor.min(y.divisor) })
                }
                _ => None,
            },
            Expr::Scalar(Scalar::SubU, difference) => match (of(difference[0]), of(difference[1])) {
                (Some(x), Some(y)) if y.rise == 0 => Some(Slope { rise: x.rise, divisor: x.divisor.min(y.divisor) }),
                _ => None,
            },
            Expr::Scalar(Scalar::MulU, product) => match (of(product[0]), of(product[1])) {
                (Some(x), Some(y)) => {
                    let rise = match (literal(product[0]), literal(product[1])) {
                        (Some(factor), _) => factor.saturating_mul(y.rise),
                        (_, Some(factor)) => factor.saturating_mul(x.rise),
                        _ => x.rise.saturating_add(y.rise).saturating_mul(u64::MAX),
                    };
                    Some(Slope { rise, divisor: divisor(x.divisor * y.divisor) })
                }
                _ => None,
            },
            Expr::Scalar(division @ (Scalar::DivU | Scalar::RemU), arguments) if varies(id) => {
                match (of(arguments[0]), literal(arguments[1])) {
                    (Some(Slope { rise: 1, divisor: 4 }), Some(length)) if length.is_multiple_of(4) => {
                        Some(if *division == Scalar::RemU {
                            Slope { rise: 1, divisor: 4 }
                        } else {
                            Slope { rise: 0, divisor: 1 }
                        })
                    }
                    _ => None,
                }
            }
            Expr::Scalar(Scalar::Select, choice) if !varies(choice[0]) => match (of(choice[1]), of(choice[2])) {
                (Some(x), Some(y)) if x.rise == y.rise => {
                    Some(Slope { rise: x.rise, divisor: x.divisor.min(y.divisor) })
                }
                _ => None,
            },
            _ => None,
        };
        if varies(id) { risen } else { Some(risen.unwrap_or(Slope { rise: 0, divisor: 1 })) }
    }

    /// Whether the coordinate is that of the last axis longer than one of the axis's group.
    fn is_last(&self, coordinate: usize, axis: Axis) -> bool {
        let Core::Contract { batch, rows, .. } = self.dispatch.core else { return false };
        let end = if axis == Axis::Row { batch + rows } else { self.dispatch.domain.len() };
        self.dispatch.domain[coordinate + 1..end].iter().all(|&length| length == 1)
    }

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
                let index = self.name(*index, copy)?;
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
            let value = self.name(store.value, copy)?;
            let value = match self.dtype(store.value) == binding.dtype {
                true => value,
                false => format!("bitcast<{}>({value})", type_name(binding.dtype)),
            };
            text += &format!("b{at}[{position}] = {value};\n");
        }
        Ok(text)
    }

    /// Lines that import the libraries which the expressions call.
    pub fn imports(&self) -> String {
        let calls = |rows: &[Scalar]| {
            self.dispatch.exprs.iter().any(|expr| matches!(expr, Expr::Scalar(scalar, _) if rows.contains(scalar)))
        };
        let mut imports = String::new();
        if calls(&[Scalar::Tanh, Scalar::Sigmoid, Scalar::Softplus, Scalar::NonFinite]) {
            imports += "// #import lib/math\n";
        }
        if calls(&[Scalar::Threefry0, Scalar::Threefry1, Scalar::PermuteIndex]) {
            imports += "// #import lib/random\n";
        }
        imports
    }
}

/// An index over four neighbours: base + rise · (0, 1, 2, 3), the base divisible by 1, 2 or 4.
struct Slope {
    rise: u64,
    divisor: u64,
}

/// The largest of 1, 2 and 4 that divides n.
fn divisor(n: u64) -> u64 {
    [4, 2].into_iter().find(|&d| n.is_multiple_of(d)).unwrap_or(1)
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

fn round(dtype: DType, value: f64) -> f64 {
    match dtype {
        DType::F32 => f64::from(value as f32),
        DType::U32 => value,
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
