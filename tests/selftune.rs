//! Networks that tune themselves, on devices: what a step submits, what it comes to, and what goes on from where it was saved.

mod engine_support;

use pollster::block_on;
use stackelberg::bilevel::selftune::{
    Act, Augmentation, Constraint, Counts, Examined, Multiplier, Schedule, SelfTuned, Session, Supply, Tie, Tuning,
    Variant,
};
use stackelberg::bilevel::{Loss, Set, Targets, Transform, Unattended};
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::Values;
use stackelberg::nn::optim::{Momentum, RmsProp};
use stackelberg::nn::{Layer, Model, Padding};
use stackelberg::rig::{Compiled, Device, Progress};
use stackelberg::rng::{Purpose, Stream};

const CONSTRAINT: Constraint =
    Constraint { tie: Tie::Mean, slack: 1e-6, start: 0.05, multiplier: Multiplier::Fixed, planes: 1 };
const CPMLHO: Variant = Variant::Cpmlho { constraint: Some(CONSTRAINT), validation: 1.0 };
const VARIANTS: [Variant; 4] = [Variant::Plain, Variant::Stn, Variant::DeltaStn, CPMLHO];

const SIDE: usize = 6;
/// Batches of 8, the last of 3.
const TRAINING: usize = 19;
const VALIDATION: usize = 13;
const RECORDS: usize = 6;

/// Small images through a convolution, with every augmentation of images.
fn images(variant: Variant) -> Tuning {
    let (cin, cout) = (1, 3);
    let padding = [Padding::SAME, Padding::SAME];
    let name = "conv".to_owned();
    let layers = vec![
        Layer::Dropout { rate: 0.0 },
        Layer::Conv2d { name, k: [3; 2], cin, cout, stride: [1; 2], padding, bias: true },
        Layer::Tanh,
        Layer::Flatten,
        Layer::Dropout { rate: 0.0 },
        Layer::Dense { name: "dense".into(), inputs: SIDE * SIDE * cout, outputs: 3, bias: true },
    ];
    let within = |low, high| Transform::Within { low, high };
    let network = SelfTuned {
        model: Model::new(layers, &[SIDE, SIDE, 1]).unwrap(),
        loss: Loss::CrossEntropy,
        domains: vec![within(0.0, 0.95), within(0.0, 0.95), within(0.0, 3.0), within(1.0, 5.0), within(0.0, 0.5)],
        augmentations: vec![
            (Augmentation::Dropout(0), 0),
            (Augmentation::Dropout(1), 1),
            (Augmentation::Cutout { length: 3 }, 2),
            (Augmentation::Jitter, 4),
        ],
        entropy: 1e-3,
    };
    Tuning { network, variant, inner: Momentum.into(), outer: RmsProp.into() }
}

fn set(count: usize, seed: u64) -> Set {
    let mut stream = Stream::new(seed, Purpose::Search, 0);
    let labels: Vec<u32> = (0..count).map(|k| (k % 3) as u32).collect();
    let image = |&label: &u32| {
        let bright = |at: usize| if at / (2 * SIDE) == label as usize { 1.0 } else { 0.0 };
        (0..SIDE * SIDE).map(|at| (bright(at) + 0.3 * stream.normal()) as f32).collect::<Vec<_>>()
    };
    let x: Vec<f32> = labels.iter().flat_map(image).collect();
    Set { x: x.into(), targets: Targets::Labels(labels), count }
}

fn counts(tuning: &Tuning) -> Counts {
    Counts {
        training: TRAINING,
        validation: VALIDATION,
        test: 0,
        batch: 8,
        validation_batch: 8,
        draws: tuning.network.draw_shapes(8),
        bytes: None,
        supply: Supply::Keyed { records: RECORDS },
    }
}

/// A session before its first step.
async fn open(device: &Device, variant: Variant) -> Session {
    let tuning = images(variant);
    let (model, gates) = (tuning.network.model.clone(), tuning.network.gates().response_len());
    let n = tuning.network.domains.len();
    let counts = counts(&tuning);
    let session = Session::open(device, tuning, counts, &Compiled::default()).await.unwrap();
    session.put("", &set(TRAINING, 1)).unwrap();
    session.put("_validation", &set(VALIDATION, 2)).unwrap();
    session.fill("inner_rates", Values::F64(&[0.05, 0.9])).unwrap();
    if variant != Variant::Plain {
        session.fill("outer_rates", Values::F64(&[0.05, 0.99])).unwrap();
    }
    let padded = |mut state: Vec<f32>, len: usize| {
        state.resize(len, 0.0);
        state
    };
    let [general, response] = [3, 4].map(|seed| model.initial_parameters(seed));
    session.fill("general", Values::F32(&padded(general, 2 * model.parameter_count()))).unwrap();
    session.fill("response", Values::F32(&padded(response, 2 * gates))).unwrap();
    session.fill("leader", Values::F32(&padded(vec![-1.0; n], 4 * n))).unwrap();
    session.begin(5).unwrap();
    session
}

/// The acts of a schedule up to so many training steps.
fn acts(variant: Variant, steps: usize) -> Vec<Act> {
    let schedule = Schedule { epoch: 3, warm_up: 1, train: 2, tune: 1, planes: variant == CPMLHO };
    let mut left = steps;
    let all = schedule.acts().take_while(|&act| {
        left -= usize::from(act == Act::Train && left > 0);
        left > 0
    });
    all.filter(|&act| variant != Variant::Plain || act != Act::Tune).collect()
}

async fn run(session: &mut Session, acts: &[Act]) {
    session.run(acts.iter().copied(), &mut Progress::default(), &mut Unattended).await.unwrap();
}

/// Draws and rows come from the device: steps read nothing back, write nothing, and launch what their programs hold.
#[test]
fn steps_run_on_the_device_alone() {
    for device in engine_support::devices(1) {
        for variant in VARIANTS {
            block_on(async {
                let mut session = open(&device, variant).await;
                let acts = acts(variant, 12);
                let before = device.counters();
                run(&mut session, &acts).await;
                let after = device.counters();
                let work = |act: &Act| session.work(*act).unwrap().dispatches as u64;
                assert_eq!(after.dispatches - before.dispatches, acts.iter().map(work).sum::<u64>());
                assert_eq!(after.readbacks, before.readbacks, "{variant:?}");
                assert_eq!(after.buffers_created, before.buffers_created);
                assert!(after.bindings_made - before.bindings_made <= 3, "one for each program");
                println!("{variant:?}: {:?}", [Act::Train, Act::Tune, Act::Cut].map(|act| session.work(act)));
            });
        }
    }
}

/// All engines come to the same hyperparameters and losses, as near as single precision goes.
#[test]
fn engines_agree_on_a_training() {
    for variant in VARIANTS {
        let results: Vec<_> = engine_support::devices(1)
            .iter()
            .map(|device| {
                block_on(async {
                    let mut session = open(device, variant).await;
                    run(&mut session, &acts(variant, 10)).await;
                    let judged = session.judge(Examined::Validation, &mut Unattended).await.unwrap();
                    let leader = session.read("leader").await.unwrap();
                    let history = session.history().await.unwrap();
                    (judged, leader, history)
                })
            })
            .collect();
        let (reference, others) = results.split_first().unwrap();
        assert!(reference.0.loss.is_finite() && (0.0..=1.0).contains(&reference.0.accuracy));
        let tuned = acts(variant, 10).iter().filter(|&&act| act == Act::Tune).count();
        assert_eq!(reference.2.len(), tuned, "{variant:?}");
        if let Some(last) = reference.2.last() {
            assert_eq!(last.lambda, reference.1[..last.lambda.len()]);
            assert!(last.lambda.iter().any(|&l| (l + 1.0).abs() > 1e-3), "hyperparameters move: {last:?}");
        }
        for (judged, leader, _) in others {
            assert!((judged.loss - reference.0.loss).abs() < 2e-3, "{variant:?}: {judged:?} {:?}", reference.0);
            let apart = leader.iter().zip(&reference.1).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart < 5e-3, "{variant:?}: {apart}");
        }
    }
}

#[test]
fn a_saved_training_goes_on_to_the_same_bits() {
    for device in engine_support::devices(1) {
        for variant in VARIANTS {
            block_on(async {
                let all = acts(variant, 12);
                let (first, second) = all.split_at(all.len() / 2);
                let [mut whole, mut begun, mut other] =
                    [open(&device, variant).await, open(&device, variant).await, open(&device, variant).await];
                run(&mut whole, &all).await;
                run(&mut begun, first).await;
                let saved = begun.save().await.unwrap();
                run(&mut other, &all[..3]).await;
                other.load(&saved).unwrap();
                run(&mut other, second).await;
                assert!(other.save().await.unwrap() == whole.save().await.unwrap(), "{variant:?}");
                let mut cut = saved.clone();
                cut.remove("general");
                assert!(other.load(&cut).unwrap_err().to_string().contains("general"));
            });
        }
    }
}

#[test]
fn other_seeds_draw_otherwise() {
    let device = Device::new(CpuEngine::new(1));
    block_on(async {
        let mut weights = vec![];
        for seed in [5, 6] {
            let mut session = open(&device, Variant::Stn).await;
            session.begin(seed).unwrap();
            run(&mut session, &[Act::Train]).await;
            weights.push(session.read("general").await.unwrap());
        }
        assert_ne!(weights[0], weights[1]);
    });
}

/// CPMLHO without planes and with the validation loss alone is STN.
#[test]
fn without_planes_and_training_loss_cpmlho_is_stn_to_the_bit() {
    let device = Device::new(CpuEngine::new(1));
    block_on(async {
        let mut results = vec![];
        for variant in [Variant::Stn, Variant::Cpmlho { constraint: None, validation: f64::INFINITY }] {
            let mut session = open(&device, variant).await;
            run(&mut session, &acts(variant, 9)).await;
            results.push(session.save().await.unwrap());
        }
        assert!(results[0] == results[1]);
        let mut mixed = open(&device, Variant::Cpmlho { constraint: None, validation: 1.0 }).await;
        run(&mut mixed, &acts(Variant::Stn, 9)).await;
        assert_ne!(mixed.save().await.unwrap()["leader"], results[0]["leader"]);
    });
}

#[test]
fn what_cannot_be_is_refused() {
    let device = Device::new(CpuEngine::new(1));
    block_on(async {
        let mut plain = open(&device, Variant::Plain).await;
        assert!(plain.act(Act::Tune).unwrap_err().to_string().contains("moves no hyperparameter"));
        assert!(plain.act(Act::Cut).unwrap_err().to_string().contains("only CPMLHO"));
        let error = plain.judge(Examined::Test, &mut Unattended).await.unwrap_err().to_string();
        assert!(error.contains("no test examples"), "{error}");
        let tuning = images(Variant::Stn);
        let opened = |tuning: &Tuning, counts: Counts| {
            let error = block_on(Session::open(&device, tuning.clone(), counts, &Compiled::default())).err().unwrap();
            error.to_string()
        };
        let given = Counts { supply: Supply::Given, ..counts(&tuning) };
        let mut session = Session::open(&device, tuning.clone(), given, &Compiled::default()).await.unwrap();
        let error = session.run([Act::Train], &mut Progress::default(), &mut Unattended).await.unwrap_err();
        assert!(error.to_string().contains("one by one"), "{error}");
        assert!(opened(&tuning, Counts { batch: 0, ..counts(&tuning) }).contains("training examples in a batch"));
        assert!(opened(&tuning, Counts { draws: vec![], ..counts(&tuning) }).contains("one an augmentation"));
        let mut endless = tuning.clone();
        endless.network.domains[2] = Transform::Log;
        assert!(opened(&endless, counts(&tuning)).contains("cutout takes images"));
        let nothing = Variant::Cpmlho { constraint: None, validation: f64::NAN };
        assert!(opened(&images(nothing), counts(&tuning)).contains("NaN times"));
    });
}

/// Linear regression with dropout on its inputs is ridge regression with the penalty Σ p/(1−p) (XᵀX)ⱼⱼ wⱼ², so the best
/// rate is known; a network that tunes itself finds it.
#[test]
fn the_best_rate_of_dropout_of_a_linear_regression_is_found() {
    const FEATURES: usize = 12;
    const EXAMPLES: usize = 64;
    let mut stream = Stream::new(11, Purpose::Search, 0);
    let truth: Vec<f64> = (0..FEATURES).map(|_| stream.normal()).collect();
    let mut data = |count: usize| {
        let x: Vec<f64> = (0..count * FEATURES).map(|_| stream.normal()).collect();
        let of = |row: &[f64]| row.iter().zip(&truth).map(|(a, b)| a * b).sum::<f64>();
        let y: Vec<f64> = x.chunks(FEATURES).map(|row| of(row) + 4.0 * stream.normal()).collect();
        (x, y)
    };
    let (train, validation) = (data(EXAMPLES), data(1024));
    let best = best_rate(&train, &validation, FEATURES);
    assert!((0.1..0.6).contains(&best), "the data have a best rate inside: {best}");

    let domain = Transform::Within { low: 0.0, high: 0.95 };
    let layers = vec![
        Layer::Dropout { rate: 0.0 },
        Layer::Dense { name: "dense".into(), inputs: FEATURES, outputs: 1, bias: false },
    ];
    let network = SelfTuned {
        model: Model::new(layers, &[FEATURES]).unwrap(),
        loss: Loss::MeanSquaredError,
        domains: vec![domain],
        augmentations: vec![(Augmentation::Dropout(0), 0)],
        entropy: 0.0,
    };
    let device = Device::new(CpuEngine::new(1));
    for variant in [Variant::DeltaStn, Variant::Stn] {
        let tuning = Tuning { network: network.clone(), variant, inner: Momentum.into(), outer: RmsProp.into() };
        let counts = Counts {
            training: EXAMPLES,
            validation: 1024,
            test: 0,
            batch: EXAMPLES,
            validation_batch: 1024,
            draws: tuning.network.draw_shapes(EXAMPLES),
            bytes: None,
            supply: Supply::Keyed { records: 3000 },
        };
        let found = block_on(async {
            let mut session = Session::open(&device, tuning, counts, &Compiled::default()).await.unwrap();
            for (suffix, (x, y)) in [("", &train), ("_validation", &validation)] {
                let float = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
                let set = Set { x: float(x).into(), targets: Targets::Values(float(y)), count: y.len() };
                session.put(suffix, &set).unwrap();
            }
            session.fill("inner_rates", Values::F64(&[0.003, 0.9])).unwrap();
            session.fill("outer_rates", Values::F64(&[0.005, 0.99])).unwrap();
            session
                .fill("response", Values::F64(&[vec![0.3; FEATURES], vec![0.0; 1 + FEATURES + 1]].concat()))
                .unwrap();
            // σ = 0.5.
            session.fill("leader", Values::F64(&[domain.unconstrain(0.05), -0.432_752_13, 0.0, 0.0])).unwrap();
            session.begin(3).unwrap();
            let schedule = Schedule { epoch: 1, warm_up: 500, train: 2, tune: 1, planes: false };
            run(&mut session, &schedule.acts().take(500 + 9000).collect::<Vec<_>>()).await;
            let history = session.history().await.unwrap();
            assert_eq!(history.len(), 3000);
            history[2000..].iter().map(|record| domain.constrain(record.lambda[0])).sum::<f64>() / 1000.0
        });
        println!("{variant:?}: {found}, best {best}");
        assert!((found - best).abs() < 0.08, "{variant:?}: {found}, best {best}");
    }
}

/// The rate whose ridge solution has the lowest validation loss.
fn best_rate(train: &(Vec<f64>, Vec<f64>), validation: &(Vec<f64>, Vec<f64>), features: usize) -> f64 {
    let loss = |rate: f64| {
        let weights = ridge(train, rate / (1.0 - rate), features);
        let (x, y) = validation;
        let error = |(row, y): (&[f64], &f64)| row.iter().zip(&weights).map(|(a, b)| a * b).sum::<f64>() - y;
        x.chunks(features).zip(y).map(|pair| error(pair).powi(2)).sum::<f64>()
    };
    let rates = (1..180).map(|k| f64::from(k) * 0.005);
    rates.min_by(|&a, &b| loss(a).total_cmp(&loss(b))).unwrap()
}

/// (XᵀX + factor · diag XᵀX)⁻¹ Xᵀy by elimination.
fn ridge((x, y): &(Vec<f64>, Vec<f64>), factor: f64, n: usize) -> Vec<f64> {
    let mut rows: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            let dot = |of: &dyn Fn(usize) -> f64| (0..y.len()).map(|k| x[k * n + i] * of(k)).sum::<f64>();
            let mut row: Vec<f64> = (0..n).map(|j| dot(&|k| x[k * n + j])).collect();
            row[i] *= 1.0 + factor;
            row.push(dot(&|k| y[k]));
            row
        })
        .collect();
    for pivot in 0..n {
        let scale = rows[pivot][pivot];
        rows[pivot].iter_mut().for_each(|value| *value /= scale);
        let of_pivot = rows[pivot].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(at, _)| *at != pivot) {
            let factor = row[pivot];
            row.iter_mut().zip(&of_pivot).for_each(|(value, other)| *value -= factor * other);
        }
    }
    rows.into_iter().map(|row| row[n]).collect()
}
