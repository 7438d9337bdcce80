//! The charts of a report's studies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stackelberg::data::visible;
use stackelberg::experiment::study::{Labels, Study, summary};

use super::collect::{Report, StudyReport};
use crate::cli::chart;

/// A drawing with its name, which has no characters that a file's name may not have.
pub struct Chart {
    pub name: String,
    pub svg: String,
}

/// File systems take 255 bytes, and a letter has up to four.
const LONGEST_NAME: usize = 60;

impl StudyReport {
    /// One for each metric and each setting of the labels that the study keeps apart.
    pub fn charts(&self) -> Vec<Chart> {
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
        let pairs = metrics.flat_map(|metric| settings.iter().map(move |setting| (*metric, setting)));
        let drawn = pairs.flat_map(|(metric, setting)| {
            let rows: Vec<&summary::Row> = self.summary.rows.iter().filter(|row| apart(row) == *setting).collect();
            let words: Vec<&str> = [metric].into_iter().chain(setting.iter().map(|s| &**s)).collect();
            let title = visible(&words.join(", ").replace('_', " "));
            let last = self.chart(&title, metric, &rows);
            let course = self.course(&format!("{title}, as it went"), metric, &rows);
            let name = format!("{} {}", self.name, words.join(" "));
            [(file_name(&name), last), (file_name(&format!("{name} course")), course)]
        });
        drawn.map(|(name, svg)| Chart { name, svg }).filter(|chart| !chart.svg.is_empty()).collect()
    }

    /// A metric along the study's label: a series for each setting of the labels that are not kept apart.
    fn chart(&self, title: &str, metric: &str, rows: &[&summary::Row]) -> String {
        let Study { along, apart, .. } = self.study;
        let mut rows: Vec<(&summary::Row, &summary::Statistic)> =
            rows.iter().filter_map(|row| Some((*row, row.metrics.get(metric)?))).collect();
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

    /// A metric in the course of trainings, for rows that have it with numbers behind its name, such as those of steps: a
    /// series for each row.
    fn course(&self, title: &str, metric: &str, rows: &[&summary::Row]) -> String {
        let mut series: BTreeMap<String, Vec<chart::Point>> = BTreeMap::new();
        for row in rows {
            let of_others = row.labels.iter().filter(|(label, _)| !self.study.apart.contains(&&***label));
            let name = visible(&of_others.map(|(_, value)| &**value).collect::<Vec<_>>().join(", "));
            let numbered = row.metrics.iter().filter_map(|(name, value)| {
                let at = name.strip_prefix(metric)?.strip_prefix('.')?.parse::<u32>().ok()?;
                Some(chart::Point { at: at.into(), value: value.mean, spread: value.deviation })
            });
            series.entry(name).or_default().extend(numbered);
        }
        chart::draw(title, "step", chart::Axis::Number, &series)
    }
}

/// Words as a file's name.
fn file_name(words: &str) -> String {
    let words = words.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").chars().take(LONGEST_NAME).collect()
}

impl Report {
    /// The charts of all studies and searches, each with a file's name of its own.
    pub fn charts(&self) -> Vec<Chart> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut charts: Vec<Chart> = self.studies.iter().flat_map(StudyReport::charts).collect();
        for search in &self.searches {
            let stem = Path::new(&search.name).file_stem().unwrap_or_default().to_string_lossy();
            let named = |(name, svg)| Chart { name: file_name(&format!("{stem} {name}")), svg };
            charts.extend(search.charts().into_iter().map(named));
        }
        for chart in &mut charts {
            let numbered = (2..).map(|number| format!("{}-{number}", chart.name));
            let mut free = [chart.name.clone()].into_iter().chain(numbered);
            // Some file systems do not tell letters of different size apart.
            chart.name = free.find(|name| names.insert(name.to_lowercase())).expect("numbers do not end");
        }
        charts
    }
}
