//! Rewrites of a graph that leave its values as they are and make it cheaper to run.

use std::collections::HashMap;
use std::ops::Range;

use crate::ir::{DType, Graph, NodeId, Op, Run, Scalar};

/// Most runs among which a dispatch chooses by position.
const MOST_RUNS: usize = 32;

/// The graph that `outputs` need, rewritten, and the outputs in it. Inputs keep their positions.
pub(super) fn simplify(graph: &Graph, outputs: &[NodeId]) -> (Graph, Vec<NodeId>) {
    let mut rewriter = Rewriter { graph: Graph::new(), sums: HashMap::new() };
    let mut image: HashMap<NodeId, NodeId> = HashMap::new();
    for (name, id) in graph.inputs() {
        let node = graph.node(*id);
        image.insert(*id, rewriter.graph.input(name, &node.shape, node.dtype));
    }
    let live = graph.live(outputs);
    for position in (0..live.len()).filter(|&position| live[position]) {
        let id = NodeId(position as u32);
        let node = graph.node(id);
        if matches!(node.op, Op::Input(_)) {
            continue;
        }
        let args: Vec<NodeId> = node.args.iter().map(|arg| image[arg]).collect();
        let new = rewriter.node(&node.op, &args, &node.shape, node.dtype);
        if let Some(name) = graph.name_of(id) {
            rewriter.graph.name(new, name);
        }
        image.insert(id, new);
    }
    (rewriter.graph, outputs.iter().map(|id| image[id]).collect())
}

/// A vector as a sum: of one vector and of segments, each a vector placed in zeros, that do not
/// overlap.
#[derive(Clone, Default)]
struct Segments {
    dense: Option<NodeId>,
    /// Start and values, in order.
    parts: Vec<(usize, NodeId)>,
}

struct Rewriter {
    graph: Graph,
    /// Sums of segments, by the node that was made for each.
    sums: HashMap<NodeId, Segments>,
}

impl Rewriter {
    fn node(&mut self, op: &Op, args: &[NodeId], shape: &[usize], dtype: DType) -> NodeId {
        let g = &mut self.graph;
        match op {
            Op::StopGradient => args[0],
            Op::Scalar(Scalar::Add) if shape.len() == 1 => self.add(args[0], args[1]),
            Op::Scalar(f) => g.scalar(*f, args),
            Op::Broadcast { axes } => self.broadcast(args[0], shape, axes),
            Op::Reshape => g.reshape(args[0], shape),
            Op::Permute { perm } => self.permute(args[0], perm),
            Op::Slice { start, step } => self.slice(args[0], start, shape, step),
            Op::Pad { start, step } => self.pad(args[0], start, shape, step),
            Op::Sum { axes } => self.sum(args[0], axes),
            Op::Repeat { runs } => self.repeat(args[0], runs),
            Op::SegmentSum { runs } => self.segment_sum(args[0], runs, shape[0]),
            Op::Concat => g.concat(args),
            _ => g.push(op.clone(), args.to_vec(), shape.to_vec(), dtype),
        }
    }

    fn arg(&self, id: NodeId) -> NodeId {
        self.graph.node(id).args[0]
    }

    fn broadcast(&mut self, x: NodeId, shape: &[usize], axes: &[usize]) -> NodeId {
        if let Op::Broadcast { axes: inner } = &self.graph.node(x).op {
            let axes: Vec<usize> = inner.iter().map(|&k| axes[k]).collect();
            return self.graph.broadcast(self.arg(x), shape, &axes);
        }
        self.graph.broadcast(x, shape, axes)
    }

    fn permute(&mut self, x: NodeId, perm: &[usize]) -> NodeId {
        if let Op::Permute { perm: inner } = &self.graph.node(x).op {
            let perm: Vec<usize> = perm.iter().map(|&k| inner[k]).collect();
            return self.permute(self.arg(x), &perm);
        }
        let shape = self.graph.shape(x).to_vec();
        let long: Vec<usize> = perm.iter().copied().filter(|&axis| shape[axis] > 1).collect();
        if long.is_sorted() {
            let shape: Vec<usize> = perm.iter().map(|&axis| shape[axis]).collect();
            return self.graph.reshape(x, &shape);
        }
        self.graph.permute(x, perm)
    }

    /// Sum over `axes`: axes of one element vanish, stretched ones become a factor, sums join.
    fn sum(&mut self, x: NodeId, axes: &[usize]) -> NodeId {
        let shape = self.graph.shape(x).to_vec();
        let long: Vec<usize> = axes.iter().copied().filter(|&axis| shape[axis] > 1).collect();
        if long.len() < axes.len() {
            let kept = |drop: &[usize]| (0..shape.len()).filter(|a| !drop.contains(a)).map(|a| shape[a]).collect();
            let result: Vec<usize> = kept(axes);
            let sum = self.sum_long(x, &long);
            return self.graph.reshape(sum, &result);
        }
        self.sum_long(x, axes)
    }

    fn sum_long(&mut self, x: NodeId, axes: &[usize]) -> NodeId {
        if axes.is_empty() {
            return x;
        }
        let node = self.graph.node(x).clone();
        let rest = |axes: &[usize]| (0..node.shape.len()).filter(|a| !axes.contains(a)).collect::<Vec<_>>();
        match &node.op {
            Op::Broadcast { axes: from } if node.dtype == DType::F32 => {
                let inner = self.graph.shape(node.args[0]).to_vec();
                let stretched = |axis: &usize| match from.iter().position(|a| a == axis) {
                    Some(k) => inner[k] == 1,
                    None => true,
                };
                let (free, bound): (Vec<usize>, Vec<usize>) = axes.iter().partition(|axis| stretched(axis));
                if free.is_empty() {
                    return self.graph.sum(x, axes);
                }
                // Sum what varies, stretch what is left, and count the rest.
                let count: usize = free.iter().map(|&axis| node.shape[axis]).product();
                let summed: Vec<usize> = (0..from.len()).filter(|&k| axes.contains(&from[k])).collect();
                debug_assert!(bound.iter().all(|axis| from.contains(axis)));
                let sum = self.sum(node.args[0], &summed);
                let kept = rest(axes);
                let shape: Vec<usize> = kept.iter().map(|&axis| node.shape[axis]).collect();
                let places: Vec<usize> = from.iter().filter_map(|axis| kept.iter().position(|k| k == axis)).collect();
                let sum = self.broadcast(sum, &shape, &places);
                self.graph.scale(sum, count as f64)
            }
            Op::Sum { axes: inner } => {
                let from = self.graph.shape(node.args[0]).len();
                let left: Vec<usize> = (0..from).filter(|a| !inner.contains(a)).collect();
                let mut all: Vec<usize> = inner.iter().copied().chain(axes.iter().map(|&k| left[k])).collect();
                all.sort_unstable();
                self.sum(node.args[0], &all)
            }
            _ => self.graph.sum(x, axes),
        }
    }

    /// Values repeated along runs: end to end, so many at a time.
    fn repeat(&mut self, x: NodeId, runs: &[Run]) -> NodeId {
        let parts: Vec<NodeId> = runs.chunks(MOST_RUNS).map(|runs| self.graph.repeat(x, runs)).collect();
        self.graph.concat(&parts)
    }

    /// Sums of runs: end to end, for neighbouring values that have so many together.
    fn segment_sum(&mut self, x: NodeId, runs: &[Run], count: usize) -> NodeId {
        let mut groups: Vec<Range<usize>> = vec![];
        let mut held = 0;
        for value in 0..count {
            let own = runs.iter().filter(|run| run.value == Some(value)).count().max(1);
            match groups.last_mut() {
                Some(group) if held + own <= MOST_RUNS => (group.end, held) = (value + 1, held + own),
                _ => {
                    groups.push(value..value + 1);
                    held = own;
                }
            }
        }
        let parts: Vec<NodeId> = groups.into_iter().map(|group| self.sum_of_group(x, runs, group)).collect();
        self.graph.concat(&parts)
    }

    /// The sums of a group of values: of one that alone has too many runs as a sum of sums.
    fn sum_of_group(&mut self, x: NodeId, runs: &[Run], group: Range<usize>) -> NodeId {
        let mut parts: Vec<Vec<Run>> = vec![];
        let mut held = MOST_RUNS;
        for (place, run) in runs.iter().enumerate() {
            let Some(value) = run.value.filter(|value| group.contains(value)) else { continue };
            if held == MOST_RUNS {
                parts.push(runs.iter().map(|run| Run { value: None, ..*run }).collect());
                held = 0;
            }
            held += 1;
            if let Some(part) = parts.last_mut() {
                part[place].value = Some(value - group.start);
            }
        }
        let sums: Vec<NodeId> = parts.iter().map(|part| self.graph.segment_sum(x, part, group.len())).collect();
        let sum = sums.into_iter().reduce(|a, b| self.graph.add(a, b));
        sum.unwrap_or_else(|| self.graph.full(&[group.len()], 0.0))
    }

    fn slice(&mut self, x: NodeId, start: &[usize], shape: &[usize], step: &[usize]) -> NodeId {
        let node = self.graph.node(x).clone();
        match &node.op {
            Op::Slice { start: inner, step: by } => {
                let start: Vec<usize> = (0..start.len()).map(|k| inner[k] + start[k] * by[k]).collect();
                let step: Vec<usize> = (0..step.len()).map(|k| step[k] * by[k]).collect();
                self.slice(node.args[0], &start, shape, &step)
            }
            _ if shape.len() == 1 && step == [1] => self.segment(x, start[0], shape[0]),
            _ => self.graph.slice(x, start, shape, step),
        }
    }

    /// A run of a vector; of a single part of a concatenation or of zeros around a vector, that part's.
    fn segment(&mut self, x: NodeId, start: usize, length: usize) -> NodeId {
        let node = self.graph.node(x).clone();
        let mut parts = match (&node.op, node.dtype) {
            (Op::Concat, _) => {
                let mut end = 0;
                let place = |&part: &NodeId| {
                    end += self.graph.shape(part)[0];
                    (end - self.graph.shape(part)[0], part)
                };
                node.args.iter().map(place).collect()
            }
            (Op::Pad { start, step }, DType::F32) if *step == [1] => vec![(start[0], node.args[0])],
            _ => return self.graph.segment(x, start, length),
        };
        parts.retain(|&(at, part)| at < start + length && start < at + self.graph.shape(part)[0]);
        match parts.as_slice() {
            [] => self.graph.full(&[length], 0.0),
            &[(at, part)] if at <= start && start + length <= at + self.graph.shape(part)[0] => {
                self.segment(part, start - at, length)
            }
            _ => self.graph.segment(x, start, length),
        }
    }

    fn pad(&mut self, x: NodeId, start: &[usize], shape: &[usize], step: &[usize]) -> NodeId {
        let padded = self.graph.pad(x, start, shape, step);
        if shape.len() == 1 && step == [1] && matches!(self.graph.node(padded).op, Op::Pad { .. }) {
            self.sums.insert(padded, Segments { dense: None, parts: vec![(start[0], x)] });
        }
        padded
    }

    /// Sum of vectors: what transposed slices place in zeros is put end to end.
    fn add(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let segments = |id: NodeId| self.sums.get(&id).cloned().unwrap_or(Segments { dense: Some(id), parts: vec![] });
        let (left, right) = (segments(a), segments(b));
        if left.parts.is_empty() && right.parts.is_empty() {
            return self.graph.add(a, b);
        }
        let length = self.graph.shape(a)[0];
        let Some(parts) = self.joined(left.parts, right.parts) else { return self.graph.add(a, b) };
        let dense = match (left.dense, right.dense) {
            (Some(a), Some(b)) => Some(self.graph.add(a, b)),
            (a, b) => a.or(b),
        };
        let placed = self.placed(&parts, length);
        let sum = dense.map_or(placed, |dense| self.graph.add(dense, placed));
        self.sums.insert(sum, Segments { dense, parts });
        sum
    }

    /// Both lists of segments as one: equal ranges are added; `None` if others overlap.
    fn joined(&mut self, a: Vec<(usize, NodeId)>, b: Vec<(usize, NodeId)>) -> Option<Vec<(usize, NodeId)>> {
        let mut parts = a;
        for (start, part) in b {
            let length = self.graph.shape(part)[0];
            let overlaps =
                |&(at, other): &(usize, NodeId)| at < start + length && start < at + self.graph.shape(other)[0];
            match parts.iter().position(overlaps) {
                None => parts.push((start, part)),
                Some(k) => {
                    let (at, other) = parts[k];
                    if at != start || self.graph.shape(other)[0] != length {
                        return None;
                    }
                    parts[k].1 = self.add(other, part);
                }
            }
        }
        parts.sort_unstable();
        Some(parts)
    }

    fn placed(&mut self, parts: &[(usize, NodeId)], length: usize) -> NodeId {
        if let &[(start, part)] = parts {
            return self.graph.pad(part, &[start], &[length], &[1]);
        }
        let mut pieces = vec![];
        let mut end = 0;
        for &(start, part) in parts {
            if start > end {
                pieces.push(self.graph.full(&[start - end], 0.0));
            }
            pieces.push(part);
            end = start + self.graph.shape(part)[0];
        }
        if end < length {
            pieces.push(self.graph.full(&[length - end], 0.0));
        }
        self.graph.concat(&pieces)
    }
}
