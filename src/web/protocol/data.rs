//! Data as the page shows them.

use serde::Serialize;
use tsify::Tsify;

/// A data set and its split by people.
#[derive(Debug, Clone, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct DataInfo {
    /// What the set is called.
    pub name: String,
    /// What the command line's `--data` calls it.
    pub source: String,
    /// The same for equal data alone, wherever they lie.
    pub fingerprint: String,
    /// Only the first piece of the built-in data is there yet.
    pub subset: bool,
    /// What training sees.
    pub train: Split,
    /// What the outer loss sees.
    pub validation: Split,
    /// What only the final score sees.
    pub test: Split,
    /// The activities, in label order.
    pub classes: Vec<Class>,
    /// How recordings of one's own were read, and what should be known of them, in sentences.
    pub notes: Vec<String>,
}

/// One side of the split.
#[derive(Debug, Clone, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// Number of windows.
    pub windows: u32,
    /// Numbers of the people recorded.
    pub people: Vec<u32>,
}

/// One activity.
#[derive(Debug, Clone, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Class {
    /// For people to read.
    pub name: String,
    /// Windows of it in the whole set.
    pub windows: u32,
    /// Those of them that training sees.
    pub training: u32,
}

/// One recorded window.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// Which window of the set.
    pub index: u32,
    /// Number of the person who wore the phone.
    pub person: u32,
    /// What the person did.
    pub activity: String,
    /// Samples a second.
    pub rate: f32,
    /// The channels, in the order of `samples`.
    pub channels: Vec<Channel>,
    /// `[time, channel]`, row by row, in the units of the channels.
    pub samples: Vec<f32>,
}

/// One sensor channel.
#[derive(Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// Such as `body_acc_x`.
    pub name: String,
    /// Such as `g`.
    pub unit: String,
}
