//! A data set divided into examples to train, to validate and to test on: by whole people, by share, or as it was
//! published.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DataError, Dataset, Standardizer};
use crate::rng::{Purpose, permute_index, split_seed, stream_key};

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
    /// Sentences about activities that cannot be learnt or told apart when `data` are split like this.
    pub fn remarks(&self, data: &Dataset) -> Result<Vec<String>, DataError> {
        let (validation, test) = self.resolve(data)?;
        let held_out = |subject: &u32| validation.contains(subject) || test.contains(subject);
        let names = &data.about().outputs;
        let activities = |belongs: &dyn Fn(&u32) -> bool| -> Vec<usize> {
            let there = |label: &usize| {
                data.labels().iter().zip(data.people()).any(|(&l, s)| l as usize == *label && belongs(s))
            };
            (0..names.len()).filter(there).collect()
        };
        let named = |labels: &[usize]| {
            let names: Vec<&str> = labels.iter().map(|&label| &*names[label]).collect();
            names.join(", ")
        };
        let (trained, asked, all) = (activities(&|s| !held_out(s)), activities(&held_out), activities(&|_| true));
        let unlearnt: Vec<usize> = asked.iter().copied().filter(|label| !trained.contains(label)).collect();
        let absent: Vec<usize> = (0..names.len()).filter(|label| !all.contains(label)).collect();
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

    /// The validation and test subjects among the people of `data`.
    pub(crate) fn resolve(&self, data: &Dataset) -> Result<(Vec<u32>, Vec<u32>), DataError> {
        let present = &data.present_people()[..];
        let usual = &data.about().held_out;
        let known = |wanted: &[u32]| -> Vec<u32> { present.iter().copied().filter(|s| wanted.contains(s)).collect() };
        let test = match &self.test {
            Some(named) => all_present("test", named, present)?,
            None => known(&usual.test),
        };
        let validation = match &self.validation {
            Some(named) => all_present("validation", named, present)?,
            None => {
                let rest: Vec<u32> = present.iter().copied().filter(|s| !test.contains(s)).collect();
                let usual: Vec<u32> = known(&usual.validation).into_iter().filter(|s| rest.contains(s)).collect();
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

/// The three parts of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What the inner problem trains on.
    pub train: Dataset,
    /// What the outer problem is judged by.
    pub validation: Dataset,
    /// What is looked at once, at the end.
    pub test: Dataset,
}

impl Split {
    /// Divides `data` as `subjects` says, each part in their order; nobody is in two parts.
    pub fn by_people(data: &Dataset, subjects: &SubjectSplit) -> Result<Split, DataError> {
        if data.people().is_empty() {
            return Err(DataError::NoPeople { name: data.about().name.clone() });
        }
        let (validation, test) = subjects.resolve(data)?;
        let part = |split: &'static str, belongs: &dyn Fn(&u32) -> bool| {
            let indices: Vec<usize> = (0..data.len()).filter(|&i| belongs(&data.people()[i])).collect();
            if indices.is_empty() {
                return Err(DataError::EmptySplit { split, present: data.present_people() });
            }
            Ok(data.select(&indices))
        };
        Ok(Split {
            test: part("test", &|s| test.contains(s))?,
            validation: part("validation", &|s| validation.contains(s))?,
            train: part("train", &|s| !test.contains(s) && !validation.contains(s))?,
        })
    }

    /// Draws shares of `data` for validation and for test; all else trains. Each part is in the order of the data.
    pub fn by_share(data: &Dataset, validation: f64, test: f64, seed: u64) -> Result<Split, DataError> {
        let [validation, test, train] = drawn(data, &[("validation", validation), ("test", test)], seed)?
            .try_into()
            .expect("two shares and the rest");
        Ok(Split { train, validation, test })
    }

    /// Keeps a published test set and draws a share of the published training set for validation.
    pub fn given(train: &Dataset, test: Dataset, validation: f64, seed: u64) -> Result<Split, DataError> {
        if (&train.about().shape, &train.about().outputs) != (&test.about().shape, &test.about().outputs) {
            let what = format!("its examples or classes are not those of {}", train.about().name);
            return Err(DataError::Dataset { name: test.about().name.clone(), what });
        }
        let [validation, train] =
            drawn(train, &[("validation", validation)], seed)?.try_into().expect("a share and the rest");
        Ok(Split { train, validation, test })
    }

    /// Scales every part to mean 0 and standard deviation 1 of the *training* examples, channel by
    /// channel, and says by which numbers.
    pub fn standardized(self) -> Result<(Split, Standardizer), DataError> {
        let scale = Standardizer::fit(&self.train)?;
        let Split { train, validation, test } = self;
        let split =
            Split { train: train.scaled(&scale)?, validation: validation.scaled(&scale)?, test: test.scaled(&scale)? };
        Ok((split, scale))
    }

    /// Keeps the windows that are followed (see [`Dataset::followed`]), scaled so that the *training* windows
    /// reach from 0 to 1 in every channel.
    pub fn forecasting(self) -> Result<(Split, Standardizer), DataError> {
        let scale = Standardizer::of_range(&self.train)?;
        let followed = |(split, data): (&'static str, &Dataset)| {
            let followed = data.followed().ok_or(DataError::NothingFollows { split })?;
            Ok(followed.scaled(&scale)?.with_targets(|values| scale.apply(values)))
        };
        let [train, validation, test] =
            [("train", &self.train), ("validation", &self.validation), ("test", &self.test)].map(followed);
        Ok((Split { train: train?, validation: validation?, test: test? }, scale))
    }

    /// How large it is.
    pub fn sizes(&self) -> Sizes {
        let Split { train, validation, test } = self;
        Sizes {
            input: train.about().shape.clone(),
            outputs: train.about().outputs.len(),
            train: train.len(),
            validation: validation.len(),
            test: test.len(),
        }
    }
}

/// How large the parts of a data set and its examples are: all that a problem must know of its data to be planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Shape of an example.
    pub input: Vec<usize>,
    /// Classes, or values in a row of targets.
    pub outputs: usize,
    /// Examples to train on.
    pub train: usize,
    /// Examples to validate on.
    pub validation: usize,
    /// Examples to test on.
    pub test: usize,
}

/// Parts of `data` that are these shares of it, drawn without order, and then what is left, which is for training.
fn drawn(data: &Dataset, shares: &[(&str, f64)], seed: u64) -> Result<Vec<Dataset>, DataError> {
    let count = data.len();
    let refused = |what: String| {
        Err(DataError::Dataset { name: data.about().name.clone(), what: format!("of its {count} examples {what}") })
    };
    let key = stream_key(split_seed(seed), Purpose::Partition, 0);
    let mut order: Vec<usize> = (0..count as u32).map(|i| permute_index(key, count as u32, i) as usize).collect();
    let mut parts = vec![];
    for &(part, share) in shares {
        let wanted = (share * count as f64).round();
        if !(1.0..=count as f64).contains(&wanted) {
            return refused(format!("a share of {share} is {wanted}, which is no {part} set; take at least one"));
        }
        if wanted as usize >= order.len() {
            return refused("none is left to train on; take smaller shares".to_owned());
        }
        let mut places = order.split_off(order.len() - wanted as usize);
        places.sort_unstable();
        parts.push(data.select(&places));
    }
    order.sort_unstable();
    parts.push(data.select(&order));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Channel, Description, Examples, HeldOut, Recording, Targets};

    /// Samples in a window, and signals.
    const LENGTH: usize = 8;
    const SIGNALS: usize = 3;
    const ACTIVITIES: [&str; 6] = ["walking", "climbing", "descending", "sitting", "standing", "laying"];

    /// One window for each subject; every channel differs in mean and spread.
    fn x(subjects: &[u32]) -> Vec<f32> {
        let value = |w: usize, t: usize, c: usize| ((w * 31 + t * 7) % 13) as f32 * (c + 1) as f32 + c as f32;
        let mut x = Vec::new();
        for w in 0..subjects.len() {
            for t in 0..LENGTH {
                x.extend((0..SIGNALS).map(|c| value(w, t, c)));
            }
        }
        x
    }

    fn dataset(x: Vec<f32>, labels: Vec<u32>, subjects: &[u32]) -> Dataset {
        let channel = |name: &str| Channel { name: name.to_owned(), unit: "g".to_owned() };
        let about = Description {
            name: "waves".to_owned(),
            subset: false,
            shape: vec![LENGTH, SIGNALS],
            channels: ["x", "y", "z"].map(channel).into(),
            outputs: ACTIVITIES.map(str::to_owned).into(),
            recording: Some(Recording { rate_hz: 50.0, hop: LENGTH / 2 }),
            held_out: HeldOut { validation: vec![1, 14, 30], test: vec![2, 4, 9] },
        };
        Dataset::new(about, Examples::Floats(x), Targets::Labels(labels), subjects.to_vec()).unwrap()
    }

    fn windows(subjects: &[u32]) -> Dataset {
        dataset(x(subjects), vec![0; subjects.len()], subjects)
    }

    fn divide(present: &[u32], spec: &SubjectSplit) -> Result<[Vec<u32>; 3], DataError> {
        let split = Split::by_people(&windows(present), spec)?;
        Ok([split.train, split.validation, split.test].map(|part| part.people().to_vec()))
    }

    /// Images of one byte that says which they are.
    fn numbered(count: u8) -> Dataset {
        let about = Description::images("dots", [1, 1], &["grey"], vec!["even".to_owned(), "odd".to_owned()]);
        let labels = (0..count).map(|at| u32::from(at % 2)).collect();
        Dataset::new(about, Examples::bytes((0..count).collect(), 1), Targets::Labels(labels), vec![]).unwrap()
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
            let subjects = [1, 2, 3, 3, 3, 3, 3, 3];
            SubjectSplit::default().remarks(&dataset(x(&subjects), labels.to_vec(), &subjects)).unwrap()
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
        assert!(toml::from_str::<SubjectSplit>("tests = [2]").is_err());
        let nobody = Split::by_people(&numbered(4), &SubjectSplit::default()).unwrap_err().to_string();
        assert!(nobody.contains("dots does not say who gave its examples"), "{nobody}");
    }

    #[test]
    fn shares_are_drawn_without_overlap_and_by_the_seed() {
        let data = numbered(10);
        let of = |part: &Dataset| part.values().iter().map(|&v| v as u8).collect::<Vec<u8>>();
        let split = |seed| {
            let Split { train, validation, test } = Split::by_share(&data, 0.3, 0.2, seed).unwrap();
            [train, validation, test].map(|part| of(&part))
        };
        let [train, validation, test] = split(1);
        assert_eq!([train.len(), validation.len(), test.len()], [5, 3, 2]);
        let mut all = [&train[..], &validation, &test].concat();
        assert!([&train, &validation, &test].iter().all(|part| part.is_sorted()));
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<u8>>());
        assert_eq!(split(1), [train, validation, test]);
        assert_ne!(split(1), split(2));
        let refused = |validation, test| Split::by_share(&data, validation, test, 0).unwrap_err().to_string();
        assert!(
            refused(0.01, 0.5).contains("dots: of its 10 examples a share of 0.01 is 0, which is no validation set")
        );
        assert!(refused(0.5, 1.5).contains("a share of 1.5 is 15, which is no test set"));
        assert!(refused(0.5, f64::NAN).contains("NaN"));
        assert!(refused(0.5, 0.5).contains("none is left to train on"));
    }

    #[test]
    fn a_published_test_set_stays_what_it_is() {
        let (train, test) = (numbered(10), numbered(4));
        let split = Split::given(&train, test.clone(), 0.2, 7).unwrap();
        assert_eq!((split.train.len(), split.validation.len()), (8, 2));
        assert_eq!(split.test, test);
        let sizes = Sizes { input: vec![1, 1, 1], outputs: 2, train: 8, validation: 2, test: 4 };
        assert_eq!(split.sizes(), sizes);
        let error = Split::given(&train, windows(&[1]), 0.2, 7).unwrap_err().to_string();
        assert!(error.contains("waves: its examples or classes are not those of dots"), "{error}");
    }

    #[test]
    fn scale_comes_from_training_windows_alone() {
        let split = Split::by_people(&windows(&[1, 3, 5, 2]), &SubjectSplit::default()).unwrap();
        let far = Split { test: windows(&[2, 4, 9]), ..split.clone() };
        let (scaled, scale) = split.clone().standardized().unwrap();
        assert_eq!(far.standardized().unwrap().1, scale);
        let again = Standardizer::fit(&scaled.train).unwrap();
        for c in 0..SIGNALS {
            assert!(again.mean[c].abs() < 1e-6 && (again.std[c] - 1.0).abs() < 1e-6);
        }
        let at = SIGNALS * 4 + 1;
        let c = at % SIGNALS;
        assert_eq!(scaled.test.values()[at], (split.test.values()[at] - scale.mean[c]) / scale.std[c]);
    }

    #[test]
    fn bytes_have_the_scale_of_the_numbers_that_they_are() {
        let bytes = numbered(10);
        let floats = Examples::Floats(bytes.values().into_owned());
        let floats = Dataset::new(bytes.about().clone(), floats, bytes.targets().clone(), vec![]).unwrap();
        let [a, b] = [bytes, floats].map(|data| {
            let (split, scale) = Split::by_share(&data, 0.3, 0.2, 1).unwrap().standardized().unwrap();
            (split.test.values().into_owned(), scale)
        });
        assert_eq!(a, b);
    }

    #[test]
    fn forecasts_are_scaled_to_the_training_range() {
        let subjects = [1, 1, 3, 3, 2, 2];
        let mut values = x(&subjects);
        // Every second window goes on where the one before it is half over.
        let half = LENGTH / 2 * SIGNALS;
        for at in [0, 2, 4] {
            let x = &mut values[at * 2 * half..][..4 * half];
            let (first, second) = x.split_at_mut(2 * half);
            second[..half].copy_from_slice(&first[half..]);
        }
        let people = dataset(values, vec![0; 6], &subjects);
        let split = Split::by_people(&people, &SubjectSplit::default()).unwrap();
        let (scaled, scale) = split.clone().forecasting().unwrap();
        assert_eq!([&scaled.train, &scaled.validation, &scaled.test].map(Dataset::len), [1, 1, 1]);
        assert_eq!((scaled.sizes().outputs, split.sizes().outputs), (SIGNALS, ACTIVITIES.len()));
        for (k, (&raw, &x)) in split.train.values().iter().zip(&*scaled.train.values()).enumerate() {
            assert_eq!(x, (raw - scale.mean[k % SIGNALS]) / scale.std[k % SIGNALS]);
            assert!((0.0..=1.0).contains(&x));
        }
        let raw = split.train.example(1)[half + 2];
        let Targets::Values(next) = scaled.train.targets() else { panic!("the next sample is to be told") };
        assert_eq!(next[2], (raw - scale.mean[2]) / scale.std[2]);
        let alone = Split { test: windows(&[2, 4]), ..split };
        let error = alone.forecasting().unwrap_err().to_string();
        assert!(error.contains("no test window") && error.contains("classification"), "{error}");
    }

    #[test]
    fn a_flat_channel_is_named() {
        let mut values = x(&[1, 3, 2]);
        values.iter_mut().skip(1).step_by(SIGNALS).for_each(|v| *v = 0.1);
        let split = Split::by_people(&dataset(values, vec![0; 3], &[1, 3, 2]), &SubjectSplit::default()).unwrap();
        assert!(split.standardized().unwrap_err().to_string().starts_with("y has the same"));
    }
}
