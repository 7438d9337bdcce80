//! The UCI HAR data set as users have it: the folder `UCI HAR Dataset`, the zip of that name, or the
//! zip of the UCI repository, which holds that zip.
//!
//! Read are the nine `Inertial Signals`, labels and subjects of `train/` and `test/`; the 561
//! ready-made features (`X_*.txt`) are not. Sizes are limited while unpacking, so a hostile zip
//! cannot exhaust memory.

use super::{CHANNEL_NAMES, CHANNELS, CLASSES, DataError, SUBJECTS, WINDOW, Windows};
use std::io::{Cursor, Read};
use zip::ZipArchive;

const PARTS: [&str; 2] = ["train", "test"];
/// The largest genuine file we read has 15 MB.
const FILE_LIMIT_MIB: u64 = 32;
/// The genuine `UCI HAR Dataset.zip` has 61 MB.
const ZIP_LIMIT_MIB: u64 = 256;
/// Genuine accelerations are below 20 g and turns below 40 rad/s, in whatever unit.
pub(super) const SIGNAL_LIMIT: f32 = 1e6;
/// How much of a wrong text or listing an error repeats.
const EXCERPT: usize = 40;

/// Gives a file by its path below the data set's root, or nothing if it does not exist.
type Reader<'a> = dyn FnMut(&str) -> Result<Option<Vec<u8>>, DataError> + 'a;

/// Reads the data set from a zip's bytes; `name` is what errors call it.
pub fn from_zip(name: &str, bytes: &[u8]) -> Result<Windows, DataError> {
    let mut zip = open(name, bytes)?;
    let names = names(name, &zip)?;
    let nested = names.iter().position(|entry| entry.to_lowercase().ends_with(".zip"));
    match (root(&names), nested) {
        (Some(root), _) => from_entries(name, &mut zip, &names, &root),
        (None, Some(index)) => {
            let name = format!("{name}/{}", names[index]);
            let bytes = unpack(&mut zip, index, &name, ZIP_LIMIT_MIB)?;
            let mut inner = open(&name, &bytes)?;
            let names = self::names(&name, &inner)?;
            let root = root(&names).ok_or_else(|| wrong_folders(&name, &names))?;
            from_entries(&name, &mut inner, &names, &root)
        }
        (None, None) => Err(wrong_folders(name, &names)),
    }
}

/// Reads the data set from a folder (`UCI HAR Dataset`, or the folder that holds it or its zip) or
/// from a zip.
#[cfg(not(target_arch = "wasm32"))]
pub fn from_path(path: &std::path::Path) -> Result<Windows, DataError> {
    const FOLDER: &str = "UCI HAR Dataset";
    let place = path.display().to_string();
    let failed = |reason| DataError::Read { path: path.display().to_string(), reason };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        let bytes = read_file(path, ZIP_LIMIT_MIB)?;
        return from_zip(&place, &bytes.unwrap_or_default());
    }
    let holds_data = |folder: &std::path::Path| expected().any(|file| folder.join(file).is_file());
    let below = path.join(FOLDER);
    if let Some(folder) = [path, &below].into_iter().find(|folder| holds_data(folder)) {
        let read = &mut |file: &str| read_file(&folder.join(file), FILE_LIMIT_MIB);
        return windows(&folder.display().to_string(), read);
    }
    let zip = path.join(format!("{FOLDER}.zip"));
    if zip.is_file() {
        return from_path(&zip);
    }
    let entries = std::fs::read_dir(path).map_err(failed)?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Err(wrong_folders(&place, &names))
}

#[cfg(not(target_arch = "wasm32"))]
fn read_file(path: &std::path::Path, limit_mib: u64) -> Result<Option<Vec<u8>>, DataError> {
    let name = path.display().to_string();
    let failed = |reason| DataError::Read { path: path.display().to_string(), reason };
    match std::fs::File::open(path) {
        Ok(file) => read_limited(file, &name, limit_mib, failed).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn read_limited(
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

type Zip<'a> = ZipArchive<Cursor<&'a [u8]>>;

fn open<'a>(name: &str, bytes: &'a [u8]) -> Result<Zip<'a>, DataError> {
    if !bytes.starts_with(b"PK") {
        return Err(DataError::UnknownFormat { place: name.into() });
    }
    ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(name, &error))
}

/// All entries, by index.
fn names(name: &str, zip: &Zip) -> Result<Vec<String>, DataError> {
    let names = zip.file_names().map(|entry| Ok(entry.map_err(|e| damaged(name, &e))?.replace('\\', "/")));
    names.collect()
}

fn unpack(zip: &mut Zip, index: usize, name: &str, limit_mib: u64) -> Result<Vec<u8>, DataError> {
    let entry = zip.by_index(index).map_err(|error| damaged(name, &error))?;
    read_limited(entry, name, limit_mib, |error| damaged(name, &error))
}

fn damaged(file: &str, error: &dyn std::error::Error) -> DataError {
    DataError::Zip { file: file.into(), reason: error.to_string() }
}

fn from_entries(place: &str, zip: &mut Zip, names: &[String], root: &str) -> Result<Windows, DataError> {
    let place = format!("{place}/{root}");
    let place = place.trim_end_matches('/');
    windows(place, &mut |file| {
        let path = format!("{root}{file}");
        let index = names.iter().position(|entry| *entry == path);
        index.map(|i| unpack(zip, i, &format!("{place}/{file}"), FILE_LIMIT_MIB)).transpose()
    })
}

/// The files that make a data set, by their paths below its root.
fn expected() -> impl Iterator<Item = String> {
    PARTS.into_iter().flat_map(|part| {
        let signals = CHANNEL_NAMES.map(|channel| signal_file(part, channel));
        signals.into_iter().chain([label_file(part), subject_file(part)])
    })
}

fn signal_file(part: &str, channel: &str) -> String {
    format!("{part}/Inertial Signals/{channel}_{part}.txt")
}

fn label_file(part: &str) -> String {
    format!("{part}/y_{part}.txt")
}

fn subject_file(part: &str) -> String {
    format!("{part}/subject_{part}.txt")
}

/// What stands before the expected paths: `UCI HAR Dataset/` in the original zip.
fn root(names: &[String]) -> Option<String> {
    let files: Vec<String> = expected().collect();
    let root_in = |entry: &str| {
        let root = files.iter().find_map(|file| entry.strip_suffix(file.as_str()))?;
        (root.is_empty() || root.ends_with('/')).then(|| root.to_string())
    };
    // macOS adds a shadow of every file.
    let genuine = names.iter().filter(|entry| !entry.starts_with("__MACOSX/"));
    genuine.filter_map(|entry| root_in(entry)).min_by_key(String::len)
}

fn wrong_folders(place: &str, names: &[String]) -> DataError {
    const SHOWN: usize = 8;
    let mut found: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => found.push("nothing".into()),
        n if n > SHOWN => found.push(format!("and {} more", n - SHOWN)),
        _ => {}
    }
    DataError::WrongFolders { place: place.into(), found: found.join(", ") }
}

/// Both parts, train first, as the published order has it.
fn windows(place: &str, read: &mut Reader) -> Result<Windows, DataError> {
    let mut all = Windows::default();
    for part in PARTS {
        all.append(part_windows(part, &mut |file| {
            let bytes = read(&file)?;
            let bytes = bytes.ok_or_else(|| DataError::MissingFile { place: place.into(), file: file.clone() })?;
            Table::new(format!("{place}/{file}"), bytes)
        })?);
    }
    Ok(all)
}

fn part_windows(part: &str, read: &mut dyn FnMut(String) -> Result<Table, DataError>) -> Result<Windows, DataError> {
    let labels_file = read(label_file(part))?;
    let labels = labels_file.whole_numbers(CLASSES as u32, |file, line, text| DataError::Label { file, line, text })?;
    let subjects_file = read(subject_file(part))?;
    subjects_file.check_lines(labels.len(), &labels_file)?;
    let subjects = subjects_file.whole_numbers(SUBJECTS, |file, line, text| DataError::Subject { file, line, text })?;
    let mut x = Vec::new();
    for (channel, name) in CHANNEL_NAMES.into_iter().enumerate() {
        let file = read(signal_file(part, name))?;
        file.check_lines(labels.len(), &labels_file)?;
        let values = file.signal()?;
        x.resize(values.len() * CHANNELS, 0.0);
        for (row, value) in x.chunks_exact_mut(CHANNELS).zip(values) {
            row[channel] = value;
        }
    }
    Ok(Windows { x, labels: labels.into_iter().map(|label| label - 1).collect(), subjects, next: vec![] })
}

/// A text file of numbers.
struct Table {
    name: String,
    bytes: Vec<u8>,
}

impl Table {
    fn new(name: String, bytes: Vec<u8>) -> Result<Table, DataError> {
        if bytes.trim_ascii().is_empty() {
            return Err(DataError::EmptyFile { file: name });
        }
        Ok(Table { name, bytes })
    }

    /// The lines, without the empty ones at the end.
    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.trim_ascii_end().split(|&byte| byte == b'\n')
    }

    /// Whether this file has one line for each of the `lines` of `other`.
    fn check_lines(&self, lines: usize, other: &Table) -> Result<(), DataError> {
        let mine = self.lines().count();
        if mine == lines {
            return Ok(());
        }
        Err(DataError::LineCounts {
            file: self.name.clone(),
            lines: mine,
            other: other.name.clone(),
            other_lines: lines,
        })
    }

    /// One whole number from 1 to `largest` a line.
    fn whole_numbers(
        &self,
        largest: u32,
        wrong: fn(String, usize, String) -> DataError,
    ) -> Result<Vec<u32>, DataError> {
        let number = |(line, text): (usize, &[u8])| {
            let text = text.trim_ascii();
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            number
                .filter(|number| (1..=largest).contains(number))
                .ok_or_else(|| wrong(self.name.clone(), line + 1, excerpt(text)))
        };
        self.lines().enumerate().map(number).collect()
    }

    /// [`WINDOW`] numbers within [`SIGNAL_LIMIT`] a line.
    fn signal(&self) -> Result<Vec<f32>, DataError> {
        let mut values = Vec::new();
        for (line, text) in self.lines().enumerate() {
            let before = values.len();
            for (column, text) in text.split(u8::is_ascii_whitespace).filter(|text| !text.is_empty()).enumerate() {
                let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                let wrong = || (self.name.clone(), line + 1, column + 1, excerpt(text));
                let value = number.filter(|value: &f32| value.is_finite()).ok_or_else(|| {
                    let (file, line, column, text) = wrong();
                    DataError::Number { file, line, column, text }
                })?;
                if value.abs() > SIGNAL_LIMIT {
                    let (file, line, column, text) = wrong();
                    return Err(DataError::Signal { file, line, column, text });
                }
                values.push(value);
            }
            let found = values.len() - before;
            if found != WINDOW {
                return Err(DataError::Columns { file: self.name.clone(), line: line + 1, found });
            }
        }
        Ok(values)
    }
}

fn excerpt(text: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&text[..text.len().min(EXCERPT)]);
    if text.len() > EXCERPT { format!("{shown}…") } else { shown.into_owned() }
}
