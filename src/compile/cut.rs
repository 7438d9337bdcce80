//! A computation in two parts: what the first one leaves for the second, and both as one program.
//!
//! A program that is cut runs the very dispatches of its first part, then those of its second. So whatever is done with
//! what lies between them (given up with the program's scratch memory, or kept for another program that begins with the
//! second part), the bits are the same.

use std::collections::{BTreeMap, BTreeSet};

use super::store::Stores;
use super::{Buffer, BufferIndex, CompileError, Expr, Output, Place, Program, memory, node_name, simplify};
use crate::ir::{Graph, NodeId, Op, numel};

/// Operations an element up to which a residual is rather made again than kept, and the share of its length up to which
/// what it is made of may lie anywhere.
const CHEAP: usize = 48;
const SMALL: usize = 16;

/// The graph that some outputs need, made cheap to run; the outputs in it; and where to cut it: what a first part, which
/// does without the inputs at the places `late`, computes for what depends on these, under names of its own.
///
/// What the first part leaves is what the dispatches of the others would load: the *residuals* of a linearization, where
/// the late inputs are cotangents.
pub fn residuals(graph: &Graph, outputs: &[NodeId], late: &[usize]) -> (Graph, Vec<NodeId>, Vec<(String, NodeId)>) {
    let (graph, outputs) = simplify::simplify(graph, outputs);
    let is_input = |id: &NodeId| matches!(graph.node(*id).op, Op::Input(_));
    let computed: Vec<NodeId> = outputs.iter().copied().filter(|id| !is_input(id)).collect();
    let stores = Stores::choose(&graph, &computed);

    let mut depends: Vec<bool> = vec![];
    for node in graph.nodes() {
        let is_late = matches!(node.op, Op::Input(position) if late.contains(&position));
        depends.push(is_late || node.args.iter().any(|arg| depends[arg.index()]));
    }
    // What each stored node is made of, and whether only of the elements at its own places, or of each element once.
    let mut loads: BTreeMap<NodeId, BTreeMap<NodeId, bool>> = BTreeMap::new();
    for (root, core, analysis) in stores.dispatches() {
        let of = loads.entry(root.node).or_default();
        let sums = core.is_some_and(|core| matches!(graph.node(core).op, Op::Sum { .. } | Op::SegmentSum { .. }));
        for (&id, &aligned) in analysis.reads.iter().filter(|(id, _)| !is_input(id)) {
            let aligned = aligned || sums;
            of.entry(id).and_modify(|all| *all &= aligned).or_insert(aligned);
        }
    }
    // The first part: what those that are late load, and what that is made of.
    let early = |(id, _): &(&NodeId, &bool)| !depends[id.index()];
    let mut first: BTreeSet<NodeId> = BTreeSet::new();
    let late = loads.iter().filter(|(id, _)| depends[id.index()]);
    let mut open: Vec<NodeId> = late.flat_map(|(_, of)| of.iter().filter(early)).map(|(&id, _)| id).collect();
    while let Some(id) = open.pop() {
        if first.insert(id) {
            open.extend(loads.get(&id).into_iter().flatten().map(|(&id, _)| id));
        }
    }
    // All else is of the second one, which takes what it loads of the first.
    let mut left: BTreeMap<NodeId, bool> = BTreeMap::new();
    for of in loads.iter().filter(|(id, _)| !first.contains(id)).map(|(_, of)| of) {
        for (&id, &aligned) in of.iter().filter(|(id, _)| first.contains(id)) {
            left.entry(id).and_modify(|all| *all &= aligned).or_insert(aligned);
        }
    }
    // What is cheaply made of other things of its length, element by element, is made again. Those come before it.
    let elements = |id: &NodeId| numel(graph.shape(*id));
    let mut end = NodeId(graph.nodes().len() as u32);
    while let Some((&id, &aligned)) = left.range(..end).next_back() {
        end = id;
        let is_cheap = stores.pointwise(id).is_some_and(|operations| operations <= CHEAP);
        let parts = || loads.get(&id).into_iter().flatten();
        let is_near = parts().all(|(part, aligned)| *aligned || elements(part) <= elements(&id) / SMALL);
        let more: usize = parts().map(|(part, _)| part).filter(|part| !left.contains_key(part)).map(elements).sum();
        if aligned && is_cheap && is_near && more <= elements(&id) {
            left.remove(&id);
            for (&part, &aligned) in parts() {
                left.entry(part).and_modify(|all| *all &= aligned).or_insert(aligned);
            }
        }
    }
    let name = |id: NodeId| match graph.name_of(id) {
        Some(name) => format!("kept {name}.{}", id.index()),
        None => format!("kept {}", node_name(&graph, id)),
    };
    let left = left.into_keys().map(|id| (name(id), id)).collect();
    (graph, outputs, left)
}

impl Program {
    /// This program and then another as one of these inputs and outputs, each of which is one of theirs by its name. What
    /// this one writes, the other finds under the same name: in scratch memory, unless it is an output.
    pub fn then(
        &self,
        second: &Program,
        name: &str,
        inputs: &[(String, NodeId)],
        outputs: &[Output],
    ) -> Result<Program, CompileError> {
        let mut joined = Program::new(name);
        // By name, what lies between calls and between the parts.
        let mut ports: BTreeMap<String, BufferIndex> = BTreeMap::new();
        let ends = |program: &Program, name: &str| {
            program
                .inputs
                .iter()
                .chain(&program.outputs)
                .map(|&index| program.buffer(index))
                .find(|b| b.name == name)
                .cloned()
        };
        let both = |name: &str| ends(self, name).or_else(|| ends(second, name)).expect("a port of one of the parts");
        for (position, (input, _)) in inputs.iter().enumerate() {
            let output = outputs.iter().position(|output| output.in_place == Some(position));
            let place = output.map_or(Place::Input(position), |output| Place::InPlace { input: position, output });
            joined.buffers.push(Buffer { place, ..both(input) });
            let index = BufferIndex(joined.buffers.len() as u32 - 1);
            joined.inputs.push(index);
            ports.insert(input.clone(), index);
        }
        for (position, output) in outputs.iter().enumerate() {
            let index = match output.in_place {
                Some(input) => {
                    let early = self.outputs.iter().any(|&index| self.buffer(index).name == output.name);
                    assert!(!early, "`{}` is still read where the first part would write over it", output.name);
                    joined.inputs[input]
                }
                None => {
                    joined.buffers.push(Buffer { place: Place::Output(position), ..both(&output.name) });
                    BufferIndex(joined.buffers.len() as u32 - 1)
                }
            };
            joined.outputs.push(index);
            ports.insert(output.name.clone(), index);
        }
        for program in [self, second] {
            let mut places = vec![];
            for buffer in &program.buffers {
                let own = matches!(buffer.place, Place::Scratch(_));
                let known = (!own).then(|| ports.get(&buffer.name).copied()).flatten();
                places.push(known.unwrap_or_else(|| {
                    let index = BufferIndex(joined.buffers.len() as u32);
                    if !own {
                        ports.insert(buffer.name.clone(), index);
                    }
                    joined.buffers.push(Buffer { place: Place::Scratch(0), ..buffer.clone() });
                    index
                }));
            }
            for mut dispatch in program.dispatches.clone() {
                for expr in &mut dispatch.exprs {
                    if let Expr::Load { buffer, .. } = expr {
                        *buffer = places[buffer.0 as usize];
                    }
                }
                dispatch.stores.iter_mut().for_each(|store| store.buffer = places[store.buffer.0 as usize]);
                joined.dispatches.push(dispatch);
            }
            joined.launches.extend(&program.launches);
        }
        memory::plan(&mut joined);
        joined.verify()?;
        Ok(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{DType, Scalar};

    #[test]
    fn what_is_cheaply_made_again_of_something_else_is_not_left() {
        let mut g = Graph::new();
        let x = g.input("x", &[1, 64, 64], DType::F32);
        let late = g.input("late", &[1, 64, 64], DType::F32);
        let product = g.matmul(x, x, [false, false]);
        let base = g.scalar(Scalar::Exp, &[product]);
        let other = g.matmul(base, x, [false, false]);
        // Both are loaded at their own places only.
        let cheap = g.mul(base, base);
        let cheap = g.add(cheap, base);
        let mixed = g.mul(cheap, late);
        let more = g.mul(base, late);
        let (g, _, left) = residuals(&g, &[other, mixed, more], &[1]);
        assert_eq!(left.len(), 1);
        assert_eq!(g.node(left[0].1).op, Op::Scalar(Scalar::Exp));
    }
}
