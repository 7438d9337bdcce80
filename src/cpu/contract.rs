//! Contractions as matrix products over strided views of the arrays as they lie.

#![allow(unsafe_code, reason = "`gemm` takes pointers")]

use std::ops::Range;

use super::affine::{Affine, Piece, pieces};
use super::array::{Arrays, Home};
use super::nest::{Nest, Part, Strided, each_index};
use crate::compile::{Buffer, Core, Dispatch, Expr, ExprId};
use crate::ir::{numel, strides};

/// Products that each element of an operand is part of, at least, where a copy of it costs nothing beside them.
const REUSE: usize = 1 << 10;

/// One operand of a contraction.
pub struct Operand {
    pub value: ExprId,
    /// Length of a dense copy.
    len: usize,
    /// Whether a dense copy is made, since it cannot be read where it lies, or not as fast.
    pub packed: bool,
    /// Whether it could be read where it lies.
    pub readable: bool,
    /// Steps of the dense copy along the dispatch's coordinates; 0 for those it does not depend on.
    pub strides: Vec<usize>,
}

/// The products that make up a contraction: one for each piece in which both operands are affine
/// and not zero.
pub struct Products {
    pub operands: [Operand; 2],
    products: Vec<Product>,
    /// Whether the sum starts from zero instead of being written by the only product.
    zeroed: bool,
    offset: usize,
}

struct Product {
    nest: Nest,
    /// Left, right and result.
    forms: [Strided; 3],
    homes: [Home; 2],
    /// Axes of the matrices: rows, columns, sum.
    matrix: [Option<usize>; 3],
    /// The other axes: of the result, and of the sum.
    outer: Vec<usize>,
    sums: Vec<usize>,
}

impl Operand {
    fn new(buffers: &[Buffer], dispatch: &Dispatch, value: ExprId, depends: impl Fn(usize) -> bool) -> Self {
        let coordinates = [&dispatch.domain, dispatch.core.extent()].concat();
        let sizes: Vec<usize> =
            coordinates.iter().enumerate().map(|(axis, &size)| if depends(axis) { size } else { 1 }).collect();
        let steps = strides(&sizes).into_iter().enumerate();
        let strides = steps.map(|(axis, step)| if depends(axis) { step } else { 0 }).collect();
        let mut operand = Operand { value, len: numel(&sizes), packed: false, readable: true, strides };
        if !operand.reads(buffers, &pieces(dispatch, &[value], true)) {
            operand.pack();
        }
        operand
    }

    /// Chooses a dense copy in which neighbours along the operand's `own` coordinates lie side by side.
    fn pack_across(&mut self, dispatch: &Dispatch, own: Range<usize>) {
        let coordinates = [&dispatch.domain, dispatch.core.extent()].concat();
        let others = (0..coordinates.len()).filter(|axis| !own.contains(axis));
        let order: Vec<usize> = others.chain(own.clone()).filter(|&axis| self.strides[axis] > 0).collect();
        let sizes: Vec<usize> = order.iter().map(|&axis| coordinates[axis]).collect();
        order.iter().zip(strides(&sizes)).for_each(|(&axis, step)| self.strides[axis] = step);
        self.packed = true;
    }

    /// Chooses a dense copy, for it cannot be read where it lies.
    fn pack(&mut self) {
        (self.packed, self.readable) = (true, false);
    }

    fn reads(&self, buffers: &[Buffer], pieces: &[Piece]) -> bool {
        self.packed || pieces.iter().all(|piece| view(buffers, piece, self.value).is_some())
    }
}

/// Where an operand lies in a piece: an array and a form, or nothing where it is zero.
fn view(buffers: &[Buffer], piece: &Piece, value: ExprId) -> Option<Option<(Home, Affine)>> {
    match *piece.dispatch.expr(piece.resolve(value)) {
        Expr::Const(bits) if f64::from_bits(bits) == 0.0 => Some(None),
        Expr::Load { buffer, index } => {
            let place = piece.place(index, buffers[buffer.0 as usize].len)?;
            Some(Some((Home::Buffer(buffer), place)))
        }
        _ => None,
    }
}

impl Products {
    /// `shared` is the coordinate of the domain by which work is shared out; the result lies at
    /// `offset` of its array.
    pub fn new(buffers: &[Buffer], dispatch: &Dispatch, shared: usize, offset: usize) -> Option<Self> {
        let Core::Contract { batch, rows, a, b, .. } = dispatch.core else { return None };
        let columns = batch + rows..dispatch.domain.len();
        let mut operands = [
            Operand::new(buffers, dispatch, a, |axis| !columns.contains(&axis)),
            Operand::new(buffers, dispatch, b, |axis| !(batch..batch + rows).contains(&axis)),
        ];
        let multiplications = numel(&dispatch.domain) * numel(dispatch.core.extent());
        loop {
            let direct: Vec<ExprId> = operands.iter().filter(|o| !o.packed).map(|o| o.value).collect();
            let pieces = pieces(dispatch, &direct, true);
            // Cut for one operand, a piece may not suit the other.
            if let Some(unread) = operands.iter_mut().find(|o| !o.reads(buffers, &pieces)) {
                unread.pack();
                continue;
            }
            let mut products = vec![];
            for piece in &pieces {
                let view = |at: usize| match operands[at].packed {
                    true => Some((Home::Packed(at), piece.position(&operands[at].strides))),
                    false => view(buffers, piece, operands[at].value).flatten(),
                };
                if let (Some(left), Some(right)) = (view(0), view(1)) {
                    let out = piece.flat().plus(1, &Affine::constant(offset as i64));
                    products.push(Product::new(piece, shared, [left, right], out));
                }
            }
            let recopied = |at: &usize| {
                let small = !operands[*at].packed && operands[*at].len * REUSE <= multiplications;
                small && products.iter().any(|product| product.recopies(*at))
            };
            if let Some(at) = [0, 1].into_iter().find(recopied) {
                operands[at].pack_across(dispatch, [batch..batch + rows, columns.clone()][at].clone());
                continue;
            }
            let zeroed = products.len() != 1 || pieces.len() != 1;
            return Some(Products { operands, products, zeroed, offset });
        }
    }

    pub fn shares(&self) -> bool {
        self.products.iter().all(|product| product.nest.shares_loops())
    }

    /// Whether the result is first filled with zeros.
    pub fn zeroed(&self) -> bool {
        self.zeroed
    }

    /// Where the result begins in its array.
    pub fn offset(&self) -> usize {
        self.offset
    }

    pub fn run(&self, part: Part, arrays: &Arrays, out: Home) {
        self.products.iter().for_each(|product| product.run(part, arrays, out, self.zeroed));
    }
}

impl Product {
    fn new(piece: &Piece, shared: usize, views: [(Home, Affine); 2], out: Affine) -> Self {
        let order: Vec<usize> = (0..piece.region.sizes.len()).collect();
        let [(left, left_form), (right, right_form)] = views;
        let (nest, forms) = Nest::new(&piece.region, &order, shared, &[left_form, right_form, out]);
        let forms: [Strided; 3] = forms.try_into().unwrap_or_else(|_| unreachable!("three forms"));
        let axes = 0..nest.sizes().len();
        let step = |form: usize, axis: usize| forms[form].step(axis);
        // A unit may hold little of the shared axis, so that is taken last.
        let largest = |choose: &dyn Fn(usize) -> bool| {
            let eligible = axes.clone().filter(|&axis| nest.sizes()[axis] > 1 && choose(axis));
            eligible.max_by_key(|&axis| (nest.shared_axis() != Some(axis), nest.sizes()[axis]))
        };
        let matrix = [
            largest(&|axis| step(2, axis) != 0 && step(1, axis) == 0 && step(0, axis) != 0),
            largest(&|axis| step(2, axis) != 0 && step(0, axis) == 0),
            largest(&|axis| step(2, axis) == 0),
        ];
        let rest = axes.clone().filter(|&axis| nest.sizes()[axis] > 1 && !matrix.contains(&Some(axis)));
        let (sums, outer) = rest.partition(|&axis| step(2, axis) == 0);
        Product { forms, homes: [left, right], matrix, outer, sums, nest }
    }

    /// Whether `gemm` copies an operand in each of several calls: it wants the elements that it takes as
    /// vectors, those along the result's shorter step, side by side.
    fn recopies(&self, operand: usize) -> bool {
        let [Some(rows), Some(columns), Some(_)] = self.matrix else { return false };
        let vectors = usize::from(self.forms[2].step(columns) < self.forms[2].step(rows));
        let calls = !self.outer.is_empty() || !self.sums.is_empty();
        calls && operand == vectors && self.forms[operand].step([rows, columns][operand]) != 1
    }

    fn run(&self, part: Part, arrays: &Arrays, out: Home, zeroed: bool) {
        let Some((from, to)) = self.nest.window(part) else { return };
        let bounds = |axes: &[usize]| -> (Vec<usize>, Vec<usize>) { axes.iter().map(|&a| (from[a], to[a])).unzip() };
        let (outer, sums) = (bounds(&self.outer), bounds(&self.sums));
        let size = |axis: Option<usize>| axis.map_or(1, |axis| to[axis] - from[axis]);
        let [m, n, k] = self.matrix.map(size);
        let step = |form: usize, axis: Option<usize>| axis.map_or(0, |axis| self.forms[form].step(axis) as isize);
        let [rows, columns, sum] = self.matrix;
        let mut index = [0; super::nest::MOST_AXES];
        let index = &mut index[..self.nest.sizes().len()];
        index.copy_from_slice(&from[..index.len()]);
        each_index(&outer.0, &outer.1, |at| {
            self.outer.iter().zip(at).for_each(|(&axis, &at)| index[axis] = at);
            let mut first = !zeroed;
            each_index(&sums.0, &sums.1, |at| {
                self.sums.iter().zip(at).for_each(|(&axis, &at)| index[axis] = at);
                let place = |form: usize, home: Home| arrays.home(home).element(self.forms[form].at(index));
                // SAFETY: the views' ranges were found to lie inside their arrays when they were made,
                // the result's does by the verified program; no unit writes what another reads.
                unsafe {
                    gemm::gemm(
                        m,
                        n,
                        k,
                        place(2, out),
                        step(2, columns),
                        step(2, rows),
                        !first,
                        place(0, self.homes[0]),
                        step(0, sum),
                        step(0, rows),
                        place(1, self.homes[1]),
                        step(1, columns),
                        step(1, sum),
                        1.0f32,
                        1.0f32,
                        false,
                        false,
                        false,
                        gemm::Parallelism::None,
                    );
                }
                first = false;
            });
        });
    }
}
