//! Hypergradient descent: the trajectories of its specification, what it equals, what it costs.

use stackelberg::bilevel::{
    Blueprint, Loss, Memory, Method, Plain, Problem, Session, SessionData, Set, Targets, Truncated, Unattended,
    programs,
};
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::Engine as _;
use stackelberg::gpu::GpuEngine;
use stackelberg::interp::eval;
use stackelberg::ir::{DType, Graph};
use stackelberg::nn::optim::{
    self, Adam, Bounds, Dynamics, Epsilon, HeavyBall, HypergradientDescent, Momentum, Nesterov, Optimizer, Rule, Sgd,
};
use stackelberg::nn::{Layer, Model};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;
use stackelberg::rng::{Purpose, Stream};

/// The learning rate, momentum (if it moves) and the weight after each of some steps on ½ · curvature · w², from w = 1.
fn path(optimizer: &dyn Optimizer, curvature: f64, eta: f64, scalars: &[f64], steps: usize) -> Vec<Vec<f64>> {
    let mut g = Graph::new();
    let state = g.input("state", &[optimizer.state_len(1)], DType::F32);
    let eta_node = g.input("eta", &[1], DType::F32);
    let own: Vec<_> = scalars.iter().map(|_| g.input("scalar", &[1], DType::F32)).collect();
    let w = g.segment(state, 0, 1);
    let gradient = g.scale(w, curvature);
    let next = optimizer.step(&mut g, state, gradient, eta_node, &own);
    let records = optimizer.records(&mut g, next, &optim::Scalars { eta: eta_node, own: &own });
    let outputs: Vec<_> = [next].into_iter().chain(records.into_iter().map(|(_, node)| node)).collect();
    let mut now = vec![1.0];
    now.extend(optimizer.start(1).into_iter().flat_map(|(len, value)| vec![f64::from(value); len]));
    let mut path = vec![];
    for _ in 0..steps {
        let inputs: Vec<Vec<f64>> =
            [now, vec![eta]].into_iter().chain(scalars.iter().map(|&scalar| vec![scalar])).collect();
        let mut values = eval(&g, &outputs, &inputs);
        now = values.remove(0);
        path.push(values.into_iter().map(|value| value[0]).chain([now[0]]).collect());
    }
    path
}

fn additive(base: impl Into<Dynamics>, moving: usize) -> HypergradientDescent {
    HypergradientDescent::new(base, Rule::Additive, &vec![1e-4; moving])
}

/// algorithms.md B.3.
#[test]
fn trajectories_are_those_of_the_specification() {
    let pair = || additive(HeavyBall, 2);
    /// Name, optimiser, step sizes, and what is to be found at each step.
    type Trajectory = (&'static str, HypergradientDescent, &'static [f64], &'static [&'static [f64]]);
    let ours: &[Trajectory] = &[
        (
            "SGD-HD",
            additive(Sgd, 1),
            &[1e-4],
            &[&[0.01, 0.9], &[0.019, 0.729], &[0.025561, 0.54266031], &[0.02951699366, 0.38248330070]],
        ),
        (
            "multiplicative",
            HypergradientDescent::new(Sgd, Rule::Multiplicative, &[0.1]),
            &[0.1],
            &[&[0.01, 0.9], &[0.011, 0.801], &[0.0121, 0.704079], &[0.01331, 0.6103660851]],
        ),
        (
            "SGDN-HD",
            additive(Nesterov, 1),
            &[0.9, 1e-5],
            &[
                &[0.01, 0.81],
                &[0.011539, 0.53894889],
                &[0.01280499094, 0.23046348301],
                &[0.01336020119, -0.05290895179],
            ],
        ),
        (
            "Adam-HD",
            additive(Adam(Epsilon::Outside), 1),
            &[0.9, 0.999, 1e-8, 1e-3],
            &[
                &[0.01, 0.99],
                &[0.0199, 0.97010546437],
                &[0.02959839082, 0.94054073801],
                &[0.03899310073, 0.90166235369],
            ],
        ),
        (
            "learning rate and momentum",
            pair(),
            &[0.5, 1e-4, 1e-4],
            &[
                &[0.01, 0.5, 0.9],
                &[0.019, 0.5, 0.679],
                &[0.025111, 0.5000679, 0.3979813041],
                &[0.02781329305, 0.50015585387, 0.14673645189],
            ],
        ),
        (
            "with the printed signs",
            pair().printed(),
            &[0.5, 1e-4, 1e-4],
            &[
                &[0.01, 0.5, 0.9],
                &[0.019, 0.5, 0.779],
                &[0.026011, 0.4999221, 0.6368648841],
                &[0.03097217745, 0.49984503935, 0.51065949469],
            ],
        ),
    ];
    for (name, optimizer, scalars, wanted) in ours {
        let steps = path(optimizer, 10.0, 0.01, scalars, wanted.len());
        for (t, (ours, wanted)) in steps.iter().zip(*wanted).enumerate() {
            for (ours, wanted) in ours.iter().zip(*wanted) {
                // The specification has eleven digits.
                assert!((ours - wanted).abs() < 1e-10, "{name}, step {}: {ours} {wanted}", t + 1);
            }
        }
    }
}

/// What the gradient and the slots give is what was stored.
#[test]
fn one_vector_does_for_learning_rate_and_momentum() {
    for base in [Dynamics::from(HeavyBall), Momentum.into()] {
        for rule in [Rule::Additive, Rule::Multiplicative, Rule::Log, Rule::Cosine] {
            for printed in [false, true] {
                let lean = HypergradientDescent::new(base.clone(), rule, &[0.0, 0.0]);
                let lean = if printed { lean.printed() } else { lean };
                let rates = if rule == Rule::Additive { [1e-4, 1e-4] } else { [2e-3, 1e-2] };
                let at = |optimizer: &HypergradientDescent| path(optimizer, 10.0, 0.01, &[0.8, rates[0], rates[1]], 12);
                let (lean, stored) = (at(&lean), at(&lean.clone().stored()));
                let moved = lean.iter().any(|step| (step[1] - 0.8).abs() > 1e-4);
                assert!(moved, "{base:?} {rule:?}: momentum stays");
                for (a, b) in lean.iter().flatten().zip(stored.iter().flatten()) {
                    assert!((a - b).abs() < 1e-11, "{base:?} {rule:?}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn a_rate_of_zero_moves_from_the_second_step_on() {
    let steps = path(&additive(Sgd, 1), 10.0, 0.0, &[1e-4], 3);
    assert_eq!((steps[0][0], steps[0][1]), (0.0, 1.0));
    assert!(steps[1][0] > 0.0 && steps[1][1] < 1.0, "{steps:?}");
}

/// At this curvature heavy ball converges, its spectral radius being 0.9487, and with the printed sign it is 1.0053.
#[test]
fn the_printed_signs_are_unstable_where_heavy_ball_is_not() {
    let at = |optimizer: HypergradientDescent| path(&optimizer, 21.0, 0.01, &[0.9, 0.0, 0.0], 2000);
    let [consistent, printed] = [at(additive(HeavyBall, 2)), at(additive(HeavyBall, 2).printed())];
    assert!(consistent[1999][2].abs() < 1e-30);
    let growth = (printed[1999][2] / printed[999][2]).abs().powf(1e-3);
    assert!((growth - 1.0053).abs() < 1e-3, "{growth}");
}

#[test]
fn numbers_stay_within_their_bounds() {
    let bounds = Bounds { rate: [0.005, 0.02], momentum: [0.4, 0.6] };
    for rule in [Rule::Additive, Rule::Multiplicative, Rule::Log, Rule::Cosine] {
        let free = HypergradientDescent::new(HeavyBall, rule, &[0.0, 0.0]);
        let rates = if rule == Rule::Additive { [1e-3, 5e-2] } else { [0.5, 0.5] };
        let ends = |optimizer: &HypergradientDescent| {
            let steps = path(optimizer, 10.0, 0.01, &[0.5, rates[0], rates[1]], 40);
            [0, 1].map(|k| {
                let values = steps.iter().map(|step| step[k]);
                [values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max)]
            })
        };
        let outside = |ends: [[f64; 2]; 2]| {
            let both = ends.into_iter().zip([bounds.rate, bounds.momentum]);
            both.map(|([low, high], [least, most])| low < least - 1e-12 || high > most + 1e-12).collect::<Vec<_>>()
        };
        assert!(outside(ends(&free)).contains(&true), "{rule:?}: nothing to keep");
        let kept = ends(&free.within(bounds));
        assert_eq!(outside(kept), [false, false], "{rule:?}: {kept:?}");
    }
}

/// A network of two layers on examples that it can learn.
fn setup(optimizer: impl Into<Dynamics>, steps: usize) -> (Problem, SessionData) {
    let dense = |name: &str, inputs, outputs| Layer::Dense { name: name.to_owned(), inputs, outputs, bias: true };
    let model = Model::new(vec![dense("one", 5, 7), Layer::Tanh, dense("two", 7, 3)], &[5]).unwrap();
    let mut stream = Stream::new(7, Purpose::Search, 0);
    let labels: Vec<u32> = (0..24).map(|k| k % 3).collect();
    let x: Vec<f32> =
        labels.iter().flat_map(|&l| (0..5).map(|_| l as f32 + stream.normal() as f32).collect::<Vec<_>>()).collect();
    let set = Set { x: x.into(), targets: Targets::Labels(labels), count: 24 };
    let initial = model.initial_parameters(3);
    let problem = Problem { validation: 24, ..Problem::new(model, Loss::CrossEntropy, optimizer, steps, 24) };
    (problem, SessionData::new(set.clone(), set, initial, 1))
}

fn lambda(problem: &Problem, rate: f64, scalars: &[f64]) -> Vec<f64> {
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    lambda[layout.log_lr].fill(rate.ln());
    lambda[layout.scalars].copy_from_slice(scalars);
    lambda
}

/// The usual values of an optimiser's scalars, with these step sizes.
fn scalars(optimizer: &dyn Optimizer, rate: Option<f64>) -> Vec<f64> {
    let is_rate = |name: &str| name.ends_with("hypergradient_rate");
    optimizer.scalars().iter().map(|s| rate.filter(|_| is_rate(s.name)).unwrap_or(s.usual)).collect()
}

/// One step at a time, the learning rate (and the momentum) moved in between along the hypergradient of the last step
/// alone by truncated reverse mode: the training loss at the weights that it leaves is the outer loss. Snapshots are in
/// single precision.
#[test]
fn it_is_truncated_reverse_mode_with_one_step() {
    let adam = || Dynamics::from(Adam(Epsilon::Inside));
    let bases = [(Sgd.into(), 1), (Nesterov.into(), 1), (adam(), 1), (HeavyBall.into(), 2), (Momentum.into(), 2)];
    for (base, moving) in bases {
        let (steps, rate, step_size) = (6, 0.05, if base.name() == "adam" { 1e-4 } else { 2e-2 });
        let device = Device::new(ReferenceEngine::new());
        let (problem, data) = setup(additive(base.clone(), moving), steps);
        let start = scalars(&*base, None);
        let given = [&start[..], &vec![step_size; moving]].concat();
        let at = lambda(&problem, rate, &given);
        let recorded = pollster::block_on(async {
            let mut session = Session::new(&device, problem, &data, Plain).await.unwrap();
            session.train(&at, &mut Unattended).await.unwrap().records
        });
        let (problem, data) = setup(base.clone(), 1);
        let layout = problem.layout();
        pollster::block_on(async {
            let last = Truncated { last: 1, memory: Memory::StoreAll };
            let mut session = Session::new(&device, problem.clone(), &data, last).await.unwrap();
            let (mut alpha, mut own) = (rate, start.clone());
            for (t, recorded_rate) in recorded["learning_rate"].iter().enumerate().take(steps) {
                assert!((recorded_rate - alpha).abs() < 1e-7, "{base:?}, step {t}: {alpha}");
                if moving == 2 {
                    assert!((recorded["momentum"][t] - own[0]).abs() < 1e-7, "{base:?}, step {t}: {own:?}");
                }
                let estimate = session.hypergradient(&lambda(&problem, alpha, &own), &mut Unattended).await.unwrap();
                let by_log_rate: f64 = estimate.hypergradient[layout.log_lr.clone()].iter().sum();
                alpha -= step_size * by_log_rate / alpha;
                if moving == 2 {
                    own[0] -= step_size * estimate.hypergradient[layout.scalars.start];
                }
                let state = session.save().await.unwrap();
                session.load(&state).unwrap();
            }
            assert!((alpha - rate).abs() > 1e-4, "{base:?}: it has not moved");
        });
    }
}

fn devices() -> Vec<Device> {
    let mut devices = vec![Device::new(ReferenceEngine::new()), Device::new(CpuEngine::new(2))];
    match pollster::block_on(GpuEngine::new("auto")) {
        Ok(engine) => {
            println!("on {}", engine.info().adapter);
            devices.push(Device::new(engine));
        }
        Err(error) if ["CI", "REQUIRE_GPU"].iter().all(|name| std::env::var_os(name).is_none()) => {
            println!("without a GPU: {error}");
        }
        Err(error) => panic!("{error}"),
    }
    devices
}

#[test]
fn with_step_sizes_of_zero_it_is_the_optimiser_bit_for_bit() {
    for device in devices() {
        for hd in optim::named().into_iter().filter(|hd| hd.name().contains("-hd") && !hd.name().contains("printed")) {
            let base: Dynamics = hd.name().split("-hd").next().unwrap().parse().unwrap();
            let still = scalars(&*hd, Some(0.0));
            let [moving, plain] = [(hd.clone(), still.clone()), (base.clone(), still[..base.scalars().len()].to_vec())]
                .map(|(optimizer, scalars)| {
                    let (problem, data) = setup(optimizer, 8);
                    let at = lambda(&problem, 0.05, &scalars);
                    pollster::block_on(async {
                        let mut session = Session::new(&device, problem, &data, Plain).await.unwrap();
                        let estimate = session.train(&at, &mut Unattended).await.unwrap();
                        (estimate.inner_losses, session.final_weights().await.unwrap())
                    })
                });
            assert!(moving == plain, "{hd:?} on {}", device.info().adapter);
        }
    }
}

/// The paper's claim: besides the weights it needs those of the step before or its gradient, one vector.
#[test]
fn it_takes_one_more_vector_and_a_number_for_each_that_moves() {
    let d = 1000;
    for optimizer in optim::named().into_iter().filter(|optimizer| optimizer.name().contains("-hd")) {
        let base: Dynamics = optimizer.name().split("-hd").next().unwrap().parse().unwrap();
        let moving = optimizer.scalars().len() - base.scalars().len();
        assert_eq!(optimizer.state_len(d), base.state_len(d) + d + moving, "{optimizer:?}");
    }
    let stored = additive(HeavyBall, 2).stored();
    assert_eq!(stored.state_len(d), HeavyBall.state_len(d) + 2 * d + 2);
}

#[test]
fn a_step_takes_few_more_dispatches() {
    let dispatches = |optimizer: Dynamics| {
        let (problem, _) = setup(optimizer, 8);
        programs::step(&problem).compile().unwrap().launches.len()
    };
    let most = |name: &str| if name.ends_with("cosine") { 4 } else { 2 };
    for optimizer in optim::named().into_iter().filter(|optimizer| optimizer.name().contains("-hd")) {
        let name = optimizer.name();
        let base = dispatches(name.split("-hd").next().unwrap().parse().unwrap());
        let more = dispatches(optimizer.clone()) - base;
        println!("{name}: {more} more than {base}");
        assert!(more <= most(name), "{name}: {more} more than {base}");
    }
}

/// In single precision what follows from the gradient is rounded otherwise than what is stored.
#[test]
fn one_vector_is_as_good_in_single_precision() {
    for base in [Dynamics::from(HeavyBall), Momentum.into()] {
        let lean = additive(base, 2);
        let [lean, stored] = [lean.clone(), lean.stored()].map(|optimizer| {
            let (problem, data) = setup(optimizer, 100);
            let at = lambda(&problem, 0.05, &[0.7, 1e-3, 1e-3]);
            pollster::block_on(async {
                let mut session = Session::new(&Device::new(CpuEngine::new(1)), problem, &data, Plain).await.unwrap();
                session.train(&at, &mut Unattended).await.unwrap().records
            })
        });
        for (name, values) in &lean {
            let apart = values.iter().zip(&stored[name]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let moved = (values[99] - values[0]).abs();
            println!("{name}: {apart:e} apart, {moved:e} moved");
            assert!(moved > 1e-4 && apart < 1e-3 * moved, "{name}: {apart:e} apart, {moved:e} moved");
        }
    }
}

/// The published program moves Adam's learning rate tensor by tensor within a step: the sum is the same, the rates at
/// which all but the last tensor are trained are not.
#[test]
fn a_rate_per_tensor_ends_where_one_rate_does() {
    let (problem, data) = setup(Sgd, 2);
    let sizes: Vec<usize> = problem.model.parameters().iter().map(|p| p.len()).collect();
    let [one, each] = [additive(Sgd, 1), additive(Sgd, 1).per_tensor(&sizes)].map(|optimizer| {
        let (problem, _) = setup(optimizer, 2);
        let at = lambda(&problem, 0.05, &[0.05]);
        pollster::block_on(async {
            let device = Device::new(ReferenceEngine::new());
            let mut session = Session::new(&device, problem, &data, Plain).await.unwrap();
            let estimate = session.train(&at, &mut Unattended).await.unwrap();
            (estimate.records["learning_rate"].clone(), session.final_weights().await.unwrap())
        })
    });
    assert!((one.0[1] - each.0[1]).abs() < 1e-12 && (one.0[1] - 0.05).abs() > 1e-4);
    let differs = problem.model.parameters().iter().map(|p| {
        let part = p.offset..p.offset + p.len();
        one.1[part.clone()].iter().zip(&each.1[part]).any(|(a, b)| (a - b).abs() > 1e-9)
    });
    assert_eq!(differs.collect::<Vec<_>>(), [true, true, true, false]);
}

/// Adding its records to what is read back costs no read of its own.
#[test]
fn records_are_read_with_the_losses() {
    let reads = |optimizer: Dynamics| {
        let (problem, data) = setup(optimizer.clone(), 5);
        let at = lambda(&problem, 0.05, &scalars(&*optimizer, None));
        let device = Device::new(ReferenceEngine::new());
        let method: Box<dyn Method> = Plain.into();
        pollster::block_on(async {
            let mut session = Session::new(&device, problem, &data, method).await.unwrap();
            let before = device.counters().readbacks;
            session.train(&at, &mut Unattended).await.unwrap();
            device.counters().readbacks - before
        })
    };
    assert_eq!(reads(additive(HeavyBall, 2).into()), reads(HeavyBall.into()));
}

/// Learning rates that move are foreseen by the blueprint like all else.
#[test]
fn its_records_are_foreseen() {
    let (problem, _) = setup(additive(HeavyBall, 2), 5);
    let blueprint = Blueprint::of(&problem, &Plain).unwrap();
    assert_eq!(blueprint.records, ["losses", "learning_rate", "momentum"]);
}
