//! The compiled programs of the main job on the GPU, against the same programs in f64.

mod gpu_support;

use gpu_support::engine;
use gpu_support::programs::{bind, problem, programs};
use pollster::block_on;
use stackelberg::compile::Program;
use stackelberg::engine::{Command, Engine};
use stackelberg::reference::ReferenceEngine;

fn run(engine: &mut dyn Engine, program: &Program) -> Vec<Vec<f64>> {
    let (binding, outputs) = bind(engine, program);
    engine.submit(&[Command::Run(binding)]).unwrap();
    block_on(engine.read(&outputs)).unwrap()
}

#[test]
fn training_steps_and_their_adjoints() {
    let Some(mut gpu) = engine() else { return };
    // Four programs of a network whose sizes are multiples of four, two of one whose are not.
    for (filters, hidden, batch, count) in [(8, 16, 8, 4), (3, 5, 5, 2)] {
        for program in programs(&problem(filters, hidden, batch)).into_iter().take(count) {
            let (got, wanted) = (run(&mut gpu, &program), run(&mut ReferenceEngine::new(), &program));
            for ((got, wanted), buffer) in got.iter().zip(&wanted).zip(&program.outputs) {
                let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
                let error = norm(&mut got.iter().zip(wanted).map(|(g, w)| g - w));
                let size = norm(&mut wanted.iter().copied());
                // Some 200 roundings in a row, each of relative size 2⁻²⁴ at most.
                assert!(
                    error <= 200.0 * (-24f64).exp2() * size,
                    "{} of {} ({filters} filters): error {error:e}, size {size:e}",
                    program.buffer(*buffer).name,
                    program.name
                );
            }
        }
    }
}

#[test]
fn the_same_bits_every_time() {
    let Some(mut gpu) = engine() else { return };
    for program in &programs(&problem(8, 16, 8))[..2] {
        assert_eq!(run(&mut gpu, program), run(&mut gpu, program), "{}", program.name);
    }
}
