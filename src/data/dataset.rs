//! Examples with what they are told by, checked to belong together.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::fingerprint::Fingerprint;
use super::{DataError, Description, Examples, Recording, Standardizer, Targets};
use crate::ir::numel;

/// A data set. It holds at least one example; every example has the same shape and a target, every number is finite,
/// every label is one of the classes, and either everybody who gave an example is known or nobody is.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    about: Description,
    examples: Examples,
    targets: Targets,
    people: Vec<u32>,
}

impl Dataset {
    /// Puts together what belongs together; `people` says who gave each example, or is empty. Refuses what does not fit
    /// or is no number, and says which example and value that is.
    pub fn new(
        about: Description,
        examples: Examples,
        targets: Targets,
        people: Vec<u32>,
    ) -> Result<Dataset, DataError> {
        let data = Dataset { about, examples, targets, people };
        match data.wrong() {
            None => Ok(data),
            Some(what) => Err(DataError::Dataset { name: data.about.name, what }),
        }
    }

    /// What does not fit, counted from 0.
    fn wrong(&self) -> Option<String> {
        let Dataset { about, examples, targets, people } = self;
        let Description { shape, channels, outputs, .. } = about;
        let not_finite = |values: &[f32]| values.iter().copied().enumerate().find(|(_, value)| !value.is_finite());
        let (given, each, wide) = (examples.len(), numel(shape), outputs.len());
        if each == 0 || shape.last() != Some(&channels.len()) {
            let named = channels.len();
            return Some(format!(
                "examples have the shape {shape:?} and {named} channels; the last size is the channels'"
            ));
        }
        if wide == 0 {
            return Some("nothing is to be told of its examples; name the classes or the values".to_owned());
        }
        if let Some(Recording { rate_hz, hop }) = about.recording
            && !(rate_hz.is_normal() && rate_hz > 0.0 && hop > 0)
        {
            return Some(format!(
                "windows were recorded at {rate_hz} samples a second and begin {hop} apart; both are above 0, and finite"
            ));
        }
        let count = match targets {
            Targets::Labels(labels) => labels.len(),
            Targets::Values(values) if !values.len().is_multiple_of(wide) => {
                return Some(format!("{} target values are no whole number of rows of {wide}", values.len()));
            }
            Targets::Values(values) => values.len() / wide,
        };
        if count == 0 {
            return Some("it holds no example".to_owned());
        }
        if given != count.saturating_mul(each) {
            return Some(format!(
                "{given} values are not {count} examples (there are as many targets) of {each}, {shape:?}"
            ));
        }
        if ![0, count].contains(&people.len()) {
            return Some(format!("{} people are named for {count} examples; name one for each, or none", people.len()));
        }
        match examples {
            Examples::Floats(values) => {
                if let Some((at, value)) = not_finite(values) {
                    return Some(format!("value {} of example {} is {value}", at % each, at / each));
                }
            }
            Examples::Bytes { scale, .. } => {
                if let Some(what) = scale.wrong_of_bytes(channels.len()) {
                    return Some(what);
                }
            }
        }
        match targets {
            Targets::Labels(labels) => {
                let at = labels.iter().position(|&label| label as usize >= wide)?;
                Some(format!("example {at} has the label {}, and there are {wide} classes, counted from 0", labels[at]))
            }
            Targets::Values(values) => {
                let (at, value) = not_finite(values)?;
                Some(format!("target {} of example {} is {value}", at % wide, at / wide))
            }
        }
    }

    /// What holds for every example.
    pub fn about(&self) -> &Description {
        &self.about
    }

    /// How many examples there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.examples.len() / numel(&self.about.shape)
    }

    /// All examples as they are kept.
    pub fn examples(&self) -> &Examples {
        &self.examples
    }

    /// All targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The label of each example; empty where targets are values.
    pub fn labels(&self) -> &[u32] {
        match &self.targets {
            Targets::Labels(labels) => labels,
            Targets::Values(_) => &[],
        }
    }

    /// Who gave each example; empty where that is not known.
    pub fn people(&self) -> &[u32] {
        &self.people
    }

    /// Everybody who gave an example, ascending.
    pub fn present_people(&self) -> Vec<u32> {
        self.people.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// All examples as the numbers they stand for, `[n, shape…]`.
    pub fn values(&self) -> Cow<'_, [f32]> {
        self.between(0, self.examples.len())
    }

    /// The numbers of example `index`.
    ///
    /// # Panics
    /// If there is no such example.
    pub fn example(&self, index: usize) -> Cow<'_, [f32]> {
        let each = numel(&self.about.shape);
        self.between(index * each, (index + 1) * each)
    }

    /// The numbers from one place on to another; an example begins at the first.
    fn between(&self, from: usize, to: usize) -> Cow<'_, [f32]> {
        match &self.examples {
            Examples::Floats(values) => Cow::Borrowed(&values[from..to]),
            Examples::Bytes { bytes, scale } => {
                let mut values: Vec<f32> = bytes[from..to].iter().map(|&byte| f32::from(byte)).collect();
                scale.apply(&mut values);
                Cow::Owned(values)
            }
        }
    }

    /// The examples at `indices`, in that order.
    ///
    /// # Panics
    /// If there is none, or no example at one of them.
    pub fn select(&self, indices: &[usize]) -> Dataset {
        assert!(!indices.is_empty(), "a data set holds at least one example");
        fn rows<T: Copy>(values: &[T], each: usize, indices: &[usize]) -> Vec<T> {
            let mut rows = Vec::with_capacity(indices.len() * each);
            indices.iter().for_each(|&index| rows.extend_from_slice(&values[index * each..][..each]));
            rows
        }
        let each = numel(&self.about.shape);
        Dataset {
            about: self.about.clone(),
            examples: match &self.examples {
                Examples::Floats(values) => Examples::Floats(rows(values, each, indices)),
                Examples::Bytes { bytes, scale } => {
                    Examples::Bytes { bytes: rows(bytes, each, indices), scale: scale.clone() }
                }
            },
            targets: match &self.targets {
                Targets::Labels(labels) => Targets::Labels(rows(labels, 1, indices)),
                Targets::Values(values) => Targets::Values(rows(values, self.about.outputs.len(), indices)),
            },
            people: if self.people.is_empty() { vec![] } else { rows(&self.people, 1, indices) },
        }
    }

    /// These examples and behind them those of a set of the same kind and scale.
    pub fn joined(&self, other: &Dataset) -> Result<Dataset, DataError> {
        let unlike = || DataError::Dataset {
            name: other.about.name.clone(),
            what: format!("its examples, targets, scale or people are not of the kind of those of {}", self.about.name),
        };
        let kind = |data: &Dataset| (data.about.shape.clone(), data.about.outputs.clone(), data.people.is_empty());
        let examples = match (&self.examples, &other.examples) {
            _ if kind(self) != kind(other) => return Err(unlike()),
            (Examples::Floats(a), Examples::Floats(b)) => Examples::Floats([&a[..], b].concat()),
            (Examples::Bytes { bytes: a, scale }, Examples::Bytes { bytes: b, scale: same }) if scale == same => {
                Examples::Bytes { bytes: [&a[..], b].concat(), scale: scale.clone() }
            }
            _ => return Err(unlike()),
        };
        let targets = match (&self.targets, &other.targets) {
            (Targets::Labels(a), Targets::Labels(b)) => Targets::Labels([&a[..], b].concat()),
            (Targets::Values(a), Targets::Values(b)) => Targets::Values([&a[..], b].concat()),
            _ => return Err(unlike()),
        };
        let people = [&self.people[..], &other.people].concat();
        Ok(Dataset { about: self.about.clone(), examples, targets, people })
    }

    /// The same examples under another name.
    pub fn named(mut self, name: impl Into<String>) -> Dataset {
        self.about.name = name.into();
        self
    }

    /// The same examples, given by these people.
    pub fn by(self, people: Vec<u32>) -> Result<Dataset, DataError> {
        Dataset::new(self.about, self.examples, self.targets, people)
    }

    /// The same examples with other labels of the same classes.
    pub fn with_labels(self, labels: Vec<u32>) -> Result<Dataset, DataError> {
        Dataset::new(self.about, self.examples, Targets::Labels(labels), self.people)
    }

    /// The examples scaled by channel: numbers are, bytes stay and stand for other numbers. Targets are not touched.
    pub fn scaled(mut self, by: &Standardizer) -> Result<Dataset, DataError> {
        if let Some(what) = by.wrong(self.about.channels.len()) {
            return Err(DataError::Dataset { name: self.about.name, what });
        }
        match &mut self.examples {
            Examples::Floats(values) => by.apply(values),
            Examples::Bytes { scale, .. } => *scale = by.clone(),
        }
        // A tiny divisor can take numbers beyond what is finite.
        Dataset::new(self.about, self.examples, self.targets, self.people)
    }

    /// The windows of which the following window of the same person repeats the end, told by the sample that comes next
    /// there; nothing where there are none.
    pub fn followed(&self) -> Option<Dataset> {
        let (Examples::Floats(values), Some(Recording { hop, .. })) = (&self.examples, self.about.recording) else {
            return None;
        };
        let [length, channels] = self.about.shape[..] else { return None };
        let kept = length.checked_sub(hop).filter(|_| hop > 0)?;
        let window = |index: usize| &values[index * length * channels..][..length * channels];
        let goes_on = |&i: &usize| {
            self.people.get(i) == self.people.get(i + 1)
                && window(i)[hop * channels..] == window(i + 1)[..kept * channels]
        };
        let places: Vec<usize> = (0..self.len() - 1).filter(goes_on).collect();
        if places.is_empty() {
            return None;
        }
        let next = places.iter().flat_map(|&i| &window(i + 1)[kept * channels..][..channels]).copied().collect();
        let mut followed = self.select(&places);
        followed.targets = Targets::Values(next);
        followed.about.outputs = self.about.channels.iter().map(|channel| channel.name.clone()).collect();
        Some(followed)
    }

    /// The values to be told, changed by `change`, which keeps them finite.
    pub(super) fn with_targets(mut self, change: impl FnOnce(&mut [f32])) -> Dataset {
        if let Targets::Values(values) = &mut self.targets {
            change(values);
        }
        self
    }

    /// A 64-bit FNV-1a hash of every value, target and person in order: the same for the same data on every platform.
    /// It tells data sets apart; it does not guard against forgery.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fingerprint::default();
        match &self.examples {
            Examples::Floats(values) => hash.take(values.iter().flat_map(|v| v.to_le_bytes())),
            Examples::Bytes { bytes, .. } => hash.take(bytes.iter().copied()),
        }
        match &self.targets {
            Targets::Labels(labels) => hash.take(labels.iter().flat_map(|l| l.to_le_bytes())),
            Targets::Values(values) => hash.take(values.iter().flat_map(|v| v.to_le_bytes())),
        }
        hash.take(self.people.iter().flat_map(|p| p.to_le_bytes()));
        hash.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::har::builtin;
    use crate::data::{Channel, HeldOut};

    /// Two classes of windows `[4, 2]` that begin two samples apart.
    fn about() -> Description {
        let channel = |name: &str| Channel { name: name.to_owned(), unit: "g".to_owned() };
        Description {
            name: "waves".to_owned(),
            subset: false,
            shape: vec![4, 2],
            channels: vec![channel("x"), channel("y")],
            outputs: vec!["up".to_owned(), "down".to_owned()],
            recording: Some(Recording { rate_hz: 50.0, hop: 2 }),
            held_out: HeldOut::default(),
        }
    }

    fn windows(firsts: &[usize], people: &[u32]) -> Dataset {
        // A signal that counts.
        let x = firsts.iter().flat_map(|first| (0..8).map(move |k| (first * 2 + k) as f32)).collect();
        let labels = (0..firsts.len()).map(|at| at as u32 % 2).collect();
        Dataset::new(about(), Examples::Floats(x), Targets::Labels(labels), people.to_vec()).unwrap()
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        let refused = |about: Description, x: Examples, targets: Targets, people: &[u32]| {
            Dataset::new(about, x, targets, people.to_vec()).unwrap_err().to_string()
        };
        let floats = |change: &dyn Fn(&mut Vec<f32>)| {
            let mut x = vec![0.5; 16];
            change(&mut x);
            Examples::Floats(x)
        };
        let labels = |labels: &[u32]| Targets::Labels(labels.to_vec());
        let plain = || floats(&|_| {});
        let says = |message: String, part: &str| assert!(message == format!("waves: {part}"), "{message}");
        says(
            refused(about(), plain(), labels(&[0, 2]), &[]),
            "example 1 has the label 2, and there are 2 classes, counted from 0",
        );
        says(refused(about(), floats(&|x| x[11] = f32::NAN), labels(&[0, 1]), &[]), "value 3 of example 1 is NaN");
        says(refused(about(), floats(&|x| x[0] = f32::INFINITY), labels(&[0, 1]), &[]), "value 0 of example 0 is inf");
        says(
            refused(about(), floats(&|x| x.truncate(15)), labels(&[0, 1]), &[]),
            "15 values are not 2 examples (there are as many targets) of 8, [4, 2]",
        );
        says(refused(about(), Examples::Floats(vec![]), labels(&[]), &[]), "it holds no example");
        says(
            refused(about(), plain(), labels(&[0, 1]), &[7]),
            "1 people are named for 2 examples; name one for each, or none",
        );
        let values = |values: &[f32]| Targets::Values(values.to_vec());
        says(refused(about(), plain(), values(&[0.0; 3]), &[]), "3 target values are no whole number of rows of 2");
        says(
            refused(about(), plain(), values(&[0.0, 1.0, 2.0, f32::NEG_INFINITY]), &[]),
            "target 1 of example 1 is -inf",
        );
        let nothing = Description { outputs: vec![], ..about() };
        says(
            refused(nothing, plain(), labels(&[0, 0]), &[]),
            "nothing is to be told of its examples; name the classes or the values",
        );
        let wrong = [vec![], vec![8], vec![0, 2]].map(|shape| Description { shape, ..about() });
        for about in wrong {
            let message = refused(about, plain(), labels(&[0, 1]), &[]);
            assert!(message.contains("2 channels; the last size is the channels'"), "{message}");
        }
        let scale = Standardizer { mean: vec![0.0; 2], std: vec![1.0, 0.0] };
        let bytes = Examples::Bytes { bytes: vec![1; 16], scale };
        says(
            refused(about(), bytes, labels(&[0, 1]), &[]),
            "the scale takes 0 off channel 1 and divides by 0; both must be finite, and the second not 0",
        );
        let scale = Standardizer { mean: vec![0.0; 2], std: vec![1.0, 1e-37] };
        let message = refused(about(), Examples::Bytes { bytes: vec![1; 16], scale }, labels(&[0, 1]), &[]);
        assert!(message.contains("channel 1") && message.contains("some bytes infinite"), "{message}");
        for (rate_hz, hop) in [(f32::NAN, 2), (0.0, 2), (-50.0, 2), (50.0, 0)] {
            let odd = Description { recording: Some(Recording { rate_hz, hop }), ..about() };
            let message = refused(odd, plain(), labels(&[0, 1]), &[]);
            assert!(message.contains("both are above 0, and finite"), "{message}");
        }
    }

    #[test]
    fn other_labels_are_checked_like_the_first() {
        let data = windows(&[0, 2], &[]);
        assert_eq!(data.clone().with_labels(vec![1, 1]).unwrap().labels(), [1, 1]);
        assert!(data.clone().with_labels(vec![1, 2]).unwrap_err().to_string().contains("example 1 has the label 2"));
        assert!(data.with_labels(vec![1]).unwrap_err().to_string().contains("16 values are not 1 examples"));
    }

    #[test]
    fn only_sets_of_one_kind_are_joined() {
        let (first, second) = (windows(&[0, 2], &[1, 1]), windows(&[4], &[2]));
        let both = first.joined(&second).unwrap();
        assert_eq!((both.select(&[0, 1]), both.select(&[2])), (first.clone(), second));
        let nobody = first.joined(&windows(&[4], &[])).unwrap_err().to_string();
        assert!(nobody.starts_with("waves: its examples, targets, scale or people are not"), "{nobody}");
        assert!(first.joined(&windows(&[0, 2], &[1, 1]).followed().unwrap()).is_err());
    }

    #[test]
    fn bytes_stay_and_stand_for_other_numbers() {
        let about = Description::images("dots", [1, 2], &["red", "blue"], vec!["dot".to_owned()]);
        let data = Dataset::new(about, Examples::bytes(vec![0, 10, 255, 20], 2), Targets::Labels(vec![0]), vec![]);
        let data = data.unwrap();
        assert_eq!(*data.values(), [0.0, 10.0, 255.0, 20.0]);
        let scaled = data.clone().scaled(&Standardizer { mean: vec![0.0, 10.0], std: vec![255.0, 5.0] }).unwrap();
        assert_eq!(*scaled.values(), [0.0, 0.0, 1.0, 2.0]);
        assert!(matches!(scaled.examples(), Examples::Bytes { bytes, .. } if bytes[..] == [0, 10, 255, 20]));
        assert_eq!(scaled.fingerprint(), data.fingerprint());
        let error = data.scaled(&Standardizer::identity(3)).unwrap_err().to_string();
        assert_eq!(error, "dots: the scale is of 3 channels, and examples have 2");
    }

    #[test]
    fn the_fingerprint_sees_every_part() {
        let data = windows(&[0, 2], &[1, 1]);
        let moved = windows(&[0, 3], &[1, 1]);
        let prints = [
            data.fingerprint(),
            moved.fingerprint(),
            windows(&[0, 2], &[1, 2]).fingerprint(),
            data.clone().with_labels(vec![0, 0]).unwrap().fingerprint(),
            data.followed().unwrap().fingerprint(),
        ];
        assert_eq!(prints.iter().collect::<BTreeSet<_>>().len(), prints.len());
    }

    #[test]
    fn what_follows_is_the_sample_after_the_repeated_end() {
        // Windows of two people; the fourth starts anew.
        let data = windows(&[0, 2, 4, 50, 6], &[1, 1, 2, 2, 2]);
        let followed = data.followed().unwrap();
        assert_eq!((followed.len(), followed.people()), (1, &[1][..]));
        assert_eq!(followed.targets(), &Targets::Values(vec![8.0, 9.0]));
        assert_eq!(followed.about().outputs, ["x", "y"]);
        assert_eq!(windows(&[0], &[1]).followed(), None);
        let pictures = Description { recording: None, ..about() };
        let whole = Dataset::new(pictures, data.examples().clone(), data.targets().clone(), vec![]).unwrap();
        assert_eq!(whole.followed(), None);
        let few = builtin::subset().unwrap();
        let all = few.followed().unwrap();
        assert!(all.len() > few.len() / 2, "{} of {}", all.len(), few.len());
    }
}
