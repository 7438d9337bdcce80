//! The data of a page: the built-in people as they come, and what the clerk has read of the visitor's own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::details;
use super::plans::{Origin, Taken, configuration};
use super::post::Post;
use super::protocol::*;
use crate::data::har::builtin;
use crate::data::recordings::Mapping;
use crate::data::{DataError, Dataset, Description, SubjectSplit, Targets};
use crate::experiment::config::{DataSource, TuneConfig};
use crate::experiment::error::TuneError;
use crate::experiment::setup::Scaled;

/// Which data there are, and which of them the runs to come take.
pub struct Stock {
    post: Post,
    at_hand: RefCell<Option<Taken>>,
    /// The built-in people that are there, and which data are to be taken.
    builtin: RefCell<Builtin>,
    choice: Cell<Choice>,
    /// The data that settings wanted otherwise than usual last.
    divided: RefCell<Option<(Division, Taken)>>,
}

/// What it depends on how data are divided and scaled.
#[derive(PartialEq)]
struct Division {
    split: SubjectSplit,
    classifies: bool,
    /// The share of wrong labels and the seed that draws them, where there are some.
    wrong: Option<(f64, u32)>,
}

impl Division {
    fn of(config: &TuneConfig) -> Self {
        let wrong = (config.mislabelled > 0.0).then_some((config.mislabelled, config.seed));
        Division { split: config.split.clone(), classifies: config.task.classifies(), wrong }
    }
}

/// The built-in people, as far as they have come.
#[derive(Default)]
struct Builtin {
    first: Option<Taken>,
    all: Option<Taken>,
}

/// Which data the runs to come take.
#[derive(Clone, Copy, Default, PartialEq)]
enum Choice {
    /// All built-in people, and the first of them until the others are there.
    #[default]
    Builtin,
    /// The first built-in people, whatever comes.
    Subset,
    /// The visitor's own.
    Own,
}

impl Stock {
    pub fn new(post: Post) -> Self {
        Stock {
            post,
            at_hand: RefCell::default(),
            builtin: RefCell::default(),
            choice: Cell::default(),
            divided: RefCell::default(),
        }
    }

    /// What a run would take now, with right labels.
    pub fn at_hand(&self) -> Option<Taken> {
        self.at_hand.borrow().clone()
    }

    /// Data of this fingerprint, if they are still here: those at hand, or the built-in ones.
    pub fn of_fingerprint(&self, fingerprint: &str) -> Option<Taken> {
        let builtin = self.builtin.borrow();
        let all = [self.at_hand(), builtin.all.clone(), builtin.first.clone()];
        all.into_iter().flatten().find(|taken| taken.info.fingerprint == fingerprint)
    }

    /// The data at hand as settings want them divided and scaled.
    pub fn taken_by(&self, settings: &Settings) -> Result<Option<Taken>, Failure> {
        let Some(usual) = self.at_hand() else { return Ok(None) };
        let config = configuration(settings, &usual.origin).map_err(TuneError::from)?;
        let division = Division::of(&config);
        if division == Division::of(&TuneConfig::default()) {
            return Ok(Some(usual));
        }
        if let Some((of, taken)) = &*self.divided.borrow()
            && *of == division
            && taken.origin == usual.origin
        {
            return Ok(Some(taken.clone()));
        }
        let scaled = |config: &TuneConfig| Scaled::new(config, &usual.source).map(Rc::new);
        let right = match division.wrong {
            Some(_) => Some(scaled(&TuneConfig { mislabelled: 0.0, ..config.clone() })?),
            None => None,
        };
        let scaled = scaled(&config)?;
        let DataInfo { notes, .. } = usual.info;
        let info = DataInfo { notes, ..describe(&usual.source, &scaled, &usual.origin.source) };
        let taken = Taken { scaled, right, info, ..usual };
        *self.divided.borrow_mut() = Some((division, taken.clone()));
        Ok(Some(taken))
    }

    /// Keeps the built-in data, and takes them where they are what is to be taken.
    pub fn load_builtin(&self, first: &[u8], rest: Option<&[u8]>) -> Result<(), Failure> {
        let source = if rest.is_some() { DataSource::Builtin } else { DataSource::Subset };
        let origin = Origin { source, reading: Mapping::default() };
        let taken = Some(loaded(builtin::dataset(first, rest)?, origin)?);
        {
            let mut builtin = self.builtin.borrow_mut();
            *(if rest.is_some() { &mut builtin.all } else { &mut builtin.first }) = taken;
        }
        self.take_builtin();
        Ok(())
    }

    /// Takes the built-in people for the runs to come: all of them, or the first whatever comes.
    pub fn use_builtin(&self, subset: bool) {
        self.choice.set(if subset { Choice::Subset } else { Choice::Builtin });
        self.take_builtin();
    }

    /// Takes the built-in people that are wanted, if they are there and were not taken.
    fn take_builtin(&self) {
        let wanted = {
            let builtin = self.builtin.borrow();
            match self.choice.get() {
                Choice::Builtin => builtin.all.as_ref().or(builtin.first.as_ref()).cloned(),
                Choice::Subset => builtin.first.clone(),
                Choice::Own => None,
            }
        };
        let taken = |wanted: &Taken| self.at_hand.borrow().as_ref().is_some_and(|data| data.origin == wanted.origin);
        if let Some(wanted) = wanted.filter(|wanted| !taken(wanted)) {
            self.take(wanted);
        }
    }

    /// Takes the visitor's own data.
    pub fn take_own(&self, own: OwnData, values: Vec<f32>) -> Result<(), Failure> {
        let OwnData { source, reading, notes, about, labels, people } = own;
        let unread = |error: serde_json::Error| Failure { stage: Stage::Data, message: error.to_string() };
        let about: Description = serde_json::from_str(&about).map_err(unread)?;
        let data = Dataset::new(about, values.into(), Targets::Labels(labels), people)?;
        let mut own = loaded(data, Origin { source: DataSource::Path(source), reading: reading.into() })?;
        own.info.notes = notes;
        self.choice.set(Choice::Own);
        self.take(own);
        Ok(())
    }

    /// Takes data for the runs to come.
    fn take(&self, taken: Taken) {
        self.post.send(&FromWorker::Data(taken.info.clone()));
        *self.at_hand.borrow_mut() = Some(taken);
    }

    /// Sends one recorded window to draw.
    pub fn send_trace(&self, index: u32) {
        let data = self.at_hand.borrow();
        let Some(windows) = data.as_ref().map(|data| &*data.source) else { return };
        self.post.send(&FromWorker::Trace(details::trace(windows, index as usize % windows.len())));
    }
}

/// Data as runs usually take them; an error if they cannot be divided and scaled.
fn loaded(source: Dataset, origin: Origin) -> Result<Taken, DataError> {
    let scaled = Scaled::new(&TuneConfig::default(), &source)?;
    let info = describe(&source, &scaled, &origin.source);
    Ok(Taken { source: Rc::new(source), scaled: Rc::new(scaled), right: None, origin, info })
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Failure { stage: Stage::Data, message: error.to_string() }
    }
}

impl From<TuneError> for Failure {
    fn from(error: TuneError) -> Self {
        Failure { stage: Stage::Run, message: error.to_string() }
    }
}

/// What the page shows of a data set and its parts.
fn describe(source: &Dataset, Scaled { split, fingerprint, .. }: &Scaled, origin: &DataSource) -> DataInfo {
    let side = |part: &Dataset| Split { windows: part.len() as u32, people: part.present_people() };
    let of =
        |windows: &Dataset, label: usize| windows.labels().iter().filter(|&&one| one as usize == label).count() as u32;
    let class = |(label, name): (usize, &String)| Class {
        name: name.clone(),
        windows: of(source, label),
        training: of(&split.train, label),
    };
    DataInfo {
        name: source.about().name.clone(),
        source: origin.to_string(),
        fingerprint: fingerprint.clone(),
        subset: source.about().subset,
        train: side(&split.train),
        validation: side(&split.validation),
        test: side(&split.test),
        classes: source.about().outputs.iter().enumerate().map(class).collect(),
        notes: vec![],
    }
}
