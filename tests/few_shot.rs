//! Learning across tasks, on devices: which examples an episode has, what a step submits, what goes on from where it was saved.

use std::rc::Rc;

use pollster::block_on;
use stackelberg::bilevel::meta::{
    Distance, Drawing, Episode, Head, Learner, Lesson, Maml, MetaLstm, Metric, Order, Pool, Representation, Session,
    Shape, Shared, Siamese, Snail, Teaching, Transfer,
};
use stackelberg::bilevel::{Decay, Examples, Unattended};
use stackelberg::cpu::CpuEngine;
use stackelberg::data::Standardizer;
use stackelberg::ir::{Graph, NodeId};
use stackelberg::nn::optim::{Adam, Epsilon, Sgd};
use stackelberg::nn::zoo;
use stackelberg::nn::{Layer, Model};
use stackelberg::rig::{Compiled, Device, Progress};
use stackelberg::rng::{Purpose, Stream, permute_index, split_seed, stream_key, threefry};

mod engine_support;

const SEED: u64 = 0x0123_4567_89ab_cdef;

/// A learner whose λ goes back by the numbers of the rows that it is shown, which are their only values.
struct Shown(Shape);

impl Learner for Shown {
    fn len(&self) -> usize {
        self.0.support() + self.0.query()
    }

    fn initial(&self, _seed: u64) -> Vec<f32> {
        vec![0.0; self.len()]
    }

    fn lesson(&self, g: &mut Graph, shared: Shared, episode: &Episode) -> Lesson {
        let scores = self.predict(g, shared, episode);
        let rows = [episode.x, episode.xq].map(|x| {
            let len = g.shape(x)[0];
            g.reshape(x, &[len])
        });
        Lesson { loss: g.sum_all(shared.lambda), gradient: g.concat(&rows), scores, running: None }
    }

    fn predict(&self, g: &mut Graph, _: Shared, episode: &Episode) -> NodeId {
        let shape = [g.shape(episode.xq)[0], self.0.ways];
        g.full(&shape, 0.0)
    }
}

/// The rows of an episode as the host draws them.
fn drawn(drawing: Drawing, shape: Shape, cells: &[[u32; 4]], time: u32, member: u32) -> Vec<u32> {
    let key = threefry(stream_key(split_seed(SEED), Purpose::Episode, time), [member, 0]);
    let mut parts = [vec![], vec![]];
    for slot in 0..shape.ways as u32 {
        let cell = match drawing {
            Drawing::Classes { classes, forms } => {
                let form = threefry(key, [slot, 2])[0] % forms as u32;
                permute_index(key, classes as u32, slot) * forms as u32 + form
            }
            Drawing::People { people } => threefry(key, [0, 3])[0] % people as u32 * shape.ways as u32 + slot,
        };
        let [first, count, other, others] = cells[cell as usize];
        let same = first == other;
        let (own, apart) = (threefry(key, [slot, 0]), threefry(key, [slot, 1]));
        parts[0].extend((0..shape.shots as u32).map(|k| first + permute_index(own, count, k)));
        let (key, behind) = if same { (own, shape.shots as u32) } else { (apart, 0) };
        parts[1].extend((0..shape.queries as u32).map(|k| other + permute_index(key, others, behind + k)));
    }
    parts.concat()
}

fn teaching(shape: Shape, tasks: usize, steps: usize) -> Teaching {
    Teaching { shape, judged: shape, tasks, optimizer: Sgd.into(), rate: 1.0, decay: Decay::None, steps }
}

fn opened(device: &Device, learner: Rc<dyn Learner>, teaching: Teaching, input: &[usize], pool: Pool) -> Session {
    again(device, learner, teaching, input, pool, &Compiled::default())
}

/// The same with programs that may be there already.
fn again(
    device: &Device,
    learner: Rc<dyn Learner>,
    teaching: Teaching,
    input: &[usize],
    pool: Pool,
    compiled: &Compiled,
) -> Session {
    let open = Session::open(device, learner, teaching, input, [pool; 3], compiled);
    let mut session = block_on(open).unwrap();
    session.begin(SEED).unwrap();
    session
}

fn run(session: &mut Session, steps: usize) {
    block_on(session.run(steps, &mut Progress::default(), &mut Unattended)).unwrap();
}

#[test]
fn episodes_are_those_of_the_host_on_every_device() {
    let shape = Shape { ways: 3, shots: 2, queries: 4 };
    // Seven classes in two forms, of 6 to 9 rows; and four people with first and second recordings.
    let (mut classes, mut people, mut at) = (vec![], vec![], 0);
    for cell in 0..14 {
        classes.push([at, 6 + cell % 4, at, 6 + cell % 4]);
        at += 6 + cell % 4;
    }
    let rows = at as usize;
    for cell in 0..12 {
        people.push([8 * cell, 3, 8 * cell + 3, 5]);
    }
    let x: Examples = (0..rows).map(|row| row as f32).collect::<Vec<_>>().into();
    let (tasks, steps) = (2, 3);
    for (drawing, cells) in
        [(Drawing::Classes { classes: 7, forms: 2 }, classes), (Drawing::People { people: 4 }, people)]
    {
        let pool = Pool { x: &x, count: rows, cells: &cells, drawing };
        let mut all = vec![];
        let mut wanted = vec![0.0; shape.support() + shape.query()];
        for time in 0..steps {
            for member in 0..tasks {
                let rows = drawn(drawing, shape, &cells, time, member);
                let mut distinct = rows.clone();
                distinct.sort_unstable();
                distinct.dedup();
                assert_eq!(distinct.len(), rows.len(), "no row twice");
                wanted.iter_mut().zip(&rows).for_each(|(sum, &row)| *sum -= f64::from(row) / f64::from(tasks));
                all.push(rows);
            }
        }
        assert!(all.iter().skip(1).all(|rows| *rows != all[0]));
        for device in engine_support::devices(2) {
            let teaching = teaching(shape, tasks as usize, steps as usize);
            let mut session = opened(&device, Rc::new(Shown(shape)), teaching, &[1], pool);
            run(&mut session, steps as usize);
            assert_eq!(block_on(session.lambda()).unwrap(), wanted, "{}", device.info().engine);
        }
    }
}

const SIDE: usize = 6;
const SHAPE: Shape = Shape { ways: 3, shots: 2, queries: 3 };

/// Drawings of twelve classes, eight each: bytes with a bright row and column of their own among noise.
fn drawings() -> (Examples, Vec<[u32; 4]>) {
    let mut stream = Stream::new(2, Purpose::Search, 0);
    let mut bytes = vec![];
    for class in 0..12 {
        for _ in 0..8 {
            let bright = |at: usize| at / SIDE == class % 6 || at % SIDE == class / 2;
            bytes.extend(
                (0..SIDE * SIDE).map(|at| (if bright(at) { 150.0 } else { 0.0 } + 100.0 * stream.uniform()) as u8),
            );
        }
    }
    let scale = Standardizer { mean: vec![0.0], std: vec![255.0] };
    (Examples::Bytes { bytes, scale }, (0..12).map(|class| [8 * class, 8, 8 * class, 8]).collect())
}

fn body() -> Model {
    zoo::few_shot_body(&[SIDE, SIDE, 1], 4).unwrap()
}

fn learners() -> Vec<(&'static str, Rc<dyn Learner>)> {
    let (ways, features) = (SHAPE.ways, body().output()[0]);
    let of = |head, frozen| Representation { body: body(), head, start: 0.1, learn_start: true, frozen };
    let representation = |head, frozen| Rc::new(of(head, frozen));
    let metric = |distance| Rc::new(Metric { embedding: body(), distance });
    let classifier = || {
        let head = Layer::Dense { name: "head".into(), inputs: features, outputs: ways, bias: true };
        body().then(head).unwrap()
    };
    let maml = |order| {
        let model = classifier();
        Rc::new(Maml { model, steps: 1, judged_steps: 3, rate: 0.4, learn_rate: true, not_adapted: vec![], order })
    };
    let of_descent = || of(Head::Steps { optimizer: Sgd.into(), steps: 3 }, false);
    let descent = || Head::Steps { optimizer: Sgd.into(), steps: 3 };
    vec![
        ("hyper-representation", representation(descent(), false)),
        ("ridge", representation(Head::Ridge, false)),
        ("random features", representation(descent(), true)),
        ("MAML", maml(Order::Second)),
        ("FOMAML", maml(Order::First)),
        ("Reptile", maml(Order::Reptile)),
        ("prototypical", metric(Distance::Prototypes)),
        ("matching", metric(Distance::Cosines)),
        ("Siamese", Rc::new(Siamese { embedding: body() })),
        ("SNAIL", Rc::new(Snail { embedding: body(), ways, support: SHAPE.support(), width: 4 })),
        ("meta-LSTM", Rc::new(MetaLstm { model: classifier(), steps: 2, units: 4 })),
        ("transfer", Rc::new(Transfer { tasks: of_descent(), cells: 12 })),
    ]
}

#[test]
fn every_learner_comes_to_the_same_on_every_device() {
    let (x, cells) = drawings();
    let drawing = Drawing::Classes { classes: 12, forms: 1 };
    let pool = Pool { x: &x, count: 96, cells: &cells, drawing };
    for (name, learner) in learners() {
        let mut first: Option<(Vec<f64>, f64)> = None;
        let compiled = Compiled::default();
        // A software GPU takes its time to compile: the one that is differentiated most.
        let on_gpu = name == "MAML";
        for device in engine_support::devices(2).into_iter().filter(|device| on_gpu || device.info().engine != "gpu") {
            let taught = Teaching { rate: 0.05, ..teaching(SHAPE, 2, 3) };
            let mut session = again(&device, learner.clone(), taught, &[SIDE, SIDE, 1], pool, &compiled);
            run(&mut session, 3);
            let lambda = block_on(session.lambda()).unwrap();
            let judged = block_on(session.test(4, &mut Unattended)).unwrap();
            assert_eq!(judged.episodes, 4);
            let history = block_on(session.history()).unwrap();
            assert!(history.len() == 3 && history.iter().all(|record| record.loss.is_finite()), "{name}: {history:?}");
            let Some((expected, loss)) = &first else {
                first = Some((lambda, judged.loss));
                continue;
            };
            let size = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
            let error = expected.iter().zip(&lambda).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            let device = device.info().engine;
            assert!(error < 2e-4 * size, "{name}, {device}: {error:e} of {size}");
            assert!((judged.loss - loss).abs() < 2e-3 * loss, "{name}, {device}: {} and {loss}", judged.loss);
        }
    }
}

#[test]
fn steps_submit_without_reading_and_go_on_to_the_bit() {
    let (x, cells) = drawings();
    let drawing = Drawing::Classes { classes: 12, forms: 1 };
    let pool = Pool { x: &x, count: 96, cells: &cells, drawing };
    let device = Device::new(CpuEngine::new(1));
    let taught = || Teaching { optimizer: Adam(Epsilon::Outside).into(), rate: 1e-2, ..teaching(SHAPE, 4, 30) };
    for (name, learner) in learners() {
        let compiled = Compiled::default();
        let open = || again(&device, learner.clone(), taught(), &[SIDE, SIDE, 1], pool, &compiled);
        let mut whole = open();
        run(&mut whole, 5);
        let saved = block_on(whole.save()).unwrap();
        let before = device.counters();
        run(&mut whole, 25);
        let after = device.counters();
        let made = |counters: &stackelberg::engine::Counters| {
            (counters.readbacks, counters.buffers_created, counters.bindings_made)
        };
        assert_eq!(made(&before), made(&after), "{name}");
        let ended = block_on(whole.save()).unwrap();
        let mut again = open();
        again.load(&saved).unwrap();
        run(&mut again, 25);
        assert_eq!(block_on(again.save()).unwrap(), ended, "{name}");
        if name == "random features" {
            let body = body().initial_parameters(SEED);
            assert!(ended["state"].iter().zip(&body).all(|(now, then)| *now == f64::from(*then)), "they stay");
        } else {
            let history = block_on(whole.history()).unwrap();
            let mean = |part: &[stackelberg::bilevel::meta::Record]| {
                part.iter().map(|record| record.loss).sum::<f64>() / part.len() as f64
            };
            assert!(mean(&history[25..]) < mean(&history[..5]), "{name} learns nothing: {history:?}");
        }
    }
}

/// The dispatches of a step do not grow with its tasks.
#[test]
fn tasks_are_one_program() {
    let (x, cells) = drawings();
    let drawing = Drawing::Classes { classes: 12, forms: 1 };
    let pool = Pool { x: &x, count: 96, cells: &cells, drawing };
    let dispatches = |tasks: usize| {
        let device = Device::new(CpuEngine::new(1));
        let mut session = opened(&device, learners().remove(3).1, teaching(SHAPE, tasks, 2), &[SIDE, SIDE, 1], pool);
        let before = device.counters().dispatches;
        run(&mut session, 2);
        device.counters().dispatches - before
    };
    assert_eq!(dispatches(1), dispatches(8));
}

#[test]
fn what_an_episode_lacks_is_said() {
    let (x, cells) = drawings();
    let refused = |cells: &[[u32; 4]], classes: usize, shape: Shape| {
        let pool = Pool { x: &x, count: 96, cells, drawing: Drawing::Classes { classes, forms: 1 } };
        let device = Device::new(CpuEngine::new(1));
        let (learner, compiled) = (Rc::new(Shown(shape)), Compiled::default());
        let open = Session::open(&device, learner, teaching(shape, 1, 1), &[SIDE, SIDE, 1], [pool; 3], &compiled);
        block_on(open).err().expect("an error").to_string()
    };
    assert!(refused(&cells, 11, SHAPE).contains("12 cells, and its drawing has 11"));
    assert!(refused(&cells[..2], 2, SHAPE).contains("2 classes, and an episode has 3"));
    let greedy = Shape { queries: 7, ..SHAPE };
    assert!(refused(&cells, 12, greedy).contains("cell 0 has 8 rows"));
    let mut beyond = cells.clone();
    beyond[11] = [90, 8, 90, 8];
    assert!(refused(&beyond, 12, SHAPE).contains("cell 11 ends at row 98, and there are 96"));
}
