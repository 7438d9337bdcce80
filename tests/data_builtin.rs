//! The built-in windows against the published ones and against the raw recordings.

mod data_support;

use data_support::SCALES;
use stackelberg::data::Dataset;
use stackelberg::data::har::{self, WINDOW, builtin, signal};

const CHANNELS: usize = 9;

/// The published windows are rounded to 16-bit integers; ours must lie within that rounding.
fn assert_published(ours: &Dataset, published: &data_support::Published) {
    assert_eq!(ours.labels(), published.labels);
    assert_eq!(ours.people(), published.subjects);
    assert_eq!(ours.values().len(), published.windows.len());
    let mut worst = [0.0f32; CHANNELS];
    for (i, (&value, &stored)) in ours.values().iter().zip(&published.windows).enumerate() {
        let c = i % CHANNELS;
        let error = (value - f32::from(stored) * SCALES[c]).abs();
        worst[c] = worst[c].max(error);
        assert!(
            error <= SCALES[c] / 2.0 + 1e-6,
            "window {}, sample {}, channel {c}: {value} against {stored} x {}",
            i / CHANNELS / WINDOW,
            i / CHANNELS % WINDOW,
            SCALES[c]
        );
    }
    println!("largest deviation by channel: {worst:?}");
}

#[test]
fn raw_recordings_give_all_published_windows() {
    let Some(folder) = data_support::har_folder() else {
        return;
    };
    let published = data_support::published(&folder);
    let signals: Vec<Vec<[f32; CHANNELS]>> = data_support::recordings(&folder)
        .iter()
        .map(|counts| {
            let raw: Vec<_> = counts.iter().map(|&reading| signal::physical(reading)).collect();
            signal::channels(&raw)
        })
        .collect();
    let places = data_support::places(&folder);
    assert_eq!(places.len(), 10_299);
    let x: Vec<f32> = places
        .iter()
        .flat_map(|&(recording, first)| signals[recording][first..first + WINDOW].as_flattened())
        .copied()
        .collect();
    let (labels, subjects) = (published.labels.clone(), published.subjects.clone());
    let windows = har::dataset("UCI HAR, built in", false, x, labels, subjects).unwrap();
    assert_published(&windows, &published);
    assert!(builtin::full().unwrap() == windows, "the built-in copy has the same bits");
}

#[test]
fn built_in_windows_are_the_published_ones() {
    let Some(folder) = data_support::har_folder() else {
        return;
    };
    assert_published(&builtin::full().unwrap(), &data_support::published(&folder));
}

#[test]
fn built_in_files_can_be_made_again() {
    let Some(folder) = data_support::har_folder() else {
        return;
    };
    let recordings = data_support::recordings(&folder);
    let places = data_support::places(&folder);
    let published = data_support::published(&folder);
    for (file, first_piece) in [(builtin::SUBSET, true), (builtin::REST, false)] {
        let mine = |subject| builtin::SUBSET_SUBJECTS.contains(&subject) == first_piece;
        let runs = data_support::runs(&recordings, &places, &published, mine);
        assert!(builtin::encode(&runs) == file, "run `cargo run --release --example encode_har`");
    }
}
