//! What a data set is made of: what is known of all its examples, the examples themselves, what is to be told of them.

use serde::{Deserialize, Serialize};

use super::Standardizer;

/// A signal, a colour: one place of the last axis of an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Such as `body_acc_x` or `red`.
    pub name: String,
    /// Such as `g`; empty where the values have none.
    pub unit: String,
}

/// How windows were cut from recordings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Samples a second.
    pub rate_hz: f32,
    /// Samples from one window's start to the next's.
    pub hop: usize,
}

/// Whom to validate and to test on where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOut {
    /// The people usually set aside for validation.
    pub validation: Vec<u32>,
    /// The people of the published test set.
    pub test: Vec<u32>,
}

/// What holds for every example of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// What the set is and where it came from, for people.
    pub name: String,
    /// Whether it is a small piece, whose accuracies are not comparable with those published for the whole.
    pub subset: bool,
    /// Shape of an example, the channels last: `[time, channel]`, `[row, column, channel]`.
    pub shape: Vec<usize>,
    /// What stands along the last axis.
    pub channels: Vec<Channel>,
    /// What a target tells: the names of the classes, by label, or of the values in a row.
    pub outputs: Vec<String>,
    /// Where examples are windows of recordings, how these were cut.
    pub recording: Option<Recording>,
    /// The usual division by people.
    pub held_out: HeldOut,
}

impl Description {
    /// Of images `[row, column, channel]` with these colours and classes, of which nothing else is known.
    pub fn images(
        name: impl Into<String>,
        [rows, columns]: [usize; 2],
        colours: &[&str],
        classes: Vec<String>,
    ) -> Self {
        let channel = |colour: &&str| Channel { name: (*colour).to_owned(), unit: String::new() };
        Description {
            name: name.into(),
            subset: false,
            shape: vec![rows, columns, colours.len()],
            channels: colours.iter().map(channel).collect(),
            outputs: classes,
            recording: None,
            held_out: HeldOut::default(),
        }
    }
}

/// What networks are given, `[n, shape…]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Examples {
    /// Numbers as they are.
    Floats(Vec<f32>),
    /// Bytes, a quarter of the room; by channel, each stands for (byte − mean) / deviation.
    Bytes {
        /// One a value.
        bytes: Vec<u8>,
        /// What each channel's bytes stand for.
        scale: Standardizer,
    },
}

impl Examples {
    /// Bytes that stand for themselves, 0 to 255, in so many channels.
    pub fn bytes(bytes: Vec<u8>, channels: usize) -> Self {
        Examples::Bytes { bytes, scale: Standardizer::identity(channels) }
    }

    /// What bytes stand for; none where examples are numbers.
    pub fn scale(&self) -> Option<&Standardizer> {
        match self {
            Examples::Floats(_) => None,
            Examples::Bytes { scale, .. } => Some(scale),
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Examples::Floats(values) => values.len(),
            Examples::Bytes { bytes, .. } => bytes.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<f32>> for Examples {
    fn from(values: Vec<f32>) -> Self {
        Examples::Floats(values)
    }
}

/// What is to be told of examples.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// A class each, counted from 0.
    Labels(Vec<u32>),
    /// `[n, outputs]`, row-major.
    Values(Vec<f32>),
}
