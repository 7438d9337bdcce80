//! Long sums are cut into parts, short ones written out, and neither changes the value.

use crate::support::{close, draws, run};
use stackelberg::compile::{MAX_EXTENT, Output, compile};
use stackelberg::interp;
use stackelberg::ir::{ConvFace, ConvGeometry, DType, Graph, NodeId, Run, Scalar, numel};

fn agrees(g: &Graph, outputs: &[NodeId]) {
    let mut draw = draws(3);
    let inputs: Vec<Vec<f64>> =
        g.inputs().iter().map(|(_, id)| (0..numel(g.shape(*id))).map(|_| draw()).collect()).collect();
    let named: Vec<Output> = outputs.iter().map(|&id| Output::new("y", id)).collect();
    for (got, want) in run(g, &named, &inputs).iter().zip(interp::eval(g, outputs, &inputs)) {
        assert!(close(got, &want, 1e-11));
    }
}

#[test]
fn sums_of_every_length() {
    for length in [1, 2, 16, 17, 511, 512, 521, 1000, 4099, 40_000] {
        let mut g = Graph::new();
        let x = g.input("x", &[length, 2], DType::F32);
        let e = g.scalar(Scalar::Exp, &[x]);
        let columns = g.sum(e, &[0]);
        let all = g.sum_all(x);
        agrees(&g, &[columns, all]);
    }
}

#[test]
fn sums_over_axes_apart_and_of_words() {
    let mut g = Graph::new();
    let x = g.input("x", &[40, 3, 50], DType::F32);
    let zero = g.full(&[40, 3, 50], 0.0);
    let negative = g.lt(x, zero);
    let sum = g.sum(x, &[0, 2]);
    let count = g.sum(negative, &[0, 2]);
    let middle = g.sum(x, &[1]);
    agrees(&g, &[sum, count, middle]);
}

#[test]
fn no_loop_is_longer_than_a_device_allows() {
    // One axis too long for a loop; two axes of which neither alone gives enough parts; outputs
    // that would keep a device busy without parts.
    for shape in [[1, 3 * MAX_EXTENT + 5, 1], [3, MAX_EXTENT + 2, 1], [2, 20_000, 3], [1, 33_000, 5000]] {
        let mut g = Graph::new();
        let x = g.input("x", &shape, DType::F32);
        let sum = g.sum(x, &[0, 1]);
        let program = compile("sum", &g, &[Output::new("y", sum)]).unwrap();
        assert!(program.dispatches.iter().all(|d| d.core.extent().iter().product::<usize>() <= MAX_EXTENT));
        if numel(&shape) < 1 << 20 {
            agrees(&g, &[sum]);
        }
    }
}

#[test]
fn a_long_chain_is_cut_into_dispatches() {
    let mut g = Graph::new();
    let x = g.input("x", &[3], DType::F32);
    let mut y = x;
    for _ in 0..5000 {
        let tanh = g.scalar(Scalar::Tanh, &[y]);
        y = g.add(tanh, x);
    }
    agrees(&g, &[y]);
}

#[test]
fn kernel_gradients_in_parts() {
    // Batches that do and do not divide; one so small that all summed axes are cut as one.
    for (n, length) in [(32, 40), (37, 40), (2, 700)] {
        let mut g = Graph::new();
        let geometry =
            ConvGeometry { input: [1, length], kernel: [1, 3], output: [1, length], stride: [1, 1], pad: [0, 1] };
        let x = g.input("x", &[2, n, 1, length, 2], DType::F32);
        let y = g.input("y", &[2, n, 1, length, 3], DType::F32);
        let w = g.conv(ConvFace::Kernel, geometry, x, y);
        let w = g.scalar(Scalar::Tanh, &[w]);
        let program = compile("kernel", &g, &[Output::new("w", w)]).unwrap();
        assert_eq!(program.dispatches.len(), 2);
        agrees(&g, &[w]);
    }
}

/// Runs of these lengths, whose values are counted up to `count` over and over; every fifth is a gap.
fn runs(lengths: impl IntoIterator<Item = usize>, count: usize) -> Vec<Run> {
    let run = |(k, length): (usize, usize)| Run { length, value: (k % 5 != 4).then_some(k % count) };
    lengths.into_iter().enumerate().map(run).collect()
}

#[test]
fn runs_of_every_kind() {
    let cases = [
        (runs([1], 1), 1),
        (runs([40_000], 1), 3),
        (runs([1; 9], 4), 4),
        (runs([17, 5000, 1, 700, 513, 64, 2048], 3), 3),
        // Nothing but gaps.
        (vec![Run { length: 9, value: None }], 2),
        // Whole chunks alone.
        (vec![Run { length: 4096, value: Some(0) }], 1),
        // As many layers as a deep network has; one value with many runs.
        (runs((0..600).map(|k| 1 + 97 * k % 301), 300), 300),
        (runs(1..100, 1), 1),
        (runs(1..100, 2), 1000),
    ];
    for (runs, count) in cases {
        let mut g = Graph::new();
        let x = g.input("x", &[count], DType::F32);
        let e = g.scalar(Scalar::Exp, &[x]);
        let along = g.repeat(e, &runs);
        let y = g.input("y", &[numel(g.shape(along))], DType::F32);
        let product = g.mul(along, y);
        let sums = g.segment_sum(product, &runs, count);
        let first = g.segment(product, 0, numel(g.shape(y)).div_ceil(2));
        let inside = g.scalar(Scalar::Tanh, &[first]);
        agrees(&g, &[along, sums, inside]);
    }
}

#[test]
fn runs_of_words() {
    let mut g = Graph::new();
    let x = g.input("x", &[3], DType::F32);
    let zero = g.full(&[3], 0.0);
    let negative = g.lt(x, zero);
    let along = g.repeat(negative, &runs([7, 300, 2, 400], 3));
    let count = g.segment_sum(along, &runs([9, 700], 2), 2);
    agrees(&g, &[along, count]);
}

#[test]
fn sums_of_runs_take_two_dispatches_of_loops_that_are_no_longer_than_needed() {
    let layers = [900, 9, 20_000, 64, 390_000, 100, 600, 6].map(|length| (length, Some(length % 7)));
    let runs = layers.map(|(length, value)| Run { length, value });
    let mut g = Graph::new();
    let x = g.input("x", &[411_679], DType::F32);
    let square = g.mul(x, x);
    let sums = g.segment_sum(square, &runs, 7);
    let program = compile("sums", &g, &[Output::new("y", sums)]).unwrap();
    assert_eq!(program.dispatches.len(), 2, "{program}");
    let terms = |k: usize| numel(&program.dispatches[k].domain) * numel(program.dispatches[k].core.extent());
    // Chunks at the ends of runs are shorter.
    assert!(terms(0) < 411_679 + 8 * 641 && terms(1) < 7 * 641, "{program}");
}
