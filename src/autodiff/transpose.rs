//! Pulling cotangents back through the linear part of a graph.

use crate::ir::{ConvFace, DType, Graph, NodeId, Op, Scalar};

/// Cotangents of `holes`, for `outputs` (node, cotangent) that are linear in them. `None` where no
/// output depends on a hole.
pub(super) fn transpose(g: &mut Graph, outputs: &[(NodeId, NodeId)], holes: &[NodeId]) -> Vec<Option<NodeId>> {
    let Some(last) = outputs.iter().map(|(o, _)| o.index()).max() else {
        return vec![None; holes.len()];
    };
    let mut depends = vec![false; last + 1];
    for hole in holes.iter().filter(|h| h.index() <= last) {
        depends[hole.index()] = true;
    }
    for position in 0..=last {
        let args = &g.nodes()[position].args;
        depends[position] |= args.iter().any(|a| depends[a.index()]);
    }
    let mut cotangents: Vec<Option<NodeId>> = vec![None; last + 1];
    for &(output, cotangent) in outputs.iter().filter(|(o, _)| depends[o.index()]) {
        accumulate(g, &mut cotangents[output.index()], cotangent);
    }
    for position in (0..=last).rev() {
        let (true, Some(ct)) = (depends[position], cotangents[position]) else { continue };
        let node = g.nodes()[position].clone();
        for slot in 0..node.args.len() {
            if depends[node.args[slot].index()] {
                let pulled = pull(g, NodeId(position as u32), slot, ct);
                accumulate(g, &mut cotangents[node.args[slot].index()], pulled);
            }
        }
    }
    holes.iter().map(|h| cotangents.get(h.index()).copied().flatten()).collect()
}

fn accumulate(g: &mut Graph, sum: &mut Option<NodeId>, term: NodeId) {
    *sum = Some(match *sum {
        Some(so_far) => {
            let selected = Selected::of(g, so_far).zip(Selected::of(g, term));
            match selected.filter(|(a, b)| (a.condition, a.otherwise) == (b.condition, b.otherwise)) {
                Some((a, b)) => {
                    let both = g.add(a.value, b.value);
                    a.with(g, both)
                }
                None => g.add(so_far, term),
            }
        }
        None => term,
    });
}

/// A cotangent that is a value on one side of a selection and zero on the other. What multiplies it goes inside, so
/// that the side which was not taken stays zero whatever its derivative is: there 0 · ∞ would be no number.
#[derive(Clone, Copy)]
struct Selected {
    condition: NodeId,
    value: NodeId,
    zero: NodeId,
    /// Whether the value stands where the condition does not hold.
    otherwise: bool,
}

impl Selected {
    fn of(g: &Graph, cotangent: NodeId) -> Option<Self> {
        let node = g.node(cotangent);
        let (Op::Scalar(Scalar::Select), &[condition, a, b]) = (&node.op, &node.args[..]) else { return None };
        match [a, b].map(|side| g.as_const(side) == Some(0.0)) {
            [false, true] => Some(Selected { condition, value: a, zero: b, otherwise: false }),
            [true, false] => Some(Selected { condition, value: b, zero: a, otherwise: true }),
            _ => None,
        }
    }

    /// The same selection of another value.
    fn with(self, g: &mut Graph, value: NodeId) -> NodeId {
        let (a, b) = if self.otherwise { (self.zero, value) } else { (value, self.zero) };
        g.select(self.condition, a, b)
    }
}

/// What becomes of a cotangent, or of the value inside its selection.
fn inside(g: &mut Graph, cotangent: NodeId, pull: impl Fn(&mut Graph, NodeId) -> NodeId) -> NodeId {
    match Selected::of(g, cotangent) {
        Some(selected) => {
            let value = pull(g, selected.value);
            selected.with(g, value)
        }
        None => pull(g, cotangent),
    }
}

/// The cotangent that `slot` of a linear node receives from the node's cotangent `ct`.
fn pull(g: &mut Graph, id: NodeId, slot: usize, ct: NodeId) -> NodeId {
    let node = g.node(id).clone();
    let shape = g.shape(node.args[slot]).to_vec();
    match node.op {
        Op::Scalar(Scalar::Add) => ct,
        Op::Scalar(Scalar::Neg) => inside(g, ct, |g, ct| g.neg(ct)),
        Op::Scalar(Scalar::Mul) => inside(g, ct, |g, ct| g.mul(ct, node.args[1 - slot])),
        Op::Scalar(Scalar::Select) => {
            let zero = g.full(&node.shape, 0.0);
            let (a, b) = if slot == 1 { (ct, zero) } else { (zero, ct) };
            g.select(node.args[0], a, b)
        }
        Op::Broadcast { axes } => {
            let mut kept = axes.iter().enumerate().filter(|(k, axis)| shape[*k] == node.shape[**axis]);
            let kept: Vec<usize> = kept.by_ref().map(|(_, &axis)| axis).collect();
            let summed: Vec<usize> = (0..node.shape.len()).filter(|a| !kept.contains(a)).collect();
            let sum = g.sum(ct, &summed);
            g.reshape(sum, &shape)
        }
        Op::Sum { axes } => {
            let kept: Vec<usize> = (0..shape.len()).filter(|a| !axes.contains(a)).collect();
            g.broadcast(ct, &shape, &kept)
        }
        Op::Reshape => g.reshape(ct, &shape),
        Op::Permute { perm } => {
            let mut inverse = vec![0; perm.len()];
            perm.iter().enumerate().for_each(|(k, &p)| inverse[p] = k);
            g.permute(ct, &inverse)
        }
        Op::Slice { start, step } => g.pad(ct, &start, &shape, &step),
        Op::Pad { start, step } => g.slice(ct, &start, &shape, &step),
        Op::Repeat { runs } => g.segment_sum(ct, &runs, shape[0]),
        Op::SegmentSum { runs } => g.repeat(ct, &runs),
        Op::Concat => {
            let before = node.args[..slot].iter().map(|&a| g.shape(a)[0]).sum();
            g.segment(ct, before, shape[0])
        }
        Op::MatMul { transpose: [ta, tb] } => {
            let [a, b] = [node.args[0], node.args[1]];
            match (slot, ta, tb) {
                (0, false, _) => g.matmul(ct, b, [false, !tb]),
                (0, true, _) => g.matmul(b, ct, [tb, true]),
                (_, _, false) => g.matmul(a, ct, [!ta, false]),
                (_, _, true) => g.matmul(ct, a, [true, ta]),
            }
        }
        Op::Conv { face, geometry } => {
            let other = node.args[1 - slot];
            let (face, a, b) = match (face, slot) {
                (ConvFace::Output, 0) => (ConvFace::Input, ct, other),
                (ConvFace::Output, _) => (ConvFace::Kernel, other, ct),
                (ConvFace::Input, 0) => (ConvFace::Output, ct, other),
                (ConvFace::Input, _) => (ConvFace::Kernel, ct, other),
                (ConvFace::Kernel, 0) => (ConvFace::Input, other, ct),
                (ConvFace::Kernel, _) => (ConvFace::Output, other, ct),
            };
            g.conv(face, geometry, a, b)
        }
        Op::TakeRows => scatter_rows(g, ct, node.args[1], &shape),
        op => unreachable!("%{} = {op:?} is not linear in slot {slot}", id.0),
    }
}

/// Σ over b of `rows[b]` placed at `index[b]`: each target row sums the rows that name it, so no two
/// writers meet and the order of the sum is fixed.
fn scatter_rows(g: &mut Graph, rows: NodeId, index: NodeId, shape: &[usize]) -> NodeId {
    debug_assert_eq!(g.dtype(index), DType::U32);
    let batch = g.shape(index)[0];
    let mut wide = vec![batch];
    wide.extend_from_slice(shape);
    let row_axes: Vec<usize> = std::iter::once(0).chain(2..wide.len()).collect();
    let rows = g.broadcast(rows, &wide, &row_axes);
    let index = g.broadcast(index, &wide, &[0]);
    let target = g.iota(&wide, 1);
    let hit = g.eq_u(target, index);
    let zero = g.full(&wide, 0.0);
    let kept = g.select(hit, rows, zero);
    g.sum(kept, &[0])
}
