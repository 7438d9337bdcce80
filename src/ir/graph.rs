//! The arena of nodes; equal nodes are shared.

use std::collections::{HashMap, HashSet};

use super::{DType, Op, Run};

/// Position of a node in its graph; arguments always come before their users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// Position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A primitive applied to earlier nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The primitive.
    pub op: Op,
    /// Its arguments.
    pub args: Vec<NodeId>,
    /// Sizes of the axes of its value; none for a scalar.
    pub shape: Vec<usize>,
    /// Type of its elements.
    pub dtype: DType,
}

/// A pure function of its inputs. Nodes are only ever added; what outputs do not need is dropped
/// when a graph is compiled or interpreted.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    memo: HashMap<Node, NodeId>,
    inputs: Vec<(String, NodeId)>,
    names: HashMap<NodeId, String>,
    holes: usize,
}

impl Graph {
    /// One without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// All nodes, each after its arguments.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node of this graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Sizes of the axes of a node's value.
    pub fn shape(&self, id: NodeId) -> &[usize] {
        &self.node(id).shape
    }

    /// Type of a node's elements.
    pub fn dtype(&self, id: NodeId) -> DType {
        self.node(id).dtype
    }

    /// Whether a node's value is computed from that of another.
    pub fn depends(&self, node: NodeId, on: NodeId) -> bool {
        let mut depends = vec![false; node.index() + 1];
        for position in on.index()..=node.index() {
            depends[position] =
                position == on.index() || self.nodes[position].args.iter().any(|arg| depends[arg.index()]);
        }
        depends[node.index()]
    }

    /// Names and nodes of the inputs, in order.
    pub fn inputs(&self) -> &[(String, NodeId)] {
        &self.inputs
    }

    /// A new input of the program.
    pub fn input(&mut self, name: &str, shape: &[usize], dtype: DType) -> NodeId {
        let op = Op::Input(self.inputs.len());
        let id = self.push(op, vec![], shape.to_vec(), dtype);
        self.inputs.push((name.to_owned(), id));
        id
    }

    /// A fresh tangent placeholder.
    pub(crate) fn hole(&mut self, shape: &[usize]) -> NodeId {
        self.holes += 1;
        self.push(Op::Hole(self.holes), vec![], shape.to_vec(), DType::F32)
    }

    /// Gives a node a name for printed graphs and programs; the first name stays.
    pub fn name(&mut self, id: NodeId, name: &str) -> NodeId {
        self.names.entry(id).or_insert_with(|| name.to_owned());
        id
    }

    /// The name given to a node, if any.
    pub fn name_of(&self, id: NodeId) -> Option<&str> {
        match self.node(id).op {
            Op::Input(position) => Some(&self.inputs[position].0),
            _ => self.names.get(&id).map(String::as_str),
        }
    }

    /// Adds a node, or finds the equal one.
    pub(crate) fn push(&mut self, op: Op, args: Vec<NodeId>, shape: Vec<usize>, dtype: DType) -> NodeId {
        let node = Node { op, args, shape, dtype };
        if let Some(&id) = self.memo.get(&node) {
            return id;
        }
        let id = NodeId(self.nodes.len() as u32);
        self.memo.insert(node.clone(), id);
        self.nodes.push(node);
        id
    }

    /// For every node, whether some of `outputs` needs it.
    pub fn live(&self, outputs: &[NodeId]) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        for &id in outputs {
            live[id.index()] = true;
        }
        for position in (0..self.nodes.len()).rev() {
            if live[position] {
                for &arg in &self.nodes[position].args {
                    live[arg.index()] = true;
                }
            }
        }
        live
    }

    /// What `outputs` need, as a graph of its own in which the `given` nodes are inputs under these names, and where the
    /// outputs are there. Inputs keep their order, those that are needed; the given ones come last.
    pub fn part(&self, outputs: &[NodeId], given: &[(String, NodeId)]) -> (Graph, Vec<NodeId>) {
        let mut live = vec![false; self.nodes.len()];
        outputs.iter().for_each(|id| live[id.index()] = true);
        let given_nodes: HashSet<usize> = given.iter().map(|(_, id)| id.index()).collect();
        let is_given = |position: usize| given_nodes.contains(&position);
        for position in (0..live.len()).rev().filter(|&position| !is_given(position)) {
            if live[position] {
                self.nodes[position].args.iter().for_each(|arg| live[arg.index()] = true);
            }
        }
        let mut part = Graph { holes: self.holes, ..Graph::new() };
        let mut image: HashMap<NodeId, NodeId> = HashMap::new();
        let inputs = self.inputs.iter().filter(|(_, id)| live[id.index()] && !is_given(id.index()));
        for (name, id) in inputs.chain(given) {
            image.insert(*id, part.input(name, self.shape(*id), self.dtype(*id)));
        }
        for (position, node) in self.nodes.iter().enumerate() {
            let id = NodeId(position as u32);
            if !live[position] || image.contains_key(&id) {
                continue;
            }
            let args = node.args.iter().map(|arg| image[arg]).collect();
            let new = part.push(node.op.clone(), args, node.shape.clone(), node.dtype);
            if let Some(name) = self.name_of(id) {
                part.name(new, name);
            }
            image.insert(id, new);
        }
        (part, outputs.iter().map(|id| image[id]).collect())
    }

    /// One node a line: `%7 name = op(%3, %5) : f32[64, 8]`, live nodes only.
    pub fn print(&self, outputs: &[(String, NodeId)]) -> String {
        let roots: Vec<NodeId> = outputs.iter().map(|(_, id)| *id).collect();
        let live = self.live(&roots);
        let mut text = String::new();
        for (position, node) in self.nodes.iter().enumerate() {
            if !live[position] {
                continue;
            }
            let name = self.name_of(NodeId(position as u32)).map(|n| format!(" {n}")).unwrap_or_default();
            let args: Vec<String> = node.args.iter().map(|a| format!("%{}", a.0)).collect();
            let op = match &node.op {
                Op::Input(_) => "input".to_owned(),
                Op::Const(bits) => format!("{}", f64::from_bits(*bits)),
                Op::ConstU(word) => format!("{word}u"),
                Op::Scalar(f) => format!("{f:?}").to_lowercase(),
                Op::Conv { face, geometry: g } => format!(
                    "conv.{}{{{:?} k{:?} s{:?} p{:?}}}",
                    format!("{face:?}").to_lowercase(),
                    g.input,
                    g.kernel,
                    g.stride,
                    g.pad
                ),
                Op::Repeat { runs } => format!("repeat{{{}}}", printed(runs)),
                Op::SegmentSum { runs } => format!("segment_sum{{{}}}", printed(runs)),
                other => format!("{other:?}").to_lowercase(),
            };
            let dtype = format!("{:?}", node.dtype).to_lowercase();
            text.push_str(&format!("%{position}{name} = {op}({}) : {dtype}{:?}\n", args.join(", "), node.shape));
        }
        for (name, id) in outputs {
            text.push_str(&format!("return {name} = %{}\n", id.0));
        }
        text
    }
}

/// Runs as `length × value`; a gap has no value.
fn printed(runs: &[Run]) -> String {
    let run = |run: &Run| format!("{}×{}", run.length, run.value.map_or("-".to_owned(), |value| value.to_string()));
    runs.iter().map(run).collect::<Vec<_>>().join(" ")
}
