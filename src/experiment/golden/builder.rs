//! A case's graph while it is made.

use std::collections::BTreeMap;

use super::{Array, Case, CaseError};
use crate::autodiff::jvp;
use crate::ir::{DType, Graph, NodeId, numel};

/// A case as one graph: its inputs' values in order, and its outputs by the names of `case.json`.
pub struct CaseGraph {
    /// The function.
    pub graph: Graph,
    /// Values of the inputs.
    pub inputs: Vec<Array>,
    /// What to compare.
    pub outputs: Vec<(String, NodeId)>,
}

/// Inputs are made on demand and remembered by name.
pub struct Builder<'a> {
    pub case: &'a Case,
    pub graph: Graph,
    pub inputs: Vec<Array>,
    pub nodes: BTreeMap<String, NodeId>,
}

impl<'a> Builder<'a> {
    pub fn new(case: &'a Case) -> Self {
        Builder { case, graph: Graph::new(), inputs: vec![], nodes: BTreeMap::new() }
    }

    /// An input of floats.
    pub fn input(&mut self, name: &str) -> Result<NodeId, CaseError> {
        self.array(name, DType::F32)
    }

    /// An input of words, each below `limit`.
    pub fn words(&mut self, name: &str, limit: usize) -> Result<NodeId, CaseError> {
        let id = self.array(name, DType::U32)?;
        match self.case.input(name)?.data.iter().find(|&&word| word >= limit as f64) {
            Some(word) => Err(self.case.inconsistent(format!("`in.{name}` holds {word}, but must stay below {limit}"))),
            None => Ok(id),
        }
    }

    pub fn array(&mut self, name: &str, dtype: DType) -> Result<NodeId, CaseError> {
        if let Some(&id) = self.nodes.get(name) {
            return Ok(id);
        }
        let array = self.case.input(name)?;
        if array.dtype != dtype {
            let kind = if dtype == DType::F32 { "floats" } else { "whole numbers" };
            return Err(self.case.inconsistent(format!("`in.{name}` must hold {kind}")));
        }
        if array.data.is_empty() {
            return Err(self.case.inconsistent(format!("`in.{name}` is empty")));
        }
        // A scalar may be stored with shape [1].
        let declared = self.case.meta["inputs"][name]["shape"].as_array();
        let shape = match declared {
            Some(axes) if axes.is_empty() => vec![],
            _ => array.shape.clone(),
        };
        if array.data.len() != numel(&shape) {
            let problem = format!("`in.{name}` has {} values, its shape {shape:?}", array.data.len());
            return Err(self.case.inconsistent(problem));
        }
        let id = self.graph.input(name, &shape, array.dtype);
        self.inputs.push(array.clone());
        self.nodes.insert(name.to_owned(), id);
        Ok(id)
    }

    pub fn shape(&self, id: NodeId) -> &[usize] {
        self.graph.shape(id)
    }

    /// Refuses inputs that a graph would not take, before it is asked to.
    pub fn require(&self, holds: bool) -> Result<(), CaseError> {
        if holds { Ok(()) } else { Err(self.misfit()) }
    }

    pub fn misfit(&self) -> CaseError {
        let shapes = self.nodes.iter().map(|(name, &id)| format!("`in.{name}` {:?}", self.shape(id)));
        let shapes = shapes.collect::<Vec<_>>().join(", ");
        let (op, attrs) = (&self.case.meta["op"], &self.case.meta["attrs"]);
        let what = if op.is_null() { "the model".to_owned() } else { format!("op {op} with attributes {attrs}") };
        self.case.inconsistent(format!("{what} cannot take inputs of these shapes: {shapes}"))
    }

    /// An axis of an array, counted from the end where negative.
    pub fn axis(&self, x: NodeId, axis: i64) -> Result<usize, CaseError> {
        let rank = self.shape(x).len() as i64;
        self.require((-rank..rank).contains(&axis))?;
        Ok(axis.rem_euclid(rank) as usize)
    }

    pub fn finish(self, mut outputs: Vec<(String, NodeId)>) -> CaseGraph {
        outputs.retain(|(name, _)| self.case.outputs.contains_key(name));
        CaseGraph { graph: self.graph, inputs: self.inputs, outputs }
    }
}

pub fn zeros_like(g: &mut Graph, id: NodeId) -> NodeId {
    let shape = g.shape(id).to_vec();
    g.full(&shape, 0.0)
}

/// The jvp of one node, zero where it does not move.
pub fn push_forward(g: &mut Graph, output: NodeId, seeds: &[(NodeId, NodeId)]) -> NodeId {
    jvp(g, &[output], seeds)[0].unwrap_or_else(|| zeros_like(g, output))
}

/// A row of an array, along its first axis.
pub fn row(g: &mut Graph, array: NodeId, at: usize) -> NodeId {
    let shape = g.shape(array)[1..].to_vec();
    let start: Vec<usize> = std::iter::once(at).chain(shape.iter().map(|_| 0)).collect();
    let one: Vec<usize> = std::iter::once(1).chain(shape.iter().copied()).collect();
    let part = g.slice(array, &start, &one, &vec![1; one.len()]);
    g.reshape(part, &shape)
}
