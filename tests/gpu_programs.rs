//! The compiled programs of the main job on the GPU, against the same programs in f64.

mod engine_support;

use engine_support::programs::{close_to_f64, inputs, problem, programs};
use engine_support::{gpu, run};

#[test]
fn training_steps_and_their_adjoints() {
    let Some(mut gpu) = gpu() else { return };
    // Four programs of a network whose sizes are multiples of four, two of one whose are not.
    for (filters, hidden, batch, count) in [(8, 16, 8, 4), (3, 5, 5, 2)] {
        for program in programs(&problem(filters, hidden, batch)).into_iter().take(count) {
            close_to_f64(&mut gpu, &program);
        }
    }
}

#[test]
fn the_same_bits_every_time() {
    let Some(mut gpu) = gpu() else { return };
    for program in &programs(&problem(8, 16, 8))[..2] {
        let inputs = inputs(program);
        assert_eq!(run(&mut gpu, program, &inputs), run(&mut gpu, program, &inputs), "{}", program.name);
    }
}
