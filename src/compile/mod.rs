//! From a graph to a [`Program`]: simplify, fuse, lower, plan memory, verify.

mod cost;
mod cut;
mod fuse;
mod index;
mod launches;
mod lower;
mod members;
mod memory;
mod print;
mod program;
mod simplify;
mod store;
mod verify;

pub use cost::Cost;
pub use cut::residuals;
pub use program::*;
pub use verify::VerifyError;

use std::collections::{BTreeMap, BTreeSet};

use crate::ir::{DType, Graph, NodeId, Op, numel};
use fuse::{Fused, Group, Target};
use lower::Lowering;

/// An output of a compiled graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// What the program calls its buffer.
    pub name: String,
    /// The value, a node of the graph that is compiled.
    pub node: NodeId,
    /// The input, by position, whose buffer this output takes over: its old value is read before
    /// it is written.
    pub in_place: Option<usize>,
}

impl Output {
    /// An output in a buffer of its own.
    pub fn new(name: &str, node: NodeId) -> Self {
        Output { name: name.to_owned(), node, in_place: None }
    }

    /// An output written over an input of the same length and type.
    pub fn over(name: &str, node: NodeId, input: usize) -> Self {
        Output { in_place: Some(input), ..Output::new(name, node) }
    }
}

/// Why a graph could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum CompileError {
    /// An output is to replace an input that the graph does not have.
    #[error("program `{program}`: output `{output}` is to replace input {input}, but there are {inputs} inputs")]
    NoSuchInput { program: String, output: String, input: usize, inputs: usize },
    /// An output is to replace an input of another length or type.
    #[error(
        "program `{program}`: output `{output}` ({output_is}) cannot replace input `{input}` ({input_is}): \
         length and type must be the same"
    )]
    InPlaceMismatch { program: String, output: String, output_is: String, input: String, input_is: String },
    /// Two outputs are to replace one input.
    #[error("program `{program}`: outputs `{first}` and `{second}` both replace input `{input}`")]
    InPlaceTwice { program: String, first: String, second: String, input: String },
    /// An array without elements.
    #[error("program `{program}`: array `{node}` of shape {shape:?} is empty; give every axis at least one element")]
    Empty { program: String, node: String, shape: Vec<usize> },
    /// An array of 2³¹ elements or more.
    #[error(
        "program `{program}`: array `{node}` of shape {shape:?} has more elements than an index of 31 bits holds; \
         use a smaller batch"
    )]
    TooLarge { program: String, node: String, shape: Vec<usize> },
    /// A search for the largest of more than [`MAX_EXTENT`] elements.
    #[error(
        "program `{program}`: array `{node}` is the place of the largest of {extent} elements; at most {MAX_EXTENT} are \
         compared"
    )]
    LongSearch { program: String, node: String, extent: usize },
    /// A program for a population of nobody.
    #[error("program `{program}` is to run for no member of a population; there has to be at least 1")]
    NoMember { program: String },
    /// A node that stands for a tangent outlived the transposition that made it.
    #[error("program `{program}`: a placeholder of a transposition is left in the graph")]
    Hole { program: String },
    /// What was compiled breaks a rule: a fault of the compiler.
    #[error(transparent)]
    Unsound(#[from] VerifyError),
}

/// Compiles a graph: the program reads every input of the graph and writes the outputs.
pub fn compile(name: &str, graph: &Graph, outputs: &[Output]) -> Result<Program, CompileError> {
    check(name, graph, outputs)?;
    let nodes: Vec<NodeId> = outputs.iter().map(|output| output.node).collect();
    let (graph, nodes) = simplify::simplify(graph, &nodes);
    let inputs: Vec<NodeId> = graph.inputs().iter().map(|(_, id)| *id).collect();
    // An output that is the very input it replaces needs nothing.
    let in_place = |output: &Output| output.in_place.map(|position| inputs[position]);
    let written: Vec<usize> = (0..outputs.len()).filter(|&k| in_place(&outputs[k]) != Some(nodes[k])).collect();
    let target = |&k: &usize| Target { node: nodes[k], in_place: in_place(&outputs[k]) };
    let fused = fuse::fuse(graph, written.iter().map(target).collect());

    let mut assembly = Assembly::new(name, &fused, outputs, &written);
    for group in &fused.groups {
        assembly.group(group);
    }
    let mut program = assembly.program;
    launches::plan(&mut program);
    memory::plan(&mut program);
    program.verify()?;
    Ok(program)
}

/// Refuses what no program can be made of.
fn check(name: &str, graph: &Graph, outputs: &[Output]) -> Result<(), CompileError> {
    let program = || name.to_owned();
    let roots: Vec<NodeId> = outputs.iter().map(|output| output.node).collect();
    let mut live = graph.live(&roots);
    graph.inputs().iter().for_each(|(_, id)| live[id.index()] = true);
    for (position, node) in graph.nodes().iter().enumerate().filter(|(position, _)| live[*position]) {
        let named = || graph.name_of(NodeId(position as u32)).map_or(format!("%{position}"), str::to_owned);
        if matches!(node.op, Op::Hole(_)) {
            return Err(CompileError::Hole { program: program() });
        }
        if let Op::ArgMax { axis } = node.op {
            let extent = graph.shape(node.args[0])[axis];
            if extent > MAX_EXTENT {
                return Err(CompileError::LongSearch { program: program(), node: named(), extent });
            }
        }
        if node.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).is_none_or(|n| n >= 1 << 31) {
            return Err(CompileError::TooLarge { program: program(), node: named(), shape: node.shape.clone() });
        }
        if numel(&node.shape) == 0 {
            return Err(CompileError::Empty { program: program(), node: named(), shape: node.shape.clone() });
        }
    }
    let mut replaced: BTreeMap<usize, &str> = BTreeMap::new();
    for output in outputs {
        let Some(position) = output.in_place else { continue };
        let Some((input, id)) = graph.inputs().get(position) else {
            return Err(CompileError::NoSuchInput {
                program: program(),
                output: output.name.clone(),
                input: position,
                inputs: graph.inputs().len(),
            });
        };
        let is = |id: NodeId| format!("{} of {:?}", numel(graph.shape(id)), graph.dtype(id));
        if is(*id) != is(output.node) {
            return Err(CompileError::InPlaceMismatch {
                program: program(),
                output: output.name.clone(),
                output_is: is(output.node),
                input: input.clone(),
                input_is: is(*id),
            });
        }
        if let Some(first) = replaced.insert(position, &output.name) {
            return Err(CompileError::InPlaceTwice {
                program: program(),
                first: first.to_owned(),
                second: output.name.clone(),
                input: input.clone(),
            });
        }
    }
    Ok(())
}

/// A program being put together.
struct Assembly<'a> {
    fused: &'a Fused,
    buffers: BTreeMap<NodeId, BufferIndex>,
    program: Program,
}

impl<'a> Assembly<'a> {
    /// Lays out the buffers: inputs, outputs, then what lives within the program.
    fn new(name: &str, fused: &'a Fused, outputs: &[Output], written: &[usize]) -> Self {
        let graph = &fused.graph;
        let program = Program::new(name);
        let mut assembly = Assembly { fused, buffers: BTreeMap::new(), program };
        for (position, (name, id)) in graph.inputs().iter().enumerate() {
            let output = outputs.iter().position(|output| output.in_place == Some(position));
            let place = output.map_or(Place::Input(position), |output| Place::InPlace { input: position, output });
            let buffer = assembly.buffer(name.clone(), graph.dtype(*id), numel(graph.shape(*id)), place);
            assembly.program.inputs.push(buffer);
            assembly.buffers.insert(*id, buffer);
        }
        for (position, output) in outputs.iter().enumerate() {
            let target = written.iter().position(|&k| k == position).map(|k| fused.targets[k].node);
            let buffer = match (output.in_place, target) {
                (Some(input), _) => assembly.program.inputs[input],
                (None, Some(node)) => {
                    let (dtype, len) = (graph.dtype(node), numel(graph.shape(node)));
                    assembly.buffer(output.name.clone(), dtype, len, Place::Output(position))
                }
                (None, None) => unreachable!("only an output in place can need nothing"),
            };
            assembly.program.outputs.push(buffer);
            target.map(|node| assembly.buffers.insert(node, buffer));
        }
        for &node in &fused.kept {
            if !assembly.buffers.contains_key(&node) {
                let (dtype, len) = (graph.dtype(node), numel(graph.shape(node)));
                let buffer = assembly.buffer(node_name(graph, node), dtype, len, Place::Scratch(0));
                assembly.buffers.insert(node, buffer);
            }
        }
        assembly
    }

    fn buffer(&mut self, name: String, dtype: DType, len: usize, place: Place) -> BufferIndex {
        let index = BufferIndex(self.program.buffers.len() as u32);
        self.program.buffers.push(Buffer { name, dtype, len, copies: 1, step: 0, place });
        index
    }

    /// Adds the dispatch of a group, or the two of a sum in parts.
    fn group(&mut self, group: &Group) {
        let graph = &self.fused.graph;
        let label = self.label(group);
        let partial = group.core.and_then(|core| self.partial_sums(core, &label));
        let domain = match group.core {
            Some(core) => lower::core_domain(graph, core),
            None => lower::map_domain(graph.shape(group.roots[0].value)),
        };
        let mut lowering = self.lowering(domain).computing(group.own(), group.core);
        let core = match (group.core, partial) {
            (None, _) => Core::Map,
            (Some(core), None) => lowering.core(core),
            (Some(core), Some(partial)) => lowering.sum_of_parts(core, partial),
        };
        // Those that others are made of come first, kept or not.
        let mut roots = group.roots.clone();
        roots.sort_by_key(|root| root.value);
        let mut stores = vec![];
        for root in roots {
            let value = lowering.root(&root);
            if self.fused.kept.contains(&root.node) {
                stores.push(Store { buffer: self.buffers[&root.node], offset: root.offset, value });
            }
        }
        let dispatch = lowering.finish(label, core, stores);
        self.program.dispatches.push(dispatch);
    }

    /// Adds the dispatch that sums a core's parts, if it is summed in parts, into the buffer returned.
    fn partial_sums(&mut self, core: NodeId, label: &str) -> Option<BufferIndex> {
        let graph = &self.fused.graph;
        let parts = lower::parts(graph, core);
        if parts == 1 {
            return None;
        }
        let domain = lower::parts_domain(graph, core);
        let name = format!("{} parts", node_name(graph, core));
        let partial = self.buffer(name, graph.dtype(core), numel(&domain), Place::Scratch(0));
        let mut lowering = self.lowering(domain);
        let loop_ = lowering.core(core);
        let value = lowering.exprs.push(Expr::Acc);
        let stores = vec![Store { buffer: partial, offset: 0, value }];
        let dispatch = lowering.finish(format!("{label}, in {parts} parts"), loop_, stores);
        self.program.dispatches.push(dispatch);
        Some(partial)
    }

    /// The loop and what comes of it, in the words of the graph.
    fn label(&self, group: &Group) -> String {
        let core = group.core.map_or("map".to_owned(), |core| operation(&self.fused.graph.node(core).op));
        let kept = group.roots.iter().filter(|root| self.fused.kept.contains(&root.node));
        let buffers: BTreeSet<BufferIndex> = kept.map(|root| self.buffers[&root.node]).collect();
        let names: Vec<&str> = buffers.iter().map(|&buffer| self.program.buffer(buffer).name.as_str()).collect();
        format!("{core} → {}", names.join(", "))
    }

    fn lowering(&self, domain: Vec<usize>) -> Lowering<'_> {
        Lowering::new(&self.fused.graph, &self.fused.stored, domain).loading(&self.buffers)
    }
}

/// What a node is called in a program: its name, or its operation and position.
fn node_name(graph: &Graph, id: NodeId) -> String {
    graph.name_of(id).map_or_else(|| format!("{}.{}", operation(&graph.node(id).op), id.index()), str::to_owned)
}

fn operation(op: &Op) -> String {
    match op {
        Op::Scalar(f) => format!("{f:?}").to_lowercase(),
        Op::Conv { face, .. } => format!("conv {face:?}").to_lowercase(),
        Op::MatMul { .. } => "matmul".to_owned(),
        Op::Sum { .. } => "sum".to_owned(),
        Op::ArgMax { .. } => "argmax".to_owned(),
        Op::StopGradient => "copy".to_owned(),
        Op::SegmentSum { .. } => "segment sum".to_owned(),
        Op::TakeRows => "rows".to_owned(),
        Op::Broadcast { .. } => "broadcast".to_owned(),
        Op::Permute { .. } => "permute".to_owned(),
        Op::Slice { .. } => "slice".to_owned(),
        Op::Pad { .. } => "pad".to_owned(),
        Op::Const(_) | Op::ConstU(_) => "constant".to_owned(),
        other => format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x `[2, 3]` and y of another length.
    fn graph() -> (Graph, NodeId, NodeId) {
        let mut g = Graph::new();
        let x = g.input("x", &[2, 3], DType::F32);
        let y = g.input("y", &[4], DType::F32);
        (g, x, y)
    }

    #[test]
    fn an_output_in_place_must_fit_its_input_and_have_it_alone() {
        let (mut g, x, y) = graph();
        let double = g.scale(x, 2.0);
        let error = compile("p", &g, &[Output::over("o", double, 1)]).unwrap_err().to_string();
        assert!(error.contains("`o` (6 of F32) cannot replace input `y` (4 of F32)"), "{error}");
        let error = compile("p", &g, &[Output::over("o", double, 7)]).unwrap_err().to_string();
        assert!(error.contains("input 7, but there are 2"), "{error}");
        let twice = [Output::over("a", double, 0), Output::over("b", x, 0)];
        let error = compile("p", &g, &twice).unwrap_err().to_string();
        assert!(error.contains("`a` and `b` both replace input `x`"), "{error}");
        assert!(compile("p", &g, &[Output::over("o", y, 1)]).unwrap().dispatches.is_empty());
    }

    #[test]
    fn empty_arrays_are_refused() {
        let mut g = Graph::new();
        let x = g.input("x", &[0, 3], DType::F32);
        let error = compile("p", &g, &[Output::new("o", x)]).unwrap_err().to_string();
        assert!(error.contains("`x` of shape [0, 3] is empty"), "{error}");
    }
}
