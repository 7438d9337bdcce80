//! Which nodes get buffers, and which of them one dispatch computes.

use std::collections::{BTreeMap, BTreeSet};

use super::lower::{self, Lowering, MOST_EXPRS, Root};
use crate::ir::{Graph, NodeId, Op, Scalar, numel};

/// Most distinct buffers of a dispatch: what WebGPU promises everywhere.
pub(super) const MOST_BUFFERS: usize = 8;

/// Evaluations per element above which a value is stored rather than computed anew.
const MOST_REPEATS: usize = 8;

/// Operations that are never worth a buffer.
const TRIVIAL: usize = 2;

/// An output of the graph: its node, and the input whose buffer it takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub node: NodeId,
    pub in_place: Option<NodeId>,
}

/// What one dispatch computes.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub core: Option<NodeId>,
    pub roots: Vec<Root>,
    /// Nodes read, and whether only ever at the element being computed.
    reads: BTreeMap<NodeId, bool>,
    /// Elements computed.
    len: usize,
    exprs: usize,
}

impl Group {
    fn writes(&self, node: NodeId) -> Option<&Root> {
        self.roots.iter().find(|root| root.node == node)
    }

    /// Stored nodes whose value each invocation has at hand.
    pub fn own(&self) -> BTreeSet<NodeId> {
        self.roots.iter().filter(|root| root.is_whole()).map(|root| root.node).collect()
    }
}

/// A graph cut into dispatches, in the order they run.
pub(super) struct Fused {
    pub graph: Graph,
    /// A distinct node for each output, none of them an input.
    pub targets: Vec<Target>,
    pub stored: BTreeSet<NodeId>,
    pub groups: Vec<Group>,
    /// Stored nodes that something outside their own dispatch needs.
    pub kept: BTreeSet<NodeId>,
}

/// Cuts a graph into dispatches.
pub(super) fn fuse(mut graph: Graph, mut targets: Vec<Target>) -> Fused {
    let mut taken = BTreeSet::new();
    for target in &mut targets {
        while matches!(graph.node(target.node).op, Op::Input(_)) || !taken.insert(target.node) {
            target.node = graph.stop_gradient(target.node);
        }
    }
    loop {
        let (stored, groups) = split(&graph, &targets);
        let mut web = Web::new(&graph, &targets, groups);
        if let Some(k) = web.unsafe_update() {
            targets[k].node = graph.stop_gradient(targets[k].node);
            continue;
        }
        web.merge();
        let (groups, kept) = web.schedule();
        return Fused { graph, targets, stored, groups, kept };
    }
}

/// What a root or a core reads and computes.
struct Analysis {
    reads: BTreeMap<NodeId, bool>,
    inlined: BTreeMap<NodeId, usize>,
    /// Invocations.
    points: usize,
    exprs: usize,
    overflows: bool,
}

/// Something lowered on its own: a root, or the loop of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Root(Root),
    Core(NodeId),
}

fn analyse(graph: &Graph, stored: &BTreeSet<NodeId>, unit: Unit) -> Analysis {
    let (domain, points) = match unit {
        Unit::Core(id) => (lower::core_domain(graph, id), lower::core_points(graph, id)),
        Unit::Root(root) => (graph.shape(root.value).to_vec(), numel(graph.shape(root.value))),
    };
    let mut lowering = Lowering::new(graph, stored, domain);
    match unit {
        Unit::Core(id) => drop(lowering.core(id, lower::parts(graph, id))),
        Unit::Root(root) => drop(lowering.root(&root)),
    }
    let reads = std::mem::take(&mut lowering.reads);
    Analysis {
        reads,
        inlined: lowering.inlined(),
        points,
        exprs: lowering.exprs.list.len(),
        overflows: lowering.overflows(),
    }
}

/// The roots a stored node needs: itself, or the parts of a concatenation.
fn roots(graph: &Graph, node: NodeId, in_parts: &BTreeSet<NodeId>) -> Vec<Root> {
    if !in_parts.contains(&node) {
        return vec![Root::whole(node)];
    }
    let mut offset = 0;
    let mut roots = vec![];
    for &value in &graph.node(node).args {
        roots.push(Root { node, value, offset });
        offset += graph.shape(value)[0];
    }
    roots
}

/// The stored nodes and one group for each of their roots.
fn split(graph: &Graph, targets: &[Target]) -> (BTreeSet<NodeId>, Vec<Group>) {
    let outputs: Vec<NodeId> = targets.iter().map(|t| t.node).collect();
    let live = graph.live(&outputs);
    let nodes: Vec<NodeId> = (0..live.len()).filter(|&k| live[k]).map(|k| NodeId(k as u32)).collect();
    let in_parts: BTreeSet<NodeId> = nodes.iter().copied().filter(|&id| is_written_in_parts(graph, id)).collect();
    let mut stored = always_stored(graph, &nodes, &outputs);
    stored.extend(&in_parts);
    let mut analyses: BTreeMap<Unit, Analysis> = BTreeMap::new();
    loop {
        let units: Vec<Unit> = stored.iter().flat_map(|&id| units(graph, id, &in_parts)).collect();
        analyses.retain(|unit, analysis| units.contains(unit) && !analysis.inlined.keys().any(|n| stored.contains(n)));
        for &unit in &units {
            analyses.entry(unit).or_insert_with(|| analyse(graph, &stored, unit));
        }
        let mut more: BTreeSet<NodeId> = analyses.values().filter_map(|a| cut(graph, &stored, a)).collect();
        if more.is_empty() {
            more = repeated(graph, &nodes, &stored, &analyses);
        }
        if more.is_empty() {
            break;
        }
        stored.extend(more);
    }
    let group = |root: Root| {
        let core = (root.is_whole() && lower::is_core(graph, graph.node(root.value))).then_some(root.value);
        let analysis = &analyses[&core.map_or(Unit::Root(root), Unit::Core)];
        Group {
            core,
            len: numel(graph.shape(root.value)),
            roots: vec![root],
            reads: analysis.reads.clone(),
            exprs: analysis.exprs,
        }
    };
    let groups = stored.iter().flat_map(|&id| roots(graph, id, &in_parts)).map(group).collect();
    (stored, groups)
}

fn units(graph: &Graph, id: NodeId, in_parts: &BTreeSet<NodeId>) -> Vec<Unit> {
    if lower::is_core(graph, graph.node(id)) {
        return vec![Unit::Core(id)];
    }
    roots(graph, id, in_parts).into_iter().map(Unit::Root).collect()
}

/// Outputs, loops, copies, and what contractions load.
fn always_stored(graph: &Graph, nodes: &[NodeId], outputs: &[NodeId]) -> BTreeSet<NodeId> {
    let mut stored: BTreeSet<NodeId> = outputs.iter().copied().collect();
    for &id in nodes {
        let node = graph.node(id);
        if lower::is_core(graph, node) || node.op == Op::StopGradient {
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
    let mut leaves = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut open = node.args.clone();
    let mut operations = 0;
    while let Some(id) = open.pop() {
        let part = graph.node(id);
        if matches!(part.op, Op::Input(_)) {
            leaves.insert(id);
        } else if seen.insert(id) {
            operations += own_cost(graph, id);
            open.extend(&part.args);
        }
    }
    leaves.len() > 2 || operations > TRIVIAL * node.args.len()
}

/// Operations a node adds to those of its arguments.
fn own_cost(graph: &Graph, id: NodeId) -> usize {
    let node = graph.node(id);
    match &node.op {
        Op::Scalar(f) => match f {
            Scalar::PermuteIndex => 500,
            Scalar::Threefry0 | Scalar::Threefry1 => 60,
            Scalar::Exp | Scalar::Log | Scalar::Tanh | Scalar::Sigmoid | Scalar::Softplus => 8,
            Scalar::Recip | Scalar::Sqrt | Scalar::DivU | Scalar::RemU => 3,
            _ => 1,
        },
        Op::Pad { .. } => 1,
        Op::Concat => node.args.len(),
        Op::Sum { .. } | Op::ArgMax { .. } | Op::MatMul { .. } | Op::Conv { .. } => 100,
        _ => 0,
    }
}

/// A node to store so that a root or core fits into a dispatch, if it does not.
fn cut(graph: &Graph, stored: &BTreeSet<NodeId>, analysis: &Analysis) -> Option<NodeId> {
    // One store, and one load of partial sums.
    let fits = analysis.reads.len() + 2 <= MOST_BUFFERS;
    if fits && !analysis.overflows {
        return None;
    }
    let inlined = || analysis.inlined.keys().copied();
    if analysis.overflows {
        let reduction = inlined().rev().find(|&id| lower::is_unrolled(graph, graph.node(id)));
        let scalars: Vec<NodeId> = inlined().filter(|&id| matches!(graph.node(id).op, Op::Scalar(_))).collect();
        return reduction.or_else(|| scalars.get(scalars.len() / 2).copied());
    }
    inlined()
        .filter(|&id| own_cost(graph, id) > 0)
        .map(|id| (analyse(graph, stored, Unit::Root(Root::whole(id))).reads.len(), id))
        .filter(|(reads, _)| reads + 2 <= MOST_BUFFERS)
        .max_by_key(|&(reads, id)| (reads, std::cmp::Reverse(numel(graph.shape(id)))))
        .map(|(_, id)| id)
}

/// Nodes computed too often: in several dispatches, or many times an element. Of a chain of such
/// nodes only the last; its arguments may then be computed only once.
fn repeated(
    graph: &Graph,
    nodes: &[NodeId],
    stored: &BTreeSet<NodeId>,
    analyses: &BTreeMap<Unit, Analysis>,
) -> BTreeSet<NodeId> {
    let mut sites: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
    for analysis in analyses.values() {
        for (&id, &count) in &analysis.inlined {
            let (units, evaluations) = sites.entry(id).or_default();
            *units += 1;
            *evaluations += count * analysis.points;
        }
    }
    let costs = costs(graph, nodes, stored);
    let mut chosen = BTreeSet::new();
    let mut covered: BTreeSet<NodeId> = BTreeSet::new();
    for &id in nodes.iter().rev() {
        let (units, evaluations) = sites.get(&id).copied().unwrap_or_default();
        let length = numel(graph.shape(id));
        let often = (units > 1 && evaluations > length) || evaluations > MOST_REPEATS * length;
        let wanted = often && costs[&id] > TRIVIAL && own_cost(graph, id) > 0;
        if wanted && !covered.contains(&id) {
            chosen.insert(id);
        }
        if wanted || covered.contains(&id) {
            covered.extend(graph.node(id).args.iter().filter(|arg| !stored.contains(arg)));
        }
    }
    chosen
}

/// Operations an element of each node takes, from what is stored.
fn costs(graph: &Graph, nodes: &[NodeId], stored: &BTreeSet<NodeId>) -> BTreeMap<NodeId, usize> {
    let mut users: BTreeMap<NodeId, usize> = BTreeMap::new();
    nodes.iter().flat_map(|&id| &graph.node(id).args).for_each(|&arg| *users.entry(arg).or_default() += 1);
    let mut costs: BTreeMap<NodeId, usize> = BTreeMap::new();
    for &id in nodes {
        let node = graph.node(id);
        let from = |arg: &NodeId| {
            // The only consumer of a loop's result, element for element, should be stored instead of it.
            let alone = users[arg] == 1 && numel(graph.shape(*arg)) == numel(&node.shape);
            let epilogue = alone && lower::is_core(graph, graph.node(*arg));
            if stored.contains(arg) { if epilogue { 100 } else { 0 } } else { costs[arg] }
        };
        let args: usize = node.args.iter().map(from).fold(0, usize::saturating_add);
        costs.insert(id, args.saturating_add(own_cost(graph, id)));
    }
    costs
}

/// The groups and who writes and reads what.
struct Web<'a> {
    graph: &'a Graph,
    outputs: BTreeSet<NodeId>,
    /// Input → output written over it.
    updates: BTreeMap<NodeId, NodeId>,
    groups: Vec<Option<Group>>,
    writers: BTreeMap<NodeId, BTreeSet<usize>>,
    readers: BTreeMap<NodeId, BTreeSet<usize>>,
    targets: Vec<Target>,
}

impl<'a> Web<'a> {
    fn new(graph: &'a Graph, targets: &[Target], groups: Vec<Group>) -> Self {
        let mut web = Web {
            graph,
            outputs: targets.iter().map(|t| t.node).collect(),
            updates: targets.iter().filter_map(|t| Some((t.in_place?, t.node))).collect(),
            groups: vec![],
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
            targets: targets.to_vec(),
        };
        for (place, group) in groups.into_iter().enumerate() {
            web.index(place, &group);
            web.groups.push(Some(group));
        }
        while web.drop_unused() {}
        web
    }

    /// Drops groups whose results nobody loads: lowering may find that a value never counts.
    fn drop_unused(&mut self) -> bool {
        let unused = |group: &Group| group.roots.iter().all(|root| !self.is_kept(root.node, &[]));
        let unused: BTreeSet<usize> =
            (0..self.groups.len()).filter(|&place| self.groups[place].as_ref().is_some_and(unused)).collect();
        unused.iter().for_each(|&place| self.groups[place] = None);
        for places in self.writers.values_mut().chain(self.readers.values_mut()) {
            places.retain(|place| !unused.contains(place));
        }
        !unused.is_empty()
    }

    fn index(&mut self, place: usize, group: &Group) {
        for root in &group.roots {
            self.writers.entry(root.node).or_default().insert(place);
        }
        for &node in group.reads.keys() {
            self.readers.entry(node).or_default().insert(place);
        }
    }

    fn group(&self, place: usize) -> &Group {
        self.groups[place].as_ref().expect("a group that was merged away")
    }

    fn of(map: &BTreeMap<NodeId, BTreeSet<usize>>, node: NodeId) -> impl Iterator<Item = usize> + '_ {
        map.get(&node).into_iter().flatten().copied()
    }

    /// Groups that must run after this one: readers of what it writes, and writers over what it
    /// reads.
    fn after(&self, place: usize) -> BTreeSet<usize> {
        let group = self.group(place);
        let mut after: BTreeSet<usize> =
            group.roots.iter().flat_map(|root| Self::of(&self.readers, root.node)).collect();
        for node in group.reads.keys() {
            after.extend(self.updates.get(node).into_iter().flat_map(|&output| Self::of(&self.writers, output)));
        }
        after.remove(&place);
        after
    }

    /// Whether `to` must run after `from`; a direct edge counts only if `direct`.
    fn reaches(&self, from: usize, to: usize, direct: bool) -> bool {
        let mut open: Vec<usize> = self.after(from).into_iter().filter(|&next| direct || next != to).collect();
        let mut seen: BTreeSet<usize> = open.iter().copied().collect();
        while let Some(place) = open.pop() {
            if place == to {
                return true;
            }
            open.extend(self.after(place).into_iter().filter(|&next| seen.insert(next)));
        }
        false
    }

    /// Whether a group may both read and write these buffers: each only at the current element.
    fn is_consistent(&self, group: &Group) -> bool {
        let clean = |read: NodeId, written: NodeId| match (group.reads.get(&read), group.writes(written)) {
            (Some(aligned), Some(root)) => *aligned && root.is_whole(),
            _ => true,
        };
        group.roots.iter().all(|root| clean(root.node, root.node))
            && self.updates.iter().all(|(&input, &output)| clean(input, output))
    }

    /// An output that cannot be written over its input directly.
    fn unsafe_update(&self) -> Option<usize> {
        self.targets.iter().position(|target| {
            let Some(input) = target.in_place else { return false };
            Self::of(&self.writers, target.node).any(|writer| {
                !self.is_consistent(self.group(writer))
                    || Self::of(&self.readers, input)
                        .any(|reader| reader != writer && self.reaches(writer, reader, true))
            })
        })
    }

    /// Whether something outside these groups needs a stored node.
    fn is_kept(&self, node: NodeId, places: &[usize]) -> bool {
        self.outputs.contains(&node) || Self::of(&self.readers, node).any(|reader| !places.contains(&reader))
    }

    /// Distinct buffers of a group made of those at `places`.
    fn buffers(&self, group: &Group, places: &[usize]) -> usize {
        let own = group.own();
        let stores = group.roots.iter().map(|root| root.node).filter(|&node| self.is_kept(node, places));
        let loads = group.reads.keys().copied().filter(|node| !own.contains(node));
        let place = |node: NodeId| {
            let input = self.updates.iter().find(|(_, output)| **output == node);
            input.map_or(node, |(&input, _)| input)
        };
        let partial = group.core.is_some_and(|core| lower::parts(self.graph, core) > 1);
        stores.chain(loads).map(place).collect::<BTreeSet<_>>().len() + usize::from(partial)
    }

    /// The two groups as one, if one dispatch can compute both.
    fn merged(&self, a: usize, b: usize) -> Option<Group> {
        let (first, second) = (self.group(a), self.group(b));
        if first.len != second.len || (first.core.is_some() && second.core.is_some()) {
            return None;
        }
        let mut group = first.clone();
        group.core = first.core.or(second.core);
        group.roots.extend(second.roots.iter().cloned());
        group.exprs += second.exprs;
        for (&node, &aligned) in &second.reads {
            group.reads.entry(node).and_modify(|all| *all &= aligned).or_insert(aligned);
        }
        let fits = group.exprs <= MOST_EXPRS && self.buffers(&group, &[a, b]) <= MOST_BUFFERS;
        let ordered = || !self.reaches(a, b, false) && !self.reaches(b, a, false);
        (fits && self.is_consistent(&group) && ordered()).then_some(group)
    }

    fn try_merge(&mut self, a: usize, b: usize) -> bool {
        let Some(group) = self.merged(a, b) else { return false };
        for places in self.writers.values_mut().chain(self.readers.values_mut()) {
            if places.remove(&b) {
                places.insert(a);
            }
        }
        self.groups[a] = Some(group);
        self.groups[b] = None;
        true
    }

    /// Pointwise groups join the group whose result they take up, then any group over as many
    /// elements.
    fn merge(&mut self) {
        let places = 0..self.groups.len();
        for related in [true, false] {
            for b in places.clone() {
                for a in places.clone().rev() {
                    let open = |place: usize| self.groups[place].as_ref();
                    let (Some(first), Some(second)) = (open(a), open(b)) else { continue };
                    let follows = first.roots.iter().any(|root| second.reads.contains_key(&root.node));
                    if a != b && second.core.is_none() && follows == related && self.try_merge(a, b) {
                        break;
                    }
                }
            }
        }
    }

    /// The groups in an order that respects who reads what, by node where there is a choice.
    fn schedule(mut self) -> (Vec<Group>, BTreeSet<NodeId>) {
        let mut waiting: BTreeMap<usize, usize> = BTreeMap::new();
        let places: Vec<usize> = (0..self.groups.len()).filter(|&p| self.groups[p].is_some()).collect();
        for &place in &places {
            waiting.entry(place).or_default();
            self.after(place).into_iter().for_each(|next| *waiting.entry(next).or_default() += 1);
        }
        let key = |web: &Self, place: usize| web.group(place).roots.iter().map(|root| root.value).max();
        let mut kept = BTreeSet::new();
        for &place in &places {
            let written = self.group(place).roots.iter().map(|root| root.node);
            kept.extend(written.filter(|&node| self.is_kept(node, &[place])));
        }
        let mut order = vec![];
        while let Some(place) = waiting.iter().filter(|(_, n)| **n == 0).map(|(&p, _)| p).min_by_key(|&p| key(&self, p))
        {
            waiting.remove(&place);
            for next in self.after(place) {
                *waiting.get_mut(&next).expect("a group that ran before what it needs") -= 1;
            }
            order.push(place);
        }
        assert!(waiting.is_empty(), "groups that wait for each other");
        let groups = order.into_iter().filter_map(|place| self.groups[place].take()).collect();
        (groups, kept)
    }
}
