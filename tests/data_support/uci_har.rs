//! A copy of UCI HAR of a few lines, to be damaged.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;

use stackelberg::data::har::{self, WINDOW, uci_har};
use stackelberg::data::{DataError, Dataset};
use zip::{ZipWriter, write::SimpleFileOptions};

pub const CHANNELS: usize = 9;
pub const ROWS: usize = 3;
pub const BODY_ACC_Y: &str = "UCI HAR Dataset/train/Inertial Signals/body_acc_y_train.txt";
pub const LABELS: &str = "UCI HAR Dataset/train/y_train.txt";
pub const SUBJECTS: &str = "UCI HAR Dataset/test/subject_test.txt";

pub type Files = BTreeMap<String, Vec<u8>>;

/// A tiny data set, written like the original one: subjects 1, 3, 5 to train and 2, 4, 9 to test on.
pub fn files() -> Files {
    let mut files = Files::new();
    for (part, subjects) in [("train", "1\n3\n5\n"), ("test", "2\n4\n9\n")] {
        let mut put = |name: String, text: String| {
            files.insert(format!("UCI HAR Dataset/{part}/{name}_{part}.txt"), text.into_bytes())
        };
        put("subject".into(), subjects.into());
        put("y".into(), "5\n1\n6\n".into());
        put("X".into(), "not read".into());
        for channel in har::CHANNEL_NAMES {
            put(format!("Inertial Signals/{channel}"), signal(|row, t| (row * WINDOW + t) as f64 / 1e3));
        }
    }
    files
}

/// Fixed columns of 16 characters, exponents of three digits, and CR LF.
pub fn signal(value: impl Fn(usize, usize) -> f64) -> String {
    let number = |value: f64| {
        let text = format!("{value:.7e}");
        let (mantissa, exponent) = text.split_once('e').unwrap();
        let exponent: i32 = exponent.parse().unwrap();
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{:>16}", format!("{mantissa}e{sign}{:03}", exponent.abs()))
    };
    let row = |row| (0..WINDOW).map(|t| number(value(row, t))).collect::<String>() + "\r\n";
    (0..ROWS).map(row).collect()
}

/// Writes the files below a folder.
pub fn lay(folder: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

pub fn zipped(files: &Files) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The data without their name, which says where they lie.
pub fn from_zip(name: &str, bytes: &[u8]) -> Result<Dataset, DataError> {
    Ok(uci_har::from_zip(name, bytes)?.named(""))
}

pub fn read(files: &Files) -> Result<Dataset, DataError> {
    from_zip("my.zip", &zipped(files))
}

/// The error after `change`.
pub fn error(change: impl FnOnce(&mut Files)) -> String {
    let mut files = files();
    change(&mut files);
    read(&files).expect_err("damaged data must not be read").to_string()
}

/// The error after the text of one file was changed.
pub fn error_in(file: &str, change: impl FnOnce(String) -> String) -> String {
    error(|files| {
        let text = String::from_utf8(files.remove(file).unwrap()).unwrap();
        files.insert(file.into(), change(text).into_bytes());
    })
}

pub fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{message}` does not say `{part}`");
    }
}
