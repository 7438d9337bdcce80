//! Models, losses and inner optimisers as graph functions. They know nothing of engines.

pub mod functions;
mod model;
pub mod optim;

pub use model::{Layer, Model, ModelError, Padding, Parameter};
