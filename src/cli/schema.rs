//! `stackelberg schema`.

use std::process::ExitCode;

use clap::ValueEnum;
use schemars::{Schema, schema_for};
use serde_json::json;
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::record::{OuterRecord, RunResult};

use super::CliError;
use super::worker::protocol::{Reply, Request};

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
    /// What `stackelberg worker` is asked
    WorkerRequest,
    /// What it answers
    WorkerReply,
}

impl Part {
    fn schema(self) -> Schema {
        match self {
            Part::Configuration => schema_for!(TuneConfig),
            Part::Metrics => schema_for!(OuterRecord),
            Part::Result => schema_for!(RunResult),
            Part::WorkerRequest => schema_for!(Request),
            Part::WorkerReply => schema_for!(Reply),
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let value = match args.of {
        Some(part) => part.schema().to_value(),
        None => json!({
            "configuration": Part::Configuration.schema(),
            "metrics": Part::Metrics.schema(),
            "result": Part::Result.schema(),
            "worker-request": Part::WorkerRequest.schema(),
            "worker-reply": Part::WorkerReply.schema(),
        }),
    };
    super::print(&format!("{value:#}\n"))?;
    Ok(ExitCode::SUCCESS)
}
