//! The intermediate representation: a graph of primitives of three kinds.
//!
//! * *pointwise*: a scalar function at each index ([`Scalar`]); its derivative is a product rule.
//! * *multilinear*: linear in each marked argument; its derivative is itself, its transpose a member
//!   of its own family ([`Op`]).
//! * *index-valued*: comparisons, argmax, counters, random bits; no derivative.

mod build;
mod graph;
mod op;
mod scalar;

pub use graph::{Graph, Node, NodeId};
pub use op::{ConvFace, ConvGeometry, Op, Run};
pub use scalar::Scalar;

/// Element type of an array. Conditions are `U32` 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float on a GPU, f64 in the reference.
    F32,
    /// Indices, labels, counters, random words, conditions.
    U32,
}

/// Number of elements of a shape; the largest number where it has more.
pub fn numel(shape: &[usize]) -> usize {
    shape.iter().fold(1, |product, &size| product.saturating_mul(size))
}

/// Row-major strides of a shape, in elements.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}
