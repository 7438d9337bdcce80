//! `stackelberg export`.

use std::path::PathBuf;
use std::process::ExitCode;

use stackelberg::experiment::card::card;
use stackelberg::experiment::classifier::Classifier;
use stackelberg::experiment::onnx;
use stackelberg::experiment::record::RunResult;

use super::run_dir::{MODEL, RESULT, RunDir};
use super::{CliError, files, print};

/// The network as ONNX.
const ONNX: &str = "model.onnx";
/// What it is, for people and programs.
const CARD: &str = "card.json";

/// Write the network of a run as ONNX, and a model card
///
/// `model.onnx` takes raw windows [n, samples, channels] and gives probabilities [n, classes]; scaling is within, and its
/// metadata name classes, channels and samples a second. `card.json` has these, the settings, the split and the scores. Both
/// go into the run's directory beside model.safetensors, or into another.
#[derive(clap::Args)]
pub struct Args {
    /// Directory of a run, as `tune --out` made it
    run: PathBuf,

    /// Directory to write into, instead of the run's
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let directory = RunDir::look(&args.run)?;
    let there = |name: &str| {
        let missing = || directory.damaged(name, "it is missing; the run has to end first");
        directory.read(name)?.ok_or_else(missing)
    };
    let classifier = Classifier::open(&there(MODEL)?).map_err(|problem| directory.damaged(MODEL, problem))?;
    let result: RunResult = serde_json::from_slice(&there(RESULT)?)
        .map_err(|error| directory.damaged(RESULT, format!("it is no result ({error})")))?;
    let to = args.out.clone().unwrap_or_else(|| args.run.clone());
    std::fs::create_dir_all(&to).map_err(|source| CliError::Write { path: to.clone(), source })?;
    let card = serde_json::to_vec_pretty(&card(&classifier, &result)).expect("plain values");
    for (name, bytes) in [(ONNX, onnx::pack(&classifier)), (CARD, card)] {
        let path = to.join(name);
        files::replace(&path, &bytes).map_err(|source| CliError::Write { path: path.clone(), source })?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
