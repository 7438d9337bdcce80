//! The main job's programs, with inputs to run them on, and the same in f64.

use stackelberg::bilevel::programs::{outer_gradient, step, step_adjoint};
use stackelberg::bilevel::{Loss, Problem};
use stackelberg::compile::{BufferIndex, Program};
use stackelberg::engine::Engine;
use stackelberg::ir::DType;
use stackelberg::nn::{optim, zoo};
use stackelberg::reference::ReferenceEngine;

use super::{noise, run};

/// Training examples.
pub const EXAMPLES: usize = 150;

/// The activity network with F filters and H hidden units, trained as `tune` does.
pub fn problem(filters: usize, hidden: usize, batch: usize) -> Problem {
    let model = zoo::har_cnn(&[128, 9], filters, hidden, 6, 0.3).unwrap();
    Problem { batch, l2: true, weights: true, ..Problem::new(model, Loss::CrossEntropy, optim::Momentum, 3, EXAMPLES) }
}

/// Step, adjoint, chunk of an outer gradient, chunk of an evaluation.
pub fn programs(problem: &Problem) -> Vec<Program> {
    let problem = &Problem { validation: 140, ..problem.clone() };
    let functions = [step(problem), step_adjoint(problem), outer_gradient(problem), problem.evaluation()];
    functions.iter().map(|function| function.compile().unwrap()).collect()
}

/// Values of a program's inputs by name, floats exact in f32.
pub fn inputs(program: &Program) -> Vec<Vec<f64>> {
    let values = |(at, buffer): (usize, &BufferIndex)| -> Vec<f64> {
        let buffer = program.buffer(*buffer);
        let floats = |map: &dyn Fn(f64) -> f64| -> Vec<f64> {
            noise(at, buffer.len).into_iter().map(|x| f64::from(map(x) as f32)).collect()
        };
        match (buffer.name.as_str(), buffer.dtype) {
            ("train_y" | "set_y", _) => (0..buffer.len).map(|i| (i % 6) as f64).collect(),
            ("seed", _) => vec![12.0, 34.0],
            ("limit", _) => vec![100.0],
            (_, DType::U32) => vec![0.0; buffer.len],
            ("lambda", _) => floats(&|x| x - 3.0),
            ("state", _) => floats(&|x| 0.1 * x),
            _ => floats(&|x| x),
        }
    };
    program.inputs.iter().enumerate().map(values).collect()
}

/// Holds an engine's results of a program to those in f64.
pub fn close_to_f64(engine: &mut dyn Engine, program: &Program) {
    let inputs = inputs(program);
    let (got, wanted) = (run(engine, program, &inputs), run(&mut ReferenceEngine::new(), program, &inputs));
    for ((got, wanted), buffer) in got.iter().zip(&wanted).zip(&program.outputs) {
        let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
        let error = norm(&mut got.iter().zip(wanted).map(|(g, w)| g - w));
        let size = norm(&mut wanted.iter().copied());
        // Some 200 roundings in a row, each of relative size 2⁻²⁴ at most.
        assert!(
            error <= 200.0 * (-24f64).exp2() * size,
            "{} of {}: error {error:e}, size {size:e}",
            program.buffer(*buffer).name,
            program.name
        );
    }
}
