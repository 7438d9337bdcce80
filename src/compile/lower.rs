//! From nodes of the graph to expressions of a dispatch.
//!
//! Everything pointwise or view-like is inlined as index arithmetic; the walk ends at leaves and at
//! stored nodes, which are loaded.

mod cores;
mod runs;

pub(super) use cores::{core_domain, core_points, parts, parts_domain};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::index::{Digit, EmitWords, Exprs, Inside, Word};
use super::{BufferIndex, Core, Dispatch, Expr, ExprId, Store};
use crate::ir::{DType, Graph, Node, NodeId, Op, Scalar, numel, strides};

/// Most expressions of a dispatch.
pub(super) const MOST_EXPRS: usize = 512;

/// Most nodes written out within one another: deeper ones could exhaust the stack of a browser.
const DEEPEST: usize = 200;

/// Elements that a reduction takes together for each of its own.
pub(super) fn reduced_terms(graph: &Graph, node: &Node) -> Option<usize> {
    let shape = graph.shape(*node.args.first()?);
    Some(reduced(node)?.iter().map(|&axis| shape[axis]).product())
}

/// Axes of the argument that a reduction removes.
fn reduced(node: &Node) -> Option<Vec<usize>> {
    match &node.op {
        Op::Sum { axes } => Some(axes.clone()),
        Op::ArgMax { axis } => Some(vec![*axis]),
        _ => None,
    }
}

/// One run of values written to consecutive elements of a node's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Root {
    /// Whose buffer is written.
    pub node: NodeId,
    /// What is written there: the node itself, or a part of a concatenation.
    pub value: NodeId,
    pub offset: usize,
}

impl Root {
    pub fn whole(node: NodeId) -> Root {
        Root { node, value: node, offset: 0 }
    }

    /// A root that fills its buffer alone.
    pub fn is_whole(&self) -> bool {
        self.node == self.value
    }
}

/// Expressions in the making: of a dispatch over `domain`.
pub(super) struct Lowering<'a> {
    graph: &'a Graph,
    stored: &'a BTreeSet<NodeId>,
    /// Stored nodes that this dispatch computes at each element.
    own: BTreeSet<NodeId>,
    /// Buffers of stored nodes, once they are laid out.
    buffers: Option<&'a BTreeMap<NodeId, BufferIndex>>,
    core: Option<NodeId>,
    /// While the core's own expressions are made, no element is the current one.
    in_core: bool,
    domain: Vec<usize>,
    pub exprs: Exprs,
    memo: HashMap<(NodeId, Vec<Word>, Option<ExprId>), ExprId>,
    depth: usize,
    too_deep: bool,
    /// Nodes loaded, and whether only ever at the element being computed.
    pub reads: BTreeMap<NodeId, bool>,
}

impl EmitWords for Lowering<'_> {
    fn exprs(&mut self) -> &mut Exprs {
        &mut self.exprs
    }

    fn digit(&mut self, digit: &Digit) -> ExprId {
        if self.exprs.list[digit.base.0 as usize] == Expr::Flat && (digit.div > 1 || !digit.is_top()) {
            let axis = strides(&self.domain)
                .iter()
                .zip(&self.domain)
                .position(|(&stride, &size)| digit.div == stride as u64 && digit.size == size as u64);
            if let Some(axis) = axis {
                return self.exprs.push(Expr::Coord(axis));
            }
        }
        let div = self.exprs.word(digit.div as u32);
        let quotient = self.exprs.scalar(Scalar::DivU, &[digit.base, div]);
        if digit.is_top() {
            return quotient;
        }
        let size = self.exprs.word(digit.size as u32);
        self.exprs.scalar(Scalar::RemU, &[quotient, size])
    }
}

impl<'a> Lowering<'a> {
    pub fn new(graph: &'a Graph, stored: &'a BTreeSet<NodeId>, domain: Vec<usize>) -> Self {
        Lowering {
            graph,
            stored,
            own: BTreeSet::new(),
            buffers: None,
            core: None,
            in_core: false,
            domain,
            exprs: Exprs::default(),
            memo: HashMap::new(),
            depth: 0,
            too_deep: false,
            reads: BTreeMap::new(),
        }
    }

    /// Loads stored nodes from these buffers.
    pub fn loading(mut self, buffers: &'a BTreeMap<NodeId, BufferIndex>) -> Self {
        self.buffers = Some(buffers);
        self
    }

    /// Computes these stored nodes instead of loading them.
    pub fn computing(mut self, own: BTreeSet<NodeId>, core: Option<NodeId>) -> Self {
        self.own = own;
        self.core = core;
        self
    }

    /// Nodes whose value was written out here, each with the number of its elements that one
    /// invocation computes.
    pub fn inlined(&self) -> BTreeMap<NodeId, usize> {
        let mut counts: BTreeMap<NodeId, BTreeSet<ExprId>> = BTreeMap::new();
        self.memo.iter().for_each(|((node, ..), &id)| {
            counts.entry(*node).or_default().insert(id);
        });
        counts.into_iter().map(|(node, values)| (node, values.len())).collect()
    }

    /// Whether a trial outgrew a dispatch; what was made since is meaningless.
    pub fn overflows(&self) -> bool {
        let is_trial = self.buffers.is_none();
        is_trial && (self.too_deep || self.exprs.list.len() > MOST_EXPRS)
    }

    fn flat(&mut self) -> Word {
        let flat = self.exprs.push(Expr::Flat);
        Word::atom(flat, numel(&self.domain))
    }

    /// The value a root stores at the current element.
    pub fn root(&mut self, root: &Root) -> ExprId {
        let flat = self.flat();
        let index = self.unravel(&flat, self.graph.shape(root.value), None);
        if !root.is_whole() {
            return self.value(root.value, &index, None);
        }
        let value = self.expand(root.value, &index, None);
        self.memo.insert((root.value, index, None), value);
        value
    }

    /// The value of a node at an index; where the guard fails the value is never used, but its
    /// loads stay in range.
    fn value(&mut self, node: NodeId, index: &[Word], guard: Option<ExprId>) -> ExprId {
        if self.overflows() {
            return self.zero(self.graph.dtype(node));
        }
        if matches!(self.graph.node(node).op, Op::Input(_)) || self.stored.contains(&node) {
            let position = Word::linear(index, self.graph.shape(node)).below(numel(self.graph.shape(node)));
            let aligned = self.is_current(&position, node);
            if !(aligned && self.own.contains(&node)) {
                return self.load(node, &position, aligned, guard);
            }
        }
        let key = (node, index.to_vec(), guard);
        if let Some(&id) = self.memo.get(&key) {
            return id;
        }
        self.depth += 1;
        self.too_deep |= self.depth > DEEPEST;
        let id = self.expand(node, index, guard);
        self.depth -= 1;
        self.memo.insert(key, id);
        id
    }

    /// Whether a position in a node is that of the element being computed.
    fn is_current(&mut self, position: &Word, node: NodeId) -> bool {
        let length = numel(self.graph.shape(node));
        let here = self.exprs.push(Expr::Flat);
        !self.in_core && length == numel(&self.domain) && (length == 1 || position.as_atom() == Some(here))
    }

    fn load(&mut self, node: NodeId, position: &Word, aligned: bool, guard: Option<ExprId>) -> ExprId {
        self.reads.entry(node).and_modify(|all| *all &= aligned).or_insert(aligned);
        let index = if aligned { self.exprs.push(Expr::Flat) } else { self.safe(position, guard) };
        let buffer = self.buffers.map_or(BufferIndex(node.0), |buffers| buffers[&node]);
        self.exprs.push(Expr::Load { buffer, index })
    }

    fn zero(&mut self, dtype: DType) -> ExprId {
        match dtype {
            DType::F32 => self.exprs.float(0.0),
            DType::U32 => self.exprs.word(0),
        }
    }

    fn expand(&mut self, id: NodeId, index: &[Word], guard: Option<ExprId>) -> ExprId {
        if self.core == Some(id) {
            return self.exprs.push(Expr::Acc);
        }
        let node = self.graph.node(id);
        match &node.op {
            Op::Const(bits) => self.exprs.push(Expr::Const(*bits)),
            Op::ConstU(word) => self.exprs.word(*word),
            Op::Iota { axis } => self.safe(&index[*axis], guard),
            Op::Scalar(f) => {
                let args: Vec<ExprId> = node.args.iter().map(|&arg| self.value(arg, index, guard)).collect();
                self.exprs.scalar(*f, &args)
            }
            Op::StopGradient => self.value(node.args[0], index, guard),
            Op::Sum { axes } => self.unrolled_sum(node, axes, index, guard),
            Op::ArgMax { axis } => self.unrolled_argmax(node, *axis, index, guard),
            Op::Pad { start, step } => self.pad(node, start, step, index, guard),
            Op::Repeat { runs } => self.repeat(node, runs, &index[0], guard),
            Op::Concat => self.concat(node, &index[0], guard),
            Op::TakeRows => {
                let rows = self.graph.shape(node.args[0])[0];
                let row = self.value(node.args[1], &index[..1], guard);
                let mut inner = index.to_vec();
                inner[0] = Word::atom(row, rows);
                self.value(node.args[0], &inner, guard)
            }
            _ => {
                let inner = self.view(node, index, guard);
                self.value(node.args[0], &inner, guard)
            }
        }
    }

    /// Index into the argument of a view that selects one element for each of its own.
    fn view(&mut self, node: &Node, index: &[Word], guard: Option<ExprId>) -> Vec<Word> {
        let from = self.graph.shape(node.args[0]);
        match &node.op {
            Op::Broadcast { axes } => {
                let stretched = |(k, &axis): (usize, &usize)| {
                    if from[k] == 1 { Word::constant(0) } else { index[axis].clone() }
                };
                axes.iter().enumerate().map(stretched).collect()
            }
            Op::Reshape => {
                let mut inner = vec![];
                for (to, from) in matched_axes(&node.shape, from) {
                    let words = &index[to.clone()];
                    let sizes = &node.shape[to];
                    let position = Word::linear(words, sizes).below(numel(sizes));
                    inner.extend(self.unravel(&position, &self.graph.shape(node.args[0])[from], guard));
                }
                inner
            }
            Op::Permute { perm } => {
                let mut inner = vec![Word::constant(0); from.len()];
                perm.iter().zip(index).for_each(|(&axis, word)| inner[axis] = word.clone());
                inner
            }
            Op::Slice { start, step } => {
                let place = |(axis, word): (usize, &Word)| word.times(step[axis] as i64).offset(start[axis] as i64);
                index.iter().enumerate().map(place).collect()
            }
            op => unreachable!("{op:?} is stored before it is read"),
        }
    }

    fn pad(&mut self, node: &Node, start: &[usize], step: &[usize], index: &[Word], guard: Option<ExprId>) -> ExprId {
        let from = self.graph.shape(node.args[0]);
        let mut inner = index.to_vec();
        let mut inside = None;
        for axis in 0..from.len() {
            let Some((word, condition)) =
                self.stepped(&index[axis].offset(-(start[axis] as i64)), step[axis], from[axis], guard)
            else {
                return self.zero(node.dtype);
            };
            inner[axis] = word;
            inside = self.exprs.both(inside, condition);
        }
        let guard = self.exprs.both(guard, inside);
        let value = self.value(node.args[0], &inner, guard);
        self.guarded(value, inside, node.dtype)
    }

    /// `value` where the condition holds, else zero.
    fn guarded(&mut self, value: ExprId, condition: Option<ExprId>, dtype: DType) -> ExprId {
        let zero = self.zero(dtype);
        condition.map_or(value, |c| self.exprs.scalar(Scalar::Select, &[c, value, zero]))
    }

    /// `word / step` where that is whole and below `count`, and when it is; `None` if never.
    fn stepped(
        &mut self,
        word: &Word,
        step: usize,
        count: usize,
        guard: Option<ExprId>,
    ) -> Option<(Word, Option<ExprId>)> {
        let reach = (count - 1) * step + 1;
        let in_reach = match self.inside(word, reach) {
            Inside::Always => None,
            Inside::Never => return None,
            Inside::If(condition) => Some(condition),
        };
        let guard = self.exprs.both(guard, in_reach);
        let (quotient, rest) = self.div_rem(&word.clone().below(reach), step, guard);
        let whole = match self.inside(&rest, 1) {
            Inside::Always => None,
            Inside::Never => return None,
            Inside::If(condition) => Some(condition),
        };
        Some((quotient.below(count), self.exprs.both(in_reach, whole)))
    }

    /// The index into the argument of a reduction for each element reduced, in row-major order.
    fn reduced_indices(&self, node: &Node, axes: &[usize], index: &[Word]) -> Vec<Vec<Word>> {
        let from = self.graph.shape(node.args[0]);
        let mut indices = vec![vec![]];
        let mut kept = index.iter();
        for (axis, &size) in from.iter().enumerate() {
            let choices: Vec<Word> = if axes.contains(&axis) {
                (0..size).map(Word::constant).collect()
            } else {
                kept.next().cloned().into_iter().collect()
            };
            indices = indices
                .iter()
                .flat_map(|head: &Vec<Word>| {
                    choices.iter().map(|c| [head.as_slice(), std::slice::from_ref(c)].concat())
                })
                .collect();
        }
        indices
    }

    fn unrolled_sum(&mut self, node: &Node, axes: &[usize], index: &[Word], guard: Option<ExprId>) -> ExprId {
        let f = if node.dtype == DType::F32 { Scalar::Add } else { Scalar::AddU };
        let indices = self.reduced_indices(node, axes, index);
        let terms: Vec<ExprId> = indices.iter().map(|i| self.value(node.args[0], i, guard)).collect();
        let sum = terms.into_iter().reduce(|sum, term| self.exprs.scalar(f, &[sum, term]));
        sum.unwrap_or_else(|| self.zero(node.dtype))
    }

    fn unrolled_argmax(&mut self, node: &Node, axis: usize, index: &[Word], guard: Option<ExprId>) -> ExprId {
        let indices = self.reduced_indices(node, &[axis], index);
        let mut best = self.value(node.args[0], &indices[0], guard);
        let mut place = self.exprs.word(0);
        for (position, index) in indices.iter().enumerate().skip(1) {
            let candidate = self.value(node.args[0], index, guard);
            let better = self.exprs.scalar(Scalar::Lt, &[best, candidate]);
            let position = self.exprs.word(position as u32);
            place = self.exprs.scalar(Scalar::Select, &[better, position, place]);
            best = self.exprs.scalar(Scalar::Select, &[better, candidate, best]);
        }
        place
    }

    /// The finished dispatch, without the expressions that nothing uses.
    pub fn finish(self, label: String, core: Core, stores: Vec<Store>) -> Dispatch {
        let mut dispatch = Dispatch { label, domain: self.domain, core, exprs: self.exprs.list, stores };
        prune(&mut dispatch);
        dispatch
    }
}

/// The finest cuts of two shapes into runs of axes that hold as many elements each.
fn matched_axes(a: &[usize], b: &[usize]) -> Vec<(Range<usize>, Range<usize>)> {
    let (mut runs, mut i, mut j) = (vec![], 0, 0);
    while i < a.len() || j < b.len() {
        let (start_i, start_j) = (i, j);
        let take = |shape: &[usize], next: &mut usize| {
            *next += 1;
            shape.get(*next - 1).copied().unwrap_or(1)
        };
        let (mut left, mut right) = (take(a, &mut i), take(b, &mut j));
        while left != right {
            if left < right {
                left *= take(a, &mut i);
            } else {
                right *= take(b, &mut j);
            }
        }
        (i, j) = (i.min(a.len()), j.min(b.len()));
        runs.push((start_i..i, start_j..j));
    }
    runs
}

/// The domain of a pointwise dispatch over arrays of a shape.
pub(super) fn map_domain(shape: &[usize]) -> Vec<usize> {
    let domain: Vec<usize> = shape.iter().copied().filter(|&n| n > 1).collect();
    if domain.is_empty() { vec![1] } else { domain }
}

/// Drops the expressions that nothing uses.
fn prune(dispatch: &mut Dispatch) {
    let mut used = vec![false; dispatch.exprs.len()];
    dispatch.roots().for_each(|id| used[id.0 as usize] = true);
    for place in (0..used.len()).rev() {
        if used[place] {
            dispatch.exprs[place].args().for_each(|id| used[id.0 as usize] = true);
        }
    }
    let mut places = vec![ExprId(0); used.len()];
    let mut kept = vec![];
    for (place, mut expr) in std::mem::take(&mut dispatch.exprs).into_iter().enumerate() {
        if used[place] {
            expr.args_mut().for_each(|id| *id = places[id.0 as usize]);
            places[place] = ExprId(kept.len() as u32);
            kept.push(expr);
        }
    }
    dispatch.exprs = kept;
    dispatch.roots_mut().for_each(|id| *id = places[id.0 as usize]);
}
