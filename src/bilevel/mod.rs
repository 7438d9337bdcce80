//! Bilevel problems and their hypergradients.
//!
//! A [`Problem`] is what is trained, and on what; a [`Method`] is a way to differentiate the outer loss
//! through that training; a [`Session`] is both on an engine. What is differentiated in is a list of
//! [`Directions`].

mod adam;
mod blueprint;
pub mod checkpoint;
pub mod descent;
mod directions;
mod error;
mod fixed_point;
mod forward;
mod hoag;
pub mod hyperparameters;
mod implicit;
mod linear;
mod loss;
mod method;
mod noise;
mod online;
pub mod outer;
mod pace;
mod pacing;
mod problem;
mod products;
pub mod projection;
mod reverse;
mod runner;
mod session;
mod sets;
mod transform;
mod truncated;

pub use adam::Adam;
pub use blueprint::{Array, Blueprint};
pub use directions::{Coordinate, Directions};
pub use error::{Refusal, SolveError};
pub use fixed_point::FixedPoint;
pub use forward::Forward;
pub use hoag::Hoag;
pub use implicit::{Implicit, Until};
pub use linear::Solver;
pub use loss::{Loss, ParameterMap, Regularizer, TrainingLoss};
pub use method::{Counts, Estimate, Memory, Method, Room};
pub use noise::Noise;
pub use online::{Online, RealTime};
pub use pace::Pace;
pub use pacing::{Flow, Host, Unattended};
pub use problem::{CHUNK, Function, Layout, Problem, Source};
pub use reverse::Reverse;
pub use runner::Runner;
pub use session::Session;
pub use sets::{SessionData, Set, SetEvaluation, Targets};
pub use transform::Transform;
pub use truncated::Truncated;
