//! Named studies and checks: what the command line and the page run.

pub mod advise;
pub mod archive;
pub mod check;
pub mod config;
pub mod error;
mod event;
#[cfg(feature = "verify")]
pub mod golden;
pub mod model_file;
pub mod names;
pub mod predict;
pub mod record;
pub mod setup;
mod state;
#[cfg(all(feature = "builtin-data", not(target_arch = "wasm32")))]
pub mod study;
pub mod tune;
