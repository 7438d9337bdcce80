//! `stackelberg report`: studies and runs as one page that needs nothing else, and as data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use stackelberg::engine::several;
use stackelberg::experiment::record::{OuterRecord, RunResult, Score};
use stackelberg::experiment::study::{self, Labels, Study, summary};

use super::{CliError, chart, experiment, run_dir};

/// Make a page with charts and tables of studies and runs
///
/// Writes report.html, which holds everything it shows and can be read offline, the same figures as
/// report.json and report.csv, and the charts of studies as charts/*.svg.
#[derive(clap::Args)]
pub struct Args {
    /// Directories with outcomes of `stackelberg experiment`, of runs of `stackelberg tune --out`, or with such
    /// runs in folders up to two levels below
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,

    /// Directory to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// Everything in a report.
#[derive(Default, Serialize)]
struct Report {
    studies: Vec<StudyReport>,
    runs: Vec<Run>,
}

/// A study's file: its name is the study's with the budget.
#[derive(Serialize)]
struct StudyReport {
    name: String,
    question: String,
    source: String,
    devices: Vec<String>,
    rows: Vec<summary::Row>,
    #[serde(skip)]
    study: &'static Study,
}

#[derive(Serialize)]
struct Run {
    name: String,
    result: RunResult,
    iterations: Vec<OuterRecord>,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let mut report = Report::default();
    let mut seen = BTreeSet::new();
    for directory in &args.directories {
        let whole = fs::canonicalize(directory).map_err(|source| CliError::Read { path: directory.clone(), source })?;
        let before = report.studies.len() + report.runs.len();
        if seen.insert(whole) {
            collect(directory, &mut report)?;
            if !directory.join(run_dir::RESULT).exists() {
                runs_below(directory, DEPTH, &mut report.runs)?;
            }
            if report.studies.len() + report.runs.len() == before {
                super::note(format_args!("Nothing to report in {}", directory.display()));
            }
        }
    }
    if report.studies.is_empty() && report.runs.is_empty() {
        return Err(CliError::NothingToReport { directories: args.directories.clone() });
    }
    fs::create_dir_all(&args.out).map_err(|source| CliError::Write { path: args.out.clone(), source })?;
    let json = serde_json::to_string_pretty(&report).expect("figures are plain values");
    for (name, text) in [("report.html", html(&report)), ("report.json", json + "\n"), ("report.csv", csv(&report))] {
        let path = args.out.join(name);
        fs::write(&path, text).map_err(|source| CliError::Write { path: path.clone(), source })?;
        super::print(&format!("{}\n", path.display()))?;
    }
    let charts: Vec<Chart> = report.studies.iter().flat_map(StudyReport::charts).collect();
    if charts.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let folder = args.out.join("charts");
    fs::create_dir_all(&folder).map_err(|source| CliError::Write { path: folder.clone(), source })?;
    for Chart { name, svg } in charts {
        let path = folder.join(name + ".svg");
        fs::write(&path, svg).map_err(|source| CliError::Write { path: path.clone(), source })?;
    }
    super::print(&format!("{}\n", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })
}

/// Adds the run in a directory, or the studies in it.
fn collect(directory: &Path, report: &mut Report) -> Result<(), CliError> {
    if directory.join(run_dir::RESULT).exists() {
        report.runs.push(tuning_run(directory)?);
        return Ok(());
    }
    let entries = fs::read_dir(directory).map_err(|source| CliError::Read { path: directory.to_owned(), source })?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    for path in files {
        let outcomes = experiment::outcomes(&path, &read(&path)?)?;
        let Some(study) = outcomes.first().and_then(|outcome| study::find(&outcome.study)) else { continue };
        let mut devices: Vec<String> =
            outcomes.iter().map(|o| format!("{} ({})", o.device.adapter, o.device.engine)).collect();
        devices.dedup();
        report.studies.push(StudyReport {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            question: study.question.to_owned(),
            source: study.source.to_owned(),
            devices,
            rows: summary::rows(&outcomes),
            study,
        });
    }
    Ok(())
}

/// Levels of folders that runs are looked for in.
const DEPTH: usize = 2;

/// Adds the runs in the folders of a directory, and in those of folders that hold none.
fn runs_below(directory: &Path, depth: usize, runs: &mut Vec<Run>) -> Result<(), CliError> {
    // A folder that may not be read is not one of ours.
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    for folder in folders {
        if [run_dir::SETTINGS, run_dir::METRICS, run_dir::RESULT].iter().all(|name| folder.join(name).exists()) {
            runs.push(tuning_run(&folder)?);
        } else if depth > 1 {
            runs_below(&folder, depth - 1, runs)?;
        }
    }
    Ok(())
}

fn tuning_run(directory: &Path) -> Result<Run, CliError> {
    let damaged = |name: &str, error: serde_json::Error| CliError::Record {
        path: directory.join(name),
        problem: error.to_string(),
    };
    let result = read(&directory.join(run_dir::RESULT))?;
    let result = serde_json::from_str(&result).map_err(|error| damaged(run_dir::RESULT, error))?;
    let lines = read(&directory.join(run_dir::METRICS))?;
    let line = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| CliError::Record {
            path: directory.join(run_dir::METRICS),
            problem: format!("line {}, {}", at + 1, in_line(&error)),
        })
    };
    let iterations = experiment::whole(&lines).lines().enumerate().map(line).collect::<Result<_, _>>()?;
    Ok(Run { name: directory.display().to_string(), result, iterations })
}

/// What is wrong with a text of one line, without that line's number.
fn in_line(error: &serde_json::Error) -> String {
    let (text, place) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
    format!("column {}: {}", error.column(), text.strip_suffix(&place).unwrap_or(&text))
}

/// One line a figure: which table, what it belongs to, its name, mean, deviation, number of seeds.
fn csv(report: &Report) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut text = "study,labels,metric,mean,deviation,count\n".to_owned();
    for study in &report.studies {
        for row in &study.rows {
            for (metric, s) in &row.metrics {
                let labels = quoted(&study::id(&row.labels));
                let _ =
                    writeln!(text, "{},{labels},{metric},{},{},{}", quoted(&study.name), s.mean, s.deviation, s.count);
            }
        }
    }
    for run in &report.runs {
        for record in &run.iterations {
            let labels = quoted(&format!("iteration={}", record.iteration));
            let values = record.hyperparameters.iter().map(|(name, value)| (&**name, *value));
            for (metric, value) in record.outer_loss.map(|loss| ("outer_loss", loss)).into_iter().chain(values) {
                let _ = writeln!(text, "{},{labels},{metric},{value},0,1", quoted(&run.name));
            }
        }
    }
    text
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
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn html(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Stackelberg report</title>\
         <style>{STYLE}</style></head><body>\n<h1>Stackelberg report</h1>\n"
    );
    for study in &report.studies {
        let _ = writeln!(
            page,
            "<h2>{}</h2><p>{} From: {}. Computed on {}. Mean ± standard deviation over seeds; \
             report.csv has every other figure.</p>",
            escaped(&study.name),
            escaped(&study.question),
            escaped(&study.source),
            escaped(&study.devices.join(", "))
        );
        page += "<div class=\"charts\">";
        study.charts().iter().for_each(|chart| page += &chart.svg);
        page += "</div>";
        page += &study_table(study);
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

impl StudyReport {
    /// One for each metric and each setting of the labels that the study keeps apart.
    fn charts(&self) -> Vec<Chart> {
        let apart = |row: &summary::Row| -> Vec<String> {
            self.study.apart.iter().filter_map(|label| row.labels.get(*label).cloned()).collect()
        };
        let mut settings: Vec<Vec<String>> = vec![];
        for setting in self.rows.iter().map(apart) {
            if !settings.contains(&setting) {
                settings.push(setting);
            }
        }
        let metrics = self.study.charts.iter();
        metrics
            .flat_map(|metric| settings.iter().map(move |setting| (*metric, setting)))
            .filter(|(metric, setting)| {
                self.rows.iter().any(|row| apart(row) == **setting && row.metrics.contains_key(*metric))
            })
            .map(|(metric, setting)| {
                let rows = self.rows.iter().filter(|row| apart(row) == *setting);
                let words: Vec<&str> = [metric].into_iter().chain(setting.iter().map(|s| &**s)).collect();
                let name = format!("{} {}", self.name, words.join(" "));
                let name = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
                let name = name.collect::<Vec<_>>().join("-");
                Chart { name, svg: self.chart(&words.join(", ").replace('_', " "), metric, rows) }
            })
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
            let place = &row.labels[*along];
            let at = places.iter().position(|known| known == place).unwrap_or_else(|| {
                places.push(place.clone());
                places.len() - 1
            });
            let others: Labels =
                row.labels.clone().into_iter().filter(|(l, _)| l != along && !apart.contains(&&**l)).collect();
            let name = others.into_values().collect::<Vec<_>>().join(", ");
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

fn study_table(study: &StudyReport) -> String {
    let Some(first) = study.rows.first() else { return String::new() };
    let charts = study.study.charts;
    let names = first.labels.keys().map(|label| &**label).chain(charts.iter().copied()).chain(["seeds"]);
    let head: Vec<String> = names.map(str::to_owned).collect();
    let line = |row: &summary::Row| {
        let value = |name: &&str| match row.metrics.get(*name) {
            Some(s) => super::progress::statistic(s),
            None => "–".to_owned(),
        };
        let count = row.metrics.values().map(|s| s.count).max().unwrap_or(0).to_string();
        row.labels.values().cloned().chain(charts.iter().map(value)).chain([count]).collect()
    };
    table(&head, &study.rows.iter().map(line).collect::<Vec<_>>())
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
    let mut page = format!("<h2>{}</h2>", escaped(&run.name));
    let device = &run.result.device;
    let _ = writeln!(
        page,
        "<p>{} in {:.0} s on {} ({}); {}, seed {}.</p><div class=\"charts\">",
        several(u64::from(run.result.iterations), "outer iteration"),
        run.result.seconds,
        escaped(&device.adapter),
        device.engine,
        escaped(&run.result.data.name),
        run.result.seed
    );
    let mut names: Vec<&String> = run.iterations.iter().flat_map(|r| r.hyperparameters.keys()).collect();
    names.sort();
    names.dedup();
    let series = [("outer loss".to_owned(), points(&|r| r.outer_loss))].into();
    page += &chart::draw("outer loss", "outer iteration", chart::Axis::Number, &series);
    for name in names {
        let series = [(name.clone(), points(&|r| r.hyperparameters.get(name).copied()))].into();
        page += &chart::draw(name, "outer iteration", chart::Axis::Number, &series);
    }
    page += "</div>";
    let head = ["", "start", "tuned"].map(str::to_owned);
    if let (Some(start), Some(end)) = (&run.result.start, &run.result.end) {
        let mut lines = vec![];
        for (name, before, after) in [("validation", start.validation, end.validation), ("test", start.test, end.test)]
        {
            let loss = |score: Score| score.loss.map_or("diverged".to_owned(), figure);
            lines.push(vec![format!("{name} loss"), loss(before), loss(after)]);
            if let (Some(before), Some(after)) = (before.accuracy, after.accuracy) {
                let percent = |score: f64| format!("{:.1} %", 100.0 * score);
                lines.push(vec![format!("{name} accuracy"), percent(before), percent(after)]);
            }
        }
        for (name, value) in &end.hyperparameters {
            let before = start.hyperparameters.get(name).map_or("–".to_owned(), |v| figure(*v));
            lines.push(vec![name.clone(), before, figure(*value)]);
        }
        page += &table(&head, &lines);
    }
    page
}
