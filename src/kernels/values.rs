//! What is known of the scalar expressions of a dispatch: where they change, what is constant, what is loaded four at a
//! time.

use super::kernel::{Binding, KernelError};
use super::tile::{Domain, Tile};
use crate::compile::{BufferIndex, Core, Dispatch, Expr, ExprId, Place, Program};
use crate::ir::{DType, Scalar};

/// A direction in which an invocation holds several copies of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    Row,
    Column,
    /// The innermost loop, taken several steps at once.
    Step,
}

pub const AXES: [Axis; 3] = [Axis::Row, Axis::Column, Axis::Step];

/// What the generator knows of an expression.
pub struct Node {
    pub dtype: DType,
    /// Its value, if it is constant.
    pub literal: Option<f64>,
    /// Along which of [`AXES`] it changes.
    pub varies: [bool; 3],
    /// Number of loops around it.
    pub level: usize,
    /// A load whose four neighbours along an axis are one vector of memory.
    pub vector: Option<Axis>,
}

/// The expressions of one dispatch, and which of them are written already.
pub struct Values<'a> {
    pub program: &'a Program,
    pub dispatch: &'a Dispatch,
    pub domain: Domain,
    pub tile: Tile,
    /// Reduced axes longer than one, outermost first.
    pub loops: Vec<usize>,
    pub nodes: Vec<Node>,
    pub written: Vec<bool>,
    pub bindings: Vec<Binding>,
    /// The number of each of them in the kernel.
    pub numbers: Vec<usize>,
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
            numbers: vec![],
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
    pub fn held(&self, varies: [bool; 3]) -> [bool; 3] {
        let sizes = self.sizes();
        [0, 1, 2].map(|axis| varies[axis] && sizes[axis] > 1)
    }

    pub fn sizes(&self) -> [usize; 3] {
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
    pub fn needed(&self, roots: &[ExprId]) -> Vec<usize> {
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

    /// Loads from these arrays one value at a time.
    pub fn load_singly(&mut self, places: &[Place]) {
        for (id, expr) in self.dispatch.exprs.iter().enumerate() {
            if matches!(expr, Expr::Load { buffer, .. } if places.contains(&self.program.buffer(*buffer).place)) {
                self.nodes[id].vector = None;
            }
        }
        let of_these = self.bindings.iter_mut().filter(|binding| places.contains(&binding.place));
        of_these.for_each(|binding| binding.vectors = false);
    }

    /// The place among its bindings of a buffer that it touches, and the binding.
    fn own(&self, buffer: BufferIndex) -> (usize, &Binding) {
        let place = self.program.buffer(buffer).place;
        let found = self.bindings.iter().enumerate().find(|(_, binding)| binding.place == place);
        found.expect("every buffer that a dispatch touches is bound")
    }

    /// The number of a buffer that it touches among the kernel's bindings, and the binding.
    pub fn binding(&self, buffer: BufferIndex) -> (usize, &Binding) {
        let (own, binding) = self.own(buffer);
        (self.numbers[own], binding)
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
            let of_binding: Vec<usize> = (0..loads.len()).filter(|&l| self.own(loads[l].1).0 == at).collect();
            // A member's copy has to begin at a whole vector.
            let aligned = of_binding.iter().all(|&l| self.program.buffer(loads[l].1).step.is_multiple_of(4));
            if aligned && !self.bindings[at].written && of_binding.iter().all(|&l| axes[l].is_some()) {
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

fn round(dtype: DType, value: f64) -> f64 {
    match dtype {
        DType::F32 => f64::from(value as f32),
        DType::U32 => value,
    }
}
