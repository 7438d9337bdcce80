//! Named studies and checks: what the command line and the page run.

pub mod advise;
pub mod archive;
pub mod card;
pub mod check;
pub mod classifier;
pub mod config;
pub mod error;
mod event;
pub mod folds;
#[cfg(feature = "verify")]
pub mod golden;
pub mod leader;
#[cfg(all(feature = "builtin-data", not(target_arch = "wasm32")))]
pub mod library;
pub mod machine;
pub mod mislabelled;
pub mod model_file;
pub mod names;
pub mod offers;
pub mod onnx;
pub mod predict;
pub mod prepared;
pub mod profile;
pub mod record;
pub mod regression;
#[cfg(all(feature = "builtin-data", not(target_arch = "wasm32")))]
mod scored;
#[cfg(all(feature = "builtin-data", not(target_arch = "wasm32")))]
pub mod searching;
pub mod setup;
#[cfg(all(feature = "builtin-data", not(target_arch = "wasm32")))]
pub mod space;
mod state;
#[cfg(all(feature = "builtin-data", not(target_arch = "wasm32")))]
pub mod study;
pub mod told;
#[cfg(all(feature = "builtin-data", not(target_arch = "wasm32")))]
pub mod trainable;
#[cfg(all(feature = "builtin-data", not(target_arch = "wasm32")))]
pub mod trainables;
pub mod training;
pub mod tune;
pub mod unroll;
