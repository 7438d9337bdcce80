//! `stackelberg schema`.

use std::process::ExitCode;

use clap::ValueEnum;
use schemars::schema_for;
use serde_json::{Value, json};
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::profile::Profile;
use stackelberg::experiment::record::{OuterRecord, RunResult};
use stackelberg::experiment::trainable::Trainable;
use stackelberg::experiment::trainables::TRAINABLES;

use super::worker::protocol::{Reply, Request};
use super::{CliError, ask};

/// Print the JSON schemas of the files that runs read and write
///
/// An editor that knows the schema of the configuration completes and checks `run.toml` as you type.
#[derive(clap::Args)]
pub struct Args {
    /// Print one schema instead of an object that holds all
    of: Option<Part>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// What --config reads: `run.toml`
    Configuration,
    /// A line of `metrics.jsonl`
    Metrics,
    /// `result.json`
    Result,
    /// What `stackelberg profile --json` prints
    Profile,
    /// The settings of trials, by what these do
    Trials,
    /// What `stackelberg worker` is asked
    WorkerRequest,
    /// What it answers
    WorkerReply,
    /// What `stackelberg ask` is asked
    AskRequest,
    /// What it answers
    AskReply,
}

impl Part {
    fn schema(self) -> Value {
        match self {
            Part::Configuration => schema_for!(TuneConfig).to_value(),
            Part::Metrics => schema_for!(OuterRecord).to_value(),
            Part::Result => schema_for!(RunResult).to_value(),
            Part::Profile => schema_for!(Profile).to_value(),
            Part::Trials => {
                let row = |row: &&dyn Trainable| {
                    let about = json!({ "about": row.about(), "unit": row.unit(), "settings": row.schema() });
                    (row.name().to_owned(), about)
                };
                Value::Object(TRAINABLES.iter().map(row).collect())
            }
            Part::WorkerRequest => schema_for!(Request).to_value(),
            Part::WorkerReply => schema_for!(Reply).to_value(),
            Part::AskRequest => schema_for!(ask::protocol::Request).to_value(),
            Part::AskReply => schema_for!(ask::protocol::Reply).to_value(),
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let value = match args.of {
        Some(part) => part.schema(),
        None => json!({
            "configuration": Part::Configuration.schema(),
            "metrics": Part::Metrics.schema(),
            "result": Part::Result.schema(),
            "profile": Part::Profile.schema(),
            "trials": Part::Trials.schema(),
            "worker-request": Part::WorkerRequest.schema(),
            "worker-reply": Part::WorkerReply.schema(),
            "ask-request": Part::AskRequest.schema(),
            "ask-reply": Part::AskReply.schema(),
        }),
    };
    super::print(&format!("{value:#}\n"))?;
    Ok(ExitCode::SUCCESS)
}
