//! `stackelberg experiment`: named studies on real data.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::future::ready;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::ValueEnum;
use miette::Diagnostic;
use pollster::block_on;
use stackelberg::bilevel::{Flow, Pace, SolveError};
use stackelberg::data::DataError;
use stackelberg::engine::{Engine, LocalFuture};
use stackelberg::experiment::config::words;
use stackelberg::experiment::error::TuneError;
use stackelberg::experiment::record::DeviceRecord;
use stackelberg::experiment::study::{self, Budget, Library, Outcome, STUDIES, Study, Trial, summary};
use stackelberg::experiment::tune::{Event, Observed, Observer};

use super::device::{self, MEASURING, duration};
use super::progress::number;
use super::{CliError, data, shell, tune};

/// Run a study on real data: many trainings, one table
///
/// Each trial is saved as it ends, and a trial that is saved is not run again, whatever version or device
/// it was run with: the same command goes on with a study that was interrupted. `stackelberg report DIR` makes charts and tables of what is there.
#[derive(clap::Args)]
pub struct Args {
    /// A study by name, `all` of them, or `list` to see which there are and how long they take here
    #[arg(value_name = "NAME", value_parser = names())]
    name: String,

    /// How much machine time to spend
    #[arg(long, value_enum, default_value = "quick")]
    budget: Budget,

    /// Directory to save outcomes in, one file a study and budget
    #[arg(long, value_name = "DIR", default_value = "studies")]
    out: PathBuf,

    #[arg(long, value_name = "DEVICE", default_value = device::AUTO, help = words::DEVICE)]
    device: String,

    #[command(flatten)]
    place: data::Place,
}

impl Args {
    /// The same command again.
    fn again(&self) -> String {
        let Args { name, budget, out, device, place } = self;
        let words = [name, "--budget", &named(*budget), "--out", &shell::path(out), "--device", &shell::word(device)];
        shell::command(["experiment"].into_iter().chain(words).chain(["--data", &shell::path(&place.directory)]))
    }
}

fn names() -> clap::builder::PossibleValuesParser {
    ["list", "all"].into_iter().chain(STUDIES.iter().map(|study| study.name)).into()
}

/// A file of outcomes that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum JournalError {
    #[error("cannot make the directory {}", path.display())]
    #[diagnostic(help("name a directory with --out that you may write to"))]
    Create { path: PathBuf, source: std::io::Error },

    #[error("cannot read or write {}", path.display())]
    #[diagnostic(help("{}", way_on(path)))]
    Access { path: PathBuf, source: std::io::Error },

    #[error("another process is working on {}", path.display())]
    #[diagnostic(help("wait until it ends, or give another --out"))]
    Busy { path: PathBuf },

    #[error("{}, line {line}: {problem}", path.display())]
    #[diagnostic(help("take the line out to have its trial run again, or give another --out"))]
    Line { path: PathBuf, line: usize, problem: String },
}

/// How to go on after a failed access: decided by what is there.
fn way_on(path: &Path) -> &'static str {
    match path.try_exists() {
        Ok(true) => "what was saved before is unharmed: the same command goes on from there, once the file can be used",
        Ok(false) => "the file is not there any more, and its outcomes with it; start again, or give another --out",
        Err(_) => "give another --out",
    }
}

/// A study's file: one outcome a line, locked for as long as this lives.
pub struct Journal {
    path: PathBuf,
    file: File,
    pub outcomes: Vec<Outcome>,
}

impl Journal {
    fn open(directory: &Path, name: &str) -> Result<Self, JournalError> {
        fs::create_dir_all(directory).map_err(|source| JournalError::Create { path: directory.to_owned(), source })?;
        let path = directory.join(name);
        let access = |source| JournalError::Access { path: path.clone(), source };
        let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(access)?;
        // A file system without locks is no reason not to run.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(JournalError::Busy { path });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(access)?;
        file.set_len(whole(&text).len() as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(access)?;
        let outcomes = outcomes(&path, &text)?;
        Ok(Journal { path, file, outcomes })
    }

    fn append(&mut self, outcome: Outcome) -> Result<(), JournalError> {
        let line = serde_json::to_string(&outcome).expect("outcomes are plain values") + "\n";
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        // What is written to a file that was deleted is lost.
        let written = written.and_then(|()| fs::metadata(&self.path).map(|_| ()));
        written.map_err(|source| JournalError::Access { path: self.path.clone(), source })?;
        self.outcomes.push(outcome);
        Ok(())
    }
}

/// The lines that were written to their end. A process that was killed may have left half a line: its
/// trial is run again.
pub fn whole(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}

/// The outcomes in the text of a study's file.
pub fn outcomes(path: &Path, text: &str) -> Result<Vec<Outcome>, JournalError> {
    let parse = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| JournalError::Line {
            path: path.to_owned(),
            line: at + 1,
            problem: error.to_string(),
        })
    };
    whole(text).lines().enumerate().map(parse).collect()
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let stop = Interrupt::listen();
    let library = Library::new(args.place.directory.clone());
    if args.name == "list" {
        return list(args, &library);
    }
    let studies: Vec<&Study> = match &*args.name {
        "all" => STUDIES.iter().collect(),
        name => study::find(name).into_iter().collect(),
    };
    let mut code = ExitCode::SUCCESS;
    for study in studies {
        match Runner::open(args, study)?.finish(&args.device, &library, &stop) {
            Ok(true) => {}
            Ok(false) => {
                super::note(format_args!("Stopped; what is finished is saved. Go on with:\n{}", args.again()));
                return Ok(ExitCode::SUCCESS);
            }
            // The others can do without.
            Err(CliError::Data(error @ DataError::NotThere { .. })) if args.name == "all" => {
                super::note(format_args!("{} is left out: {error}", study.name));
                code = ExitCode::from(super::FAILED);
            }
            Err(error) => return Err(error),
        }
    }
    super::note(format_args!("For charts: {}", shell::command(["report", &shell::path(&args.out)])));
    Ok(code)
}

/// The budget as the command line has it.
fn named(budget: Budget) -> String {
    budget.to_possible_value().expect("a named budget").get_name().to_owned()
}

/// What every study asks and what it costs on this device.
fn list(args: &Args, library: &Library) -> Result<ExitCode, CliError> {
    super::note("Timing training steps for how long each study takes here");
    let first = (STUDIES[0].trials)(Budget::Quick).remove(0);
    let (mut engine, pace) = engine(&args.device, &first, library)?;
    let mut paces = BTreeMap::from([(first.work.problem(), pace)]);
    for Study { name, question, source, data, trials, .. } in &STUDIES {
        super::print(&format!("{name}\n  {question}\n  From: {source}. Data: {data}.\n"))?;
        for &budget in Budget::value_variants() {
            let trials = trials(budget);
            let time = match seconds(&trials, &mut *engine, &mut paces, library) {
                Ok(seconds) => format!("about {}", duration(seconds)),
                Err(TuneError::Data(DataError::NotThere { name, .. })) => {
                    let directory = shell::path(&args.place.directory);
                    format!("once its data are there: {}", shell::command(["data", name, "--data", &directory]))
                }
                Err(error) => return Err(error.into()),
            };
            super::print(&format!("  --budget {:<8} {:>3} trials, {time}\n", named(budget), trials.len()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Seconds that trials take; paces not known yet are measured.
fn seconds(
    trials: &[Trial],
    engine: &mut dyn Engine,
    paces: &mut BTreeMap<String, Pace>,
    library: &Library,
) -> Result<f64, TuneError> {
    let mut sum = 0.0;
    for Trial { work, .. } in trials {
        work.load(library)?;
        let pace = match paces.entry(work.problem()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => *place.insert(block_on(work.measure(engine, library, MEASURING))?),
        };
        sum += work.seconds(&pace, library)?;
    }
    Ok(sum)
}

/// The engine of this choice for trials like this one.
fn engine(choice: &str, trial: &Trial, library: &Library) -> Result<(Box<dyn Engine>, Pace), CliError> {
    device::choose_by(choice, &mut |engine| block_on(trial.work.measure(engine, library, MEASURING)))
}

/// A study under way.
struct Runner<'s> {
    study: &'s Study,
    trials: Vec<Trial>,
    journal: Journal,
}

impl<'s> Runner<'s> {
    fn open(args: &Args, study: &'s Study) -> Result<Self, CliError> {
        let journal = Journal::open(&args.out, &format!("{}-{}.jsonl", study.name, named(args.budget)))?;
        Ok(Runner { study, trials: (study.trials)(args.budget), journal })
    }

    /// Runs the trials that are left; whether all are done then.
    fn finish(mut self, device: &str, library: &Library, stop: &Interrupt) -> Result<bool, CliError> {
        let all = self.trials.len();
        let done = |journal: &Journal, trial: &Trial| journal.outcomes.iter().any(|o| o.labels == trial.labels);
        let left: Vec<Trial> = self.trials.iter().filter(|trial| !done(&self.journal, trial)).cloned().collect();
        super::note(format_args!("{}: {} of {all} trials to do. {}", self.study.name, left.len(), self.study.question));
        if let Some(first) = left.first() {
            first.work.load(library)?;
            let (mut engine, _) = engine(device, first, library)?;
            let begun = Instant::now();
            for (at, trial) in left.iter().enumerate() {
                let Some(outcome) = self.trial(trial, &mut *engine, library, stop)? else { return Ok(false) };
                let each = begun.elapsed().as_secs_f64() / (at + 1) as f64;
                let more = match left.len() - at - 1 {
                    0 => String::new(),
                    more => format!(", {} left", duration(each * more as f64)),
                };
                let shown = self.study.charts.iter().filter_map(|&name| Some((name, outcome.metrics.get(name)?)));
                let shown: Vec<String> = shown.map(|(name, value)| format!("{name} {}", number(*value))).collect();
                let (id, took) = (trial.id(), duration(outcome.seconds));
                super::note(format_args!(
                    "{:>3}/{all} {id}: {} ({took}{more})",
                    all - left.len() + at + 1,
                    shown.join(", ")
                ));
                self.journal.append(outcome)?;
            }
        }
        super::print(&table(self.study, &summary::rows(&self.journal.outcomes)))?;
        Ok(true)
    }

    fn trial(
        &self,
        trial: &Trial,
        engine: &mut dyn Engine,
        library: &Library,
        stop: &Interrupt,
    ) -> Result<Option<Outcome>, CliError> {
        let begun = Instant::now();
        let mut watch = Watch { stop: stop.clone() };
        let metrics = match block_on(trial.work.run(engine, library, &mut watch)) {
            Ok(metrics) => metrics,
            Err(TuneError::Solve(SolveError::Stopped)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Outcome {
            study: self.study.name.to_owned(),
            labels: trial.labels.clone(),
            metrics,
            seconds: begun.elapsed().as_secs_f64(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: DeviceRecord::from(engine.info()),
        }))
    }
}

/// Means over seeds, with the sample's standard deviation.
fn table(study: &Study, rows: &[summary::Row]) -> String {
    let labels: Vec<&String> = rows.first().map(|row| row.labels.keys().collect()).unwrap_or_default();
    let head = labels.iter().map(|label| (*label).clone()).chain(study.charts.iter().map(|&name| name.to_owned()));
    let mut lines: Vec<Vec<String>> = vec![head.chain(["seeds".to_owned()]).collect()];
    for row in rows {
        let value = |name: &&str| match row.metrics.get(*name) {
            Some(statistic) => super::progress::statistic(statistic),
            None => "–".to_owned(),
        };
        let seeds = row.metrics.values().map(|statistic| statistic.count).max().unwrap_or(0);
        let cells = row.labels.values().cloned().chain(study.charts.iter().map(value));
        lines.push(cells.chain([seeds.to_string()]).collect());
    }
    let columns = lines[0].len();
    let widths: Vec<usize> =
        (0..columns).map(|c| lines.iter().map(|line| line[c].chars().count()).max().unwrap_or(0)).collect();
    let mut text = format!("\n{}\n", study.name);
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
    text
}

/// Nothing is shown within a trial; a stop is heard.
struct Watch {
    stop: Interrupt,
}

impl Observer for Watch {
    fn event(&mut self, _: Event) -> Observed {
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        let flow = if self.stop.is_raised() { Flow::Stop } else { Flow::Continue };
        Box::pin(ready(flow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written to a file that was deleted would be lost in silence.
    #[cfg(unix)]
    #[test]
    fn outcomes_are_not_written_into_nothing() {
        let root = tempfile::tempdir().unwrap();
        let outcome = || {
            let text = r#"{"study": "s", "labels": {}, "metrics": {}, "seconds": 1, "version": "", "engine": "cpu",
                           "adapter": "", "backend": "", "driver": "", "software": true}"#;
            serde_json::from_str::<Outcome>(text).unwrap()
        };
        let mut journal = Journal::open(root.path(), "s-quick.jsonl").unwrap();
        journal.append(outcome()).unwrap();
        fs::remove_file(root.path().join("s-quick.jsonl")).unwrap();
        let error = journal.append(outcome()).unwrap_err();
        assert_eq!(journal.outcomes.len(), 1);
        assert!(error.help().unwrap().to_string().contains("is not there any more"));
    }
}
