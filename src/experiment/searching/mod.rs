//! Studies: a searcher over trials of the registry, on one device, with a journal.
//!
//! Trainings take turns on the device; which one reports next is decided on a virtual clock of their steps
//! ([`Slots`](crate::search::Slots)), so that a study is the same however fast the device is and wherever it was
//! interrupted.

pub mod about;
pub mod executor;
pub mod exploit;
pub mod ledger;
mod lock;
pub mod space;
mod states;
pub mod subject;
#[cfg(test)]
mod tests;
pub mod trainings;
