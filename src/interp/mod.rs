//! The f64 reference: the graph evaluated with one plain loop a primitive, sharing nothing with the
//! compiler but the graph. It is the oracle of all tests, and says how near to it an f32 engine must
//! come.

mod bound;
mod eval;

pub use bound::{Bounded, Mismatch, Report, bound};
pub use eval::eval;
