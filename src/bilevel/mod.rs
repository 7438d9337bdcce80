//! Bilevel problems and their hypergradients.

mod loss;

pub use loss::{Loss, ParameterMap, TrainingLoss};
