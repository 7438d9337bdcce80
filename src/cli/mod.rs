//! The command line: one file a command.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stackelberg::data::visible;

mod advise;
mod chart;
mod check_gradient;
mod data;
mod device;
mod devices;
mod error;
mod experiment;
mod explain;
mod files;
mod progress;
mod report;
mod run_dir;
mod schema;
mod settings;
mod summary;
mod tune;
mod verify;

use error::{CliError, Shown};

/// Tune a neural network by differentiating through its training
///
/// A network is trained with some hyperparameters: a learning rate, a momentum, L2 penalties. Then
/// the derivative of the validation loss with respect to each of them (the hypergradient) is
/// computed back through every training step, and the hyperparameters take a step downhill. A few
/// such outer iterations replace a search over hundreds of settings.
///
/// Start with:  stackelberg tune --quick
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Devices(devices::Args),
    Tune(Box<tune::Args>),
    Advise(Box<advise::Args>),
    CheckGradient(Box<check_gradient::Args>),
    Verify(verify::Args),
    Experiment(experiment::Args),
    Data(data::Args),
    Report(report::Args),
    Explain(Box<explain::Args>),
    Schema(schema::Args),
}

/// Exit status of a command that ran but whose answer is no.
const FAILED: u8 = 1;

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Devices(args) => devices::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Advise(args) => advise::run(&args),
        Command::CheckGradient(args) => check_gradient::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Experiment(args) => experiment::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Schema(args) => schema::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        let code = error.exit_code();
        let _ = writeln!(std::io::stderr(), "{:?}", miette::Report::new(Shown::of(&error)));
        code
    })
}

/// Writes a line to standard error. That nobody reads it any more is no reason to end a run.
fn note(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", plain(&line.to_string()));
}

/// Text for a terminal: nothing in it, which may be from files and their names, commands the terminal.
fn plain(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// Writes to standard output. A reader that has gone away (`| head`) is no error.
fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(plain(text).as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::Stdout(e)),
        _ => Ok(()),
    }
}
