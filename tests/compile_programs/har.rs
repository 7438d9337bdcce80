//! The training step of the activity network, its tangent and its adjoint: compiled, they compute
//! what the interpreter computes, in few dispatches.

use std::time::Instant;

use crate::support::{Loaded, close, draws, run};
use stackelberg::autodiff::jvp;
use stackelberg::bilevel::{Blueprint, Loss, Memory, Problem, programs};
use stackelberg::compile::Output;
use stackelberg::interp;
use stackelberg::ir::{DType, Graph, NodeId, numel};
use stackelberg::nn::optim;
use stackelberg::nn::{Model, zoo};
use stackelberg::rig::Function;

fn problem(model: Model, optimizer: impl Into<optim::Dynamics>, batch: usize) -> Problem {
    Problem { batch, l2: true, ..Problem::new(model, Loss::CrossEntropy, optimizer, 20, 100) }
}

/// Tangents of state and hyperparameters before a step to that of the state after it.
fn tangent(problem: &Problem) -> Function {
    let mut f = programs::step(problem);
    let seeds = ["state", "lambda"].map(|name| {
        let (_, x) = f.graph.inputs().iter().find(|(input, _)| input == name).unwrap().clone();
        let shape = f.graph.shape(x).to_vec();
        (x, f.graph.input(&format!("{name}_tangent"), &shape, DType::F32))
    });
    let next = f.outputs.iter().find(|output| output.name == "next_state").unwrap().node;
    let moved = jvp(&mut f.graph, &[next], &seeds)[0].unwrap();
    f.outputs.push(Output::new("next_tangent", moved));
    f
}

fn functions(problem: &Problem) -> [(&'static str, Function); 5] {
    [
        ("step", programs::step(problem)),
        ("tangent", tangent(problem)),
        ("adjoint", programs::step_adjoint(problem)),
        ("outer gradient", programs::outer_gradient(&Problem { validation: 300, ..problem.clone() })),
        ("evaluation", problem.evaluation()),
    ]
}

fn inputs(g: &Graph) -> Vec<Vec<f64>> {
    let mut draw = draws(7);
    let inputs = g.inputs().iter().map(|(name, id)| {
        let n = numel(g.shape(*id));
        let values = (0..n).map(|k| match name.as_str() {
            "train_y" | "validation_y" | "set_y" => (k % 6) as f64,
            "seed" | "time" => (k + 3) as f64,
            "chunk" => 2.0,
            "limit" => 100.0,
            "bad_step" => f64::from(u32::MAX),
            // Log rates, momentum or decay rates, log penalties.
            "lambda" => {
                if (80..n - 4).contains(&k) {
                    0.9
                } else {
                    -2.0 + 0.1 * draw()
                }
            }
            // Adam's second moments are not negative.
            "state" => 0.2 * draw() + 0.2 * f64::from(u8::from(2 * k > n)),
            _ => 0.3 * draw(),
        });
        values.collect()
    });
    inputs.collect()
}

#[test]
fn steps_compute_what_the_interpreter_computes() {
    for optimizer in optim::every() {
        let small = problem(zoo::har_cnn(&[128, 9], 3, 5, 6, 0.3).unwrap(), optimizer.clone(), 4);
        for (name, f) in functions(&small) {
            let inputs = inputs(&f.graph);
            let nodes: Vec<NodeId> = f.outputs.iter().map(|output| output.node).collect();
            let want = interp::eval(&f.graph, &nodes, &inputs);
            let got = run(&f.graph, &f.outputs, &inputs);
            for (output, (got, want)) in f.outputs.iter().zip(got.iter().zip(&want)) {
                assert!(close(got, want, 1e-11), "{optimizer:?}, {name}: {}", output.name);
            }
        }
    }
}

#[test]
fn steps_take_few_dispatches() {
    let narrow = problem(zoo::har_cnn(&[128, 9], 8, 16, 6, 0.3).unwrap(), optim::Momentum, 64);
    let most = [19, 31, 34, 16, 6];
    for ((name, f), most) in functions(&narrow).into_iter().zip(most) {
        let start = Instant::now();
        let program = f.compile().unwrap();
        let compiled = start.elapsed();
        let count = program.launches.len();
        if std::env::var("SHOW").is_ok_and(|show| show == name) {
            println!("{program}");
        }
        let mut loaded = Loaded::new(&f.graph, &f.outputs, &inputs(&f.graph));
        let start = Instant::now();
        loaded.run();
        println!("{name}: {count} dispatches, {} bytes of scratch", program.scratch_bytes());
        println!("  compiled in {compiled:?}, run in {:?}", start.elapsed());
        assert!(count <= most, "{name}: {count} dispatches\n{program}");
    }
}

/// The step alone; beside its adjoint, both, and the adjoint from residuals; a chunk of the outer gradient.
#[test]
fn networks_of_the_zoo_take_few_dispatches() {
    let networks = [
        ("narrow", &[128, 9][..], [19, 18, 34, 20, 16]),
        ("paper", &[128, 9], [19, 18, 34, 20, 16]),
        ("mlp", &[128, 9], [14, 13, 26, 17, 11]),
        ("cnn2d", &[32, 32, 3], [20, 20, 37, 21, 18]),
        ("resnet1d", &[128, 9], [115, 119, 276, 165, 53]),
    ];
    for (name, input, most) in networks {
        let network = problem(zoo::find(name).unwrap().model(input, 6, 0.3).unwrap(), optim::Momentum, 64);
        let network = Problem { validation: 300, ..network };
        let alone = programs::step(&network).compile().unwrap().launches.len();
        let blueprint = Blueprint::new(&network, 300, Memory::Budget(u64::MAX)).unwrap();
        let count = |name: &str| blueprint.programs.iter().find(|p| p.name == name).unwrap().launches.len();
        let [step, adjoint, pullback, outer] = ["step", "step_adjoint", "pullback", "outer_gradient"].map(count);
        let counts = [alone, step, adjoint, pullback, outer];
        println!("{name}: {counts:?}");
        assert!(counts.iter().zip(most).all(|(&count, most)| count <= most), "{name}: {counts:?}, at most {most:?}");
    }
}
