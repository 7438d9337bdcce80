//! What was seen while recordings were read.

use serde::Serialize;

use super::mapping::Mapping;
use crate::engine::several;

/// What was read, counted, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// What the data are called.
    pub name: String,
    /// Files that were read.
    pub files: Vec<String>,
    /// Files that were not, with the reason.
    pub left_out: Vec<String>,
    /// How they are written, in words.
    pub written: String,
    /// All columns of the first table.
    pub columns: Vec<String>,
    /// What of them is what.
    pub mapping: Mapping,
    /// Those that are nothing, with the reason.
    pub unused: Vec<String>,
    /// Rows of all tables.
    pub rows: u64,
    /// Rows that could not be read.
    pub damaged: u64,
    /// Values that are missing, of all channels.
    pub missing: u64,
    /// Rows that repeat the time of the one before.
    pub duplicates: u64,
    /// Times that go back, where a new recording begins.
    pub back: u64,
    /// Steps in time that are longer than five usual ones.
    pub gaps: u64,
    /// Samples that were interpolated to an even grid.
    pub resampled: u64,
    /// Samples a second, as measured; none where there are no times.
    pub measured_hz: Option<f64>,
    /// Recordings, and the pieces without gaps in them.
    pub recordings: u64,
    /// The pieces without gaps.
    pub pieces: u64,
    /// Windows of each class.
    pub classes: Vec<(String, u64)>,
    /// Windows of each person, and the name that files have for them.
    pub people: Vec<Person>,
    /// Whether these are people; else blocks of time stand in for them.
    pub by_people: bool,
    /// Windows without a label, or with several where that is asked for.
    pub unlabelled: u64,
    /// Windows between blocks of time.
    pub between: u64,
    /// Each channel with its least and greatest value.
    pub channels: Vec<ChannelReport>,
    /// Sentences about what a person should know.
    pub notes: Vec<String>,
}

/// One of those who gave windows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// The number that settings call them by.
    pub number: u32,
    /// What files call them.
    pub name: String,
    /// How many windows they gave.
    pub windows: u64,
}

/// A channel as it was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelReport {
    /// Its name.
    pub name: String,
    /// Its unit; empty where the file names none.
    pub unit: String,
    /// The least value.
    pub least: f32,
    /// The greatest value.
    pub greatest: f32,
}

impl Report {
    /// How it was read and what should be known of it, in sentences.
    pub fn said(&self) -> Vec<String> {
        let Mapping { rate, window, columns, .. } = &self.mapping;
        let mut said = vec![format!("{}, {}", several(self.files.len() as u64, "file"), self.written)];
        if let (Some(rate), Some(window)) = (rate, window) {
            said.push(format!("Windows of {window} samples at {rate} a second"));
        }
        if let Some(label) = &columns.label {
            let person = columns.person.as_ref().map_or("none".to_owned(), ToString::to_string);
            said.push(format!("Labels: {label}; people: {person}"));
        }
        said.extend(self.notes.iter().cloned());
        said
    }

    /// Adds a sentence, once; of many, the first ten.
    pub(super) fn note(&mut self, sentence: String) {
        const MOST: usize = 10;
        if self.notes.len() < MOST && !self.notes.contains(&sentence) {
            self.notes.push(sentence);
        }
    }
}
