//! `stackelberg report`: studies and runs as one page that needs nothing else, and as data.

mod charts;
mod collect;
mod csv;
mod page;
mod search;
mod search_charts;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use self::charts::Chart;
use self::collect::{LeftOut, Report};
use super::{CliError, folder};

/// Make a page with charts and tables of studies, searches and runs
///
/// Writes report.html, which holds everything it shows and can be read offline; report.json with all that
/// is recorded of the studies' rows, the searches and the runs; report.csv with every loss, accuracy, hyperparameter and
/// hypergradient in it, one a line; and the charts of studies as charts/*.svg. An earlier report in the
/// same place is replaced, other files are not.
///
/// Runs that diverged, were interrupted or not begun are shown as such. What cannot be used of
/// them is named and left out; the rest is reported, and the exit status is 1.
#[derive(clap::Args)]
pub struct Args {
    /// Directories with outcomes of `stackelberg experiment`, of runs of `stackelberg tune --out`, or with such
    /// runs in folders up to two levels below; or journals of `stackelberg search`, and directories with them
    #[arg(value_name = "DIR|JOURNAL", required = true)]
    directories: Vec<PathBuf>,

    /// Directory to write to
    #[arg(long, value_name = "DIR", default_value = "report")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    // A directory that is not there is a mistake; among others it does not cost them.
    if let [only] = &args.directories[..] {
        fs::metadata(only).map_err(|source| CliError::Read { path: only.clone(), source })?;
    }
    let mut report = Report::default();
    args.directories.iter().for_each(|directory| report.collect(directory));
    report.name_apart();
    for LeftOut { place, problem } in &report.left_out {
        super::note(format_args!("{place} cannot be used: {problem}"));
    }
    let failed = !report.left_out.is_empty();
    let code = if failed { ExitCode::from(super::FAILED) } else { ExitCode::SUCCESS };
    if report.studies.is_empty() && report.searches.is_empty() && report.runs.is_empty() {
        let nothing = CliError::NothingToReport { directories: args.directories.clone() };
        return if failed { Ok(code) } else { Err(nothing) };
    }
    for study in &report.studies {
        study.summary.remarks.iter().for_each(|remark| super::note(format_args!("Note: {}: {remark}", study.name)));
    }
    let json = serde_json::to_string_pretty(&report).expect("figures are plain values") + "\n";
    let pages = [("report.html", page::html(&report)), ("report.json", json), ("report.csv", csv::text(&report))];
    let mut files: Vec<(String, Vec<u8>)> =
        pages.iter().map(|(name, text)| ((*name).to_owned(), text.clone().into_bytes())).collect();
    files.extend(
        report.charts().into_iter().map(|Chart { name, svg }| (format!("charts/{name}.svg"), svg.into_bytes())),
    );
    folder::Folder::open(&args.out).write(&files)?;
    let charts = (files.len() > pages.len()).then_some("charts");
    let written = pages.iter().map(|(name, _)| *name).chain(charts);
    super::print(&written.map(|name| format!("{}\n", args.out.join(name).display())).collect::<String>())?;
    Ok(code)
}
