//! What a dispatch has to do: operations and bytes, counted from the program.

use std::collections::BTreeMap;

use super::{BufferIndex, Core, Dispatch, Expr, Program};
use crate::ir::{DType, Scalar, numel};

/// Operations and memory traffic of a dispatch or a launch, for all members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Operations on floats: a product that is added up counts as two, a row of the pointwise table as one, choosing
    /// between two values as none. A value counts once for every index that it depends on: an operand of a product
    /// not once a term.
    pub flops: u64,
    /// Bytes of what is read and written, each element once, however often it is read.
    pub bytes: u64,
}

impl Program {
    /// The cost of each launch, in order.
    pub fn costs(&self) -> Vec<Cost> {
        let sum = |launch: &[Dispatch]| {
            let costs = launch.iter().map(|dispatch| self.cost(dispatch));
            costs.fold(Cost::default(), |a, b| Cost { flops: a.flops + b.flops, bytes: a.bytes + b.bytes })
        };
        self.launches().map(sum).collect()
    }

    /// The cost of one of its dispatches.
    pub fn cost(&self, dispatch: &Dispatch) -> Cost {
        let dtypes = dispatch.dtypes(&self.buffers);
        let elements = numel(&dispatch.domain) as u64;
        let terms = elements * numel(dispatch.core.extent()) as u64;
        let mut cost = Cost::default();
        let mut read: BTreeMap<BufferIndex, u64> = BTreeMap::new();
        for (at, times) in dispatch.evaluations().into_iter().enumerate() {
            match &dispatch.exprs[at] {
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

impl Dispatch {
    /// How many values each expression has: one for every index along the axes that it depends on.
    fn evaluations(&self) -> Vec<u64> {
        let sizes = [&self.domain, self.core.extent()].concat();
        let mut along: Vec<Vec<bool>> = vec![];
        for expr in &self.exprs {
            let axes = (0..sizes.len()).map(|axis| match expr {
                Expr::Flat | Expr::Acc => axis < self.domain.len(),
                Expr::Coord(own) => axis == *own,
                Expr::Reduced(own) => axis == self.domain.len() + own,
                _ => expr.args().any(|id| along[id.0 as usize][axis]),
            });
            let axes = axes.collect();
            along.push(axes);
        }
        let values = |axes: Vec<bool>| axes.iter().zip(&sizes).filter(|(on, _)| **on).map(|(_, &n)| n as u64).product();
        along.into_iter().map(values).collect()
    }
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
    fn an_operand_counts_once_an_element_and_not_once_a_term() {
        let mut g = Graph::new();
        let a = g.input("a", &[1, 30, 50], DType::F32);
        let b = g.input("b", &[1, 50, 70], DType::F32);
        let doubled = g.scale(a, 2.0);
        let y = g.matmul(doubled, b, [false, false]);
        let program = compile("p", &g, &[Output::new("y", y)]).unwrap();
        let all: u64 = program.costs().iter().map(|cost| cost.flops).sum();
        assert_eq!(all, 2 * 30 * 50 * 70 + 30 * 50);
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
