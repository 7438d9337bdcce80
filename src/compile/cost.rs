//! What a dispatch has to do: operations and bytes, counted from the program.

use std::collections::BTreeMap;

use super::{BufferIndex, Core, Dispatch, Expr, ExprId, Program};
use crate::ir::{DType, Scalar, numel};

/// Operations and memory traffic of a dispatch, for all members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Operations on floats: a product that is added up counts as two, a row of the pointwise table as one, choosing
    /// between two values as none. What is computed again counts again.
    pub flops: u64,
    /// Bytes of what is read and written, each element once, however often it is read.
    pub bytes: u64,
}

impl Program {
    /// The cost of each dispatch, in order.
    pub fn costs(&self) -> Vec<Cost> {
        self.dispatches.iter().map(|dispatch| self.cost(dispatch)).collect()
    }

    fn cost(&self, dispatch: &Dispatch) -> Cost {
        let elements = numel(&dispatch.domain) as u64;
        let terms = elements * numel(dispatch.core.extent()) as u64;
        let dtypes = dispatch.dtypes(&self.buffers);
        // What stores share with the core is computed where the core needs it.
        let inside = reachable(dispatch, dispatch.core.values());
        let outside = reachable(dispatch, dispatch.stores.iter().map(|store| store.value));
        let mut cost = Cost::default();
        let mut read: BTreeMap<BufferIndex, u64> = BTreeMap::new();
        for (at, expr) in dispatch.exprs.iter().enumerate() {
            let times = [(inside[at], terms), (outside[at], elements)];
            let times: u64 = times.iter().filter(|(needed, _)| *needed).map(|(_, times)| times).sum();
            match expr {
                Expr::Scalar(f, _) if *f != Scalar::Select && dtypes[at] == DType::F32 => cost.flops += times,
                Expr::Load { buffer, .. } => *read.entry(*buffer).or_default() += times,
                _ => {}
            }
        }
        cost.flops += match dispatch.core {
            Core::Contract { .. } => 2 * terms,
            Core::Reduce { value, .. } if dtypes[value.0 as usize] == DType::F32 => terms,
            _ => 0,
        };
        let loaded: u64 = read.iter().map(|(buffer, times)| (*times).min(self.buffer(*buffer).len as u64)).sum();
        cost.bytes = 4 * (loaded + dispatch.stores.len() as u64 * elements);
        Cost { flops: cost.flops * self.members as u64, bytes: cost.bytes * self.members as u64 }
    }
}

/// Which expressions some are made of.
fn reachable(dispatch: &Dispatch, roots: impl Iterator<Item = ExprId>) -> Vec<bool> {
    let mut needed = vec![false; dispatch.exprs.len()];
    roots.for_each(|id| needed[id.0 as usize] = true);
    for at in (0..needed.len()).rev() {
        if needed[at] {
            dispatch.exprs[at].args().for_each(|id| needed[id.0 as usize] = true);
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Output, compile};
    use crate::ir::Graph;

    #[test]
    fn a_product_costs_two_operations_a_term_and_its_matrices() {
        let mut g = Graph::new();
        let a = g.input("a", &[1, 30, 50], DType::F32);
        let b = g.input("b", &[1, 50, 70], DType::F32);
        let product = g.matmul(a, b, [false, false]);
        let y = g.scalar(Scalar::Tanh, &[product]);
        let program = compile("p", &g, &[Output::new("y", y)]).unwrap();
        let flops = 2 * 30 * 50 * 70 + 30 * 70;
        let bytes = 4 * (30 * 50 + 50 * 70 + 30 * 70);
        assert_eq!(program.costs(), [Cost { flops, bytes }]);
        let three = program.for_members(3, |name| name == "b").unwrap();
        assert_eq!(three.costs(), [Cost { flops: 3 * flops, bytes: 3 * bytes }]);
    }

    #[test]
    fn rows_that_are_looked_up_are_counted_and_not_their_table() {
        let mut g = Graph::new();
        let table = g.input("table", &[1000, 8], DType::F32);
        let rows = g.input("rows", &[20], DType::U32);
        let taken = g.take_rows(table, rows);
        let y = g.scale(taken, 2.0);
        let program = compile("p", &g, &[Output::new("y", y)]).unwrap();
        assert_eq!(program.costs(), [Cost { flops: 160, bytes: 4 * (160 + 20 + 160) }]);
    }
}
