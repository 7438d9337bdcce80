//! The supervised problem: a model, its training on examples, and its loss on others.

mod decay;
mod inner;
pub(super) mod kept;
mod loss;
pub(super) mod losses;
mod members;
mod noise;
mod problem;
mod session;
mod sets;
mod step;

pub use crate::data::{Examples, Targets};
pub use decay::Decay;
pub use loss::{Loss, Regularizer, TrainingLoss};
pub use members::{Member, Rows, SessionData, Sets};
pub use noise::Noise;
pub use problem::{CHUNK, Layout, Problem, Source};
pub use sets::{Set, SetEvaluation};
