//! Outcomes side by side.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Labels, Outcome, id};

/// One of these is in every outcome of a training that did not diverge.
const SCORES: [&str; 2] = ["test_loss", "test_accuracy"];

/// What the outcomes of a study say together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// In the order of the outcomes' labels.
    pub rows: Vec<Row>,
    /// What to know before rows are compared: outcomes that do not count, other versions, several devices.
    pub remarks: Vec<String>,
}

/// Outcomes that differ in nothing but their seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name of the study.
    pub study: String,
    /// Labels that its outcomes have in common: all but the seed.
    pub labels: Labels,
    /// Of each metric.
    pub metrics: BTreeMap<String, Statistic>,
    /// How many of them there are, each seed counted once.
    pub seeds: usize,
    /// How many of these diverged, and so have neither a test loss nor a test accuracy.
    pub diverged: usize,
    /// Wall time of all of them.
    pub seconds: f64,
}

/// A metric over the seeds that have it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistic {
    /// Mean over the outcomes that have the metric.
    pub mean: f64,
    /// Standard deviation of the sample; 0 for a single value.
    pub deviation: f64,
    /// Outcomes that have the metric.
    pub count: usize,
}

impl Statistic {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Statistic { mean, deviation: (squares / (count.max(2) - 1) as f64).sqrt(), count }
    }
}

impl Row {
    /// The number of seeds that count, and what became of the others.
    pub fn seeds(&self) -> String {
        match self.diverged {
            0 => self.seeds.to_string(),
            diverged => format!("{} of {}, {diverged} diverged", self.seeds - diverged, self.seeds),
        }
    }
}

impl Summary {
    /// One row for each setting of the labels other than the seed, in the order in which they first occur; `version` is
    /// that of this program.
    pub fn of(outcomes: &[Outcome], version: &str) -> Self {
        let (outcomes, repeated) = distinct(outcomes);
        let mut remarks: Vec<String> = repeated.into_iter().collect();
        remarks.extend(of_other_versions(&outcomes, version));
        remarks.extend(on_several_devices(&outcomes));
        Summary { rows: rows(&outcomes), remarks }
    }
}

/// The last outcome of each trial, and a sentence about those that are there more than once.
fn distinct(outcomes: &[Outcome]) -> (Vec<&Outcome>, Option<String>) {
    let mut places: BTreeMap<(&str, &Labels), usize> = BTreeMap::new();
    let mut kept: Vec<&Outcome> = vec![];
    let mut repeated: BTreeMap<String, bool> = BTreeMap::new();
    for outcome in outcomes {
        match places.get(&(&*outcome.study, &outcome.labels)) {
            None => {
                places.insert((&outcome.study, &outcome.labels), kept.len());
                kept.push(outcome);
            }
            Some(&at) => {
                *repeated.entry(id(&outcome.labels)).or_default() |= kept[at].metrics != outcome.metrics;
                kept[at] = outcome;
            }
        }
    }
    let differ = repeated.values().filter(|differs| **differs).count();
    let remark = repeated.keys().next().map(|first| {
        let figures = if differ == 0 { "with the same figures" } else { "with other figures" };
        let more = if repeated.len() > 1 { format!(" and {} more", repeated.len() - 1) } else { String::new() };
        format!("{first}{more} is there more than once, {figures}: the last one counts")
    });
    (kept, remark)
}

fn of_other_versions(outcomes: &[&Outcome], version: &str) -> Option<String> {
    let others: Vec<&str> = outcomes.iter().map(|o| &*o.version).filter(|other| *other != version).collect();
    let names: BTreeSet<&str> = others.iter().copied().collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    (!others.is_empty()).then(|| {
        let (n, all) = (others.len(), outcomes.len());
        format!("{n} of {all} outcomes are of version {names}, not {version}: what is computed may have changed")
    })
}

fn on_several_devices(outcomes: &[&Outcome]) -> Option<String> {
    let devices: BTreeSet<String> =
        outcomes.iter().map(|o| format!("{} ({})", o.device.adapter, o.device.engine)).collect();
    let names = devices.iter().cloned().collect::<Vec<_>>().join(", ");
    (devices.len() > 1).then(|| format!("the outcomes are of several devices, whose bits differ: {names}"))
}

fn rows(outcomes: &[&Outcome]) -> Vec<Row> {
    let mut order: Vec<(&str, Labels)> = vec![];
    let mut groups: BTreeMap<(&str, Labels), Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        let mut labels = outcome.labels.clone();
        labels.remove("seed");
        let key = (&*outcome.study, labels);
        let group = groups.entry(key.clone()).or_default();
        if group.is_empty() {
            order.push(key);
        }
        group.push(outcome);
    }
    let row = |key: (&str, Labels)| {
        let group = &groups[&key];
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, &value) in group.iter().flat_map(|outcome| &outcome.metrics) {
            values.entry(name.clone()).or_default().push(value);
        }
        let diverged = |outcome: &&&Outcome| !SCORES.iter().any(|name| outcome.metrics.contains_key(*name));
        Row {
            study: key.0.to_owned(),
            labels: key.1,
            metrics: values.into_iter().map(|(name, values)| (name, Statistic::of(&values))).collect(),
            seeds: group.len(),
            diverged: group.iter().filter(diverged).count(),
            seconds: group.iter().map(|outcome| outcome.seconds).sum(),
        }
    };
    order.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::record::DeviceRecord;

    const VERSION: &str = "1.0";

    fn outcome(t: &str, seed: &str, loss: Option<f64>) -> Outcome {
        Outcome {
            study: "s".into(),
            labels: [("T", t), ("seed", seed)].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            metrics: [loss.map_or(("best_iteration".to_owned(), 0.0), |loss| ("test_loss".to_owned(), loss))].into(),
            seconds: 1.0,
            version: VERSION.into(),
            device: DeviceRecord {
                engine: "cpu".into(),
                adapter: "a".into(),
                backend: String::new(),
                driver: String::new(),
                software: true,
            },
        }
    }

    fn summary(outcomes: &[Outcome]) -> Summary {
        Summary::of(outcomes, VERSION)
    }

    #[test]
    fn seeds_are_averaged() {
        let outcomes = [("50", "0", 1.0), ("10", "0", 7.0), ("50", "1", 2.0)].map(|(t, s, l)| outcome(t, s, Some(l)));
        let Summary { rows, remarks } = summary(&outcomes);
        assert!(remarks.is_empty(), "{remarks:?}");
        assert_eq!(rows.iter().map(|row| &*row.labels["T"]).collect::<Vec<_>>(), ["50", "10"]);
        let Statistic { mean, deviation, count } = rows[0].metrics["test_loss"];
        assert_eq!((mean, count, rows[0].seconds), (1.5, 2, 2.0));
        assert!((deviation - 0.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(rows[1].metrics["test_loss"], Statistic { mean: 7.0, deviation: 0.0, count: 1 });
        assert_eq!((rows[0].seeds(), rows[1].seeds()), ("2".to_owned(), "1".to_owned()));
    }

    #[test]
    fn a_seed_counts_once_and_the_last_outcome_is_taken() {
        let again = [outcome("5", "0", Some(1.0)), outcome("5", "1", Some(3.0)), outcome("5", "0", Some(1.0))];
        let Summary { rows, remarks } = summary(&again);
        assert_eq!((rows[0].seeds, rows[0].metrics["test_loss"].mean), (2, 2.0));
        assert_eq!(remarks, ["T=5 seed=0 is there more than once, with the same figures: the last one counts"]);
        let other = [outcome("5", "0", None), outcome("5", "0", Some(9.0))];
        let Summary { rows, remarks } = summary(&other);
        assert_eq!((rows[0].seeds(), rows[0].metrics["test_loss"].mean), ("1".to_owned(), 9.0));
        assert!(!rows[0].metrics.contains_key("best_iteration") && remarks[0].contains("with other figures"));
    }

    #[test]
    fn what_diverged_is_counted_apart() {
        let outcomes = [outcome("5", "0", Some(1.0)), outcome("5", "1", None), outcome("5", "2", Some(2.0))];
        let Summary { rows, .. } = summary(&outcomes);
        assert_eq!(rows[0].seeds(), "2 of 3, 1 diverged");
        assert_eq!(rows[0].metrics["test_loss"], Statistic { mean: 1.5, deviation: 0.5f64.sqrt(), count: 2 });
        assert_eq!(summary(&[outcome("5", "0", None)]).rows[0].seeds(), "0 of 1, 1 diverged");
    }

    #[test]
    fn other_versions_and_devices_are_said() {
        let mut outcomes = [outcome("5", "0", Some(1.0)), outcome("5", "1", Some(1.0))];
        outcomes[0].version = "0.3".into();
        outcomes[1].device.adapter = "b".into();
        let [versions, devices] = &summary(&outcomes).remarks[..] else { panic!("two remarks") };
        assert!(versions.starts_with("1 of 2 outcomes are of version 0.3, not 1.0"), "{versions}");
        assert!(devices.ends_with("a (cpu), b (cpu)"), "{devices}");
    }
}
