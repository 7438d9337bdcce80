//! Every message between the page and its worker.
//!
//! The page's TypeScript types are generated from these, so there is no second list. Two rules keep what is generated
//! equal to what is sent: no maps, and no 64-bit integers (byte counts travel as `f64`).

mod answers;
mod by_hand;
mod course;
mod data;
mod engines;
mod form;
mod from_worker;
#[cfg(feature = "lessons")]
mod lesson;
mod machine;
mod outcome;
mod own_data;
mod to_worker;
mod unroll;

pub use answers::*;
pub use by_hand::*;
pub use course::*;
pub use data::*;
pub use engines::*;
pub use form::*;
pub use from_worker::*;
#[cfg(feature = "lessons")]
pub use lesson::*;
pub use machine::*;
pub use outcome::*;
pub use own_data::*;
pub use to_worker::*;
pub use unroll::*;
