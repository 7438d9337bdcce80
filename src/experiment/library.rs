//! The data of trials, read, divided and scaled when they are first asked for, and kept.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::config::{DataSource, TuneConfig};
use super::setup::Scaled;
use crate::data::catalog::DataSet;
use crate::data::har::{builtin, uci_har};
use crate::data::{DataError, Dataset, SubjectSplit};

/// The windows that a configuration names.
pub fn windows(source: &DataSource) -> Result<Dataset, DataError> {
    match source {
        DataSource::Builtin => builtin::full(),
        DataSource::Subset => builtin::subset(),
        DataSource::Path(path) => uci_har::from_path(Path::new(path)),
    }
}

/// What came from somewhere, with where that was.
type Kept<K, T> = RefCell<Vec<(K, Rc<T>)>>;

/// Data sets, each read at most once.
pub struct Library {
    /// The directory with a folder for each data set.
    directory: PathBuf,
    windows: Kept<DataSource, Dataset>,
    scaled: Kept<(DataSource, SubjectSplit, bool), Scaled>,
    images: Kept<&'static str, [Dataset; 2]>,
}

impl Library {
    /// Of the data sets in a directory, which need not exist until one is asked for.
    pub fn new(directory: PathBuf) -> Self {
        Library { directory, windows: RefCell::default(), scaled: RefCell::default(), images: RefCell::default() }
    }

    /// The windows that a configuration names.
    pub fn windows(&self, source: &DataSource) -> Result<Rc<Dataset>, DataError> {
        kept(&self.windows, source.clone(), || windows(source))
    }

    /// The same divided and scaled as the configuration says.
    pub fn scaled(&self, config: &TuneConfig) -> Result<Rc<Scaled>, DataError> {
        let windows = self.windows(&config.data)?;
        let key = (config.data.clone(), config.split.clone(), config.task.classifies());
        kept(&self.scaled, key, || Scaled::new(config, &windows))
    }

    /// The training and the test images of a data set.
    pub fn images(&self, set: &DataSet) -> Result<Rc<[Dataset; 2]>, DataError> {
        kept(&self.images, set.name, || set.load(&self.directory))
    }
}

fn kept<K: PartialEq, T>(
    known: &Kept<K, T>,
    key: K,
    read: impl FnOnce() -> Result<T, DataError>,
) -> Result<Rc<T>, DataError> {
    if let Some((_, value)) = known.borrow().iter().find(|(other, _)| *other == key) {
        return Ok(value.clone());
    }
    let value = Rc::new(read()?);
    known.borrow_mut().push((key, value.clone()));
    Ok(value)
}
