//! What there is to report of some directories, and what cannot be used of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use stackelberg::data::visible;
use stackelberg::engine::several;
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::record::{Ending, Evaluation, OuterRecord, RunResult, Score};
use stackelberg::experiment::searching::ledger;
use stackelberg::experiment::study::summary::Summary;
use stackelberg::experiment::study::{self, Outcome, Study};

use super::search::Search;
use crate::cli::journal::{Lines, in_line};
use crate::cli::shard::Shard;
use crate::cli::{files, note, run_dir};

/// Everything in a report.
#[derive(Default, Serialize)]
pub struct Report {
    pub studies: Vec<StudyReport>,
    pub searches: Vec<Search>,
    pub runs: Vec<Run>,
    pub left_out: Vec<LeftOut>,
    /// The folders and files that have been looked at.
    #[serde(skip)]
    pub seen: BTreeSet<PathBuf>,
}

/// What could not be read.
#[derive(Serialize)]
pub struct LeftOut {
    pub place: String,
    pub problem: String,
}

/// A study's file: its name is the study's with the budget.
#[derive(Serialize)]
pub struct StudyReport {
    pub name: String,
    pub question: String,
    pub source: String,
    pub devices: Vec<String>,
    pub versions: Vec<String>,
    #[serde(flatten)]
    pub summary: Summary,
    /// Where the file lies.
    #[serde(skip)]
    pub folder: String,
    #[serde(skip)]
    pub study: &'static Study,
}

/// A run's directory.
#[derive(Serialize)]
pub struct Run {
    pub name: String,
    pub state: State,
    pub result: Option<RunResult>,
    pub iterations: Vec<OuterRecord>,
}

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Settings were saved, and nothing else yet.
    NotBegun,
    /// It goes on, or was interrupted.
    Unfinished,
    Finished,
    /// No training, or none of the last, stayed finite.
    Diverged,
    /// Its result cannot be read.
    Damaged,
}

/// Levels of folders that runs are looked for in.
const DEPTH: usize = 2;

impl Report {
    /// Adds the run in a directory, or the studies in it and the runs below.
    pub fn collect(&mut self, directory: &Path) {
        match fs::canonicalize(directory) {
            Err(error) => return self.leave_out(directory, error),
            Ok(place) if !self.seen.insert(place.clone()) => return,
            Ok(_) => {}
        }
        let before = self.count();
        if directory.is_file() {
            self.add_search(directory);
        } else if [run_dir::SETTINGS, run_dir::RESULT].iter().any(|name| directory.join(name).is_file()) {
            self.add_run(directory);
        } else {
            match fs::read_dir(directory) {
                Err(error) => self.leave_out(directory, error),
                Ok(entries) => {
                    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
                    paths.sort();
                    let journal = |path: &&PathBuf| path.extension().is_some_and(|e| e == "jsonl") && path.is_file();
                    let mut studies: BTreeMap<String, Vec<&PathBuf>> = BTreeMap::new();
                    for path in paths.iter().filter(journal) {
                        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                        studies.entry(Shard::of(&stem).0.to_owned()).or_default().push(path);
                    }
                    studies.into_iter().for_each(|(name, files)| self.add_study(name, &files));
                    paths.iter().filter(|path| is_search(path)).for_each(|path| self.add_search(path));
                    self.add_runs_below(&paths, DEPTH);
                }
            }
        }
        if self.count() == before {
            note(format_args!("Nothing to report in {}", directory.display()));
        }
    }

    /// How much there is of each.
    fn count(&self) -> [usize; 4] {
        [self.studies.len(), self.searches.len(), self.runs.len(), self.left_out.len()]
    }

    /// Adds the study of a journal.
    fn add_search(&mut self, path: &Path) {
        match ledger::read(path) {
            Ok(Some((about, journal))) => {
                let name = visible(&path.display().to_string());
                self.searches.push(Search::new(name, about, &journal));
            }
            Ok(None) => note(format_args!("{} has no trial yet", path.display())),
            Err(error) => self.leave_out(path, error),
        }
    }

    fn leave_out(&mut self, place: &Path, problem: impl Display) {
        let (place, problem) = (visible(&place.display().to_string()), visible(&problem.to_string()));
        self.left_out.push(LeftOut { place, problem });
    }

    /// Adds the runs among these folders, and in those of folders that are none.
    fn add_runs_below(&mut self, paths: &[PathBuf], depth: usize) {
        for folder in paths.iter().filter(|path| path.is_dir()) {
            let there = |name: &str| folder.join(name).is_file();
            let begun = || fs::read(folder.join(run_dir::SETTINGS)).is_ok_and(|text| text.starts_with(run_dir::HEADER));
            if there(run_dir::METRICS) && there(run_dir::RESULT) || there(run_dir::SETTINGS) && begun() {
                let place = fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
                if self.seen.insert(place) {
                    self.add_run(folder);
                }
            } else if depth > 1 {
                // A folder that may not be read is not one of ours.
                let entries = fs::read_dir(folder).into_iter().flatten().flatten();
                let mut inside: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
                inside.sort();
                self.add_runs_below(&inside, depth - 1);
            }
        }
    }

    /// Adds the outcomes in a study's files: its own, and those of its parts.
    fn add_study(&mut self, name: String, files: &[&PathBuf]) {
        let mut found: Option<(&'static Study, Vec<Outcome>)> = None;
        for path in files {
            // Processes that do its parts hold the study's own file, and write to theirs.
            let is_held_only = files.len() > 1 && fs::metadata(path).is_ok_and(|file| file.len() == 0);
            let outcomes = if is_held_only { None } else { self.outcomes(path, &name) };
            match (outcomes, &mut found) {
                (None, _) => {}
                (Some(first), None) => found = Some(first),
                (Some((study, more)), Some((first, outcomes))) if study.name == first.name => outcomes.extend(more),
                (Some((study, _)), Some((first, _))) => {
                    let (study, first) = (study.name, first.name);
                    self.leave_out(
                        path,
                        format_args!("it is of the study {study}, and the files beside it of {first}"),
                    );
                }
            }
        }
        let (Some((study, outcomes)), Some(path)) = (found, files.first()) else { return };
        let devices: BTreeSet<String> =
            outcomes.iter().map(|o| format!("{} ({})", o.device.adapter, o.device.engine)).collect();
        let versions: BTreeSet<String> = outcomes.iter().map(|o| o.version.clone()).collect();
        self.studies.push(StudyReport {
            name,
            question: study.question.to_owned(),
            source: study.source.to_owned(),
            devices: devices.into_iter().collect(),
            versions: versions.into_iter().collect(),
            summary: Summary::of(&outcomes, env!("CARGO_PKG_VERSION")),
            folder: path.parent().unwrap_or(Path::new("")).display().to_string(),
            study,
        });
    }

    /// The outcomes in one of a study's files.
    fn outcomes(&mut self, path: &Path, name: &str) -> Option<(&'static Study, Vec<Outcome>)> {
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if !self.seen.insert(place) {
            return None;
        }
        let bytes = match files::read(path) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) => {
                self.leave_out(path, error);
                return None;
            }
        };
        let mut lines = Lines::of(path, &bytes);
        let Some(study) = lines.study().map(str::to_owned) else {
            let is_ours = study::STUDIES.iter().any(|study| name.starts_with(study.name));
            match lines.wrong.first() {
                Some(wrong) if is_ours => self.leave_out(path, wrong),
                Some(_) => note(format_args!("{} is no file of a study", path.display())),
                None => note(format_args!("{} has no outcome yet", path.display())),
            }
            return None;
        };
        let Some(study) = study::find(&study) else {
            self.leave_out(path, format_args!("its study {study} is not one of this version"));
            return None;
        };
        let outcomes = lines.outcomes_of(study, path);
        if let [first, others @ ..] = &lines.wrong[..] {
            let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
            let mend = "take the line out to have its trial run again";
            self.leave_out(path, format_args!("{first}{more}; {mend}"));
        }
        Some((study, outcomes))
    }

    /// Adds what can be read of a run.
    fn add_run(&mut self, directory: &Path) {
        let before = self.left_out.len();
        let result: Option<RunResult> =
            self.text(directory, run_dir::RESULT).and_then(|text| match serde_json::from_str(&text) {
                Ok(result) => Some(result),
                Err(error) => {
                    self.leave_out(&directory.join(run_dir::RESULT), error);
                    None
                }
            });
        let damaged = self.left_out.len() > before;
        let iterations = self.iterations(directory, result.as_ref());
        if result.is_none() && iterations.is_empty() {
            let settings = self.text(directory, run_dir::SETTINGS).unwrap_or_default();
            if let Err(error) = TuneConfig::from_toml(&settings) {
                self.leave_out(&directory.join(run_dir::SETTINGS), error);
            }
            if self.left_out.len() > before {
                return;
            }
        }
        let state = match result.as_ref().map(|result| result.ending) {
            Some(Ending::Finished) => State::Finished,
            Some(Ending::Diverged) => State::Diverged,
            None if damaged => State::Damaged,
            None if iterations.is_empty() => State::NotBegun,
            Some(Ending::Running | Ending::Stopped) | None => State::Unfinished,
        };
        self.runs.push(Run { name: visible(&directory.display().to_string()), state, result, iterations });
    }

    /// The iterations of a run, each once; says of a file in one sentence what is wrong with it.
    fn iterations(&mut self, directory: &Path, result: Option<&RunResult>) -> Vec<OuterRecord> {
        let (mut records, mut wrong) = (BTreeMap::new(), vec![]);
        let metrics = self.text(directory, run_dir::METRICS).unwrap_or_default();
        for (at, line) in metrics.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match serde_json::from_str::<OuterRecord>(line) {
                Ok(record) => {
                    let iteration = record.iteration;
                    if records.insert(iteration, record).is_some() {
                        wrong.push(format!(
                            "line {}, iteration {iteration} is there already, and the last counts",
                            at + 1
                        ));
                    }
                }
                Err(error) => wrong.push(format!("line {}, {}", at + 1, in_line(&error))),
            }
        }
        let records: Vec<OuterRecord> = records.into_values().collect();
        // A run that goes on saves its iterations first; of one that has lost all of them the result is there.
        let fewer = |result: &&RunResult| !records.is_empty() && (records.len() as u32) < result.iterations;
        if let Some(result) = result.filter(fewer) {
            let there = several(records.len() as u64, "iteration");
            wrong.push(format!("it has {there}, and {} says {}", run_dir::RESULT, result.iterations));
        }
        if let Some(first) = wrong.first() {
            let more = match wrong.len() - 1 {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            self.leave_out(&directory.join(run_dir::METRICS), format!("{first}{more}"));
        }
        records
    }

    /// The text of a file of a run, if there is one.
    fn text(&mut self, directory: &Path, name: &str) -> Option<String> {
        let path = directory.join(name);
        match files::read(&path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes?).into_owned();
                Some(text.trim_start_matches('\u{feff}').to_owned())
            }
            Err(error) => {
                self.leave_out(&path, error);
                None
            }
        }
    }

    /// Tells files of one name apart by their folders.
    pub fn name_apart(&mut self) {
        let names: Vec<String> = self.studies.iter().map(|study| study.name.clone()).collect();
        for study in &mut self.studies {
            if names.iter().filter(|name| **name == study.name).count() > 1 {
                study.name = format!("{} in {}", study.name, study.folder);
            }
            study.name = visible(&study.name);
        }
    }
}

/// Whether a file is a journal that `stackelberg search` began.
fn is_search(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|e| e == "log") && matches!(ledger::described(path), Ok(Some(_)))
}

impl Run {
    /// How it went, in a sentence.
    pub fn headline(&self) -> String {
        let done = self.result.as_ref().map_or(self.iterations.len() as u64, |result| result.iterations.into());
        let done = several(done, "outer iteration");
        let best = self.result.as_ref().filter(|result| result.best_outer_loss.is_some());
        match (self.state, best.map(|result| result.best_iteration)) {
            (State::NotBegun, _) => "Not begun: its settings are saved, and no outer iteration is done.".to_owned(),
            (State::Damaged, _) => format!("Its result cannot be used; {done} are recorded."),
            (State::Unfinished, _) => format!("Not finished: {done} done, then interrupted or still going on."),
            (State::Finished, best) => {
                format!("{done}; the best is iteration {}.", best.map_or("none".to_owned(), |best| best.to_string()))
            }
            (State::Diverged, Some(best)) => {
                format!("Gave up after {done}, the last of which diverged; the best is iteration {best}.")
            }
            (State::Diverged, None) => format!("Diverged with the start values, after {done}: nothing was learnt."),
        }
    }
}

/// The parts of a data set that a network was scored on, by name.
pub fn scores(evaluation: &Evaluation) -> [(&'static str, Score); 3] {
    [("training", evaluation.train), ("validation", evaluation.validation), ("test", evaluation.test)]
}
