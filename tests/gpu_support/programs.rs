//! The main job's programs, with inputs to run them on.

use stackelberg::bilevel::{Loss, Problem, Source};
use stackelberg::compile::Program;
use stackelberg::engine::{BindingId, BufferId, Engine, Values};
use stackelberg::ir::DType;
use stackelberg::nn::{Model, optim::Optimizer};

use super::noise;

/// Training examples.
pub const EXAMPLES: usize = 150;

/// The activity network with F filters and H hidden units, trained as `tune` does.
pub fn problem(filters: usize, hidden: usize, batch: usize) -> Problem {
    Problem {
        model: Model::har_cnn(filters, hidden, 6, 0.3),
        loss: Loss::CrossEntropy,
        optimizer: Optimizer::Momentum,
        steps: 3,
        batch,
        train: EXAMPLES,
        batches: Source::Keyed,
        masks: Some(Source::Keyed),
        l2: true,
        weights: true,
    }
}

/// Step, adjoint, chunk of an outer gradient, chunk of an evaluation.
pub fn programs(problem: &Problem) -> Vec<Program> {
    let functions = [problem.step(), problem.step_adjoint(), problem.outer_gradient(140), problem.evaluation()];
    functions.iter().map(|function| function.compile().unwrap()).collect()
}

/// Arrays of a program on an engine, filled by name, and its binding.
pub fn bind(engine: &mut dyn Engine, program: &Program) -> (BindingId, Vec<BufferId>) {
    let id = pollster::block_on(engine.load(program)).unwrap();
    let mut inputs = vec![];
    for (at, buffer) in program.inputs.iter().enumerate() {
        let buffer = program.buffer(*buffer);
        let array = engine.create(&buffer.name, buffer.dtype, buffer.len).unwrap();
        let values: Vec<f64> = match (buffer.name.as_str(), buffer.dtype) {
            ("train_y" | "set_y", _) => (0..buffer.len).map(|i| (i % 6) as f64).collect(),
            ("layer_of", _) => (0..buffer.len).map(|i| (i * 4 / buffer.len) as f64).collect(),
            ("seed", _) => vec![12.0, 34.0],
            ("limit", _) => vec![100.0],
            (_, DType::U32) => vec![0.0; buffer.len],
            ("lambda", _) => noise(at, buffer.len).iter().map(|x| -3.0 + x).collect(),
            ("state", _) => noise(at, buffer.len).iter().map(|x| 0.1 * x).collect(),
            _ => noise(at, buffer.len),
        };
        engine.write(array, 0, Values::F64(&values)).unwrap();
        inputs.push(array);
    }
    let mut outputs = vec![];
    for buffer in &program.outputs {
        let shared = program.inputs.iter().position(|input| input == buffer);
        let buffer = program.buffer(*buffer);
        outputs.push(match shared {
            Some(input) => inputs[input],
            None => engine.create(&buffer.name, buffer.dtype, buffer.len).unwrap(),
        });
    }
    (engine.bind(id, &inputs, &outputs).unwrap(), outputs)
}
