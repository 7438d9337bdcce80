//! Why there is no result.

use super::checkpoint::Plan;
use crate::compile::CompileError;
use crate::engine::{EngineError, mebibytes};
use crate::rig::RigError;

/// Why a sweep ended without a result.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum SolveError {
    /// The device failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A graph of the problem or of the method is no program.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Not even the fewest states fit into the memory budget. In bytes, but for the steps T and the `last` of them that
    /// are differentiated.
    #[error(
        "a memory budget of {} is too small: data, programs and buffers take {}, and each training state {}; at least {} \
         ({least} bytes) is needed, and {} stores every state that is differentiated from",
        mebibytes(*budget),
        mebibytes(*fixed),
        mebibytes(*state),
        mebibytes(fixed + state * Plan::fewest_places(*steps, *last) as u64),
        mebibytes(fixed + state * Plan::most_places(*steps, *last) as u64),
        least = fixed + state * Plan::fewest_places(*steps, *last) as u64
    )]
    Budget { budget: u64, fixed: u64, state: u64, steps: usize, last: usize },
    /// A method that keeps no states has arrays beyond the memory budget; both in bytes.
    #[error(
        "a memory budget of {} is too small: this method takes {} ({bytes} bytes) and keeps no states that it could \
         compute again; reverse mode may do with less",
        mebibytes(*budget),
        mebibytes(*bytes)
    )]
    OverBudget { budget: u64, bytes: u64 },
    /// The method cannot see one of the hyperparameters.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The problem is none, whatever the data.
    #[error("the problem cannot be trained: {0}")]
    Problem(String),
    /// A point or a list of directions is of another problem, or a value lies outside its domain.
    #[error("the hyperparameters do not fit the problem: {0}")]
    Hyperparameters(String),
    /// Labels are given for values, or the other way round.
    #[error("the loss takes {wanted} as targets, but the examples have {given}")]
    Targets { wanted: &'static str, given: &'static str },
    /// A set or an array has a value that it cannot have.
    #[error("{set}: {what}")]
    Data { set: String, what: String },
    /// The method came to no answer, such as from a linear system that was not solved.
    #[error("{method} gives no derivative here: {reason}")]
    Unsolved { method: &'static str, reason: String },
    /// Not as many values as are needed.
    #[error("{what}: {given} values were given, {wanted} are needed")]
    Length { what: String, given: usize, wanted: usize },
    /// A [`Monitor`](crate::rig::Monitor) asked to stop.
    #[error("stopped")]
    Stopped,
    /// There is no state to go on from or to look at.
    #[error(
        "the training is nowhere: it has taken no step yet, or a future that took some was dropped midway. Take a sweep or \
         a step, load a state, or begin anew"
    )]
    Lost,
    /// A fault of a [`Method`](super::Method) or of an [`Inner`](super::Inner) problem.
    #[error("a method or a problem asks for what it has not declared: {0}")]
    Method(String),
    /// What was saved is not of this training.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// A method that cannot see a hyperparameter says so; it never answers zero.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{method} gives no derivative in {what}: {reason}. Take {instead} instead")]
pub struct Refusal {
    /// What the method is called.
    pub method: &'static str,
    /// The hyperparameter.
    pub what: &'static str,
    /// Why, after a colon.
    pub reason: String,
    /// The method that can.
    pub instead: &'static str,
}

/// Why a file holds no snapshot of a training.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot does not fit: {0}")]
pub struct SnapshotError(pub(super) String);

impl From<RigError> for SolveError {
    fn from(error: RigError) -> Self {
        match error {
            RigError::Engine(error) => error.into(),
            RigError::Compile(error) => error.into(),
            RigError::Length { array, given, wanted } => SolveError::Length { what: array, given, wanted },
            RigError::Stopped => SolveError::Stopped,
            RigError::NoArray(_) | RigError::NoProgram(_) | RigError::NoMember { .. } => {
                SolveError::Method(error.to_string())
            }
        }
    }
}
