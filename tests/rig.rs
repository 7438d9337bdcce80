//! Several trainings on one device: they take turns, and each gives back what it had.

mod engine_support;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pollster::block_on;
use stackelberg::bilevel::{
    Estimate, Flow, Loss, Memory, Method, Monitor, Problem, Reverse, Session, SessionData, Set, Targets, Unattended,
};
use stackelberg::engine::{Holdings, LocalFuture, Values};
use stackelberg::ir::DType;
use stackelberg::nn::{Layer, Model, Padding, optim};
use stackelberg::rig::{Device, Function, Rig};
use stackelberg::rng::{Purpose, Stream};

/// A small network whose sizes follow from a number: with a convolution and dropout, or linear, which a software GPU
/// compiles in less time.
fn training(k: usize, steps: usize, linear: bool) -> (Problem, SessionData, Vec<f64>) {
    let (length, channels, filters, classes) = (6 + k % 5, 1 + k % 3, 2 + k % 4, 2 + k % 2);
    let conv = Layer::Conv1d {
        name: "conv".into(),
        k: 3,
        cin: channels,
        cout: filters,
        stride: 1,
        padding: Padding::VALID,
        bias: true,
        dilation: 1,
        groups: 1,
    };
    let dense = |inputs| Layer::Dense { name: "dense".into(), inputs, outputs: classes, bias: true };
    let layers = match linear {
        true => vec![Layer::Flatten, dense(length * channels)],
        false => vec![conv, Layer::Tanh, Layer::Dropout { rate: 0.25 }, Layer::Flatten, dense((length - 2) * filters)],
    };
    let model = Model::new(layers, &[length, channels]).unwrap();
    let count = 9 + k % 7;
    let problem =
        Problem { batch: 4, l2: !linear, ..Problem::new(model, Loss::CrossEntropy, optim::Momentum, steps, count) };
    let mut stream = Stream::new(k as u64, Purpose::Init, 0);
    let mut set = |count: usize| Set {
        x: (0..count * length * channels).map(|_| stream.normal() as f32).collect::<Vec<_>>().into(),
        targets: Targets::Labels((0..count).map(|i| (i % classes) as u32).collect()),
        count,
    };
    let data = SessionData::new(set(count), set(140), problem.model.initial_parameters(k as u64), k as u64);
    let layout = problem.layout();
    let mut lambda = vec![-2.0; layout.len()];
    lambda[layout.scalars].fill(0.8);
    (problem, data, lambda)
}

async fn open(device: &Device, k: usize, steps: usize, linear: bool) -> (Session, Vec<f64>) {
    let (problem, data, lambda) = training(k, steps, linear);
    let method: Box<dyn Method> = Reverse { memory: Memory::Slots(2) }.into();
    (Session::new(device, problem, &data, method).await.unwrap(), lambda)
}

#[test]
fn a_hundred_trainings_leave_nothing_behind() {
    for device in engine_support::devices(2) {
        let engine = device.info().engine;
        for k in 0..100 {
            block_on(async {
                let (mut session, lambda) = open(&device, k, 2, true).await;
                if k % 10 == 0 {
                    session.hypergradient(&lambda, &mut Unattended).await.unwrap();
                }
                assert!(device.holdings().programs >= 4 && device.counters().bytes > 0);
            });
            assert_eq!(device.holdings(), Holdings::default(), "{engine}, training {k}");
            assert_eq!(device.counters().bytes, 0, "{engine}, training {k}");
        }
    }
}

#[test]
fn what_a_training_had_goes_with_it_and_the_others_stay() {
    for device in engine_support::devices(2) {
        block_on(async {
            let (mut first, lambda) = open(&device, 1, 4, true).await;
            let before = first.hypergradient(&lambda, &mut Unattended).await.unwrap();
            let (held, bytes) = (device.holdings(), device.counters().bytes);
            for k in 2..6 {
                let (mut other, lambda) = open(&device, k, 3, true).await;
                other.hypergradient(&lambda, &mut Unattended).await.unwrap();
                drop(other);
                assert_eq!(device.holdings(), held);
            }
            // Scratch memory is that of the largest so far, as long as anything runs.
            assert!(device.counters().bytes >= bytes);
            let after = first.hypergradient(&lambda, &mut Unattended).await.unwrap();
            assert!(same(&before, &after));
        });
    }
}

/// Everything but what the engine has held.
fn same(a: &Estimate, b: &Estimate) -> bool {
    let values = |e: &Estimate| (e.outer_loss, e.inner_losses.clone(), e.hypergradient.clone(), e.counts);
    values(a) == values(b)
}

/// Gives the other one a turn at every breath.
struct Polite;

impl Monitor for Polite {
    fn progress(&mut self, _done: u64, _total: u64) {}

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        struct Once(bool);
        impl Future for Once {
            type Output = Flow;

            fn poll(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Flow> {
                if std::mem::replace(&mut self.0, true) {
                    return Poll::Ready(Flow::Continue);
                }
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
        Box::pin(Once(false))
    }
}

/// Runs two futures side by side.
async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(move |context| {
        if first.is_none()
            && let Poll::Ready(value) = one.as_mut().poll(context)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = other.as_mut().poll(context)
        {
            second = Some(value);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

#[test]
fn two_trainings_in_turn_are_each_what_it_is_alone() {
    for (device, fresh) in engine_support::devices(2).into_iter().zip(engine_support::devices(2)) {
        block_on(async {
            let mut alone = vec![];
            for k in [3, 8] {
                let (mut session, lambda) = open(&fresh, k, 9, false).await;
                let estimate = session.hypergradient(&lambda, &mut Unattended).await.unwrap();
                alone.push((estimate, session.save().await.unwrap()));
            }
            let (mut a, lambda_a) = open(&device, 3, 9, false).await;
            let (mut b, lambda_b) = open(&device, 8, 9, false).await;
            // Segment by segment, while each waits for the other.
            let sweeps = both(a.hypergradient(&lambda_a, &mut Polite), b.hypergradient(&lambda_b, &mut Polite)).await;
            assert!(same(&sweeps.0.unwrap(), &alone[0].0) && same(&sweeps.1.unwrap(), &alone[1].0));
            // Step by step.
            a.begin_anew().unwrap();
            b.begin_anew().unwrap();
            for _ in 0..3 {
                a.advance(&lambda_a, 3, &mut Unattended).await.unwrap();
                b.advance(&lambda_b, 3, &mut Unattended).await.unwrap();
            }
            assert!(a.save().await.unwrap() == alone[0].1 && b.save().await.unwrap() == alone[1].1);
        });
    }
}

/// Nobody could unload a program whose answer was never taken.
#[test]
fn a_program_that_nobody_waits_for_goes() {
    for device in engine_support::devices(2) {
        let program = double().compile().unwrap();
        drop(device.load(&program));
        assert_eq!(device.holdings(), Holdings::default(), "{}", device.info().engine);
        let kept = block_on(device.load(&program)).unwrap();
        assert_eq!(device.holdings().programs, 1);
        device.unload(kept);
    }
}

/// y = 2 x, of two numbers.
fn double() -> Function {
    let mut double = Function::new("double");
    let x = double.graph.input("x", &[2], DType::F32);
    let twice = double.graph.add(x, x);
    double.output("y", twice);
    double
}

/// A binding to an array ends with it; one made anew under its name gets a new one.
#[test]
fn an_array_made_anew_is_bound_anew() {
    for device in engine_support::devices(2) {
        let engine = device.info().engine;
        let double = double();
        let mut rig = Rig::new(&device);
        block_on(rig.load(&double, &double.compile().unwrap())).unwrap();
        let y = rig.create("y", DType::F32, 2).unwrap();
        for values in [[1.0, 2.0], [3.0, 4.0]] {
            rig.create("x", DType::F32, 2).unwrap();
            rig.fill("x", Values::F64(&values)).unwrap();
            let binding = rig.bind("double", &[]).unwrap();
            rig.submit(&[binding]).unwrap();
            assert_eq!(block_on(rig.read(&[y])).unwrap()[0], values.map(|value| 2.0 * value), "{engine}");
        }
        assert_eq!(device.holdings().bindings, 1);
    }
}

/// What could be made again in a sweep is made once: bindings; and nothing is read inside.
#[test]
fn a_sweep_is_recorded_once() {
    for device in engine_support::devices(2) {
        block_on(async {
            let (mut session, lambda) = open(&device, 2, 12, true).await;
            session.hypergradient(&lambda, &mut Unattended).await.unwrap();
            let before = device.counters();
            session.hypergradient(&lambda, &mut Unattended).await.unwrap();
            let after = device.counters();
            assert_eq!(after.bindings_made, before.bindings_made);
            assert_eq!(after.buffers_created, before.buffers_created);
            assert_eq!(after.readbacks - before.readbacks, 2, "after the outer loss and at the end");
        });
    }
}
