//! `stackelberg predict`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pollster::block_on;
use stackelberg::bilevel::SolveError;
use stackelberg::data::har::uci_har;
use stackelberg::data::recordings::{Columns, Files, Mapping};
use stackelberg::data::visible;
use stackelberg::engine::several;
use stackelberg::experiment::classifier::Classifier;
use stackelberg::experiment::config::{DataSource, words};
use stackelberg::experiment::library;
use stackelberg::experiment::told::{Asked, NotTold, Told};

use super::run_dir::{MODEL, RunDir, SETTINGS};
use super::{CliError, device, files, print, settings};

/// Tell of new recordings what was done in them, by the network of a run
///
/// They are read like those that the run was trained on: the same columns, resampled to the same rate, cut into windows of the
/// same length, scaled by the same numbers. Where labels stand in them the accuracy is told, too.
///
/// For example:  stackelberg predict runs/first tomorrow.csv --out told.csv
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Directory of a run, as `tune --out` made it
    run: PathBuf,

    /// A table, a folder or a zip of them; or `builtin`, `subset`, a copy of UCI HAR
    data: String,

    #[arg(long, value_name = "LIST", value_parser = Columns::of_line, help = words::COLUMNS)]
    columns: Option<Columns>,

    #[arg(long, value_name = "X", help = words::OVERLAP)]
    overlap: Option<f64>,

    /// Where to compute, as in `tune`
    #[arg(long, default_value = "cpu", value_parser = device::choice)]
    device: String,

    /// Write JSON instead of CSV
    #[arg(long)]
    json: bool,

    /// Write into this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let directory = RunDir::look(&args.run)?;
    let missing = || directory.damaged(MODEL, "it is missing; the run has to end first");
    let bytes = directory.read(MODEL)?.ok_or_else(missing)?;
    let classifier = Classifier::open(&bytes).map_err(|problem| directory.damaged(MODEL, problem))?;
    let asked = asked(args, &directory, &classifier)?;
    for note in &asked.notes {
        super::note(format_args!("Note: {}", visible(note)));
    }
    let on = device::open(&args.device)?;
    let told =
        block_on(Told::of(asked, &classifier, &on)).map_err(|error| CliError::Tune(SolveError::from(error).into()))?;
    for sentence in told.scored() {
        super::note(format_args!("{}", visible(&sentence)));
    }
    let text = if args.json { serde_json::to_string_pretty(&told).expect("plain values") + "\n" } else { told.csv() };
    match &args.out {
        None => print(&text)?,
        Some(path) => {
            let failed = |source| CliError::Write { path: path.clone(), source };
            files::replace(path, text.as_bytes()).map_err(failed)?;
            let windows = several(told.windows.len() as u64, "window");
            super::note(format_args!("{windows} told of in {}", path.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The windows, cut as those of the run were.
fn asked(args: &Args, directory: &RunDir, classifier: &Classifier) -> Result<Asked, CliError> {
    let path = directory.file(SETTINGS);
    let text = directory.read(SETTINGS)?.unwrap_or_default();
    let text = String::from_utf8(text).map_err(|_| directory.damaged(SETTINGS, "it is not UTF-8 text"))?;
    let config = settings::parse(&path, text)?;
    let source = DataSource::from(args.data.clone());
    let given = args.columns.clone().unwrap_or_default();
    let own = given != Columns::default() || args.overlap.is_some() || config.columns.is_some();
    let published = match &source {
        DataSource::Path(_) if own => None,
        DataSource::Path(path) => uci_har::from_path(Path::new(path)).ok(),
        source => Some(library::windows(source, &Mapping::default())?.0),
    };
    let asked = match published {
        Some(data) => Asked::of_dataset(&args.data, &data, classifier),
        None => {
            let mut files = Files::of_path(Path::new(&args.data))?;
            Asked::read(&mut files, &config, classifier, &given, args.overlap)
        }
    };
    asked.map_err(|error| match error {
        NotTold::Data(error) => error.into(),
        NotTold::NoFit { problem, mend } => CliError::NoFit { path: args.data.clone().into(), problem, mend },
    })
}
