//! The UCI HAR data set as users have it: the folder `UCI HAR Dataset`, the zip of that name, the zip of the
//! UCI repository, which holds that zip, or a folder that holds one of these up to two folders below.
//!
//! Read are the nine `Inertial Signals`, labels and subjects of `train/` and `test/`; the 561
//! ready-made features (`X_*.txt`) are not. Sizes are limited while unpacking, so a hostile zip
//! cannot exhaust memory.

use super::{CHANNEL_NAMES, CHANNELS, CLASSES, SUBJECTS, WINDOW, Windows};
use crate::data::archive;
use crate::data::files::is_shadow;
use crate::data::recordings::Files;
use crate::data::text::{excerpt, plain, visible};
use crate::data::{DataError, Dataset};
use std::borrow::Cow;
use std::io::{Cursor, Read, Seek};
use zip::ZipArchive;

const PARTS: [&str; 2] = ["train", "test"];
const SIGNALS: &str = "Inertial Signals";
/// The name that the folder and, with its ending, the zip were published under.
const PUBLISHED: &str = "UCI HAR Dataset";
/// The largest genuine file we read has 15 MB.
const FILE_LIMIT_MIB: u64 = 32;
/// The genuine `UCI HAR Dataset.zip` has 61 MB.
const ZIP_LIMIT_MIB: u64 = 256;
/// Genuine accelerations are below 20 g and turns below 40 rad/s, in whatever unit.
const SIGNAL_LIMIT: f32 = 1e6;

/// Gives a file by its path below the data set's root, or nothing if it does not exist.
type Reader<'a> = dyn FnMut(&str) -> Result<Option<Vec<u8>>, DataError> + 'a;

/// Reads the data set from a zip's bytes; `name` is what it and errors call it.
pub fn from_zip(name: &str, bytes: &[u8]) -> Result<Dataset, DataError> {
    from_archive(name, Cursor::new(bytes))?.dataset(name, false)
}

/// Reads the data set from files as a page is given them, zipped or a folder; nothing where they are none of its.
pub fn from_files(files: &mut Files) -> Result<Option<Dataset>, DataError> {
    let (name, names) = (files.name().to_owned(), files.paths().map(str::to_owned).collect::<Vec<_>>());
    let Some(root) = root(&name, &names)? else { return Ok(None) };
    let place = format!("{name}/{root}");
    let read = &mut |file: &str| {
        let path = format!("{root}{file}");
        let at = names.iter().position(|entry| entry.eq_ignore_ascii_case(&path));
        at.map(|at| files.bytes(at, FILE_LIMIT_MIB)).transpose()
    };
    windows(place.trim_end_matches('/'), read)?.dataset(&name, false).map(Some)
}

fn from_archive(name: &str, file: impl Read + Seek) -> Result<Windows, DataError> {
    let mut zip = open(name, file)?;
    let names = archive::names(name, &zip)?;
    if let Some(root) = root(name, &names)? {
        return from_entries(name, &mut zip, &names, &root);
    }
    let mut packed: Vec<usize> = (0..names.len()).filter(|&at| is_zip(&names[at]) && !is_shadow(&names[at])).collect();
    if packed.iter().any(|&at| is_published_zip(&names[at])) {
        packed.retain(|&at| is_published_zip(&names[at]));
    }
    let mut found = vec![];
    let mut problem = None;
    for &at in &packed {
        match from_inner(&format!("{name}/{}", names[at]), &mut zip, at) {
            Ok(windows) => found.push((names[at].clone(), windows)),
            // Of several zips only one need be the data set.
            Err(DataError::WrongFolders { .. }) if packed.len() > 1 => {}
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    match the_one(name, found, |(path, _)| path.clone(), PUBLISHED)? {
        Some((_, windows)) => Ok(windows),
        None => Err(problem.unwrap_or_else(|| wrong_folders(name, &names))),
    }
}

/// Reads the data set from a zip inside a zip.
fn from_inner<R: Read + Seek>(name: &str, zip: &mut ZipArchive<R>, index: usize) -> Result<Windows, DataError> {
    let bytes = archive::unpack(zip, index, name, ZIP_LIMIT_MIB)?;
    let mut inner = open(name, Cursor::new(bytes))?;
    let names = archive::names(name, &inner)?;
    let root = root(name, &names)?.ok_or_else(|| wrong_folders(name, &names))?;
    from_entries(name, &mut inner, &names, &root)
}

fn open<R: Read + Seek>(name: &str, mut file: R) -> Result<ZipArchive<R>, DataError> {
    const HEAD: u64 = 512;
    let mut head = vec![];
    let failed = |reason| DataError::Read { path: name.into(), reason };
    file.by_ref().take(HEAD).read_to_end(&mut head).and_then(|_| file.rewind()).map_err(failed)?;
    if !head.starts_with(b"PK") {
        return Err(DataError::UnknownFormat { place: name.into(), kind: kind(&head) });
    }
    archive::open(name, file)
}

/// What a file is that is no zip, by its first bytes.
fn kind(head: &[u8]) -> &'static str {
    const KINDS: [(usize, &[u8], &str); 8] = [
        (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it and give the folder; "),
        (0, b"Rar!", "a RAR archive: unpack it and give the folder; "),
        (0, b"\x1f\x8b", "packed with gzip: unpack it and give the folder; "),
        (0, b"\xfd7zXZ", "packed with xz: unpack it and give the folder; "),
        (0, b"BZh", "packed with bzip2: unpack it and give the folder; "),
        (0, b"\x28\xb5\x2f\xfd", "packed with Zstandard: unpack it and give the folder; "),
        (257, b"ustar", "a tar archive: unpack it and give the folder; "),
        (0, b"<", "a web page, not the file that was to be downloaded; "),
    ];
    let found = KINDS.iter().find(|(at, magic, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    found.map_or("", |(_, _, kind)| kind)
}

fn from_entries<R: Read + Seek>(
    place: &str,
    zip: &mut ZipArchive<R>,
    names: &[String],
    root: &str,
) -> Result<Windows, DataError> {
    let place = format!("{place}/{root}");
    let place = place.trim_end_matches('/');
    windows(place, &mut |file| {
        let path = format!("{root}{file}");
        let index = names.iter().position(|entry| entry.eq_ignore_ascii_case(&path));
        index.map(|i| archive::unpack(zip, i, &format!("{place}/{file}"), FILE_LIMIT_MIB)).transpose()
    })
}

fn is_zip(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".zip")
}

fn is_published_zip(path: &str) -> bool {
    let stem = path.rsplit('/').next().and_then(|name| name.get(..name.len().checked_sub(4)?));
    is_zip(path) && stem.is_some_and(|stem| stem.eq_ignore_ascii_case(PUBLISHED))
}

/// The files that make a data set, by their paths below its root.
fn expected() -> impl Iterator<Item = String> {
    PARTS.into_iter().flat_map(|part| {
        let signals = CHANNEL_NAMES.map(|channel| signal_file(part, channel));
        signals.into_iter().chain([label_file(part), subject_file(part)])
    })
}

fn signal_file(part: &str, channel: &str) -> String {
    format!("{part}/{SIGNALS}/{channel}_{part}.txt")
}

fn label_file(part: &str) -> String {
    format!("{part}/y_{part}.txt")
}

fn subject_file(part: &str) -> String {
    format!("{part}/subject_{part}.txt")
}

/// What stands before the expected paths, where these lie highest: `UCI HAR Dataset/` in the original zip.
fn root(place: &str, names: &[String]) -> Result<Option<String>, DataError> {
    let files: Vec<String> = expected().map(|file| file.to_ascii_lowercase()).collect();
    let root_in = |entry: &str| {
        let lower = entry.to_ascii_lowercase();
        let file = files.iter().find(|file| lower.ends_with(file.as_str()))?;
        let root = &entry[..entry.len() - file.len()];
        (root.is_empty() || root.ends_with('/')).then(|| root.to_owned())
    };
    let mut roots: Vec<String> = names.iter().filter(|entry| !is_shadow(entry)).filter_map(|e| root_in(e)).collect();
    let depth = |root: &String| root.matches('/').count();
    let highest = roots.iter().map(depth).min();
    roots.retain(|root| Some(depth(root)) == highest);
    roots.sort();
    roots.dedup();
    the_one(place, roots, |root| root.trim_end_matches('/').to_owned(), PUBLISHED)
}

/// The only one of several places, or the one that has the published name.
fn the_one<T>(
    place: &str,
    mut found: Vec<T>,
    path: impl Fn(&T) -> String,
    published: &str,
) -> Result<Option<T>, DataError> {
    if found.len() > 1 {
        let last = |path: String| path.rsplit('/').next().unwrap_or_default().to_owned();
        match found.iter().filter(|one| last(path(one)) == published).count() {
            1 => found.retain(|one| last(path(one)) == published),
            _ => {
                let found = listed(&found.iter().map(&path).collect::<Vec<_>>());
                return Err(DataError::SeveralSets { place: place.into(), found });
            }
        }
    }
    Ok(found.pop())
}

/// The first few of many names.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut found: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{}`", visible(name))).collect();
    match names.len() {
        0 => found.push("nothing".into()),
        n if n > SHOWN => found.push(format!("and {} more", n - SHOWN)),
        _ => {}
    }
    found.join(", ")
}

fn wrong_folders(place: &str, names: &[String]) -> DataError {
    DataError::WrongFolders { place: place.into(), found: listed(names) }
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
    let labels = labels_file.whole_numbers(CLASSES as u32, |file, line, text, largest| DataError::Label {
        file,
        line,
        text,
        largest,
    })?;
    let subjects_file = read(subject_file(part))?;
    subjects_file.check_lines(labels.len(), &labels_file)?;
    let subjects = subjects_file.whole_numbers(SUBJECTS, |file, line, text, largest| DataError::Subject {
        file,
        line,
        text,
        largest,
    })?;
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
    Ok(Windows { x, labels: labels.into_iter().map(|label| label - 1).collect(), subjects })
}

/// A text file of numbers.
struct Table {
    name: String,
    bytes: Vec<u8>,
}

impl Table {
    fn new(name: String, bytes: Vec<u8>) -> Result<Table, DataError> {
        let bytes = plain(bytes).map_err(|problem| DataError::NoText { file: name.clone(), problem })?;
        if bytes.trim_ascii().is_empty() {
            return Err(DataError::EmptyFile { file: name });
        }
        Ok(Table { name, bytes })
    }

    /// The lines, without the empty ones at the end. What is not UTF-8 is replaced, and then is no number.
    fn lines(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.bytes.trim_ascii_end().split(|&byte| byte == b'\n').map(String::from_utf8_lossy)
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

    /// One whole number from 1 to `largest` a line, however it is written: `1`, `1.0`, `1.0000000e+00`.
    fn whole_numbers(
        &self,
        largest: u32,
        wrong: fn(String, usize, String, u32) -> DataError,
    ) -> Result<Vec<u32>, DataError> {
        let number = |(line, text): (usize, Cow<str>)| {
            let text = text.trim();
            let number = text.parse::<f64>().ok().filter(|number| number.fract() == 0.0);
            number
                .filter(|number| (1.0..=f64::from(largest)).contains(number))
                .map(|number| number as u32)
                .ok_or_else(|| wrong(self.name.clone(), line + 1, excerpt(text), largest))
        };
        self.lines().enumerate().map(number).collect()
    }

    /// [`WINDOW`] numbers within [`SIGNAL_LIMIT`] a line.
    fn signal(&self) -> Result<Vec<f32>, DataError> {
        let mut values = Vec::new();
        for (line, text) in self.lines().enumerate() {
            let before = values.len();
            for (column, text) in text.split_whitespace().enumerate() {
                let wrong = || (self.name.clone(), line + 1, column + 1, excerpt(text));
                let value = text.parse().ok().filter(|value: &f32| value.is_finite()).ok_or_else(|| {
                    let (file, line, column, text) = wrong();
                    DataError::Number { file, line, column, text }
                })?;
                if value.abs() > SIGNAL_LIMIT {
                    let (file, line, column, text) = wrong();
                    return Err(DataError::Signal { file, line, column, text, limit: SIGNAL_LIMIT });
                }
                values.push(value);
            }
            let found = values.len() - before;
            if found != WINDOW {
                return Err(DataError::Columns { file: self.name.clone(), line: line + 1, found, wanted: WINDOW });
            }
        }
        Ok(values)
    }
}

/// The data set in the file system.
#[cfg(not(target_arch = "wasm32"))]
mod paths {
    use super::*;
    use crate::data::files::{self, DEPTH};
    use std::io::BufReader;
    use std::path::{Path, PathBuf};

    /// A folder in which a data set lies, with the files of the set by their paths below it.
    struct Set {
        folder: PathBuf,
        files: Vec<(String, PathBuf)>,
    }

    /// Reads the data set from a zip, or from a folder that is or holds it, packed or not, up to two folders below.
    pub fn from_path(path: &Path) -> Result<Dataset, DataError> {
        let place = path.display().to_string();
        let failed = |reason| DataError::Read { path: place.clone(), reason };
        if !std::fs::metadata(path).map_err(failed)?.is_dir() {
            return from_zip_file(path);
        }
        for level in 0..=DEPTH {
            let sets = files::folders(path, level).into_iter().filter_map(Set::at).collect();
            if let Some(set) = the_one(&place, sets, |set: &Set| shown(&set.folder), PUBLISHED)? {
                return set.read();
            }
        }
        let zips_at = |level: usize| -> Vec<PathBuf> {
            let others = files::folders(path, level).into_iter().flat_map(|folder| files::entries(&folder).1);
            others.filter(|path| is_zip(&files::name(path))).collect()
        };
        for level in 0..=DEPTH {
            let zips = zips_at(level).into_iter().filter(|zip| may_hold(zip)).collect();
            if let Some(zip) = the_one(&place, zips, |zip: &PathBuf| shown(zip), &format!("{PUBLISHED}.zip"))? {
                return from_zip_file(&zip);
            }
        }
        if let [alone] = &zips_at(0)[..] {
            // It is what was meant, and what is wrong with it is worth to know.
            return from_zip_file(alone);
        }
        std::fs::read_dir(path).map_err(failed)?;
        let (folders, others) = files::entries(path);
        let mut names: Vec<String> = folders.iter().chain(&others).map(|path| files::name(path)).collect();
        names.sort();
        Err(wrong_folders(&place, &names))
    }

    fn shown(path: &Path) -> String {
        path.display().to_string().replace(std::path::MAIN_SEPARATOR, "/")
    }

    fn from_zip_file(path: &Path) -> Result<Dataset, DataError> {
        let place = path.display().to_string();
        let file = files::open(path)?
            .ok_or_else(|| DataError::Read { path: place.clone(), reason: std::io::ErrorKind::NotFound.into() })?;
        named(from_archive(&place, BufReader::new(file))?, path)
    }

    /// Whether a zip holds the data set, or the published zip in which it may be.
    fn may_hold(path: &Path) -> bool {
        let Ok(Some(file)) = files::open(path) else { return false };
        let place = path.display().to_string();
        let names = open(&place, BufReader::new(file)).and_then(|zip| archive::names(&place, &zip));
        names.is_ok_and(|names| {
            names.iter().any(|name| is_published_zip(name)) || !matches!(root(&place, &names), Ok(None))
        })
    }

    fn named(windows: Windows, place: &Path) -> Result<Dataset, DataError> {
        windows.dataset(format!("UCI HAR, {}", place.display()), false)
    }

    impl Set {
        /// The set whose `train` and `test` lie in this very folder.
        fn at(folder: PathBuf) -> Option<Set> {
            let is =
                |path: &Path, names: &[&str]| names.iter().any(|name| files::name(path).eq_ignore_ascii_case(name));
            let parts: Vec<PathBuf> = files::entries(&folder).0.into_iter().filter(|path| is(path, &PARTS)).collect();
            let mut found = vec![];
            for part in &parts {
                let (folders, others) = files::entries(part);
                found.extend(others);
                found
                    .extend(folders.iter().filter(|path| is(path, &[SIGNALS])).flat_map(|path| files::entries(path).1));
            }
            let below = |path: PathBuf| Some((shown(path.strip_prefix(&folder).ok()?), path));
            let files: Vec<(String, PathBuf)> = found.into_iter().filter_map(below).collect();
            let is_ours = |name: &str| expected().any(|file| file.eq_ignore_ascii_case(name));
            files.iter().any(|(name, _)| is_ours(name)).then_some(Set { folder, files })
        }

        fn read(&self) -> Result<Dataset, DataError> {
            let read = &mut |file: &str| {
                let found = self.files.iter().find(|(name, _)| name.eq_ignore_ascii_case(file));
                found.map_or(Ok(None), |(_, path)| files::read(path, FILE_LIMIT_MIB))
            };
            named(windows(&self.folder.display().to_string(), read)?, &self.folder)
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub use paths::from_path;
