//! Bilevel optimisation on any GPU: tune a neural network by differentiating through its training.
//!
//! The layers, lowest first (each imports only from those before it; `tests/layers.rs` enforces it):
//! [`rng`] → [`ir`] → [`autodiff`] → [`interp`], [`compile`] → [`engine`] → …

pub mod autodiff;
pub mod bilevel;
pub mod compile;
pub mod cpu;
pub mod data;
pub mod engine;
pub mod experiment;
pub mod gpu;
pub mod host;
pub mod interp;
pub mod kernels;

pub mod ir;
pub mod nn;
pub mod reference;
pub mod rig;
pub mod rng;
#[cfg(target_arch = "wasm32")]
pub mod web;
