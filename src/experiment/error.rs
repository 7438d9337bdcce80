//! What may be wrong with a run.

use super::config::ConfigError;
use crate::bilevel::SolveError;
use crate::data::DataError;

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// Whoever watches the run could not take an event, say because a disk is full.
    #[error("{0}")]
    Observer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the run cannot be resumed: {0}")]
    Resume(String),
}
