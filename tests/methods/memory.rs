//! What methods keep: as many states as planned, and nothing more with every outer iteration.

use stackelberg::bilevel::{
    Directions, FixedPoint, Forward, Implicit, Memory, Method, Online, RealTime, Reverse, Session, Solver, Truncated,
    Unattended,
};
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::Counters;
use stackelberg::nn::optim;
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;

use crate::engine_support::gpu;
use crate::network::narrow;
use crate::problems::{Case, RIDGE, estimate_on, scalars};

/// On the activity network with dropout and minibatches. Besides the 2,860 steps of the optimal schedule there is the
/// last one of the first sweep, whose state the outer loss needs.
#[test]
fn revolve_with_16_slots_goes_through_a_thousand_steps_in_2860() {
    let mut case = narrow(1000);
    case.problem.batch = 2;
    let along = Directions::new(&case.problem).shared(case.problem.layout().log_lr).each(case.problem.layout().l2_log);
    let engine = Device::new(CpuEngine::new(0));
    let with = |memory| estimate_on(&engine, &case, Reverse { memory }, &along).unwrap();
    let (revolve, stored) = (with(Memory::Slots(16)), with(Memory::StoreAll));
    assert_eq!((revolve.counts.steps, revolve.counts.adjoints), (2860 + 1, 1000));
    assert_eq!((stored.counts.steps, stored.counts.adjoints), (1000, 1000));
    assert!(revolve.hypergradient.iter().all(|h| *h != 0.0));
    assert_eq!(revolve.hypergradient, stored.hypergradient);
    assert_eq!((revolve.outer_loss, &revolve.inner_losses), (stored.outer_loss, &stored.inner_losses));
    let states = |count: u64| count * 4 * (case.problem.state_len() as u64 + 1);
    assert!(stored.peak_bytes - revolve.peak_bytes >= states(1001 - 16 - 3), "the other states are not kept");
}

/// Every method, for so many directions.
fn methods(directions: usize) -> Vec<(&'static str, Box<dyn Method>)> {
    let all = Memory::StoreAll;
    vec![
        ("reverse", Reverse { memory: all }.into()),
        ("reverse, Revolve", Reverse { memory: Memory::Slots(2) }.into()),
        ("truncated", Truncated { last: 2, memory: all }.into()),
        ("truncated, Revolve", Truncated { last: 4, memory: Memory::Slots(2) }.into()),
        ("forward", Forward::for_directions(directions).into()),
        ("conjugate gradients", Implicit::new(Solver::ConjugateGradient, 3).warm().into()),
        ("normal equations", Implicit::new(Solver::NormalEquations, 2).into()),
        ("Neumann", Implicit::new(Solver::Neumann { rate: 0.1 }, 3).into()),
        ("fixed point", FixedPoint::new(3).into()),
        ("online", Online::new(Reverse { memory: all }).into()),
        ("real time", RealTime::new(directions).into()),
    ]
}

/// An outer iteration each: the counters after it.
fn counters_of_iterations(device: &Device, case: &Case, method: Box<dyn Method>, count: usize) -> Vec<Counters> {
    let layout = case.problem.layout();
    let along = Directions::new(&case.problem).each(layout.l2_log.clone()).each(layout.weights.clone());
    let places = layout.l2_log.chain(layout.weights);
    let mut lambda = case.lambda.clone();
    pollster::block_on(async {
        let mut session = Session::new(device, case.problem.clone(), &case.data, method).await.unwrap();
        let mut counters = vec![];
        for _ in 0..count {
            let estimate = session.estimate(&lambda, &along, &mut Unattended).await.unwrap();
            let moved = places.clone().zip(&estimate.hypergradient);
            moved.for_each(|(place, h)| lambda[place] -= 1e-3 * h);
            counters.push(session.device().counters());
        }
        counters
    })
}

/// What could grow is what is counted: arrays, their bytes, bindings.
fn nothing_is_added(device: &Device) {
    let case = RIDGE.case(optim::Momentum, 5, 0.1, &scalars(&optim::Momentum));
    let layout = case.problem.layout();
    for (name, method) in methods(layout.l2_log.len() + layout.weights.len()) {
        let counters = counters_of_iterations(device, &case, method, 100);
        let held = |c: &Counters| (c.bytes, c.buffers_created, c.bindings_made);
        let (first, last) = (&counters[0], &counters[99]);
        assert_eq!(held(first), held(last), "{name}: bytes, arrays made, bindings made");
        assert!(last.dispatches - first.dispatches >= 99 * 5, "{name} did work");
        let reads: Vec<u64> = counters.windows(2).map(|pair| pair[1].readbacks - pair[0].readbacks).collect();
        assert!(reads.iter().all(|count| *count == reads[0]), "{name}: read-backs {reads:?}");
    }
}

#[test]
fn a_hundred_outer_iterations_add_nothing_on_the_processor() {
    nothing_is_added(&Device::new(CpuEngine::new(0)));
}

#[test]
fn a_hundred_outer_iterations_add_nothing_on_the_gpu() {
    let Some(engine) = gpu() else { return };
    nothing_is_added(&Device::new(engine));
}

/// The bytes of every method are foreseen, which is what choosing one goes by.
#[test]
fn the_plan_foresees_the_bytes_of_every_method() {
    let case = RIDGE.case(optim::Momentum, 5, 0.1, &scalars(&optim::Momentum));
    let layout = case.problem.layout();
    let along = Directions::new(&case.problem).each(layout.l2_log.clone()).each(layout.weights.clone());
    for (name, method) in methods(along.len()) {
        let engine = Device::new(ReferenceEngine::new());
        pollster::block_on(async {
            let mut session = Session::new(&engine, case.problem.clone(), &case.data, method).await.unwrap();
            let estimate = session.estimate(&case.lambda, &along, &mut Unattended).await.unwrap();
            assert_eq!(estimate.peak_bytes, session.predicted_bytes(), "{name}");
        });
    }
}
