//! Online variants: with hyperparameters that do not change, two estimates of T steps are one training
//! of 2T steps, of which it is known what is differentiated.

use stackelberg::bilevel::{
    Directions, Estimate, Forward, Implicit, Memory, Method, Online, RealTime, Reverse, Session, SolveError, Solver,
    Truncated, Unattended,
};
use stackelberg::nn::optim;
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;

use crate::problems::{Case, SKEWED, estimate, relative_error, scalars};

const ALL_STATES: Memory = Memory::StoreAll;

fn all_that_lasts(case: &Case) -> Directions {
    let layout = case.problem.layout();
    let along = Directions::new(&case.problem).shared(layout.log_lr).each(layout.l2_log).each(layout.weights);
    along.each(layout.scalars)
}

/// Two estimates in a row.
fn twice(case: &Case, method: impl Into<Box<dyn Method>>) -> [Estimate; 2] {
    let (engine, along) = (Device::new(ReferenceEngine::new()), all_that_lasts(case));
    pollster::block_on(async {
        let mut session = Session::new(&engine, case.problem.clone(), &case.data, method).await.unwrap();
        let first = session.estimate(&case.lambda, &along, &mut Unattended).await.unwrap();
        [first, session.estimate(&case.lambda, &along, &mut Unattended).await.unwrap()]
    })
}

fn same(a: &Estimate, b: &Estimate, what: &str) {
    assert_eq!(a.outer_loss, b.outer_loss, "{what}");
    let error = relative_error(&a.hypergradient, &b.hypergradient);
    assert!(error < 1e-12, "{what}: {error:e}");
}

#[test]
fn two_estimates_are_one_training_of_twice_the_length() {
    for optimizer in optim::every() {
        for steps in [5, 6] {
            let at = |steps| {
                let mut case = SKEWED.case(optimizer.clone(), steps, 0.1, &scalars(&*optimizer));
                // Minibatches, drawn anew in the second half.
                case.problem.batch = 2;
                case
            };
            let (short, long) = (at(steps), at(2 * steps));
            let alone = |method: Box<dyn Method>| estimate(&long, method, &all_that_lasts(&long)).unwrap();
            let whole = alone(Reverse { memory: ALL_STATES }.into());
            let half = alone(Truncated { last: steps, memory: ALL_STATES }.into());
            let what = |name: &str| format!("{name}, {optimizer:?}, {steps}");

            let width = all_that_lasts(&short).len();
            let [first, second] = twice(&short, RealTime::new(width));
            same(&first, &estimate(&short, Forward { width }, &all_that_lasts(&short)).unwrap(), &what("a first one"));
            same(&second, &whole, &what("real time"));
            assert_eq!(second.inner_losses, whole.inner_losses[steps..]);
            for memory in [ALL_STATES, Memory::Slots(2)] {
                same(&twice(&short, Online::new(Reverse { memory }))[1], &half, &what("warm restart, reverse"));
            }
            same(&twice(&short, Online::new(Forward { width: 2 }))[1], &half, &what("warm restart, forward"));
            let truncated = Truncated { last: 3, memory: ALL_STATES };
            same(&twice(&short, Online::new(truncated))[1], &alone(truncated.into()), &what("truncated online"));
        }
    }
}

#[test]
fn one_term_follows_the_training() {
    let case = SKEWED.case(optim::Sgd, 1, 0.1, &[]);
    let layout = case.problem.layout();
    let along = Directions::new(&case.problem).each(layout.l2_log).each(layout.weights);
    let engine = Device::new(ReferenceEngine::new());
    let values = pollster::block_on(async {
        let method = Online::new(Implicit::t1_t2(0.1));
        let mut session = Session::new(&engine, case.problem.clone(), &case.data, method).await.unwrap();
        session.estimate(&case.lambda, &along, &mut Unattended).await.unwrap();
        session.estimate(&case.lambda, &along, &mut Unattended).await.unwrap()
    });
    let after_two = SKEWED.case(optim::Sgd, 2, 0.1, &[]);
    let layout = after_two.problem.layout();
    let along = Directions::new(&after_two.problem).each(layout.l2_log).each(layout.weights);
    let one_term = Implicit::new(Solver::Neumann { rate: 0.1 }, 1);
    same(&values, &estimate(&after_two, one_term, &along).unwrap(), "T1–T2");
}

#[test]
fn a_training_that_diverged_is_taken_again() {
    let case = SKEWED.case(optim::Sgd, 6, 0.1, &[]);
    let along = all_that_lasts(&case);
    let mut wild = case.lambda.clone();
    wild[case.problem.layout().log_lr].fill(300.0);
    let engine = Device::new(ReferenceEngine::new());
    let (bad, good, fresh) = pollster::block_on(async {
        let method = Online::new(Reverse { memory: ALL_STATES });
        let mut session = Session::new(&engine, case.problem.clone(), &case.data, method).await.unwrap();
        session.estimate(&case.lambda, &along, &mut Unattended).await.unwrap();
        let bad = session.estimate(&wild, &along, &mut Unattended).await.unwrap();
        let good = session.estimate(&case.lambda, &along, &mut Unattended).await.unwrap();
        (bad, good, twice(&case, Online::new(Reverse { memory: ALL_STATES }))[1].clone())
    });
    assert!(bad.bad_step.is_some_and(|step| step < 6) && bad.hypergradient.is_empty());
    same(&good, &fresh, "after a divergence");
}

#[test]
fn what_has_no_part_in_later_estimates_is_refused() {
    let case = SKEWED.case(optim::Sgd, 6, 0.1, &[]).starting();
    let initial = Directions::new(&case.problem).each(case.problem.layout().initial_weights);
    let refused = |method: Box<dyn Method>, along| match estimate(&case, method, along) {
        Err(SolveError::Refused(refusal)) => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(Online::new(Reverse { memory: ALL_STATES }).into(), &initial).contains("initial weights"));
    assert!(refused(RealTime::new(9).into(), &initial).contains("initial weights"));
    assert!(refused(RealTime::new(2).into(), &all_that_lasts(&case)).contains("2 directions"));
}
