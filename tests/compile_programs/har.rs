//! The training step of the activity network, its tangent and its adjoint: compiled, they compute
//! what the interpreter computes, in few dispatches.

use std::time::Instant;

use crate::support::{close, draws, run};
use stackelberg::autodiff::{grad, jvp, vjp};
use stackelberg::bilevel::{Loss, ParameterMap, TrainingLoss};
use stackelberg::compile::{Output, compile};
use stackelberg::interp;
use stackelberg::ir::{DType, Graph, NodeId, Scalar, numel};
use stackelberg::nn::{Model, optim::Optimizer};

const EXAMPLES: usize = 100;

/// One training step with its nodes.
struct Step {
    g: Graph,
    state: NodeId,
    new_state: NodeId,
    loss: NodeId,
    hyper: Vec<NodeId>,
}

fn step(model: &Model, optimizer: Optimizer, batch: usize) -> Step {
    let mut g = Graph::new();
    let d = model.parameter_count();
    let state = g.input("state", &[optimizer.state_len(d)], DType::F32);
    let data = g.input("windows", &[EXAMPLES, 128, 9], DType::F32);
    let all_labels = g.input("labels", &[EXAMPLES], DType::U32);
    let index = g.input("batch", &[batch], DType::U32);
    let (mask_shape, _) = model.dropout().unwrap();
    let mask = g.input("mask", &[&[batch], mask_shape].concat(), DType::F32);
    let map = ParameterMap::input(&mut g, model);
    let layers = model.parameter_layers();
    let rate_log = g.input("rate_log", &[layers], DType::F32);
    let l2_log = g.input("l2_log", &[layers], DType::F32);
    let mut hyper = vec![rate_log, l2_log];
    let scalars: Vec<NodeId> = optimizer.scalars().iter().map(|name| g.input(name, &[1], DType::F32)).collect();
    hyper.extend(&scalars);

    let theta = g.segment(state, 0, d);
    let x = g.take_rows(data, index);
    let labels = g.take_rows(all_labels, index);
    let output = model.apply(&mut g, theta, x, Some(mask));
    let training = TrainingLoss { model, map, loss: Loss::CrossEntropy, l2_log: Some(l2_log), weights: None };
    let loss = training.of_output(&mut g, theta, output, labels);
    let gradient = grad(&mut g, loss, &[theta])[0];
    let rate = g.scalar(Scalar::Exp, &[rate_log]);
    let eta = g.take_rows(rate, map.layer);
    let new_state = optimizer.step(&mut g, state, gradient, eta, &scalars);
    Step { g, state, new_state, loss, hyper }
}

/// Adjoint of the state before a step and its share of the gradient in the hyperparameters.
fn adjoint(step: &mut Step) -> Vec<Output> {
    let shape = step.g.shape(step.state).to_vec();
    let after = step.g.input("adjoint", &shape, DType::F32);
    let inputs: Vec<NodeId> = [&[step.state], step.hyper.as_slice()].concat();
    let pulled = vjp(&mut step.g, &[step.new_state], &[after], &inputs);
    let mut outputs = vec![Output::new("adjoint before", pulled[0])];
    for (k, &share) in pulled[1..].iter().enumerate() {
        let sums = step.g.input(&format!("sum {k}"), step.g.shape(share).to_vec().as_slice(), DType::F32);
        let sum = step.g.add(sums, share);
        outputs.push(Output::over(&format!("new sum {k}"), sum, step.g.inputs().len() - 1));
    }
    outputs
}

/// Tangents of the state and the hyperparameters before a step to that of the state after it.
fn tangent(step: &mut Step) -> Vec<Output> {
    let seeds: Vec<(NodeId, NodeId)> = [&[step.state], step.hyper.as_slice()]
        .concat()
        .into_iter()
        .enumerate()
        .map(|(k, x)| {
            let shape = step.g.shape(x).to_vec();
            (x, step.g.input(&format!("tangent {k}"), &shape, DType::F32))
        })
        .collect();
    let moved = jvp(&mut step.g, &[step.new_state], &seeds)[0].unwrap();
    vec![Output::new("new state", step.new_state), Output::new("new tangent", moved)]
}

fn inputs(g: &Graph) -> Vec<Vec<f64>> {
    let mut draw = draws(7);
    let inputs = g.inputs().iter().map(|(name, id)| {
        let n = numel(g.shape(*id));
        (0..n)
            .map(|k| match name.as_str() {
                "labels" => (k % 6) as f64,
                "batch" => ((k * 37) % EXAMPLES) as f64,
                "layer_of" => (k * 4 / n) as f64,
                "is_kernel" => f64::from(u8::from(k % 9 != 0)),
                "mask" => f64::from(u8::from(draw() > -0.4)),
                "rate_log" | "l2_log" => -2.0 + 0.1 * draw(),
                "momentum" | "beta1" | "beta2" => 0.9,
                // Adam's second moments are not negative.
                "state" => 0.2 * draw() + 0.2 * f64::from(u8::from(2 * k > n)),
                _ => 0.3 * draw(),
            })
            .collect()
    });
    inputs.collect()
}

fn programs(model: &Model, optimizer: Optimizer, batch: usize) -> Vec<(Step, Vec<Output>)> {
    let forward = step(model, optimizer, batch);
    let outputs = vec![Output::new("new state", forward.new_state), Output::new("loss", forward.loss)];
    let mut programs = vec![(forward, outputs)];
    for derive in [tangent, adjoint] {
        let mut step = step(model, optimizer, batch);
        let outputs = derive(&mut step);
        programs.push((step, outputs));
    }
    programs
}

#[test]
fn steps_compute_what_the_interpreter_computes() {
    let small = Model::har_cnn(3, 5, 6, 0.3);
    for optimizer in [Optimizer::Momentum, Optimizer::Adam { epsilon: 1e-8 }] {
        for (step, outputs) in programs(&small, optimizer, 4) {
            let inputs = inputs(&step.g);
            let nodes: Vec<NodeId> = outputs.iter().map(|o| o.node).collect();
            let want = interp::eval(&step.g, &nodes, &inputs);
            let got = run(&step.g, &outputs, &inputs);
            for (output, (got, want)) in outputs.iter().zip(got.iter().zip(&want)) {
                assert!(close(got, want, 1e-11), "{optimizer:?}: {}", output.name);
            }
        }
    }
}

#[test]
fn steps_take_few_dispatches() {
    let narrow = Model::har_cnn(8, 16, 6, 0.3);
    let names = ["step", "tangent", "adjoint"];
    let most = [30, 60, 65];
    for (k, (step, outputs)) in programs(&narrow, Optimizer::Momentum, 64).into_iter().enumerate() {
        let start = Instant::now();
        let program = compile(names[k], &step.g, &outputs).unwrap();
        let compiled = start.elapsed();
        let start = Instant::now();
        run(&step.g, &outputs, &inputs(&step.g));
        let count = program.dispatches.len();
        println!("{}: {count} dispatches, {} bytes of scratch", names[k], program.scratch_bytes());
        println!("  compiled in {compiled:?}, compiled and run in {:?}", start.elapsed());
        assert!(count <= most[k], "{}: {count} dispatches\n{program}", names[k]);
    }
}
