//! Which stored nodes one dispatch computes, and the order of dispatches.

use std::collections::{BTreeMap, BTreeSet};

use super::lower::{self, MOST_EXPRS, Root};
use super::store::{FREE, MOST_BUFFERS, Stores};
use crate::ir::{Graph, NodeId, Op, numel};

/// Operations an element, loads and indices among them, that do not slow a loop down.
const FEW: usize = 32;

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
    /// Nodes read outside the loop of the core.
    stores_read: BTreeSet<NodeId>,
    /// Elements computed.
    len: usize,
    exprs: usize,
    /// Operations of all elements, without the loop of the core.
    operations: usize,
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
    for k in 0..targets.len() {
        if matches!(graph.node(targets[k].node).op, Op::Input(_)) || is_taken(&targets, k) {
            copy(&mut graph, &mut targets, k);
        }
    }
    loop {
        let outputs: Vec<NodeId> = targets.iter().map(|target| target.node).collect();
        let stores = Stores::choose(&graph, &outputs);
        let mut web = Web::new(&graph, &targets, &stores);
        if let Some(k) = web.unsafe_update() {
            copy(&mut graph, &mut targets, k);
            continue;
        }
        web.merge();
        let (groups, kept) = web.schedule();
        let stored = stores.stored;
        return Fused { graph, targets, stored, groups, kept };
    }
}

/// Whether another output is the same node.
fn is_taken(targets: &[Target], k: usize) -> bool {
    targets.iter().enumerate().any(|(other, target)| other != k && target.node == targets[k].node)
}

/// Makes an output a copy that is no other output.
fn copy(graph: &mut Graph, targets: &mut [Target], k: usize) {
    targets[k].node = graph.stop_gradient(targets[k].node);
    while is_taken(targets, k) {
        targets[k].node = graph.stop_gradient(targets[k].node);
    }
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
    fn new(graph: &'a Graph, targets: &[Target], stores: &Stores) -> Self {
        let mut web = Web {
            graph,
            outputs: targets.iter().map(|t| t.node).collect(),
            updates: targets.iter().filter_map(|t| Some((t.in_place?, t.node))).collect(),
            groups: vec![],
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
            targets: targets.to_vec(),
        };
        for (root, core, analysis) in stores.dispatches() {
            let len = numel(graph.shape(root.value));
            let (reads, exprs) = (analysis.reads.clone(), analysis.exprs);
            let (stores_read, operations) = match core {
                Some(_) => Default::default(),
                None => (reads.keys().copied().collect(), len * analysis.operations),
            };
            web.add(Group { core, roots: vec![root], reads, stores_read, len, exprs, operations });
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

    fn add(&mut self, group: Group) {
        let place = self.groups.len();
        for root in &group.roots {
            self.writers.entry(root.node).or_default().insert(place);
        }
        for &node in group.reads.keys() {
            self.readers.entry(node).or_default().insert(place);
        }
        self.groups.push(Some(group));
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
        // What the loop of a sum in parts reads, another dispatch does.
        let in_parts = group.core.is_some_and(|core| lower::parts(self.graph, core) > 1);
        let reads: Vec<NodeId> =
            if in_parts { group.stores_read.iter().copied().collect() } else { group.reads.keys().copied().collect() };
        let loads = reads.into_iter().filter(|node| !own.contains(node));
        let place = |node: NodeId| {
            let input = self.updates.iter().find(|(_, output)| **output == node);
            input.map_or(node, |(&input, _)| input)
        };
        stores.chain(loads).map(place).collect::<BTreeSet<_>>().len() + usize::from(in_parts)
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
        group.stores_read.extend(&second.stores_read);
        group.exprs += second.exprs;
        group.operations += second.operations;
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

    /// Pointwise groups join the group whose result they take up, then another over as many elements, then, if they
    /// are small, a loop over as many: within it they are slower than on their own.
    fn merge(&mut self) {
        self.join(|first, second| first.roots.iter().any(|root| second.reads.contains_key(&root.node)));
        self.join(|first, _| first.core.is_none());
        self.join(|_, second| second.operations <= FREE.max(FEW * second.len));
    }

    /// Pointwise groups join the last group that is wanted for them.
    fn join(&mut self, wanted: impl Fn(&Group, &Group) -> bool) {
        let places = 0..self.groups.len();
        for b in places.clone() {
            for a in places.clone().rev() {
                let open = |place: usize| self.groups[place].as_ref();
                let (Some(first), Some(second)) = (open(a), open(b)) else { continue };
                if a != b && second.core.is_none() && wanted(first, second) && self.try_merge(a, b) {
                    break;
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
