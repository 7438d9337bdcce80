//! Quadratic inner and outer problems: everything about them is known in closed form.

use super::SolveError;
use super::inner::{Acting, At, Inner, LOSSES, NoObjective, Objective, Part, Step, Through};
use crate::autodiff::grad;
use crate::engine::Values;
use crate::ir::{DType, Graph, NodeId, Scalar};
use crate::nn::functions::matmul;
use crate::rig::Array;

use super::Session;

/// ½ w′Aw + λ′Cw + ½ λ′Gλ + b′w, of n weights and m hyperparameters; matrices are row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct QuadraticForm {
    /// A `[n, n]`, symmetric.
    pub weights: Vec<f32>,
    /// C `[m, n]`.
    pub mixed: Vec<f32>,
    /// G `[m, m]`, symmetric.
    pub hyperparameters: Vec<f32>,
    /// b `[n]`.
    pub linear: Vec<f32>,
}

/// Gradient descent on one such form, judged by another, which sees λ directly too. The hyperparameter vector is
/// (log η, λ, w₀); for a positive definite A the training goes to w* = −A⁻¹(C′λ + b), where
/// dE/dλ = Fw* + Gλ − CA⁻¹(Dw* + F′λ + d) with the outer form's D, F, G and d.
#[derive(Clone, Debug, PartialEq)]
pub struct Quadratic {
    /// L.
    pub inner: QuadraticForm,
    /// E.
    pub outer: QuadraticForm,
    /// Weights n.
    pub weights: usize,
    /// Hyperparameters m.
    pub hyperparameters: usize,
    /// Steps T.
    pub steps: usize,
}

/// The arrays of the two forms.
const NAMES: [[&str; 4]; 2] =
    [["inner_ww", "inner_lw", "inner_ll", "inner_w"], ["outer_ww", "outer_lw", "outer_ll", "outer_w"]];

impl QuadraticForm {
    fn parts(&self) -> [&[f32]; 4] {
        [&self.weights, &self.mixed, &self.hyperparameters, &self.linear]
    }
}

impl Quadratic {
    /// Whereabouts of log η, λ and w₀ in the hyperparameter vector.
    pub fn layout(&self) -> [std::ops::Range<usize>; 3] {
        let (m, n) = (self.hyperparameters, self.weights);
        [0..1, 1..1 + m, 1 + m..1 + m + n]
    }

    /// Writes the forms into the arrays of a session.
    pub fn fill(session: &mut Session<Quadratic>) -> Result<(), SolveError> {
        let problem = session.inner().clone();
        for (names, form) in NAMES.into_iter().zip([&problem.inner, &problem.outer]) {
            for (name, values) in names.into_iter().zip(form.parts()) {
                session.fill(name, Values::F32(values))?;
            }
        }
        Ok(())
    }

    fn sizes(&self) -> [usize; 4] {
        let (m, n) = (self.hyperparameters, self.weights);
        [n * n, m * n, m * m, n]
    }

    /// A form's value, a scalar.
    fn value(&self, g: &mut Graph, names: [&str; 4], w: NodeId, lambda: NodeId) -> NodeId {
        let (m, n) = (self.hyperparameters, self.weights);
        let [ww, lw, ll, linear] = [(0, [n, n]), (1, [m, n]), (2, [m, m]), (3, [1, n])].map(|(k, shape)| {
            let flat = g.input(names[k], &[shape[0] * shape[1]], DType::F32);
            g.reshape(flat, &shape)
        });
        let (w, lambda) = (g.reshape(w, &[n, 1]), g.reshape(lambda, &[m, 1]));
        let mut product = |left: NodeId, matrix: NodeId, right: NodeId| {
            let image = matmul(g, matrix, right, [false, false]);
            let value = matmul(g, left, image, [true, false]);
            g.reshape(value, &[])
        };
        let (own, mixed, other) = (product(w, ww, w), product(lambda, lw, w), product(lambda, ll, lambda));
        let line = matmul(g, linear, w, [false, false]);
        let line = g.reshape(line, &[]);
        let squares = g.add(own, other);
        let squares = g.scale(squares, 0.5);
        let rest = g.add(mixed, line);
        g.add(squares, rest)
    }

    fn lambda_of(&self, g: &mut Graph, all: NodeId) -> NodeId {
        g.segment(all, 1, self.hyperparameters)
    }
}

impl Inner for Quadratic {
    fn check(&self) -> Result<(), SolveError> {
        if self.steps == 0 || self.weights == 0 || self.hyperparameters == 0 {
            return Err(SolveError::Problem(
                "it needs a step, a weight and a hyperparameter, 1 of each at least".into(),
            ));
        }
        for (names, form) in NAMES.into_iter().zip([&self.inner, &self.outer]) {
            for ((name, values), wanted) in names.into_iter().zip(form.parts()).zip(self.sizes()) {
                if values.len() != wanted {
                    return Err(SolveError::Length { what: name.to_owned(), given: values.len(), wanted });
                }
            }
        }
        Ok(())
    }

    fn steps(&self) -> usize {
        self.steps
    }

    fn state(&self) -> Vec<Part> {
        vec![Part { name: "w".to_owned(), range: 0..self.weights, shape: vec![self.weights] }]
    }

    fn weights(&self) -> usize {
        self.weights
    }

    fn lambda(&self) -> Vec<Acting> {
        let [rate, lambda, start] = self.layout();
        vec![
            Acting { name: "log_lr", what: "the learning rate", range: rate, through: Through::Step },
            Acting { name: "lambda", what: "λ", range: lambda, through: Through::Loss },
            Acting { name: "w0", what: "the initial weights", range: start, through: Through::Start },
        ]
    }

    fn arrays(&self) -> Vec<Array> {
        let names = NAMES.into_iter().flat_map(|names| names.into_iter().zip(self.sizes()));
        names.map(|(name, len)| Array::new(name, DType::F32, len)).collect()
    }

    fn begin(&self, g: &mut Graph, lambda: NodeId, _given: NodeId) -> NodeId {
        g.segment(lambda, 1 + self.hyperparameters, self.weights)
    }

    fn step(&self, g: &mut Graph, at: &At) -> Step {
        let lambda = self.lambda_of(g, at.lambda);
        let loss = self.value(g, NAMES[0], at.state, lambda);
        let gradient = grad(g, loss, &[at.state])[0];
        let rate = g.segment(at.lambda, 0, 1);
        let rate = g.scalar(Scalar::Exp, &[rate]);
        let change = g.mul(rate, gradient);
        let state = g.sub(at.state, change);
        let loss = g.reshape(loss, &[1]);
        Step { state, records: vec![(LOSSES, loss)] }
    }

    fn outer(&self, g: &mut Graph, state: NodeId, lambda: NodeId, _chunk: NodeId) -> NodeId {
        let lambda = self.lambda_of(g, lambda);
        self.value(g, NAMES[1], state, lambda)
    }

    fn objective(&self) -> Result<&dyn Objective, NoObjective> {
        Ok(self)
    }

    fn is_autonomous(&self) -> bool {
        true
    }
}

impl Objective for Quadratic {
    fn share(&self, g: &mut Graph, weights: NodeId, lambda: NodeId, _chunk: NodeId) -> NodeId {
        let lambda = self.lambda_of(g, lambda);
        self.value(g, NAMES[0], weights, lambda)
    }

    fn chunks(&self) -> usize {
        1
    }
}
