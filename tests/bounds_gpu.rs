//! The GPU engine stays within the computed error bounds, element by element.

mod bounds_support;
mod gpu_support;

use std::path::Path;

use bounds_support::{Problem, random_graph};
use stackelberg::bilevel::{Loss, ParameterMap, TrainingLoss};
use stackelberg::compile::{Output, compile};
use stackelberg::engine::Engine;
use stackelberg::experiment::golden::{Case, CaseGraph, case_graph};
use stackelberg::gpu::GpuEngine;
use stackelberg::interp::{Report, bound};
use stackelberg::nn::Model;
use stackelberg::rng::{Purpose, Stream};

/// Each is compiled into shaders of its own, which takes a software GPU over a second.
const GRAPHS: u64 = 16;

/// How one output kept to its bounds.
struct Held {
    name: String,
    report: Report,
    /// ‖bound‖ ÷ ‖value‖ of the elements with finite bounds: what size of mistake would be seen.
    width: f64,
}

/// Compiles a problem, runs it and holds every output to its bounds.
fn hold(engine: &mut GpuEngine, title: &str, problem: &Problem) -> Vec<Held> {
    let outputs: Vec<Output> = problem.outputs.iter().map(|(name, id)| Output::new(name, *id)).collect();
    let program = compile(title, &problem.graph, &outputs).unwrap();
    let dispatches = engine.counters().dispatches;
    let results = gpu_support::run(engine, &program, &problem.inputs);
    assert!(engine.info().engine == "gpu" && engine.counters().dispatches > dispatches);
    let bounds = bound(&problem.graph, &problem.ids(), &problem.inputs);
    let held = problem.outputs.iter().zip(bounds.iter().zip(&results)).map(|((name, _), (bounds, result))| {
        let name = format!("{title}: {name}");
        let report = bounds.check(&name, result).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        let finite = bounds.value.iter().zip(&bounds.bound).filter(|(_, bound)| bound.is_finite());
        let (value, bound) = finite.fold((0.0, 0.0), |(v, b), (value, bound)| (v + value * value, b + bound * bound));
        Held { name, report, width: (bound / value).sqrt() }
    });
    held.collect()
}

#[test]
fn random_graphs_are_within_bounds() {
    let Some(mut engine) = gpu_support::engine() else { return };
    let held: Vec<Held> =
        (0..GRAPHS).flat_map(|seed| hold(&mut engine, &format!("graph {seed}"), &random_graph(seed))).collect();
    let elements: usize = held.iter().map(|h| h.report.elements).sum();
    let excluded: usize = held.iter().map(|h| h.report.excluded).sum();
    let worst = held.iter().max_by(|a, b| a.report.worst.total_cmp(&b.report.worst)).unwrap();
    println!(
        "{elements} elements, {excluded} excluded; largest error / bound {:.3} ({})",
        worst.report.worst, worst.name
    );
    assert!(excluded < elements / 4, "{excluded} of {elements} elements are behind undecided choices");
    assert!(worst.report.worst > 0.1, "the bounds are nowhere near the errors");
}

/// The functions among the bundled reference cases: every op, and models with gradients and Hessian
/// products.
#[test]
fn reference_cases_are_within_bounds() {
    let Some(mut engine) = gpu_support::engine() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let folders = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let cases = folders.filter(|folder| folder.is_dir()).map(|folder| Case::load(&folder).unwrap());
    let mut held = vec![];
    for case in cases.filter(|case| case.inputs.values().all(|array| array.data.len() < 100_000)) {
        if let Some(CaseGraph { graph, inputs, outputs }) = case_graph(&case).unwrap() {
            let inputs = inputs.into_iter().map(|array| array.data).collect();
            held.extend(hold(&mut engine, &case.name, &Problem { graph, outputs, inputs }));
        }
    }
    let worst = held.iter().max_by(|a, b| a.report.worst.total_cmp(&b.report.worst)).unwrap();
    println!("{} outputs; largest error / bound {:.3} ({})", held.len(), worst.report.worst, worst.name);
    assert!(held.len() > 150, "only {} outputs", held.len());
}

/// The training loss of the narrow HAR network on random windows: weighted cross-entropy with L2
/// penalties, through dropout.
fn narrow_network(seed: u64) -> Problem {
    let (batch, model) = (8, Model::har_cnn(8, 16, 6, 0.5));
    let mut stream = Stream::new(seed, Purpose::Search, 10);
    let mut p = Problem::new();
    let mut initial = model.initial_parameters(seed).into_iter();
    let theta = p.input("theta", &[model.parameter_count()], || f64::from(initial.next().unwrap()));
    let along = p.input("along", &[model.parameter_count()], || stream.normal());
    let x = p.input("x", &[batch, 128, 9], || stream.normal());
    let (mask_shape, _) = model.dropout().unwrap();
    let mask_shape = [&[batch], mask_shape].concat();
    let mask = p.input("mask", &mask_shape, || (2.0 * stream.uniform()).floor());
    let labels = p.words("labels", &[batch], 6, &mut stream);
    let weights = p.input("weights", &[batch], || stream.uniform());
    let l2_log = p.input("l2", &[model.parameter_layers()], || -6.0 + stream.normal());
    let map = ParameterMap::input(&mut p.graph, &model);
    p.inputs.extend(ParameterMap::values(&model).map(|words| words.into_iter().map(f64::from).collect()));
    let output = model.apply(&mut p.graph, theta, x, Some(mask));
    let loss =
        TrainingLoss { model: &model, map, loss: Loss::CrossEntropy, l2_log: Some(l2_log), weights: Some(weights) };
    let loss = loss.of_output(&mut p.graph, theta, output, labels);
    p.differentiate(loss, &[theta], &[along]);
    p
}

#[test]
fn the_narrow_network_is_within_bounds() {
    let Some(mut engine) = gpu_support::engine() else { return };
    let [loss, gradient, product] = &hold(&mut engine, "network", &narrow_network(1))[..] else { unreachable!() };
    for Held { name, report, width } in [loss, gradient, product] {
        println!("{name}: {report:?}, ‖bound‖ / ‖value‖ {width:.1e}");
        assert_eq!(report.excluded, 0);
    }
    // Wide, because sums of up to 8478 terms are bounded for any order, and the errors of 496 features
    // for all pointing one way; but a wrong sign or a dropped term of an array would be seen.
    assert!(loss.width < 1e-2 && gradient.width < 0.1 && product.width < 1.0);
}
