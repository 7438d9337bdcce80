//! The browser's edge: messages between the page and its worker, the class that the worker drives, and the reference
//! cases run in the browser.

mod advise;
mod bench;
mod beside;
#[cfg(feature = "files")]
mod blob;
mod bridge;
mod check;
#[cfg(feature = "files")]
mod clerk;
mod control;
mod details;
#[cfg(feature = "files")]
mod kept;
#[cfg(feature = "lessons")]
mod lesson;
#[cfg(feature = "files")]
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
