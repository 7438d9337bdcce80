//! Optuna's lock on a journal: a symbolic link of the journal's name with `.lock` behind it. Whoever could make it may append.
//! Ours leads to the file of the process that made it, so that one that was killed is not waited for.
//! Python's `JournalFileSymlinkLock`, the one that Optuna takes unless told otherwise, and this one exclude each other, as
//! does `JournalFileOpenLock`, which makes a file of the same name.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A lock on which nothing has happened for so long is one that a process left behind; Optuna's is the same.
const GRACE: Duration = Duration::from_secs(30);

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: PathBuf,
}

impl Lock {
    /// Waits until the journal is free, and makes a lock that leads to a file, as seen from the journal. One that leads to
    /// the file of a process that is gone is taken away.
    ///
    /// # Errors
    /// If nothing can be made beside the journal.
    pub fn acquire(journal: &Path, target: &Path, is_gone: impl Fn(&Path) -> bool) -> io::Result<Self> {
        let file = beside(journal, ".lock");
        let (mut pause, mut since, mut seen) = (Duration::from_millis(1), Instant::now(), None);
        loop {
            match make(target, &file) {
                Ok(()) => return Ok(Lock { file }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            if let Some(holder) = holder(&file).filter(|holder| is_gone(holder)) {
                take_away(&file, &holder);
                continue;
            }
            // Whoever holds it long, but writes, is at work.
            let now = [fs::symlink_metadata(&file), fs::metadata(journal)].map(|m| m.and_then(|m| m.modified()).ok());
            if seen != Some(now) {
                (seen, since) = (Some(now), Instant::now());
            } else if since.elapsed() > GRACE {
                // Best effort: another process may have been quicker.
                let _ = release(&file);
                since = Instant::now();
            }
            sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(100));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that was held for too long may have been taken away.
        let _ = release(&self.file);
    }
}

/// A path with an ending behind its name.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

#[cfg(unix)]
fn make(target: &Path, file: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, file)
}

#[cfg(not(unix))]
fn make(target: &Path, file: &Path) -> io::Result<()> {
    use std::io::Write;
    fs::File::create_new(file)?.write_all(target.as_os_str().as_encoded_bytes())
}

/// What a lock leads to.
fn holder(file: &Path) -> Option<PathBuf> {
    match cfg!(unix) {
        true => fs::read_link(file).ok(),
        false => fs::read_to_string(file).ok().map(PathBuf::from),
    }
}

/// Another name for a lock that is on its way out.
fn renamed(file: &Path) -> PathBuf {
    beside(file, &format!("{:x}-{}.rename", nanoseconds(), std::process::id()))
}

/// Renames it first: of several processes that remove it, one succeeds.
fn release(file: &Path) -> io::Result<()> {
    let renamed = renamed(file);
    fs::rename(file, &renamed)?;
    fs::remove_file(&renamed)
}

/// Removes a lock if it is still that of this holder. Best effort: another process may have been quicker.
fn take_away(file: &Path, of: &Path) {
    let renamed = renamed(file);
    if fs::rename(file, &renamed).is_ok() {
        // It may have been taken away before, and made anew.
        let _ = match holder(&renamed).as_deref() == Some(of) {
            true => fs::remove_file(&renamed),
            false => fs::rename(&renamed, file),
        };
    }
}

/// Nanoseconds of the clock, to tell names apart.
pub fn nanoseconds() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter in a file is read, and written larger by one, by four threads: none of the steps is lost.
    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("study.log");
        fs::write(&journal, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let _lock = Lock::acquire(&journal, Path::new("study.log"), |_| false).unwrap();
                        let count: u32 = fs::read_to_string(&journal).unwrap().parse().unwrap();
                        fs::write(&journal, (count + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&journal).unwrap(), "100");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn without_a_folder_there_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("no/study.log");
        assert!(Lock::acquire(&journal, Path::new("study.log"), |_| false).is_err());
    }

    #[test]
    fn what_a_killed_process_has_left_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, file) = (folder.path().join("study.log"), folder.path().join("study.log.lock"));
        make(Path::new("killed"), &file).unwrap();
        let mine = Lock::acquire(&journal, Path::new("mine"), |holder| holder == Path::new("killed")).unwrap();
        assert_eq!(holder(&file).as_deref(), Some(Path::new("mine")));
        take_away(&file, Path::new("killed"));
        assert!(fs::symlink_metadata(&file).is_ok(), "a lock made since is left alone");
        drop(mine);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
