//! Where windows come from, written as one text.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the windows come from. Written as one text: `builtin`, `subset`, or a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub enum DataSource {
    /// The whole built-in data set: 30 people.
    #[default]
    Builtin,
    /// The small built-in piece: 12 people. Accuracies on it are not comparable with published ones.
    Subset,
    /// A folder or a zip file.
    Path(String),
}

impl From<String> for DataSource {
    fn from(text: String) -> Self {
        match text.as_str() {
            "builtin" => DataSource::Builtin,
            "subset" => DataSource::Subset,
            _ => DataSource::Path(text),
        }
    }
}

impl From<DataSource> for String {
    fn from(source: DataSource) -> Self {
        source.to_string()
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            DataSource::Builtin => "builtin",
            DataSource::Subset => "subset",
            DataSource::Path(path) => path,
        })
    }
}
