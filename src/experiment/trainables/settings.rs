//! Settings of trials as they come.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::experiment::config::ConfigError;

/// Reads the settings of a trainable.
pub(super) fn read<T: DeserializeOwned>(settings: &Value) -> Result<T, ConfigError> {
    let wrong =
        |error: serde_json::Error| ConfigError::Setting { field: "settings".to_owned(), message: error.to_string() };
    serde_json::from_value(settings.clone()).map_err(wrong)
}
