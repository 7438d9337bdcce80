//! Method × problem × dynamics. A new method is a new row of `methods`.

use stackelberg::bilevel::{
    Directions, Forward, Memory, Method, Problem, Reverse, Session, SolveError, Truncated, Unattended,
};
use stackelberg::nn::optim::Optimizer;
use stackelberg::reference::ReferenceEngine;

use crate::problems::{CLEANING, Case, LeastSquares, QUADRATIC, RIDGE, SKEWED, estimate, relative_error, scalars};

/// What a method's answer is held against.
#[derive(Clone, Copy, PartialEq)]
enum Truth {
    /// Differences of the outer loss after T steps.
    Unrolled,
}

struct Row {
    name: &'static str,
    make: fn(&Problem) -> Box<dyn Method>,
    truth: Truth,
    /// Whether it sees what acts through the training alone: rates, momentum, initial weights.
    sees_dynamics: bool,
}

fn methods() -> Vec<Row> {
    let unrolled = |name, make| Row { name, make, truth: Truth::Unrolled, sees_dynamics: true };
    vec![
        unrolled("reverse, all states", |_| Reverse { memory: Memory::StoreAll }.into()),
        unrolled("reverse, Revolve", |_| Reverse { memory: Memory::Slots(2) }.into()),
        unrolled("truncated to all steps", |p| Truncated { last: p.steps, memory: Memory::StoreAll }.into()),
        unrolled("forward, one at a time", |_| Forward { width: 1 }.into()),
        unrolled("forward, together", |p| Forward::for_directions(dynamics(p).len()).into()),
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

/// Fourth-order differences of the outer loss along every direction.
fn differences(case: &Case, along: &Directions) -> Vec<f64> {
    let mut engine = ReferenceEngine::new();
    pollster::block_on(async {
        let memory = Memory::Slots(1);
        let mut session = Session::new(&mut engine, case.problem.clone(), &case.data, memory).await.unwrap();
        let mut differences = vec![];
        for k in 0..along.len() {
            let mut at = [0.0; 4];
            let h = 1e-3;
            for (loss, step) in at.iter_mut().zip([h, -h, 2.0 * h, -2.0 * h]) {
                let mut moved = case.lambda.clone();
                for &(place, factor) in along.entries(k) {
                    let stackelberg::bilevel::Coordinate::Lambda(i) = place else { unreachable!("in λ alone") };
                    moved[i] += step * factor;
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
    let mut told = 0;
    for (problem_name, least_squares) in PROBLEMS {
        for optimizer in Optimizer::ALL {
            let case = least_squares.case(optimizer, 9, 0.1, scalars(optimizer));
            let along = dynamics(&case.problem);
            let unrolled = differences(&case, &along);
            for row in methods() {
                let what = format!("{}, {problem_name}, {optimizer:?}", row.name);
                let answer = estimate(&case, (row.make)(&case.problem), &along);
                if !row.sees_dynamics {
                    assert!(matches!(answer, Err(SolveError::Refused(_))), "{what} must refuse");
                    continue;
                }
                let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
                if row.truth == Truth::Unrolled {
                    let error = relative_error(&answer.hypergradient, &unrolled);
                    assert!(error < 1e-7, "{what}: {error:e} off the differences");
                    told += 1;
                }
            }
        }
    }
    assert!(told >= PROBLEMS.len() * Optimizer::ALL.len() * 5);
}

/// The methods that differentiate all steps agree to rounding, initial weights included.
#[test]
fn exact_methods_agree_to_rounding() {
    for optimizer in Optimizer::ALL {
        let case = SKEWED.case(optimizer, 12, 0.1, scalars(optimizer));
        let along = dynamics(&case.problem).initial_weights().initial_scale(&case.data.initial);
        let exact = methods().into_iter().filter(|row| row.truth == Truth::Unrolled && row.sees_dynamics);
        let answers: Vec<_> =
            exact.map(|row| (row.name, estimate(&case, (row.make)(&case.problem), &along).unwrap())).collect();
        for (name, answer) in &answers[1..] {
            let error = relative_error(&answer.hypergradient, &answers[0].1.hypergradient);
            assert!(error < 1e-12, "{name}, {optimizer:?}: {error:e} off {}", answers[0].0);
            assert_eq!(answer.outer_loss, answers[0].1.outer_loss);
        }
    }
}
