//! Messages about a visitor's own recordings, and about networks that tell of new ones.

use serde::{Deserialize, Serialize};
use tsify::Tsify;

use crate::data::recordings::{Columns, Filter, LabelRule, Mapping, Origin, TimeUnit};

/// How recordings become windows, in the words of the command line's `--columns`; what is not said is guessed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, Tsify)]
#[serde(default, rename_all = "camelCase")]
pub struct Reading {
    /// Samples a second.
    #[tsify(optional)]
    pub rate: Option<f64>,
    /// Samples of a window.
    #[tsify(optional)]
    pub window: Option<u32>,
    /// Share of a window that the next one repeats.
    #[tsify(optional)]
    pub overlap: Option<f64>,
    /// The column of times, or `none`.
    #[tsify(optional)]
    pub time: Option<String>,
    /// What times are in: `s`, `ms`, `us`, `ns`, `iso` or `count`.
    #[tsify(optional, type = "string")]
    pub time_unit: Option<TimeUnit>,
    /// The columns of the signals.
    #[tsify(optional)]
    pub channels: Option<Vec<String>>,
    /// Where labels stand: a column, `folder`, `folder 2`, `file`, `file word 2` or `none`.
    #[tsify(optional, type = "string")]
    pub label: Option<Origin>,
    /// Where people stand.
    #[tsify(optional, type = "string")]
    pub person: Option<Origin>,
    /// Which of its samples' labels a window has: `majority` or `pure`.
    #[tsify(optional, type = "string")]
    pub label_rule: Option<LabelRule>,
    /// Labels that mean none.
    #[tsify(optional)]
    pub unlabelled: Option<Vec<String>>,
    /// Where each row is a window, how many signals it holds.
    #[tsify(optional)]
    pub row_signals: Option<u32>,
    /// What is done to the signals before they are cut: `uci`, or nothing.
    #[tsify(optional, type = "string")]
    pub filter: Option<Filter>,
}

impl From<Reading> for Mapping {
    fn from(reading: Reading) -> Mapping {
        let Reading { rate, window, overlap, time, time_unit, channels, label, person, .. } = reading;
        let Reading { label_rule, unlabelled, row_signals, filter, .. } = reading;
        let columns = Columns { time, time_unit, channels, label, person, label_rule, unlabelled, row_signals, filter };
        Mapping { rate, window, overlap, columns }
    }
}

impl From<Mapping> for Reading {
    fn from(Mapping { rate, window, overlap, columns }: Mapping) -> Reading {
        let Columns { time, time_unit, channels, label, person, label_rule, unlabelled, row_signals, filter } = columns;
        Reading {
            rate,
            window,
            overlap,
            time,
            time_unit,
            channels,
            label,
            person,
            label_rule,
            unlabelled,
            row_signals,
            filter,
        }
    }
}

/// What was seen of recordings, how they were read, and what came of it.
#[derive(Debug, Clone, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// What they are called.
    pub name: String,
    /// Files that were read.
    pub files: Vec<String>,
    /// Files that were not, with the reason.
    pub left_out: Vec<String>,
    /// How they are written, in words.
    pub written: String,
    /// The columns of the first table.
    pub columns: Vec<SeenColumn>,
    /// What in the paths of the files may tell labels or people.
    pub places: Vec<SeenPlace>,
    /// How they were read: guessed, or as the visitor says.
    pub reading: Reading,
    /// Samples a second, as measured.
    pub measured_hz: Option<f64>,
    /// What was counted.
    pub counts: Vec<Count>,
    /// Windows in all; none where they cannot be read so.
    pub windows: u32,
    /// The hash that `stackelberg data inspect` has, too.
    pub fingerprint: Option<String>,
    /// The classes, each with one window of it.
    pub classes: Vec<SeenClass>,
    /// Who gave windows.
    pub people: Vec<SeenPerson>,
    /// Whether these are people; else blocks of time stand in for them.
    pub by_people: bool,
    /// The channels of the windows.
    pub channels: Vec<SeenChannel>,
    /// What should be known of them, in sentences.
    pub notes: Vec<String>,
    /// Why they cannot be read so.
    pub problem: Option<String>,
}

/// A column of the first table.
#[derive(Debug, Clone, Serialize, Tsify)]
pub struct SeenColumn {
    /// Its name, or its number.
    pub name: String,
    /// What stands in its first rows.
    pub examples: Vec<String>,
    /// Why it is no signal, where it was not taken for one.
    pub remark: Option<String>,
}

/// A place in the paths of files.
#[derive(Debug, Clone, Serialize, Tsify)]
pub struct SeenPlace {
    /// As `label` and `person` of a [`Reading`] name it.
    pub origin: String,
    /// What stands there.
    pub values: Vec<String>,
}

/// Something that was counted.
#[derive(Debug, Clone, Serialize, Tsify)]
pub struct Count {
    /// What, in words.
    pub what: String,
    /// How many.
    pub count: f64,
}

/// A class with one window of it.
#[derive(Debug, Clone, Serialize, Tsify)]
pub struct SeenClass {
    /// Its name.
    pub name: String,
    /// How many windows there are of it.
    pub windows: u32,
    /// One of these, `[time, channel]`.
    pub samples: Vec<f32>,
}

/// One of those who gave windows.
#[derive(Debug, Clone, Serialize, Tsify)]
pub struct SeenPerson {
    /// The number that settings call them by.
    pub number: u32,
    /// What files call them.
    pub name: String,
    /// How many windows they gave.
    pub windows: u32,
}

/// A channel of the windows.
#[derive(Debug, Clone, Serialize, Tsify)]
pub struct SeenChannel {
    /// Its name.
    pub name: String,
    /// Its unit; empty where the file names none.
    pub unit: String,
    /// Its least value.
    pub least: f32,
    /// Its greatest value.
    pub greatest: f32,
}

/// What the clerk wants of the studio.
#[derive(Debug, Serialize, Tsify)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ForStudio {
    /// To take data, whose values go beside.
    Own(OwnData),
    /// See [`ToWorker::Baseline`](super::ToWorker::Baseline).
    Baseline {
        /// That of the data of a run that was opened.
        fingerprint: String,
    },
}

/// Data of a visitor's own, from the clerk to the studio.
#[derive(Debug, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct OwnData {
    /// What settings call them.
    pub source: String,
    /// How they were read.
    pub reading: Reading,
    /// What should be known of them, in sentences.
    pub notes: Vec<String>,
    /// What holds for every window, as JSON.
    pub about: String,
    /// The label of each.
    pub labels: Vec<u32>,
    /// Who gave each.
    pub people: Vec<u32>,
}

/// A run's files, and the network among them.
#[derive(Debug, Serialize, Deserialize, Tsify)]
pub struct RunFiles {
    /// Those that there are.
    pub files: Vec<RunFile>,
    /// The network, if it names classes.
    #[tsify(optional)]
    pub network: Option<NetworkInfo>,
}

/// A file of a run, as the command line writes it.
#[derive(Debug, Clone, Serialize, Deserialize, Tsify)]
pub struct RunFile {
    /// Its name.
    pub name: String,
    /// What it holds.
    #[tsify(type = "Uint8Array<ArrayBuffer>")]
    pub bytes: serde_bytes::ByteBuf,
}

/// A network that can tell of new recordings.
#[derive(Debug, Clone, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct NetworkInfo {
    /// What the run is called: the file that it was opened from, or nothing where it is this page's.
    pub opened: Option<String>,
    /// What it was trained on.
    pub data: String,
    /// What it tells apart.
    pub classes: Vec<String>,
    /// What it needs.
    pub channels: Vec<String>,
    /// Samples of a window.
    pub window: u32,
    /// Samples a second.
    pub rate: Option<f64>,
    /// Share of the test windows named right.
    pub accuracy: Option<f64>,
    /// Mean of the F1 scores of the classes.
    pub macro_f1: Option<f64>,
    /// Outer iterations of its run, and their cost in trainings.
    pub iterations: u32,
    /// The cost in trainings.
    pub spent: f64,
    /// The values that were found, by name.
    pub hyperparameters: Vec<Tuned>,
}

/// A value that was found.
#[derive(Debug, Clone, Serialize, Deserialize, Tsify)]
pub struct Tuned {
    /// Such as `l2.conv1`.
    pub name: String,
    /// In its natural unit.
    pub value: f64,
}

/// What a network tells of new recordings.
#[derive(Debug, Serialize, Tsify)]
pub struct Told {
    /// What the recordings are called.
    pub name: String,
    /// The windows, one after another.
    pub windows: Vec<ToldWindow>,
    /// All of it as a table, as `stackelberg predict` writes it.
    pub csv: String,
    /// What should be known, in sentences: of the recordings, and how many windows are right.
    pub notes: Vec<String>,
}

/// What is told of a window.
#[derive(Debug, Serialize, Tsify)]
pub struct ToldWindow {
    /// The file that it is of.
    pub file: String,
    /// Seconds from the beginning of the recording.
    pub seconds: f64,
    /// What was done in it, where that is known.
    pub label: Option<String>,
    /// What the network names.
    pub class: String,
    /// How sure it is.
    pub probability: f32,
}
