//! A study's journal as a file that several processes append to, Optuna's among them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::about::{About, Difference};
use super::lock::Lock;
use super::states::States;
use crate::search::history::HistoryError;
use crate::search::journal::{Journal, JournalError, Writer};
use crate::search::{Event, Space};

/// What studies are called in their journals.
pub const STUDY: &str = "stackelberg";

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be read or written, or nothing be made beside it.
    #[error("cannot use the journal {}: {source}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line that is none of a journal, or of another space.
    #[error("{}, {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line.
        source: JournalError,
    },
    /// An event that cannot be.
    #[error("{}, {source}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// The event.
        source: HistoryError,
    },
    /// A study that was begun with something else.
    #[error(
        "{} was begun with another {}: {}; {} was given",
        path.display(), difference.part, difference.before, difference.given
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// What.
        difference: Difference,
    },
    /// A file with no study that this program began.
    #[error("{} has no study of this program", path.display())]
    NoStudy {
        /// The file.
        path: PathBuf,
    },
    /// A study of another version.
    #[error("{}: the study cannot be gone on with: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// What a journal says of the study that this program began in it; none where there is no file, or nothing in it.
///
/// # Errors
/// If the file cannot be read, is no journal, or has only studies of others.
pub fn described(path: &Path) -> Result<Option<About>, LedgerError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|source| LedgerError::File { path: path.to_owned(), source })?,
    };
    let studies = Journal::studies(&text).map_err(|source| LedgerError::Line { path: path.to_owned(), source })?;
    let Some((_, about)) = studies.iter().find(|(name, _)| name == STUDY) else {
        let nothing = studies.is_empty() && text.trim().is_empty();
        return if nothing { Ok(None) } else { Err(LedgerError::NoStudy { path: path.to_owned() }) };
    };
    let about = about.as_ref().ok_or_else(|| LedgerError::NoStudy { path: path.to_owned() })?;
    let read = serde_json::from_value(about.clone());
    read.map(Some).map_err(|e| LedgerError::Unreadable { path: path.to_owned(), problem: e.to_string() })
}

/// The study in a file, only to be looked at.
///
/// # Errors
/// As [`described`], or if a line is wrong.
pub fn read(path: &Path) -> Result<Option<(About, Journal)>, LedgerError> {
    let Some(about) = described(path)? else { return Ok(None) };
    let text = fs::read_to_string(path).map_err(|source| LedgerError::File { path: path.to_owned(), source })?;
    let journal = Journal::read(&text, STUDY, &about.space);
    Ok(Some((about, journal.map_err(|source| LedgerError::Line { path: path.to_owned(), source })?)))
}

/// A journal that this process appends to.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    space: Space,
    /// Saved trainings, and who is at work.
    pub states: States,
    journal: Journal,
    /// The bytes of the file that `journal` knows; none where it has to be read again.
    known: Option<u64>,
    /// Whether the last of its lines is whole but for its end.
    unended: bool,
}

impl Ledger {
    /// Opens the journal of a study, which is begun if it is not there.
    ///
    /// # Errors
    /// If the file cannot be written, or has another study.
    pub fn open(path: &Path, about: &About) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::File { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(failed)?;
        let failed = |source| LedgerError::File { path: path.clone(), source };
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
        File::options().append(true).create(true).open(&path).map_err(failed)?;
        let states = States::open(&path).map_err(failed)?;
        let (space, journal) = (about.space.clone(), Journal::default());
        let mut ledger = Ledger { path: path.clone(), space, states, journal, known: None, unended: false };
        let mut page = ledger.page()?;
        match described(&path)? {
            Some(before) => {
                if let Some(difference) = before.differs(about) {
                    return Err(LedgerError::Other { path, difference });
                }
            }
            None => page.begin(about)?,
        }
        page.close()?;
        Ok(ledger)
    }

    /// The study as this process knows it.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Waits for the lock, and reads what others have written meanwhile.
    ///
    /// # Errors
    /// If the file cannot be locked or read.
    pub fn page(&mut self) -> Result<Page<'_>, LedgerError> {
        let path = self.path.clone();
        let failed = |source| LedgerError::File { path: path.clone(), source };
        let lock = self.states.lock(&path).map_err(failed)?;
        self.read()?;
        Ok(Page { ledger: self, text: String::new(), _lock: lock })
    }

    fn read(&mut self) -> Result<(), LedgerError> {
        let path = self.path.clone();
        let failed = |source| LedgerError::File { path: path.clone(), source };
        let size = fs::metadata(&path).map_err(failed)?.len();
        if self.known != Some(size) {
            let text = fs::read_to_string(&path).map_err(failed)?;
            let journal = Journal::read(&text, STUDY, &self.space);
            self.journal = journal.map_err(|source| LedgerError::Line { path, source })?;
            self.known = Some(self.journal.whole as u64);
            self.unended = self.journal.whole > 0 && !text[..self.journal.whole].ends_with('\n');
        }
        Ok(())
    }
}

/// The journal while this process holds the lock. What is added stands in the file once it is closed, all of it at once.
pub struct Page<'a> {
    ledger: &'a mut Ledger,
    text: String,
    _lock: Lock,
}

impl Page<'_> {
    /// The study, with what was added.
    pub fn journal(&self) -> &Journal {
        &self.ledger.journal
    }

    /// Saved trainings, and who is at work.
    pub fn states(&self) -> &States {
        &self.ledger.states
    }

    /// Begins the study.
    fn begin(&mut self, about: &About) -> Result<(), LedgerError> {
        self.line(|writer, _| Ok(writer.study(STUDY)))?;
        // Its number follows from the file.
        self.append()?;
        self.ledger.known = None;
        self.ledger.read()?;
        self.line(|writer, journal| writer.about(journal, about))
    }

    /// Adds an event.
    ///
    /// # Errors
    /// If it cannot happen to this study.
    pub fn add(&mut self, event: Event) -> Result<(), LedgerError> {
        let space = self.ledger.space.clone();
        self.line(|writer, journal| Ok(writer.lines(journal, &space, &event)?.concat()))?;
        let failed = |source| LedgerError::History { path: self.ledger.path.clone(), source };
        self.ledger.journal.wrote(event, &self.ledger.states.worker).map_err(failed)
    }

    /// Takes over a trial that another process has left.
    ///
    /// # Errors
    /// If there is no such trial.
    pub fn adopt(&mut self, trial: u64) -> Result<(), LedgerError> {
        self.line(|writer, journal| writer.adopted(journal, trial))?;
        self.ledger.journal.owners[trial as usize].clone_from(&self.ledger.states.worker);
        Ok(())
    }

    /// Notes what a trial has cost so far, in whole trainings.
    ///
    /// # Errors
    /// If there is no such trial.
    pub fn spend(&mut self, trial: u64, spent: f64) -> Result<(), LedgerError> {
        self.line(|writer, journal| writer.spent(journal, trial, spent))?;
        self.ledger.journal.spent.insert(trial, spent);
        Ok(())
    }

    fn line(
        &mut self,
        line: impl FnOnce(&Writer, &Journal) -> Result<String, JournalError>,
    ) -> Result<(), LedgerError> {
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string();
        let writer = Writer { worker: &self.ledger.states.worker, time: &time };
        let text = line(&writer, &self.ledger.journal);
        self.text += &text.map_err(|source| LedgerError::Line { path: self.ledger.path.clone(), source })?;
        Ok(())
    }

    /// Writes what was added, and lets others at it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn close(mut self) -> Result<(), LedgerError> {
        self.append()
    }

    fn append(&mut self) -> Result<(), LedgerError> {
        let Ledger { path, known, unended, .. } = &mut *self.ledger;
        let Some(end) = known.filter(|_| !self.text.is_empty()) else { return Ok(()) };
        if std::mem::take(unended) {
            self.text.insert(0, '\n');
        }
        // Until it is there, what is known of the file is no more than what was read of it.
        *known = None;
        let write = || {
            let mut file = File::options().append(true).open(&*path)?;
            // A process that was killed may have left half a line.
            file.set_len(end)?;
            file.write_all(self.text.as_bytes())?;
            file.sync_data()
        };
        write().map_err(|source| LedgerError::File { path: path.clone(), source })?;
        *known = Some(end + self.text.len() as u64);
        self.text.clear();
        Ok(())
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        // What was added and not written did not happen.
        if !self.text.is_empty() {
            self.ledger.known = None;
        }
    }
}
