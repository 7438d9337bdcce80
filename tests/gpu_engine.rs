//! The GPU engine's behaviour around the kernels: counting, many commands, wrong calls, memory, and
//! a device that is lost.

mod engine_support;

use engine_support::calls::{self, doubled, increment};
use engine_support::{gpu, noise, run};
use pollster::block_on;
use stackelberg::engine::{Command, Counters, Engine, EngineError, Values};
use stackelberg::gpu::{GpuEngine, adapters};
use stackelberg::ir::DType;

use DType::{F32, U32};

#[test]
fn adapters_are_listed_and_chosen() {
    let Some(engine) = gpu() else { return };
    let all = block_on(adapters());
    assert_eq!(&all[0], engine.info());
    assert!(!all[0].adapter.is_empty() && !all[0].backend.is_empty() && all[0].engine == "gpu");
    let part = all[0].adapter.split_whitespace().next().unwrap().to_uppercase();
    assert!(block_on(GpuEngine::new(&part)).is_ok());
    assert_eq!(block_on(GpuEngine::new("0")).unwrap().info(), &all[0]);
    // Too little of a name to mean one.
    for wrong in ["", " ", "l", "LL"] {
        let error = block_on(GpuEngine::new(wrong)).err().unwrap().to_string();
        assert!(error.contains("too short") && error.contains(&all[0].adapter), "{error}");
    }
    for wrong in ["99", "no such adapter"] {
        let error = block_on(GpuEngine::new(wrong)).err().unwrap().to_string();
        assert!(error.contains(wrong) && error.contains(&all[0].adapter), "{error}");
    }
}

#[test]
fn thousands_of_commands_in_one_submission_and_their_counts() {
    let Some(mut engine) = gpu() else { return };
    let len = 5;
    let id = block_on(engine.load(&increment(len))).unwrap();
    let (x, y) = (engine.create("x", F32, len).unwrap(), engine.create("y", F32, len).unwrap());
    let (on_x, on_y) = (engine.bind(id, &[x], &[x]).unwrap(), engine.bind(id, &[y], &[y]).unwrap());
    engine.write(x, 1, Values::F32(&[10.0, 20.0])).unwrap();
    let before = engine.counters();
    let mut commands = vec![];
    for _ in 0..1000 {
        // x gains 2; y becomes x + 1.
        commands.extend([Command::Run(on_x), Command::Run(on_x), Command::Copy { from: x, to: y }, Command::Run(on_y)]);
    }
    engine.submit(&commands).unwrap();
    block_on(engine.finish()).unwrap();
    let after = engine.counters();
    assert_eq!(after, Counters { dispatches: before.dispatches + 3000, submits: before.submits + 1, ..before });
    let values = block_on(engine.read(&[y, x])).unwrap();
    assert_eq!(values, [[2001.0, 2011.0, 2021.0, 2001.0, 2001.0], [2000.0, 2010.0, 2020.0, 2000.0, 2000.0]]);
    assert_eq!(engine.counters().readbacks, before.readbacks + 1);
    engine.submit(&[]).unwrap();
}

#[test]
fn bytes_are_counted_and_freed() {
    let Some(mut engine) = gpu() else { return };
    assert_eq!(engine.counters(), Counters::default());
    let large = engine.create("large", F32, 1000).unwrap();
    let small = engine.create("small", U32, 1).unwrap();
    assert_eq!((engine.counters().bytes, engine.counters().buffers_created), (4000 + 16, 2));
    engine.destroy(large);
    engine.destroy(large);
    assert_eq!((engine.counters().bytes, engine.counters().peak_bytes), (16, 4016));
    assert_eq!(block_on(engine.read(&[small])).unwrap(), [[0.0]]);
    assert!(block_on(engine.read(&[large])).is_err());
    // An array of no elements is an array.
    let none = engine.create("none", F32, 0).unwrap();
    assert_eq!(block_on(engine.read(&[none, small])).unwrap(), [vec![], vec![0.0]]);
}

#[test]
fn programs_share_scratch_memory_that_grows() {
    let Some(mut engine) = gpu() else { return };
    let x = noise(1, 64);
    let wanted = [x.iter().map(|x| 2.0 * x).collect::<Vec<f64>>()];
    assert_eq!(run(&mut engine, &doubled(64, vec![256]), std::slice::from_ref(&x)), wanted);

    let id = block_on(engine.load(&doubled(64, vec![256]))).unwrap();
    let (from, to) = (engine.create("x", F32, 64).unwrap(), engine.create("y", F32, 64).unwrap());
    engine.write(from, 0, Values::F64(&x)).unwrap();
    let binding = engine.bind(id, &[from], &[to]).unwrap();
    let before = engine.counters().bytes;
    // Larger slots in another order replace the old memory; the binding goes on working.
    let long = noise(2, 1000);
    let long_wanted = [long.iter().map(|x| 2.0 * x).collect::<Vec<f64>>()];
    block_on(engine.load(&doubled(1000, vec![64, 4000]))).unwrap();
    assert_eq!(engine.counters().bytes, before - 256 + 4000 + 64);
    engine.submit(&[Command::Run(binding)]).unwrap();
    assert_eq!(block_on(engine.read(&[to])).unwrap(), wanted);
    assert_eq!(run(&mut engine, &doubled(1000, vec![64, 4000]), &[long]), long_wanted);
}

#[test]
fn pipelines_can_be_made_ahead_of_loading_each_once() {
    let Some(mut engine) = gpu() else { return };
    let programs = [increment(5), increment(5), doubled(7, vec![28])];
    let kernels = engine.kernels(&programs).unwrap();
    assert_eq!(kernels.len(), 3, "equal programs have equal kernels");
    for (label, kernel) in &kernels {
        assert!(!engine.is_prepared(kernel));
        block_on(engine.prepare(label, kernel)).unwrap();
        assert!(engine.is_prepared(kernel));
    }
    assert_eq!(run(&mut engine, &programs[2], &[vec![1.0; 7]]), [[2.0; 7]]);
}

#[test]
fn wrong_calls_are_refused_by_name() {
    let Some(mut engine) = gpu() else { return };
    calls::wrong_ones_are_refused_by_name(&mut engine);
}

#[test]
fn an_array_beyond_the_limit_is_out_of_memory() {
    let Some(mut engine) = gpu() else { return };
    let limit = engine.info().max_buffer_bytes;
    let result = engine.create("huge", F32, (limit / 4) as usize + 1);
    match result.unwrap_err() {
        EngineError::OutOfMemory { what, bytes, limit: Some(known) } => {
            assert_eq!((what.as_str(), bytes, known), ("`huge`", (limit / 4 + 1) * 4, limit));
        }
        other => panic!("{other}"),
    }
    let scratch = doubled(4, vec![limit as usize + 4]);
    let error = block_on(engine.load(&scratch)).unwrap_err();
    assert!(matches!(error, EngineError::OutOfMemory { .. }), "{error}");
    assert_eq!(run(&mut engine, &doubled(2, vec![8]), &[vec![1.0, 2.0]]), [[2.0, 4.0]]);
}

#[test]
fn a_lost_device_is_an_error_everywhere() {
    let Some(mut engine) = gpu() else { return };
    let id = block_on(engine.load(&increment(8))).unwrap();
    let x = engine.create("x", F32, 8).unwrap();
    let binding = engine.bind(id, &[x], &[x]).unwrap();
    engine.submit(&[Command::Run(binding)]).unwrap();
    block_on(engine.lose_device());
    let lost = |result: Result<(), EngineError>| {
        let error = result.expect_err("a lost device answered");
        assert!(matches!(error, EngineError::DeviceLost { .. }), "{error}");
    };
    lost(engine.submit(&[Command::Run(binding)]));
    lost(engine.write(x, 0, Values::F32(&[1.0])));
    lost(engine.create("y", F32, 8).map(|_| ()));
    lost(engine.bind(id, &[x], &[x]).map(|_| ()));
    lost(block_on(engine.read(&[x])).map(|_| ()));
    lost(block_on(engine.load(&increment(9))).map(|_| ()));
    lost(block_on(engine.finish()));
    engine.destroy(x);
    assert_eq!(engine.info().engine, "gpu");
}
