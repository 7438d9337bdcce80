//! Examples that stay bytes on the device: a quarter of the room, and the same training.

#[path = "engine_support/mod.rs"]
mod engine_support;

use stackelberg::bilevel::{
    Blueprint, Directions, Estimate, Examples, Implicit, Loss, Memory, Method, Problem, Reverse, Session, SessionData,
    Set, SetEvaluation, Solver, Targets, Unattended,
};
use stackelberg::cpu::CpuEngine;
use stackelberg::data::{Dataset, Description, Standardizer};
use stackelberg::engine::Engine;
use stackelberg::nn::{Layer, Model, optim};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;
use stackelberg::rng::{Purpose, Stream};

const NAMES: [&str; 3] = ["dark", "grey", "bright"];

/// By channel; dividing by powers of two is the same as multiplying, so that bytes and numbers are equal to the bit.
fn scale() -> Standardizer {
    Standardizer { mean: vec![100.0, 120.0, 140.0], std: vec![64.0, 32.0, 128.0] }
}

/// Images `[3, 3, 3]`, whose 27 bytes fill no whole number of words, the brighter the higher the label.
fn images(seed: u64, count: usize) -> Dataset {
    let mut stream = Stream::new(seed, Purpose::Search, 0);
    let labels: Vec<u32> = (0..count).map(|_| (3.0 * stream.uniform()) as u32).collect();
    let bytes = labels
        .iter()
        .flat_map(|&label| vec![label; 27])
        .map(|label| (label as f64 * 60.0 + 130.0 * stream.uniform()) as u8);
    let bytes: Vec<u8> = bytes.collect();
    let about = Description::images("images", [3, 3], &["red", "green", "blue"], NAMES.map(str::to_owned).into());
    let data = Dataset::new(about, Examples::bytes(bytes, 3), Targets::Labels(labels), vec![]).unwrap();
    data.scaled(&scale()).unwrap()
}

fn problem(batch: usize, bytes: bool) -> Problem {
    let dense = Layer::Dense { name: "dense".into(), inputs: 27, outputs: 3, bias: true };
    let model = Model::new(vec![Layer::Flatten, dense], &[3, 3, 3]).unwrap();
    Problem {
        batch,
        l2: true,
        bytes: bytes.then(scale),
        ..Problem::new(model, Loss::CrossEntropy, optim::Momentum, 8, 20)
    }
}

/// As the device keeps them, or as numbers.
fn set(data: &Dataset, bytes: bool) -> Set {
    match bytes {
        true => data.into(),
        false => Set { x: data.values().into_owned().into(), ..data.into() },
    }
}

fn outcome(
    engine: impl Engine + 'static,
    batch: usize,
    bytes: bool,
    method: Box<dyn Method>,
) -> (Estimate, SetEvaluation) {
    let problem = problem(batch, bytes);
    let [train, validation, test] = [(1, 20), (2, 150), (3, 200)].map(|(seed, count)| set(&images(seed, count), bytes));
    let data = SessionData::new(train, validation, problem.model.initial_parameters(4), 5);
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    lambda[layout.log_lr.clone()].fill(-2.5);
    lambda[layout.scalars.clone()].fill(0.5);
    lambda[layout.l2_log.clone()].fill(-3.0);
    let along = Directions::new(&problem).each(layout.l2_log);
    let device = Device::new(engine);
    pollster::block_on(async {
        let mut session = Session::new(&device, problem, &data, method).await.unwrap();
        let estimate = session.estimate(&lambda, &along, &mut Unattended).await.unwrap();
        let evaluation = session.evaluate(&test, &mut Unattended).await.unwrap();
        (estimate, evaluation)
    })
}

/// The step on minibatches, the outer loss and the evaluation over several chunks; for implicit differentiation the
/// whole inner loss.
fn assert_alike<E: Engine + 'static>(engine: impl Fn() -> E, tolerance: f64) {
    let reverse = || -> Box<dyn Method> { Reverse { memory: Memory::StoreAll }.into() };
    let implicit = || -> Box<dyn Method> { Implicit::new(Solver::ConjugateGradient, 12).into() };
    type Make<'a> = &'a dyn Fn() -> Box<dyn Method>;
    let methods: [(usize, Make); 2] = [(6, &reverse), (20, &implicit)];
    for (batch, method) in methods {
        let [(numbers, scored), (bytes, again)] = [false, true].map(|bytes| outcome(engine(), batch, bytes, method()));
        let pairs = numbers
            .hypergradient
            .iter()
            .zip(&bytes.hypergradient)
            .chain(numbers.inner_losses.iter().zip(&bytes.inner_losses));
        let pairs = pairs.chain([(&numbers.outer_loss, &bytes.outer_loss), (&scored.loss, &again.loss)]);
        for (a, b) in pairs {
            assert!((a - b).abs() <= tolerance * a.abs().max(1e-3), "batch {batch}: {a} of numbers, {b} of bytes");
        }
        assert!(numbers.hypergradient.iter().all(|derivative| *derivative != 0.0));
        assert_eq!(scored.confusion, again.confusion);
    }
}

#[test]
fn bytes_train_to_the_bit_like_the_numbers_that_they_stand_for() {
    assert_alike(ReferenceEngine::new, 0.0);
}

#[test]
fn bytes_train_alike_on_the_processor() {
    assert_alike(|| CpuEngine::new(1), 1e-5);
}

#[test]
fn bytes_train_alike_on_a_gpu() {
    if engine_support::gpu().is_some() {
        assert_alike(|| engine_support::gpu().expect("it was there"), 1e-4);
    }
}

#[test]
fn sixty_thousand_digits_take_47_megabytes() {
    let held = |bytes: bool| {
        let dense = Layer::Dense { name: "dense".into(), inputs: 784, outputs: 10, bias: true };
        let model = Model::new(vec![Layer::Flatten, dense], &[28, 28, 1]).unwrap();
        let problem = Problem {
            batch: 64,
            bytes: bytes.then(|| Standardizer::identity(1)),
            ..Problem::new(model, Loss::CrossEntropy, optim::Sgd, 2, 60_000)
        };
        let blueprint = Blueprint::new(&problem, 100, Memory::Slots(1)).unwrap();
        4 * blueprint.arrays.iter().find(|array| array.name == "train_x").unwrap().len
    };
    assert_eq!((held(true), held(false)), (47_040_000, 188_160_000));
}

#[test]
fn sets_are_kept_as_the_problem_says() {
    let refused = |problem: Problem, train: Set, validation: Set| {
        let device = Device::new(ReferenceEngine::new());
        let data = SessionData::new(train, validation, problem.model.initial_parameters(0), 0);
        let session = pollster::block_on(Session::new(&device, problem, &data, Memory::StoreAll));
        session.err().expect("an error").to_string()
    };
    let (train, validation) = (images(1, 20), images(2, 9));
    let message = refused(problem(6, true), set(&train, true), set(&validation, false));
    assert!(
        message.contains("validation") && message.contains("are numbers, and the problem's are bytes"),
        "{message}"
    );
    let message = refused(problem(6, false), set(&train, true), set(&validation, false));
    assert!(message.contains("train") && message.contains("are bytes, and the problem's are numbers"), "{message}");
    let other = validation.scaled(&Standardizer::identity(3)).unwrap();
    let message = refused(problem(6, true), set(&train, true), set(&other, true));
    assert!(message.contains("all sets have the same"), "{message}");
    let five = Problem { bytes: Some(Standardizer::identity(5)), ..problem(6, true) };
    let message = refused(five, set(&train, true), set(&train, true));
    assert!(message.contains("the scale is of 5 channels, and an example has 27 values"), "{message}");
}
