//! Implicit differentiation: vectors V1, V3 and V5, its solvers, its refusals.

use stackelberg::bilevel::{
    Directions, Estimate, FixedPoint, Hoag, Implicit, Loss, Memory, OuterOptimizer, Problem, Reverse, Session,
    SessionData, Set, SolveError, Solver, Targets, Truncated, Unattended,
};
use stackelberg::nn::optim;
use stackelberg::nn::{Layer, Model};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;
use stackelberg::rng::{Purpose, Stream};

use crate::problems::{CLEANING, Case, LeastSquares, QUADRATIC, RIDGE, against_each_other, estimate, relative_error};
use crate::vectors::{CLEANING_AT_SOLUTION, RIDGE_AT_SOLUTION, logits};

fn conjugate(iterations: usize) -> Implicit {
    Implicit::new(Solver::ConjugateGradient, iterations)
}

fn neumann(rate: f64, terms: usize) -> Implicit {
    Implicit::new(Solver::Neumann { rate }, terms)
}

fn penalty(case: &Case) -> Directions {
    Directions::new(&case.problem).each(case.problem.layout().l2_log)
}

#[test]
fn v1_the_formula_at_the_solution_and_before_it() {
    let at = |steps| {
        let case = QUADRATIC.case(optim::Sgd, steps, 0.1, &[]);
        0.5 * estimate(&case, conjugate(1), &against_each_other(&case.problem)).unwrap().hypergradient[0]
    };
    assert!((at(5) - 0.25212).abs() < 1e-12);
    assert!((at(200) - 0.375).abs() < 1e-12);
}

#[test]
fn v3_conjugate_gradients_and_neumann_series() {
    let case = RIDGE.case(optim::Sgd, 200, 0.2, &[]);
    let answer = estimate(&case, conjugate(2), &penalty(&case)).unwrap();
    assert!((answer.hypergradient[0] - RIDGE_AT_SOLUTION).abs() < 1e-12, "{answer:?}");
    assert!(answer.residual.unwrap() < 1e-12);
    for (terms, wanted) in [(1, -0.34532872), (5, -0.62413066), (10, -0.63701612), (20, -0.63728871)] {
        let got = estimate(&case, neumann(0.2, terms), &penalty(&case)).unwrap().hypergradient[0];
        assert!((got - wanted).abs() < 5.1e-9, "{terms} terms: {got}, not {wanted}");
    }
}

#[test]
fn v5_the_outlier_loses_weight() {
    let case = CLEANING.case(optim::Sgd, 80, 0.3, &[]);
    let answer = estimate(&case, conjugate(1), &logits(&case)).unwrap();
    let halved: Vec<f64> = answer.hypergradient.iter().map(|h| 0.5 * h).collect();
    assert!(relative_error(&halved, &CLEANING_AT_SOLUTION) < 1e-10);
}

/// At a stationary point, K terms of Neumann's series at the training's rate, K iterations of its fixed
/// point, and its last K steps are the same.
#[test]
fn series_fixed_point_and_truncation_are_one() {
    let case = RIDGE.case(optim::Sgd, 300, 0.1, &[]);
    let along = penalty(&case).each(case.problem.layout().weights);
    for depth in [1, 2, 7, 30] {
        let series = estimate(&case, neumann(0.1, depth), &along).unwrap().hypergradient;
        let iterated = estimate(&case, FixedPoint::new(depth), &along).unwrap().hypergradient;
        let truncated = Truncated { last: depth, memory: Memory::StoreAll };
        let truncated = estimate(&case, truncated, &along).unwrap().hypergradient;
        assert!(relative_error(&iterated, &series) < 1e-11 && relative_error(&truncated, &series) < 1e-11, "{depth}");
    }
}

#[test]
fn implicit_and_unrolled_meet_geometrically() {
    let gap = |steps| {
        let case = RIDGE.case(optim::Sgd, steps, 0.1, &[]);
        let unrolled = estimate(&case, Reverse { memory: Memory::StoreAll }, &penalty(&case)).unwrap();
        let implicit = estimate(&case, conjugate(2), &penalty(&case)).unwrap();
        (unrolled.hypergradient[0] - implicit.hypergradient[0]).abs()
    };
    let gaps: Vec<f64> = [20, 40, 60].map(gap).to_vec();
    // The factor ρ^20 with ρ = 0.73 is 1/540; a factor T goes with it.
    assert!(gaps[1] < gaps[0] / 200.0 && gaps[2] < gaps[1] / 200.0, "{gaps:?}");
}

/// Regression of 300 examples: three chunks, the last not full.
fn many_examples(optimizer: impl Into<optim::Dynamics>, steps: usize, scalars: &[f64]) -> Case {
    let mut stream = Stream::new(6, Purpose::Search, 1);
    let mut set = |count: usize| {
        let x: Vec<f32> = (0..4 * count).map(|_| stream.normal() as f32).collect();
        let y = x.chunks(4).map(|x| x[0] - 2.0 * x[2] + 0.3 * x[1] * x[3]).collect();
        Set { x: x.into(), targets: Targets::Values(y), count }
    };
    let layer = Layer::Dense { name: "dense".into(), inputs: 4, outputs: 1, bias: true };
    let model = Model::new(vec![layer], &[4]).unwrap();
    let problem =
        Problem { l2: true, weights: true, ..Problem::new(model, Loss::MeanSquaredError, optimizer, steps, 300) };
    let data = SessionData {
        train: set(300),
        validation: set(150),
        initial: vec![0.1; 5],
        seed: 1,
        batches: vec![],
        masks: vec![],
    };
    let layout = problem.layout();
    let mut lambda = vec![0.1f64.ln(); layout.len()];
    lambda[layout.scalars].copy_from_slice(scalars);
    lambda[layout.weights].iter_mut().enumerate().for_each(|(i, w)| *w = 0.5 + 0.003 * i as f64);
    Case { problem, data, lambda }
}

#[test]
fn products_go_over_all_examples() {
    let case = many_examples(optim::Momentum, 250, &[0.6]);
    let layout = case.problem.layout();
    let along = Directions::new(&case.problem).each(layout.l2_log).each(layout.weights);
    let reverse = estimate(&case, Reverse { memory: Memory::StoreAll }, &along).unwrap();
    for solver in [Solver::ConjugateGradient, Solver::NormalEquations] {
        let answer = estimate(&case, Implicit::new(solver, 5), &along).unwrap();
        let error = relative_error(&answer.hypergradient, &reverse.hypergradient);
        assert!(error < 1e-9, "{solver:?}: {error:e}");
    }
}

/// One positive and one negative eigenvalue.
const SADDLE: LeastSquares = LeastSquares { weights: &[1.5, 1.5, -1.5], l2: Some(-3.0), ..RIDGE };

#[test]
fn normal_equations_and_damping_serve_where_the_hessian_is_indefinite() {
    let case = SADDLE.case(optim::Sgd, 3, 0.01, &[]);
    let residual = |method: Implicit| estimate(&case, method, &penalty(&case)).unwrap().residual.unwrap();
    assert!(residual(Implicit::new(Solver::NormalEquations, 2)) < 1e-12);
    // H + 4I is positive definite; two iterations solve two unknowns.
    assert!(residual(conjugate(2).damped(4.0)) < 1e-12);
    assert!(residual(conjugate(0)) == 1.0, "q = 0 leaves everything");
}

#[test]
fn a_solution_is_the_next_start() {
    let case = many_examples(optim::Momentum, 60, &[0.6]);
    let along = penalty(&case);
    let twice = |method: Box<dyn stackelberg::bilevel::Method>| -> [Estimate; 2] {
        let engine = Device::new(ReferenceEngine::new());
        pollster::block_on(async {
            let mut session = Session::new(&engine, case.problem.clone(), &case.data, method).await.unwrap();
            let first = session.estimate(&case.lambda, &along, &mut Unattended).await.unwrap();
            [first, session.estimate(&case.lambda, &along, &mut Unattended).await.unwrap()]
        })
    };
    let residual = |estimate: &Estimate| estimate.residual.unwrap();
    for method in [conjugate(2).warm().into(), neumann(0.1, 5).warm().into(), FixedPoint::new(20).warm().into()] {
        let [cold, warm] = twice(method);
        assert!(residual(&warm) < 0.5 * residual(&cold), "{warm:?} after {cold:?}");
    }
    for method in [conjugate(2).into(), FixedPoint::new(20).into()] {
        let [first, second] = twice(method);
        assert_eq!(first.hypergradient, second.hypergradient);
    }
}

#[test]
fn what_does_not_move_the_solution_is_refused() {
    let case = RIDGE.case(optim::Momentum, 5, 0.1, &[0.5]).starting();
    let layout = case.problem.layout();
    let none = || Directions::new(&case.problem);
    let unseen = [none().shared(layout.log_lr), none().each(layout.scalars), none().each(layout.initial_weights)];
    for (along, what) in unseen.into_iter().zip(["learning rate", "momentum", "initial weights"]) {
        let Err(SolveError::Refused(refusal)) = estimate(&case, conjugate(2), &along) else { panic!("{what}") };
        let message = refusal.to_string();
        assert!(message.contains(what) && message.contains("reverse mode"), "{message}");
    }
    let mut small_batches = case.clone();
    small_batches.problem.batch = 2;
    let along = penalty(&case);
    let refused = estimate(&small_batches, FixedPoint::new(3), &along);
    assert!(matches!(refused, Err(SolveError::Refused(refusal)) if refusal.reason.contains("batch")));
    assert!(estimate(&small_batches, conjugate(2), &along).is_ok());
}

#[test]
fn products_are_counted() {
    let case = RIDGE.case(optim::Sgd, 5, 0.1, &[]);
    let products = |method| estimate(&case, method, &penalty(&case)).unwrap().counts.products;
    // One to start with, one an iteration, one for the residual.
    assert_eq!(products(conjugate(7)), 9);
    assert_eq!(products(neumann(0.1, 7)), 8);
    assert_eq!(products(Implicit::new(Solver::NormalEquations, 7)), 17);
}

/// HOAG on V3: rough hypergradients at first, exact ones at the end, where the derivative in the
/// penalty vanishes; and less work than exact ones all the way take.
#[test]
fn hoag_finds_the_best_penalty_with_less_work() {
    let case = RIDGE.case(optim::Sgd, 20, 0.05, &[]);
    let penalty = penalty(&case);
    let place = case.problem.layout().l2_log.start;
    let run = |fixed: Option<f64>| {
        let method = Implicit::new(Solver::ConjugateGradient, 16).until(fixed.unwrap_or(1.0), 200);
        let engine = Device::new(ReferenceEngine::new());
        pollster::block_on(async {
            let mut session = Session::new(&engine, case.problem.clone(), &case.data, method).await.unwrap();
            let (mut hoag, mut lambda, mut steps) = (Hoag::new((-6.0, 6.0)), case.lambda.clone(), 0);
            let mut last = f64::NAN;
            for _ in 0..150 {
                let tolerance = fixed.or(hoag.tolerance()).unwrap();
                session.set_tolerance(tolerance);
                let estimate = session.estimate(&lambda, &penalty, &mut Unattended).await.unwrap();
                steps += estimate.counts.steps;
                if let Some(residual) = estimate.residual {
                    assert!(residual <= tolerance, "{residual} {tolerance}");
                    last = estimate.hypergradient[0];
                }
                let mut variable = [lambda[place]];
                hoag.step(&mut variable, estimate.outer_loss, &estimate.hypergradient);
                lambda[place] = variable[0];
            }
            (lambda[place], last, steps)
        })
    };
    let (rough, last, steps) = run(None);
    let (exact, _, all_steps) = run(Some(1e-12));
    assert!((rough - exact).abs() < 1e-4 && last.abs() < 1e-5, "{rough} {exact} {last}");
    assert!(steps < all_steps, "{steps} {all_steps}");
}

/// Training ends where the inner gradient is small enough, and says by its counts how long it took.
#[test]
fn training_goes_on_to_a_tolerance() {
    let case = RIDGE.case(optim::Sgd, 5, 0.1, &[]);
    let exact = Implicit::new(Solver::ConjugateGradient, 8);
    let settled = RIDGE.case(optim::Sgd, 400, 0.1, &[]);
    let wanted = estimate(&settled, exact.clone(), &penalty(&settled)).unwrap();
    let got = estimate(&case, exact.clone().until(1e-10, 1000), &penalty(&case)).unwrap();
    assert!(relative_error(&got.hypergradient, &wanted.hypergradient) < 1e-8);
    assert!(got.counts.steps > 5 && got.counts.steps < 400 && got.counts.steps.is_multiple_of(5), "{:?}", got.counts);
    let cut = estimate(&case, exact.until(1e-10, 3), &penalty(&case)).unwrap();
    assert_eq!(cut.counts.steps, 15);
}
