//! Files and folders on their way in: never more than so many bytes, and nothing that one could wait for.
#![cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "a page has bytes, and no files"))]

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::DataError;

/// Folders below the given one in which data are looked for.
pub const DEPTH: usize = 2;

/// An open file, or nothing if there is none. What is no file, such as a pipe, is refused before it is waited for.
pub fn open(path: &Path) -> Result<Option<File>, DataError> {
    let failed = |reason| DataError::Read { path: path.display().to_string(), reason };
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
        Ok(found) if found.is_file() => File::open(path).map(Some).map_err(failed),
        Ok(found) => {
            let what = if found.is_dir() { "a folder" } else { "a pipe, socket or device" };
            Err(DataError::NoFile { path: path.display().to_string(), what })
        }
    }
}

/// A file's bytes, or nothing if there is none.
pub fn read(path: &Path, limit_mib: u64) -> Result<Option<Vec<u8>>, DataError> {
    let name = path.display().to_string();
    let failed = |reason| DataError::Read { path: name.clone(), reason };
    open(path)?.map(|file| read_limited(file, &name, limit_mib, failed)).transpose()
}

/// All bytes of a reader, if they are no more than the limit.
pub fn read_limited(
    from: impl Read,
    name: &str,
    limit_mib: u64,
    failed: impl FnOnce(std::io::Error) -> DataError,
) -> Result<Vec<u8>, DataError> {
    let limit = limit_mib << 20;
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(DataError::TooLarge { file: name.into(), limit_mib });
    }
    Ok(bytes)
}

/// What is in a folder, by name: folders, and all else. A folder that may not be read has nothing.
pub fn entries(folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| !is_shadow(&name(path))).collect();
    paths.sort();
    paths.into_iter().partition(|path| path.is_dir())
}

/// The folders that lie so many levels below a folder.
pub fn folders(folder: &Path, level: usize) -> Vec<PathBuf> {
    (0..level).fold(vec![folder.to_owned()], |above, _| above.iter().flat_map(|folder| entries(folder).0).collect())
}

/// The file of one of these names, in whatever letters, the first name before the second; in this folder before those
/// below it.
pub fn find(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    (0..=DEPTH).find_map(|level| {
        let there: Vec<PathBuf> = folders(folder, level).iter().flat_map(|folder| entries(folder).1).collect();
        let called = |wanted: &&str| there.iter().find(|path| name(path).eq_ignore_ascii_case(wanted));
        names.iter().find_map(called).cloned()
    })
}

/// The bytes of a file that was found.
pub fn content(path: &Path, limit_mib: u64) -> Result<Vec<u8>, DataError> {
    let missing = || DataError::Read { path: path.display().to_string(), reason: ErrorKind::NotFound.into() };
    read(path, limit_mib)?.ok_or_else(missing)
}

/// The last part of a path.
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// macOS puts a shadow beside every file.
pub fn is_shadow(path: &str) -> bool {
    path.split('/').any(|part| part == "__MACOSX" || part.starts_with("._"))
}
