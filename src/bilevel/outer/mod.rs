//! The leader's optimisers.

mod adam;
mod descent;
mod guarded;
mod hoag;

pub use adam::Adam;
pub use descent::{Descent, Rule};
pub use guarded::OuterAdam;
pub use hoag::Hoag;
