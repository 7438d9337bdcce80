//! Many trainings as one: each member gets the bits that it would get alone.

use std::collections::{BTreeMap, BTreeSet};

use pollster::block_on;
use stackelberg::bilevel::{
    Blueprint, Directions, Estimate, Examples, Forward, Loss, Member, Memory, Method, Noise, Problem, Quadratic,
    QuadraticForm, Reverse, Rows, Session, SessionData, Set, Sets, SolveError, Targets, Truncated, Unattended,
};
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::{Holdings, Values};
use stackelberg::gpu::GpuEngine;
use stackelberg::nn::optim::{Adam, Dynamics, Epsilon, Momentum};
use stackelberg::nn::{Layer, Model, Padding, Statistics};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::{Compiled, Device};
use stackelberg::rng::{Purpose, Stream};

fn gpu() -> Option<Device> {
    match block_on(GpuEngine::new("auto")) {
        Ok(gpu) => Some(Device::new(gpu)),
        Err(error) if ["CI", "REQUIRE_GPU"].iter().all(|name| std::env::var_os(name).is_none()) => {
            println!("without the GPU: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Both sides of the processor engine's choice, and the GPU: threads share a member's work, or take members.
fn devices() -> Vec<Device> {
    let processors = [1, 2].map(|threads| Device::new(CpuEngine::new(threads)));
    processors.into_iter().chain(gpu()).collect()
}

const CLASSES: usize = 3;
const SHAPE: [usize; 2] = [15, 2];

/// A convolution whose weights do not fill whole vectors, pooling, batch norm, dropout.
fn model() -> Model {
    let conv = |name: &str, cin, cout| Layer::Conv1d {
        name: name.into(),
        k: 3,
        cin,
        cout,
        stride: 1,
        padding: Padding::SAME,
        bias: true,
        dilation: 1,
        groups: 1,
    };
    let norm = Layer::Batchnorm {
        name: "norm".into(),
        channels: 5,
        scale: true,
        offset: true,
        eps: 1e-5,
        statistics: Statistics::Batch,
    };
    let layers = vec![
        conv("conv1", 2, 5),
        norm,
        Layer::Relu,
        Layer::Maxpool1d { window: 2, stride: 2 },
        conv("conv2", 5, 4),
        Layer::Tanh,
        Layer::Flatten,
        Layer::Dropout { rate: 0.3 },
        Layer::Dense { name: "dense".into(), inputs: 28, outputs: CLASSES, bias: true },
    ];
    Model::new(layers, &SHAPE).unwrap()
}

fn set(count: usize, seed: u64) -> Set {
    let mut stream = Stream::new(seed, Purpose::Init, 0);
    let each: usize = SHAPE.iter().product();
    Set {
        x: (0..count * each).map(|_| stream.normal() as f32).collect::<Vec<_>>().into(),
        targets: Targets::Labels((0..count).map(|i| (i % CLASSES) as u32).collect()),
        count,
    }
}

/// Sums long enough to be cut into parts, a batch, an outer loss in two chunks.
fn problem(dynamics: impl Into<Dynamics>) -> Problem {
    let noise = vec![Noise::Jitter];
    Problem {
        batch: 40,
        l2: true,
        weights: true,
        noise,
        initial_scale: true,
        ..Problem::new(model(), Loss::CrossEntropy, dynamics, 3, 53)
    }
}

/// A member's own data and hyperparameters.
fn own(problem: &Problem, member: usize) -> (SessionData, Vec<f64>) {
    let seed = 100 + member as u64;
    let data = SessionData::new(set(53, 1), set(150, 2), problem.model.initial_parameters(seed), seed);
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    let mut stream = Stream::new(seed, Purpose::Search, 0);
    lambda.iter_mut().for_each(|value| *value = -3.0 + stream.uniform());
    lambda[layout.weights].iter_mut().for_each(|weight| *weight += 3.5);
    for (k, at) in layout.scalars.enumerate() {
        lambda[at] = [0.9, 0.99, 1e-6][k] - 0.01 * stream.uniform() * [1.0, 1.0, 1e-6][k];
    }
    lambda[layout.initial_scale_log].fill(0.1);
    (data, lambda)
}

/// What a sweep came to, but for what the engine has held.
fn values(e: &Estimate) -> (f64, Vec<f64>, Vec<f64>, Option<usize>) {
    (e.outer_loss, e.inner_losses.clone(), e.hypergradient.clone(), e.bad_step)
}

async fn population(device: &Device, problem: &Problem, own: &[(SessionData, Vec<f64>)]) -> (Session, Vec<f64>) {
    let members: Vec<Member> = own.iter().map(|(data, _)| Member::from(data)).collect();
    let method: Box<dyn Method> = Reverse { memory: Memory::Slots(2) }.into();
    let session =
        Session::population(device, problem.clone(), Sets::from(&own[0].0), &members, method, &Compiled::default())
            .await;
    (session.unwrap(), own.iter().flat_map(|(_, lambda)| lambda.clone()).collect())
}

/// Alone: the estimate, the network, its score.
async fn alone(device: &Device, problem: &Problem, (data, lambda): &(SessionData, Vec<f64>)) -> (Estimate, Vec<f64>) {
    let mut session = Session::new(device, problem.clone(), data, Memory::Slots(2)).await.unwrap();
    let estimate = session.hypergradient(lambda, &mut Unattended).await.unwrap();
    (estimate, session.final_network().await.unwrap())
}

#[test]
fn every_member_has_the_bits_that_it_has_alone() {
    for device in devices() {
        let info = device.info();
        let software_gpu = info.engine == "gpu" && info.software;
        for (dynamics, sizes) in [
            (Dynamics::from(Momentum), &[1, 3, 8, 64][..]),
            (Adam(Epsilon::Outside).into(), if software_gpu { &[3, 64] } else { &[3, 8, 64] }),
        ] {
            let problem = problem(dynamics);
            let all: Vec<_> = (0..64).map(|member| own(&problem, member)).collect();
            // A session on a software GPU takes a second.
            let compared = |member: &usize| !software_gpu || [0, 2, 7, 63].contains(member);
            let singly: BTreeMap<usize, _> =
                (0..64).filter(compared).map(|k| (k, block_on(alone(&device, &problem, &all[k])))).collect();
            let losses: BTreeSet<u64> = singly.values().map(|(estimate, _)| estimate.outer_loss.to_bits()).collect();
            assert_eq!(losses.len(), singly.len(), "members differ");
            let mut launched = vec![];
            for &count in sizes {
                block_on(async {
                    let (mut session, lambda) = population(&device, &problem, &all[..count]).await;
                    let along = Directions::arrays(&problem);
                    let before = device.counters().dispatches;
                    let estimates = session.estimate_each(&lambda, &vec![&along; count], &mut Unattended).await;
                    launched.push(device.counters().dispatches - before);
                    let networks = session.final_networks().await.unwrap();
                    let estimates = estimates.unwrap();
                    for (&member, (expected, weights)) in singly.range(..count) {
                        let (estimate, network) = (&estimates[member], &networks[member]);
                        let place = format!("{}, member {member} of {count}", info.engine);
                        assert!(values(estimate) == values(expected), "{place}");
                        assert!(network == weights, "{place}");
                    }
                });
            }
            let (data, lambda) = &all[0];
            let before = block_on(async {
                let mut session = Session::new(&device, problem.clone(), data, Memory::Slots(2)).await.unwrap();
                let before = device.counters().dispatches;
                session.hypergradient(lambda, &mut Unattended).await.unwrap();
                device.counters().dispatches - before
            });
            assert!(launched.iter().all(|&count| count == before), "{launched:?}, alone {before}");
        }
        assert_eq!(device.holdings(), Holdings::default());
    }
}

#[test]
fn one_that_diverges_leaves_the_others_alone() {
    for device in devices() {
        let problem = problem(Momentum);
        let mut all: Vec<_> = (0..4).map(|member| own(&problem, member)).collect();
        let rates = problem.layout().log_lr;
        all[1].1[rates].fill(80.0);
        block_on(async {
            let (mut session, lambda) = population(&device, &problem, &all).await;
            let along = Directions::arrays(&problem);
            let estimates = session.estimate_each(&lambda, &[&along; 4], &mut Unattended).await.unwrap();
            assert!(estimates[1].diverged() && estimates[1].hypergradient.is_empty());
            assert!(estimates[1].bad_step.is_some());
            for member in [0, 2, 3] {
                let (expected, _) = alone(&device, &problem, &all[member]).await;
                assert!(!expected.diverged() && values(&estimates[member]) == values(&expected), "member {member}");
            }
            assert!(Estimate::sum(estimates).diverged());
            // What has diverged is no reason not to go on with the others.
            let saved = session.save_each().await.unwrap();
            session.load_each(&saved.iter().collect::<Vec<_>>()).unwrap();
            session.advance_each(&lambda, 2, &mut Unattended).await.unwrap();
            let losses = session.outer_losses(&mut Unattended).await.unwrap();
            assert_eq!([0, 1, 2, 3].map(|k| losses[k].diverged()), [false, true, false, false]);
            assert!(session.load_each(&[&saved[1]; 4]).unwrap_err().to_string().contains("element"));
        });
    }
}

/// Folds of one pool: each member's own rows, one point for all.
#[test]
fn members_may_have_rows_of_a_pool_and_share_their_hyperparameters() {
    let reference = Device::new(ReferenceEngine::new());
    for device in devices().into_iter().chain([reference]) {
        let pool = set(60, 1);
        let problem = Problem { batch: 10, train: 40, noise: vec![], pool: Some(60), ..problem(Momentum) };
        let folds: Vec<[Vec<u32>; 2]> = (0..3)
            .map(|fold| {
                let (held, kept): (Vec<u32>, Vec<u32>) = (0..60).partition(|row| row % 3 == fold);
                [kept, held]
            })
            .collect();
        let initial = problem.model.initial_parameters(5);
        let members: Vec<Member> = folds
            .iter()
            .zip(5..)
            .map(|([train, validation], seed)| Member {
                initial: &initial,
                seed,
                batches: &[],
                masks: &[],
                rows: Some(Rows { train, validation }),
            })
            .collect();
        let (_, lambda) = own(&problem, 0);
        block_on(async {
            let along = Directions::arrays(&problem);
            let (sets, memory, compiled) = (Sets::Pool(&pool), Memory::Slots(2), Compiled::default());
            let made = Session::population(&device, problem.clone(), sets, &members, memory, &compiled);
            let mut session = made.await.unwrap();
            let shared = session.estimate(&lambda, &along, &mut Unattended).await.unwrap();
            let (mut loss, mut hypergradient) = (0.0, vec![0.0; lambda.len()]);
            for ([train, validation], member) in folds.iter().zip(&members) {
                // The same by sets of their own: example weights are those of the pool's rows.
                let apart = Problem { pool: None, ..problem.clone() };
                let data = SessionData::new(part(&pool, train), part(&pool, validation), initial.clone(), member.seed);
                let weights = problem.layout().weights;
                let of_weights = train.iter().map(|&row| weights.start + row as usize);
                let places: Vec<usize> =
                    (0..weights.start).chain(of_weights).chain(weights.end..lambda.len()).collect();
                let own: Vec<f64> = places.iter().map(|&at| lambda[at]).collect();
                let mut session = Session::new(&device, apart, &data, Memory::Slots(2)).await.unwrap();
                let one = session.hypergradient(&own, &mut Unattended).await.unwrap();
                loss += one.outer_loss;
                places.iter().zip(one.hypergradient).for_each(|(&at, value)| hypergradient[at] += value);
            }
            let engine = device.info().engine;
            assert!(shared.outer_loss == loss && shared.hypergradient == hypergradient, "{engine}");
        });
    }
}

/// Some rows of a set.
fn part(set: &Set, rows: &[u32]) -> Set {
    let each: usize = SHAPE.iter().product();
    let (Examples::Floats(x), Targets::Labels(labels)) = (&set.x, &set.targets) else { panic!("numbers and labels") };
    let row = |&row: &u32| x[row as usize * each..][..each].to_vec();
    Set {
        x: rows.iter().flat_map(row).collect::<Vec<_>>().into(),
        targets: Targets::Labels(rows.iter().map(|&row| labels[row as usize]).collect()),
        count: rows.len(),
    }
}

#[test]
fn a_member_goes_on_alone_and_another_in_its_place() {
    for device in devices() {
        let problem = problem(Adam(Epsilon::Outside));
        let all: Vec<_> = (0..3).map(|member| own(&problem, member)).collect();
        block_on(async {
            let (mut session, lambda) = population(&device, &problem, &all).await;
            session.advance_each(&lambda, 4, &mut Unattended).await.unwrap();
            let saved = session.save_each().await.unwrap();
            session.advance_each(&lambda, 3, &mut Unattended).await.unwrap();
            let (states, losses) = (session.save_each().await.unwrap(), session.outer_losses(&mut Unattended).await);
            let losses = losses.unwrap();
            for (member, (data, lambda)) in all.iter().enumerate() {
                let mut one = Session::new(&device, problem.clone(), data, Memory::Slots(2)).await.unwrap();
                one.load(&saved[member]).unwrap();
                one.advance(lambda, 3, &mut Unattended).await.unwrap();
                assert!(one.save().await.unwrap() == states[member]);
                assert_eq!(one.outer_loss(&mut Unattended).await.unwrap().outer_loss, losses[member].outer_loss);
                let score = one.evaluate(&data.train, &mut Unattended).await.unwrap();
                assert_eq!(score, session.evaluate_each(&data.train, &mut Unattended).await.unwrap()[member]);
            }
            // The best member's state in the place of the worst, as population-based training has it.
            session.load_each(&[&saved[2], &saved[1], &saved[2]]).unwrap();
            session.advance_each(&lambda, 3, &mut Unattended).await.unwrap();
            let after = session.save_each().await.unwrap();
            assert!(after[1] == states[1] && after[2] == states[2]);
            assert!(after[0] != states[0] && after[0] != states[2], "its own point and draws, another's state");
        });
    }
}

#[test]
fn the_last_steps_alone_are_differentiated_for_all_members() {
    let truncated = Truncated { last: 2, memory: Memory::StoreAll };
    for device in devices() {
        let problem = Problem { initial_scale: false, ..problem(Momentum) };
        let all: Vec<_> = (0..3).map(|member| own(&problem, member)).collect();
        block_on(async {
            let members: Vec<Member> = all.iter().map(|(data, _)| Member::from(data)).collect();
            let sets = Sets::from(&all[0].0);
            let mut session =
                Session::population(&device, problem.clone(), sets, &members, truncated, &Compiled::default())
                    .await
                    .unwrap();
            let first = problem.steps - truncated.last;
            let along =
                Directions::new(&problem).each(first * problem.model.parameter_layers()..problem.layout().len());
            let lambda: Vec<f64> = all.iter().flat_map(|(_, lambda)| lambda.clone()).collect();
            let estimates = session.estimate_each(&lambda, &[&along; 3], &mut Unattended).await.unwrap();
            for ((data, lambda), estimate) in all.iter().zip(&estimates) {
                let mut one = Session::new(&device, problem.clone(), data, truncated).await.unwrap();
                let expected = one.estimate(lambda, &along, &mut Unattended).await.unwrap();
                assert!(values(estimate) == values(&expected));
            }
        });
    }
}

/// Any inner problem is one: quadratics whose outer loss sees λ directly.
#[test]
fn any_inner_problem_makes_a_population() {
    let form = |seed: u64| {
        let mut stream = Stream::new(seed, Purpose::Init, 0);
        let mut draw = |count: usize| (0..count).map(|_| stream.normal() as f32).collect::<Vec<f32>>();
        QuadraticForm { weights: draw(9), mixed: draw(6), hyperparameters: draw(4), linear: draw(3) }
    };
    let problem = Quadratic { inner: form(1), outer: form(2), weights: 3, hyperparameters: 2, steps: 4 };
    for device in devices() {
        let lambda: Vec<Vec<f64>> = (0..3).map(|k| (0..6).map(|i| 0.1 * f64::from(k + i) - 2.0).collect()).collect();
        block_on(async {
            let reverse = Reverse { memory: Memory::StoreAll };
            let mut session =
                Session::open_with(&device, problem.clone(), 3, reverse, &Compiled::default()).await.unwrap();
            Quadratic::fill(&mut session).unwrap();
            let along = Directions::arrays(&problem);
            let all = session.estimate_each(&lambda.concat(), &[&along; 3], &mut Unattended).await.unwrap();
            for (lambda, estimate) in lambda.iter().zip(all) {
                let mut one = Session::open(&device, problem.clone(), reverse).await.unwrap();
                Quadratic::fill(&mut one).unwrap();
                let expected = one.estimate(lambda, &along, &mut Unattended).await.unwrap();
                assert!(values(&estimate) == values(&expected) && estimate.direct == expected.direct);
                assert!(estimate.direct.is_some());
            }
        });
    }
}

#[test]
fn what_makes_no_population_is_refused_in_words() {
    let device = Device::new(ReferenceEngine::new());
    let problem = problem(Momentum);
    let (data, lambda) = own(&problem, 0);
    let sets = Sets::from(&data);
    let member = Member::from(&data);
    let refused = |problem: &Problem, sets: Sets, members: &[Member], method: Box<dyn Method>| {
        let made = block_on(Session::population(&device, problem.clone(), sets, members, method, &Compiled::default()));
        made.err().expect("a population that should not be").to_string()
    };
    let reverse = || Box::<dyn Method>::from(Memory::Slots(2));
    let error = refused(&problem, sets, &[], reverse());
    assert!(error.contains("no member"), "{error}");
    let error = refused(&problem, sets, &[member; 2], Forward { width: 1 }.into());
    assert!(error.contains("forward mode") && error.contains("reverse mode"), "{error}");
    let rows = |train: &'static [u32]| Member { rows: Some(Rows { train, validation: &[0] }), ..member };
    let error = refused(&problem, sets, &[rows(&[0])], reverse());
    assert!(error.contains("has rows of a pool"), "{error}");
    let pooled = Problem { pool: Some(53), train: 1, batch: 1, ..problem.clone() };
    let error = refused(&pooled, Sets::Pool(&data.train), &[rows(&[53])], reverse());
    assert!(error.contains("row 53 in place 0"), "{error}");
    let error = refused(&pooled, Sets::Pool(&data.train), &[rows(&[0]), rows(&[0, 1])], reverse());
    assert!(error.contains("training rows of member 1"), "{error}");
    let nothing = Member { rows: Some(Rows { train: &[0], validation: &[] }), ..member };
    let error = refused(&pooled, Sets::Pool(&data.train), &[nothing], reverse());
    assert!(error.contains("validation rows"), "{error}");
    let error = refused(&pooled, Sets::Pool(&data.train), &[], reverse());
    assert!(error.contains("no member"), "{error}");
    let judged = Problem { validation: 1, ..problem.clone() };
    let huge = Blueprint::population(&judged, usize::MAX, &Reverse { memory: Memory::StoreAll }, &Compiled::default());
    assert_eq!(huge.unwrap().bytes(), u64::MAX);
    let error = refused(&pooled, sets, &[member], reverse());
    assert!(error.contains("exclude each other"), "{error}");
    block_on(async {
        let mut session =
            Session::population(&device, problem.clone(), sets, &[member; 2], Memory::Slots(2), &Compiled::default())
                .await
                .unwrap();
        let along = Directions::arrays(&problem);
        let error = session.estimate_each(&lambda, &[&along; 2], &mut Unattended).await.unwrap_err();
        assert!(matches!(error, SolveError::Length { wanted, .. } if wanted == 2 * lambda.len()), "{error}");
        let error = session.fill_of(2, "seed", Values::U32(&[0, 0])).unwrap_err().to_string();
        assert!(error.contains("2 copies"), "{error}");
    });
}
