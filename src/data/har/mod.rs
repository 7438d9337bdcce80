//! UCI HAR: windows of a phone's motion signals, labelled with what its wearer did. Only this folder knows how long a
//! window is, how many signals it has and how many activities there are; everybody else asks the data.
//!
//! | file | what it does |
//! | --- | --- |
//! | `signal` | raw accelerometer and gyroscope → the nine channels |
//! | `builtin` | the windows that come with the program |
//! | `uci_har` | the data set as users have it: a folder or a zip |
//! | `statistics` | 135 numbers a window, for baselines |

pub mod builtin;
pub mod signal;
pub mod statistics;
pub mod uci_har;

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
