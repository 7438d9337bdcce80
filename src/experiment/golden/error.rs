//! What may be wrong with a case.

use super::CaseError;
use crate::bilevel::SolveError;

/// Why a case gave no outputs.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The case is not one, or is of a kind that cannot be run.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// An engine could not run it.
    #[error(transparent)]
    Solve(#[from] SolveError),
}
