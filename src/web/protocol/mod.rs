//! Every message between the page and its worker.
//!
//! The page's TypeScript types are generated from these, so there is no second list. Two rules keep what is generated
//! equal to what is sent: no maps, and no 64-bit integers (byte counts travel as `f64`).

mod answers;
mod from_worker;
mod lesson;
mod own_data;
mod to_worker;

pub use answers::*;
pub use from_worker::*;
pub use lesson::*;
pub use own_data::*;
pub use to_worker::*;
