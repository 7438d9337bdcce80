//! The follower of most lessons: a few weights that go down a loss which is written as a graph.

use crate::autodiff::grad;
use crate::bilevel::inner::{Acting, At, Inner, LOSSES, NoObjective, Objective, Part, Step, Through};
use crate::bilevel::{Directions, SolveError};
use crate::ir::{DType, Graph, NodeId, Scalar};
use crate::nn::optim::{Dynamics, Scalars};
use crate::rig::Array;

/// What a loss is a function of.
pub struct Given<'a> {
    /// The weights.
    pub w: NodeId,
    /// The hyperparameters that act in the losses.
    pub lambda: NodeId,
    /// The follower's data, in their order.
    pub data: &'a [NodeId],
}

/// A loss, a scalar.
pub type Form = fn(&mut Graph, &Given) -> NodeId;

/// Weights that go down an inner loss, and the outer loss that they are judged by. The hyperparameter vector is the log
/// of the learning rate, the optimiser's scalars, λ, and the weights to begin with.
#[derive(Clone)]
pub struct Follower {
    /// How it goes down.
    pub optimizer: Dynamics,
    /// The optimiser's scalars.
    pub scalars: Vec<f64>,
    /// The inner loss L(w, λ).
    pub inner: Form,
    /// The outer loss E(w, λ).
    pub outer: Form,
    /// What the losses are made of, by name.
    pub data: Vec<(&'static str, Vec<f32>)>,
    /// What the weights begin with.
    pub start: Vec<f64>,
    /// Entries of λ.
    pub lambda: usize,
    /// Steps T.
    pub steps: usize,
}

/// What is recorded of the first two weights after every step.
pub const WEIGHTS: [&str; 2] = ["first_weight", "second_weight"];

impl Follower {
    /// Whereabouts of the rate, the scalars, λ and the first weights in the hyperparameter vector.
    fn layout(&self) -> [std::ops::Range<usize>; 4] {
        let (scalars, lambda) = (1 + self.scalars.len(), 1 + self.scalars.len() + self.lambda);
        [0..1, 1..scalars, scalars..lambda, lambda..lambda + self.start.len()]
    }

    /// The hyperparameter vector at a learning rate and λ.
    pub fn point(&self, rate: f64, lambda: &[f64]) -> Vec<f64> {
        [&[rate.ln()][..], &self.scalars, lambda, &self.start].concat()
    }

    /// A direction for each entry of λ.
    pub fn along(&self) -> Directions {
        let [_, _, lambda, _] = self.layout();
        Directions::new(self).each(lambda)
    }

    fn value(&self, g: &mut Graph, form: Form, w: NodeId, all: NodeId) -> NodeId {
        let [_, _, lambda, _] = self.layout();
        let lambda = g.segment(all, lambda.start, lambda.len());
        let data: Vec<NodeId> =
            self.data.iter().map(|(name, values)| g.input(name, &[values.len()], DType::F32)).collect();
        form(g, &Given { w, lambda, data: &data })
    }
}

impl Inner for Follower {
    fn check(&self) -> Result<(), SolveError> {
        match self.steps == 0 || self.start.is_empty() {
            true => Err(SolveError::Problem("it needs a step and a weight, 1 of each at least".into())),
            false => Ok(()),
        }
    }

    fn steps(&self) -> usize {
        self.steps
    }

    fn state(&self) -> Vec<Part> {
        let weights = self.start.len();
        let mut parts = vec![Part { name: "w".to_owned(), range: 0..weights, shape: vec![weights] }];
        let mut end = weights;
        for slot in self.optimizer.slots() {
            let range = end..end + slot.len(weights);
            end = range.end;
            parts.push(Part { name: slot.name.to_owned(), shape: vec![range.len()], range });
        }
        parts
    }

    fn weights(&self) -> usize {
        self.start.len()
    }

    fn lambda(&self) -> Vec<Acting> {
        let [rate, scalars, lambda, start] = self.layout();
        vec![
            Acting { name: "log_lr", what: "the learning rate", range: rate, through: Through::Step },
            Acting { name: "scalars", what: "the optimiser's scalars", range: scalars, through: Through::Step },
            Acting { name: "lambda", what: "λ", range: lambda, through: Through::Loss },
            Acting { name: "w0", what: "the initial weights", range: start, through: Through::Start },
        ]
    }

    fn arrays(&self) -> Vec<Array> {
        self.data.iter().map(|(name, values)| Array::new(name, DType::F32, values.len())).collect()
    }

    fn begin(&self, g: &mut Graph, lambda: NodeId, _given: NodeId) -> NodeId {
        let [.., start] = self.layout();
        let mut parts = vec![g.segment(lambda, start.start, start.len())];
        for (length, value) in self.optimizer.start(start.len()) {
            parts.push(g.full(&[length], f64::from(value)));
        }
        if parts.len() == 1 { parts[0] } else { g.concat(&parts) }
    }

    fn step(&self, g: &mut Graph, at: &At) -> Step {
        let [_, scalars, ..] = self.layout();
        let w = g.segment(at.state, 0, self.start.len());
        let loss = self.value(g, self.inner, w, at.lambda);
        let gradient = grad(g, loss, &[w])[0];
        let rate = g.segment(at.lambda, 0, 1);
        let rate = g.scalar(Scalar::Exp, &[rate]);
        let own: Vec<NodeId> = scalars.map(|at_scalar| g.segment(at.lambda, at_scalar, 1)).collect();
        let state = self.optimizer.step(g, at.state, gradient, rate, &own);
        let mut records = vec![(LOSSES, g.reshape(loss, &[1]))];
        for (k, name) in WEIGHTS.into_iter().enumerate().take(self.start.len()) {
            records.push((name, g.segment(state, k, 1)));
        }
        records.extend(self.optimizer.records(g, state, &Scalars { eta: rate, own: &own }));
        Step { state, records }
    }

    fn outer(&self, g: &mut Graph, state: NodeId, lambda: NodeId, _chunk: NodeId) -> NodeId {
        let w = g.segment(state, 0, self.start.len());
        self.value(g, self.outer, w, lambda)
    }

    fn objective(&self) -> Result<&dyn Objective, NoObjective> {
        Ok(self)
    }

    fn is_autonomous(&self) -> bool {
        self.optimizer.slots().is_empty()
    }
}

impl Objective for Follower {
    fn share(&self, g: &mut Graph, weights: NodeId, lambda: NodeId, _chunk: NodeId) -> NodeId {
        self.value(g, self.inner, weights, lambda)
    }

    fn chunks(&self) -> usize {
        1
    }
}

/// Half the sum of squares.
pub fn half_square(g: &mut Graph, x: NodeId) -> NodeId {
    let squares = g.mul(x, x);
    let sum = g.sum_all(squares);
    g.scale(sum, 0.5)
}
