//! The closed list of primitives, their parameters and kinds.

use super::Scalar;

/// Which of its three slots a convolution yields. The trilinear form
/// T(x, w, y) = Σ x\[g, n, s·p + d − pad, i] · w\[g, d, i, o] · y\[g, n, p, o] has three gradients,
/// one a face; the gradient of a face in a slot is again a face.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConvFace {
    /// (x, w) → y: the forward convolution.
    Output,
    /// (y, w) → x: its transpose in the input.
    Input,
    /// (x, y) → w: its transpose in the kernel.
    Kernel,
}

/// Spatial sizes of a 2-D convolution (a 1-D one has height 1). Arrays are
/// x `[g, n, h, w, cin]`, w `[g, kh, kw, cin, cout]`, y `[g, n, oh, ow, cout]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Height and width of x.
    pub input: [usize; 2],
    /// Height and width of w.
    pub kernel: [usize; 2],
    /// Height and width of y.
    pub output: [usize; 2],
    /// Elements of x between neighbours of y, down and across.
    pub stride: [usize; 2],
    /// Zeros before the first element; those after it follow from the sizes.
    pub pad: [usize; 2],
}

/// A run of elements of a vector, and the value that it belongs to; none where it is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Elements.
    pub length: usize,
    /// Position of the value in another vector.
    pub value: Option<usize>,
}

/// A primitive. Shapes are checked where nodes are made (`Graph` builder methods).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    // Leaves.
    /// An argument of the program, by position.
    Input(usize),
    /// One float for a whole array, by its f64 bits.
    Const(u64),
    /// One word for a whole array.
    ConstU(u32),
    /// The coordinate along an axis, as words.
    Iota {
        /// The axis.
        axis: usize,
    },
    /// A tangent while a graph is being transposed; never outlives that.
    Hole(usize),

    // Pointwise.
    /// A row of the pointwise table, at each index.
    Scalar(Scalar),

    // Linear in their one argument.
    /// Argument axis k lies along result axis `axes[k]` (increasing); size-1 axes of the argument
    /// stretch.
    Broadcast {
        /// Result axis of each argument axis.
        axes: Vec<usize>,
    },
    /// Sum over the axes, which vanish.
    Sum {
        /// The axes, increasing.
        axes: Vec<usize>,
    },
    /// The same elements in row-major order under another shape.
    Reshape,
    /// Result axis k is argument axis `perm[k]`.
    Permute {
        /// Argument axis of each result axis.
        perm: Vec<usize>,
    },
    /// Elements `start + k·step` along each axis; the shape says how many.
    Slice {
        /// First element along each axis.
        start: Vec<usize>,
        /// Distance of neighbours along each axis.
        step: Vec<usize>,
    },
    /// Argument element k lands at `start + k·step`; zero elsewhere. The transpose of `Slice`.
    Pad {
        /// Place of the first element along each axis.
        start: Vec<usize>,
        /// Distance of neighbours along each axis.
        step: Vec<usize>,
    },
    /// `[n]` → the runs end to end, each filled with its value; zero in gaps.
    Repeat {
        /// What the result consists of.
        runs: Vec<Run>,
    },
    /// Sum of the runs of each of n values: `[n]`, zero where there are none. The transpose of `Repeat`.
    SegmentSum {
        /// What the argument consists of.
        runs: Vec<Run>,
    },
    /// Value passes, derivative does not.
    StopGradient,

    // Linear in each argument.
    /// Vectors end to end.
    Concat,
    /// Batched matrix product `[g, m, k] · [g, k, n]`; a flag says an operand is stored transposed.
    MatMul {
        /// For the left and the right operand.
        transpose: [bool; 2],
    },
    /// One face of a convolution.
    Conv {
        /// Which of the three slots it yields.
        face: ConvFace,
        /// Its sizes.
        geometry: ConvGeometry,
    },

    // Linear in the first argument.
    /// (data `[n, …]`, index `[b]`) → `[b, …]`. Its transpose is a sum of selections, not a
    /// primitive.
    TakeRows,

    // Index-valued.
    /// Lowest index of the largest element along an axis, which vanishes.
    ArgMax {
        /// The axis.
        axis: usize,
    },
}

impl Op {
    /// Arguments in which the primitive is linear while the others are held fixed; the transpose
    /// of `Scalar` rows follows [`Scalar::linear_in`].
    pub fn linear_in(&self, arguments: usize) -> Vec<usize> {
        match self {
            Op::Scalar(f) => f.linear_in().to_vec(),
            Op::Broadcast { .. }
            | Op::Sum { .. }
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Repeat { .. }
            | Op::SegmentSum { .. }
            | Op::TakeRows => vec![0],
            Op::Concat | Op::MatMul { .. } | Op::Conv { .. } => (0..arguments).collect(),
            Op::Input(_)
            | Op::Const(_)
            | Op::ConstU(_)
            | Op::Iota { .. }
            | Op::Hole(_)
            | Op::StopGradient
            | Op::ArgMax { .. } => vec![],
        }
    }
}
