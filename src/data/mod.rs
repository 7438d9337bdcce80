//! Data sets. At the root the activity-recognition data: windows of a phone's motion signals, labelled
//! with what its wearer did.
//!
//! | file | what it does |
//! | --- | --- |
//! | `har` | UCI HAR: raw signals to windows, the built-in copy, the published files |
//! | `files`, `text` | files and folders on their way in; text as people write it |
//! | `idx` | images and labels in the format of MNIST |
//! | `catalog` | MNIST and its kin: their official files, and where they lie |

#[cfg(not(target_arch = "wasm32"))]
pub mod catalog;
mod error;
mod files;
pub mod har;
pub mod idx;
mod split;
mod text;

pub use error::DataError;
pub use split::{Split, Standardizer, SubjectSplit, TEST_SUBJECTS, VALIDATION_SUBJECTS};
pub use text::visible;

use har::{CHANNELS, HOP, WINDOW, builtin};

/// Labelled windows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Windows {
    /// `[n, WINDOW, CHANNELS]`, row-major.
    pub x: Vec<f32>,
    /// Activity of each window, `0..CLASSES`.
    pub labels: Vec<u32>,
    /// Wearer of each window, `1..=SUBJECTS`.
    pub subjects: Vec<u32>,
    /// The sample that follows each window, `[n, CHANNELS]`; empty where it was not looked for.
    pub next: Vec<f32>,
}

impl Windows {
    /// How many windows there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Window `index`, `[WINDOW, CHANNELS]`.
    pub fn window(&self, index: usize) -> &[f32] {
        &self.x[index * WINDOW * CHANNELS..][..WINDOW * CHANNELS]
    }

    /// The windows at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Windows {
        let mut x = Vec::with_capacity(indices.len() * WINDOW * CHANNELS);
        for &index in indices {
            x.extend_from_slice(self.window(index));
        }
        let next = |&i: &usize| self.next.get(i * CHANNELS..(i + 1) * CHANNELS).unwrap_or_default();
        Windows {
            x,
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            subjects: indices.iter().map(|&i| self.subjects[i]).collect(),
            next: indices.iter().flat_map(next).copied().collect(),
        }
    }

    /// The windows of which the following window of the same person repeats the second half, with the
    /// sample that comes next there.
    pub fn followed(&self) -> Windows {
        let repeated = (WINDOW - HOP) * CHANNELS;
        let goes_on = |&i: &usize| {
            self.subjects[i] == self.subjects[i + 1]
                && self.window(i)[HOP * CHANNELS..] == self.window(i + 1)[..repeated]
        };
        let places: Vec<usize> = (0..self.len().saturating_sub(1)).filter(goes_on).collect();
        let next = places.iter().flat_map(|&i| &self.window(i + 1)[repeated..][..CHANNELS]).copied().collect();
        Windows { next, ..self.select(&places) }
    }

    /// The subjects that occur, ascending.
    pub fn present_subjects(&self) -> Vec<u32> {
        let mut subjects = self.subjects.clone();
        subjects.sort_unstable();
        subjects.dedup();
        subjects
    }

    /// Puts the windows of `other` behind these.
    pub fn append(&mut self, other: Windows) {
        self.x.extend(other.x);
        self.labels.extend(other.labels);
        self.subjects.extend(other.subjects);
        self.next.extend(other.next);
    }

    /// A 64-bit FNV-1a hash of every value, label and subject in order: the same for the same data
    /// on every platform. It tells data sets apart; it does not guard against forgery.
    pub fn fingerprint(&self) -> u64 {
        let values = self.x.iter().map(|v| v.to_bits());
        let words = values.chain(self.labels.iter().copied()).chain(self.subjects.iter().copied());
        words
            .flat_map(u32::to_le_bytes)
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

/// Windows and where they came from, so that a run's record can name its data.
#[derive(Clone, Debug)]
pub struct Source {
    /// The windows, in physical units.
    pub windows: Windows,
    /// For people.
    pub name: String,
    /// Whether this is the small built-in piece, whose accuracies are not comparable with those
    /// published for the whole data set.
    pub subset: bool,
    /// [`Windows::fingerprint`].
    pub fingerprint: u64,
}

impl Source {
    /// The built-in data: with the bytes of both pieces all of them, else only the first piece.
    pub fn builtin(first: &[u8], rest: Option<&[u8]>) -> Result<Source, DataError> {
        let first = builtin::decode(first)?;
        Ok(match rest {
            None => Source::new(first, "UCI HAR, built in, 12 of 30 people", true),
            Some(rest) => Source::new(builtin::merge(first, builtin::decode(rest)?), "UCI HAR, built in", false),
        })
    }

    /// Names `windows`.
    pub fn new(windows: Windows, name: impl Into<String>, subset: bool) -> Source {
        Source { fingerprint: windows.fingerprint(), windows, name: name.into(), subset }
    }
}

/// The data at `path` (see [`har::uci_har::from_path`]), or without one the whole built-in data set.
#[cfg(not(target_arch = "wasm32"))]
pub fn load(path: Option<&std::path::Path>) -> Result<Source, DataError> {
    match path {
        None => Source::builtin(builtin::SUBSET, Some(builtin::REST)),
        Some(path) => har::uci_har::from_path(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_sees_every_part() {
        let windows = Windows { x: vec![0.5; WINDOW * CHANNELS], labels: vec![3], subjects: vec![7], next: vec![] };
        let mut prints = vec![windows.fingerprint()];
        prints.push(Windows { labels: vec![2], ..windows.clone() }.fingerprint());
        prints.push(Windows { subjects: vec![8], ..windows.clone() }.fingerprint());
        let mut moved = windows.clone();
        moved.x[700] = 0.25;
        prints.push(moved.fingerprint());
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), 4);
        assert_eq!(Windows::default().fingerprint(), 0xcbf2_9ce4_8422_2325);
    }

    #[test]
    fn what_follows_is_the_sample_after_the_repeated_half() {
        // A signal that counts, cut into windows of two people; the third starts anew.
        let window = |first: usize| (0..WINDOW * CHANNELS).map(move |k| (first * CHANNELS + k) as f32);
        let x = [0, HOP, 2 * HOP, 500, 3 * HOP].into_iter().flat_map(window).collect();
        let windows = Windows { x, labels: vec![0, 1, 2, 3, 4], subjects: vec![1, 1, 2, 2, 2], next: vec![] };
        let followed = windows.followed();
        assert_eq!((followed.labels, followed.subjects), (vec![0], vec![1]));
        let expected: Vec<f32> = (0..CHANNELS).map(|c| (WINDOW * CHANNELS + c) as f32).collect();
        assert_eq!(followed.next, expected);
        assert!(Windows::default().followed().is_empty());
        let few = builtin::subset().unwrap();
        let all = few.followed();
        assert!(all.len() > few.len() / 2, "{} of {}", all.len(), few.len());
        assert_eq!(all.select(&[3, 0]).next[CHANNELS..], all.next[..CHANNELS]);
    }
}
