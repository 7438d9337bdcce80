//! A training's whole state: saved, gone on from, forked, sent.

use stackelberg::bilevel::{Flow, Memory, Monitor, Online, Reverse, Session, Snapshot, SolveError, Unattended};
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::LocalFuture;
use stackelberg::nn::optim::{self, Dynamics};
use stackelberg::rig::Device;

use crate::problems::{Case, RIDGE, SKEWED, scalars};

const REVERSE: Reverse = Reverse { memory: Memory::StoreAll };

async fn open(device: &Device, case: &Case) -> Session {
    Session::new(device, case.problem.clone(), &case.data, Online::new(REVERSE)).await.unwrap()
}

fn device() -> Device {
    Device::new(CpuEngine::new(1))
}

/// In single precision, which is what files hold.
fn every(check: impl AsyncFn(&Case)) {
    for optimizer in optim::every() {
        let case = SKEWED.case(optimizer.clone(), 7, 0.1, &scalars(&*optimizer));
        pollster::block_on(check(&case));
    }
}

#[test]
fn a_fork_equals_the_run_to_the_bit() {
    every(async |case| {
        let device = device();
        let mut run = open(&device, case).await;
        run.hypergradient(&case.lambda, &mut Unattended).await.unwrap();
        let snapshot = run.save().await.unwrap();
        assert_eq!(snapshot.steps, 7);
        let file = snapshot.to_safetensors();
        let sent = Snapshot::from_safetensors(&file, run.inner()).unwrap();
        assert_eq!(sent, snapshot);
        let mut fork = open(&device, case).await;
        fork.load(&sent).unwrap();
        for _ in 0..3 {
            let [one, other] = [
                run.hypergradient(&case.lambda, &mut Unattended).await.unwrap(),
                fork.hypergradient(&case.lambda, &mut Unattended).await.unwrap(),
            ];
            assert_eq!(
                (one.outer_loss, one.inner_losses, one.hypergradient),
                (other.outer_loss, other.inner_losses, other.hypergradient)
            );
        }
        assert_eq!(run.save().await.unwrap(), fork.save().await.unwrap());
    });
}

#[test]
fn steps_in_pieces_are_the_steps() {
    every(async |case| {
        let device = device();
        let mut whole = open(&device, case).await;
        let end = whole.train(&case.lambda, &mut Unattended).await.unwrap();
        let mut pieces = open(&device, case).await;
        for steps in [1, 2, 0, 4] {
            pieces.advance(&case.lambda, steps, &mut Unattended).await.unwrap();
        }
        assert_eq!(pieces.save().await.unwrap(), whole.save().await.unwrap());
        let outer = pieces.outer_loss(&mut Unattended).await.unwrap();
        assert_eq!((outer.outer_loss, outer.inner_losses), (end.outer_loss, end.inner_losses));
        // Back at the beginning, the whole is the whole again.
        pieces.begin_anew().unwrap();
        assert_eq!(pieces.train(&case.lambda, &mut Unattended).await.unwrap().outer_loss, end.outer_loss);
    });
}

#[test]
fn what_it_goes_on_from_is_no_function_of_its_start() {
    pollster::block_on(async {
        let case = RIDGE.case(optim::Sgd, 5, 0.1, &[]).starting();
        let device = device();
        let mut session = Session::new(&device, case.problem.clone(), &case.data, REVERSE).await.unwrap();
        session.hypergradient(&case.lambda, &mut Unattended).await.unwrap();
        let snapshot = session.save().await.unwrap();
        session.load(&snapshot).unwrap();
        let refused = session.hypergradient(&case.lambda, &mut Unattended).await;
        let Err(SolveError::Refused(refusal)) = refused else { panic!("{refused:?}") };
        assert!(refusal.to_string().contains("goes on from a state"), "{refusal}");
        session.begin_anew().unwrap();
        assert!(session.hypergradient(&case.lambda, &mut Unattended).await.is_ok());
    });
}

#[test]
fn files_of_other_trainings_are_refused_by_name() {
    let case = |optimizer: Dynamics| RIDGE.case(optimizer.clone(), 5, 0.1, &scalars(&*optimizer));
    let momentum_case = || case(optim::Momentum.into());
    let session = |optimizer: Dynamics| pollster::block_on(open(&device(), &case(optimizer)));
    let (mut momentum, sgd) = (session(optim::Momentum.into()), session(optim::Sgd.into()));
    let nowhere = pollster::block_on(momentum.save());
    assert!(matches!(nowhere, Err(SolveError::Lost)), "{nowhere:?}");
    let lambda = momentum_case().lambda;
    pollster::block_on(momentum.advance(&lambda, 2, &mut Unattended)).unwrap();
    let file = pollster::block_on(momentum.save()).unwrap().to_safetensors();
    let says = |file: &[u8]| Snapshot::from_safetensors(file, sgd.inner()).unwrap_err().to_string();
    assert!(says(&file).contains("does not have"), "{}", says(&file));
    assert!(says(b"nothing").contains("no safetensors file"));
    assert!(
        says(&safetensors::serialize([] as [(&str, safetensors::tensor::TensorView); 0], None).unwrap())
            .contains("format")
    );
    let mut other = session(optim::Sgd.into());
    let short = Snapshot { state: vec![0.0], ..pollster::block_on(momentum.save()).unwrap() };
    assert!(matches!(other.load(&short), Err(SolveError::Length { .. })));
}

/// Stops at a breath.
struct Stops(usize);

impl Monitor for Stops {
    fn progress(&mut self, _done: u64, _total: u64) {}

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        self.0 -= 1;
        Box::pin(std::future::ready(if self.0 == 0 { Flow::Stop } else { Flow::Continue }))
    }
}

#[test]
fn an_advance_that_is_stopped_is_where_it_was_stopped() {
    every(async |case| {
        let device = device();
        let mut whole = open(&device, case).await;
        whole.advance(&case.lambda, 30, &mut Unattended).await.unwrap();
        let mut stopped = open(&device, case).await;
        let end = stopped.advance(&case.lambda, 30, &mut Stops(2)).await;
        assert!(matches!(end, Err(SolveError::Stopped)), "{end:?}");
        let there = stopped.save().await.unwrap().steps as usize;
        assert!((2..=3).contains(&there), "one step, and then one or two");
        stopped.advance(&case.lambda, 30 - there, &mut Unattended).await.unwrap();
        assert_eq!(stopped.save().await.unwrap(), whole.save().await.unwrap());
    });
}

#[test]
fn what_a_method_remembers_ends_with_the_training_it_is_of() {
    every(async |case| {
        let device = device();
        let mut session = open(&device, case).await;
        let first = session.hypergradient(&case.lambda, &mut Unattended).await.unwrap();
        let snapshot = session.save().await.unwrap();
        let next = session.hypergradient(&case.lambda, &mut Unattended).await.unwrap();
        assert_ne!(first.outer_loss, next.outer_loss);
        session.load(&snapshot).unwrap();
        let again = session.hypergradient(&case.lambda, &mut Unattended).await.unwrap();
        assert_eq!((again.outer_loss, again.hypergradient), (next.outer_loss, next.hypergradient));
        session.begin_anew().unwrap();
        let anew = session.hypergradient(&case.lambda, &mut Unattended).await.unwrap();
        assert_eq!((anew.outer_loss, anew.hypergradient), (first.outer_loss, first.hypergradient));
        // A state before the first step is a state like any other.
        let shifted: Vec<f32> = snapshot.state.iter().map(|value| value + 0.25).collect();
        session.load(&Snapshot { state: shifted, steps: 0, ..snapshot }).unwrap();
        let moved = session.train(&case.lambda, &mut Unattended).await.unwrap();
        assert_ne!(moved.outer_loss, first.outer_loss);
    });
}
