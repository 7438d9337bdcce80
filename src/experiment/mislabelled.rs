//! Training labels that are wrong on purpose, and how well example weights tell which.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::TuneConfig;
use crate::data::{DataError, Dataset};
use crate::rng::{Purpose, Stream};

/// What is done to the training labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mislabelled {
    /// This share of the windows gets another label.
    pub share: f64,
    /// Each of so many annotators, who take the windows in turn, labels either right or at random, and this share of them
    /// at random; 0 stands for one annotator a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotators: Option<u32>,
    /// Windows that would get another label are left out instead.
    #[serde(default)]
    pub left_out: bool,
}

impl Mislabelled {
    /// The data with training labels spoilt, and which of the training windows are.
    pub fn of(&self, config: &TuneConfig, data: &Dataset) -> Result<(Dataset, Vec<bool>), DataError> {
        let (validation, test) = config.split.resolve(data)?;
        let trained_on = |person: &u32| !validation.contains(person) && !test.contains(person);
        let training: Vec<usize> = (0..data.len()).filter(|&at| trained_on(&data.people()[at])).collect();
        let mut stream = Stream::new(u64::from(config.seed), Purpose::Labels, 0);
        let careless = self.annotators.map(|annotators| {
            let annotators = if annotators == 0 { training.len() } else { training.len().min(annotators as usize) };
            (0..annotators).map(|_| stream.uniform() < self.share).collect::<Vec<bool>>()
        });
        let (mut wrong, mut labels) = (vec![], data.labels().to_vec());
        for (place, &at) in training.iter().enumerate() {
            let spoilt = match &careless {
                Some(careless) => careless[place % careless.len()],
                None => stream.uniform() < self.share,
            };
            wrong.push(spoilt);
            if spoilt {
                labels[at] = stream.other_label(labels[at], data.about().outputs.len());
            }
        }
        let what = if self.left_out { "windows left out" } else { "wrong labels" };
        let named = data.clone().named(format!("{}, {:.0} % {what}", data.about().name, 100.0 * self.share));
        if !self.left_out {
            return Ok((named.with_labels(labels)?, wrong));
        }
        let mut spoilt = vec![false; data.len()];
        training.iter().zip(&wrong).for_each(|(&at, &wrong)| spoilt[at] = wrong);
        let kept: Vec<usize> = (0..data.len()).filter(|&at| !spoilt[at]).collect();
        Ok((named.select(&kept), vec![]))
    }
}

/// The probability that a right label has a larger weight than a wrong one (ties count half).
pub fn auc(weights: &[f64], wrong: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[a].total_cmp(&weights[b]));
    let (mut below, mut won) = (0.0, 0.0);
    for tied in order.chunk_by(|&a, &b| weights[a] == weights[b]) {
        let of_wrong = tied.iter().filter(|&&at| wrong[at]).count() as f64;
        won += (tied.len() as f64 - of_wrong) * (below + 0.5 * of_wrong);
        below += of_wrong;
    }
    won / (below * (weights.len() as f64 - below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use crate::data::har::builtin;

    const THIRD: Mislabelled = Mislabelled { share: 1.0 / 3.0, annotators: None, left_out: false };

    #[test]
    fn auc_counts_pairs_in_the_right_order() {
        let wrong = [true, false, true, false, false];
        assert_eq!(auc(&[0.0, 1.0, 0.0, 1.0, 2.0], &wrong), 1.0);
        assert_eq!(auc(&[5.0; 5], &wrong), 0.5);
        // Of six pairs, the wrong label at 3 beats two right ones.
        assert_eq!(auc(&[0.0, 1.0, 3.0, 2.0, 4.0], &wrong), 4.0 / 6.0);
    }

    #[test]
    fn only_training_labels_are_spoilt() {
        let source = builtin::subset().unwrap();
        let config = TuneConfig { seed: 3, ..TuneConfig::quick() };
        let split = |data: &Dataset| Split::by_people(data, &config.split).unwrap();
        let (spoilt, wrong) = THIRD.of(&config, &source).unwrap();
        let (before, after) = (split(&source), split(&spoilt));
        let unnamed = |part: &Dataset| part.clone().named("");
        assert!(unnamed(&before.validation) == unnamed(&after.validation));
        assert!(unnamed(&before.test) == unnamed(&after.test));
        let changed: Vec<bool> = before.train.labels().iter().zip(after.train.labels()).map(|(a, b)| a != b).collect();
        assert_eq!(changed, wrong);
        let share = changed.iter().filter(|&&c| c).count() as f64 / changed.len() as f64;
        assert!((share - 1.0 / 3.0).abs() < 0.05, "{share}");
        let (cut, _) = Mislabelled { left_out: true, ..THIRD }.of(&config, &source).unwrap();
        assert_eq!(split(&cut).train.len(), wrong.iter().filter(|&&spoilt| !spoilt).count());
    }

    #[test]
    fn annotators_are_right_or_careless_throughout() {
        let source = builtin::subset().unwrap();
        let config = TuneConfig { seed: 5, ..TuneConfig::quick() };
        let (_, wrong) = Mislabelled { annotators: Some(30), ..THIRD }.of(&config, &source).unwrap();
        assert!((0..wrong.len()).all(|at| wrong[at] == wrong[at % 30]));
        let careless = wrong[..30].iter().filter(|&&w| w).count();
        assert!((4..=18).contains(&careless), "{careless} of 30");
        let (_, wrong) = Mislabelled { annotators: Some(0), ..THIRD }.of(&config, &source).unwrap();
        let share = wrong.iter().filter(|&&w| w).count() as f64 / wrong.len() as f64;
        assert!((share - THIRD.share).abs() < 0.04, "{share}");
    }
}
