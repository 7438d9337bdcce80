//! Hypergradients on the f64 engine: against differences, across checkpoint plans, and what a sweep
//! costs.

use stackelberg::bilevel::{Blueprint, Loss, Memory, Problem, Session, SessionData, Set, Source, Targets, Unattended};
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::Counters;
use stackelberg::nn::optim;
use stackelberg::nn::{Layer, Model, Padding};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;
use stackelberg::rng::{Purpose, Stream};

const TRAIN: usize = 20;
const VALIDATION: usize = 9;

/// A small convolutional net with smooth activations, so that differences are meaningful.
fn model(dropout: f64) -> Model {
    let layers = vec![
        Layer::Conv1d {
            name: "conv".into(),
            k: 3,
            cin: 2,
            cout: 3,
            stride: 1,
            padding: Padding::VALID,
            bias: true,
            dilation: 1,
            groups: 1,
        },
        Layer::Tanh,
        Layer::Dropout { rate: dropout },
        Layer::Avgpool1d { window: 2, stride: 2 },
        Layer::Flatten,
        Layer::Dense { name: "dense".into(), inputs: 9, outputs: 3, bias: true },
    ];
    Model::new(layers, &[8, 2]).unwrap()
}

fn set(stream: &mut Stream, count: usize) -> Set {
    let labels: Vec<u32> = (0..count).map(|_| (3.0 * stream.uniform()) as u32).collect();
    let value = |label: u32, noise: f64| (f64::from(label) - 1.0 + noise) as f32;
    let x: Vec<f32> =
        labels.iter().flat_map(|&l| (0..16).map(|_| value(l, stream.normal())).collect::<Vec<_>>()).collect();
    Set { x: x.into(), targets: Targets::Labels(labels), count }
}

fn setup(optimizer: impl Into<optim::Dynamics>, steps: usize) -> (Problem, SessionData, Vec<f64>) {
    let model = model(0.4);
    let mut stream = Stream::new(5, Purpose::Search, 2);
    let problem = Problem {
        batch: 6,
        l2: true,
        weights: true,
        ..Problem::new(model, Loss::CrossEntropy, optimizer, steps, TRAIN)
    };
    let data = SessionData::new(
        set(&mut stream, TRAIN),
        set(&mut stream, VALIDATION),
        problem.model.initial_parameters(1),
        42,
    );
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    lambda[layout.log_lr].iter_mut().for_each(|l| *l = -2.5 + 0.3 * stream.normal());
    for (place, scalar) in layout.scalars.zip(problem.optimizer.scalars()) {
        lambda[place] = match scalar.name {
            "epsilon" => 0.1,
            name if name.ends_with("hypergradient_rate") => 0.01,
            _ => 0.8,
        };
    }
    lambda[layout.l2_log].iter_mut().for_each(|l| *l = -3.0 + 0.3 * stream.normal());
    lambda[layout.weights].iter_mut().for_each(|w| *w = 0.2 + stream.uniform());
    (problem, data, lambda)
}

#[test]
fn hypergradients_agree_with_differences() {
    for optimizer in optim::every() {
        let (problem, data, lambda) = setup(optimizer.clone(), 7);
        let engine = Device::new(ReferenceEngine::new());
        pollster::block_on(async {
            let mut session = Session::new(&engine, problem, &data, Memory::StoreAll).await.unwrap();
            let estimate = session.hypergradient(&lambda, &mut Unattended).await.unwrap();
            let mut stream = Stream::new(9, Purpose::Search, 3);
            for _ in 0..4 {
                let direction: Vec<f64> = lambda.iter().map(|_| stream.normal()).collect();
                let mut at = async |h: f64| {
                    let moved: Vec<f64> = lambda.iter().zip(&direction).map(|(l, d)| l + h * d).collect();
                    session.train(&moved, &mut Unattended).await.unwrap().outer_loss
                };
                let h = 1e-4;
                let near = at(h).await - at(-h).await;
                let far = at(2.0 * h).await - at(-2.0 * h).await;
                let difference = (8.0 * near - far) / (12.0 * h);
                let exact: f64 = estimate.hypergradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
                assert!(
                    (difference - exact).abs() < 1e-7 * (1.0 + exact.abs()),
                    "{optimizer:?}: differences {difference}, hypergradient {exact}"
                );
            }
        });
    }
}

#[test]
fn every_checkpoint_plan_gives_the_same_bits() {
    let (problem, data, lambda) = setup(optim::Momentum, 23);
    let estimate = |memory| {
        let engine = Device::new(ReferenceEngine::new());
        pollster::block_on(async {
            let mut session = Session::new(&engine, problem.clone(), &data, memory).await.unwrap();
            session.hypergradient(&lambda, &mut Unattended).await.unwrap()
        })
    };
    let stored = estimate(Memory::StoreAll);
    for slots in [1, 2, 3, 8] {
        let again = estimate(Memory::Slots(slots));
        assert!(again.hypergradient == stored.hypergradient && again.outer_loss == stored.outer_loss, "{slots} slots");
        assert!(again.counts.steps >= stored.counts.steps && again.counts.adjoints == stored.counts.adjoints);
    }
}

#[test]
fn residuals_that_are_kept_change_no_bit_and_are_foreseen() {
    let (problem, data, lambda) = setup(optim::Momentum, 9);
    let engines: [fn() -> Device; 2] = [|| Device::new(ReferenceEngine::new()), || Device::new(CpuEngine::new(2))];
    for engine in engines {
        let estimate = |memory| {
            let engine = engine();
            pollster::block_on(async {
                let mut session = Session::new(&engine, problem.clone(), &data, memory).await.unwrap();
                let first = session.hypergradient(&lambda, &mut Unattended).await.unwrap();
                let again = session.hypergradient(&lambda, &mut Unattended).await.unwrap();
                assert!(first == again, "the same sweep gives the same bits");
                assert_eq!(first.peak_bytes, session.predicted_bytes());
                first
            })
        };
        let stored = estimate(Memory::StoreAll);
        assert_eq!(stored.counts.kept, 0);
        let plan = |budget| Blueprint::new(&problem, VALIDATION, Memory::Budget(budget)).unwrap();
        let all = plan(u64::MAX);
        let set: u64 = all.residuals.iter().map(|array| 4 * array.len as u64).sum();
        for kept in [0, 1, 4, 9] {
            let budget = all.bytes() - (9 - kept) * set;
            let some = estimate(Memory::Budget(budget));
            assert_eq!((some.counts.kept, some.counts.adjoints), (kept, 9));
            assert!(some.peak_bytes <= budget);
            assert!(some.hypergradient == stored.hypergradient && some.outer_loss == stored.outer_loss, "{kept} kept");
            assert!(some.inner_losses == stored.inner_losses);
        }
    }
}

#[test]
fn a_session_leaves_only_scratch_memory_behind() {
    let (problem, data, lambda) = setup(optim::Momentum, 4);
    let engine = Device::new(ReferenceEngine::new());
    let run = || {
        pollster::block_on(async {
            let mut session = Session::new(&engine, problem.clone(), &data, Memory::StoreAll).await.unwrap();
            session.hypergradient(&lambda, &mut Unattended).await.unwrap();
        });
        engine.counters()
    };
    let first = run();
    let second = run();
    assert!(first.bytes < first.peak_bytes);
    assert_eq!((first.bytes, first.peak_bytes), (second.bytes, second.peak_bytes));
}

#[test]
fn a_sweep_costs_what_the_plan_says() {
    let (problem, data, lambda) = setup(optim::Momentum, 23);
    let engine = Device::new(ReferenceEngine::new());
    pollster::block_on(async {
        let mut session = Session::new(&engine, problem, &data, Memory::Slots(3)).await.unwrap();
        let first = session.hypergradient(&lambda, &mut Unattended).await.unwrap();
        let predicted = session.predicted_bytes();
        let before: Counters = session.device().counters();
        let again = session.hypergradient(&lambda, &mut Unattended).await.unwrap();
        let after = session.device().counters();
        assert!(first == again, "the same sweep gives the same bits");
        assert_eq!(after.readbacks - before.readbacks, 2, "one after the outer loss, one at the end");
        assert_eq!(after.buffers_created, before.buffers_created);
        assert_eq!(after.peak_bytes, predicted, "the plan foresees the memory");
    });
}

#[test]
fn a_diverging_run_names_its_step() {
    let (problem, data, mut lambda) = setup(optim::Momentum, 9);
    let layers = problem.model.parameter_layers();
    let layout = problem.layout();
    // The fifth step's learning rate overflows the weights.
    lambda[layout.log_lr][4 * layers..5 * layers].fill(800.0);
    let engine = Device::new(ReferenceEngine::new());
    pollster::block_on(async {
        let mut session = Session::new(&engine, problem, &data, Memory::StoreAll).await.unwrap();
        let estimate = session.hypergradient(&lambda, &mut Unattended).await.unwrap();
        assert_eq!(estimate.bad_step, Some(4));
        assert!(estimate.hypergradient.is_empty());
    });
}

#[test]
fn a_budget_too_small_says_what_would_fit() {
    let (problem, data, lambda) = setup(optim::Momentum, 23);
    let engine = Device::new(ReferenceEngine::new());
    let error = |engine: &Device, budget| {
        pollster::block_on(Session::new(engine, problem.clone(), &data, Memory::Budget(budget))).err()
    };
    let message = error(&engine, 1000).expect("1000 bytes hold nothing").to_string();
    let needed: u64 = message.split('(').nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(error(&engine, needed - 1).is_some());
    let engine = Device::new(ReferenceEngine::new());
    let mut session =
        pollster::block_on(Session::new(&engine, problem.clone(), &data, Memory::Budget(needed))).unwrap();
    pollster::block_on(session.hypergradient(&lambda, &mut Unattended)).unwrap();
    assert!(session.device().counters().peak_bytes <= needed);
}

#[test]
fn a_batch_of_everything_holds_the_examples_in_order() {
    let (mut problem, mut data, lambda) = setup(optim::Momentum, 5);
    problem.batch = TRAIN;
    let mut estimate = |batches| {
        let problem = Problem { batches, ..problem.clone() };
        data.batches = (0..5).flat_map(|_| 0..TRAIN as u32).collect();
        let engine = Device::new(ReferenceEngine::new());
        pollster::block_on(async {
            let mut session = Session::new(&engine, problem, &data, Memory::StoreAll).await.unwrap();
            session.hypergradient(&lambda, &mut Unattended).await.unwrap()
        })
    };
    let (keyed, listed) = (estimate(Source::Keyed), estimate(Source::Table));
    assert!((keyed.outer_loss - listed.outer_loss).abs() < 1e-12);
    for (a, b) in keyed.hypergradient.iter().zip(&listed.hypergradient) {
        assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()), "{a} {b}");
    }
}
