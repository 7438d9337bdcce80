//! Outcomes side by side.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Labels, Outcome, id};

/// Outcomes that differ in nothing but their seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub study: String,
    pub labels: Labels,
    pub metrics: BTreeMap<String, Statistic>,
    /// Wall time of all of them.
    pub seconds: f64,
}

/// A metric over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistic {
    pub mean: f64,
    /// Standard deviation of the sample; 0 for a single value.
    pub deviation: f64,
    pub count: usize,
}

impl Statistic {
    /// Of at least one value.
    fn of(values: &[f64]) -> Self {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Statistic { mean, deviation: (squares / (count.max(2) - 1) as f64).sqrt(), count }
    }
}

/// One row for each setting of the labels other than the seed, in the order in which they first occur.
pub fn rows(outcomes: &[Outcome]) -> Vec<Row> {
    let key = |outcome: &Outcome| {
        let mut labels = outcome.labels.clone();
        labels.remove("seed");
        (outcome.study.clone(), labels)
    };
    let mut order: Vec<(String, Labels)> = vec![];
    let mut groups: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        let (study, labels) = key(outcome);
        let group = groups.entry(format!("{study} {}", id(&labels))).or_default();
        if group.is_empty() {
            order.push((study, labels));
        }
        group.push(outcome);
    }
    let row = |(study, labels): (String, Labels)| {
        let group = &groups[&format!("{study} {}", id(&labels))];
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, &value) in group.iter().flat_map(|outcome| &outcome.metrics) {
            values.entry(name.clone()).or_default().push(value);
        }
        let metrics = values.into_iter().map(|(name, values)| (name, Statistic::of(&values))).collect();
        Row { study, labels, metrics, seconds: group.iter().map(|outcome| outcome.seconds).sum() }
    };
    order.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::record::DeviceRecord;

    #[test]
    fn seeds_are_averaged() {
        let outcome = |t: &str, seed: &str, loss: f64| Outcome {
            study: "s".into(),
            labels: [("T", t), ("seed", seed)].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            metrics: [("loss".to_owned(), loss)].into(),
            seconds: 1.0,
            version: String::new(),
            device: DeviceRecord {
                engine: "cpu".into(),
                adapter: String::new(),
                backend: String::new(),
                driver: String::new(),
                software: true,
            },
        };
        let rows = rows(&[outcome("50", "0", 1.0), outcome("10", "0", 7.0), outcome("50", "1", 2.0)]);
        assert_eq!(rows.iter().map(|row| &*row.labels["T"]).collect::<Vec<_>>(), ["50", "10"]);
        let Statistic { mean, deviation, count } = rows[0].metrics["loss"];
        assert_eq!((mean, count, rows[0].seconds), (1.5, 2, 2.0));
        assert!((deviation - 0.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(rows[1].metrics["loss"], Statistic { mean: 7.0, deviation: 0.0, count: 1 });
    }
}
