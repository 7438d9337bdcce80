//! A report as one page that needs nothing else.

use std::fmt::Write as _;

use stackelberg::data::visible;
use stackelberg::experiment::record::{Evaluation, OuterRecord, RunResult};

use super::collect::{LeftOut, Report, Run, scores};
use crate::cli::chart;
use crate::cli::progress::number;
use crate::cli::table::cells;

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

pub fn html(report: &Report) -> String {
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
    for search in &report.searches {
        let _ = writeln!(
            page,
            "<h2>{}</h2><p>{} Version {}, seed {}.</p>",
            escaped(&search.name),
            escaped(&search.headline()),
            escaped(&search.about.version),
            search.about.seed
        );
        let charts: String = search.charts().into_iter().map(|(_, svg)| svg).collect();
        page += &format!("<div class=\"charts\">{charts}</div>");
        if let [head, lines @ ..] = &search.table()[..] {
            page += &table(head, lines);
        }
    }
    for run in &report.runs {
        page += &run_section(run);
    }
    page + "</body></html>\n"
}

fn table(head: &[String], lines: &[Vec<String>]) -> String {
    let cells = |tag: &str, cells: &[String]| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect()
    };
    let body: String = lines.iter().map(|line| format!("<tr>{}</tr>\n", cells("td", line))).collect();
    format!("<div class=\"wide\"><table><tr>{}</tr>\n{body}</table></div>\n", cells("th", head))
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
        lines.push(row(format!("{part} loss"), &|n| scores(n)[at].1.loss.map_or("diverged".to_owned(), number)));
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
        lines.push(row(name.clone(), &|n| n.hyperparameters.get(name).map_or("–".to_owned(), |v| number(*v))));
    }
    page + &table(&head, &lines)
}
