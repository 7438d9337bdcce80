//! The browser's edge: messages between the page and its worker, the class that the worker drives, and the reference
//! cases run in the browser.

mod advise;
mod bench;
mod beside;
mod blob;
mod bridge;
mod check;
mod control;
mod details;
mod kept;
#[cfg(feature = "lessons")]
mod lesson;
mod own_data;
mod plans;
mod post;
pub mod protocol;
mod records;
mod run;
mod slope;
mod stock;
mod unroll;
#[cfg(feature = "verify")]
mod verify;
mod watcher;
