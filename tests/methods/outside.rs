//! A method that is written outside the crate (`examples/averaged_truncation`), in the rows that suit it.

use stackelberg::bilevel::{Directions, Memory, SolveError, Truncated};
use stackelberg::nn::optim;

use crate::averaged::AveragedTruncation;
use crate::problems::{CLEANING, QUADRATIC, RIDGE, SKEWED, estimate, relative_error, scalars};

fn along(problem: &stackelberg::bilevel::Problem) -> Directions {
    let layout = problem.layout();
    let losses = Directions::new(problem).each(layout.l2_log).each(layout.weights);
    losses.shared(layout.log_lr).each(layout.scalars)
}

#[test]
fn at_one_point_it_is_truncation_to_one_step() {
    for least_squares in [QUADRATIC, RIDGE, SKEWED, CLEANING] {
        for optimizer in optim::every() {
            // After a single step there is nothing that truncation could miss.
            for steps in [1, 6] {
                let case = least_squares.case(optimizer.clone(), steps, 0.1, &scalars(&*optimizer));
                let along = along(&case.problem);
                let wanted = estimate(&case, Truncated { last: 1, memory: Memory::StoreAll }, &along).unwrap();
                let got = estimate(&case, AveragedTruncation { points: 1 }, &along).unwrap();
                let error = relative_error(&got.hypergradient, &wanted.hypergradient);
                assert!(error < 1e-12, "{optimizer:?}, {steps} steps: {error:e}");
                assert_eq!(got.counts, wanted.counts);
                assert_eq!(got.outer_loss, wanted.outer_loss);
            }
        }
    }
}

#[test]
fn at_several_points_it_is_the_mean_of_shorter_trainings() {
    let momentum = || RIDGE.case(optim::Momentum, 9, 0.1, &[0.6]);
    let case = momentum();
    let along = along(&case.problem);
    let averaged = estimate(&case, AveragedTruncation { points: 3 }, &along).unwrap();
    let mut mean = vec![0.0; along.len()];
    for steps in [9, 8, 7] {
        let shorter = RIDGE.case(optim::Momentum, steps, 0.1, &[0.6]);
        let along = self::along(&shorter.problem);
        let one = estimate(&shorter, Truncated { last: 1, memory: Memory::StoreAll }, &along).unwrap();
        mean.iter_mut().zip(&one.hypergradient).for_each(|(mean, h)| *mean += h / 3.0);
    }
    let error = relative_error(&averaged.hypergradient, &mean);
    assert!(error < 1e-12, "{error:e}: {:?} {mean:?}", averaged.hypergradient);
    let start = Directions::new(&case.clone().starting().problem)
        .each(case.problem.layout().len()..case.problem.layout().len() + 1);
    assert!(matches!(
        estimate(&case.starting(), AveragedTruncation { points: 3 }, &start),
        Err(SolveError::Refused(_))
    ));
}
