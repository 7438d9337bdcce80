//! Compiled programs on the reference engine against the graph interpreter.

mod cases;
#[path = "../engine_support/mod.rs"]
mod engine_support;
mod fusion;
mod golden;
mod har;
mod in_place;
mod random;
mod sums;
mod support;
