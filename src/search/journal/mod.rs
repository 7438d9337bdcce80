//! Optuna's journal (`JournalStorage` of Optuna 5.0.0): one JSON object a line, each an operation on a study or a trial. What
//! is written here Optuna reads and continues, and the other way round.
//!
//! Of what Optuna does not know, such as budgets, pauses and takeovers, attributes of the system keep note, under names that
//! begin with `stackelberg:`. Whoever appends to a file holds Optuna's lock on it, and reads it again afterwards: the number
//! of a trial follows from its place in the file.

mod format;
mod read;
mod write;

pub use format::JournalError;
pub use read::Journal;
pub use write::Writer;
