//! The directory of a run: who may write there, and files that are whole or not there at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use stackelberg::experiment::archive;
use stackelberg::experiment::record::{OuterRecord, RunResult};

use super::{files, shell};

pub const SETTINGS: &str = "run.toml";
pub const METRICS: &str = "metrics.jsonl";
pub const RESULT: &str = "result.json";
/// That of random search at equal cost, where this was asked for.
pub const RANDOM: &str = "random.json";
pub const MODEL: &str = "model.safetensors";
pub const STATE: &str = "state.safetensors";
const LOCK: &str = ".lock";
/// What the settings of a run begin with.
pub const HEADER: &[u8] = b"# stackelberg ";

/// Repeats the run in a directory in another one.
pub fn repeat(directory: &Path) -> String {
    shell::command(["tune", "--config", &shell::path(&directory.join(SETTINGS)), "--out", "NEW"])
}

/// A run's directory that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum RunDirError {
    #[error("{} already holds a run", directory.display())]
    #[diagnostic(help("start another one with a new --out, or go on with this one:\n{}", shell::resume(directory)))]
    Occupied { directory: PathBuf },

    #[error("{} is in the way: it was not written by a run, which would replace it", path.display())]
    #[diagnostic(help("move it away, or name another directory with --out"))]
    Foreign { path: PathBuf },

    #[error("{} holds no run to resume: it has no {SETTINGS}", directory.display())]
    #[diagnostic(help("begin one there with\n{}", shell::start(directory)))]
    NoRun { directory: PathBuf },

    #[error("{} holds no run: it has no {SETTINGS}", directory.display())]
    #[diagnostic(help("name the directory that `stackelberg tune --out` wrote to"))]
    NotARun { directory: PathBuf },

    #[error("{} is a file, and a run is a directory", path.display())]
    #[diagnostic(help("name the directory that `stackelberg tune --out` wrote to, such as {}", path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).display()))]
    File { path: PathBuf },

    #[error("another process is working on the run in {}", directory.display())]
    #[diagnostic(help("wait until it ends, or stop it with Ctrl-C; then resume the run"))]
    Busy { directory: PathBuf },

    #[error("cannot make the directory {}", directory.display())]
    #[diagnostic(help("name a directory with --out that you may write to"))]
    Create { directory: PathBuf, source: io::Error },

    #[error("cannot write to the directory {}", directory.display())]
    #[diagnostic(help("{}--out takes any directory that you may write to", first_aid(source)))]
    Unwritable { directory: PathBuf, source: io::Error },

    #[error("cannot lock the run in {}", directory.display())]
    #[diagnostic(help("{}a copy of it where you may write can be resumed as well", first_aid(source)))]
    Lock { directory: PathBuf, source: io::Error },

    #[error("cannot write {}", path.display())]
    #[diagnostic(help("{}{}", first_aid(source), way_on(directory, "what was saved before is unharmed")))]
    Write { directory: PathBuf, path: PathBuf, source: io::Error },

    #[error("cannot read {}", path.display())]
    #[diagnostic(help("{}", again(path)))]
    Read { path: PathBuf, source: io::Error },

    #[error("{} cannot be used: {problem}", path.display())]
    #[diagnostic(help("{}", again(path)))]
    Damaged { path: PathBuf, problem: String },

    #[error("the run in {} learnt from other data than {data} holds now", directory.display())]
    #[diagnostic(help("put the data back as they were; or start a new run with\n{}", repeat(directory)))]
    OtherData { directory: PathBuf, data: String },
}

impl RunDirError {
    /// Whether another command line would have helped.
    pub fn is_usage(&self) -> bool {
        use RunDirError::{File, Foreign, NoRun, NotARun, Occupied};
        matches!(self, Occupied { .. } | Foreign { .. } | NoRun { .. } | NotARun { .. } | File { .. })
    }
}

/// What to do about a failed write, before all else.
fn first_aid(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on the disk; ",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "make the directory writable; ",
        _ => "",
    }
}

/// How to go on from what is left of a run in a directory, of which `saved` says what there is after an iteration.
pub fn way_on(directory: &Path, saved: &str) -> String {
    if directory.join(STATE).exists() {
        format!("{saved}; go on with\n{}", shell::resume(directory))
    } else if directory.join(SETTINGS).exists() {
        format!("no iteration is saved there, but the settings are; begin with\n{}", shell::resume(directory))
    } else {
        format!(
            "what was saved in {} is not there any more: was it moved or deleted? --out takes a new directory",
            directory.display()
        )
    }
}

/// What to do about a file of a run that cannot be used: all of the run can be had again while its settings can be read.
fn again(path: &Path) -> String {
    let directory = path.parent().unwrap_or(path);
    if path.ends_with(SETTINGS) {
        format!("restore it from a copy; if there is a {RESULT}, it has the settings under `configuration`")
    } else {
        format!("restore it from a copy, or repeat the run with\n{}", repeat(directory))
    }
}

/// A run's directory, locked against other processes for as long as this lives, or only to be read.
pub struct RunDir {
    path: PathBuf,
    _lock: Option<File>,
}

impl RunDir {
    /// For a new run: makes the directory if it is not there.
    pub fn create(path: &Path) -> Result<Self, RunDirError> {
        fs::create_dir_all(path).map_err(|source| RunDirError::Create { directory: path.to_owned(), source })?;
        Self::check_vacant(path)?;
        // Nothing is saved yet that one could go on from.
        let directory = Self::lock(path).map_err(|error| match error {
            RunDirError::Lock { directory, source } => RunDirError::Unwritable { directory, source },
            other => other,
        })?;
        // Another process may have been here meanwhile.
        Self::check_vacant(path)?;
        Ok(directory)
    }

    /// Refuses a directory in which a run would replace something.
    fn check_vacant(path: &Path) -> Result<(), RunDirError> {
        let there: Vec<&str> = [SETTINGS, METRICS, RESULT, RANDOM, MODEL, STATE]
            .into_iter()
            .filter(|name| files::is_there(&path.join(name)))
            .collect();
        match there[..] {
            [] => Ok(()),
            [SETTINGS, ..] => Err(RunDirError::Occupied { directory: path.to_owned() }),
            [other, ..] => Err(RunDirError::Foreign { path: path.join(other) }),
        }
    }

    /// For going on with a run. Without a saved state the first iteration is still to be done, and what else is there
    /// would be replaced: it must be a run's, too.
    pub fn open(path: &Path) -> Result<Self, RunDirError> {
        Self::look(path).map_err(|error| match error {
            RunDirError::NotARun { directory } => RunDirError::NoRun { directory },
            error => error,
        })?;
        let directory = Self::lock(path)?;
        if !directory.file(STATE).exists() {
            directory.check_files()?;
        }
        Ok(directory)
    }

    /// For reading what a run has saved so far, be it under way or in a directory that nothing can be written to.
    pub fn look(path: &Path) -> Result<Self, RunDirError> {
        if path.is_file() {
            return Err(RunDirError::File { path: path.to_owned() });
        }
        if !path.join(SETTINGS).exists() {
            return Err(RunDirError::NotARun { directory: path.to_owned() });
        }
        Ok(RunDir { path: path.to_owned(), _lock: None })
    }

    fn lock(path: &Path) -> Result<Self, RunDirError> {
        let failed = |source| RunDirError::Lock { directory: path.to_owned(), source };
        // Whatever is in it stays.
        let lock = File::options().write(true).create(true).truncate(false).open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(RunDirError::Busy { directory: path.to_owned() }),
            // A file system without locks is no reason not to run.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(RunDir { path: path.to_owned(), _lock: Some(lock) }),
        }
    }

    /// Refuses files under the names of a run's that are none.
    fn check_files(&self) -> Result<(), RunDirError> {
        fn is_record(line: &[u8]) -> bool {
            line.trim_ascii().is_empty() || serde_json::from_slice::<OuterRecord>(line).is_ok()
        }
        type IsOurs = fn(&[u8]) -> bool;
        let is_result: IsOurs = |content| serde_json::from_slice::<RunResult>(content).is_ok();
        let checks: [(&str, IsOurs); 4] = [
            (METRICS, |content| content.split(|&byte| byte == b'\n').all(is_record)),
            (RESULT, is_result),
            (RANDOM, is_result),
            (MODEL, |content| archive::unpack(content).is_ok()),
        ];
        for (name, is_ours) in checks {
            if self.read(name)?.is_some_and(|content| !is_ours(&content)) {
                return Err(RunDirError::Foreign { path: self.file(name) });
            }
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file of the run lies.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Replaces a file. Whatever happens meanwhile, afterwards it is the old one or the new one, whole.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), RunDirError> {
        let path = self.file(name);
        files::replace(&path, content).map_err(|source| RunDirError::Write {
            directory: self.path.clone(),
            path,
            source,
        })
    }

    /// A file's content, or `None` if there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, RunDirError> {
        let path = self.file(name);
        files::read(&path).map_err(|source| RunDirError::Read { path, source })
    }

    /// Says what is wrong with a file.
    pub fn damaged(&self, name: &str, problem: impl Into<String>) -> RunDirError {
        RunDirError::Damaged { path: self.file(name), problem: problem.into() }
    }

    /// The records of the first `iterations` iterations. Later ones are left out: the process was
    /// killed before it saved the state that belongs to them, so they will be repeated.
    pub fn records(&self, iterations: u32) -> Result<Vec<OuterRecord>, RunDirError> {
        let content = self.read(METRICS)?.unwrap_or_default();
        let text = String::from_utf8(content).map_err(|_| self.damaged(METRICS, "it is not UTF-8 text"))?;
        let mut records = vec![];
        for (k, line) in text.lines().take(iterations as usize).enumerate() {
            let wrong = |problem: String| self.damaged(METRICS, format!("line {}: {problem}", k + 1));
            let record: OuterRecord = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
            if record.iteration as usize != k + 1 {
                return Err(wrong(format!("it is of iteration {}", record.iteration)));
            }
            records.push(record);
        }
        if records.len() < iterations as usize {
            let problem = format!("it has {} lines, but {STATE} is of iteration {iterations}", records.len());
            return Err(self.damaged(METRICS, problem));
        }
        Ok(records)
    }

    /// Whether more iterations are recorded than a run can have finished without saving its state.
    pub fn has_lost_its_state(&self) -> Result<bool, RunDirError> {
        let lines = self.read(METRICS)?.unwrap_or_default();
        Ok(!self.file(STATE).exists() && lines.iter().filter(|&&byte| byte == b'\n').count() > 1)
    }

    /// Writes the records of all iterations so far.
    pub fn write_records(&self, records: &[OuterRecord]) -> Result<(), RunDirError> {
        let line = |record| serde_json::to_string(record).expect("records are plain values") + "\n";
        self.write(METRICS, records.iter().map(line).collect::<String>().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn record(iteration: u32) -> OuterRecord {
        OuterRecord {
            moved: Default::default(),
            iteration,
            spent: f64::from(iteration),
            differentiated: true,
            past_edge: false,
            outer_loss: Some(1.0 / f64::from(iteration)),
            hyperparameters: BTreeMap::from([("learning_rate".to_owned(), 0.1)]),
            hypergradient: BTreeMap::new(),
            selection_loss: None,
            diverged_at_step: None,
            residual: None,
            inner_gradient: None,
            accepted: true,
            seconds: 0.5,
            peak_bytes: 1,
            dispatches: 2,
            submits: 3,
            readbacks: 4,
            buffers_created: 5,
        }
    }

    #[test]
    fn a_directory_holds_one_run() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        assert!(matches!(RunDir::open(&path), Err(RunDirError::NoRun { .. })));
        let run = RunDir::create(&path).unwrap();
        assert!(matches!(RunDir::create(&path), Err(RunDirError::Busy { .. })));
        run.write(SETTINGS, b"").unwrap();
        assert!(matches!(RunDir::open(&path), Err(RunDirError::Busy { .. })));
        RunDir::look(&path).unwrap();
        drop(run);
        assert!(matches!(RunDir::create(&path), Err(RunDirError::Occupied { .. })));
        RunDir::open(&path).unwrap();
    }

    #[test]
    fn what_is_not_ours_is_neither_emptied_nor_replaced() {
        let root = tempfile::tempdir().unwrap();
        let mine = |name: &str| fs::write(root.path().join(name), "mine").unwrap();
        let is_mine = |name: &str| fs::read(root.path().join(name)).unwrap() == b"mine";
        mine(LOCK);
        drop(RunDir::create(root.path()).unwrap());
        assert!(is_mine(LOCK));
        mine(SETTINGS);
        RunDir::open(root.path()).unwrap();
        for name in [METRICS, RESULT, RANDOM, MODEL] {
            mine(name);
            assert!(matches!(RunDir::open(root.path()), Err(RunDirError::Foreign { path }) if path.ends_with(name)));
            assert!(is_mine(name));
            fs::remove_file(root.path().join(name)).unwrap();
        }
        #[cfg(unix)]
        {
            let empty = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink("nowhere", empty.path().join(MODEL)).unwrap();
            assert!(
                matches!(RunDir::create(empty.path()), Err(RunDirError::Foreign { path }) if path.ends_with(MODEL))
            );
            assert!(!empty.path().join(LOCK).exists());
        }
    }

    #[test]
    fn help_after_a_failed_write_speaks_of_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("run");
        let run = RunDir::create(&directory).unwrap();
        let help = |run: &RunDir| {
            fs::create_dir_all(run.file(&format!(".{RESULT}.tmp"))).unwrap();
            run.write(RESULT, b"new").unwrap_err().help().unwrap().to_string()
        };
        run.write(SETTINGS, b"").unwrap();
        assert!(help(&run).contains("no iteration is saved there, but the settings are"));
        run.write(STATE, b"").unwrap();
        assert!(help(&run).contains("what was saved before is unharmed"));
        fs::remove_dir_all(&directory).unwrap();
        let gone = run.write(RESULT, b"new").unwrap_err().help().unwrap().to_string();
        assert!(gone.contains("was it moved or deleted?") && !gone.contains("--resume"), "{gone}");
    }

    #[test]
    fn files_are_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path()).unwrap();
        run.write(RESULT, b"old").unwrap();
        // What a killed process leaves behind is overwritten.
        fs::write(run.file(&format!(".{RESULT}.tmp")), b"half-written and long").unwrap();
        run.write(RESULT, b"new").unwrap();
        assert_eq!(run.read(RESULT).unwrap().unwrap(), b"new");
        assert_eq!(run.read(STATE).unwrap(), None);
        assert!(!run.file(&format!(".{RESULT}.tmp")).exists());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path()).unwrap();
        run.write(STATE, b"old").unwrap();
        // Something in the way of the temporary file: it cannot be made.
        let blocked = run.file(&format!(".{STATE}.tmp"));
        fs::create_dir(&blocked).unwrap();
        let error = run.write(STATE, b"new").unwrap_err();
        assert!(matches!(error, RunDirError::Write { .. }));
        assert_eq!(run.read(STATE).unwrap().unwrap(), b"old");
    }

    #[test]
    fn records_beyond_the_state_are_dropped() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path()).unwrap();
        run.write_records(&[record(1), record(2), record(3)]).unwrap();
        assert_eq!(run.records(2).unwrap(), [record(1), record(2)]);
        assert!(run.records(4).unwrap_err().to_string().contains("3 lines"));
        run.write_records(&[record(1), record(3)]).unwrap();
        assert!(run.records(2).unwrap_err().to_string().contains("line 2: it is of iteration 3"));
        run.write(METRICS, b"{}\n").unwrap();
        assert!(run.records(1).unwrap_err().to_string().contains("line 1: missing field"));
    }
}
