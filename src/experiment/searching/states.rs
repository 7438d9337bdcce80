//! What trainings of a study have come to, kept beside its journal so that any process goes on with them; and who is at work
//! on it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::lock::{Lock, beside, nanoseconds};

/// What the names of our processes begin with.
const OURS: &str = "stackelberg-";

/// The folder `JOURNAL.states`: a saved training for each trial that may go on, and a file for each process at work, which
/// holds a lock on it for as long as it lives.
#[derive(Debug)]
pub struct States {
    folder: PathBuf,
    /// The name of this process.
    pub worker: String,
    /// Locked until this is dropped.
    _alive: File,
}

impl States {
    /// The folder of a journal, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be written to.
    pub fn open(journal: &Path) -> io::Result<Self> {
        let folder = beside(journal, ".states");
        let worker = format!("{OURS}{}-{:x}", std::process::id(), nanoseconds());
        let begin = || {
            fs::create_dir_all(&folder)?;
            File::create_new(folder.join(&worker))
        };
        // Between the two, a process that ends may have removed the folder, which was empty.
        let alive = begin().or_else(|_| begin())?;
        match alive.try_lock() {
            // A file system without locks is no reason not to run.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(States { folder, worker, _alive: alive }),
            Err(TryLockError::WouldBlock) => Err(io::Error::other("its own file is locked")),
        }
    }

    /// Whether a process of this program has ended without ending its trials. What Python begins is Python's.
    pub fn is_gone(&self, worker: &str) -> bool {
        if !worker.starts_with(OURS) || worker == self.worker {
            return false;
        }
        let path = self.folder.join(worker);
        match File::open(&path).map(|file| file.try_lock_shared()) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(Ok(())) => {
                // Best effort: nobody needs it.
                let _ = fs::remove_file(path);
                true
            }
            Ok(Err(_)) => false,
        }
    }

    /// Waits for the lock on the journal.
    ///
    /// # Errors
    /// If none can be made.
    pub fn lock(&self, journal: &Path) -> io::Result<Lock> {
        let target = Path::new(self.folder.file_name().unwrap_or_default()).join(&self.worker);
        Lock::acquire(journal, &target, |holder| {
            holder.file_name().and_then(|name| name.to_str()).is_some_and(|name| self.is_gone(name))
        })
    }

    fn path(&self, trial: u64, step: u64) -> PathBuf {
        self.folder.join(format!("{trial}-{step}.safetensors"))
    }

    /// Keeps a training as it is after so many steps of a trial.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, trial: u64, step: u64, saved: &[u8]) -> io::Result<()> {
        let path = self.path(trial, step);
        let temporary = beside(&path, &format!(".{}", self.worker));
        let written = fs::write(&temporary, saved).and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display())))
    }

    /// What was kept, if it is there.
    pub fn load(&self, trial: u64, step: u64) -> Option<Vec<u8>> {
        fs::read(self.path(trial, step)).ok()
    }

    /// Removes what was kept of a trial, but for what it is after so many steps.
    pub fn forget(&self, trial: u64, but: Option<u64>) {
        let (beginning, kept) = (format!("{trial}-"), but.map(|step| self.path(trial, step)));
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let of_trial = entry.file_name().to_str().is_some_and(|name| name.starts_with(&beginning));
            if of_trial && Some(entry.path()) != kept {
                // Best effort: it only takes room.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for States {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join(&self.worker));
        // Once nothing is in it.
        let _ = fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_is_told_from_one_at_work() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("study.log");
        let [one, other] = [(); 2].map(|()| States::open(&journal).unwrap());
        let name = other.worker.clone();
        assert!(!one.is_gone(&name) && !one.is_gone(&one.worker));
        assert!(!one.is_gone("b5a1-140"), "Python's are none of ours");
        // A killed process leaves its file behind, and no lock on it.
        drop(other);
        fs::write(folder.path().join("study.log.states").join(&name), "").unwrap();
        assert!(one.is_gone(&name) && one.is_gone(&name));
    }

    #[test]
    fn what_is_kept_of_a_trial_is_its_last() {
        let folder = tempfile::tempdir().unwrap();
        let states = States::open(&folder.path().join("study.log")).unwrap();
        for (trial, step) in [(1, 3), (1, 6), (11, 3)] {
            states.save(trial, step, &[trial as u8, step as u8]).unwrap();
        }
        states.forget(1, Some(6));
        assert_eq!([states.load(1, 3), states.load(1, 6)], [None, Some(vec![1, 6])]);
        states.forget(1, None);
        assert_eq!(states.load(1, 6), None);
        assert_eq!(states.load(11, 3), Some(vec![11, 3]));
    }
}
