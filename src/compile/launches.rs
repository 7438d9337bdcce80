//! Which dispatches run as one launch: such as do not need each other, so that a device is asked less often and has
//! more to do each time.

use std::collections::{BTreeMap, BTreeSet};

use super::lower::MOST_EXPRS;
use super::store::MOST_BUFFERS;
use super::{BufferIndex, Dispatch, Program};

/// What is launched together.
#[derive(Default)]
struct Launch {
    dispatches: Vec<Dispatch>,
    buffers: BTreeSet<BufferIndex>,
    exprs: usize,
}

impl Launch {
    /// Whether one kernel can hold this dispatch as well, which touches these buffers.
    fn has_room(&self, dispatch: &Dispatch, touched: &BTreeSet<BufferIndex>) -> bool {
        self.exprs + dispatch.exprs.len() <= MOST_EXPRS && self.buffers.union(touched).count() <= MOST_BUFFERS
    }

    fn add(&mut self, dispatch: Dispatch, touched: BTreeSet<BufferIndex>) {
        self.buffers.extend(touched);
        self.exprs += dispatch.exprs.len();
        self.dispatches.push(dispatch);
    }
}

/// Puts each dispatch, in their order, into the first launch that has room for it behind all that it needs.
pub(super) fn plan(program: &mut Program) {
    let mut launches: Vec<Launch> = vec![];
    // The launch after the last that reads, and that writes, a buffer.
    let mut read: BTreeMap<BufferIndex, usize> = BTreeMap::new();
    let mut written: BTreeMap<BufferIndex, usize> = BTreeMap::new();
    for dispatch in std::mem::take(&mut program.dispatches) {
        let (loads, writes, touched) = (dispatch.loads(), dispatch.writes(), dispatch.touches());
        // Runs of one buffer that several write do not overlap.
        let needed = loads.iter().filter_map(|buffer| written.get(buffer));
        let spared = writes.iter().filter_map(|buffer| read.get(buffer));
        let first = needed.chain(spared).copied().max().unwrap_or(0);
        let place = (first..launches.len()).find(|&place| launches[place].has_room(&dispatch, &touched));
        let place = place.unwrap_or_else(|| {
            launches.push(Launch::default());
            launches.len() - 1
        });
        for (after, buffers) in [(&mut read, loads), (&mut written, writes)] {
            for buffer in buffers {
                let after = after.entry(buffer).or_default();
                *after = (*after).max(place + 1);
            }
        }
        launches[place].add(dispatch, touched);
    }
    program.launches = launches.iter().map(|launch| launch.dispatches.len()).collect();
    program.dispatches = launches.into_iter().flat_map(|launch| launch.dispatches).collect();
}

#[cfg(test)]
mod tests {
    use crate::compile::{Output, compile};
    use crate::ir::{DType, Graph};

    #[test]
    fn what_does_not_need_each_other_is_launched_together() {
        // Two products of x, a product of both, and one of x alone.
        let mut g = Graph::new();
        let x = g.input("x", &[1, 8, 8], DType::F32);
        let y = g.input("y", &[1, 8, 8], DType::F32);
        let [a, b, c] = [[x, y], [y, x], [x, x]].map(|[left, right]| g.matmul(left, right, [false, false]));
        let d = g.matmul(a, b, [false, false]);
        let program = compile("products", &g, &[Output::new("c", c), Output::new("d", d)]).unwrap();
        assert_eq!((program.dispatches.len(), &program.launches[..]), (4, &[3, 1][..]), "{program}");
        assert_eq!(program.launches().map(<[_]>::len).collect::<Vec<_>>(), [3, 1]);
        // Both products are needed at once.
        assert_eq!(program.scratch.len(), 2);
    }

    #[test]
    fn nothing_is_written_over_what_the_same_launch_reads() {
        let mut g = Graph::new();
        let x = g.input("x", &[1, 8, 8], DType::F32);
        let y = g.input("y", &[1, 8, 8], DType::F32);
        let product = g.matmul(x, y, [false, false]);
        let next = g.matmul(y, y, [false, false]);
        let program = compile("update", &g, &[Output::new("p", product), Output::over("x", next, 0)]).unwrap();
        assert_eq!(program.launches, [1, 1], "{program}");
    }

    #[test]
    fn a_launch_touches_no_more_buffers_than_a_kernel_may() {
        let mut g = Graph::new();
        let inputs = (0..6).map(|k| g.input(&format!("x{k}"), &[1, 8, 8], DType::F32)).collect::<Vec<_>>();
        let outputs: Vec<Output> = inputs
            .iter()
            .enumerate()
            .map(|(k, &x)| Output::new(&format!("y{k}"), g.matmul(x, x, [false, false])))
            .collect();
        // Four products of one input and one output each.
        assert_eq!(compile("many", &g, &outputs).unwrap().launches, [4, 2]);
    }
}
