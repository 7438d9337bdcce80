//! Solvers of (H + δI) q = b, where b is the outer gradient, as programs between Hessian products.
//!
//! The vectors stay on the device; scalars that decide nothing on the host do too.

use serde::{Deserialize, Serialize};

use crate::bilevel::inner::Inner;
use crate::ir::{DType, Graph, NodeId};
use crate::rig::{Array, Function};

/// How the linear system of implicit differentiation is solved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// Conjugate gradients; H must be positive definite, or damped to be.
    ConjugateGradient,
    /// Conjugate gradients on H² q = H b: two products an iteration, whatever H.
    NormalEquations,
    /// q ← q + rate (b − H q): from zero, as many terms of Neumann's series as iterations. Converges
    /// for ‖I − rate H‖ < 1.
    Neumann {
        /// The factor, above 0.
        rate: f64,
    },
}

/// A product with H and the program that uses it.
#[derive(Clone, Copy)]
pub(super) struct Stage {
    /// The array that is multiplied.
    pub along: &'static str,
    pub then: &'static str,
}

impl Solver {
    /// What comes before the first iteration.
    pub(super) fn start(self) -> &'static [Stage] {
        match self {
            Solver::ConjugateGradient => &[Stage { along: "solution", then: "cg_start" }],
            Solver::NormalEquations => {
                &[Stage { along: "solution", then: "cgnr_start" }, Stage { along: "residual", then: "cgnr_turn" }]
            }
            Solver::Neumann { .. } => &[],
        }
    }

    /// One iteration.
    pub(super) fn iteration(self) -> &'static [Stage] {
        match self {
            Solver::ConjugateGradient => &[Stage { along: "direction", then: "cg_step" }],
            Solver::NormalEquations => {
                &[Stage { along: "direction", then: "cgnr_step" }, Stage { along: "residual", then: "cgnr_turn" }]
            }
            Solver::Neumann { .. } => &[Stage { along: "solution", then: "richardson" }],
        }
    }

    /// What tells how good the solution is.
    pub(super) const CHECK: Stage = Stage { along: "solution", then: "residual_norm" };

    /// The factor of its steps, where it has one.
    pub(super) fn rate(self) -> f64 {
        if let Solver::Neumann { rate } = self { rate } else { 0.0 }
    }

    pub(super) fn functions(self, inner: &dyn Inner) -> Vec<Function> {
        let functions: &[fn(&mut Vectors) -> &'static str] = match self {
            Solver::ConjugateGradient => &[cg_start, cg_step, residual_norm],
            Solver::NormalEquations => &[cgnr_start, cgnr_step, cgnr_turn, residual_norm],
            Solver::Neumann { .. } => &[richardson, residual_norm],
        };
        functions.iter().map(|build| Vectors::function(inner, *build)).collect()
    }

    pub(super) fn arrays(self, inner: &dyn Inner) -> Vec<Array> {
        let d = inner.weights();
        let vectors = ["solution", "residual", "direction", "product"].map(|name| Array::new(name, DType::F32, d));
        let scalars = [("square", 1), ("norms", 3), ("settings", 2)].map(|(name, n)| Array::new(name, DType::F32, n));
        vectors.into_iter().chain(scalars).collect()
    }
}

/// A program of a solver while it is being built; every one clears the product and the chunk counter
/// for the next product.
struct Vectors {
    f: Function,
    d: usize,
    /// The right-hand side b.
    gradient: NodeId,
    product: NodeId,
    rate: NodeId,
    damping: NodeId,
}

impl Vectors {
    fn function(inner: &dyn Inner, build: fn(&mut Vectors) -> &'static str) -> Function {
        let mut f = Function::new("");
        let (g, d) = (&mut f.graph, inner.weights());
        let gradient = g.input("gradient", &[inner.state_len()], DType::F32);
        let gradient = g.segment(gradient, 0, d);
        let product = g.input("product", &[d], DType::F32);
        let chunk = g.input("chunk", &[1], DType::U32);
        let settings = g.input("settings", &[2], DType::F32);
        let [rate, damping] = [0, 1].map(|k| g.segment(settings, k, 1));
        let (nothing, none) = (g.full(&[d], 0.0), g.full_u(&[1], 0));
        f.update(product, nothing);
        f.update(chunk, none);
        let mut vectors = Vectors { f, d, gradient, product, rate, damping };
        vectors.f.name = build(&mut vectors);
        vectors.f
    }

    fn g(&mut self) -> &mut Graph {
        &mut self.f.graph
    }

    /// An array of the solver.
    fn vector(&mut self, name: &str) -> NodeId {
        let d = self.d;
        self.g().input(name, &[d], DType::F32)
    }

    fn scalar(&mut self, name: &str) -> NodeId {
        self.vector_of(name, 1)
    }

    fn vector_of(&mut self, name: &str, len: usize) -> NodeId {
        self.g().input(name, &[len], DType::F32)
    }

    /// The product with H + δI, where that with H was taken along `x`.
    fn damped(&mut self, x: NodeId) -> NodeId {
        let (product, damping) = (self.product, self.damping);
        let more = self.g().mul(damping, x);
        self.g().add(product, more)
    }

    /// b − (H + δI) q, where the product was taken along the solution q.
    fn residual_of(&mut self, solution: NodeId) -> NodeId {
        let (product, b) = (self.damped(solution), self.gradient);
        self.g().sub(b, product)
    }

    /// ⟨a, b⟩, shape `[1]`.
    fn dot(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let g = self.g();
        let terms = g.mul(a, b);
        let sum = g.sum_all(terms);
        g.reshape(sum, &[1])
    }

    /// a / b, and 0 unless b > 0: at the solution nothing moves any more. The smallest b are those that
    /// have a reciprocal in single precision.
    fn ratio(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let g = self.g();
        let (zero, one, least) = (g.full(&[1], 0.0), g.full(&[1], 1.0), g.full(&[1], 1e-36));
        let positive = g.lt(least, b);
        let safe = g.select(positive, b, one);
        let ratio = g.div(a, safe);
        g.select(positive, ratio, zero)
    }

    /// a + factor · x.
    fn moved(&mut self, a: NodeId, factor: NodeId, x: NodeId) -> NodeId {
        let change = self.g().mul(factor, x);
        self.g().add(a, change)
    }

    /// a − factor · x.
    fn moved_back(&mut self, a: NodeId, factor: NodeId, x: NodeId) -> NodeId {
        let factor = self.g().neg(factor);
        self.moved(a, factor, x)
    }
}

fn cg_start(v: &mut Vectors) -> &'static str {
    let solution = v.vector("solution");
    let (residual, direction, square) = (v.vector("residual"), v.vector("direction"), v.scalar("square"));
    let r = v.residual_of(solution);
    let rr = v.dot(r, r);
    v.f.update(residual, r);
    v.f.update(direction, r);
    v.f.update(square, rr);
    "cg_start"
}

fn cg_step(v: &mut Vectors) -> &'static str {
    let (solution, residual) = (v.vector("solution"), v.vector("residual"));
    let (direction, square) = (v.vector("direction"), v.scalar("square"));
    let product = v.damped(direction);
    let curvature = v.dot(direction, product);
    let alpha = v.ratio(square, curvature);
    let q = v.moved(solution, alpha, direction);
    let r = v.moved_back(residual, alpha, product);
    let rr = v.dot(r, r);
    let beta = v.ratio(rr, square);
    let p = v.moved(r, beta, direction);
    let norms = v.vector_of("norms", 3);
    let g = v.g();
    let (zero, one) = (g.full(&[1], 0.0), g.full(&[1], 1.0));
    let bent = g.lt(curvature, zero);
    let before = g.segment(norms, 2, 1);
    let met = g.select(bent, one, before);
    let kept = g.segment(norms, 0, 2);
    let norms_now = g.concat(&[kept, met]);
    v.f.update(solution, q);
    v.f.update(residual, r);
    v.f.update(direction, p);
    v.f.update(square, rr);
    v.f.update(norms, norms_now);
    "cg_step"
}

/// The residual; the first direction follows from its product.
fn cgnr_start(v: &mut Vectors) -> &'static str {
    let (solution, residual, square) = (v.vector("solution"), v.vector("residual"), v.scalar("square"));
    let r = v.residual_of(solution);
    let none = v.g().full(&[1], 0.0);
    v.f.update(residual, r);
    v.f.update(square, none);
    "cgnr_start"
}

fn cgnr_step(v: &mut Vectors) -> &'static str {
    let (solution, residual) = (v.vector("solution"), v.vector("residual"));
    let (direction, square) = (v.vector("direction"), v.scalar("square"));
    let product = v.damped(direction);
    let length = v.dot(product, product);
    let alpha = v.ratio(square, length);
    let q = v.moved(solution, alpha, direction);
    let r = v.moved_back(residual, alpha, product);
    v.f.update(solution, q);
    v.f.update(residual, r);
    "cgnr_step"
}

/// The next direction, from the product along the residual.
fn cgnr_turn(v: &mut Vectors) -> &'static str {
    let (residual, direction, square) = (v.vector("residual"), v.vector("direction"), v.scalar("square"));
    let z = v.damped(residual);
    let zz = v.dot(z, z);
    let beta = v.ratio(zz, square);
    let p = v.moved(z, beta, direction);
    v.f.update(direction, p);
    v.f.update(square, zz);
    "cgnr_turn"
}

fn richardson(v: &mut Vectors) -> &'static str {
    let solution = v.vector("solution");
    let r = v.residual_of(solution);
    let q = v.moved(solution, v.rate, r);
    v.f.update(solution, q);
    "richardson"
}

/// ‖b − (H + δI) q‖² and ‖b‖², before whether an iteration met negative curvature.
fn residual_norm(v: &mut Vectors) -> &'static str {
    let solution = v.vector("solution");
    let r = v.residual_of(solution);
    let b = v.gradient;
    let (rr, bb) = (v.dot(r, r), v.dot(b, b));
    let norms = v.vector_of("norms", 3);
    let met = v.g().segment(norms, 2, 1);
    let norms_now = v.g().concat(&[rr, bb, met]);
    v.f.update(norms, norms_now);
    "residual_norm"
}
