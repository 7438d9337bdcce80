//! Outputs that take over the buffers of inputs: the old value is read before it is written.

use crate::support::run;
use stackelberg::compile::{Output, Place, compile};
use stackelberg::ir::{DType, Graph};

fn two_vectors() -> (Graph, [Vec<f64>; 2]) {
    let mut g = Graph::new();
    g.input("a", &[4], DType::F32);
    g.input("b", &[4], DType::F32);
    (g, [vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0, 7.0, 8.0]])
}

#[test]
fn an_update_element_by_element_needs_one_dispatch() {
    let (mut g, inputs) = two_vectors();
    let (a, b) = (g.inputs()[0].1, g.inputs()[1].1);
    let sum = g.add(a, b);
    let outputs = [Output::over("a", sum, 0)];
    let program = compile("update", &g, &outputs).unwrap();
    assert_eq!((program.dispatches.len(), program.scratch_bytes()), (1, 0));
    assert_eq!(program.buffers[0].place, Place::InPlace { input: 0, output: 0 });
    assert_eq!(run(&g, &outputs, &inputs), [[6.0, 8.0, 10.0, 12.0]]);
}

#[test]
fn an_update_from_other_elements_goes_through_scratch() {
    let (mut g, inputs) = two_vectors();
    let a = g.inputs()[0].1;
    let tail = g.segment(a, 1, 3);
    let head = g.segment(a, 0, 1);
    let rotated = g.concat(&[tail, head]);
    let outputs = [Output::over("a", rotated, 0)];
    assert_eq!(compile("rotate", &g, &outputs).unwrap().scratch_bytes(), 16);
    assert_eq!(run(&g, &outputs, &inputs), [[2.0, 3.0, 4.0, 1.0]]);
}

#[test]
fn two_inputs_change_places() {
    let (g, inputs) = two_vectors();
    let (a, b) = (g.inputs()[0].1, g.inputs()[1].1);
    let outputs = [Output::over("a", b, 0), Output::over("b", a, 1)];
    assert_eq!(run(&g, &outputs, &inputs), [inputs[1].clone(), inputs[0].clone()]);
}

#[test]
fn every_reader_of_the_old_value_runs_first() {
    let (mut g, inputs) = two_vectors();
    let (a, b) = (g.inputs()[0].1, g.inputs()[1].1);
    let doubled = g.scale(a, 2.0);
    // Sums of the old a, made from nodes that come later than the update.
    let squares = g.mul(a, a);
    let total = g.sum_all(squares);
    let reversed = g.iota(&[4], 0);
    let three = g.full_u(&[4], 3);
    let reversed = g.scalar(stackelberg::ir::Scalar::SubU, &[three, reversed]);
    let reversed = g.take_rows(a, reversed);
    let mixed = g.mul(reversed, b);
    let outputs = [
        Output::over("a", doubled, 0),
        Output::new("total", total),
        Output::new("mixed", mixed),
        Output::new("old", a),
    ];
    let got = run(&g, &outputs, &inputs);
    assert_eq!(got[0], [2.0, 4.0, 6.0, 8.0]);
    assert_eq!(got[1], [30.0]);
    assert_eq!(got[2], [20.0, 18.0, 14.0, 8.0]);
    assert_eq!(got[3], [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn an_output_that_is_its_input_or_another_output_is_copied_or_left() {
    let (mut g, inputs) = two_vectors();
    let (a, b) = (g.inputs()[0].1, g.inputs()[1].1);
    let sum = g.add(a, b);
    let outputs = [
        Output::over("a", a, 0),
        Output::new("copy", b),
        Output::new("sum", sum),
        Output::new("again", sum),
        Output::over("b", sum, 1),
    ];
    let want = [6.0, 8.0, 10.0, 12.0];
    assert_eq!(run(&g, &outputs, &inputs), [inputs[0].as_slice(), &inputs[1], &want, &want, &want]);
}

#[test]
fn one_value_replaces_two_inputs_whose_old_values_others_read() {
    let (mut g, inputs) = two_vectors();
    let (a, b) = (g.inputs()[0].1, g.inputs()[1].1);
    let sum = g.add(a, b);
    let first = g.segment(a, 0, 1);
    let shifted = g.add(sum, first);
    let outputs = [Output::new("shifted", shifted), Output::over("a", sum, 0), Output::over("b", sum, 1)];
    let want = [6.0, 8.0, 10.0, 12.0];
    assert_eq!(run(&g, &outputs, &inputs), [[7.0, 9.0, 11.0, 13.0], want, want]);
}
