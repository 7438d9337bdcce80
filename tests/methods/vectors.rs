//! The test vectors V1 to V5 of the specification, and what is known of truncation.

use stackelberg::bilevel::{Directions, Forward, Memory, Method, Reverse, SolveError, Truncated};
use stackelberg::nn::optim::{self, Dynamics, Epsilon};

use crate::problems::{CLEANING, Case, QUADRATIC, RIDGE, SKEWED, against_each_other, estimate, relative_error};

const REVERSE: Reverse = Reverse { memory: Memory::StoreAll };

/// A number as the specification prints it, in all its digits.
#[track_caller]
fn printed(got: f64, wanted: f64, digits: i32) {
    let off = (got - wanted).abs();
    assert!(off <= 0.51 * 10f64.powi(-digits), "{got} is not {wanted}: {off:e}");
}

#[track_caller]
fn close(got: f64, wanted: f64) {
    assert!((got - wanted).abs() <= 1e-10 * wanted.abs(), "{got} is not {wanted}");
}

fn truncated(last: usize) -> Truncated {
    Truncated { last, memory: Memory::StoreAll }
}

#[test]
fn v1_a_scalar_quadratic_by_gradient_descent() {
    let case = QUADRATIC.case(optim::Sgd, 5, 0.1, &[]).starting();
    let layout = case.problem.layout();
    let along = against_each_other(&case.problem).shared(layout.log_lr).each(layout.initial_weights);
    for method in [Box::<dyn Method>::from(REVERSE), Forward { width: 2 }.into()] {
        let answer = estimate(&case, method, &along).unwrap();
        close(0.5 * answer.outer_loss, 0.1271289888);
        let [by_lambda, by_log_rate, by_start] = answer.hypergradient[..] else { panic!("three directions") };
        close(0.5 * by_lambda, 0.1695053184);
        close(0.5 * by_log_rate / 0.1, 1.54902528);
        close(0.5 * by_start, 0.1652293632);
        // The closed forms.
        let (rho, fixed) = (0.8f64, 0.75);
        let w = fixed * (1.0 - rho.powi(5));
        close(0.5 * by_lambda, w * 0.1 * (1.0 - rho.powi(5)) / (1.0 - rho));
        close(0.5 * by_log_rate / 0.1, w * 5.0 * 2.0 * rho.powi(4) * fixed);
    }
    let along = against_each_other(&case.problem);
    for (k, wanted) in [0.050424, 0.0907632, 0.12303456, 0.148851648, 0.1695053184].into_iter().enumerate() {
        close(0.5 * estimate(&case, truncated(k + 1), &along).unwrap().hypergradient[0], wanted);
    }
}

#[test]
fn v2_the_same_with_momentum() {
    let case = QUADRATIC.case(optim::Momentum, 5, 0.1, &[0.9]).starting();
    let layout = case.problem.layout();
    let along = against_each_other(&case.problem).shared(layout.log_lr).each(layout.scalars);
    let along = along.each(layout.initial_weights);
    let answer = estimate(&case, REVERSE, &along).unwrap();
    printed(0.5 * answer.outer_loss, 0.70248582461, 11);
    let [by_lambda, by_log_rate, by_momentum, by_start] = answer.hypergradient[..] else { panic!("four directions") };
    printed(0.5 * by_lambda, 0.93664776615, 11);
    printed(0.5 * by_log_rate / 0.1, 6.31838087325, 11);
    close(0.5 * by_momentum, 1.861892802);
    printed(0.5 * by_start, -0.6879805323, 10);
}

/// dE/dλ of V3 at the solution of the inner problem.
pub const RIDGE_AT_SOLUTION: f64 = -0.637288825565;

#[test]
fn v3_ridge_regression() {
    let at = |steps| {
        let case = RIDGE.case(optim::Sgd, steps, 0.2, &[]);
        let along = Directions::new(&case.problem).each(case.problem.layout().l2_log);
        estimate(&case, REVERSE, &along).unwrap()
    };
    printed(at(5).hypergradient[0], -0.5330847744, 10);
    printed(at(10).hypergradient[0], -0.6334836393, 10);
    printed(at(20).hypergradient[0], -0.6372858196, 10);
    assert!((at(40).hypergradient[0] - RIDGE_AT_SOLUTION).abs() < 3e-12);
    printed(at(60).outer_loss, 0.68685121107, 11);
}

/// V4: every scalar of Adam, heavy ball and Nesterov, with more digits than the specification prints: derivatives by
/// complex steps of 10⁻³⁰ in another program. They confirm what it prints but for the last three digits of Adam's
/// derivatives in λ.
#[test]
fn v4_adam_heavy_ball_and_nesterov() {
    // Derivatives in rate, scalars, λ, and both initial weights.
    const OUTSIDE: [f64; 7] = [
        -1.8715041858875,
        -3.1820199154304e-2,
        2.6562172063593e-2,
        8.9939686948872e-2,
        -4.0337925736793e-4,
        1.1987792529847e-1,
        2.0402539229153e-1,
    ];
    const INSIDE: [f64; 7] = [
        -1.8693296306672,
        -3.1794032725398e-2,
        2.6553490721680e-2,
        4.7214089944489e-5,
        -3.8812140041803e-4,
        1.1961991706920e-1,
        2.0384367755415e-1,
    ];
    const HEAVY_BALL: [f64; 5] =
        [16.166298935071, 5.7784321297795, -7.2326056078249e-2, 2.2789213183229e-1, 3.8642080195953e-1];
    const NESTEROV: [f64; 5] =
        [9.0147739385375, 4.1359637579639, -2.6453650117623e-1, -7.6785338281408e-3, 2.2437002851510e-1];
    let adam = [0.9, 0.99, 1e-3];
    let rows: [(Dynamics, &[f64], &[f64], f64); 4] = [
        (optim::Adam(Epsilon::Outside).into(), &adam, &OUTSIDE, 0.02990724695684588),
        (optim::Adam(Epsilon::Inside).into(), &adam, &INSIDE, 0.029817364551671124),
        (optim::HeavyBall.into(), &[0.8], &HEAVY_BALL, 1.3661296175614615),
        (optim::Nesterov.into(), &[0.8], &NESTEROV, 1.1054948155346962),
    ];
    for (optimizer, scalars, derivatives, loss) in rows {
        let case = SKEWED.case(optimizer, 6, 0.1, scalars).starting();
        let layout = case.problem.layout();
        let along = Directions::new(&case.problem).shared(layout.log_lr).each(layout.scalars).each(layout.l2_log);
        let answer = estimate(&case, REVERSE, &along.each(layout.initial_weights)).unwrap();
        close(0.01 * answer.outer_loss, loss);
        assert_eq!(answer.hypergradient.len(), derivatives.len());
        for (k, (&got, &wanted)) in answer.hypergradient.iter().zip(derivatives).enumerate() {
            close(0.01 * got / if k == 0 { 0.1 } else { 1.0 }, wanted);
        }
    }
}

/// V5 at the solution w* = −¼, which a long training reaches.
pub const CLEANING_AT_SOLUTION: [f64; 3] = [-0.1953125, -0.1953125, 0.4296875];

/// Logits of V5: dωᵢ/dλᵢ = 1.5 σ′(0).
pub fn logits(case: &Case) -> Directions {
    let mut along = Directions::new(&case.problem);
    for i in case.problem.layout().weights {
        along.push([(i, 0.375)]);
    }
    along
}

#[test]
fn v5_the_outlier_loses_weight() {
    let case = CLEANING.case(optim::Sgd, 80, 0.3, &[]);
    let answer = estimate(&case, REVERSE, &logits(&case)).unwrap();
    let halved: Vec<f64> = answer.hypergradient.iter().map(|h| 0.5 * h).collect();
    assert!(relative_error(&halved, &CLEANING_AT_SOLUTION) < 1e-10);
}

#[test]
fn the_error_of_truncation_falls_with_the_contraction() {
    let case = RIDGE.case(optim::Sgd, 200, 0.1, &[]);
    let along = Directions::new(&case.problem).each(case.problem.layout().l2_log);
    let error = |last| (estimate(&case, truncated(last), &along).unwrap().hypergradient[0] - RIDGE_AT_SOLUTION).abs();
    let printed = [(1, 0.46462), (2, 0.33902), (5, 0.13193), (10, 0.027400), (20, 0.0011820), (40, 2.2e-6)];
    for (last, wanted) in printed {
        let got: f64 = error(last);
        assert!((got - wanted).abs() < 3e-2 * wanted && (last > 20 || (got - wanted).abs() < 6e-4 * wanted), "{got}");
    }
    // ρ = 1 − 0.1 · the smallest eigenvalue.
    let slope = (error(40) / error(20)).ln() / 20.0;
    assert!((slope - 0.7302775637731995f64.ln()).abs() < 2e-3, "slope {slope}");
}

#[test]
fn truncation_refuses_what_acts_before_it() {
    let case = RIDGE.case(optim::Sgd, 9, 0.1, &[]).starting();
    let initial = || Directions::new(&case.problem).each(case.problem.layout().initial_weights);
    let refusal = |along: Directions| match estimate(&case, truncated(4), &along) {
        Err(SolveError::Refused(refusal)) => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    let none = || Directions::new(&case.problem);
    assert!(refusal(initial()).contains("reverse mode"));
    assert!(refusal(none().log_lr_steps(&case.problem)).contains("only the last 4 of 9 steps"));
    // A rate that all steps share is seen in the last ones.
    assert!(estimate(&case, truncated(4), &none().shared(case.problem.layout().log_lr)).is_ok());
    assert!(estimate(&case, truncated(9), &initial()).is_ok());
}

#[test]
fn costs_are_those_of_the_method() {
    let case = RIDGE.case(optim::Momentum, 20, 0.1, &[0.5]);
    let along = Directions::new(&case.problem).each(case.problem.layout().weights);
    let counts = |method: Box<dyn Method>| {
        let counts = estimate(&case, method, &along).unwrap().counts;
        (counts.steps, counts.adjoints, counts.tangents)
    };
    assert_eq!(counts(REVERSE.into()), (20, 20, 0));
    assert_eq!(counts(truncated(7).into()), (20, 7, 0));
    assert_eq!(counts(Forward { width: 2 }.into()), (40, 0, 60));
    assert_eq!(counts(Forward { width: 3 }.into()), (20, 0, 60));
}
