//! `stackelberg data`: which data sets there are, where they lie, and whether they are what they should be.

mod inspect;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use serde::Serialize;
use stackelberg::data::catalog::{DATA_SETS, DataSet, OfficialFile};
use stackelberg::data::har::builtin;
use stackelberg::data::idx;

use super::{CliError, files};

/// Say which data sets there are and where they are looked for, and check them
///
/// UCI HAR comes with the program. The others are looked for in a folder of their name and up to two folders
/// below it, packed with gzip or not, and compared with their official checksums. Nothing is downloaded.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Data sets that must be there and right; without a name all are listed, and only damaged ones are a failure
    #[arg(value_name = "NAME", value_parser = names())]
    names: Vec<&'static str>,

    #[command(flatten)]
    place: Place,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    Inspect(inspect::Args),
}

/// Where data sets lie.
#[derive(clap::Args)]
pub struct Place {
    /// Directory with a folder for each data set, such as mnist/train-images-idx3-ubyte.gz
    #[arg(long = "data", value_name = "DIR", env = "STACKELBERG_DATA", default_value = "data", value_parser = directory())]
    pub directory: PathBuf,
}

fn directory() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|text| match text.is_empty() {
        true => Err("it is empty; name a directory, or leave out --data and unset STACKELBERG_DATA"),
        false => Ok(PathBuf::from(text)),
    })
}

const HAR: &str = "uci-har";

fn names() -> impl TypedValueParser<Value = &'static str> {
    let all = || [HAR].into_iter().chain(DATA_SETS.iter().map(|set| set.name));
    PossibleValuesParser::new(all()).map(move |name| all().find(|known| *known == name).expect("a possible value"))
}

/// What is known of a data set, and what was found.
#[derive(Serialize)]
struct Report {
    name: &'static str,
    title: &'static str,
    source: &'static str,
    licence: &'static str,
    citation: &'static str,
    /// Where it is looked for; absent for what comes with the program.
    folder: Option<PathBuf>,
    state: State,
    /// What is wrong with what comes with the program, or its size and hash.
    remark: Option<String>,
    files: Vec<FileReport>,
}

/// An official file beside the one that is there.
#[derive(Serialize)]
struct FileReport {
    name: &'static str,
    bytes: u64,
    md5: &'static str,
    packed_bytes: u64,
    packed_md5: &'static str,
    found: Option<PathBuf>,
    state: State,
    problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Right,
    Missing,
    Wrong,
}

impl State {
    fn shown(self) -> &'static str {
        match self {
            State::Right => "right",
            State::Missing => "not there",
            State::Wrong => "WRONG",
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    if let Some(Command::Inspect(args)) = &args.command {
        return inspect::run(args);
    }
    let wanted = |name: &&str| args.names.is_empty() || args.names.contains(name);
    let built_in = wanted(&HAR).then(har);
    let others = DATA_SETS.iter().filter(|set| wanted(&set.name)).map(|set| check(set, &args.place.directory));
    let reports: Vec<Report> = built_in.into_iter().chain(others).collect();
    let text = if args.json {
        serde_json::to_string_pretty(&reports).expect("reports are plain values") + "\n"
    } else {
        reports.iter().map(shown).collect()
    };
    super::print(&text)?;
    let worst = reports.iter().map(|report| report.state).max().unwrap_or(State::Right);
    let fails = worst == State::Wrong || (worst == State::Missing && !args.names.is_empty());
    Ok(if fails { ExitCode::from(super::FAILED) } else { ExitCode::SUCCESS })
}

/// The windows that come with the program, decoded.
fn har() -> Report {
    let (state, remark) = match builtin::full() {
        Ok(data) => (State::Right, format!("{} windows, hash {:016x}", data.len(), data.fingerprint())),
        Err(error) => (State::Wrong, error.to_string()),
    };
    Report {
        name: HAR,
        title: "UCI HAR, motion of a phone at the waist: 10,299 windows of 30 people in 6 activities",
        source: "https://archive.ics.uci.edu/dataset/240/human+activity+recognition+using+smartphones",
        licence: "CC BY 4.0",
        citation: "D. Anguita, A. Ghio, L. Oneto, X. Parra, J. L. Reyes-Ortiz, ESANN 2013",
        folder: None,
        state,
        remark: Some(remark),
        files: vec![],
    }
}

fn check(set: &DataSet, directory: &Path) -> Report {
    let folder = set.folder(directory);
    let files: Vec<FileReport> = set.files.iter().map(|file| check_file(file, &folder)).collect();
    Report {
        name: set.name,
        title: set.title,
        source: set.source,
        licence: set.licence,
        citation: set.citation,
        folder: Some(std::path::absolute(&folder).unwrap_or(folder)),
        state: files.iter().map(|file| file.state).max().unwrap_or(State::Missing),
        remark: None,
        files,
    }
}

fn check_file(file: &OfficialFile, folder: &Path) -> FileReport {
    let (found, problem) = match file.read(folder) {
        Ok(None) => (None, None),
        Ok(Some((path, bytes))) => {
            let problem = compare(file, &path, bytes).err();
            (Some(path), problem)
        }
        Err(error) => (Some(folder.join(file.name)), Some(error.to_string())),
    };
    let state = match (&found, &problem) {
        (None, _) => State::Missing,
        (Some(_), None) => State::Right,
        (Some(_), Some(_)) => State::Wrong,
    };
    let &OfficialFile { name, bytes, md5, packed_bytes, packed_md5 } = file;
    FileReport { name, bytes, md5, packed_bytes, packed_md5, found, state, problem }
}

/// Compares what a file holds unpacked with what it should.
fn compare(file: &OfficialFile, path: &Path, bytes: Vec<u8>) -> Result<(), String> {
    let plain = idx::unpacked(&path.display().to_string(), bytes).map_err(|error| error.to_string())?;
    let found = files::checksum(&plain);
    if found == file.md5 {
        return Ok(());
    }
    Err(format!(
        "unpacked it has {} bytes with MD5 {found}, not {} with MD5 {}; download it again",
        plain.len(),
        file.bytes,
        file.md5
    ))
}

fn shown(report: &Report) -> String {
    let mut text = format!("{}: {}\n  {}\n", report.name, report.state.shown(), report.title);
    match &report.folder {
        None => text += "  Place    in the program; `tune --data PATH` takes your own copy\n",
        Some(folder) => {
            let _ = writeln!(text, "  Place    {} (--data, STACKELBERG_DATA)", folder.display());
        }
    }
    for (what, value) in [("Source", report.source), ("Licence", report.licence), ("Cite", report.citation)] {
        let _ = writeln!(text, "  {what:<8} {value}");
    }
    if let Some(remark) = &report.remark {
        let _ = writeln!(text, "  {remark}");
    }
    for file in &report.files {
        let FileReport { name, bytes, md5, packed_bytes, packed_md5, .. } = file;
        let _ = writeln!(text, "  {name:<23}     {bytes:>8} bytes, MD5 {md5}  {}", file.state.shown());
        let _ = writeln!(text, "  {:<23}     {packed_bytes:>8} bytes, MD5 {packed_md5} (packed)", "  .gz");
        if let (Some(found), Some(problem)) = (&file.found, &file.problem) {
            let _ = writeln!(text, "    {}: {problem}", found.display());
        }
    }
    text
}
