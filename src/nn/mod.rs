//! Models, losses and inner optimisers as graph functions. They know nothing of engines.

pub mod functions;
mod layer;
mod layout;
mod model;
pub mod optim;
mod parameters;
mod parse;
pub mod reading;
pub mod zoo;

pub use layer::{Layer, Padding, PaddingRule, Statistics};
pub use layout::{ModelError, Place};
pub use model::Model;
pub use parameters::{Parameter, Role, Statistic};
pub use parse::{LayersError, layers_from_json};
