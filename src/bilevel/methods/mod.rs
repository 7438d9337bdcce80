//! Ways to differentiate through a training, each in a file.

mod around;
mod fixed_point;
pub(super) mod forward;
mod implicit;
mod linear;
mod online;
mod plain;
mod products;
mod reverse;
mod truncated;

pub use around::{Around, Change};
pub use fixed_point::FixedPoint;
pub use forward::Forward;
pub use implicit::{Implicit, Until};
pub use linear::Solver;
pub use online::{GoesOn, Online, RealTime};
pub use plain::Plain;
pub use reverse::{Reverse, Watched};
pub use truncated::Truncated;
