//! Zip archives: what is in them, and what is wrong with them.

use std::io::{Read, Seek};

use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::DataError;
use super::files::read_limited;

/// An archive in a file, which errors call `name`.
pub fn open<R: Read + Seek>(name: &str, file: R) -> Result<ZipArchive<R>, DataError> {
    ZipArchive::new(file).map_err(|error| unreadable(name, &error))
}

/// All entries, by index.
pub fn names<R: Read + Seek>(name: &str, zip: &ZipArchive<R>) -> Result<Vec<String>, DataError> {
    let names = zip.file_names().map(|entry| Ok(entry.map_err(|e| unreadable(name, &e))?.replace('\\', "/")));
    names.collect()
}

/// The bytes of an entry, which errors call `name`.
pub fn unpack<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    index: usize,
    name: &str,
    limit_mib: u64,
) -> Result<Vec<u8>, DataError> {
    read_limited(entry(zip, index, name)?, name, limit_mib, |error| match error.downcast::<ZipError>() {
        Ok(error) => unreadable(name, &error),
        Err(error) => damaged(name, &error),
    })
}

/// An entry, which errors call `name`, to be read.
pub fn entry<'a, R: Read + Seek>(
    zip: &'a mut ZipArchive<R>,
    index: usize,
    name: &str,
) -> Result<ZipFile<'a, R>, DataError> {
    zip.by_index(index).map_err(|error| unreadable(name, &error))
}

/// What is wrong with a zip: it is damaged, or it is packed in a way that others can unpack.
fn unreadable(file: &str, error: &ZipError) -> DataError {
    let how = match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword => "encrypted".to_owned(),
        ZipError::CompressionMethodNotSupported(method) => format!("packed with {}", method_name(*method)),
        ZipError::UnsupportedArchive(reason) => format!("packed in an unusual way ({reason})"),
        error => return damaged(file, error),
    };
    DataError::Packing { file: file.into(), how }
}

/// What the numbers of the zip format stand for.
fn method_name(method: u16) -> String {
    match method {
        9 => "Deflate64".to_owned(),
        12 => "bzip2".to_owned(),
        14 => "LZMA".to_owned(),
        20 | 93 => "Zstandard".to_owned(),
        95 => "XZ".to_owned(),
        98 => "PPMd".to_owned(),
        99 => "AES encryption".to_owned(),
        other => format!("method {other}"),
    }
}

fn damaged(file: &str, error: &dyn std::error::Error) -> DataError {
    DataError::Zip { file: file.into(), reason: error.to_string() }
}
