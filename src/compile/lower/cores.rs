//! The loops of dispatches: reductions, and contractions as implicit matrix products.

use super::runs::Chunks;
use super::{Lowering, reduced};
use crate::compile::index::{EmitWords, Inside, Word};
use crate::compile::{BufferIndex, Core, Expr, ExprId, MAX_EXTENT};
use crate::ir::{ConvFace, ConvGeometry, DType, Graph, Node, NodeId, Op, numel};

/// Axes of a core's loop nest: those of the result, and those summed over.
struct Nest {
    batch: Vec<usize>,
    rows: Vec<usize>,
    cols: Vec<usize>,
    extent: Vec<usize>,
}

/// What a core computes at one point of its loop nest.
enum Body {
    Reduce(ExprId),
    ArgMax(ExprId),
    Contract(ExprId, ExprId),
}

/// How many invocations a sum should keep busy, and the shortest sum worth cutting. Fixed numbers, so
/// that a sum's order does not depend on the device.
const PARALLEL: usize = 4096;
const LONG: usize = 512;

impl Nest {
    fn domain(&self) -> Vec<usize> {
        [self.batch.as_slice(), &self.rows, &self.cols].concat()
    }

    fn length(&self) -> usize {
        self.extent.iter().product()
    }

    /// Size of the axis to cut into parts, and the parts: as many as keep a device busy, but no more
    /// than a part has terms; and no part longer than a loop may be. The axis is the outermost one if
    /// it is long enough, else all axes as one.
    fn cut(&self) -> (usize, usize) {
        let (outer, length) = (self.extent[0], self.length());
        let wanted = (PARALLEL / numel(&self.domain())).min(length.isqrt());
        let wanted = if length < LONG || wanted < 4 { 1 } else { wanted };
        let least = outer.div_ceil(MAX_EXTENT / (length / outer).min(MAX_EXTENT));
        let fits = length / outer <= MAX_EXTENT && least <= outer && 2 * outer >= wanted;
        let (axis, least, most) =
            if fits { (outer, least, wanted.min(outer)) } else { (length, length.div_ceil(MAX_EXTENT), wanted) };
        let most = most.max(least);
        // Equal parts need no guard.
        let equal = (least.max(most / 2)..=most).rev().find(|&parts| axis.is_multiple_of(parts));
        (axis, equal.unwrap_or_else(|| axis.div_ceil(axis.div_ceil(most))))
    }
}

/// The loop nest of a core node.
fn nest(graph: &Graph, node: &Node) -> Nest {
    let shape = &node.shape;
    let mut nest = match &node.op {
        Op::MatMul { .. } => {
            Nest { batch: vec![shape[0]], rows: vec![shape[1]], cols: vec![shape[2]], extent: vec![inner(graph, node)] }
        }
        Op::Conv { face, geometry } => {
            let [kh, kw] = geometry.kernel;
            let extent = match face {
                ConvFace::Output => vec![kh, kw, graph.shape(node.args[0])[4]],
                ConvFace::Input => vec![kh, kw, graph.shape(node.args[0])[4]],
                ConvFace::Kernel => {
                    let [oh, ow] = geometry.output;
                    vec![graph.shape(node.args[0])[1], oh, ow]
                }
            };
            Nest { batch: vec![shape[0]], rows: shape[1..4].to_vec(), cols: vec![shape[4]], extent }
        }
        _ => {
            let from = graph.shape(node.args[0]);
            let axes = reduced(node).unwrap_or_default();
            let extent = runs(&axes).iter().map(|run| run.iter().map(|&a| from[a]).product()).collect();
            Nest { batch: vec![], rows: shape.clone(), cols: vec![], extent }
        }
    };
    for axes in [&mut nest.batch, &mut nest.rows, &mut nest.cols, &mut nest.extent] {
        axes.retain(|&size| size > 1);
    }
    if nest.domain().is_empty() {
        nest.rows.push(1);
    }
    if nest.extent.is_empty() {
        nest.extent.push(1);
    }
    nest
}

/// Length of the axis a matrix product sums over.
fn inner(graph: &Graph, node: &Node) -> usize {
    let Op::MatMul { transpose } = node.op else { return 1 };
    graph.shape(node.args[0])[if transpose[0] { 1 } else { 2 }]
}

/// Neighbouring axes together.
fn runs(axes: &[usize]) -> Vec<Vec<usize>> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    let mut runs: Vec<Vec<usize>> = vec![];
    for axis in sorted {
        match runs.last_mut() {
            Some(run) if run.last() == Some(&(axis - 1)) => run.push(axis),
            _ => runs.push(vec![axis]),
        }
    }
    runs
}

/// Words of axes with unit ones put back; the axis that stands for none has no place.
fn with_units(words: &[Word], shape: &[usize]) -> Vec<Word> {
    let mut words = words.iter();
    shape.iter().map(|&n| if n > 1 { words.next().cloned() } else { None }.unwrap_or(Word::constant(0))).collect()
}

impl Lowering<'_> {
    /// What the core computes at the element with the given coordinates in its result and its sum.
    fn body(&mut self, node: &Node, out: &[Word], sum: &[Word], guard: Option<ExprId>) -> Body {
        let out = with_units(out, &node.shape);
        match &node.op {
            Op::MatMul { transpose } => {
                let inner = with_units(sum, &[inner(self.graph, node)]).remove(0);
                let (g, m, n) = (&out[0], &out[1], &out[2]);
                let operand = |swap: bool, row: &Word, col: &Word| {
                    if swap { [g.clone(), col.clone(), row.clone()] } else { [g.clone(), row.clone(), col.clone()] }
                };
                let a = self.operand(node.args[0], &operand(transpose[0], m, &inner), guard);
                let b = self.operand(node.args[1], &operand(transpose[1], &inner, n), guard);
                Body::Contract(a, b)
            }
            Op::Conv { face, geometry } => self.conv(node, *face, geometry, &out, sum, guard),
            _ => {
                let axes = reduced(node).unwrap_or_default();
                let from = self.graph.shape(node.args[0]);
                let mut index = vec![Word::constant(0); from.len()];
                let kept = (0..from.len()).filter(|axis| !axes.contains(axis));
                kept.zip(&out).for_each(|(axis, word)| index[axis] = word.clone());
                let long: Vec<Vec<usize>> = runs(&axes);
                let sizes: Vec<usize> = long.iter().map(|run| run.iter().map(|&a| from[a]).product()).collect();
                for (run, word) in long.iter().zip(with_units(sum, &sizes)) {
                    let shape: Vec<usize> = run.iter().map(|&a| from[a]).collect();
                    let words = self.unravel(&word, &shape, guard);
                    run.iter().zip(words).for_each(|(&axis, word)| index[axis] = word);
                }
                let value = self.operand(node.args[0], &index, guard);
                if matches!(node.op, Op::Sum { .. }) { Body::Reduce(value) } else { Body::ArgMax(value) }
            }
        }
    }

    /// A value inside a core; zero where the guard fails.
    pub(super) fn operand(&mut self, node: NodeId, index: &[Word], guard: Option<ExprId>) -> ExprId {
        let value = self.value(node, index, guard);
        self.guarded(value, guard, self.graph.dtype(node))
    }

    fn conv(
        &mut self,
        node: &Node,
        face: ConvFace,
        geometry: &ConvGeometry,
        out: &[Word],
        sum: &[Word],
        guard: Option<ExprId>,
    ) -> Body {
        let ConvGeometry { input, kernel, output, stride, pad } = *geometry;
        let channels = self.graph.shape(node.args[0])[4];
        let examples = self.graph.shape(node.args[0])[1];
        let sizes = match face {
            ConvFace::Kernel => [examples, output[0], output[1]],
            _ => [kernel[0], kernel[1], channels],
        };
        let sum = with_units(sum, &sizes);
        let group = &out[0];
        // Along each spatial axis, the input position s·p + d − pad or the output position
        // (h + pad − d) / s, and where it exists.
        let mut inside = Some(None);
        let mut place = |me: &mut Self, word: &Word, step: usize, count: usize| {
            let Some((word, condition)) = me.stepped(word, step, count, guard) else {
                inside = None;
                return Word::constant(0);
            };
            inside = inside.map(|all| me.exprs.both(all, condition));
            word
        };
        let (a, b) = match face {
            ConvFace::Output | ConvFace::Kernel => {
                let (n, p, d) = match face {
                    ConvFace::Output => (&out[1], [&out[2], &out[3]], [&sum[0], &sum[1]]),
                    _ => (&sum[0], [&sum[1], &sum[2]], [&out[1], &out[2]]),
                };
                let at = [0, 1].map(|k| p[k].times(stride[k] as i64).plus(d[k]).offset(-(pad[k] as i64)));
                let at = [0, 1].map(|k| place(self, &at[k], 1, input[k]));
                let [h, w] = at;
                match face {
                    ConvFace::Output => (
                        [group, n, &h, &w, &sum[2]].map(Word::clone),
                        [group, &sum[0], &sum[1], &sum[2], &out[4]].map(Word::clone),
                    ),
                    _ => {
                        ([group, n, &h, &w, &out[3]].map(Word::clone), [group, n, p[0], p[1], &out[4]].map(Word::clone))
                    }
                }
            }
            ConvFace::Input => {
                let at = [0, 1].map(|k| out[2 + k].plus(&sum[k].times(-1)).offset(pad[k] as i64));
                let at = [0, 1].map(|k| place(self, &at[k], stride[k], output[k]));
                let [p, q] = at;
                (
                    [group, &out[1], &p, &q, &sum[2]].map(Word::clone),
                    [group, &sum[0], &sum[1], &out[4], &sum[2]].map(Word::clone),
                )
            }
        };
        let b = self.operand(node.args[1], &b, guard);
        let Some(inside) = inside else {
            return Body::Contract(self.zero(DType::F32), b);
        };
        let guard = self.exprs.both(guard, inside);
        let a = self.operand(node.args[0], &a, guard);
        Body::Contract(a, b)
    }

    /// The core's loop: of the whole sum, or of its parts along a new leading axis.
    pub fn core(&mut self, id: NodeId) -> Core {
        self.in_core = true;
        let node = self.graph.node(id);
        if let Some(chunks) = Chunks::of(node) {
            let core = self.chunk(node, &chunks);
            self.in_core = false;
            return core;
        }
        let nest = nest(self.graph, node);
        let parts = parts(self.graph, id);
        let lead = usize::from(parts > 1);
        let out = self.atoms(|axis| Expr::Coord(axis + lead), &nest.domain());
        let (extent, sum, guard) = if parts > 1 { self.part(&nest) } else { self.whole(&nest) };
        let body = self.body(node, &out, &sum, guard);
        self.in_core = false;
        match body {
            Body::Reduce(value) => Core::Reduce { extent, value },
            Body::ArgMax(value) => Core::ArgMax { extent: extent[0], value },
            Body::Contract(a, b) => {
                Core::Contract { batch: nest.batch.len() + lead, rows: nest.rows.len(), extent, a, b }
            }
        }
    }

    /// A word for each axis.
    pub(super) fn atoms(&mut self, expr: impl Fn(usize) -> Expr, sizes: &[usize]) -> Vec<Word> {
        sizes.iter().enumerate().map(|(axis, &size)| Word::atom(self.exprs.push(expr(axis)), size)).collect()
    }

    /// Extent of the whole sum, its coordinates, no guard.
    fn whole(&mut self, nest: &Nest) -> (Vec<usize>, Vec<Word>, Option<ExprId>) {
        (nest.extent.clone(), self.atoms(Expr::Reduced, &nest.extent), None)
    }

    /// Extent of a part, its coordinates in the whole sum, and where they exist: the last part may be
    /// shorter.
    fn part(&mut self, nest: &Nest) -> (Vec<usize>, Vec<Word>, Option<ExprId>) {
        let (outer, parts) = nest.cut();
        let mut extent = nest.extent.clone();
        if outer > extent[0] {
            extent = vec![outer];
        }
        extent[0] = outer.div_ceil(parts);
        let mut sum = self.atoms(Expr::Reduced, &extent);
        let part = self.atoms(Expr::Coord, &[parts]).remove(0);
        let place = part.times(extent[0] as i64).plus(&sum[0]);
        let guard = match self.inside(&place, outer) {
            Inside::If(condition) => Some(condition),
            Inside::Always | Inside::Never => None,
        };
        sum[0] = place.below(outer);
        if outer > nest.extent[0] {
            sum = self.unravel(&sum[0], &nest.extent, guard);
        }
        (extent, sum, guard)
    }

    /// The loop of the second dispatch of a sum in parts: Acc = Σ over the parts, of which part s of element i lies at
    /// s·elements + i.
    pub fn sum_of_parts(&mut self, id: NodeId, partial: BufferIndex) -> Core {
        let node = self.graph.node(id);
        if let Some(chunks) = Chunks::of(node) {
            return self.sum_of_chunks(node.dtype, &chunks, partial);
        }
        let parts = parts(self.graph, id);
        let domain = self.domain.clone();
        let coords = self.atoms(Expr::Coord, &domain);
        let part = self.atoms(Expr::Reduced, &[parts]).remove(0);
        let position = part.times(numel(&domain) as i64).plus(&Word::linear(&coords, &domain));
        let index = self.emit(&position);
        let value = self.exprs.push(Expr::Load { buffer: partial, index });
        Core::Reduce { extent: vec![parts], value }
    }
}

/// Parts into which the sum of a core node is cut.
pub(in crate::compile) fn parts(graph: &Graph, id: NodeId) -> usize {
    let node = graph.node(id);
    match Chunks::of(node) {
        Some(chunks) => chunks.parts(),
        None if matches!(node.op, Op::ArgMax { .. }) => 1,
        None => nest(graph, node).cut().1,
    }
}

/// The domain of the dispatch that sums a core node's parts.
pub(in crate::compile) fn parts_domain(graph: &Graph, id: NodeId) -> Vec<usize> {
    let node = graph.node(id);
    match Chunks::of(node) {
        Some(chunks) => chunks.domain(),
        None => [&[parts(graph, id)], core_domain(graph, id).as_slice()].concat(),
    }
}

/// The domain of a core node's dispatch.
pub(in crate::compile) fn core_domain(graph: &Graph, id: NodeId) -> Vec<usize> {
    let node = graph.node(id);
    if matches!(node.op, Op::SegmentSum { .. }) { super::map_domain(&node.shape) } else { nest(graph, node).domain() }
}

/// Terms that a core node's sums have altogether.
pub(in crate::compile) fn core_points(graph: &Graph, id: NodeId) -> usize {
    let node = graph.node(id);
    let of_nest = |nest: Nest| numel(&nest.domain()) * nest.length();
    Chunks::of(node).map_or_else(|| of_nest(nest(graph, node)), |chunks| chunks.points())
}
