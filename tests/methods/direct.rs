//! Outer losses that see the hyperparameters directly: quadratic forms inside and out, known in closed form.

use stackelberg::bilevel::{
    Directions, Estimate, FixedPoint, Forward, Implicit, Memory, Method, Online, Quadratic, QuadraticForm, Reverse,
    Session, SolveError, Solver, Truncated, Unattended,
};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;

use crate::averaged::AveragedTruncation;
use crate::problems::relative_error;

const N: usize = 3;
const M: usize = 2;
const RATE: f64 = 0.25;

fn problem(steps: usize) -> Quadratic {
    Quadratic {
        inner: QuadraticForm {
            weights: vec![2.0, 0.5, 0.0, 0.5, 1.5, 0.25, 0.0, 0.25, 1.0],
            mixed: vec![1.0, -0.5, 0.0, 0.25, 0.0, 0.75],
            hyperparameters: vec![0.0; 4],
            linear: vec![-1.0, 0.5, 0.25],
        },
        outer: QuadraticForm {
            weights: vec![1.0, 0.0, 0.5, 0.0, 2.0, 0.0, 0.5, 0.0, 1.0],
            mixed: vec![0.5, 0.25, -1.0, 1.5, 0.0, 0.5],
            hyperparameters: vec![1.0, 0.25, 0.25, 3.0],
            linear: vec![0.5, -1.0, 0.0],
        },
        weights: N,
        hyperparameters: M,
        steps,
    }
}

const LAMBDA: [f64; M] = [0.5, -1.0];
const START: [f64; N] = [1.0, 0.0, -0.5];

fn point() -> Vec<f64> {
    [&[RATE.ln()][..], &LAMBDA, &START].concat()
}

type Vector = Vec<f64>;

/// Matrix · vector, or its transpose · vector.
fn times(matrix: &[f32], columns: usize, x: &[f64], transposed: bool) -> Vector {
    let rows = matrix.len() / columns;
    let entry = |i: usize, j: usize| f64::from(matrix[i * columns + j]);
    match transposed {
        false => (0..rows).map(|i| (0..columns).map(|j| entry(i, j) * x[j]).sum()).collect(),
        true => (0..columns).map(|j| (0..rows).map(|i| entry(i, j) * x[i]).sum()).collect(),
    }
}

fn plus(a: Vector, b: &[f64], factor: f64) -> Vector {
    a.into_iter().zip(b).map(|(a, b)| a + factor * b).collect()
}

/// What is known: weights after the training, and dE/d(log η, λ, w₀) through its last steps, its direct part apart.
struct Truth {
    weights: Vector,
    through: Vector,
    direct: Vector,
}

fn truth(problem: &Quadratic, last: usize) -> Truth {
    let (inner, outer) = (&problem.inner, &problem.outer);
    let slope = |w: &[f64]| {
        let line: Vector = inner.linear.iter().map(|&b| b.into()).collect();
        let sum = plus(times(&inner.weights, N, w, false), &times(&inner.mixed, N, &LAMBDA, true), 1.0);
        plus(sum, &line, 1.0)
    };
    let mut path = vec![START.to_vec()];
    for t in 0..problem.steps {
        path.push(plus(path[t].clone(), &slope(&path[t]), -RATE));
    }
    let end = path[problem.steps].clone();
    let line: Vector = outer.linear.iter().map(|&d| d.into()).collect();
    let gradient = plus(times(&outer.weights, N, &end, false), &times(&outer.mixed, N, &LAMBDA, true), 1.0);
    let mut cotangent = plus(gradient, &line, 1.0);
    let (mut by_rate, mut by_lambda) = (0.0, vec![0.0; M]);
    for t in (problem.steps - last..problem.steps).rev() {
        by_rate -= RATE * slope(&path[t]).iter().zip(&cotangent).map(|(g, c)| g * c).sum::<f64>();
        by_lambda = plus(by_lambda, &times(&inner.mixed, N, &cotangent, false), -RATE);
        let image = times(&inner.weights, N, &cotangent, false);
        cotangent = plus(cotangent, &image, -RATE);
    }
    let seen = plus(times(&outer.mixed, N, &end, false), &times(&outer.hyperparameters, M, &LAMBDA, false), 1.0);
    Truth {
        weights: end,
        through: [&[by_rate][..], &by_lambda, &cotangent].concat(),
        direct: [&[0.0][..], &seen, &[0.0; N]].concat(),
    }
}

fn estimate(
    problem: &Quadratic,
    method: impl Into<Box<dyn Method>>,
    along: &Directions,
) -> Result<(Estimate, Vector), SolveError> {
    pollster::block_on(async {
        let device = Device::new(ReferenceEngine::new());
        let mut session = Session::open(&device, problem.clone(), method).await?;
        Quadratic::fill(&mut session)?;
        let estimate = session.estimate(&point(), along, &mut Unattended).await?;
        Ok((estimate, session.final_weights().await?))
    })
}

fn near(got: &[f64], wanted: &[f64], what: &str) {
    let error = relative_error(got, wanted);
    assert!(error < 1e-9, "{what}: {got:?} is not {wanted:?}, {error:e} off");
}

#[test]
fn methods_that_go_through_the_training_add_what_the_outer_loss_sees() {
    let problem = problem(7);
    let all = Directions::arrays(&problem);
    let Truth { weights, through, direct } = truth(&problem, 7);
    let total = plus(through, &direct, 1.0);
    let memory = Memory::StoreAll;
    let methods: [(&str, Box<dyn Method>); 6] = [
        ("reverse", Reverse { memory }.into()),
        ("reverse, Revolve", Reverse { memory: Memory::Slots(2) }.into()),
        ("truncated to all steps", Truncated { last: 7, memory }.into()),
        ("forward, one at a time", Forward { width: 1 }.into()),
        ("forward, together", Forward::for_directions(all.len()).into()),
        ("forward, too wide", Forward { width: 9 }.into()),
    ];
    for (name, method) in methods {
        let (answer, end) = estimate(&problem, method, &all).unwrap();
        near(&end, &weights, name);
        near(&answer.hypergradient, &total, name);
        near(&answer.direct.unwrap(), &direct, name);
    }
}

#[test]
fn truncation_cuts_what_passes_through_the_training_alone() {
    let problem = problem(7);
    let [rate, lambda, _] = problem.layout();
    let along = Directions::new(&problem).each(rate).each(lambda);
    let memory = Memory::StoreAll;
    for last in 1..7 {
        let Truth { through, direct, .. } = truth(&problem, last);
        let total = &plus(through, &direct, 1.0)[..1 + M];
        let (answer, _) = estimate(&problem, Truncated { last, memory }, &along).unwrap();
        near(&answer.hypergradient, total, &format!("the last {last}"));
        let (online, _) = estimate(&problem, Online::new(Truncated { last, memory }), &along).unwrap();
        assert_eq!(online.hypergradient, answer.hypergradient);
    }
    let (one, _) = estimate(&problem, Truncated { last: 1, memory }, &along).unwrap();
    let (averaged, _) = estimate(&problem, AveragedTruncation { points: 1 }, &along).unwrap();
    near(&averaged.hypergradient, &one.hypergradient, "a method from outside");
    assert_eq!(averaged.direct, one.direct);
}

#[test]
fn methods_at_the_solution_add_it_too() {
    let problem = problem(400);
    let [rate, lambda, _] = problem.layout();
    let along = Directions::new(&problem).each(lambda);
    let Truth { weights, through, direct } = truth(&problem, 400);
    let total = &plus(through, &direct, 1.0)[1..1 + M];
    let methods: [(&str, Box<dyn Method>); 4] = [
        ("conjugate gradients", Implicit::new(Solver::ConjugateGradient, 4).into()),
        ("normal equations", Implicit::new(Solver::NormalEquations, 4).into()),
        ("Neumann", Implicit::new(Solver::Neumann { rate: 0.3 }, 300).into()),
        ("fixed point", FixedPoint::new(400).into()),
    ];
    for (name, method) in methods {
        let (answer, end) = estimate(&problem, method, &along).unwrap();
        near(&end, &weights, name);
        near(&answer.hypergradient, total, name);
        near(&answer.direct.unwrap(), &direct[1..1 + M], name);
    }
    let refused = estimate(&problem, FixedPoint::new(3), &Directions::new(&problem).each(rate));
    assert!(matches!(refused, Err(SolveError::Refused(_))));
}
