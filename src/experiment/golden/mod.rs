//! Reference cases: problems with f64 results that an engine's results are held against. The format
//! is that of the directories' own README (schema `golden/1`).

mod case;
mod graphs;

pub use case::{Array, Case, CaseError, OutputSpec};
pub use graphs::{CaseGraph, case_graph};
