//! Outcomes of studies in rows and columns.

use std::fmt::Write as _;

use stackelberg::engine::several;
use stackelberg::experiment::study::{Study, summary};

use super::progress::statistic;

/// Means over seeds, with the sample's standard deviation: the head, and a line of cells for each row.
pub fn cells(study: &Study, rows: &[summary::Row]) -> Vec<Vec<String>> {
    let labels: Vec<String> = study.labels().into_iter().filter(|label| label != "seed").collect();
    let charts = study.charts.iter().map(|&name| name.to_owned());
    let mut lines: Vec<Vec<String>> = vec![labels.iter().cloned().chain(charts).chain(["seeds".to_owned()]).collect()];
    for row in rows {
        let value = |name: &&str| match row.metrics.get(*name) {
            Some(s) if s.count < row.seeds - row.diverged => {
                format!("{} (of {})", statistic(s), several(s.count as u64, "seed"))
            }
            Some(s) => statistic(s),
            None if row.diverged == row.seeds => "diverged".to_owned(),
            None => "–".to_owned(),
        };
        let labels = labels.iter().map(|label| row.labels[label].clone());
        lines.push(labels.chain(study.charts.iter().map(value)).chain([row.seeds()]).collect());
    }
    lines
}

/// The outcomes of a study for a terminal.
pub fn text(study: &Study, rows: &[summary::Row]) -> String {
    let lines = cells(study, rows);
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
