//! A graph with its outputs, by name: what a program is made of.

use crate::compile::{CompileError, Output, Program, compile, compile_cut};
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
    /// Nodes that are computed first, by dispatches of their own, and what they are called; see [`compile_cut`].
    pub cut: Vec<(String, NodeId)>,
}

impl Function {
    /// An empty one.
    pub fn new(name: &'static str) -> Self {
        Function { name, graph: Graph::new(), outputs: vec![], cut: vec![] }
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

    /// Compiles it.
    pub fn compile(&self) -> Result<Program, CompileError> {
        match self.cut.is_empty() {
            true => compile(self.name, &self.graph, &self.outputs),
            false => compile_cut(self.name, &self.graph, &self.outputs, &self.cut),
        }
    }
}
