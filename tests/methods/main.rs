//! Every hypergradient method, on problems small enough to be known in closed form or to be checked by
//! differences, in f64.

#[path = "../../examples/averaged_truncation/method.rs"]
mod averaged;
mod direct;
#[path = "../engine_support/mod.rs"]
mod engine_support;
mod implicit;
mod matrix;
mod memory;
mod network;
mod noise;
mod online;
mod outside;
mod problems;
mod snapshots;
mod vectors;
