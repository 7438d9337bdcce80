//! Files of commands: read without waiting for them, written whole or not at all.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

/// A file's content, or nothing if there is none. What is no file, such as a pipe, would be waited for and is refused.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(found) if found.is_file() => fs::read(path).map(Some),
        Ok(_) => Err(io::Error::other("it is no file, but a folder, a pipe, a socket or a device")),
    }
}

/// Replaces a file of a folder that no other process writes to. Whatever happens meanwhile, afterwards it is the old one or
/// the new one, whole. What a killed process has left of it is written over.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = beside(path, "");
    through(&temporary, File::create(&temporary)?, path, content)
}

/// The same where others may replace it at the same time: the last one to do so has it, whole.
pub fn replace_among_others(path: &Path, content: &[u8]) -> io::Result<()> {
    let process = std::process::id();
    // Processes of other machines may have the same number.
    for attempt in 0u32.. {
        let temporary = beside(path, &format!(".{process}-{attempt}"));
        match File::create_new(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            file => return through(&temporary, file?, path, content),
        }
    }
    unreachable!("some name is free")
}

/// A temporary file beside another.
fn beside(path: &Path, whose: &str) -> PathBuf {
    path.with_file_name(format!(".{}{whose}.tmp", path.file_name().unwrap_or_default().display()))
}

/// Writes a temporary file and puts it in the place of another.
fn through(temporary: &Path, mut file: File, path: &Path, content: &[u8]) -> io::Result<()> {
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(temporary, path))
        .and_then(|()| sync(path.parent().unwrap_or(Path::new(""))));
    written.inspect_err(|_| {
        // Best effort: the half-written file takes room and is of no use.
        let _ = fs::remove_file(temporary);
    })
}

/// Makes a rename survive a loss of power.
#[cfg(unix)]
fn sync(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Whether there is anything of that name, be it a link to nowhere.
pub fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The MD5 of bytes, as official checksums are written.
pub fn checksum(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Whoever looks sees what one of them has written, and afterwards nothing lies beside it.
    #[test]
    fn two_that_replace_one_file_do_not_tear_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace_among_others(&path, &[0; 100_000]).unwrap();
        thread::scope(|scope| {
            let writers = [1u8, 2].map(|byte| {
                let path = &path;
                let write = move || (0..50).all(|_| replace_among_others(path, &[byte; 100_000]).is_ok());
                scope.spawn(write)
            });
            while !writers.iter().all(|writer| writer.is_finished()) {
                let found = read(&path).unwrap().unwrap();
                assert!(found.len() == 100_000 && found.iter().all(|byte| *byte == found[0]));
            }
            assert!(writers.into_iter().all(|writer| writer.join().unwrap()));
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
