//! The command line: one file a command.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use miette::MietteHandlerOpts;

mod advise;
mod ask;
mod chart;
mod check_gradient;
mod data;
mod device;
mod devices;
mod error;
mod experiment;
mod explain;
mod export;
mod files;
mod folder;
mod interrupt;
mod journal;
mod output;
mod predict;
mod profile;
mod progress;
mod report;
mod run_dir;
mod schema;
mod search;
mod settings;
mod shard;
mod shell;
mod start;
mod summary;
mod table;
mod train;
mod tune;
mod verify;
mod watch;
mod worker;

use error::{CliError, FAILED};
use output::{note, print};

/// Tune a neural network by differentiating through its training
///
/// A network is trained with some hyperparameters: a learning rate, a momentum, L2 penalties. Then
/// the derivative of the validation loss with respect to each of them (the hypergradient) is
/// computed through the training steps, and the hyperparameters take a step downhill. One such
/// iteration gives the derivatives of all of them, six or five thousand, at the cost of some four
/// trainings.
///
/// Start with:  stackelberg tune --quick
#[derive(Parser)]
#[command(version, max_term_width = 100, after_long_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Devices(devices::Args),
    Tune(Box<tune::Args>),
    Train(Box<train::Args>),
    Search(Box<search::Args>),
    Advise(Box<advise::Args>),
    CheckGradient(Box<check_gradient::Args>),
    Verify(verify::Args),
    Worker(worker::Args),
    Ask(ask::Args),
    Experiment(experiment::Args),
    Predict(predict::Args),
    Export(export::Args),
    Data(data::Args),
    Report(report::Args),
    Profile(Box<profile::Args>),
    Explain(Box<explain::Args>),
    Schema(schema::Args),
}

/// What the exit status says. Commands that say more of theirs agree with it.
const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  it ran, and the answer is no (a check or a case failed, data are wrong, training diverged from
     the start), or it could not go on (a device lost, a disk full, a file damaged)
  2  the command line, a setting or a configuration file is wrong: people whom the data do not
     have, a memory budget too small, a method that cannot see a hyperparameter, no such device
     or path
  3  check-gradient could tell nothing
  129, 130, 143  stopped by SIGHUP, Ctrl-C, SIGTERM; what was finished is saved";

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    // Commands in messages are to be pasted whole.
    let whole = || MietteHandlerOpts::new().wrap_lines(false).build();
    miette::set_hook(Box::new(move |_| Box::new(whole()))).expect("nothing was reported before");
    let outcome = match Cli::parse().command {
        Command::Devices(args) => devices::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Search(args) => search::run(&args),
        Command::Advise(args) => advise::run(&args),
        Command::CheckGradient(args) => check_gradient::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Worker(args) => worker::run(&args),
        Command::Ask(args) => ask::run(&args),
        Command::Experiment(args) => experiment::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Schema(args) => schema::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        let code = error.exit_code();
        let report = miette::Report::new(shell::Shown::new(error));
        let _ = writeln!(std::io::stderr(), "{report:?}");
        code
    })
}
