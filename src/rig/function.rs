//! A graph with its outputs, by name: what a program is made of.

use std::rc::Rc;

use crate::compile::{CompileError, Output, Program, compile};
use crate::ir::{DType, Graph, NodeId, Scalar};

/// An array that is kept on the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its name on the [`Rig`](super::Rig): programs find it by that of their ports.
    pub name: String,
    /// Type of its elements.
    pub dtype: DType,
    /// Elements, of four bytes each; those of one member where there are several.
    pub len: usize,
    /// Whether each member of a population has one for itself, or all have the same.
    pub own: bool,
}

impl Array {
    /// One of so many elements, which the members of a population share.
    pub fn new(name: &str, dtype: DType, len: usize) -> Self {
        Array { name: name.to_owned(), dtype, len, own: false }
    }

    /// The same for each member of a population. What a program writes has to be.
    pub fn own(self) -> Self {
        Array { own: true, ..self }
    }
}

/// A graph with its outputs.
#[derive(Clone)]
pub struct Function {
    /// Its name on the [`Rig`](super::Rig).
    pub name: &'static str,
    /// What is computed. The names of its inputs are those of arrays.
    pub graph: Graph,
    /// What is written, under the names of arrays.
    pub outputs: Vec<Output>,
    /// Where it is cut, if it is compiled in two parts.
    pub cut: Option<Cut>,
}

/// Nodes that are computed first, by a program of their own, from which another then computes the outputs. An output that
/// bears the name of one is that node itself.
#[derive(Clone, PartialEq)]
pub struct Cut {
    /// The nodes, by the names under which the second part finds them.
    pub nodes: Vec<(String, NodeId)>,
    /// What the two parts are called.
    pub parts: [&'static str; 2],
}

impl Function {
    /// An empty one.
    pub fn new(name: &'static str) -> Self {
        Function { name, graph: Graph::new(), outputs: vec![], cut: None }
    }

    /// An input of this name that is there already.
    ///
    /// # Panics
    /// If there is none.
    pub fn input(&self, name: &str) -> NodeId {
        self.graph.inputs().iter().find(|(input, _)| input == name).expect("an input").1
    }

    /// Adds an output.
    pub fn output(&mut self, name: &str, node: NodeId) {
        self.outputs.push(Output { name: name.to_owned(), node, in_place: None });
    }

    /// An output that replaces the input of the same name.
    ///
    /// # Panics
    /// If `input` is no input of the graph.
    pub fn update(&mut self, input: NodeId, node: NodeId) {
        let position = self.graph.inputs().iter().position(|(_, id)| *id == input).expect("an input");
        let name = self.graph.inputs()[position].0.clone();
        self.outputs.push(Output { name, node, in_place: Some(position) });
    }

    /// Adds one to an input that counts chunks.
    pub fn count(&mut self, chunk: NodeId) {
        let one = self.graph.full_u(&[1], 1);
        let next = self.graph.scalar(Scalar::AddU, &[chunk, one]);
        self.update(chunk, next);
    }

    /// Whether another is called the same and computes the same.
    pub fn same(&self, other: &Function) -> bool {
        self.name == other.name
            && self.outputs == other.outputs
            && self.cut == other.cut
            && self.graph.inputs() == other.graph.inputs()
            && self.graph.nodes() == other.graph.nodes()
    }

    /// What some outputs of a graph need, as a function of its own, in which the `given` nodes are inputs under these
    /// names. An output that replaces an input has to read it.
    pub fn of(
        name: &'static str,
        graph: &Graph,
        outputs: &[Output],
        given: &[(String, NodeId)],
        cut: Option<&Cut>,
    ) -> Function {
        let first = cut.map_or(&[][..], |cut| &cut.nodes);
        let nodes: Vec<NodeId> = outputs.iter().map(|output| output.node).chain(first.iter().map(|f| f.1)).collect();
        let (part, nodes) = graph.part(&nodes, given);
        let place = |position: usize| {
            let (input, _) = &graph.inputs()[position];
            part.inputs().iter().position(|(other, _)| other == input).expect("what an output replaces is read")
        };
        let (own, nodes) = nodes.split_at(outputs.len());
        let outputs = outputs.iter().zip(own).map(|(output, &node)| Output {
            name: output.name.clone(),
            node,
            in_place: output.in_place.map(place),
        });
        let outputs = outputs.collect();
        let cut = cut.map(|Cut { nodes: names, parts }| Cut {
            nodes: names.iter().zip(nodes).map(|((name, _), &node)| (name.clone(), node)).collect(),
            parts: *parts,
        });
        Function { name, graph: part, outputs, cut }
    }

    /// Compiles it.
    pub fn compile(&self) -> Result<Program, CompileError> {
        self.compile_with(|part| part.compile().map(Rc::new))
    }

    /// The same where its parts, if it is cut, are compiled by `program`.
    pub(super) fn compile_with(
        &self,
        program: impl Fn(&Function) -> Result<Rc<Program>, CompileError>,
    ) -> Result<Program, CompileError> {
        let Function { name, graph, outputs, cut: Some(Cut { nodes, parts }) } = self else {
            return compile(self.name, &self.graph, &self.outputs);
        };
        let left: Vec<Output> = nodes.iter().map(|(name, node)| Output::new(name, *node)).collect();
        let first = Function::of(parts[0], graph, &left, &[], None);
        let own: Vec<Output> = outputs.iter().filter(|o| left.iter().all(|l| l.name != o.name)).cloned().collect();
        let second = Function::of(parts[1], graph, &own, nodes, None);
        program(&first)?.then(&*program(&second)?, name, graph.inputs(), outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{BufferIndex, residuals};

    #[test]
    fn what_late_inputs_meet_is_computed_first_and_scratch_unless_it_is_asked_for() {
        // tanh of a product, and its product with a late matrix, which replaces that.
        let mut f = Function::new("f");
        let g = &mut f.graph;
        let x = g.input("x", &[1, 8, 8], DType::F32);
        let late = g.input("late", &[1, 8, 8], DType::F32);
        let product = g.matmul(x, x, [false, false]);
        let y = g.scalar(Scalar::Tanh, &[product]);
        let last = g.matmul(y, late, [false, false]);
        let (graph, nodes, left) = residuals(g, &[y, last], &[1]);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].1, nodes[0], "the only thing that the late product loads");
        let outputs = [Output::new(&left[0].0, nodes[0]), Output::over("late", nodes[1], 1)];
        let cut = Cut { nodes: left, parts: ["first", "second"] };

        let whole = Function::of("f", &graph, &outputs, &[], None).compile().unwrap();
        let both = Function::of("f", &graph, &outputs, &[], Some(&cut)).compile().unwrap();
        assert_eq!(both.dispatches.len(), whole.dispatches.len());
        let places = |program: &Program| {
            let of = |list: &[BufferIndex]| list.iter().map(|&i| program.buffer(i).place).collect::<Vec<_>>();
            (of(&program.inputs), of(&program.outputs))
        };
        assert_eq!(places(&both), places(&whole));
        assert_eq!(both.scratch, whole.scratch);
        let alone = Function::of("f", &graph, &outputs[1..], &[], Some(&cut)).compile().unwrap();
        assert_eq!(alone.scratch.len(), whole.scratch.len() + 1);
        // Whatever becomes of what lies between, the same is run.
        let work = |program: &Program| {
            program.dispatches.iter().map(|d| (d.domain.clone(), d.core.clone())).collect::<Vec<_>>()
        };
        assert_eq!(work(&alone), work(&both));
    }
}
