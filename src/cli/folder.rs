//! Folders that a command writes files to: never over what is not ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{CliError, files};

/// What a folder keeps of the files written to it: for each name the checksums that its file may have.
const RECORD: &str = ".stackelberg.json";

/// A folder for the files of one command. What it wrote before it may replace, and nothing else.
pub struct Folder {
    path: PathBuf,
    known: BTreeMap<String, Vec<String>>,
}

impl Folder {
    /// A folder that need not be there yet.
    pub fn open(path: &Path) -> Self {
        let record = fs::read(path.join(RECORD)).unwrap_or_default();
        Folder { path: path.to_owned(), known: serde_json::from_slice(&record).unwrap_or_default() }
    }

    /// Refuses to write a file over one that was not written here, or was changed since.
    pub fn check(&self, name: &str) -> Result<(), CliError> {
        let path = self.path.join(name);
        let is_ours = |content: Vec<u8>| {
            let sum = files::checksum(&content);
            self.known.get(name).is_some_and(|sums| sums.contains(&sum))
        };
        let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
        if !files::is_there(&path) || is_file && fs::read(&path).is_ok_and(is_ours) {
            return Ok(());
        }
        Err(CliError::NotOurs { path })
    }

    /// Writes files by name, if every one of them may be written.
    pub fn write(&mut self, files: &[(String, Vec<u8>)]) -> Result<(), CliError> {
        files.iter().try_for_each(|(name, _)| self.check(name))?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CliError::Write { path, source }
        };
        fs::create_dir_all(&self.path).map_err(failed(&self.path))?;
        for (name, content) in files {
            // A process that is killed leaves the old files or the new ones, and both are ours.
            let sums = self.known.entry(name.clone()).or_default();
            let newest = sums.len().saturating_sub(1);
            sums.drain(..newest);
            sums.push(files::checksum(content));
        }
        let record = self.path.join(RECORD);
        let text = serde_json::to_string_pretty(&self.known).expect("names and checksums are plain values") + "\n";
        files::replace_among_others(&record, text.as_bytes()).map_err(failed(&record))?;
        for (name, content) in files {
            let path = self.path.join(name);
            let folder = path.parent().unwrap_or(&self.path);
            fs::create_dir_all(folder).map_err(failed(folder))?;
            files::replace_among_others(&path, content).map_err(failed(&path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(content: &str) -> [(String, Vec<u8>); 2] {
        ["a.txt", "b/c.txt"].map(|name| (name.to_owned(), content.into()))
    }

    #[test]
    fn only_what_was_written_here_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("new/out");
        for content in ["one", "two", "three"] {
            Folder::open(&out).write(&two(content)).unwrap();
            assert_eq!(fs::read_to_string(out.join("b/c.txt")).unwrap(), content);
        }
        fs::write(out.join("a.txt"), "a note of mine").unwrap();
        let error = Folder::open(&out).write(&two("four")).unwrap_err();
        assert!(matches!(error, CliError::NotOurs { path } if path == out.join("a.txt")));
        assert_eq!(fs::read_to_string(out.join("b/c.txt")).unwrap(), "three", "all or none");
        fs::remove_file(out.join("a.txt")).unwrap();
        Folder::open(&out).write(&two("four")).unwrap();
        fs::remove_file(out.join(RECORD)).unwrap();
        assert!(Folder::open(&out).write(&two("five")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let mine = root.path().join("mine");
        for target in ["mine", "nowhere"] {
            let out = root.path().join(format!("out of {target}"));
            fs::create_dir(&out).unwrap();
            fs::write(&mine, "mine").unwrap();
            std::os::unix::fs::symlink(root.path().join(target), out.join("a.txt")).unwrap();
            assert!(Folder::open(&out).write(&two("one")).is_err());
        }
        assert_eq!(fs::read_to_string(mine).unwrap(), "mine");
        assert!(!root.path().join("nowhere").exists());
    }
}
