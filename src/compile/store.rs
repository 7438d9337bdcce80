//! Which nodes get buffers.

use std::collections::{BTreeMap, BTreeSet};

use super::Expr;
use super::lower::{self, Lowering, Root};
use crate::ir::{Graph, NodeId, Op, Scalar, numel};

/// Most distinct buffers of a dispatch: what WebGPU promises everywhere.
pub(super) const MOST_BUFFERS: usize = 8;

/// Evaluations per element, times the terms of a sum, above which a value is stored rather than computed anew.
const MOST_REPEATS: usize = 8;

/// Operations an element that are never worth a buffer, and operations altogether that are not worth a dispatch: a GPU has
/// done them before another one has begun.
const TRIVIAL: usize = 2;
pub(super) const FREE: usize = 1 << 18;

/// Most terms of a sum, and most expressions of all its terms, that are written out where it is used
/// instead of looped over in a dispatch of its own.
const UNROLLED_TERMS: usize = 16;
const UNROLLED_EXPRS: usize = 256;

/// Most parts of a concatenation, or runs that it consists of, to choose among by position.
const MOST_CHOICES: usize = 32;

/// What a root or a core reads and computes.
pub(super) struct Analysis {
    /// Nodes loaded, and whether only ever at the element being computed.
    pub reads: BTreeMap<NodeId, bool>,
    /// Nodes computed, and how many of its elements an invocation computes.
    inlined: BTreeMap<NodeId, usize>,
    /// Invocations.
    points: usize,
    pub exprs: usize,
    pub operations: usize,
    overflows: bool,
}

/// Something lowered on its own: a root, or the loop of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Root(Root),
    Core(NodeId),
}

/// The choice of stored nodes, and what follows from it.
pub(super) struct Stores<'a> {
    graph: &'a Graph,
    nodes: Vec<NodeId>,
    /// Nodes that are the loop of a dispatch of their own.
    cores: BTreeSet<NodeId>,
    /// Concatenations whose parts are computed in dispatches of their own.
    in_parts: BTreeSet<NodeId>,
    /// Nodes that alone take up a loop's result.
    epilogues: BTreeSet<NodeId>,
    pub stored: BTreeSet<NodeId>,
    analyses: BTreeMap<Unit, Analysis>,
}

impl<'a> Stores<'a> {
    /// Stores what must be, then what would be computed too often, and forgets what that made cheap.
    pub fn choose(graph: &'a Graph, outputs: &[NodeId]) -> Self {
        let live = graph.live(outputs);
        let nodes: Vec<NodeId> = (0..live.len()).filter(|&k| live[k]).map(|k| NodeId(k as u32)).collect();
        let in_parts: BTreeSet<NodeId> = nodes.iter().copied().filter(|&id| is_written_in_parts(graph, id)).collect();
        let cores = cores(graph, &nodes);
        let mut required = always_stored(graph, &nodes, outputs);
        required.extend(cores.iter().chain(&in_parts));
        let epilogues = epilogues(graph, &nodes, &cores);
        let stored = required.clone();
        let mut stores = Stores { graph, nodes, cores, in_parts, epilogues, stored, analyses: BTreeMap::new() };
        loop {
            stores.refresh();
            let mut more = stores.cuts();
            if more.is_empty() {
                more = stores.repeated();
            }
            if more.is_empty() {
                break;
            }
            stores.stored.extend(more);
        }
        for id in stores.stored.difference(&required).copied().collect::<Vec<_>>() {
            stores.stored.remove(&id);
            stores.refresh();
            if !stores.cuts().is_empty() || stores.repeated().contains(&id) {
                stores.stored.insert(id);
            }
        }
        stores.refresh();
        stores
    }

    /// Analyses what the choice changed.
    fn refresh(&mut self) {
        let units: BTreeSet<Unit> = self.stored.iter().flat_map(|&id| self.units(id)).collect();
        let is_read = |id: &NodeId| self.stored.contains(id) || matches!(self.graph.node(*id).op, Op::Input(_));
        self.analyses.retain(|unit, analysis| {
            units.contains(unit)
                && !analysis.inlined.keys().any(|id| self.stored.contains(id))
                && analysis.reads.keys().all(is_read)
        });
        for unit in units {
            self.analyses.entry(unit).or_insert_with(|| analyse(self.graph, &self.stored, unit));
        }
    }

    fn units(&self, id: NodeId) -> Vec<Unit> {
        if self.cores.contains(&id) {
            return vec![Unit::Core(id)];
        }
        self.roots(id).into_iter().map(Unit::Root).collect()
    }

    /// The roots a stored node needs: itself, or the parts of a concatenation.
    fn roots(&self, node: NodeId) -> Vec<Root> {
        if !self.in_parts.contains(&node) {
            return vec![Root::whole(node)];
        }
        let place = |offset: &mut usize, &value: &NodeId| {
            let root = Root { node, value, offset: *offset };
            *offset += self.graph.shape(value)[0];
            Some(root)
        };
        self.graph.node(node).args.iter().scan(0, place).collect()
    }

    /// Every root with its core, if it is one, and what the two read.
    pub fn dispatches(&self) -> impl Iterator<Item = (Root, Option<NodeId>, &Analysis)> {
        let roots = self.stored.iter().flat_map(|&id| self.roots(id));
        roots.map(|root| {
            let core = (root.is_whole() && self.cores.contains(&root.value)).then_some(root.value);
            (root, core, &self.analyses[&core.map_or(Unit::Root(root), Unit::Core)])
        })
    }

    /// Operations an element of a stored node that is computed element by element, from what is stored.
    pub fn pointwise(&self, id: NodeId) -> Option<usize> {
        self.analyses.get(&Unit::Root(Root::whole(id))).map(|analysis| analysis.operations)
    }

    /// For each root or core that does not fit into a dispatch, a node to store.
    fn cuts(&self) -> BTreeSet<NodeId> {
        self.analyses.values().filter_map(|analysis| self.cut(analysis)).collect()
    }

    fn cut(&self, analysis: &Analysis) -> Option<NodeId> {
        // One store, and one load of partial sums.
        let most = MOST_BUFFERS - 2;
        let inlined = || analysis.inlined.keys().copied();
        if analysis.overflows {
            let reduction = inlined().rev().find(|&id| self.terms(id) > 1);
            let scalars: Vec<NodeId> = inlined().filter(|&id| own_cost(self.graph, id) > 0).collect();
            return reduction.or_else(|| scalars.get(scalars.len() / 2).copied());
        }
        if analysis.reads.len() <= most {
            return None;
        }
        inlined()
            .map(|id| (self.alone(id).reads.len(), id))
            .filter(|(reads, _)| (2..=most).contains(reads))
            .max_by_key(|&(reads, id)| (reads, std::cmp::Reverse(numel(self.graph.shape(id)))))
            .map(|(_, id)| id)
    }

    /// Elements that an unrolled reduction takes together; 1 for other nodes.
    fn terms(&self, id: NodeId) -> usize {
        lower::reduced_terms(self.graph, self.graph.node(id)).unwrap_or(1)
    }

    fn alone(&self, id: NodeId) -> Analysis {
        analyse(self.graph, &self.stored, Unit::Root(Root::whole(id)))
    }

    /// Nodes computed too often: in several dispatches, or many times an element. Of a chain of such
    /// nodes only the last; its arguments may then be computed only once.
    fn repeated(&self) -> BTreeSet<NodeId> {
        let mut sites: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
        for analysis in self.analyses.values() {
            for (&id, &count) in &analysis.inlined {
                let (units, evaluations) = sites.entry(id).or_default();
                *units += 1;
                *evaluations += count * analysis.points;
            }
        }
        let costs = self.costs();
        let mut chosen = BTreeSet::new();
        let mut covered: BTreeSet<NodeId> = BTreeSet::new();
        for &id in self.nodes.iter().rev() {
            let (units, evaluations) = sites.get(&id).copied().unwrap_or_default();
            let length = numel(self.graph.shape(id));
            let many = || evaluations * self.terms(id) > MOST_REPEATS * length;
            let often = evaluations > length && (units > 1 || many());
            let costly = || {
                costs[&id] > TRIVIAL && own_cost(self.graph, id) > 0 && evaluations * self.alone(id).operations > FREE
            };
            let wanted = often && (self.epilogues.contains(&id) || costly());
            if wanted && !covered.contains(&id) {
                chosen.insert(id);
            }
            if wanted || covered.contains(&id) {
                covered.extend(self.graph.node(id).args.iter().filter(|arg| !self.stored.contains(arg)));
            }
        }
        chosen
    }

    /// Operations an element of each node takes, from what is stored.
    fn costs(&self) -> BTreeMap<NodeId, usize> {
        let mut costs: BTreeMap<NodeId, usize> = BTreeMap::new();
        for &id in &self.nodes {
            let node = self.graph.node(id);
            let from = |arg: &NodeId| if self.stored.contains(arg) { 0 } else { costs[arg] };
            let args = node.args.iter().map(from).fold(own_cost(self.graph, id), usize::saturating_add);
            costs.insert(id, args.saturating_mul(self.terms(id)));
        }
        costs
    }
}

fn analyse(graph: &Graph, stored: &BTreeSet<NodeId>, unit: Unit) -> Analysis {
    let (domain, points) = match unit {
        Unit::Core(id) => (lower::core_domain(graph, id), lower::core_points(graph, id)),
        Unit::Root(root) => (graph.shape(root.value).to_vec(), numel(graph.shape(root.value))),
    };
    let mut lowering = Lowering::new(graph, stored, domain);
    match unit {
        Unit::Core(id) => drop(lowering.core(id)),
        Unit::Root(root) => drop(lowering.root(&root)),
    }
    let mut inlined = lowering.inlined();
    if let Unit::Root(root) = unit
        && root.is_whole()
    {
        inlined.remove(&root.value);
    }
    Analysis {
        inlined,
        points,
        exprs: lowering.exprs.list.len(),
        operations: lowering.exprs.list.iter().map(operations).sum(),
        overflows: lowering.overflows(),
        reads: lowering.reads,
    }
}

/// Contractions, and reductions too large to be written out.
fn cores(graph: &Graph, nodes: &[NodeId]) -> BTreeSet<NodeId> {
    let mut cores = BTreeSet::new();
    for &id in nodes {
        let node = graph.node(id);
        let is_core = match lower::reduced_terms(graph, node) {
            Some(terms) => {
                let written_out = || analyse(graph, &cores, Unit::Root(Root::whole(id)));
                terms > UNROLLED_TERMS || written_out().exprs > UNROLLED_EXPRS
            }
            None => matches!(node.op, Op::MatMul { .. } | Op::Conv { .. } | Op::SegmentSum { .. }),
        };
        if is_core {
            cores.insert(id);
        }
    }
    cores
}

/// Outputs, copies, and what contractions load.
fn always_stored(graph: &Graph, nodes: &[NodeId], outputs: &[NodeId]) -> BTreeSet<NodeId> {
    let mut stored: BTreeSet<NodeId> = outputs.iter().copied().collect();
    for &id in nodes {
        let node = graph.node(id);
        if node.op == Op::StopGradient {
            stored.insert(id);
        }
        if matches!(node.op, Op::MatMul { .. } | Op::Conv { .. }) {
            stored.extend(node.args.iter().filter_map(|&arg| loaded_through_views(graph, arg)));
        }
    }
    stored
}

/// The node under the views that an operand consists of, unless it is there already.
fn loaded_through_views(graph: &Graph, mut id: NodeId) -> Option<NodeId> {
    loop {
        let node = graph.node(id);
        match node.op {
            Op::Slice { .. } | Op::Permute { .. } | Op::Reshape | Op::Broadcast { .. } => id = node.args[0],
            Op::Input(_) | Op::Const(_) => return None,
            _ => return Some(id),
        }
    }
}

/// Whether the parts of a concatenation are computed in dispatches of their own, each writing its
/// share, rather than chosen among by position.
fn is_written_in_parts(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    if node.op != Op::Concat {
        return false;
    }
    let choices = |&arg: &NodeId| match &graph.node(arg).op {
        Op::Repeat { runs } => runs.len(),
        _ => 1,
    };
    if node.args.iter().map(choices).sum::<usize>() > MOST_CHOICES {
        return true;
    }
    let mut leaves = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut open = node.args.clone();
    let mut operations = 0;
    while let Some(id) = open.pop() {
        let part = graph.node(id);
        if matches!(part.op, Op::Input(_) | Op::SegmentSum { .. }) {
            leaves.insert(id);
        } else if seen.insert(id) {
            operations += own_cost(graph, id);
            open.extend(&part.args);
        }
    }
    leaves.len() > 2 || operations > TRIVIAL * node.args.len()
}

fn scalar_cost(f: Scalar) -> usize {
    match f {
        Scalar::PermuteIndex => 500,
        Scalar::Threefry0 | Scalar::Threefry1 => 60,
        Scalar::Exp | Scalar::Log | Scalar::Tanh | Scalar::Sigmoid | Scalar::Softplus => 8,
        Scalar::Recip | Scalar::Sqrt | Scalar::DivU | Scalar::RemU => 3,
        // One instruction beside others, and its sign is that of what it is made of.
        Scalar::Relu => 0,
        _ => 1,
    }
}

fn operations(expr: &Expr) -> usize {
    match expr {
        Expr::Scalar(f, _) => scalar_cost(*f),
        _ => 1,
    }
}

/// Operations a node adds to those of its arguments.
fn own_cost(graph: &Graph, id: NodeId) -> usize {
    let node = graph.node(id);
    match &node.op {
        Op::Scalar(f) => scalar_cost(*f),
        Op::Pad { .. } => 1,
        Op::Concat => node.args.len(),
        Op::Sum { .. } | Op::ArgMax { .. } => 1,
        _ => 0,
    }
}

/// Pointwise nodes that alone take up a loop's result, element for element: better stored than it.
fn epilogues(graph: &Graph, nodes: &[NodeId], cores: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut users: BTreeMap<NodeId, usize> = BTreeMap::new();
    nodes.iter().flat_map(|&id| &graph.node(id).args).for_each(|&arg| *users.entry(arg).or_default() += 1);
    let mut raw: BTreeSet<NodeId> = BTreeSet::new();
    let mut epilogues = BTreeSet::new();
    for &id in nodes {
        let node = graph.node(id);
        let takes_up = node.args.iter().any(|arg| raw.contains(arg));
        if matches!(node.op, Op::Scalar(_)) && takes_up {
            epilogues.insert(id);
        }
        let passes = cores.contains(&id) || (node.op == Op::Reshape && takes_up);
        if passes && users.get(&id) == Some(&1) {
            raw.insert(id);
        }
    }
    epilogues
}
