//! Method × problem × dynamics. A new method is a new row of `methods`.

use stackelberg::bilevel::{
    Blueprint, Counts, Directions, FixedPoint, Forward, Implicit, Memory, Method, Problem, Reverse, Session,
    SolveError, Solver, Truncated, Unattended, Watched,
};
use stackelberg::nn::optim;
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;

use crate::problems::{CLEANING, Case, LeastSquares, QUADRATIC, RIDGE, SKEWED, estimate, relative_error, scalars};

/// What a method's answer is held against.
#[derive(Clone, Copy, PartialEq)]
enum Truth {
    /// Differences of the outer loss after T steps.
    Unrolled,
    /// Reverse mode through a training that has settled. Such methods see only what acts through the
    /// loss, and refuse the rest.
    Settled,
}

struct Row {
    name: &'static str,
    make: fn(&Problem) -> Box<dyn Method>,
    truth: Truth,
}

fn methods() -> Vec<Row> {
    let unrolled = |name, make| Row { name, make, truth: Truth::Unrolled };
    let settled = |name, make| Row { name, make, truth: Truth::Settled };
    vec![
        unrolled("reverse, all states", |_| Reverse { memory: Memory::StoreAll }.into()),
        unrolled("reverse, Revolve", |_| Reverse { memory: Memory::Slots(2) }.into()),
        unrolled("reverse, watched", |_| {
            Watched { memory: Memory::Slots(2), every: 3, look: |_: &_, _, _: &[f64]| {} }.into()
        }),
        unrolled("truncated to all steps", |p| Truncated { last: p.steps, memory: Memory::StoreAll }.into()),
        unrolled("forward, one at a time", |_| Forward { width: 1 }.into()),
        unrolled("forward, together", |p| Forward::for_directions(dynamics(p).len()).into()),
        settled("conjugate gradients", |_| Implicit::new(Solver::ConjugateGradient, 4).into()),
        settled("normal equations", |_| Implicit::new(Solver::NormalEquations, 4).into()),
        settled("Neumann", |_| Implicit::new(Solver::Neumann { rate: 0.2 }, 100).into()),
        settled("fixed point", |_| FixedPoint::new(300).into()),
    ]
}

const PROBLEMS: [(&str, LeastSquares); 4] =
    [("quadratic", QUADRATIC), ("ridge", RIDGE), ("skewed", SKEWED), ("cleaning", CLEANING)];

/// What acts through the loss: penalties and example weights.
fn losses(problem: &Problem) -> Directions {
    let layout = problem.layout();
    Directions::new(problem).each(layout.l2_log).each(layout.weights)
}

/// All that acts: losses, schedules, scalars.
fn dynamics(problem: &Problem) -> Directions {
    let layout = problem.layout();
    let rates = losses(problem).shared(layout.log_lr.clone()).log_lr_steps(problem).log_lr_layers(problem);
    rates.each(layout.scalars)
}

/// What a method says that it will run.
fn foreseen(row: &Row, case: &Case, along: &Directions) -> Counts {
    let problem = &case.problem;
    let blueprint = Blueprint::new(problem, case.data.validation.count, (row.make)(problem)).unwrap();
    (row.make)(problem).counts(problem, &blueprint.checkpoints, along.len())
}

/// Fourth-order differences of the outer loss along every direction.
fn differences(case: &Case, along: &Directions) -> Vec<f64> {
    let engine = Device::new(ReferenceEngine::new());
    pollster::block_on(async {
        let memory = Memory::Slots(1);
        let mut session = Session::new(&engine, case.problem.clone(), &case.data, memory).await.unwrap();
        let mut differences = vec![];
        for k in 0..along.len() {
            let mut at = [0.0; 4];
            let h = 3e-5;
            for (loss, step) in at.iter_mut().zip([h, -h, 2.0 * h, -2.0 * h]) {
                let mut moved = case.lambda.clone();
                for &(place, factor) in along.entries(k) {
                    moved[place] += step * factor;
                }
                *loss = session.train(&moved, &mut Unattended).await.unwrap().outer_loss;
            }
            differences.push((8.0 * (at[0] - at[1]) - (at[2] - at[3])) / (12.0 * h));
        }
        differences
    })
}

#[test]
fn every_method_on_every_problem_with_every_dynamics() {
    for (problem, least_squares) in PROBLEMS {
        // By cosines, a momentum that moves jumps where the rates of the first two steps differ: what the last step moved by is
        // rebuilt with the rate of this one, so there is no derivative by rates of single steps.
        for optimizer in optim::every().into_iter().filter(|optimizer| !optimizer.name().ends_with("-hd-cosine")) {
            let short = least_squares.case(optimizer.clone(), 9, 0.1, &scalars(&*optimizer));
            let along = dynamics(&short.problem);
            let unrolled = differences(&short, &along);
            for row in methods() {
                let what = format!("{}, {problem}, {optimizer:?}", row.name);
                let answer = estimate(&short, (row.make)(&short.problem), &along);
                match row.truth {
                    Truth::Unrolled => {
                        let answer = answer.unwrap();
                        near(&answer.hypergradient, &unrolled, &what);
                        assert_eq!(answer.counts, foreseen(&row, &short, &along), "{what}");
                    }
                    Truth::Settled => assert!(matches!(answer, Err(SolveError::Refused(_))), "{what} must refuse"),
                }
            }
        }
    }
}

#[test]
fn methods_for_a_solved_inner_problem_agree_there() {
    // Adam's second moments settle too slowly, and a learning rate that has moved stays where it is.
    let settling = optim::plain().into_iter().filter(|optimizer| !optimizer.name().starts_with("adam"));
    for optimizer in settling {
        for (problem, least_squares) in PROBLEMS {
            let case = least_squares.case(optimizer.clone(), 300, 0.1, &scalars(&*optimizer));
            let along = losses(&case.problem);
            let reverse = estimate(&case, Reverse { memory: Memory::StoreAll }, &along).unwrap();
            for row in methods().into_iter().filter(|row| row.truth == Truth::Settled) {
                let what = format!("{}, {problem}, {optimizer:?}", row.name);
                let answer = estimate(&case, (row.make)(&case.problem), &along).unwrap();
                assert_eq!(answer.counts, foreseen(&row, &case, &along), "{what}");
                assert!(answer.residual.unwrap() < 1e-8, "{what}: residual {:?}", answer.residual);
                near(&answer.hypergradient, &reverse.hypergradient, &what);
            }
        }
    }
}

fn near(got: &[f64], wanted: &[f64], what: &str) {
    let error = relative_error(got, wanted);
    assert!(error < 1e-7, "{what}: {error:e} off");
}

/// The methods that differentiate all steps agree to rounding, initial weights included.
#[test]
fn exact_methods_agree_to_rounding() {
    for optimizer in optim::every() {
        let case = SKEWED.case(optimizer.clone(), 12, 0.1, &scalars(&*optimizer)).starting();
        let layout = case.problem.layout();
        let along = dynamics(&case.problem).each(layout.initial_weights).each(layout.initial_scale_log);
        let exact = methods().into_iter().filter(|row| row.truth == Truth::Unrolled);
        let answers: Vec<_> =
            exact.map(|row| (row.name, estimate(&case, (row.make)(&case.problem), &along).unwrap())).collect();
        for (name, answer) in &answers[1..] {
            let error = relative_error(&answer.hypergradient, &answers[0].1.hypergradient);
            assert!(error < 1e-12, "{name}, {optimizer:?}: {error:e} off {}", answers[0].0);
            assert_eq!(answer.outer_loss, answers[0].1.outer_loss);
        }
    }
}
