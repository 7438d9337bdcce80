//! What can go wrong on the command line, with what to do about it.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use miette::{Diagnostic, NamedSource, SourceSpan};
use stackelberg::bilevel::SolveError;
use stackelberg::data::DataError;
use stackelberg::engine::EngineError;
use stackelberg::experiment::check::CheckError;
use stackelberg::experiment::config::ConfigError;
use stackelberg::experiment::error::TuneError;
use stackelberg::experiment::searching::executor::SearchError;
use stackelberg::experiment::searching::ledger::LedgerError;
use stackelberg::search::SpaceError;

use super::journal::JournalError;
use super::run_dir::{self, RunDirError, SETTINGS};

/// Exit status of a command that ran but whose answer is no, or that could not go on.
pub const FAILED: u8 = 1;

/// Exit status of a command that was given wrongly.
pub const USAGE: u8 = 2;

/// An error as the user sees it.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum CliError {
    #[error("cannot read the configuration {}", path.display())]
    #[diagnostic(help("--config takes a TOML file; the run.toml of an earlier run is one"))]
    ReadConfig { path: PathBuf, source: std::io::Error },

    #[error(transparent)]
    #[diagnostic(transparent)]
    ConfigSyntax(Box<ConfigSyntax>),

    #[error(transparent)]
    Config(#[from] ConfigError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    RunDir(#[from] RunDirError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Journal(#[from] JournalError),

    #[error("the run in {} keeps its settings: {option} was given, and {SETTINGS} has `{setting}`", directory.display())]
    #[diagnostic(help(
        "leave {option} out; or start a new run with {option} added to\n{}",
        run_dir::repeat(directory)
    ))]
    ResumeChanges { option: String, setting: String, directory: PathBuf },

    #[error(transparent)]
    Data(#[from] DataError),

    #[error(transparent)]
    Engine(#[from] EngineError),

    #[error(transparent)]
    #[diagnostic(help("take a smaller --batch, --steps or --memory-budget, --network narrow, or --device cpu"))]
    Memory(Box<TuneError>),

    #[error(transparent)]
    Tune(TuneError),

    #[error(transparent)]
    Check(CheckError),

    #[error(transparent)]
    #[diagnostic(help("{}", after(.0)))]
    Search(Box<SearchError>),

    #[error("{}, {source}", path.display())]
    #[diagnostic(help("`stackelberg search --explain-space` prints a space; docs/search.md has one as TOML"))]
    Space { path: PathBuf, source: SpaceError },

    #[error("search takes a --method: {} has no study yet", journal.display())]
    #[diagnostic(help("`stackelberg search --help` lists the methods; asha is a good first one"))]
    NoSearcher { journal: PathBuf },

    #[error("without --method the study goes on as it was begun, and --quick and --config say how one begins")]
    #[diagnostic(help("leave them out, or give --method, too"))]
    AsBegun,

    #[error("the run was interrupted: {error}")]
    #[diagnostic(help("{way_on}"))]
    Interrupted { error: Box<TuneError>, way_on: String },

    #[error("no usable device `{choice}`: {reason}")]
    #[diagnostic(help("--device takes {choices}, or part of an adapter's name"))]
    NoDevice { choice: String, reason: String, choices: String },

    #[error("check-gradient takes no --method: it checks reverse mode, forward mode and differences, all three")]
    #[diagnostic(help("leave --method out"))]
    NoMethod,

    #[error("train takes no {option}: it trains once, and tunes nothing")]
    #[diagnostic(help("leave {option} out; `stackelberg tune` tunes"))]
    NotTuned { option: String },

    #[error("experiment list takes no --shard: it tells of whole studies")]
    #[diagnostic(help("leave --shard out; N processes take about an N-th of the time each"))]
    NoShard,

    #[error("{} is no case and holds none: there is no case.json", path.display())]
    #[diagnostic(help("a case is a directory with case.json and tensors.safetensors"))]
    NoCase { path: PathBuf },

    #[error("{}: {problem}", path.display())]
    #[diagnostic(help("{mend}"))]
    NoFit { path: PathBuf, problem: String, mend: &'static str },

    #[error("nothing to report in {}", listed(directories))]
    #[diagnostic(help(
        "name directories that `stackelberg experiment` or `stackelberg tune --out` wrote to, or journals of `stackelberg search`"
    ))]
    NothingToReport { directories: Vec<PathBuf> },

    #[error("{} was not written by this command, or was changed since", path.display())]
    #[diagnostic(help("move it away, or name another directory with --out"))]
    NotOurs { path: PathBuf },

    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },

    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },

    #[error("cannot write to standard output")]
    Stdout(#[source] std::io::Error),
}

/// How to go on after a study failed.
fn after(error: &SearchError) -> &'static str {
    match error {
        SearchError::Ledger(LedgerError::Other { .. }) => {
            "give the same again, or another --journal; without --method the study goes on as it was begun"
        }
        SearchError::Ledger(LedgerError::NoStudy { .. }) => "give another --journal",
        SearchError::Ledger(LedgerError::Line { .. }) => {
            "mend the line or take it out, or give another --journal; a copy first is no mistake"
        }
        SearchError::Ledger(_) | SearchError::History(_) => "give another --journal, or mend this",
        SearchError::AllBroke(_) => {
            "mend what they have in common, or search elsewhere with --space, in a new --journal"
        }
        SearchError::Tune(_) => "the same command goes on with what the journal has",
    }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A mistake in a configuration file, shown in place.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{} has a mistake in line {line}, column {column}", path.display())]
#[diagnostic(help("`stackelberg schema configuration` lists all settings"))]
pub struct ConfigSyntax {
    pub path: PathBuf,
    pub line: usize,
    pub column: usize,
    pub message: String,
    #[source_code]
    pub text: NamedSource<String>,
    #[label("{message}")]
    pub span: SourceSpan,
}

impl From<TuneError> for CliError {
    fn from(error: TuneError) -> Self {
        match error {
            TuneError::Config(error) => error.into(),
            TuneError::Data(error) => error.into(),
            // The observer is ours: its errors are those of the run's directory.
            TuneError::Observer(error) => match error.downcast::<RunDirError>() {
                Ok(error) => CliError::RunDir(*error),
                Err(other) => CliError::Tune(TuneError::Observer(other)),
            },
            error @ TuneError::Solve(SolveError::Engine(EngineError::OutOfMemory { .. })) => {
                CliError::Memory(error.into())
            }
            error => CliError::Tune(error),
        }
    }
}

impl From<SearchError> for CliError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Tune(error) => error.into(),
            error => CliError::Search(error.into()),
        }
    }
}

impl From<CheckError> for CliError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Tune(error) => error.into(),
            error => CliError::Check(error),
        }
    }
}

impl CliError {
    /// An error in mid-run, with how to go on after it if the run is saved.
    pub fn in_run(error: TuneError, way_on: Option<String>) -> Self {
        match (CliError::from(error), way_on) {
            (CliError::Tune(error), Some(way_on)) => CliError::Interrupted { error: error.into(), way_on },
            (CliError::Memory(error), Some(way_on)) => CliError::Interrupted { error, way_on },
            (error, _) => error,
        }
    }

    /// What the help of the program says under "Exit status".
    pub fn exit_code(&self) -> ExitCode {
        let usage = match self {
            CliError::ReadConfig { .. }
            | CliError::ConfigSyntax(_)
            | CliError::Config(_)
            | CliError::ResumeChanges { .. }
            | CliError::NoDevice { .. }
            | CliError::NoMethod
            | CliError::NoShard
            | CliError::NotTuned { .. }
            | CliError::NothingToReport { .. }
            | CliError::NotOurs { .. }
            | CliError::NoCase { .. }
            | CliError::NoFit { .. }
            | CliError::Space { .. }
            | CliError::NoSearcher { .. }
            | CliError::AsBegun => true,
            CliError::Search(error) => {
                matches!(**error, SearchError::Ledger(LedgerError::Other { .. } | LedgerError::NoStudy { .. }))
            }
            CliError::RunDir(error) => error.is_usage(),
            CliError::Data(error) => does_not_fit(error),
            CliError::Tune(TuneError::Solve(error)) => {
                matches!(error, SolveError::Budget { .. } | SolveError::OverBudget { .. } | SolveError::Refused(_))
            }
            CliError::Read { source, .. } => source.kind() == ErrorKind::NotFound,
            _ => false,
        };
        ExitCode::from(if usage { USAGE } else { FAILED })
    }
}

/// Whether it is the settings that are wrong: the path of the data, or people and tasks that they do not have.
fn does_not_fit(error: &DataError) -> bool {
    match error {
        DataError::Read { reason, .. } => reason.kind() == ErrorKind::NotFound,
        DataError::NoFile { .. }
        | DataError::UnknownFormat { .. }
        | DataError::SeveralSets { .. }
        | DataError::WrongFolders { .. }
        | DataError::NoTable { .. }
        | DataError::UnknownSubjects { .. }
        | DataError::OverlappingSubjects { .. }
        | DataError::EmptySplit { .. }
        | DataError::NothingFollows { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_memory_has_a_way_on() {
        let full = || {
            let what = "train_x".to_owned();
            TuneError::Solve(EngineError::OutOfMemory { what, bytes: 2, limit: Some(1) }.into())
        };
        let before = CliError::from(full());
        assert!(before.help().unwrap().to_string().contains("--memory-budget"));
        let amid = CliError::in_run(full(), Some("saved".to_owned()));
        assert!(amid.to_string().contains("train_x") && amid.help().unwrap().to_string() == "saved", "{amid}");
    }
}
