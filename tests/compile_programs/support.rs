//! Running a compiled graph once.

use stackelberg::compile::{Output, compile};
use stackelberg::engine::{Command, Engine, Values};
use stackelberg::ir::{Graph, numel};
use stackelberg::reference::ReferenceEngine;

/// Compiles a graph and runs it once; an in-place output appears where its input was.
pub fn run(graph: &Graph, outputs: &[Output], inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let program = compile("program", graph, outputs).unwrap();
    let mut engine = ReferenceEngine::new();
    let loaded = pollster::block_on(engine.load(&program)).unwrap();
    let given: Vec<_> = inputs
        .iter()
        .zip(graph.inputs())
        .map(|(values, (name, id))| {
            let buffer = engine.create(name, graph.dtype(*id), values.len()).unwrap();
            engine.write(buffer, 0, Values::F64(values)).unwrap();
            buffer
        })
        .collect();
    let made: Vec<_> = outputs
        .iter()
        .map(|output| match output.in_place {
            Some(input) => given[input],
            None => engine.create(&output.name, graph.dtype(output.node), numel(graph.shape(output.node))).unwrap(),
        })
        .collect();
    let binding = engine.bind(loaded, &given, &made).unwrap();
    engine.submit(&[Command::Run(binding)]).unwrap();
    pollster::block_on(engine.read(&made)).unwrap()
}

/// Whether values agree up to the order of sums.
pub fn close(got: &[f64], want: &[f64], tolerance: f64) -> bool {
    got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() <= tolerance * (1.0 + w.abs()))
}

/// Numbers in −1 … 1.
pub fn draws(seed: u32) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 23) - 1.0
    }
}
