//! What shares a dispatch.

use stackelberg::compile::{Core, Output, Program, compile};
use stackelberg::ir::{DType, Graph, NodeId, Scalar};

/// A matrix product and beside it, over as many elements, what is made of the index of each and its neighbours' input.
fn beside(make: impl Fn(&mut Graph, NodeId, NodeId) -> NodeId) -> Program {
    let mut g = Graph::new();
    let a = g.input("a", &[1, 128, 64], DType::F32);
    let product = g.matmul(a, a, [false, true]);
    let index = g.iota(&[128 * 128], 0);
    let x = g.input("x", &[128 * 128], DType::F32);
    let other = make(&mut g, index, x);
    compile("p", &g, &[Output::new("product", product), Output::new("other", other)]).unwrap()
}

/// 1 where a random bit is set, else 0.
fn mask(g: &mut Graph, index: NodeId) -> NodeId {
    let bits = g.scalar(Scalar::Threefry0, &[index, index, index, index]);
    let half = g.full_u(&[128 * 128], 1 << 31);
    let kept = g.scalar(Scalar::LtU, &[bits, half]);
    g.scalar(Scalar::ToFloat, &[kept])
}

#[test]
fn only_small_work_goes_along_with_a_loop_that_it_does_not_use() {
    let small = beside(|g, _, x| g.scale(x, 2.0));
    assert_eq!(small.dispatches.len(), 1, "{small}");
    let large = beside(|g, index, _| mask(g, index));
    let stores: Vec<(bool, usize)> =
        large.dispatches.iter().map(|d| (matches!(d.core, Core::Map), d.stores.len())).collect();
    assert_eq!(stores.len(), 2, "{large}");
    assert!(stores.contains(&(true, 1)) && stores.contains(&(false, 1)), "{large}");
}

#[test]
fn a_map_goes_along_with_another_map_rather_than_with_a_loop() {
    let mut g = Graph::new();
    let a = g.input("a", &[1, 128, 64], DType::F32);
    let product = g.matmul(a, a, [false, true]);
    let x = g.input("x", &[128 * 128], DType::F32);
    let index = g.iota(&[128 * 128], 0);
    let (mask, double) = (mask(&mut g, index), g.scale(x, 2.0));
    let outputs = [("mask", mask), ("double", double), ("product", product)].map(|(name, id)| Output::new(name, id));
    let program = compile("p", &g, &outputs).unwrap();
    let map = program.dispatches.iter().find(|d| matches!(d.core, Core::Map)).unwrap();
    assert_eq!((program.dispatches.len(), map.stores.len()), (2, 2), "{program}");
}

#[test]
fn what_the_parts_of_a_sum_read_leaves_room_beside_their_sum() {
    // The loop reads five arrays, the other value three more.
    let mut g = Graph::new();
    let vectors: Vec<NodeId> = (0..5).map(|_| g.input("x", &[4096], DType::F32)).collect();
    let product = vectors.into_iter().reduce(|a, b| g.mul(a, b)).unwrap();
    let sum = g.sum(product, &[0]);
    let numbers: Vec<NodeId> = (0..3).map(|_| g.input("y", &[], DType::F32)).collect();
    let other = numbers.into_iter().reduce(|a, b| g.mul(a, b)).unwrap();
    let program = compile("p", &g, &[Output::new("sum", sum), Output::new("other", other)]).unwrap();
    assert_eq!(program.dispatches.len(), 2, "{program}");
}

#[test]
fn a_small_sum_that_its_whole_row_uses_is_stored_where_there_are_many_rows() {
    let softmax = |rows: usize| {
        let mut g = Graph::new();
        let x = g.input("x", &[rows, 6], DType::F32);
        let e = g.scalar(Scalar::Exp, &[x]);
        let sum = g.sum(e, &[1]);
        let sum = g.broadcast(sum, &[rows, 6], &[0]);
        let y = g.div(e, sum);
        compile("softmax", &g, &[Output::new("y", y)]).unwrap()
    };
    let [few, many] = [64, 4096].map(softmax);
    assert_eq!(few.dispatches.len(), 1, "{few}");
    let domains: Vec<&[usize]> = many.dispatches.iter().map(|dispatch| &dispatch.domain[..]).collect();
    // The terms, which the quotients use again, their sums, and these.
    assert_eq!(domains, [&[4096, 6][..], &[4096], &[4096, 6]], "{many}");
}
