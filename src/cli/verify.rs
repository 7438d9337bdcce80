//! `stackelberg verify`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pollster::block_on;
use safetensors::Dtype;
use serde::Serialize;
use serde_json::json;
use stackelberg::bilevel::Memory;
use stackelberg::experiment::archive::{self, Tensor};
use stackelberg::experiment::config::words;
use stackelberg::experiment::golden::{self, Case, Comparison};
use stackelberg::rig::Device;

use super::{CliError, device, folder};

/// Hold the engine against reference results
///
/// Each case is a directory with `case.json` and `tensors.safetensors`: a problem with its results in
/// double precision. The table shows for each case the output that failed, or else the one whose error is
/// the largest multiple of that of a single-precision run of the reference: its relative error, the
/// relative error allowed (a small absolute one is allowed besides), and that multiple.
///
/// Exits with 0 if no case fails (with --strict: and none is unsupported; documents that are no test never
/// fail), else with 1; with 2 where a path holds no case.
#[derive(clap::Args)]
pub struct Args {
    /// Directories of cases, or directories that hold such directories
    #[arg(required = true, value_name = "CASE_DIR")]
    cases: Vec<PathBuf>,

    #[arg(long, value_name = "DEVICE", value_parser = device::choice, default_value = device::AUTO, help = words::DEVICE_UNTIMED)]
    device: String,

    /// Print one JSON object instead of the table. An error that is no finite number (of an output that
    /// is missing or holds NaN) is null there
    #[arg(long)]
    json: bool,

    /// Write the outputs into this directory as CASE.safetensors. Those that were written before are replaced,
    /// other files are not
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Fail if a case is unsupported
    #[arg(long)]
    strict: bool,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Passed,
    Failed,
    Unsupported,
    /// Kept as a document: a correct engine may give other results.
    #[serde(rename = "no test")]
    NoTest,
}

#[derive(Debug, Serialize)]
struct Verdict {
    name: String,
    status: Status,
    outputs: Vec<Comparison>,
    /// Why there are no outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let mut out = args.out.as_deref().map(Out::new).transpose()?;
    let (directories, mistaken) = expand(&args.cases)?;
    let device = device::open(&args.device)?;
    let mut verdicts = vec![];
    for directory in &directories {
        let verdict = verify(directory, &device, out.as_mut())?;
        if !args.json && verdict.status != Status::NoTest {
            super::print(&row(&verdict))?;
        }
        verdicts.push(verdict);
    }
    let report = Report { device: &device, verdicts: &verdicts };
    super::print(&if args.json { report.json() } else { report.closing() })?;
    let failed = mistaken || report.count(Status::Failed) > 0 || args.strict && report.count(Status::Unsupported) > 0;
    Ok(if failed { ExitCode::from(super::FAILED) } else { ExitCode::SUCCESS })
}

/// A directory that is no case stands for the cases in it. Of several paths those that are no use are named, and say
/// so; an only one is an error.
fn expand(paths: &[PathBuf]) -> Result<(Vec<PathBuf>, bool), CliError> {
    let (mut cases, mut mistaken) = (vec![], None);
    for path in paths {
        match cases_in(path) {
            Ok(mut inside) => cases.append(&mut inside),
            Err(error) if paths.len() == 1 => return Err(error),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                super::note(format_args!("{error}{cause}; the others are verified"));
                mistaken = Some(error);
            }
        }
    }
    match mistaken {
        Some(error) if cases.is_empty() => Err(error),
        mistaken => Ok((cases, mistaken.is_some())),
    }
}

fn cases_in(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    let is_case = |path: &Path| path.join("case.json").is_file();
    if is_case(path) {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_case(path)).collect();
    inside.sort();
    if inside.is_empty() { Err(CliError::NoCase { path: path.to_owned() }) } else { Ok(inside) }
}

/// Where outputs go.
struct Out {
    folder: folder::Folder,
    /// The cases whose outputs are there.
    written: BTreeSet<String>,
}

impl Out {
    /// Makes the directory, so that one that cannot be is known before anything is computed.
    fn new(path: &Path) -> Result<Self, CliError> {
        std::fs::create_dir_all(path).map_err(|source| CliError::Write { path: path.to_owned(), source })?;
        Ok(Out { folder: folder::Folder::open(path), written: BTreeSet::new() })
    }

    /// The file of a case, or why it can have none.
    fn file(&mut self, case: &str) -> Result<String, &'static str> {
        let plain = Path::new(case).file_name().is_some_and(|name| name == case);
        if !plain {
            return Err("its name is no file name");
        }
        if !self.written.insert(case.to_lowercase()) {
            return Err("another case has its name, whose outputs would be replaced");
        }
        Ok(format!("{case}.safetensors"))
    }
}

/// Runs one case. What is wrong with it is its verdict; an error ends the whole run.
fn verify(directory: &Path, device: &Device, out: Option<&mut Out>) -> Result<Verdict, CliError> {
    let verdict = |name: &str, status, outputs| Verdict { name: name.to_owned(), status, outputs, error: None };
    let failed = |name: &str, error: String| Verdict { error: Some(error), ..verdict(name, Status::Failed, vec![]) };
    let case = match Case::load(directory) {
        Ok(case) => case,
        Err(error) => {
            return Ok(failed(&directory.display().to_string(), error.to_string()));
        }
    };
    if !golden::is_supported(&case) {
        return Ok(verdict(&case.name, Status::Unsupported, vec![]));
    }
    let out = match out {
        None => None,
        Some(out) => match out.file(&case.name) {
            Ok(name) => Some((name, &mut out.folder)),
            Err(reason) => return Ok(failed(&case.name, reason.to_owned())),
        },
    };
    // Nothing is computed for what may not be written.
    if let Some((name, folder)) = &out {
        folder.check(name)?;
    }
    // Should a case break an assertion all the same, the others still count.
    let run = || block_on(golden::run(&case, device, Memory::StoreAll));
    let outputs = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(outputs)) => outputs,
        Ok(Err(error)) => return Ok(failed(&case.name, error.to_string())),
        Err(_) => {
            return Ok(failed(
                &case.name,
                "the engine broke down on it (a mistake in this program; please report it)".to_owned(),
            ));
        }
    };
    if let Some((name, folder)) = out {
        folder.write(&[(name, pack(&case, device, &outputs))])?;
    }
    let outputs = golden::compare(&case, &outputs);
    let status = match outputs.iter().all(|o| o.passed) {
        _ if case.is_no_test() => Status::NoTest,
        true => Status::Passed,
        false => Status::Failed,
    };
    Ok(verdict(&case.name, status, outputs))
}

/// Outputs as F64 tensors with the shapes of the case.
fn pack(case: &Case, device: &Device, outputs: &BTreeMap<String, Vec<f64>>) -> Vec<u8> {
    let tensor = |(name, values): (&String, &Vec<f64>)| Tensor {
        name: name.clone(),
        shape: match case.expected.get(name) {
            Some(expected) if expected.data.len() == values.len() => expected.shape.clone(),
            _ => vec![values.len()],
        },
        dtype: Dtype::F64,
        bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    let info = device.info();
    let description = json!({ "case": case.name, "engine": info.engine, "device": info.adapter });
    archive::pack(&description, &outputs.iter().map(tensor).collect::<Vec<_>>())
}

/// The output to look at: a failed one before others, then the largest ratio.
fn worst(outputs: &[Comparison]) -> Option<&Comparison> {
    let key = |o: &Comparison| (!o.passed, if o.ratio.is_nan() { f64::INFINITY } else { o.ratio });
    outputs.iter().max_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal))
}

fn row(verdict: &Verdict) -> String {
    let status = match verdict.status {
        Status::Passed => "passed",
        Status::Failed => "FAILED",
        Status::Unsupported => "unsupported",
        Status::NoTest => "no test",
    };
    let detail = match (&verdict.error, worst(&verdict.outputs)) {
        (Some(error), _) => error.clone(),
        (None, Some(o)) => {
            format!("error {:9.2e}  allowed {:9.2e}  ratio {:9.3}  {}", o.rel_err, o.tol_rel, o.ratio, o.name)
        }
        (None, None) => String::new(),
    };
    format!("{status:<12}{:<44}{detail}", verdict.name).trim_end().to_owned() + "\n"
}

struct Report<'a> {
    device: &'a Device,
    verdicts: &'a [Verdict],
}

impl Report<'_> {
    fn count(&self, status: Status) -> usize {
        self.verdicts.iter().filter(|v| v.status == status).count()
    }

    fn json(&self) -> String {
        let info = self.device.info();
        let (documents, cases): (Vec<&Verdict>, Vec<&Verdict>) =
            self.verdicts.iter().partition(|v| v.status == Status::NoTest);
        let object = json!({
            "device": info.adapter,
            "engine": info.engine,
            "passed": self.count(Status::Passed),
            "failed": self.count(Status::Failed),
            "unsupported": self.count(Status::Unsupported),
            "cases": cases,
            "no_test": documents,
        });
        format!("{object:#}\n")
    }

    /// What stands below the table.
    fn closing(&self) -> String {
        let mut text = String::new();
        if self.count(Status::NoTest) > 0 {
            text.push_str("\nDocuments, no tests (a correct engine may differ):\n");
            self.verdicts.iter().filter(|v| v.status == Status::NoTest).for_each(|v| text.push_str(&row(v)));
        }
        let info = self.device.info();
        let [passed, failed, unsupported] =
            [Status::Passed, Status::Failed, Status::Unsupported].map(|status| self.count(status));
        let _ = writeln!(
            text,
            "\n{passed} passed, {failed} failed, {unsupported} unsupported; {} engine, {}",
            info.engine, info.adapter
        );
        let tested = self.verdicts.iter().filter(|v| v.status != Status::NoTest).flat_map(|v| &v.outputs);
        let mut ratios: Vec<f64> = tested.map(|o| o.ratio).filter(|&ratio| ratio > 0.0).collect();
        ratios.sort_by(f64::total_cmp);
        if let Some(worst) = ratios.last() {
            let (median, count) = (ratios[ratios.len() / 2], ratios.len());
            let _ = writeln!(
                text,
                "Error over that of single-precision reference runs: median {median:.3}, worst {worst:.3} ({count} outputs)"
            );
        }
        text
    }
}
