//! From a graph to a [`Program`].

mod program;

pub use program::*;
