//! Noise whose strength is differentiated, a regularizer and losses of one's own.

use stackelberg::bilevel::hyperparameters::{Hyperparameters, Kind};
use stackelberg::bilevel::{
    FixedPoint, Forward, Implicit, Loss, Memory, Method, Noise, Problem, Regularizer, Reverse, Session, SessionData,
    Set, SolveError, Solver, Targets, Unattended,
};
use stackelberg::ir::{Graph, NodeId, Scalar};
use stackelberg::nn::optim::{self, Dynamics, Epsilon};
use stackelberg::nn::{Layer, Model};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;
use stackelberg::rng::{Purpose, Stream};

use crate::problems::{RIDGE, estimate, relative_error};

/// A smooth network on sequences, with everything random that a training may have.
fn noisy(optimizer: impl Into<optim::Dynamics>) -> (Problem, SessionData) {
    let layers = vec![
        Layer::Conv1d {
            name: "conv".into(),
            k: 3,
            cin: 2,
            cout: 3,
            stride: 1,
            padding: stackelberg::nn::Padding::VALID,
            bias: true,
            dilation: 1,
            groups: 1,
        },
        Layer::Tanh,
        Layer::Dropout { rate: 0.3 },
        Layer::Flatten,
        Layer::Dense { name: "dense".into(), inputs: 18, outputs: 3, bias: true },
    ];
    let model = Model::new(layers, &[8, 2]).unwrap();
    let mut stream = Stream::new(3, Purpose::Search, 0);
    let mut set = |count: usize| {
        let x: Vec<f32> = (0..16 * count).map(|_| stream.normal() as f32).collect();
        Set { x: x.into(), targets: Targets::Labels((0..count).map(|i| i as u32 % 3).collect()), count }
    };
    let (train, validation) = (set(14), set(9));
    // Elastic in all weights: e^a Σ w² + e^b Σ √(w² + 0.01).
    let regularizer = Regularizer::new(2, |g, w, own| {
        let strength = g.scalar(Scalar::Exp, &[own]);
        let square = g.mul(w, w);
        let smooth = g.offset(square, 0.01);
        let smooth = g.scalar(Scalar::Sqrt, &[smooth]);
        let terms = [square, smooth].map(|term| g.sum_all(term));
        let terms = terms.map(|term| g.reshape(term, &[1]));
        let terms = g.concat(&terms);
        let weighted = g.mul(strength, terms);
        g.sum_all(weighted)
    });
    let problem = Problem {
        batch: 5,
        l2: true,
        weights: true,
        regularizer: Some(regularizer),
        noise: vec![Noise::Scaling, Noise::Dropout, Noise::Jitter],
        ..Problem::new(model, Loss::CrossEntropy, optimizer, 7, train.count)
    };
    let data = SessionData::new(train, validation, problem.model.initial_parameters(2), 11);
    (problem, data)
}

fn every_kind(problem: &Problem) -> Hyperparameters {
    let kinds = Kind::all().filter(|kind| kind.count(problem) > 0 && *kind != Kind::L2Global);
    kinds.fold(Hyperparameters::default(), |point, kind| {
        let value = match kind {
            Kind::Lr => 0.2,
            Kind::Betas => 0.7,
            Kind::Epsilon | Kind::L2 => 0.05,
            Kind::Regularizer => -4.0,
            Kind::LrLayers | Kind::LrSchedule | Kind::InitialScale => 0.9,
            _ => 0.3,
        };
        if kind == Kind::InitialWeights { point } else { point.tuned(problem, kind, value) }
    })
}

/// Every kind of hyperparameter of every dynamics, against differences in the unconstrained variables
/// and against forward mode.
#[test]
fn every_kind_of_hyperparameter_is_differentiated() {
    for optimizer in [Dynamics::from(optim::Momentum), optim::Nesterov.into(), optim::Adam(Epsilon::Inside).into()] {
        let (problem, data) = noisy(optimizer.clone());
        let point = every_kind(&problem);
        let variables = point.variables();
        let [engine, other] = [(); 2].map(|()| Device::new(ReferenceEngine::new()));
        pollster::block_on(async {
            let reverse = Reverse { memory: Memory::StoreAll };
            let mut session = Session::new(&engine, problem.clone(), &data, reverse).await.unwrap();
            let estimate = session.estimate_at(&point, &mut Unattended).await.unwrap();
            let forward = Forward::for_directions(variables.len());
            let mut forward = Session::new(&other, problem.clone(), &data, forward).await.unwrap();
            let tangents = forward.estimate_at(&point, &mut Unattended).await.unwrap();
            assert!(relative_error(&tangents.hypergradient, &estimate.hypergradient) < 1e-12);

            // The initial weights are kept in single precision, so their scale is left to forward mode.
            let scale = point.split(&variables).take_while(|(g, _)| g.kind != Kind::InitialScale).map(|(_, v)| v.len());
            let exact = scale.sum::<usize>();
            let mut differences = vec![];
            for k in 0..exact {
                let h = 1e-4;
                let mut loss = |step: f64| {
                    let mut variables = variables.clone();
                    variables[k] += step;
                    let mut moved = point.clone();
                    moved.set_variables(&variables);
                    pollster::block_on(session.train_at(&moved, &mut Unattended)).unwrap().outer_loss
                };
                differences.push((8.0 * (loss(h) - loss(-h)) - (loss(2.0 * h) - loss(-2.0 * h))) / (12.0 * h));
            }
            let error = relative_error(&estimate.hypergradient[..exact], &differences);
            assert!(error < 1e-8, "{optimizer:?}: {error:e}");
            assert!(estimate.hypergradient.iter().all(|h| *h != 0.0), "each acts: {:?}", estimate.hypergradient);
        });
    }
}

/// The same seed gives the same noise, another one other noise; noise of no strength is none.
#[test]
fn noise_belongs_to_the_seed() {
    let (problem, data) = noisy(optim::Momentum);
    let loss = |problem: &Problem, data: &SessionData, point: &Hyperparameters| {
        let engine = Device::new(ReferenceEngine::new());
        pollster::block_on(async {
            let mut session = Session::new(&engine, problem.clone(), data, Memory::StoreAll).await.unwrap();
            session.train_at(point, &mut Unattended).await.unwrap().outer_loss
        })
    };
    let point = every_kind(&problem);
    let first = loss(&problem, &data, &point);
    assert_eq!(first.to_bits(), loss(&problem, &data, &point).to_bits());
    assert_ne!(first, loss(&problem, &SessionData { seed: 12, ..data.clone() }, &point));

    let quiet = Problem { noise: vec![], masks: None, ..problem.clone() };
    let mut faint = point.clone();
    faint.groups.iter_mut().filter(|g| g.kind.row().noise.is_some()).for_each(|g| g.values.fill(-60.0));
    let mut none = point.clone();
    none.groups.retain(|g| g.kind.row().noise.is_none());
    let (faint, none) = (loss(&problem, &data, &faint), loss(&quiet, &data, &none));
    assert!((faint - none).abs() < 1e-9, "{faint} {none}");
}

/// A training with noise has no stationary point.
#[test]
fn noise_is_refused_by_implicit_methods() {
    let (problem, data) = noisy(optim::Sgd);
    let mut point = every_kind(&problem);
    point.groups.iter_mut().for_each(|g| g.tuned = g.kind == Kind::L2);
    let methods: [Box<dyn Method>; 2] = [Implicit::new(Solver::ConjugateGradient, 3).into(), FixedPoint::new(3).into()];
    for method in methods {
        let engine = Device::new(ReferenceEngine::new());
        let answer = pollster::block_on(async {
            let mut session = Session::new(&engine, problem.clone(), &data, method).await.unwrap();
            session.estimate_at(&point, &mut Unattended).await
        });
        let Err(SolveError::Refused(refusal)) = answer else { panic!("answered") };
        assert!(refusal.reason.contains("noise") && refusal.instead.starts_with("reverse mode"), "{refusal}");
    }
}

fn half_square(g: &mut Graph, output: NodeId, target: NodeId) -> NodeId {
    let difference = g.sub(output, target);
    let square = g.mul(difference, difference);
    g.sum(square, &[1])
}

/// Ridge regression stated in one's own words is that of the built-in penalty and loss (V3), unrolled
/// and implicit.
#[test]
fn own_regularizer_and_losses_are_those_built_in() {
    let built_in = RIDGE.case(optim::Sgd, 400, 0.1, &[]);
    let along = |problem: &Problem| stackelberg::bilevel::Directions::new(problem).each(problem.layout().l2_log);
    let own = {
        let mut case = built_in.clone();
        let loss = Loss::Own { labels: false, each: half_square };
        let regularizer = Regularizer::new(1, |g, w, log| {
            let strength = g.scalar(Scalar::Exp, &[log]);
            let square = g.mul(w, w);
            let sum = g.sum_all(square);
            let sum = g.reshape(sum, &[1]);
            let penalty = g.mul(strength, sum);
            g.scale(penalty, 0.5)
        });
        case.problem =
            Problem { l2: false, loss, outer_loss: loss, regularizer: Some(regularizer), ..case.problem.clone() };
        let (old, new) = (built_in.problem.layout(), case.problem.layout());
        case.lambda[new.weights.clone()].copy_from_slice(&built_in.lambda[old.weights]);
        case.lambda[new.regularizer.clone()].copy_from_slice(&built_in.lambda[old.l2_log]);
        case
    };
    let own_along = stackelberg::bilevel::Directions::new(&own.problem).each(own.problem.layout().regularizer);
    for method in [0, 1] {
        let make = || -> Box<dyn stackelberg::bilevel::Method> {
            match method {
                0 => Reverse { memory: Memory::StoreAll }.into(),
                _ => Implicit::new(Solver::ConjugateGradient, 4).into(),
            }
        };
        let wanted = estimate(&built_in, make(), &along(&built_in.problem)).unwrap();
        let got = estimate(&own, make(), &own_along).unwrap();
        assert!((got.outer_loss - wanted.outer_loss).abs() < 1e-14);
        assert!(relative_error(&got.hypergradient, &wanted.hypergradient) < 1e-12);
    }
}

/// An outer loss that is not the inner one.
#[test]
fn the_outer_loss_may_be_another() {
    fn absolute(g: &mut Graph, output: NodeId, target: NodeId) -> NodeId {
        let square = half_square(g, output, target);
        let above = g.offset(square, 1e-3);
        g.scalar(Scalar::Sqrt, &[above])
    }
    let mut case = RIDGE.case(optim::Sgd, 9, 0.1, &[]);
    case.problem.outer_loss = Loss::Own { labels: false, each: absolute };
    let along = stackelberg::bilevel::Directions::new(&case.problem).each(case.problem.layout().l2_log);
    let reverse = estimate(&case, Memory::StoreAll, &along).unwrap();
    let at = |step: f64| {
        let mut moved = case.clone();
        let place = moved.problem.layout().l2_log.start;
        moved.lambda[place] += step;
        estimate(&moved, Memory::StoreAll, &along).unwrap().outer_loss
    };
    let h = 1e-4;
    let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
    assert!(relative_error(&reverse.hypergradient, &[difference]) < 1e-9);
}

/// Noise is the same on the engines: the f64 one and the processor's agree to single precision.
#[test]
fn engines_draw_the_same_noise() {
    let (problem, data) = noisy(optim::Momentum);
    let point = every_kind(&problem);
    let run = |device: &Device| {
        pollster::block_on(async {
            let mut session = Session::new(device, problem.clone(), &data, Memory::StoreAll).await.unwrap();
            session.estimate_at(&point, &mut Unattended).await.unwrap()
        })
    };
    let exact = run(&Device::new(ReferenceEngine::new()));
    let single = run(&Device::new(stackelberg::cpu::CpuEngine::new(1)));
    let error = relative_error(&single.hypergradient, &exact.hypergradient);
    // Some hundred units of single precision; another draw would change the first digit.
    assert!(error < 1e-5 && (single.outer_loss - exact.outer_loss).abs() < 1e-6, "{error:e}");
}
