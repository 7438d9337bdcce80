//! Why there is no result.

use super::checkpoint::Plan;
use super::snapshot::SnapshotError;
use crate::compile::CompileError;
use crate::engine::{EngineError, mebibytes};
use crate::rig::RigError;

/// Why a sweep ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Compile(#[from] CompileError),
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
    #[error(
        "a memory budget of {} is too small: this method takes {} ({bytes} bytes) and keeps no states that it could \
         compute again; reverse mode may do with less",
        mebibytes(*budget),
        mebibytes(*bytes)
    )]
    OverBudget { budget: u64, bytes: u64 },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the problem cannot be trained: {0}")]
    Problem(String),
    #[error("the hyperparameters do not fit the problem: {0}")]
    Hyperparameters(String),
    #[error("the loss takes {wanted} as targets, but the examples have {given}")]
    Targets { wanted: &'static str, given: &'static str },
    #[error("{set}: {what}")]
    Data { set: String, what: String },
    #[error("{method} gives no derivative here: {reason}")]
    Unsolved { method: &'static str, reason: String },
    #[error("{what}: {given} values were given, {wanted} are needed")]
    Length { what: String, given: usize, wanted: usize },
    #[error("stopped")]
    Stopped,
    #[error("a method asks for what it has not declared: {0}")]
    Method(RigError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// A method that cannot see a hyperparameter says so; it never answers zero.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{method} gives no derivative in {what}: {reason}. Take {instead} instead")]
pub struct Refusal {
    pub method: &'static str,
    /// The hyperparameter.
    pub what: &'static str,
    pub reason: String,
    /// The method that can.
    pub instead: &'static str,
}

impl From<RigError> for SolveError {
    fn from(error: RigError) -> Self {
        match error {
            RigError::Engine(error) => error.into(),
            RigError::Compile(error) => error.into(),
            RigError::Length { array, given, wanted } => SolveError::Length { what: array, given, wanted },
            RigError::Stopped => SolveError::Stopped,
            RigError::NoArray(_) | RigError::NoProgram(_) => SolveError::Method(error),
        }
    }
}
