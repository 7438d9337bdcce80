//! Builder methods: one a primitive, with shape checks, and the few compositions every layer uses.
//!
//! A shape that does not fit is a mistake of the caller's code, not of a user's input, so these
//! methods panic with both shapes; sizes that come from users are checked in `nn`.

use super::{ConvFace, ConvGeometry, DType, Graph, NodeId, Op, Run, Scalar, numel};

impl Graph {
    // Leaves.

    /// A float array filled with one value.
    pub fn full(&mut self, shape: &[usize], value: f64) -> NodeId {
        self.push(Op::Const(value.to_bits()), vec![], shape.to_vec(), DType::F32)
    }

    /// A word array filled with one value.
    pub fn full_u(&mut self, shape: &[usize], value: u32) -> NodeId {
        self.push(Op::ConstU(value), vec![], shape.to_vec(), DType::U32)
    }

    /// The coordinate along `axis`, as words.
    pub fn iota(&mut self, shape: &[usize], axis: usize) -> NodeId {
        assert!(axis < shape.len(), "iota over axis {axis} of {shape:?}");
        self.push(Op::Iota { axis }, vec![], shape.to_vec(), DType::U32)
    }

    /// The constant a node holds everywhere, if it is one.
    pub fn as_const(&self, id: NodeId) -> Option<f64> {
        match self.node(id).op {
            Op::Const(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    // Pointwise.

    /// Applies a scalar function to arrays of one shape.
    pub fn scalar(&mut self, f: Scalar, args: &[NodeId]) -> NodeId {
        let (types, mut result) = f.signature();
        assert_eq!(args.len(), types.len(), "{f:?} takes {} arguments", types.len());
        let shape = self.shape(args[0]).to_vec();
        for (position, &arg) in args.iter().enumerate() {
            assert_eq!(self.shape(arg), shape, "{f:?}: shapes differ");
            let selects_words = f == Scalar::Select && position > 0;
            assert!(selects_words || self.dtype(arg) == types[position], "{f:?}: type of argument {position}");
        }
        if f == Scalar::Select {
            assert_eq!(self.dtype(args[1]), self.dtype(args[2]), "select: types differ");
            result = self.dtype(args[1]);
        }
        if let Some(simpler) = self.simpler(f, args) {
            return simpler;
        }
        self.push(Op::Scalar(f), args.to_vec(), shape, result)
    }

    /// Identities that derivatives produce in numbers: x + 0, x · 1, x · 0, −(−x), constants.
    fn simpler(&mut self, f: Scalar, args: &[NodeId]) -> Option<NodeId> {
        let shape = self.shape(args[0]).to_vec();
        let constants: Vec<Option<f64>> = args.iter().map(|&a| self.as_const(a)).collect();
        match (f, constants.as_slice()) {
            (Scalar::Add, [Some(0.0), _]) => Some(args[1]),
            (Scalar::Add, [_, Some(0.0)]) => Some(args[0]),
            (Scalar::Mul, [Some(1.0), _]) => Some(args[1]),
            (Scalar::Mul, [_, Some(1.0)]) => Some(args[0]),
            (Scalar::Mul, [Some(0.0), _] | [_, Some(0.0)]) => Some(self.full(&shape, 0.0)),
            (Scalar::Mul, [Some(-1.0), None]) => Some(self.neg(args[1])),
            (Scalar::Mul, [None, Some(-1.0)]) => Some(self.neg(args[0])),
            (Scalar::Select, [_, Some(a), Some(b)]) if a == b => Some(args[1]),
            (Scalar::Neg, [None]) => match self.node(args[0]).op {
                Op::Scalar(Scalar::Neg) => Some(self.node(args[0]).args[0]),
                _ => None,
            },
            (Scalar::Lt | Scalar::NonFinite, _) => None,
            (_, all) if all.iter().all(Option::is_some) && f.signature().1 == DType::F32 => {
                let values: Vec<f64> = all.iter().flatten().copied().collect();
                Some(self.full(&shape, f.eval(&values)))
            }
            _ => None,
        }
    }

    /// Stretches two arrays to their common shape (NumPy's rule).
    pub fn align(&mut self, a: NodeId, b: NodeId) -> (NodeId, NodeId) {
        let (sa, sb) = (self.shape(a).to_vec(), self.shape(b).to_vec());
        let rank = sa.len().max(sb.len());
        let size = |s: &[usize], axis: usize| (axis + s.len()).checked_sub(rank).map_or(1, |k| s[k]);
        let shape: Vec<usize> = (0..rank)
            .map(|axis| match (size(&sa, axis), size(&sb, axis)) {
                (x, y) if x == y => x,
                (1, y) => y,
                (x, 1) => x,
                _ => panic!("shapes {sa:?} and {sb:?} do not broadcast"),
            })
            .collect();
        (self.broadcast_to(a, &shape), self.broadcast_to(b, &shape))
    }

    fn binary(&mut self, f: Scalar, a: NodeId, b: NodeId) -> NodeId {
        let (a, b) = self.align(a, b);
        self.scalar(f, &[a, b])
    }

    /// a + b; both broadcast.
    pub fn add(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(Scalar::Add, a, b)
    }

    /// a − b; both broadcast.
    pub fn sub(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let b = self.neg(b);
        self.add(a, b)
    }

    /// a · b, element by element; both broadcast.
    pub fn mul(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(Scalar::Mul, a, b)
    }

    /// a / b; both broadcast.
    pub fn div(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let b = self.recip(b);
        self.mul(a, b)
    }

    /// a < b of floats, as a condition.
    pub fn lt(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(Scalar::Lt, a, b)
    }

    /// Equality of words, as a condition.
    pub fn eq_u(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(Scalar::EqU, a, b)
    }

    /// −x.
    pub fn neg(&mut self, x: NodeId) -> NodeId {
        self.scalar(Scalar::Neg, &[x])
    }

    /// 1 / x.
    pub fn recip(&mut self, x: NodeId) -> NodeId {
        self.scalar(Scalar::Recip, &[x])
    }

    /// Where the condition holds `a`, else `b`; all broadcast together.
    pub fn select(&mut self, condition: NodeId, a: NodeId, b: NodeId) -> NodeId {
        let (a, b) = self.align(a, b);
        let (condition, a) = self.align(condition, a);
        let (a, b) = self.align(a, b);
        self.scalar(Scalar::Select, &[condition, a, b])
    }

    /// x · value.
    pub fn scale(&mut self, x: NodeId, value: f64) -> NodeId {
        let shape = self.shape(x).to_vec();
        let value = self.full(&shape, value);
        self.mul(x, value)
    }

    /// x + value.
    pub fn offset(&mut self, x: NodeId, value: f64) -> NodeId {
        let shape = self.shape(x).to_vec();
        let value = self.full(&shape, value);
        self.add(x, value)
    }

    // Shape.

    /// Stretches to `shape` by NumPy's rule: axes align at the end.
    pub fn broadcast_to(&mut self, x: NodeId, shape: &[usize]) -> NodeId {
        let rank = self.shape(x).len();
        let axes = (shape.len() - rank..shape.len()).collect::<Vec<_>>();
        self.broadcast(x, shape, &axes)
    }

    /// Argument axis k becomes result axis `axes[k]`.
    pub fn broadcast(&mut self, x: NodeId, shape: &[usize], axes: &[usize]) -> NodeId {
        let from = self.shape(x).to_vec();
        assert!(axes.windows(2).all(|w| w[0] < w[1]) && axes.len() == from.len(), "broadcast axes {axes:?}");
        for (k, &axis) in axes.iter().enumerate() {
            assert!(from[k] == shape[axis] || from[k] == 1, "cannot stretch {from:?} to {shape:?} along {axes:?}");
        }
        if from == shape {
            return x;
        }
        match self.node(x).op {
            Op::Const(bits) => self.full(shape, f64::from_bits(bits)),
            Op::ConstU(word) => self.full_u(shape, word),
            _ => {
                let dtype = self.dtype(x);
                self.push(Op::Broadcast { axes: axes.to_vec() }, vec![x], shape.to_vec(), dtype)
            }
        }
    }

    /// The same elements in row-major order under another shape of as many.
    pub fn reshape(&mut self, x: NodeId, shape: &[usize]) -> NodeId {
        assert_eq!(numel(self.shape(x)), numel(shape), "reshape {:?} to {shape:?}", self.shape(x));
        if self.shape(x) == shape {
            return x;
        }
        match self.node(x).op {
            Op::Const(bits) => self.full(shape, f64::from_bits(bits)),
            Op::ConstU(word) => self.full_u(shape, word),
            Op::Reshape => {
                let inner = self.node(x).args[0];
                self.reshape(inner, shape)
            }
            _ => {
                let dtype = self.dtype(x);
                self.push(Op::Reshape, vec![x], shape.to_vec(), dtype)
            }
        }
    }

    /// Axes in another order: result axis k is argument axis `perm[k]`.
    pub fn permute(&mut self, x: NodeId, perm: &[usize]) -> NodeId {
        if perm.iter().enumerate().all(|(k, &p)| k == p) {
            return x;
        }
        let shape: Vec<usize> = perm.iter().map(|&p| self.shape(x)[p]).collect();
        let dtype = self.dtype(x);
        self.push(Op::Permute { perm: perm.to_vec() }, vec![x], shape, dtype)
    }

    /// Elements `start, start + step, …` along each axis, as many as `shape` says.
    pub fn slice(&mut self, x: NodeId, start: &[usize], shape: &[usize], step: &[usize]) -> NodeId {
        let from = self.shape(x).to_vec();
        for axis in 0..from.len() {
            let last = start[axis] + (shape[axis].max(1) - 1) * step[axis];
            assert!(last < from[axis], "slice {start:?} {shape:?} {step:?} of {from:?}");
        }
        if from == shape {
            return x;
        }
        if let Op::Const(bits) = self.node(x).op {
            return self.full(shape, f64::from_bits(bits));
        }
        let dtype = self.dtype(x);
        self.push(Op::Slice { start: start.to_vec(), step: step.to_vec() }, vec![x], shape.to_vec(), dtype)
    }

    /// `length` elements of a vector from `start`.
    pub fn segment(&mut self, x: NodeId, start: usize, length: usize) -> NodeId {
        self.slice(x, &[start], &[length], &[1])
    }

    /// Places the argument at `start + k·step` in zeros of the given shape.
    pub fn pad(&mut self, x: NodeId, start: &[usize], shape: &[usize], step: &[usize]) -> NodeId {
        let from = self.shape(x).to_vec();
        for axis in 0..from.len() {
            let last = start[axis] + (from[axis].max(1) - 1) * step[axis];
            assert!(last < shape[axis], "pad {from:?} into {shape:?} at {start:?} by {step:?}");
        }
        if from == shape {
            return x;
        }
        if self.as_const(x) == Some(0.0) {
            return self.full(shape, 0.0);
        }
        let dtype = self.dtype(x);
        self.push(Op::Pad { start: start.to_vec(), step: step.to_vec() }, vec![x], shape.to_vec(), dtype)
    }

    /// Vectors end to end.
    pub fn concat(&mut self, parts: &[NodeId]) -> NodeId {
        if let [only] = parts {
            return *only;
        }
        let length = parts.iter().map(|&p| self.shape(p)[0]).sum();
        for &part in parts {
            assert_eq!(self.shape(part).len(), 1, "concat takes vectors");
        }
        let dtype = self.dtype(parts[0]);
        self.push(Op::Concat, parts.to_vec(), vec![length], dtype)
    }

    /// Each run filled with its value of the vector `x`; zero in gaps.
    pub fn repeat(&mut self, x: NodeId, runs: &[Run]) -> NodeId {
        let from = self.shape(x).to_vec();
        assert_eq!(from.len(), 1, "repeat takes a vector");
        let (runs, length) = joined(runs, from[0]);
        if self.as_const(x) == Some(0.0) {
            return self.full(&[length], 0.0);
        }
        let dtype = self.dtype(x);
        self.push(Op::Repeat { runs }, vec![x], vec![length], dtype)
    }

    /// For each of `count` values the sum of its runs of the vector `x`.
    pub fn segment_sum(&mut self, x: NodeId, runs: &[Run], count: usize) -> NodeId {
        let (runs, length) = joined(runs, count);
        assert_eq!(self.shape(x), [length], "segment sum of runs of {length} elements");
        if self.as_const(x) == Some(0.0) {
            return self.full(&[count], 0.0);
        }
        let dtype = self.dtype(x);
        self.push(Op::SegmentSum { runs }, vec![x], vec![count], dtype)
    }

    /// The same value, without a derivative.
    pub fn stop_gradient(&mut self, x: NodeId) -> NodeId {
        let (shape, dtype) = (self.shape(x).to_vec(), self.dtype(x));
        self.push(Op::StopGradient, vec![x], shape, dtype)
    }

    // Sums.

    /// Sum over `axes`, which vanish.
    pub fn sum(&mut self, x: NodeId, axes: &[usize]) -> NodeId {
        if axes.is_empty() {
            return x;
        }
        let from = self.shape(x).to_vec();
        let shape: Vec<usize> = (0..from.len()).filter(|a| !axes.contains(a)).map(|a| from[a]).collect();
        if let Some(value) = self.as_const(x) {
            let count: usize = axes.iter().map(|&a| from[a]).product();
            return self.full(&shape, value * count as f64);
        }
        let dtype = self.dtype(x);
        self.push(Op::Sum { axes: axes.to_vec() }, vec![x], shape, dtype)
    }

    /// Sum of all elements: a scalar, shape `[]`.
    pub fn sum_all(&mut self, x: NodeId) -> NodeId {
        let axes: Vec<usize> = (0..self.shape(x).len()).collect();
        self.sum(x, &axes)
    }

    /// Mean over `axes`, kept with size 1.
    pub fn mean_keep(&mut self, x: NodeId, axes: &[usize]) -> NodeId {
        let mut shape = self.shape(x).to_vec();
        let count: usize = axes.iter().map(|&a| shape[a]).product();
        axes.iter().for_each(|&a| shape[a] = 1);
        let sum = self.sum(x, axes);
        let sum = self.reshape(sum, &shape);
        self.scale(sum, 1.0 / count as f64)
    }

    // Contractions.

    /// `[g, m, k] · [g, k, n]`, an operand stored with its last two axes swapped where flagged.
    pub fn matmul(&mut self, a: NodeId, b: NodeId, transpose: [bool; 2]) -> NodeId {
        let (sa, sb) = (self.shape(a).to_vec(), self.shape(b).to_vec());
        assert!(sa.len() == 3 && sb.len() == 3 && sa[0] == sb[0], "matmul of {sa:?} and {sb:?}");
        let (m, k) = if transpose[0] { (sa[2], sa[1]) } else { (sa[1], sa[2]) };
        let (inner, n) = if transpose[1] { (sb[2], sb[1]) } else { (sb[1], sb[2]) };
        assert_eq!(k, inner, "matmul of {sa:?} and {sb:?}, transposed {transpose:?}");
        self.push(Op::MatMul { transpose }, vec![a, b], vec![sa[0], m, n], DType::F32)
    }

    /// One face of a convolution; see [`ConvFace`].
    pub fn conv(&mut self, face: ConvFace, geometry: ConvGeometry, a: NodeId, b: NodeId) -> NodeId {
        let (sa, sb) = (self.shape(a).to_vec(), self.shape(b).to_vec());
        assert!(sa.len() == 5 && sb.len() == 5 && sa[0] == sb[0], "conv of {sa:?} and {sb:?}");
        let ConvGeometry { input: [h, w], kernel: [kh, kw], output: [oh, ow], .. } = geometry;
        let shape = match face {
            ConvFace::Output => vec![sa[0], sa[1], oh, ow, sb[4]],
            ConvFace::Input => vec![sa[0], sa[1], h, w, sb[3]],
            ConvFace::Kernel => vec![sa[0], kh, kw, sa[4], sb[4]],
        };
        self.push(Op::Conv { face, geometry }, vec![a, b], shape, DType::F32)
    }

    // Rows and indices.

    /// Rows of `data` (`[n, …]`) at `index` (`[b]`, words below n). All rows in order are the data itself.
    pub fn take_rows(&mut self, data: NodeId, index: NodeId) -> NodeId {
        let mut shape = self.shape(data).to_vec();
        assert!(self.shape(index).len() == 1 && self.dtype(index) == DType::U32, "take_rows index");
        if matches!(self.node(index).op, Op::Iota { .. }) && self.shape(index)[0] == shape[0] {
            return data;
        }
        shape[0] = self.shape(index)[0];
        let dtype = self.dtype(data);
        self.push(Op::TakeRows, vec![data, index], shape, dtype)
    }

    /// Lowest index of the largest element along `axis`, which vanishes.
    pub fn argmax(&mut self, x: NodeId, axis: usize) -> NodeId {
        let mut shape = self.shape(x).to_vec();
        shape.remove(axis);
        self.push(Op::ArgMax { axis }, vec![x], shape, DType::U32)
    }

    /// The element of each row along `axis` that `index` (the shape without that axis) names.
    pub fn pick(&mut self, x: NodeId, index: NodeId, axis: usize) -> NodeId {
        let shape = self.shape(x).to_vec();
        let axes: Vec<usize> = (0..shape.len()).filter(|&a| a != axis).collect();
        let index = self.broadcast(index, &shape, &axes);
        let position = self.iota(&shape, axis);
        let chosen = self.eq_u(position, index);
        let zero = self.full(&shape, 0.0);
        let kept = self.select(chosen, x, zero);
        self.sum(kept, &[axis])
    }

    /// Largest element along `axis`, which vanishes; the derivative goes to the first of equals.
    pub fn max(&mut self, x: NodeId, axis: usize) -> NodeId {
        let index = self.argmax(x, axis);
        self.pick(x, index, axis)
    }
}

/// Runs of `count` values, neighbours of the same value as one, and their length altogether.
fn joined(runs: &[Run], count: usize) -> (Vec<Run>, usize) {
    let mut joined: Vec<Run> = vec![];
    for run in runs.iter().filter(|run| run.length > 0) {
        assert!(run.value.is_none_or(|value| value < count), "{run:?} of {count} values");
        match joined.last_mut() {
            Some(last) if last.value == run.value => last.length += run.length,
            _ => joined.push(*run),
        }
    }
    let length = joined.iter().map(|run| run.length).sum();
    (joined, length)
}
