//! The programs that every inner problem has: Φ₀ and Φ with their adjoints, and the outer loss with its gradient.

use super::inner::{At, Inner};
use crate::autodiff::{grad, vjp};
use crate::compile::{Output, residuals};
use crate::ir::{DType, Graph, NodeId, Scalar, numel};
use crate::rig::{Array, Cut, Function};

/// Value of the flag that says that no step went wrong.
pub(super) const NO_BAD_STEP: u32 = u32::MAX;

/// The flag's name.
pub(super) const BAD_STEP: &str = "bad_step";

/// The names of a step's adjoint, of that from kept residuals, and of the step that keeps them.
pub(super) const ADJOINT: &str = "step_adjoint";
pub(super) const PULLBACK: &str = "pullback";
pub(super) const KEEPING: &str = "step_keeping";

/// The names of a step's two parts: what it leaves for the adjoint, and what it makes of that itself.
const LINEARIZE: &str = "linearize";
const UPDATE: &str = "update";

/// The name of ∂E/∂λ, which is there where the outer loss sees λ.
pub(super) const OUTER_LAMBDA: &str = "outer_lambda";

/// The inputs that a step and its adjoint share.
pub(super) fn step_inputs(g: &mut Graph, inner: &dyn Inner) -> At {
    let state = g.input("state", &[inner.state_len()], DType::F32);
    let time = g.input("time", &[1], DType::U32);
    let lambda = g.input("lambda", &[inner.lambda_len()], DType::F32);
    At { state, time, lambda }
}

/// The row of a table of T steps that a step takes: a training that goes on begins again there.
pub fn row(g: &mut Graph, time: NodeId, steps: usize) -> NodeId {
    let steps = g.full_u(&[1], steps as u32);
    g.scalar(Scalar::RemU, &[time, steps])
}

/// Φ₀: (λ, given weights) → state.
pub fn begin(inner: &dyn Inner) -> Function {
    let mut f = Function::new("begin");
    let (_, _, state) = start(&mut f, inner);
    f.output("next_state", state);
    f
}

/// The adjoint of Φ₀: its share of the hypergradient is added to `lambda_cotangent`.
pub fn begin_adjoint(inner: &dyn Inner) -> Function {
    let mut f = Function::new("begin_adjoint");
    let (lambda, _, state) = start(&mut f, inner);
    let g = &mut f.graph;
    let cotangent = g.input("cotangent", &[inner.state_len()], DType::F32);
    let lambda_cotangent = g.input("lambda_cotangent", &[inner.lambda_len()], DType::F32);
    let pulled = vjp(g, &[state], &[cotangent], &[lambda])[0];
    let sum = g.add(lambda_cotangent, pulled);
    f.update(lambda_cotangent, sum);
    f
}

/// λ, the given weights, and the state that they begin with.
pub(super) fn start(f: &mut Function, inner: &dyn Inner) -> (NodeId, NodeId, NodeId) {
    let g = &mut f.graph;
    let lambda = g.input("lambda", &[inner.lambda_len()], DType::F32);
    let given = g.input("given", &[inner.weights()], DType::F32);
    let state = inner.begin(g, lambda, given);
    (lambda, given, state)
}

/// Φ: (state, time, λ, data) → state', time + 1; records numbers of the step and, in a sticky flag, the first step
/// whose new state is not finite.
pub fn step(inner: &dyn Inner) -> Function {
    let mut f = Function::new("step");
    let at = step_inputs(&mut f.graph, inner);
    let g = &mut f.graph;
    let bad_step = g.input(BAD_STEP, &[1], DType::U32);
    let step = inner.step(g, &at);

    let one = g.full_u(&[1], 1);
    let time = g.scalar(Scalar::AddU, &[at.time, one]);

    let row = row(g, at.time, inner.steps());
    let position = g.iota(&[inner.steps()], 0);
    let now = g.eq_u(position, row);

    let bad = g.scalar(Scalar::NonFinite, &[step.state]);
    let count = g.sum(bad, &[0]);
    let count = g.reshape(count, &[1]);
    let none = g.full_u(&[1], NO_BAD_STEP);
    let zero = g.full_u(&[1], 0);
    let any = g.scalar(Scalar::LtU, &[zero, count]);
    let first = g.eq_u(bad_step, none);
    let sets = g.scalar(Scalar::AndU, &[any, first]);
    let flag = g.select(sets, row, bad_step);

    f.output("next_state", step.state);
    f.output("next_time", time);
    for (name, value) in step.records {
        let g = &mut f.graph;
        let table = g.input(name, &[inner.steps()], DType::F32);
        let recorded = g.select(now, value, table);
        f.update(table, recorded);
    }
    f.update(bad_step, flag);
    f
}

/// The arrays of a step's records.
pub(super) fn records(step: &Function) -> Vec<&str> {
    let kept = step.outputs.iter().filter(|output| output.in_place.is_some() && output.name != BAD_STEP);
    kept.map(|output| output.name.as_str()).collect()
}

/// The adjoint of a step (algorithms.md A.3): from the state before it and the cotangent after it
/// to the cotangent before it; its share of the hypergradient is added to `lambda_cotangent`.
///
/// Its first part computes the step's *residuals*, what the cotangent meets on its way back.
pub fn step_adjoint(inner: &dyn Inner) -> Function {
    Linearized::new(inner).adjoint()
}

/// The second part of [`step_adjoint`] alone, from residuals that the step has kept.
pub fn pullback(inner: &dyn Inner) -> Function {
    Linearized::new(inner).pullback()
}

/// A training step and its adjoint, cut where the adjoint takes up what the step has computed. Step and adjoint begin
/// with the same dispatches, so that an adjoint may also begin behind them, with residuals that a step has kept: whether
/// it does, its bits are the same.
pub(super) struct Linearized {
    graph: Graph,
    /// Those of the step, then the adjoint's two.
    outputs: Vec<Output>,
    residuals: Vec<(String, NodeId)>,
}

impl Linearized {
    pub fn new(inner: &dyn Inner) -> Self {
        let mut f = step(inner);
        let [state, lambda] = ["state", "lambda"].map(|name| f.input(name));
        let next = f.outputs[0].node;
        let g = &mut f.graph;
        let cotangent = g.input("cotangent", &[inner.state_len()], DType::F32);
        let lambda_cotangent = g.input("lambda_cotangent", &[inner.lambda_len()], DType::F32);
        let late = [g.inputs().len() - 2, g.inputs().len() - 1];
        let pulled = vjp(g, &[next], &[cotangent], &[state, lambda]);
        let lambda_sum = g.add(lambda_cotangent, pulled[1]);
        f.output("next_cotangent", pulled[0]);
        f.update(lambda_cotangent, lambda_sum);
        let nodes: Vec<NodeId> = f.outputs.iter().map(|output| output.node).collect();
        let (graph, nodes, residuals) = residuals(&f.graph, &nodes, &late);
        let outputs = f.outputs.into_iter().zip(nodes).map(|(output, node)| Output { node, ..output }).collect();
        Linearized { graph, outputs, residuals }
    }

    /// The arrays that a step may keep for its adjoint.
    pub fn residuals(&self) -> Vec<Array> {
        let array =
            |(name, id): &(String, NodeId)| Array::new(name, self.graph.dtype(*id), numel(self.graph.shape(*id))).own();
        self.residuals.iter().map(array).collect()
    }

    /// The step.
    pub fn step(&self) -> Function {
        Function::of("step", &self.graph, self.of_step(), &[], self.cut(UPDATE).as_ref())
    }

    /// The step, which also writes the residuals.
    pub fn keeping(&self) -> Function {
        let outputs = self.residuals.iter().map(|(name, id)| Output::new(name, *id));
        let outputs = [self.of_step(), &outputs.collect::<Vec<_>>()].concat();
        Function::of(KEEPING, &self.graph, &outputs, &[], self.cut(UPDATE).as_ref())
    }

    /// The adjoint.
    pub fn adjoint(&self) -> Function {
        Function::of(ADJOINT, &self.graph, self.of_adjoint(), &[], self.cut(PULLBACK).as_ref())
    }

    /// The adjoint from residuals that were kept.
    pub fn pullback(&self) -> Function {
        Function::of(PULLBACK, &self.graph, self.of_adjoint(), &self.residuals, None)
    }

    fn of_step(&self) -> &[Output] {
        &self.outputs[..self.outputs.len() - 2]
    }

    fn of_adjoint(&self) -> &[Output] {
        &self.outputs[self.outputs.len() - 2..]
    }

    fn cut(&self, second: &'static str) -> Option<Cut> {
        let cut = || Cut { nodes: self.residuals.clone(), parts: [LINEARIZE, second] };
        (!self.residuals.is_empty()).then(cut)
    }
}

/// One chunk of the outer loss and of its gradients in the state and, where it sees it, in λ; called until the chunk
/// counter has passed all.
pub fn outer_gradient(inner: &dyn Inner) -> Function {
    let mut f = Function::new("outer_gradient");
    let g = &mut f.graph;
    let gradient = g.input("gradient", &[inner.state_len()], DType::F32);
    let state = g.input("state", &[inner.state_len()], DType::F32);
    let lambda = g.input("lambda", &[inner.lambda_len()], DType::F32);
    let value_sum = g.input("value", &[1], DType::F32);
    let chunk = g.input("chunk", &[1], DType::U32);

    let share = inner.outer(g, state, lambda, chunk);
    let share = g.reshape(share, &[]);
    let sees_lambda = g.depends(share, lambda);
    let parts = grad(g, share, &[state, lambda]);
    let mean = g.reshape(share, &[1]);
    let value = g.add(value_sum, mean);
    let sum = g.add(gradient, parts[0]);
    let direct = sees_lambda.then(|| g.input(OUTER_LAMBDA, &[inner.lambda_len()], DType::F32));
    let direct = direct.map(|direct| (direct, g.add(direct, parts[1])));
    f.update(gradient, sum);
    f.update(value_sum, value);
    if let Some((before, after)) = direct {
        f.update(before, after);
    }
    f.count(chunk);
    f
}

/// Whether an outer loss sees λ.
pub(super) fn sees_lambda(outer_gradient: &Function) -> bool {
    outer_gradient.outputs.iter().any(|output| output.name == OUTER_LAMBDA)
}
