//! Training, validation and test windows, divided by whole people, and their scale.

use super::har::{CHANNELS, CLASS_NAMES, CLASSES};
use super::{DataError, Windows};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The test subjects of the published split.
pub const TEST_SUBJECTS: [u32; 9] = [2, 4, 9, 10, 12, 13, 18, 20, 24];
/// The training subjects that we set aside for validation.
pub const VALIDATION_SUBJECTS: [u32; 5] = [1, 14, 21, 27, 30];

/// Which subjects to validate and to test on; all others train.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SubjectSplit {
    /// Subjects to validate on. By default those of 1, 14, 21, 27 and 30 that the data hold, or, if
    /// they hold none of these, the last fifth of the subjects that are not for test.
    pub validation: Option<Vec<u32>>,
    /// Subjects to test on. By default those of the published test subjects 2, 4, 9, 10, 12, 13, 18,
    /// 20 and 24 that the data hold.
    pub test: Option<Vec<u32>>,
}

impl SubjectSplit {
    /// Sentences about activities that cannot be learnt or told apart when `windows` are split like this.
    pub fn remarks(&self, windows: &Windows) -> Result<Vec<String>, DataError> {
        let (validation, test) = self.resolve(&windows.present_subjects())?;
        let held_out = |subject: &u32| validation.contains(subject) || test.contains(subject);
        let activities = |belongs: &dyn Fn(&u32) -> bool| -> Vec<u32> {
            let there =
                |label: &u32| windows.labels.iter().zip(&windows.subjects).any(|(l, s)| l == label && belongs(s));
            (0..CLASSES as u32).filter(there).collect()
        };
        let named = |labels: &[u32]| {
            let names: Vec<&str> = labels.iter().map(|&label| CLASS_NAMES[label as usize]).collect();
            names.join(", ")
        };
        let (trained, asked, all) = (activities(&|s| !held_out(s)), activities(&held_out), activities(&|_| true));
        let unlearnt: Vec<u32> = asked.iter().copied().filter(|label| !trained.contains(label)).collect();
        let absent: Vec<u32> = (0..CLASSES as u32).filter(|label| !all.contains(label)).collect();
        let mut remarks = vec![];
        if let ([only], true) = (&trained[..], unlearnt.is_empty()) {
            remarks.push(format!(
                "Note: all windows are of one activity ({}), so there is nothing to tell apart; the figures say nothing",
                named(&[*only])
            ));
        } else if !absent.is_empty() {
            remarks.push(format!("Note: no window is of {}; macro F1 counts an F1 of 0 for each", named(&absent)));
        }
        if !unlearnt.is_empty() {
            remarks.push(format!(
                "Note: no training person has a window of {}, but validation or test people have some: the network \
                 cannot learn them, and is wrong on each",
                named(&unlearnt)
            ));
        }
        Ok(remarks)
    }

    /// The validation and test subjects among `present` (ascending).
    pub(crate) fn resolve(&self, present: &[u32]) -> Result<(Vec<u32>, Vec<u32>), DataError> {
        let known = |wanted: &[u32]| -> Vec<u32> { present.iter().copied().filter(|s| wanted.contains(s)).collect() };
        let test = match &self.test {
            Some(named) => all_present("test", named, present)?,
            None => known(&TEST_SUBJECTS),
        };
        let validation = match &self.validation {
            Some(named) => all_present("validation", named, present)?,
            None => {
                let rest: Vec<u32> = present.iter().copied().filter(|s| !test.contains(s)).collect();
                let usual: Vec<u32> = known(&VALIDATION_SUBJECTS);
                let usual: Vec<u32> = usual.into_iter().filter(|s| rest.contains(s)).collect();
                if usual.is_empty() { rest[rest.len() - rest.len().div_ceil(5)..].to_vec() } else { usual }
            }
        };
        let twice: Vec<u32> = validation.iter().copied().filter(|s| test.contains(s)).collect();
        if !twice.is_empty() {
            return Err(DataError::OverlappingSubjects { subjects: twice });
        }
        Ok((validation, test))
    }
}

fn all_present(split: &'static str, named: &[u32], present: &[u32]) -> Result<Vec<u32>, DataError> {
    let unknown: Vec<u32> = named.iter().copied().filter(|s| !present.contains(s)).collect();
    if unknown.is_empty() {
        Ok(named.to_vec())
    } else {
        Err(DataError::UnknownSubjects { split, unknown, present: present.to_vec() })
    }
}

/// The three parts of a data set. No subject is in two of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What the inner problem trains on.
    pub train: Windows,
    /// What the outer problem is judged by.
    pub validation: Windows,
    /// What is looked at once, at the end.
    pub test: Windows,
}

impl Split {
    /// Divides `windows` as `subjects` says, each part in the windows' order.
    pub fn new(windows: &Windows, subjects: &SubjectSplit) -> Result<Split, DataError> {
        let present = windows.present_subjects();
        let (validation, test) = subjects.resolve(&present)?;
        let part = |split: &'static str, belongs: &dyn Fn(&u32) -> bool| {
            let indices: Vec<usize> = (0..windows.len()).filter(|&i| belongs(&windows.subjects[i])).collect();
            if indices.is_empty() {
                return Err(DataError::EmptySplit { split, present: present.clone() });
            }
            Ok(windows.select(&indices))
        };
        Ok(Split {
            test: part("test", &|s| test.contains(s))?,
            validation: part("validation", &|s| validation.contains(s))?,
            train: part("train", &|s| !test.contains(s) && !validation.contains(s))?,
        })
    }

    /// Scales every part to mean 0 and standard deviation 1 of the *training* windows, channel by
    /// channel, and says by which numbers.
    pub fn standardized(self) -> Result<(Split, Standardizer), DataError> {
        let scale = Standardizer::fit(&self.train)?;
        Ok((self.scaled(&scale), scale))
    }

    /// Keeps the windows that are followed (see [`Windows::followed`]), scaled so that the *training* windows
    /// reach from 0 to 1 in every channel.
    pub fn forecasting(self) -> Result<(Split, Standardizer), DataError> {
        let scale = Standardizer::of_range(&self.train)?;
        let parts = [("train", &self.train), ("validation", &self.validation), ("test", &self.test)];
        let followed = |(split, windows): (&'static str, &Windows)| {
            let followed = windows.followed();
            if followed.is_empty() { Err(DataError::NothingFollows { split }) } else { Ok(followed) }
        };
        let [train, validation, test] = parts.map(followed);
        let split = Split { train: train?, validation: validation?, test: test? };
        Ok((split.scaled(&scale), scale))
    }

    fn scaled(mut self, scale: &Standardizer) -> Split {
        for part in [&mut self.train, &mut self.validation, &mut self.test] {
            scale.apply(&mut part.x);
            scale.apply(&mut part.next);
        }
        self
    }
}

/// The scale of the training windows, in the channels' units: what is taken off, and by what is divided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Standardizer {
    /// Mean of each channel; its least value where windows reach from 0 to 1.
    pub mean: [f32; CHANNELS],
    /// Population standard deviation of each channel; its range where windows reach from 0 to 1.
    pub std: [f32; CHANNELS],
}

impl Standardizer {
    /// Mean and standard deviation over all samples of `windows`, computed in f64 in two passes.
    pub fn fit(windows: &Windows) -> Result<Standardizer, DataError> {
        let rows = windows.x.len() / CHANNELS;
        let average = |of: &dyn Fn(usize, f64) -> f64| -> [f64; CHANNELS] {
            let mut sums = [0.0; CHANNELS];
            for row in windows.x.chunks_exact(CHANNELS) {
                for (c, sum) in sums.iter_mut().enumerate() {
                    *sum += of(c, f64::from(row[c]));
                }
            }
            sums.map(|sum| sum / rows as f64)
        };
        let mean = average(&|_, v| v);
        let std = average(&|c, v| (v - mean[c]).powi(2)).map(|v| v.sqrt() as f32);
        // A constant leaves rounding errors of the mean behind, not exactly zero.
        let flat = |c: usize| std[c] <= 1e-6 * (mean[c].abs() as f32) || std[c] == 0.0;
        match (0..CHANNELS).find(|&channel| flat(channel)) {
            Some(channel) => Err(DataError::ConstantChannel { channel }),
            None => Ok(Standardizer { mean: mean.map(|m| m as f32), std }),
        }
    }

    /// Least value and range over all samples of `windows`.
    pub fn of_range(windows: &Windows) -> Result<Standardizer, DataError> {
        let (mut least, mut largest) = ([f32::INFINITY; CHANNELS], [f32::NEG_INFINITY; CHANNELS]);
        for row in windows.x.chunks_exact(CHANNELS) {
            for (c, &value) in row.iter().enumerate() {
                least[c] = least[c].min(value);
                largest[c] = largest[c].max(value);
            }
        }
        match (0..CHANNELS).find(|&channel| least[channel] >= largest[channel]) {
            Some(channel) => Err(DataError::ConstantChannel { channel }),
            None => Ok(Standardizer { mean: least, std: std::array::from_fn(|c| largest[c] - least[c]) }),
        }
    }

    /// Scales values whose last axis is the channel.
    pub fn apply(&self, x: &mut [f32]) {
        for row in x.chunks_exact_mut(CHANNELS) {
            for (c, value) in row.iter_mut().enumerate() {
                *value = (*value - self.mean[c]) / self.std[c];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::har::WINDOW;

    /// One window for each subject; every channel differs in mean and spread.
    fn windows(subjects: &[u32]) -> Windows {
        let value = |w: usize, t: usize, c: usize| ((w * 31 + t * 7) % 13) as f32 * (c + 1) as f32 + c as f32;
        let mut x = Vec::new();
        for w in 0..subjects.len() {
            for t in 0..WINDOW {
                x.extend((0..CHANNELS).map(|c| value(w, t, c)));
            }
        }
        Windows { x, labels: vec![0; subjects.len()], subjects: subjects.to_vec(), next: vec![] }
    }

    fn divide(present: &[u32], spec: &SubjectSplit) -> Result<[Vec<u32>; 3], DataError> {
        let split = Split::new(&windows(present), spec)?;
        Ok([split.train.subjects, split.validation.subjects, split.test.subjects])
    }

    #[test]
    fn published_subjects_where_present() {
        let usual = SubjectSplit::default();
        let got = divide(&[1, 3, 5, 2, 4, 30], &usual).unwrap();
        assert_eq!(got, [vec![3, 5], vec![1, 30], vec![2, 4]]);
        let got = divide(&[3, 5, 6, 7, 8, 11, 2], &usual).unwrap();
        assert_eq!(got, [vec![3, 5, 6, 7], vec![8, 11], vec![2]]);
    }

    #[test]
    fn subjects_can_be_named() {
        let spec: SubjectSplit = toml::from_str("validation = [3]\ntest = [1, 2]").unwrap();
        assert_eq!(divide(&[1, 2, 3, 4], &spec).unwrap(), [vec![4], vec![3], vec![1, 2]]);
        let only_test = SubjectSplit { test: Some(vec![1]), validation: None };
        assert_eq!(divide(&[1, 14, 5], &only_test).unwrap(), [vec![5], vec![14], vec![1]]);
    }

    #[test]
    fn activities_that_cannot_be_learnt_or_told_apart_are_named() {
        let remarks = |labels: &[u32]| {
            let people = Windows { labels: labels.to_vec(), ..windows(&[1, 2, 3, 3, 3, 3, 3, 3]) };
            SubjectSplit::default().remarks(&people).unwrap()
        };
        assert_eq!(remarks(&[0, 5, 0, 1, 2, 3, 4, 5]), [""; 0]);
        let [one] = &remarks(&[3; 8])[..] else { panic!("one sentence") };
        assert!(one.contains("one activity (sitting)"), "{one}");
        let [absent, unlearnt] = &remarks(&[4, 5, 0, 1, 2, 1, 0, 5])[..] else { panic!("two sentences") };
        assert!(absent.contains("no window is of sitting; macro F1"), "{absent}");
        assert!(unlearnt.contains("no training person has a window of standing, but"), "{unlearnt}");
        assert_eq!(remarks(&[1, 0, 0, 0, 0, 0, 0, 0]).len(), 2, "training shows one, validation another");
    }

    #[test]
    fn wrong_subjects_are_named() {
        let message =
            |present: &[u32], spec: &str| divide(present, &toml::from_str(spec).unwrap()).unwrap_err().to_string();
        assert!(message(&[1, 2, 3], "test = [2, 9]").contains("test subjects [9]"));
        assert!(message(&[1, 2, 3], "test = [2]\nvalidation = [2]").contains("[2] are named"));
        assert!(message(&[1, 3], "").contains("no subject is left for the test split"));
        assert!(message(&[1, 2], "").contains("no subject is left for the train split"));
        assert!(message(&[2, 4], "").contains("no subject is left for the validation split"));
        assert!(message(&[], "").contains("no subject is left"));
        assert!(toml::from_str::<SubjectSplit>("tests = [2]").is_err());
    }

    #[test]
    fn scale_comes_from_training_windows_alone() {
        let split = Split::new(&windows(&[1, 3, 5, 2]), &SubjectSplit::default()).unwrap();
        let far = Split { test: windows(&[2, 4, 9]), ..split.clone() };
        let (scaled, scale) = split.clone().standardized().unwrap();
        assert_eq!(far.standardized().unwrap().1, scale);
        let again = Standardizer::fit(&scaled.train).unwrap();
        for c in 0..CHANNELS {
            assert!(again.mean[c].abs() < 1e-6 && (again.std[c] - 1.0).abs() < 1e-6);
        }
        let raw = split.test.x[WINDOW * 4 + 3];
        let c = (WINDOW * 4 + 3) % CHANNELS;
        assert_eq!(scaled.test.x[WINDOW * 4 + 3], (raw - scale.mean[c]) / scale.std[c]);
    }

    #[test]
    fn forecasts_are_scaled_to_the_training_range() {
        let mut people = windows(&[1, 1, 3, 3, 2, 2]);
        // Every second window goes on where the one before it is half over.
        let half = WINDOW / 2 * CHANNELS;
        for at in [0, 2, 4] {
            let x = &mut people.x[at * 2 * half..][..4 * half];
            let (first, second) = x.split_at_mut(2 * half);
            second[..half].copy_from_slice(&first[half..]);
        }
        let split = Split::new(&people, &SubjectSplit::default()).unwrap();
        let (scaled, scale) = split.clone().forecasting().unwrap();
        assert_eq!([&scaled.train, &scaled.validation, &scaled.test].map(Windows::len), [1, 1, 1]);
        for (k, (&raw, &x)) in split.train.x.iter().zip(&scaled.train.x).enumerate() {
            assert_eq!(x, (raw - scale.mean[k % CHANNELS]) / scale.std[k % CHANNELS]);
            assert!((0.0..=1.0).contains(&x));
        }
        let raw = split.train.window(1)[half + 2];
        assert_eq!(scaled.train.next[2], (raw - scale.mean[2]) / scale.std[2]);
        let alone = Split { test: windows(&[2, 4]), ..split };
        let error = alone.forecasting().unwrap_err().to_string();
        assert!(error.contains("no test window") && error.contains("classification"), "{error}");
    }

    #[test]
    fn a_flat_channel_is_named() {
        let mut windows = windows(&[1, 3, 2]);
        windows.x.iter_mut().skip(4).step_by(CHANNELS).for_each(|v| *v = 0.1);
        let split = Split::new(&windows, &SubjectSplit::default()).unwrap();
        assert!(split.standardized().unwrap_err().to_string().starts_with("body_gyro_y has the same"));
    }
}
