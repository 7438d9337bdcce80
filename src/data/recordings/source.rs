//! Files as people hand them over: one, a folder, a zip, zips within zips, or what was dropped onto a page.

use std::io::{Cursor, Read};
use std::rc::Rc;

use zip::ZipArchive;

use crate::data::files::is_shadow;
use crate::data::{DataError, archive};

/// Zips within zips are opened so deep.
const NESTED: usize = 3;
/// A zip within a zip is unpacked to memory.
const INNER_LIMIT_MIB: u64 = 1024;
/// A file unpacks to no more; larger ones are read from a folder.
const UNPACKED_LIMIT_MIB: u64 = 4096;

/// Something that can be read and gone back in.
pub trait Seekable: Read + std::io::Seek {}
impl<T: Read + std::io::Seek> Seekable for T {}

/// A file that is read as often as it is asked for.
pub trait Openable {
    /// The file from its beginning.
    ///
    /// # Errors
    ///
    /// Where it cannot be read any more.
    fn open(&self) -> std::io::Result<Box<dyn Seekable>>;
}

impl Openable for Rc<[u8]> {
    fn open(&self) -> std::io::Result<Box<dyn Seekable>> {
        Ok(Box::new(Cursor::new(self.clone())))
    }
}

/// Where a file's bytes are.
enum Place {
    #[cfg(not(target_arch = "wasm32"))]
    Disk(std::path::PathBuf),
    Given(Box<dyn Openable>),
    Zip {
        zip: usize,
        entry: usize,
    },
}

/// Files by their paths, in order of these; folders are separated by `/`.
pub struct Files {
    /// What was given, for people.
    name: String,
    files: Vec<(String, Place)>,
    zips: Vec<ZipArchive<Box<dyn Seekable>>>,
}

impl Files {
    /// Files by their paths; zips among them are opened.
    pub fn of(name: &str, given: impl IntoIterator<Item = (String, Box<dyn Openable>)>) -> Result<Files, DataError> {
        let mut files = Files { name: name.to_owned(), files: vec![], zips: vec![] };
        for (path, file) in given {
            let failed = |reason| DataError::Read { path: path.clone(), reason };
            let mut opened = file.open().map_err(failed)?;
            let mut head = vec![];
            opened.by_ref().take(4).read_to_end(&mut head).and_then(|_| opened.rewind()).map_err(failed)?;
            // Workbooks are zips, too.
            if is_zip(&path) || head == b"PK\x03\x04" && other_form(&path).is_none() {
                files.open_zip(&path, opened, 0)?;
            } else {
                files.add(path, Place::Given(file));
            }
        }
        files.sorted()
    }

    /// Files that are in memory.
    pub fn of_bytes(name: &str, given: Vec<(String, Vec<u8>)>) -> Result<Files, DataError> {
        let openable = |bytes: Vec<u8>| Box::new(Rc::<[u8]>::from(bytes)) as Box<dyn Openable>;
        Files::of(name, given.into_iter().map(|(path, bytes)| (path, openable(bytes))))
    }

    /// A file, a zip, or a folder with either, in it and below.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn of_path(path: &std::path::Path) -> Result<Files, DataError> {
        let name = path.display().to_string();
        let mut files = Files { name: name.clone(), files: vec![], zips: vec![] };
        let failed = |reason| DataError::Read { path: name.clone(), reason };
        if std::fs::metadata(path).map_err(failed)?.is_dir() {
            files.walk(path, "")?;
        } else {
            files.take(path, crate::data::files::name(path))?;
        }
        files.sorted()
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn walk(&mut self, folder: &std::path::Path, below: &str) -> Result<(), DataError> {
        /// Links could go in a circle.
        const DEEPEST: usize = 12;
        if below.matches('/').count() > DEEPEST {
            return Ok(());
        }
        let (folders, others) = crate::data::files::entries(folder);
        let inside = |path: &std::path::Path| format!("{below}{}", crate::data::files::name(path));
        for file in others {
            self.take(&file, inside(&file))?;
        }
        folders.iter().try_for_each(|folder| self.walk(folder, &format!("{}/", inside(folder))))
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn take(&mut self, path: &std::path::Path, name: String) -> Result<(), DataError> {
        if !is_zip(&name) {
            self.add(name, Place::Disk(path.to_owned()));
            return Ok(());
        }
        match crate::data::files::open(path)? {
            Some(file) => self.open_zip(&name, Box::new(std::io::BufReader::new(file)), 0),
            None => Ok(()),
        }
    }

    fn add(&mut self, path: String, place: Place) {
        if !is_shadow(&path) && !path.split('/').any(|part| part.starts_with('.')) {
            self.files.push((path, place));
        }
    }

    fn open_zip(&mut self, path: &str, file: Box<dyn Seekable>, depth: usize) -> Result<(), DataError> {
        let zip = archive::open(path, file)?;
        let names = archive::names(path, &zip)?;
        let at = self.zips.len();
        self.zips.push(zip);
        let within = path.get(..path.len().saturating_sub(4)).filter(|_| is_zip(path)).unwrap_or(path).to_owned();
        for (entry, name) in names.into_iter().enumerate() {
            if name.ends_with('/') || is_shadow(&name) {
                continue;
            }
            let inside = format!("{within}/{name}");
            if is_zip(&name) && depth < NESTED {
                let bytes = archive::unpack(&mut self.zips[at], entry, &inside, INNER_LIMIT_MIB)?;
                self.open_zip(&inside, Box::new(Cursor::new(bytes)), depth + 1)?;
            } else {
                self.add(inside, Place::Zip { zip: at, entry });
            }
        }
        Ok(())
    }

    fn sorted(mut self) -> Result<Files, DataError> {
        self.files.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(self)
    }

    /// What was given, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(path, _)| &**path)
    }

    /// A file by its place among the paths.
    pub fn open(&mut self, at: usize) -> Result<Box<dyn Read + '_>, DataError> {
        let (path, place) = &self.files[at];
        match place {
            #[cfg(not(target_arch = "wasm32"))]
            Place::Disk(file) => match crate::data::files::open(file)? {
                Some(file) => Ok(Box::new(file)),
                None => Err(DataError::Read { path: path.clone(), reason: std::io::ErrorKind::NotFound.into() }),
            },
            Place::Given(file) => match file.open() {
                Ok(file) => Ok(Box::new(file)),
                Err(reason) => Err(DataError::Read { path: path.clone(), reason }),
            },
            &Place::Zip { zip, entry } => {
                let entry = archive::entry(&mut self.zips[zip], entry, path)?;
                Ok(Box::new(entry.take(UNPACKED_LIMIT_MIB << 20)))
            }
        }
    }

    /// The whole of a file that is no larger than that.
    pub fn bytes(&mut self, at: usize, limit_mib: u64) -> Result<Vec<u8>, DataError> {
        let path = self.files[at].0.clone();
        let failed = |reason| DataError::Read { path: path.clone(), reason };
        crate::data::files::read_limited(self.open(at)?, &path, limit_mib, failed)
    }

    /// The whole of a small text file.
    pub fn text(&mut self, at: usize, limit_mib: u64) -> Result<String, DataError> {
        let path = self.files[at].0.clone();
        let bytes = self.bytes(at, limit_mib)?;
        let bytes =
            crate::data::text::plain(bytes).map_err(|problem| DataError::NoText { file: path.clone(), problem })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn is_zip(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".zip")
}

/// What a file is that may hold a table in another form, by its ending, and how to get it out of there.
pub fn other_form(path: &str) -> Option<(&'static str, &'static str)> {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    Some(match &*ending.to_ascii_lowercase() {
        "xlsx" | "xls" | "xlsm" | "ods" | "numbers" => {
            ("a workbook", "open it in a spreadsheet program, export each sheet as CSV, and give that")
        }
        "gz" | "tgz" | "bz2" | "xz" | "zst" | "7z" | "rar" | "tar" => {
            ("an archive other than zip", "unpack it, and give the files or the folder")
        }
        "json" | "jsonl" | "ndjson" | "xml" => ("structured text", "export it as CSV, a row for each sample"),
        "parquet" | "feather" | "h5" | "hdf5" | "mat" | "npy" | "npz" | "pkl" | "pickle" | "sqlite" | "db" => {
            ("a binary table", "write it as CSV, such as with `to_csv` of pandas")
        }
        _ => return None,
    })
}
