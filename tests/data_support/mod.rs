//! The published data, for tests and for the encoder of the built-in copy.
#![allow(dead_code)] // each user needs a part of it

pub mod uci_har;

use flate2::read::GzDecoder;
use stackelberg::data::har::{HOP, builtin::Run, signal::SENSORS};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Where one number of a stored window is this much, by channel (g, rad/s, g).
pub const SCALES: [f32; 9] = {
    let (g, rad) = (1.0 / 8192.0, 1.0 / 4096.0);
    [g, g, g, rad, rad, rad, g, g, g]
};

/// `data/har` of the shared material, or nothing (said aloud) where that is absent.
pub fn har_folder() -> Option<PathBuf> {
    folder("har")
}

/// The folder of a data set in the shared material, or nothing (said aloud) where that is absent.
pub fn folder(name: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("STACKELBERG_SHARED").map(PathBuf::from);
    let places = named.into_iter().chain([here.join("../shared"), here.join("../../shared")]);
    let folder = places.map(|shared| shared.join("data").join(name)).find(|folder| folder.is_dir());
    if folder.is_none() {
        println!("SKIPPED: ../shared/data/{name} is absent; set STACKELBERG_SHARED to test with it");
    }
    folder
}

/// A gzipped array of NumPy's.
pub fn npy<T: npyz::Deserialize>(path: &Path) -> Vec<T> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let npy = npyz::NpyFile::new(BufReader::new(GzDecoder::new(file))).expect("an .npy file");
    npy.into_vec().expect("the array's type")
}

/// The published windows and where they come from.
pub struct Published {
    /// `[10299, 128, 9]`, to be multiplied by [`SCALES`].
    pub windows: Vec<i16>,
    /// 0..6.
    pub labels: Vec<u32>,
    /// 1..=30.
    pub subjects: Vec<u32>,
}

pub fn published(folder: &Path) -> Published {
    let labels: Vec<u8> = npy(&folder.join("uci_har_labels_u8.npy.gz"));
    let subjects: Vec<u8> = npy(&folder.join("uci_har_subjects_u8.npy.gz"));
    Published {
        windows: npy(&folder.join("uci_har_windows_i16.npy.gz")),
        labels: labels.iter().map(|&label| u32::from(label) - 1).collect(),
        subjects: subjects.iter().map(|&subject| u32::from(subject)).collect(),
    }
}

/// The raw recordings, in the order of `hapt_recordings.csv`.
pub fn recordings(folder: &Path) -> Vec<Vec<[i16; SENSORS]>> {
    let raw: Vec<i16> = npy(&folder.join("hapt_raw_i16.npy.gz"));
    let mut table = csv::Reader::from_path(folder.join("hapt_recordings.csv")).expect("the table");
    let rows = table.records().map(|row| {
        let row = row.expect("a row");
        let number = |column: usize| row[column].parse::<usize>().expect("a whole number");
        raw[number(3) * SENSORS..][..number(4) * SENSORS].as_chunks().0.to_vec()
    });
    rows.collect()
}

/// Recording and first sample of every published window.
pub fn places(folder: &Path) -> Vec<(usize, usize)> {
    let source: Vec<i32> = npy(&folder.join("uci_har_source_i32.npy.gz"));
    source.as_chunks().0.iter().map(|&[recording, first]| (recording as usize, first as usize)).collect()
}

/// The published windows of `subjects` as runs, in the published order.
pub fn runs<'a>(
    recordings: &'a [Vec<[i16; SENSORS]>],
    places: &[(usize, usize)],
    published: &Published,
    subjects: impl Fn(u32) -> bool,
) -> Vec<Run<'a>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut next = None;
    for (row, &(recording, first)) in places.iter().enumerate() {
        let (label, subject) = (published.labels[row] as u8, published.subjects[row]);
        if !subjects(subject) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if next == Some((recording, first)) && run.label == label => run.windows += 1,
            _ => runs.push(Run { recording: &recordings[recording], first, windows: 1, label, subject: subject as u8 }),
        }
        next = Some((recording, first + HOP));
    }
    runs
}
