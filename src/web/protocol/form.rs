//! What the form of the settings is told of those at hand.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tsify::Tsify;

use crate::bilevel::hyperparameters::Kind;

/// A setting of the configuration that has no field of its own in [`Settings`](super::to_worker::Settings).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Tsify)]
pub struct Setting {
    /// Its name in configurations.
    pub name: String,
    /// Its value: JSON, or a word as it is.
    pub value: String,
}

impl Setting {
    /// One of the settings of a configuration.
    pub fn of((name, value): (&String, &Value)) -> Self {
        Setting { name: name.clone(), value: value.as_str().map_or_else(|| value.to_string(), str::to_owned) }
    }
}

/// What goes with settings, and what they come to.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Form {
    /// The [`ToWorker::Prepare`](super::to_worker::ToWorker::Prepare) that this answers.
    pub id: u32,
    /// Values that some settings may have.
    pub offers: Vec<Offer>,
    /// Every setting with the value that the run has, given or usual.
    pub values: Vec<Setting>,
    /// Settings that the run would not look at.
    pub unused: Vec<String>,
    /// The layers of the network as a file of layers has them; none where there is no such network.
    pub layers: Option<String>,
    /// Why these settings cannot be run, and how to mend it.
    pub problem: Option<String>,
}

impl Form {
    /// That of settings which are none.
    pub fn unreadable(id: u32, problem: String) -> Self {
        Form { id, offers: vec![], values: vec![], unused: vec![], layers: None, problem: Some(problem) }
    }
}

/// A value that a setting may have.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// The setting.
    pub setting: String,
    /// The value; of a list, one of its words.
    pub value: String,
    /// Why it does not go with the other settings, and how to go on.
    pub refusal: Option<String>,
    /// Of an inner optimiser, what is tuned where nothing else is asked for.
    #[tsify(type = "string[]")]
    pub usual: Vec<Kind>,
}
