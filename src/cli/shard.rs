//! A part of a study's trials, for one of several processes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One of so many equal parts, counted from 1: the trials I, I + N, I + 2 N, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// Whether it has the trial at a place in the study, counted from 0.
    pub fn has(self, place: usize) -> bool {
        place % self.count == self.index - 1
    }

    /// Whether it is of the same division as another one, so that they have no trial in common.
    pub fn is_beside(self, other: Option<Shard>) -> bool {
        other.is_some_and(|other| other.count == self.count)
    }

    /// The file of its outcomes beside that of the whole study.
    pub fn file(self, study: &Path) -> PathBuf {
        let Shard { index, count } = self;
        study.with_extension(format!("{index}-of-{count}.jsonl"))
    }

    /// What a file of outcomes is called without its ending, and the part that it is of, if of one.
    pub fn of(stem: &str) -> (&str, Option<Shard>) {
        let named = stem.rsplit_once('.').and_then(|(study, part)| {
            let (index, count) = part.split_once("-of-")?;
            Some((study, format!("{index}/{count}").parse().ok()?))
        });
        named.map_or((stem, None), |(study, shard)| (study, Some(shard)))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let shard = parts.map(|(index, count)| Shard { index, count });
        // Written in one way only, since files are named after it.
        match shard.filter(|shard| (1..=shard.count).contains(&shard.index) && shard.to_string() == text) {
            Some(shard) => Ok(shard),
            None => Err("write I/N, the I-th of N parts, such as 1/3, 2/3 and 3/3 for three processes".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trial_is_in_one_part() {
        let parts = ["1/3", "2/3", "3/3"].map(|text| text.parse::<Shard>().unwrap());
        for place in 0..10 {
            assert_eq!(parts.iter().filter(|part| part.has(place)).count(), 1);
        }
        assert!(parts[0].has(0) && parts[1].has(4));
        for wrong in ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "+1/2", "01/2", "1/02"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_say_what_part_they_are_of() {
        let shard: Shard = "2/3".parse().unwrap();
        assert_eq!(shard.file(Path::new("out/har-best-quick.jsonl")), Path::new("out/har-best-quick.2-of-3.jsonl"));
        assert_eq!(Shard::of("har-best-quick.2-of-3"), ("har-best-quick", Some(shard)));
        for whole in ["har-best-quick", "har-best-quick.old", "har-best-quick.4-of-3"] {
            assert_eq!(Shard::of(whole), (whole, None));
        }
    }
}
