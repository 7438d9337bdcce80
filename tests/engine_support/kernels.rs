//! Each core against plain f64 loops, on any engine: random shapes, guards, several stores, views,
//! updates in place, bits.

use std::cell::RefCell;

use super::calls::increment;
use super::{Bound, Exprs, buffer, noise, program, reference, run};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stackelberg::compile::{BufferIndex, Core, MAX_EXTENT, Place, Program, Store};
use stackelberg::engine::Engine;
use stackelberg::ir::{DType, Scalar, numel, strides};

use DType::{F32, U32};

/// Compares with the loops. A sum of n products of numbers below 1 is off by at most n·2⁻²³ times
/// the largest partial sum (≤ n); four scalar functions around it add a few units.
pub fn compare(engine: &mut dyn Engine, program: &Program, inputs: &[Vec<f64>], terms: usize) {
    let (got, wanted) = (run(engine, program, inputs), reference(program, inputs));
    let terms = terms.max(4) as f64;
    let tolerance = terms * terms * f64::from(f32::EPSILON);
    for (output, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
        for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
            let off = (got - wanted).abs();
            assert!(
                off <= tolerance * wanted.abs().max(1.0),
                "output {output}[{i}] is {got}, should be {wanted}, for {:?}",
                program.dispatches
            );
        }
    }
}

/// Runs a property.
fn check<S: Strategy>(engine: &mut dyn Engine, cases: u32, strategy: S, property: impl Fn(&mut dyn Engine, S::Value)) {
    let engine = RefCell::new(engine);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |value| {
            property(&mut **engine.borrow_mut(), value);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// Up to `axes` axes of up to `length`.
fn shape(axes: usize, length: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..=length, 0..=axes)
}

/// A contraction: `a[batch, rows, extent]` and `b[batch, extent, columns]`, row-major, with tanh of
/// the sum plus a value per element stored, and the flat index beside it.
pub fn contraction(batch: &[usize], rows: &[usize], columns: &[usize], extent: &[usize]) -> (Program, Vec<Vec<f64>>) {
    let domain = [batch, rows, columns].concat();
    let mut e = Exprs::default();
    let operand = |e: &mut Exprs, buffer: usize, parts: &[(usize, &[usize], bool)]| {
        let shape: Vec<usize> = parts.iter().flat_map(|(_, lengths, _)| lengths.iter().copied()).collect();
        let mut terms = vec![];
        for (first, lengths, reduced) in parts {
            for axis in 0..lengths.len() {
                let coordinate = if *reduced { e.reduced(axis) } else { e.coord(first + axis) };
                terms.push((coordinate, strides(&shape)[terms.len()]));
            }
        }
        let index = e.index(&terms);
        (e.load(buffer, index), numel(&shape))
    };
    let (b, r) = (batch.len(), rows.len());
    let (left, left_len) = operand(&mut e, 0, &[(0, batch, false), (b, rows, false), (0, extent, true)]);
    let (right, right_len) = operand(&mut e, 1, &[(0, batch, false), (0, extent, true), (b + r, columns, false)]);
    let (flat, acc) = (e.flat(), e.acc());
    let bias = e.load(2, flat);
    let sum = e.op(Scalar::Add, &[acc, bias]);
    let value = e.op(Scalar::Tanh, &[sum]);
    let core = Core::Contract { batch: b, rows: r, extent: extent.to_vec(), a: left, b: right };
    let len = numel(&domain);
    let dispatch = e.dispatch(&domain, core, &[(3, value), (4, flat)]);
    let inputs = [(F32, left_len), (F32, right_len), (F32, len)];
    let program = program(&inputs, &[(F32, len), (U32, len)], vec![dispatch]);
    (program, vec![noise(1, left_len), noise(2, right_len), noise(3, len)])
}

pub fn contractions(engine: &mut dyn Engine, cases: u32) {
    let shapes = (shape(2, 3), shape(2, 13), shape(2, 13), shape(2, 9));
    check(engine, cases, shapes, |engine, (batch, rows, columns, extent)| {
        let (program, inputs) = contraction(&batch, &rows, &columns, &extent);
        compare(engine, &program, &inputs, numel(&extent));
    });
}

pub fn reductions(engine: &mut dyn Engine, cases: u32) {
    check(engine, cases, (shape(3, 7), shape(3, 7)), |engine, (domain, extent)| {
        let shape = [domain.clone(), extent.clone()].concat();
        let position = |e: &mut Exprs| {
            let coordinate = |e: &mut Exprs, axis: usize| match axis.checked_sub(domain.len()) {
                Some(inner) => e.reduced(inner),
                None => e.coord(axis),
            };
            let terms: Vec<_> =
                strides(&shape).into_iter().enumerate().map(|(axis, stride)| (coordinate(e, axis), stride)).collect();
            e.index(&terms)
        };
        // Floats: Σ tanh(x[…]) · x[0]. Words: Σ of positions.
        let mut floats = Exprs::default();
        let index = position(&mut floats);
        let x = floats.load(0, index);
        let squashed = floats.op(Scalar::Tanh, &[x]);
        let zero = floats.word(0);
        let first = floats.load(0, zero);
        let value = floats.op(Scalar::Mul, &[squashed, first]);
        let acc = floats.acc();
        let of_floats = floats.dispatch(&domain, Core::Reduce { extent: extent.clone(), value }, &[(1, acc)]);
        let mut words = Exprs::default();
        let value = position(&mut words);
        let acc = words.acc();
        let of_words = words.dispatch(&domain, Core::Reduce { extent: extent.clone(), value }, &[(2, acc)]);
        let dispatches = vec![of_floats, of_words];
        let (len, out) = (numel(&shape), numel(&domain));
        let program = program(&[(F32, len)], &[(F32, out), (U32, out)], dispatches);
        compare(engine, &program, &[noise(4, len)], numel(&extent));
    });
}

pub fn first_maxima(engine: &mut dyn Engine, cases: u32) {
    check(engine, cases, (shape(2, 9), 1usize..12), |engine, (domain, extent)| {
        let mut e = Exprs::default();
        let rows = numel(&domain);
        let mut terms: Vec<_> =
            strides(&domain).iter().enumerate().map(|(axis, &stride)| (e.coord(axis), stride * extent)).collect();
        terms.push((e.reduced(0), 1));
        let index = e.index(&terms);
        let value = e.load(0, index);
        let acc = e.acc();
        let dispatch = e.dispatch(&domain, Core::ArgMax { extent, value }, &[(1, acc)]);
        // Few different values, so ties are common; all may be negative.
        let values = noise(5, rows * extent).iter().map(|x| (x * 2.0).round() - 3.0).collect();
        compare(engine, &program(&[(F32, rows * extent)], &[(U32, rows)], vec![dispatch]), &[values], 1);
    });
}

pub fn maps(engine: &mut dyn Engine, cases: u32) {
    check(engine, cases, (shape(3, 6), 0usize..5), |engine, (domain, offset)| {
        let mut e = Exprs::default();
        let len = numel(&domain);
        let flat = e.flat();
        let terms: Vec<_> = strides(&domain).into_iter().enumerate().map(|(axis, s)| (e.coord(axis), s)).collect();
        let rebuilt = e.index(&terms);
        let x = e.load(0, rebuilt);
        let value = e.op(Scalar::Exp, &[x]);
        let mut dispatch = e.dispatch(&domain, Core::Map, &[(1, value), (2, flat)]);
        dispatch.stores.push(Store { buffer: BufferIndex(3), offset, value: x });
        let program = program(&[(F32, len)], &[(F32, len), (U32, len), (F32, len + offset)], vec![dispatch]);
        compare(engine, &program, &[noise(6, len)], 1);
    });
}

/// A padded convolution as the compiler writes it: the load is clamped, the guard selects 0.
pub fn convolution(n: usize, t: usize, channels: [usize; 2], taps: usize, pad: usize) -> (Program, Vec<Vec<f64>>) {
    let [cin, cout] = channels;
    let out = t + 2 * pad + 1 - taps;
    let mut e = Exprs::default();
    let (image, at, tap, channel, column) = (e.coord(0), e.coord(1), e.reduced(0), e.reduced(1), e.coord(2));
    let (length, shift, zero) = (e.word(t), e.word(pad), e.word(0));
    let shifted = e.op(Scalar::AddU, &[at, tap]);
    let place = e.op(Scalar::SubU, &[shifted, shift]);
    let inside = e.op(Scalar::LtU, &[place, length]);
    let clamped = e.op(Scalar::Select, &[inside, place, zero]);
    let index = e.index(&[(image, t * cin), (clamped, cin), (channel, 1)]);
    let x = e.load(0, index);
    let nothing = e.float(0.0);
    let a = e.op(Scalar::Select, &[inside, x, nothing]);
    let index = e.index(&[(tap, cin * cout), (channel, cout), (column, 1)]);
    let b = e.load(1, index);
    let (acc, bias) = (e.acc(), e.load(2, column));
    let sum = e.op(Scalar::Add, &[acc, bias]);
    let value = e.op(Scalar::Relu, &[sum]);
    let core = Core::Contract { batch: 0, rows: 2, extent: vec![taps, cin], a, b };
    let dispatch = e.dispatch(&[n, out, cout], core, &[(3, value)]);
    let (x, w) = (n * t * cin, taps * cin * cout);
    let program = program(&[(F32, x), (F32, w), (F32, cout)], &[(F32, n * out * cout)], vec![dispatch]);
    (program, vec![noise(7, x), noise(8, w), noise(9, cout)])
}

pub fn convolutions(engine: &mut dyn Engine, cases: u32) {
    let shapes = (1usize..4, 3usize..9, [1usize..9, 1usize..9], 1usize..4, 0usize..3);
    check(engine, cases, shapes, |engine, (n, t, channels, taps, pad)| {
        let (program, inputs) = convolution(n, t, channels, taps, pad);
        compare(engine, &program, &inputs, taps * channels[0]);
    });
    for channels in [[8, 8], [4, 16], [9, 8], [8, 12]] {
        let (program, inputs) = convolution(16, 30, channels, 3, 1);
        compare(engine, &program, &inputs, 3 * channels[0]);
    }
}

/// dw[d, i, o] = Σ_{n, p} x[n, p + d, i] · y[n, p, o]
pub fn kernel_gradients(engine: &mut dyn Engine) {
    for [cin, cout] in [[8, 8], [12, 16], [9, 8], [8, 6]] {
        let (n, t, taps) = (5, 12, 3);
        let out = t + 1 - taps;
        let mut e = Exprs::default();
        let (image, at) = (e.reduced(0), e.reduced(1));
        let (tap, channel, column) = (e.coord(0), e.coord(1), e.coord(2));
        let place = e.op(Scalar::AddU, &[at, tap]);
        let index = e.index(&[(image, t * cin), (place, cin), (channel, 1)]);
        let a = e.load(0, index);
        let index = e.index(&[(image, out * cout), (at, cout), (column, 1)]);
        let b = e.load(1, index);
        let acc = e.acc();
        let core = Core::Contract { batch: 0, rows: 2, extent: vec![n, out], a, b };
        let dispatch = e.dispatch(&[taps, cin, cout], core, &[(2, acc)]);
        let (x, y) = (n * t * cin, n * out * cout);
        let program = program(&[(F32, x), (F32, y)], &[(F32, taps * cin * cout)], vec![dispatch]);
        compare(engine, &program, &[noise(1, x), noise(2, y)], n * out);
    }
}

/// step ← 2x; state ← state + step; part ← the first of state, tripled, where step was; out ← Σ part.
fn in_place(len: usize) -> Program {
    let first = len / 3;
    let map = |from: usize, len: usize, factor: f64, to: usize| {
        let mut e = Exprs::default();
        let flat = e.flat();
        let (x, factor) = (e.load(from, flat), e.float(factor));
        let value = e.op(Scalar::Mul, &[x, factor]);
        e.dispatch(&[len], Core::Map, &[(to, value)])
    };
    let update = {
        let mut e = Exprs::default();
        let flat = e.flat();
        let (state, step) = (e.load(1, flat), e.load(2, flat));
        let value = e.op(Scalar::Add, &[state, step]);
        e.dispatch(&[len], Core::Map, &[(1, value)])
    };
    let total = {
        let mut e = Exprs::default();
        let step = e.reduced(0);
        let value = e.load(3, step);
        let acc = e.acc();
        e.dispatch(&[1], Core::Reduce { extent: vec![first], value }, &[(4, acc)])
    };
    Program {
        name: "in place".to_owned(),
        buffers: vec![
            buffer("x", F32, len, Place::Input(0)),
            buffer("state", F32, len, Place::InPlace { input: 1, output: 0 }),
            buffer("step", F32, len, Place::Scratch(0)),
            buffer("part", F32, first, Place::Scratch(0)),
            buffer("total", F32, 1, Place::Output(1)),
        ],
        inputs: vec![BufferIndex(0), BufferIndex(1)],
        outputs: vec![BufferIndex(1), BufferIndex(4)],
        scratch: vec![4 * len],
        members: 1,
        dispatches: vec![map(0, len, 2.0, 2), update, map(1, first, 3.0, 3), total],
        launches: vec![1; 4],
    }
}

/// Loops of several lengths and kinds in one launch, alone and for three members.
pub fn loops_launched_together(engine: &mut dyn Engine) {
    let (contraction, mut inputs) = contraction(&[2], &[30], &[20], &[12]);
    let len = 1000;
    let mut doubled = Exprs::default();
    let (flat, two) = (doubled.flat(), doubled.float(2.0));
    let x = doubled.load(3, flat);
    let twice = doubled.op(Scalar::Mul, &[x, two]);
    let mut total = Exprs::default();
    let (step, row, length) = (total.reduced(0), total.coord(0), total.word(len / 10));
    let start = total.op(Scalar::MulU, &[row, length]);
    let at = total.op(Scalar::AddU, &[start, step]);
    let (value, acc) = (total.load(3, at), total.acc());
    let shapes = |list: &[BufferIndex]| -> Vec<(DType, usize)> {
        list.iter().map(|index| contraction.buffer(*index)).map(|buffer| (buffer.dtype, buffer.len)).collect()
    };
    // The arrays of the contraction, with one more among its inputs and two more behind its outputs.
    let (takes, gives) = (shapes(&contraction.inputs), shapes(&contraction.outputs));
    assert_eq!((takes.len(), gives.len()), (3, 2));
    let outputs = [&gives[..], &[(F32, len), (F32, 10)]].concat();
    let mut first = contraction.dispatches[0].clone();
    first.stores.iter_mut().for_each(|store| store.buffer.0 += 1);
    let dispatches = vec![
        first,
        doubled.dispatch(&[len], Core::Map, &[(6, twice)]),
        total.dispatch(&[10], Core::Reduce { extent: vec![len / 10], value }, &[(7, acc)]),
    ];
    let mut program = program(&[&takes[..], &[(F32, len)]].concat(), &outputs, dispatches);
    program.launches = vec![3];
    program.verify().unwrap();
    inputs.push(noise(5, len));
    compare(engine, &program, &inputs, len);
    let before = engine.counters();
    let three = program.clone().for_members(3, |_| false).unwrap();
    let repeated: Vec<Vec<f64>> = inputs.iter().map(|values| values.repeat(3)).collect();
    let (alone, got) = (run(engine, &program, &inputs), run(engine, &three, &repeated));
    for (alone, got) in alone.iter().zip(&got) {
        assert_eq!(*got, alone.repeat(3));
    }
    assert_eq!(engine.counters().dispatches - before.dispatches, 2, "one launch each");
}

pub fn scratch_and_arrays_updated_in_place(engine: &mut dyn Engine) {
    let len = 100;
    compare(engine, &in_place(len), &[noise(1, len), noise(2, len)], len);
}

pub fn members_see_their_own_copies(engine: &mut dyn Engine) {
    let (len, members) = (101, 5);
    let alone = in_place(len);
    alone.verify().unwrap();
    let together = alone.clone().for_members(members, |name| name == "x").unwrap();
    together.verify().unwrap();
    let x = noise(1, len);
    let states: Vec<Vec<f64>> = (0..members).map(|member| noise(2 + member, len)).collect();
    let expected: Vec<_> = states.iter().map(|state| run(engine, &alone, &[x.clone(), state.clone()])).collect();
    let expected = [0, 1].map(|output| expected.iter().flat_map(|all| all[output].clone()).collect::<Vec<f64>>());
    assert_eq!(run(engine, &together, &[x, states.concat()]), expected);
}

pub fn timing_runs_a_program_once(engine: &mut dyn Engine) {
    let program = increment(50);
    let id = pollster::block_on(engine.load(&program)).unwrap();
    let bound = Bound::new(engine, &program, id, &[vec![1.0; 50]]);
    let before = engine.counters();
    let timing = pollster::block_on(engine.time(bound.binding)).unwrap();
    let after = engine.counters();
    assert_eq!((after.dispatches - before.dispatches, after.submits - before.submits), (1, 1));
    assert_eq!(timing.seconds.len(), program.launches.len());
    assert!(timing.seconds.iter().all(|seconds| (0.0..10.0).contains(seconds)), "{timing:?}");
    assert_eq!(pollster::block_on(engine.read(&bound.outputs)).unwrap(), [[2.0; 50]]);
    bound.destroy(engine);
    engine.unload(id);
    assert!(pollster::block_on(engine.time(Default::default())).is_err());
}

/// A program that counts the steps of its loop.
pub fn counting(extent: &[usize]) -> Program {
    let mut e = Exprs::default();
    let one = e.word(1);
    let acc = e.acc();
    let dispatch = e.dispatch(&[2], Core::Reduce { extent: extent.to_vec(), value: one }, &[(0, acc)]);
    program(&[], &[(U32, 2)], vec![dispatch])
}

pub fn long_loops(engine: &mut dyn Engine) {
    for extent in [vec![MAX_EXTENT], vec![16_383, 2], vec![2, 16_383], vec![181, 181], vec![3, 2, 2, 2, 2, 2, 341]] {
        assert_eq!(run(engine, &counting(&extent), &[]), [[numel(&extent) as f64; 2]], "{extent:?}");
    }
}

pub fn overflow_is_seen_by_its_bits(engine: &mut dyn Engine) {
    let mut e = Exprs::default();
    let step = e.reduced(0);
    let x = e.load(0, step);
    let large = e.op(Scalar::Exp, &[x]);
    let value = e.op(Scalar::NonFinite, &[large]);
    let acc = e.acc();
    let dispatch = e.dispatch(&[], Core::Reduce { extent: vec![4], value }, &[(1, acc)]);
    let program = program(&[(F32, 4)], &[(U32, 1)], vec![dispatch]);
    assert_eq!(run(engine, &program, &[vec![0.0, 1.0, 2.0, 80.0]]), [[0.0]]);
    assert_eq!(run(engine, &program, &[vec![0.0, 200.0, 2.0, 300.0]]), [[2.0]]);
}
