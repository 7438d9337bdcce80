//! Bilevel problems and their hypergradients.

mod blueprint;
pub mod checkpoint;
pub mod hyperparameters;
mod loss;
pub mod outer;
mod problem;
mod session;

pub use blueprint::{Array, Blueprint};
pub use loss::{Loss, ParameterMap, TrainingLoss};
pub use problem::{CHUNK, Function, Layout, Problem, Source};
pub use session::{
    Estimate, Flow, Host, Memory, Pace, Session, SessionData, Set, SetEvaluation, SolveError, Targets, Unattended,
};
