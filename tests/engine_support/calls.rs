//! What every engine refuses, in the same words.

use pollster::block_on;
use stackelberg::compile::{BufferIndex, Core, Place, Program};
use stackelberg::engine::{Command, Engine, Values};
use stackelberg::ir::{DType, Scalar};

use super::{Exprs, buffer, program, run};

use DType::{F32, U32};

/// x ← x + 1 in place, over `len` values.
pub fn increment(len: usize) -> Program {
    let mut e = Exprs::default();
    let flat = e.flat();
    let (x, one) = (e.load(0, flat), e.float(1.0));
    let value = e.op(Scalar::Add, &[x, one]);
    let dispatch = e.dispatch(&[len], Core::Map, &[(0, value)]);
    Program {
        name: "increment".to_owned(),
        buffers: vec![buffer("x", F32, len, Place::InPlace { input: 0, output: 0 })],
        inputs: vec![BufferIndex(0)],
        outputs: vec![BufferIndex(0)],
        scratch: vec![],
        members: 1,
        dispatches: vec![dispatch],
        launches: vec![1],
    }
}

/// out ← 2 · x by way of scratch memory of the given slots.
pub fn doubled(len: usize, scratch: Vec<usize>) -> Program {
    let step = |from: usize, to: usize, factor: f64| {
        let mut e = Exprs::default();
        let flat = e.flat();
        let (x, factor) = (e.load(from, flat), e.float(factor));
        let value = e.op(Scalar::Mul, &[x, factor]);
        e.dispatch(&[len], Core::Map, &[(to, value)])
    };
    let mut program = program(&[(F32, len)], &[(F32, len)], vec![step(0, 2, 4.0), step(2, 1, 0.5)]);
    program.buffers.push(buffer("between", F32, len, Place::Scratch(scratch.len() - 1)));
    program.scratch = scratch;
    program
}

pub fn wrong_ones_are_refused_by_name(engine: &mut dyn Engine) {
    let id = block_on(engine.load(&doubled(8, vec![32]))).unwrap();
    let in_place = block_on(engine.load(&increment(8))).unwrap();
    let x = engine.create("x", F32, 8).unwrap();
    let y = engine.create("y", F32, 8).unwrap();
    let short = engine.create("short", F32, 7).unwrap();
    let words = engine.create("words", U32, 8).unwrap();
    for (inputs, outputs, says) in [
        (vec![], vec![y], "takes 1 input arrays, 0 were given"),
        (vec![x], vec![short], "output `out0` of program `by hand` is F32 × 8, the array given is F32 × 7"),
        (vec![words], vec![y], "input `in0` of program `by hand` is F32 × 8, the array given is U32 × 8"),
        (vec![x], vec![x], "would share its array"),
    ] {
        let error = engine.bind(id, &inputs, &outputs).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let error = engine.bind(in_place, &[x], &[y]).unwrap_err().to_string();
    assert!(error.contains("updated in place"), "{error}");
    for offset in [usize::MAX, 9] {
        assert!(engine.write(x, offset, Values::F32(&[1.0, 2.0])).is_err());
    }
    let error = engine.write(x, 7, Values::F32(&[1.0, 2.0])).unwrap_err().to_string();
    assert!(error.contains("2 values from 7 do not fit"), "{error}");
    assert!(engine.write(words, 0, Values::F32(&[1.0])).is_err());
    assert!(engine.write(x, 0, Values::U32(&[1])).is_err());
    for (from, to) in [(x, short), (x, words), (x, x)] {
        assert!(engine.submit(&[Command::Copy { from, to }]).is_err());
    }
    let binding = engine.bind(id, &[x], &[y]).unwrap();
    engine.destroy(y);
    let error = engine.submit(&[Command::Run(binding)]).unwrap_err().to_string();
    assert!(error.contains("was destroyed"), "{error}");
    // Nothing of this harmed the engine.
    assert_eq!(run(engine, &doubled(2, vec![8]), &[vec![1.0, 2.0]]), [[2.0, 4.0]]);
}
