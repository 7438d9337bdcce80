//! Compiled programs on the reference engine against the graph interpreter.

mod cases;
mod golden;
mod har;
mod in_place;
mod random;
mod sums;
mod support;
