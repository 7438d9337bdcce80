//! The data of trials, read, divided and scaled when they are first asked for, and kept for those that follow.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::config::{DataSource, TuneConfig};
use super::setup::Scaled;
use crate::data::catalog::DataSet;
use crate::data::har::{builtin, uci_har};
use crate::data::recordings::{self, Files, Mapping, Report};
use crate::data::{DataError, Dataset, SubjectSplit, omniglot};

/// The windows that a configuration names, and where they were cut from recordings of one's own, what was seen there.
pub fn windows(source: &DataSource, mapping: &Mapping) -> Result<(Dataset, Option<Report>), DataError> {
    let path = match source {
        DataSource::Builtin => return Ok((builtin::full()?, None)),
        DataSource::Subset => return Ok((builtin::subset()?, None)),
        DataSource::Path(path) => Path::new(path),
    };
    let own = || recordings::read(&mut Files::of_path(path)?, mapping);
    if *mapping != Mapping::default() {
        return own().map(|(data, report)| (data, Some(report)));
    }
    recordings::or_own(uci_har::from_path(path), own)
}

/// What came from somewhere, with where that was.
type Kept<K, T> = RefCell<Vec<(K, Rc<T>)>>;

/// What data divided and scaled depend on: a task, and which labels are wrong on purpose, by share and seed.
type Division = (DataSource, Mapping, SubjectSplit, bool, Option<(f64, u32)>);

/// So many of a kind are kept, those that were asked for last: a driver may go through any number of divisions.
const KEPT: usize = 4;

/// Data sets that are not read again for each trial.
pub struct Library {
    /// The directory with a folder for each data set.
    directory: PathBuf,
    windows: Kept<(DataSource, Mapping), Dataset>,
    scaled: Kept<Division, Scaled>,
    images: Kept<&'static str, [Dataset; 2]>,
    characters: Kept<(), Dataset>,
}

impl Library {
    /// Of the data sets in a directory, which need not exist until one is asked for.
    pub fn new(directory: PathBuf) -> Self {
        Library {
            directory,
            windows: RefCell::default(),
            scaled: RefCell::default(),
            images: RefCell::default(),
            characters: RefCell::default(),
        }
    }

    /// The windows that a configuration names.
    pub fn windows(&self, source: &DataSource, mapping: &Mapping) -> Result<Rc<Dataset>, DataError> {
        let key = (source.clone(), mapping.clone());
        kept(&self.windows, key, || windows(source, mapping).map(|(data, _)| data))
    }

    /// The same divided and scaled as the configuration says.
    pub fn scaled(&self, config: &TuneConfig) -> Result<Rc<Scaled>, DataError> {
        let windows = self.windows(&config.data, &config.mapping())?;
        let wrong = (config.mislabelled > 0.0).then_some((config.mislabelled, config.seed));
        let key = (config.data.clone(), config.mapping(), config.split.clone(), config.task.classifies(), wrong);
        kept(&self.scaled, key, || Scaled::new(config, &windows))
    }

    /// The training and the test images of a data set.
    pub fn images(&self, set: &DataSet) -> Result<Rc<[Dataset; 2]>, DataError> {
        kept(&self.images, set.name, || set.load(&self.directory))
    }

    /// The drawings of Omniglot, from the folder `omniglot`.
    pub fn characters(&self) -> Result<Rc<Dataset>, DataError> {
        kept(&self.characters, (), || omniglot::characters(&self.directory.join("omniglot")))
    }
}

fn kept<K: PartialEq, T>(
    known: &Kept<K, T>,
    key: K,
    read: impl FnOnce() -> Result<T, DataError>,
) -> Result<Rc<T>, DataError> {
    let mut known = known.borrow_mut();
    let place = known.iter().position(|(other, _)| *other == key);
    let (key, value) = match place {
        Some(place) => known.remove(place),
        None => (key, Rc::new(read()?)),
    };
    known.push((key, value.clone()));
    let old = known.len().saturating_sub(KEPT);
    known.drain(..old);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_last_is_kept() {
        let library = Library::new("no such directory".into());
        let with = |person: u32| {
            let split = SubjectSplit { validation: Some(vec![person]), test: None };
            library.scaled(&TuneConfig { split, ..TuneConfig::quick() }).unwrap()
        };
        let people = library.windows(&DataSource::Subset, &Mapping::default()).unwrap().people().to_vec();
        let test = SubjectSplit::default()
            .resolve(&library.windows(&DataSource::Subset, &Mapping::default()).unwrap())
            .unwrap()
            .1;
        let mut others: Vec<u32> = people.into_iter().filter(|person| !test.contains(person)).collect();
        others.sort_unstable();
        others.dedup();
        let first = with(others[0]);
        let all: Vec<_> = others.iter().take(2 * KEPT).map(|&person| with(person)).collect();
        assert!(all.len() > KEPT && Rc::ptr_eq(&first, &all[0]));
        assert_eq!(library.scaled.borrow().len(), KEPT);
        assert!(Rc::ptr_eq(&with(others[all.len() - 1]), &all[all.len() - 1]));
        assert!(!Rc::ptr_eq(&with(others[0]), &first), "read again");
    }
}
