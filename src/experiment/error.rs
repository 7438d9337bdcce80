//! What may be wrong with a run.

use super::config::ConfigError;
use crate::bilevel::SolveError;
use crate::data::DataError;

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// A setting cannot be what it is.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data cannot be read, or are not what the settings need.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The problem cannot be trained or differentiated as the settings say, or the device failed.
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// Whoever watches the run could not take an event, say because a disk is full.
    #[error("{0}")]
    Observer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A saved state does not fit the settings.
    #[error("the run cannot be resumed: {0}")]
    Resume(String),
}

impl TuneError {
    /// Whether it is only that whoever watches wanted to stop.
    pub fn is_stop(&self) -> bool {
        matches!(self, TuneError::Solve(SolveError::Stopped))
    }
}
