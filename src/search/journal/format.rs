//! What lines of the file are made of.

use serde_json::{Map, Value as Json};

/// A line that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct JournalError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

/// Operations, by their numbers in the file.
pub mod operation {
    pub const CREATE_STUDY: u64 = 0;
    pub const DELETE_STUDY: u64 = 1;
    pub const SET_STUDY_SYSTEM_ATTR: u64 = 3;
    pub const CREATE_TRIAL: u64 = 4;
    pub const SET_TRIAL_PARAM: u64 = 5;
    pub const SET_TRIAL_STATE: u64 = 6;
    pub const SET_TRIAL_INTERMEDIATE: u64 = 7;
    pub const SET_TRIAL_SYSTEM_ATTR: u64 = 9;
}

/// States of trials, by their numbers in the file.
pub const RUNNING: u64 = 0;
pub const COMPLETE: u64 = 1;
pub const PRUNED: u64 = 2;
pub const FAILED: u64 = 3;
pub const WAITING: u64 = 4;

/// Names of attributes.
pub const BUDGET: &str = "stackelberg:budget";
pub const KEPT: &str = "stackelberg:kept";
pub const RESUMED: &str = "stackelberg:resumed";
pub const PAUSED: &str = "stackelberg:paused";
pub const CHANGED: &str = "stackelberg:changed";
pub const STOPPED: &str = "stackelberg:stopped";
pub const ADOPTED: &str = "stackelberg:adopted";
pub const SPENT: &str = "stackelberg:spent";
pub const STUDY: &str = "stackelberg:study";

/// The fields of a line.
pub type Fields = Map<String, Json>;

/// An error of a line.
pub fn wrong(line: usize, problem: impl Into<String>) -> JournalError {
    JournalError { line, problem: problem.into() }
}
