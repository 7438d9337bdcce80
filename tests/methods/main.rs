//! Every hypergradient method, on problems small enough to be known in closed form or to be checked by
//! differences, in f64.

#[path = "../engine_support/mod.rs"]
mod engine_support;
mod implicit;
mod matrix;
mod memory;
mod network;
mod noise;
mod online;
mod problems;
mod vectors;
