//! Ways to differentiate through a training, each in a file.

mod fixed_point;
pub(super) mod forward;
mod implicit;
mod linear;
mod online;
mod plain;
mod products;
mod reverse;
mod truncated;

pub use fixed_point::FixedPoint;
pub use forward::Forward;
pub use implicit::{Implicit, Until};
pub use linear::Solver;
pub use online::{Online, RealTime};
pub use plain::Plain;
pub use reverse::{Reverse, Watched};
pub use truncated::Truncated;
