//! `stackelberg report`: studies and runs as one page that needs nothing else, and as data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use stackelberg::data::visible;
use stackelberg::engine::several;
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::record::{Ending, Evaluation, Named, OuterRecord, RunResult, Score};
use stackelberg::experiment::study::summary::{self, Summary};
use stackelberg::experiment::study::{self, Labels, Study};

use super::journal::{Lines, in_line};
use super::table::cells;
use super::{CliError, chart, files, folder, run_dir};

/// Make a page with charts and tables of studies and runs
///
/// Writes report.html, which holds everything it shows and can be read offline; report.json with all that
/// is recorded of the studies' rows and the runs; report.csv with every loss, accuracy, hyperparameter and
/// hypergradient in it, one a line; and the charts of studies as charts/*.svg. An earlier report in the
/// same place is replaced, other files are not.
///
/// Runs that diverged, were interrupted or not begun are shown as such. What cannot be used of
/// them is named and left out; the rest is reported, and the exit status is 1.
#[derive(clap::Args)]
pub struct Args {
    /// Directories with outcomes of `stackelberg experiment`, of runs of `stackelberg tune --out`, or with such
    /// runs in folders up to two levels below
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,

    /// Directory to write to
    #[arg(long, value_name = "DIR", default_value = "report")]
    out: PathBuf,
}

/// Everything in a report.
#[derive(Default, Serialize)]
struct Report {
    studies: Vec<StudyReport>,
    runs: Vec<Run>,
    left_out: Vec<LeftOut>,
    /// The folders and files that have been looked at.
    #[serde(skip)]
    seen: BTreeSet<PathBuf>,
}

/// What could not be read.
#[derive(Serialize)]
struct LeftOut {
    place: String,
    problem: String,
}

/// A study's file: its name is the study's with the budget.
#[derive(Serialize)]
struct StudyReport {
    name: String,
    question: String,
    source: String,
    devices: Vec<String>,
    versions: Vec<String>,
    #[serde(flatten)]
    summary: Summary,
    /// Where the file lies.
    #[serde(skip)]
    folder: String,
    #[serde(skip)]
    study: &'static Study,
}

#[derive(Serialize)]
struct Run {
    name: String,
    state: State,
    result: Option<RunResult>,
    iterations: Vec<OuterRecord>,
}

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
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
    if report.studies.is_empty() && report.runs.is_empty() {
        let nothing = CliError::NothingToReport { directories: args.directories.clone() };
        return if failed { Ok(code) } else { Err(nothing) };
    }
    for study in &report.studies {
        study.summary.remarks.iter().for_each(|remark| super::note(format_args!("Note: {}: {remark}", study.name)));
    }
    let json = serde_json::to_string_pretty(&report).expect("figures are plain values") + "\n";
    let pages = [("report.html", html(&report)), ("report.json", json), ("report.csv", csv(&report))];
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

/// Levels of folders that runs are looked for in.
const DEPTH: usize = 2;

impl Report {
    /// Adds the run in a directory, or the studies in it and the runs below.
    fn collect(&mut self, directory: &Path) {
        match fs::canonicalize(directory) {
            Err(error) => return self.leave_out(directory, error),
            Ok(place) if !self.seen.insert(place.clone()) => return,
            Ok(_) => {}
        }
        let before = (self.studies.len(), self.runs.len(), self.left_out.len());
        if [run_dir::SETTINGS, run_dir::RESULT].iter().any(|name| directory.join(name).is_file()) {
            self.add_run(directory);
        } else {
            match fs::read_dir(directory) {
                Err(error) => self.leave_out(directory, error),
                Ok(entries) => {
                    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
                    paths.sort();
                    let journal = |path: &&PathBuf| path.extension().is_some_and(|e| e == "jsonl") && path.is_file();
                    paths.iter().filter(journal).for_each(|path| self.add_study(path));
                    self.add_runs_below(&paths, DEPTH);
                }
            }
        }
        if (self.studies.len(), self.runs.len(), self.left_out.len()) == before {
            super::note(format_args!("Nothing to report in {}", directory.display()));
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

    /// Adds the outcomes in a study's file.
    fn add_study(&mut self, path: &Path) {
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if !self.seen.insert(place) {
            return;
        }
        let bytes = match files::read(path) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) => return self.leave_out(path, error),
        };
        let mut lines = Lines::of(path, &bytes);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Some(study) = lines.study().map(str::to_owned) else {
            let is_ours = study::STUDIES.iter().any(|study| name.starts_with(study.name));
            return match lines.wrong.first() {
                Some(wrong) if is_ours => self.leave_out(path, wrong),
                Some(_) => super::note(format_args!("{} is no file of a study", path.display())),
                None => super::note(format_args!("{} has no outcome yet", path.display())),
            };
        };
        let Some(study) = study::find(&study) else {
            return self.leave_out(path, format_args!("its study {study} is not one of this version"));
        };
        let outcomes = lines.outcomes_of(study, path);
        if let [first, others @ ..] = &lines.wrong[..] {
            let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
            let mend = "take the line out to have its trial run again";
            self.leave_out(path, format_args!("{first}{more}; {mend}"));
        }
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
    fn name_apart(&mut self) {
        let names: Vec<String> = self.studies.iter().map(|study| study.name.clone()).collect();
        for study in &mut self.studies {
            if names.iter().filter(|name| **name == study.name).count() > 1 {
                study.name = format!("{} in {}", study.name, study.folder);
            }
            study.name = visible(&study.name);
        }
    }

    /// The charts of all studies, each with a file's name of its own.
    fn charts(&self) -> Vec<Chart> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut charts: Vec<Chart> = self.studies.iter().flat_map(StudyReport::charts).collect();
        for chart in &mut charts {
            let numbered = (2..).map(|number| format!("{}-{number}", chart.name));
            let mut free = [chart.name.clone()].into_iter().chain(numbered);
            // Some file systems do not tell letters of different size apart.
            chart.name = free.find(|name| names.insert(name.to_lowercase())).expect("numbers do not end");
        }
        charts
    }
}

impl Run {
    /// How it went, in a sentence.
    fn headline(&self) -> String {
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

/// One line a figure: which table, what it belongs to, its name, mean, deviation, number of seeds.
fn csv(report: &Report) -> String {
    let mut text = "study,labels,metric,mean,deviation,count\n".to_owned();
    let quoted = |text: &str| format!("\"{}\"", visible(text).replace('"', "\"\""));
    let is_plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "._-".contains(c));
    let mut line = |table: &str, labels: &str, metric: &str, mean: f64, deviation: f64, count: usize| {
        let metric = if is_plain(metric) { metric.to_owned() } else { quoted(metric) };
        let _ = writeln!(text, "{},{},{metric},{mean},{deviation},{count}", quoted(table), quoted(labels));
    };
    for study in &report.studies {
        for row in &study.summary.rows {
            let labels = study::id(&row.labels);
            line(&study.name, &labels, "seeds", row.seeds as f64, 0.0, 1);
            line(&study.name, &labels, "diverged_seeds", row.diverged as f64, 0.0, 1);
            for (metric, s) in &row.metrics {
                line(&study.name, &labels, metric, s.mean, s.deviation, s.count);
            }
        }
    }
    for run in &report.runs {
        for record in &run.iterations {
            let labels = format!("iteration={}", record.iteration);
            let losses = [("outer_loss", record.outer_loss), ("residual", record.residual)];
            for (metric, value) in losses {
                value.into_iter().for_each(|value| line(&run.name, &labels, metric, value, 0.0, 1));
            }
            record.hyperparameters.iter().for_each(|(metric, value)| line(&run.name, &labels, metric, *value, 0.0, 1));
            for (name, value) in &record.hypergradient {
                line(&run.name, &labels, &format!("hypergradient.{name}"), *value, 0.0, 1);
            }
        }
        let Some(result) = &run.result else { continue };
        line(&run.name, "", "iterations", result.iterations.into(), 0.0, 1);
        line(&run.name, "", "seconds", result.seconds, 0.0, 1);
        if let Some(loss) = result.best_outer_loss {
            line(&run.name, "", "best_iteration", result.best_iteration.into(), 0.0, 1);
            line(&run.name, "", "best_outer_loss", loss, 0.0, 1);
        }
        for (labels, evaluation) in [("at=start", &result.start), ("at=tuned", &result.end)] {
            for (metric, value) in evaluation.iter().flat_map(figures) {
                line(&run.name, labels, &metric, value, 0.0, 1);
            }
        }
    }
    text
}

/// The parts of a data set that a network was scored on, by name.
fn scores(evaluation: &Evaluation) -> [(&'static str, Score); 3] {
    [("training", evaluation.train), ("validation", evaluation.validation), ("test", evaluation.test)]
}

/// Losses, accuracies and hyperparameters of a network, by name.
fn figures(evaluation: &Evaluation) -> Named {
    let mut named = evaluation.hyperparameters.clone();
    for (part, Score { loss, accuracy }) in scores(evaluation) {
        named.extend(loss.map(|loss| (format!("{part}_loss"), loss)));
        named.extend(accuracy.map(|accuracy| (format!("{part}_accuracy"), accuracy)));
    }
    named.extend(evaluation.test_classes.as_ref().map(|classes| ("test_macro_f1".to_owned(), classes.macro_f1)));
    named
}

const STYLE: &str = "
:root { color-scheme: light dark; --line: light-dark(#d5d9e0, #3a4150); --quiet: light-dark(#5b6472, #9aa4b5); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
  background: light-dark(#fff, #14171d); color: light-dark(#1b2029, #e6e9ef); }
h1 { font-size: 1.6rem } h2 { font-size: 1.25rem; margin-top: 3rem } p { color: var(--quiet) }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap }
.charts { display: flex; flex-wrap: wrap; gap: 1rem } .charts svg { background: #fff; border-radius: .5rem; max-width: 100%; height: auto }
";

fn escaped(text: &str) -> String {
    visible(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn html(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Stackelberg report</title>\
         <style>{STYLE}</style></head><body>\n<h1>Stackelberg report</h1>\n"
    );
    for LeftOut { place, problem } in &report.left_out {
        let _ = writeln!(page, "<p>Left out: {} cannot be used: {}</p>", escaped(place), escaped(problem));
    }
    for study in &report.studies {
        let _ = writeln!(
            page,
            "<h2>{}</h2><p>{} From: {}. Computed on {} by version {}. Mean ± standard deviation over seeds; \
             report.csv has all metrics.</p>",
            escaped(&study.name),
            escaped(&study.question),
            escaped(&study.source),
            escaped(&study.devices.join(", ")),
            escaped(&study.versions.join(", "))
        );
        study.summary.remarks.iter().for_each(|remark| page += &format!("<p>Note: {}.</p>\n", escaped(remark)));
        page += "<div class=\"charts\">";
        study.charts().iter().for_each(|chart| page += &chart.svg);
        page += "</div>";
        if let [head, lines @ ..] = &cells(study.study, &study.summary.rows)[..] {
            page += &table(head, lines);
        }
    }
    for run in &report.runs {
        page += &run_section(run);
    }
    page + "</body></html>\n"
}

/// A drawing with its name, which has no characters that a file's name may not have.
struct Chart {
    name: String,
    svg: String,
}

/// File systems take 255 bytes, and a letter has up to four.
const LONGEST_NAME: usize = 60;

impl StudyReport {
    /// One for each metric and each setting of the labels that the study keeps apart.
    fn charts(&self) -> Vec<Chart> {
        let apart = |row: &summary::Row| -> Vec<String> {
            self.study.apart.iter().filter_map(|label| row.labels.get(*label).cloned()).collect()
        };
        let mut settings: Vec<Vec<String>> = vec![];
        for setting in self.summary.rows.iter().map(apart) {
            if !settings.contains(&setting) {
                settings.push(setting);
            }
        }
        let metrics = self.study.charts.iter();
        metrics
            .flat_map(|metric| settings.iter().map(move |setting| (*metric, setting)))
            .filter(|(metric, setting)| {
                self.summary.rows.iter().any(|row| apart(row) == **setting && row.metrics.contains_key(*metric))
            })
            .map(|(metric, setting)| {
                let rows = self.summary.rows.iter().filter(|row| apart(row) == *setting);
                let words: Vec<&str> = [metric].into_iter().chain(setting.iter().map(|s| &**s)).collect();
                let name = format!("{} {}", self.name, words.join(" "));
                let name = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
                let name = name.collect::<Vec<_>>().join("-").chars().take(LONGEST_NAME).collect();
                Chart { name, svg: self.chart(&visible(&words.join(", ").replace('_', " ")), metric, rows) }
            })
            .filter(|chart: &Chart| !chart.svg.is_empty())
            .collect()
    }

    /// A metric along the study's label: a series for each setting of the labels that are not kept apart.
    fn chart<'r>(&self, title: &str, metric: &str, rows: impl Iterator<Item = &'r summary::Row>) -> String {
        let Study { along, apart, .. } = self.study;
        let mut rows: Vec<(&summary::Row, &summary::Statistic)> =
            rows.filter_map(|row| Some((row, row.metrics.get(metric)?))).collect();
        let number = |row: &summary::Row| row.labels[*along].parse::<f64>().unwrap_or(0.0);
        rows.sort_by(|(a, _), (b, _)| number(a).total_cmp(&number(b)));
        let mut series: BTreeMap<String, Vec<chart::Point>> = BTreeMap::new();
        let mut places: Vec<String> = vec![];
        for (row, value) in rows {
            let place = visible(&row.labels[*along]);
            let at = places.iter().position(|known| *known == place).unwrap_or_else(|| {
                places.push(place);
                places.len() - 1
            });
            let others: Labels =
                row.labels.clone().into_iter().filter(|(l, _)| l != along && !apart.contains(&&**l)).collect();
            let name = visible(&others.into_values().collect::<Vec<_>>().join(", "));
            series.entry(name).or_default().push(chart::Point {
                at: at as f64,
                value: value.mean,
                spread: value.deviation,
            });
        }
        chart::draw(title, along, chart::Axis::Named(&places), &series)
    }
}

fn table(head: &[String], lines: &[Vec<String>]) -> String {
    let cells = |tag: &str, cells: &[String]| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect()
    };
    let body: String = lines.iter().map(|line| format!("<tr>{}</tr>\n", cells("td", line))).collect();
    format!("<div class=\"wide\"><table><tr>{}</tr>\n{body}</table></div>\n", cells("th", head))
}

/// Three figures, or four digits.
fn figure(value: f64) -> String {
    super::progress::number(value)
}

fn run_section(run: &Run) -> String {
    let points = |value: &dyn Fn(&OuterRecord) -> Option<f64>| -> Vec<chart::Point> {
        let points = run.iterations.iter().filter_map(|r| Some((f64::from(r.iteration), value(r)?)));
        points.map(|(at, value)| chart::Point { at, value, spread: 0.0 }).collect()
    };
    let mut page = format!("<h2>{}</h2><p>{}", escaped(&run.name), run.headline());
    if let Some(RunResult { device, data, seconds, seed, .. }) = &run.result {
        let (adapter, engine, data) = (escaped(&device.adapter), escaped(&device.engine), escaped(&data.name));
        let _ = write!(page, " {seconds:.0} s on {adapter} ({engine}); {data}, seed {seed}.");
    }
    page += "</p>\n<div class=\"charts\">";
    let mut names: Vec<&String> = run.iterations.iter().flat_map(|r| r.hyperparameters.keys()).collect();
    names.sort();
    names.dedup();
    let series = [("outer loss".to_owned(), points(&|r| r.outer_loss))].into();
    page += &chart::draw("outer loss", "outer iteration", chart::Axis::Number, &series);
    for name in names {
        let series = [(visible(name), points(&|r| r.hyperparameters.get(name).copied()))].into();
        page += &chart::draw(&visible(name), "outer iteration", chart::Axis::Number, &series);
    }
    page += "</div>";
    let Some(RunResult { start: Some(start), end, .. }) = &run.result else { return page };
    // Of a run that goes on only the start is scored.
    let mut head = vec![String::new(), "start".to_owned()];
    head.extend(end.as_ref().map(|_| "tuned".to_owned()));
    let networks: Vec<&Evaluation> = [start].into_iter().chain(end).collect();
    let row = |name: String, cell: &dyn Fn(&Evaluation) -> String| {
        [name].into_iter().chain(networks.iter().map(|network| cell(network))).collect::<Vec<String>>()
    };
    let mut lines = vec![];
    for (at, (part, score)) in scores(start).into_iter().enumerate() {
        lines.push(row(format!("{part} loss"), &|n| scores(n)[at].1.loss.map_or("diverged".to_owned(), figure)));
        if score.accuracy.is_some() {
            let percent = |n: &Evaluation| scores(n)[at].1.accuracy.map(|share| format!("{:.1} %", 100.0 * share));
            lines.push(row(format!("{part} accuracy"), &|n| percent(n).unwrap_or("diverged".to_owned())));
        }
    }
    if start.test_classes.is_some() {
        let percent =
            |n: &Evaluation| n.test_classes.as_ref().map(|classes| format!("{:.1} %", 100.0 * classes.macro_f1));
        lines.push(row("test macro F1".to_owned(), &|n| percent(n).unwrap_or("diverged".to_owned())));
    }
    for name in start.hyperparameters.keys() {
        lines.push(row(name.clone(), &|n| n.hyperparameters.get(name).map_or("–".to_owned(), |v| figure(*v))));
    }
    page + &table(&head, &lines)
}
