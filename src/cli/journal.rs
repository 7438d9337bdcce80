//! The file of a study's outcomes: one a line, kept as each trial ends.

use std::fs::{self, File, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use stackelberg::experiment::study::{Outcome, Study};

use super::files;
use super::shard::Shard;

/// A file of outcomes that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum JournalError {
    #[error("cannot make {}", path.display())]
    #[diagnostic(help("name a directory with --out that you may write to"))]
    Create { path: PathBuf, source: std::io::Error },

    #[error("cannot read {}", path.display())]
    #[diagnostic(help("make it readable, or give another --out"))]
    Read { path: PathBuf, source: std::io::Error },

    #[error("cannot write {}", path.display())]
    #[diagnostic(help("the lines that are in it are unharmed: mend this, and the same command goes on from there"))]
    Write { path: PathBuf, source: std::io::Error },

    #[error("{} was deleted or moved while the study ran", path.display())]
    #[diagnostic(help("put it back where it was; the same command goes on with what it holds"))]
    Gone { path: PathBuf },

    #[error("another process is working on {}", path.display())]
    #[diagnostic(help("wait until it ends, or give another --out"))]
    Busy { path: PathBuf },

    #[error("{}, line {line}: {problem}", path.display())]
    #[diagnostic(help("take the line out to have its trial run again, or give another --out"))]
    Line { path: PathBuf, line: usize, problem: String },
}

/// The lines of a study's file.
#[derive(Default)]
pub struct Lines {
    /// With their numbers.
    outcomes: Vec<(usize, Outcome)>,
    /// What is no outcome.
    pub wrong: Vec<JournalError>,
    /// Bytes up to the end of what is whole: a process that was killed may have left half a line, whose trial is run again.
    whole: usize,
    /// Whether the last line is whole but for its end.
    unended: bool,
}

impl Lines {
    /// Of a file's bytes; the path is what errors call it.
    pub fn of(path: &Path, bytes: &[u8]) -> Self {
        const BEGINNING: &str = "{\"study\":";
        let mut lines = Lines::default();
        for (at, raw) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let text = String::from_utf8_lossy(raw);
            let text = text.trim_start_matches('\u{feff}').trim();
            let ended = raw.ends_with(b"\n");
            match serde_json::from_str(text) {
                _ if text.is_empty() => {}
                Ok(outcome) => {
                    lines.outcomes.push((at + 1, outcome));
                    lines.unended = !ended;
                }
                Err(_) if !ended && (text.starts_with(BEGINNING) || BEGINNING.starts_with(text)) => break,
                Err(error) => {
                    let problem = in_line(&error);
                    lines.wrong.push(JournalError::Line { path: path.to_owned(), line: at + 1, problem });
                }
            }
            lines.whole += raw.len();
        }
        lines
    }

    /// The study of the first outcome.
    pub fn study(&self) -> Option<&str> {
        self.outcomes.first().map(|(_, outcome)| &*outcome.study)
    }

    /// The outcomes that are of a study as this version has it; the others are wrong.
    pub fn outcomes_of(&mut self, study: &Study, path: &Path) -> Vec<Outcome> {
        let labels = study.labels();
        let mut outcomes = vec![];
        for (line, outcome) in std::mem::take(&mut self.outcomes) {
            let problem = if outcome.study != study.name {
                Some(format!("it is of the study {}, not of {}", outcome.study, study.name))
            } else if !outcome.labels.keys().eq(&labels) {
                let found: Vec<&str> = outcome.labels.keys().map(|name| &**name).collect();
                let (found, version) = (found.join(", "), &outcome.version);
                let wanted = labels.join(", ");
                Some(format!("its labels are {found} (version {version}), but those of the study are {wanted}"))
            } else {
                None
            };
            match problem {
                None => outcomes.push(outcome),
                Some(problem) => self.wrong.push(JournalError::Line { path: path.to_owned(), line, problem }),
            }
        }
        outcomes
    }
}

/// What is wrong with a text of one line, without that line's number.
pub fn in_line(error: &serde_json::Error) -> String {
    let (text, place) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
    format!("column {}: {}", error.column(), text.strip_suffix(&place).unwrap_or(&text))
}

/// What a study has come to, one outcome a line: in a file of its own, and in one for each process that did a part of it.
/// A process writes to one file only.
pub struct Journal {
    /// The study's own file.
    whole: PathBuf,
    shard: Option<Shard>,
    study: &'static Study,
    /// Those in all of its files.
    pub outcomes: Vec<Outcome>,
    /// Where the next line goes, and whether the one before it is still to be ended.
    end: (usize, bool),
    /// Open to be written to, and locked for as long as this lives.
    file: Option<File>,
    /// The study's own file while a part is done: whoever does the whole waits.
    _shared: Option<File>,
}

impl Journal {
    /// Reads what is there, and leaves it as it is.
    pub fn read(whole: PathBuf, shard: Option<Shard>, study: &'static Study) -> Result<Self, JournalError> {
        let mut journal = Journal { whole, shard, study, outcomes: vec![], end: (0, false), file: None, _shared: None };
        for path in journal.files() {
            let failed = |source| JournalError::Read { path: path.clone(), source };
            let bytes = files::read(&path).map_err(failed)?.unwrap_or_default();
            let mut lines = Lines::of(&path, &bytes);
            journal.outcomes.extend(lines.outcomes_of(study, &path));
            if path == journal.path() {
                journal.end = (lines.whole, lines.unended);
            }
            if let Some(wrong) = lines.wrong.into_iter().next() {
                return Err(wrong);
            }
        }
        Ok(journal)
    }

    /// The file that this process writes to.
    fn path(&self) -> PathBuf {
        self.shard.map_or_else(|| self.whole.clone(), |shard| shard.file(&self.whole))
    }

    /// The study's own file, which need not be there, and those of its parts.
    fn files(&self) -> Vec<PathBuf> {
        let folder = self.whole.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut files: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
        files.retain(|path| part_of(path, &self.whole).is_some());
        files.sort();
        files.insert(0, self.whole.clone());
        files
    }

    /// Locks the file that this process writes to, which is made if it is not there, and reads all again.
    pub fn locked(self) -> Result<Self, JournalError> {
        let busy = |path: PathBuf| Err(JournalError::Busy { path });
        let directory = self.whole.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(|source| JournalError::Create { path: directory.to_owned(), source })?;
        let shared = self.shard.map(|_| open(&self.whole)).transpose()?;
        // A file system without locks is no reason not to run.
        if let Some(Err(TryLockError::WouldBlock)) = shared.as_ref().map(File::try_lock_shared) {
            return busy(self.whole);
        }
        let path = self.path();
        let is_new = !files::is_there(&path);
        let file = open(&path)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return busy(path);
        }
        // Parts of another division have trials in common with this one.
        for other in self.files().into_iter().filter(|other| *other != path && *other != self.whole) {
            let divides_otherwise = part_of(&other, &self.whole).is_some_and(|part| !part.is_beside(self.shard));
            let lock = File::open(&other).ok().map(|file| file.try_lock_shared());
            if divides_otherwise && matches!(lock, Some(Err(TryLockError::WouldBlock))) {
                if is_new {
                    // Best effort: an empty file that nobody needs.
                    let _ = fs::remove_file(&path);
                }
                return busy(other);
            }
        }
        let read = Journal::read(self.whole, self.shard, self.study)?;
        Ok(Journal { file: Some(file), _shared: shared, ..read })
    }

    /// The outcomes that are in the files now.
    pub fn all(self) -> Result<Vec<Outcome>, JournalError> {
        Ok(Journal::read(self.whole, self.shard, self.study)?.outcomes)
    }

    pub fn append(&mut self, outcome: Outcome) -> Result<(), JournalError> {
        let path = self.path();
        if !files::is_there(&path) {
            return Err(JournalError::Gone { path });
        }
        let (end, unended) = self.end;
        let separator = if unended { "\n" } else { "" };
        let line = serde_json::to_string(&outcome).expect("outcomes are plain values");
        let text = format!("{separator}{line}\n");
        let mut file = self.file.as_ref().expect("a journal is locked before it is written to");
        let written = file
            .set_len(end as u64)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .and_then(|_| file.write_all(text.as_bytes()))
            .and_then(|()| file.sync_data());
        written.map_err(|source| JournalError::Write { path, source })?;
        self.end = (end + text.len(), false);
        self.outcomes.push(outcome);
        Ok(())
    }
}

/// Opens a file to be written to, which is made if it is not there.
fn open(path: &Path) -> Result<File, JournalError> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    file.map_err(|source| match files::is_there(path) {
        true => JournalError::Write { path: path.to_owned(), source },
        false => JournalError::Create { path: path.to_owned(), source },
    })
}

/// The part of a study that a file is of, if of one.
fn part_of(path: &Path, study: &Path) -> Option<Shard> {
    let (whole, shard) = Shard::of(path.file_stem()?.to_str()?);
    shard.filter(|_| study.file_stem().is_some_and(|stem| stem == whole) && path.extension() == study.extension())
}
