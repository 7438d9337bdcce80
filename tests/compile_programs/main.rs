//! Compiled programs on the reference engine against the graph interpreter.

mod cases;
mod har;
mod random;
mod support;
