//! Running compiled graphs.

use stackelberg::compile::{Output, compile};
use stackelberg::engine::{BindingId, BufferId, Command, Engine, Values};
use stackelberg::ir::{Graph, numel};
use stackelberg::reference::ReferenceEngine;

/// A program loaded with its arrays.
pub struct Loaded {
    engine: ReferenceEngine,
    binding: BindingId,
    outputs: Vec<BufferId>,
}

impl Loaded {
    /// Compiles a graph; an in-place output appears where its input was.
    pub fn new(graph: &Graph, outputs: &[Output], inputs: &[Vec<f64>]) -> Self {
        let program = compile("program", graph, outputs).unwrap();
        let mut engine = ReferenceEngine::new();
        let loaded = pollster::block_on(engine.load(&program)).unwrap();
        let mut given = vec![];
        for (values, (name, id)) in inputs.iter().zip(graph.inputs()) {
            let buffer = engine.create(name, graph.dtype(*id), values.len()).unwrap();
            engine.write(buffer, 0, Values::F64(values)).unwrap();
            given.push(buffer);
        }
        let mut made = vec![];
        for output in outputs {
            let length = numel(graph.shape(output.node));
            made.push(match output.in_place {
                Some(input) => given[input],
                None => engine.create(&output.name, graph.dtype(output.node), length).unwrap(),
            });
        }
        let binding = engine.bind(loaded, &given, &made).unwrap();
        Loaded { engine, binding, outputs: made }
    }

    pub fn run(&mut self) {
        self.engine.submit(&[Command::Run(self.binding)]).unwrap();
    }

    pub fn outputs(&mut self) -> Vec<Vec<f64>> {
        pollster::block_on(self.engine.read(&self.outputs)).unwrap()
    }
}

/// Compiles a graph and runs it once.
pub fn run(graph: &Graph, outputs: &[Output], inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut loaded = Loaded::new(graph, outputs, inputs);
    loaded.run();
    loaded.outputs()
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
