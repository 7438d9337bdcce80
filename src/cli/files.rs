//! Files of commands: read without waiting for them, written whole or not at all.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

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

/// Replaces a file. Whatever happens meanwhile, afterwards it is the old one or the new one, whole.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let temporary = folder.join(format!(".{}.tmp", path.file_name().unwrap_or_default().display()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync(folder));
    written.inspect_err(|_| {
        // Best effort: the half-written file takes room and is of no use.
        let _ = fs::remove_file(&temporary);
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
