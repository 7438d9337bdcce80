//! What is trained, as graphs: all that a driver knows of it.

use std::ops::Range;

use super::SolveError;
use crate::ir::{Graph, NodeId};
use crate::rig::Array;

/// A follower and what its leader judges it by: Φ₀, which the training begins with, Φ, which is one of its steps, and
/// E, the outer loss, each a function of the hyperparameter vector λ.
///
/// Everything else follows: the adjoints and tangents of these graphs, the programs, the memory. A state is a vector
/// that begins with the weights; what else a step needs to remember (slots of an optimiser, running statistics) comes
/// behind them.
pub trait Inner {
    /// Whether it can be trained; says what is wrong with it.
    fn check(&self) -> Result<(), SolveError> {
        Ok(())
    }

    /// Training steps T of a sweep, 1 or more.
    fn steps(&self) -> usize;

    /// The training state's parts in their order.
    fn state(&self) -> Vec<Part>;

    /// How many of the state's elements are weights; they come first.
    fn weights(&self) -> usize;

    /// The hyperparameter vector's parts in their order.
    fn lambda(&self) -> Vec<Acting>;

    /// The arrays that the graphs read by name besides what they are given: data, keys, maps. Whoever opens a session
    /// fills them.
    fn arrays(&self) -> Vec<Array>;

    /// Φ₀(λ): the state `[state_len]` before the first step. `given` are the weights `[weights]` that the session was
    /// told to begin with.
    fn begin(&self, g: &mut Graph, lambda: NodeId, given: NodeId) -> NodeId;

    /// Φ(s, λ, t): one training step.
    fn step(&self, g: &mut Graph, at: &At) -> Step;

    /// A chunk's share of the outer loss E(s, λ), a scalar; the shares of all chunks add up to E.
    fn outer(&self, g: &mut Graph, state: NodeId, lambda: NodeId, chunk: NodeId) -> NodeId;

    /// How many chunks the outer loss is cut into.
    fn outer_chunks(&self) -> usize {
        1
    }

    /// The function whose stationary point the training seeks, or why there is none.
    fn objective(&self) -> Result<&dyn Objective, NoObjective> {
        Err(NoObjective {
            reason: "the inner problem does not say what function its training makes stationary",
            instead: "reverse mode",
        })
    }

    /// Whether every step is the same map, so that it may have a fixed point.
    fn is_autonomous(&self) -> bool {
        false
    }

    /// What of the state after so many steps is a known function of λ alone, whatever was trained.
    fn known(&self, _lambda: &[f64], _steps: usize) -> Vec<Known> {
        vec![]
    }
}

impl dyn Inner + '_ {
    /// Length D of the state.
    pub fn state_len(&self) -> usize {
        self.state().last().map_or(0, |part| part.range.end)
    }

    /// Length m of the hyperparameter vector.
    pub fn lambda_len(&self) -> usize {
        self.lambda().last().map_or(0, |part| part.range.end)
    }
}

/// The inner loss L(w, λ), of which a training's outcome is a stationary point, as chunks that add up.
pub trait Objective {
    /// A chunk's share, a scalar, of the weights `[weights]`, λ and the chunk's number (words, `[1]`).
    fn share(&self, g: &mut Graph, weights: NodeId, lambda: NodeId, chunk: NodeId) -> NodeId;

    /// How many chunks there are.
    fn chunks(&self) -> usize;
}

/// Why a training has no stationary point to differentiate at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoObjective {
    /// Why not, after a colon.
    pub reason: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

/// A part of the training state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name in files.
    pub name: String,
    /// Where it lies in the state vector.
    pub range: Range<usize>,
    /// Sizes of its axes, row-major.
    pub shape: Vec<usize>,
}

/// A part of the hyperparameter vector and how it acts: what a method may be unable to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acting {
    /// Its name, for records.
    pub name: &'static str,
    /// What messages call it.
    pub what: &'static str,
    /// Where it lies in the hyperparameter vector.
    pub range: Range<usize>,
    /// How it acts.
    pub through: Through,
}

/// Where a hyperparameter acts; any of them may act in the outer loss besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// In the inner loss, whose stationary point it moves.
    Loss,
    /// In how a step is taken.
    Step,
    /// The same, with a row for each of the T steps.
    Steps,
    /// In what the training begins with.
    Start,
    /// In the outer loss alone.
    Outer,
}

/// What a step is given.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// `[state_len]`
    pub state: NodeId,
    /// Steps taken before (words, `[1]`).
    pub time: NodeId,
    /// `[lambda_len]`
    pub lambda: NodeId,
}

/// What a step gives.
#[derive(Clone, Debug)]
pub struct Step {
    /// The next state.
    pub state: NodeId,
    /// Numbers (`[1]`) that are kept for every step, by the name of their array `[T]`. The training loss before the
    /// step is called [`LOSSES`].
    pub records: Vec<(&'static str, NodeId)>,
}

/// The record of the training losses.
pub const LOSSES: &str = "losses";

/// An element of a state that is a known function of λ alone, such as a bias correction 1 − βᵗ. Its derivative is known
/// where the training before that state is not differentiated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// Place in the state.
    pub slot: usize,
    /// Place in λ.
    pub at: usize,
    /// Its derivative there.
    pub derivative: f64,
}
