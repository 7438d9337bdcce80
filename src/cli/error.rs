//! What can go wrong on the command line, with what to do about it.

use std::path::PathBuf;
use std::process::ExitCode;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};
use stackelberg::data::DataError;
use stackelberg::engine::EngineError;
use stackelberg::experiment::check::CheckError;
use stackelberg::experiment::config::ConfigError;
use stackelberg::experiment::error::TuneError;

use super::experiment::JournalError;
use super::run_dir::RunDirError;

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

    #[error("a resumed run keeps its settings, but `{setting}` differs from {}/run.toml", directory.display())]
    #[diagnostic(help("leave the option out to go on; or start a new run with `stackelberg tune --config {}/run.toml --out NEW` and the option", directory.display()))]
    ResumeChanges { setting: String, directory: PathBuf },

    #[error(transparent)]
    Data(#[from] DataError),

    #[error(transparent)]
    Engine(#[from] EngineError),

    #[error(transparent)]
    Tune(TuneError),

    #[error(transparent)]
    Check(CheckError),

    #[error("the run was interrupted: {error}")]
    #[diagnostic(help("{way_on}"))]
    Interrupted { error: Box<TuneError>, way_on: String },

    #[error("no usable device `{choice}`: {reason}")]
    #[diagnostic(help("--device takes {choices}, or part of an adapter's name"))]
    NoDevice { choice: String, reason: String, choices: String },

    #[error("check-gradient takes no --method: it checks reverse mode, forward mode and differences, all three")]
    #[diagnostic(help("leave --method out"))]
    NoMethod,

    #[error("{} is no case and holds none: there is no case.json", path.display())]
    #[diagnostic(help("a case is a directory with case.json and tensors.safetensors"))]
    NoCase { path: PathBuf },

    #[error("nothing to report in {}", listed(directories))]
    #[diagnostic(help("name directories that `stackelberg experiment` or `stackelberg tune --out` wrote to"))]
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
            error => CliError::Tune(error),
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
            (error, _) => error,
        }
    }

    /// 2 where the command was given wrongly, 1 where it failed.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            CliError::ReadConfig { .. }
            | CliError::ConfigSyntax(_)
            | CliError::Config(_)
            | CliError::ResumeChanges { .. }
            | CliError::NoDevice { .. }
            | CliError::NoMethod
            | CliError::NothingToReport { .. }
            | CliError::NotOurs { .. }
            | CliError::NoCase { .. } => 2,
            CliError::RunDir(error) if error.is_usage() => 2,
            _ => super::FAILED,
        })
    }
}

/// An error for a terminal: no text in it, which may be from files and their names, commands the terminal.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Shown {
    text: String,
    help: Option<String>,
    source: Option<Box<Shown>>,
    code: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
}

impl Shown {
    pub fn of(error: &CliError) -> Self {
        let mut shown = Shown::cause(error);
        shown.help = error.help().map(|help| super::plain(&help.to_string()));
        if let CliError::ConfigSyntax(syntax) = error {
            // The same length, so that the place of the mistake stays.
            let seen = |c: char| match c {
                '\r' | '\t' => " ".to_owned(),
                c if super::plain(&c.to_string()).chars().eq([c]) => c.to_string(),
                unseen => "?".repeat(unseen.len_utf8()),
            };
            let text: String = syntax.text.inner().chars().map(seen).collect();
            shown.code = Some(NamedSource::new(super::plain(syntax.text.name()), text));
            shown.labels = vec![LabeledSpan::new_with_span(Some(super::plain(&syntax.message)), syntax.span)];
        }
        shown
    }

    fn cause(error: &dyn std::error::Error) -> Self {
        Shown {
            text: super::plain(&error.to_string()),
            help: None,
            source: error.source().map(|source| Box::new(Shown::cause(source))),
            code: None,
            labels: vec![],
        }
    }
}

impl Diagnostic for Shown {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.code.as_ref().map(|code| code as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.labels.iter().cloned();
        (!self.labels.is_empty()).then(|| Box::new(labels) as _)
    }
}
