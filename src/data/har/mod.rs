//! UCI HAR: windows of a phone's motion signals, labelled with what its wearer did. Only this folder knows how long a
//! window is, how many signals it has and how many activities there are; everybody else asks the data.
//!
//! | file | what it does |
//! | --- | --- |
//! | `signal` | raw accelerometer and gyroscope → the nine channels |
//! | `builtin` | the windows that come with the program |
//! | `packing` | integers in few bits, for those |
//! | `uci_har` | the data set as users have it: a folder or a zip |
//! | `statistics` | 135 numbers a window, for baselines |

pub mod builtin;
mod packing;
pub mod signal;
pub mod statistics;
pub mod uci_har;

use super::{Channel, DataError, Dataset, Description, Examples, HeldOut, Recording, Targets};

/// Samples a second.
pub const SAMPLE_RATE_HZ: u32 = 50;
/// Samples in a window (2.56 s at 50 Hz).
pub const WINDOW: usize = 128;
/// Samples from one window's start to the next's.
pub const HOP: usize = 64;
/// Signals per sample.
pub const CHANNELS: usize = 9;
/// Activities.
pub const CLASSES: usize = 6;
/// People.
pub const SUBJECTS: u32 = 30;
/// The activities, by label.
pub const CLASS_NAMES: [&str; CLASSES] =
    ["walking", "walking upstairs", "walking downstairs", "sitting", "standing", "laying"];
/// The signals, in the order in which a window stores them: g, rad/s, g.
pub const CHANNEL_NAMES: [&str; CHANNELS] = [
    "body_acc_x",
    "body_acc_y",
    "body_acc_z",
    "body_gyro_x",
    "body_gyro_y",
    "body_gyro_z",
    "total_acc_x",
    "total_acc_y",
    "total_acc_z",
];
/// The test subjects of the published split.
pub const TEST_SUBJECTS: [u32; 9] = [2, 4, 9, 10, 12, 13, 18, 20, 24];
/// The training subjects that we set aside for validation.
pub const VALIDATION_SUBJECTS: [u32; 5] = [1, 14, 21, 27, 30];

/// The signals with their units.
pub fn channels() -> Vec<Channel> {
    let channel = |name: &str| {
        let unit = if name.contains("gyro") { "rad/s" } else { "g" };
        Channel { name: name.to_owned(), unit: unit.to_owned() }
    };
    CHANNEL_NAMES.map(channel).into()
}

/// A data set of windows `[n, WINDOW, CHANNELS]`, each with its activity, `0..CLASSES`, and its wearer.
pub fn dataset(
    name: impl Into<String>,
    subset: bool,
    x: Vec<f32>,
    labels: Vec<u32>,
    wearers: Vec<u32>,
) -> Result<Dataset, DataError> {
    let about = Description {
        name: name.into(),
        subset,
        shape: vec![WINDOW, CHANNELS],
        channels: channels(),
        outputs: CLASS_NAMES.map(str::to_owned).into(),
        recording: Some(Recording { rate_hz: SAMPLE_RATE_HZ as f32, hop: HOP }),
        held_out: HeldOut { validation: VALIDATION_SUBJECTS.into(), test: TEST_SUBJECTS.into() },
    };
    Dataset::new(about, Examples::Floats(x), Targets::Labels(labels), wearers)
}

/// Windows that are being read.
#[derive(Debug, Default)]
struct Windows {
    /// `[n, WINDOW, CHANNELS]`.
    x: Vec<f32>,
    labels: Vec<u32>,
    subjects: Vec<u32>,
}

impl Windows {
    /// Puts the windows of `other` behind these.
    fn append(&mut self, other: Windows) {
        self.x.extend(other.x);
        self.labels.extend(other.labels);
        self.subjects.extend(other.subjects);
    }

    fn dataset(self, name: impl Into<String>, subset: bool) -> Result<Dataset, DataError> {
        dataset(name, subset, self.x, self.labels, self.subjects)
    }
}
