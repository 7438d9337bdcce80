//! Bilevel problems and their hypergradients.
//!
//! An [`Inner`] problem is what is trained, a [`Method`] a way to differentiate the outer loss through that training, a
//! [`Session`] both on a device. What is differentiated in is a list of [`Directions`]. [`Problem`] is the inner problem
//! of most: a model trained on examples.

mod blueprint;
pub mod checkpoint;
mod contract;
mod directions;
mod draws;
mod error;
mod estimate;
pub mod hyperparameters;
pub mod inner;
mod memory;
pub mod meta;
mod method;
mod methods;
mod opened;
pub mod outer;
mod pace;
pub mod programs;
pub mod projection;
mod quadratic;
pub mod selftune;
mod session;
mod snapshot;
mod states;
mod supervised;
mod trajectory;
mod transform;

pub use blueprint::Blueprint;
pub use directions::Directions;
pub use error::{Refusal, SnapshotError, SolveError};
pub use estimate::{Counts, Estimate};
pub use inner::Inner;
pub use method::{Memory, Method, Room};
pub use methods::{
    Around, Change, FixedPoint, Forward, GoesOn, Implicit, Online, Plain, RealTime, Reverse, Solver, Truncated, Until,
    Watched,
};
pub use opened::Opened;
pub use outer::{Adam, Hoag, OuterOptimizer};
pub use pace::Pace;
pub use quadratic::{Quadratic, QuadraticForm};
pub use session::Session;
pub use snapshot::Snapshot;
pub use supervised::{
    CHUNK, Decay, Examples, Layout, Loss, Member, Noise, Problem, Regularizer, Rows, SessionData, Set, SetEvaluation,
    Sets, Source, Targets, TrainingLoss,
};
pub use trajectory::Trajectory;
pub use transform::Transform;

pub use crate::rig::{Device, Flow, Monitor, Unattended};
