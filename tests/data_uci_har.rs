//! The UCI HAR data set as users have it, whole and damaged.

mod data_support;

use stackelberg::data::{self, DataError, Split, SubjectSplit, WINDOW, Windows, uci_har};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

const CHANNELS: usize = 9;
const ROWS: usize = 3;
const BODY_ACC_Y: &str = "UCI HAR Dataset/train/Inertial Signals/body_acc_y_train.txt";
const LABELS: &str = "UCI HAR Dataset/train/y_train.txt";
const SUBJECTS: &str = "UCI HAR Dataset/test/subject_test.txt";

type Files = BTreeMap<String, Vec<u8>>;

/// A tiny data set, written like the original one: subjects 1, 3, 5 to train and 2, 4, 9 to test on.
fn files() -> Files {
    let mut files = Files::new();
    for (part, subjects) in [("train", "1\n3\n5\n"), ("test", "2\n4\n9\n")] {
        let mut put = |name: String, text: String| {
            files.insert(format!("UCI HAR Dataset/{part}/{name}_{part}.txt"), text.into_bytes())
        };
        put("subject".into(), subjects.into());
        put("y".into(), "5\n1\n6\n".into());
        put("X".into(), "not read".into());
        for channel in data::CHANNEL_NAMES {
            put(format!("Inertial Signals/{channel}"), signal(|row, t| (row * WINDOW + t) as f64 / 1e3));
        }
    }
    files
}

/// Fixed columns of 16 characters, exponents of three digits, and CR LF.
fn signal(value: impl Fn(usize, usize) -> f64) -> String {
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

fn zipped(files: &Files) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn read(files: &Files) -> Result<Windows, DataError> {
    uci_har::from_zip("my.zip", &zipped(files))
}

/// The error after `change`.
fn error(change: impl FnOnce(&mut Files)) -> String {
    let mut files = files();
    change(&mut files);
    read(&files).expect_err("damaged data must not be read").to_string()
}

/// The error after the text of one file was changed.
fn error_in(file: &str, change: impl FnOnce(String) -> String) -> String {
    error(|files| {
        let text = String::from_utf8(files.remove(file).unwrap()).unwrap();
        files.insert(file.into(), change(text).into_bytes());
    })
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{message}` does not say `{part}`");
    }
}

#[test]
fn a_zip_in_the_original_layout() {
    let windows = read(&files()).unwrap();
    assert_eq!(windows.labels, [4, 0, 5, 4, 0, 5]);
    assert_eq!(windows.subjects, [1, 3, 5, 2, 4, 9]);
    for (index, &value) in windows.x.iter().enumerate() {
        let sample = index / CHANNELS % (ROWS * WINDOW);
        assert_eq!(value, (sample as f64 / 1e3) as f32, "value {index}");
    }
}

#[test]
fn channels_are_told_apart() {
    let mut files = files();
    files.insert(BODY_ACC_Y.into(), signal(|_, t| -(t as f64)).into_bytes());
    let windows = read(&files).unwrap();
    assert_eq!(windows.window(1)[5 * CHANNELS..][..3], [0.133, -5.0, 0.133]);
}

#[test]
fn the_published_cut_down_zip() {
    let Some(folder) = data_support::har_folder() else {
        return;
    };
    let path = folder.join("UCI_HAR_Dataset_mini.zip");
    let source = data::load(Some(&path)).unwrap();
    assert_published(&folder, &source.windows);
    assert!(!source.subset && source.name.contains("UCI_HAR_Dataset_mini.zip"));
    assert_eq!(source.fingerprint, source.windows.fingerprint());

    let bytes = std::fs::read(&path).unwrap();
    let outer = zipped(&Files::from([
        ("UCI HAR Dataset.names".into(), b"about".to_vec()),
        ("UCI HAR Dataset.zip".into(), bytes.clone()),
    ]));
    assert_eq!(uci_har::from_zip("outer.zip", &outer).unwrap(), source.windows);

    let extracted = tempfile::tempdir().unwrap();
    ZipArchive::new(Cursor::new(&bytes)).unwrap().extract(extracted.path()).unwrap();
    assert_eq!(uci_har::from_path(extracted.path()).unwrap(), source.windows);
    let inside = extracted.path().join("UCI HAR Dataset");
    assert_eq!(uci_har::from_path(&inside).unwrap(), source.windows);

    let downloads = tempfile::tempdir().unwrap();
    std::fs::write(downloads.path().join("UCI HAR Dataset.zip"), &bytes).unwrap();
    assert_eq!(uci_har::from_path(downloads.path()).unwrap(), source.windows);
}

/// The cut-down zip has each subject's first ten windows of each activity, in the published order.
fn assert_published(folder: &Path, windows: &Windows) {
    let published = data_support::published(folder);
    let mut taken = BTreeMap::new();
    let rows: Vec<usize> = (0..published.labels.len())
        .filter(|&row| {
            let (subject, label) = (published.subjects[row], published.labels[row]);
            let count: &mut usize = taken.entry((subject, label)).or_default();
            *count += 1;
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].contains(&subject) && *count <= 10
        })
        .collect();
    assert_eq!((windows.len(), rows.len()), (600, 600));
    for (index, &row) in rows.iter().enumerate() {
        assert_eq!(windows.labels[index], published.labels[row]);
        assert_eq!(windows.subjects[index], published.subjects[row]);
        let size = WINDOW * CHANNELS;
        let stored = &published.windows[row * size..][..size];
        for (i, (value, &stored)) in windows.window(index).iter().zip(stored).enumerate() {
            let scale = data_support::SCALES[i % CHANNELS];
            assert!((value - f32::from(stored) * scale).abs() <= scale / 2.0 + 1e-7);
        }
    }
    let split = Split::new(windows, &SubjectSplit::default()).unwrap();
    assert_eq!(split.train.present_subjects(), [3, 5, 6, 7, 8]);
    assert_eq!(split.validation.present_subjects(), [1]);
    assert_eq!(split.test.present_subjects(), [2, 4, 9, 10]);
}

#[test]
fn built_in_data_agree_with_the_published_text() {
    let Some(folder) = data_support::har_folder() else {
        return;
    };
    let text = data::load(Some(&folder.join("UCI_HAR_Dataset_mini.zip"))).unwrap().windows;
    let ours = data::load(None).unwrap().windows;
    let mut rest = (0..ours.len()).peekable();
    for index in 0..text.len() {
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        let same = rest.find(|&row| near(ours.window(row), text.window(index)));
        let row = same.unwrap_or_else(|| panic!("window {index} is not built in"));
        assert_eq!(ours.labels[row], text.labels[index]);
        assert_eq!(ours.subjects[row], text.subjects[index]);
    }
}

#[test]
fn wrong_numbers_are_located() {
    let place = "my.zip/UCI HAR Dataset/train/Inertial Signals/body_acc_y_train.txt, line 2";
    for bad in ["nan", "inf", "1e999", "1,5", "0x1", "1.2.3"] {
        let message = error_in(BODY_ACC_Y, |text| text.replacen("1.3000000e-001", bad, 1));
        assert_says(&message, &[place, "number 3", bad, "not a finite number"]);
    }
    for bad in ["1e38", "-1000001"] {
        let message = error_in(BODY_ACC_Y, |text| text.replacen("1.3000000e-001", bad, 1));
        assert_says(&message, &[place, "number 3", bad, "beyond ±1000000", "damaged"]);
    }
    let message = error_in(BODY_ACC_Y, |text| text.replacen("1.3000000e-001", &"7x".repeat(500), 1));
    assert!(message.len() < 300, "{message}");
    let bytes = |files: &mut Files| files.get_mut(BODY_ACC_Y).unwrap()[130 * 16 + 10] = 0xff;
    assert_says(&error(bytes), &[place, "number 3"]);
}

#[test]
fn wrong_numbers_of_columns_are_located() {
    let place = "body_acc_y_train.txt, line 2";
    let message = error_in(BODY_ACC_Y, |text| text.replacen("1.3000000e-001", "", 1));
    assert_says(&message, &[place, "127 numbers where a window has 128"]);
    let message = error_in(BODY_ACC_Y, |text| text.replacen("1.3000000e-001", "1 2", 1));
    assert_says(&message, &[place, "129 numbers"]);
    let message = error_in(BODY_ACC_Y, |text| text.replacen('\n', "\n\n", 1).trim_end().into());
    assert_says(&message, &["body_acc_y_train.txt and ", "train/y_train.txt must", "have 4 and 3"]);
}

#[test]
fn files_must_have_as_many_lines_as_the_labels() {
    let message = error_in(BODY_ACC_Y, |text| text.lines().next().unwrap().into());
    assert_says(&message, &["body_acc_y_train.txt and ", "train/y_train.txt must", "have 1 and 3", "cut short"]);
    let message = error_in(SUBJECTS, |text| text + "2\n");
    assert_says(&message, &["subject_test.txt and ", "test/y_test.txt must", "have 4 and 3"]);
    let message = error_in(BODY_ACC_Y, |_| String::new());
    assert_says(&message, &["body_acc_y_train.txt is empty"]);
    assert_says(&error_in(LABELS, |_| "\n".into()), &["train/y_train.txt is empty"]);
}

#[test]
fn labels_and_subjects_have_a_range() {
    for bad in ["0", "7", "-1", "2.5", "walking", ""] {
        let message = error_in(LABELS, |_| format!("1\n{bad}\n2\n"));
        assert_says(&message, &["train/y_train.txt, line 2", &format!("`{bad}`"), "from 1 to 6"]);
    }
    let message = error_in(SUBJECTS, |_| "2\n4\n31\n".into());
    assert_says(&message, &["test/subject_test.txt, line 3", "`31`", "from 1 to 30"]);
}

#[test]
fn missing_files_are_named() {
    for missing in files().into_keys().filter(|name| !name.contains("/X_")) {
        let message = error(|files| drop(files.remove(&missing)));
        let below = missing.strip_prefix("UCI HAR Dataset/").unwrap();
        assert_says(&message, &["my.zip/UCI HAR Dataset lacks", &format!("`{below}`"), "Inertial Signals/"]);
    }
}

#[test]
fn other_layouts_of_the_same_files_are_read() {
    let want = read(&files()).unwrap();
    let moved = |to: &dyn Fn(&str) -> String| -> Files {
        files().into_iter().map(|(name, bytes)| (to(&name), bytes)).collect()
    };
    assert_eq!(read(&moved(&|name| name.replace("UCI HAR Dataset/", ""))).unwrap(), want);
    assert_eq!(read(&moved(&|name| format!("data/{name}"))).unwrap(), want);
    assert_eq!(read(&moved(&|name| name.replace('/', "\\"))).unwrap(), want);
    let mut with_shadows = files();
    for name in files().into_keys() {
        with_shadows.insert(format!("__MACOSX/{name}"), b"shadow".to_vec());
    }
    assert_eq!(read(&with_shadows).unwrap(), want);
}

#[test]
fn other_zips_are_described() {
    let message = error(|files| {
        files.clear();
        files.extend((0..9).map(|i| (format!("holiday/{i}.jpg"), vec![0])));
    });
    assert_says(&message, &["my.zip does not hold", "`holiday/0.jpg`", "and 1 more", "`train/`"]);
    assert_says(&error(|files| files.clear()), &["found nothing"]);
    let nested = zipped(&Files::from([("UCI HAR Dataset.zip".into(), zipped(&Files::new()))]));
    let message = uci_har::from_zip("outer.zip", &nested).unwrap_err().to_string();
    assert_says(&message, &["outer.zip/UCI HAR Dataset.zip does not hold", "found nothing"]);
    let message = uci_har::from_zip("a.csv", b"1,2,3").unwrap_err().to_string();
    assert_says(&message, &["a.csv is neither a folder nor a zip"]);
}

#[test]
fn damaged_zips_are_errors() {
    let whole = zipped(&files());
    for length in (2..whole.len()).step_by(97) {
        let message = uci_har::from_zip("my.zip", &whole[..length]).unwrap_err().to_string();
        assert_says(&message, &["my.zip is damaged or incomplete", "download it again"]);
    }
    for at in (0..whole.len()).step_by(61) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        // Damage to what is not read (dates, `X_*.txt`) does no harm; nothing may panic.
        if let Ok(windows) = uci_har::from_zip("my.zip", &damaged) {
            assert_eq!(windows, read(&files()).unwrap(), "byte {at}");
        }
    }
}

#[test]
fn bombs_are_refused() {
    let message = error(|files| drop(files.insert(LABELS.into(), vec![b'1'; 40 << 20])));
    assert_says(&message, &["train/y_train.txt unpacks to more than 32 MiB"]);
}

#[test]
fn other_folders_are_described() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| uci_har::from_path(path).unwrap_err().to_string();
    assert_says(&message(folder.path()), &["does not hold the UCI HAR data set", "found nothing"]);
    std::fs::write(folder.path().join("notes.txt"), "hello").unwrap();
    assert_says(&message(folder.path()), &["`notes.txt`"]);
    assert_says(&message(&folder.path().join("notes.txt")), &["notes.txt is neither a folder nor a zip"]);
    assert_says(&message(&folder.path().join("absent")), &["cannot read", "absent"]);

    for (name, bytes) in files() {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    assert_eq!(uci_har::from_path(folder.path()).unwrap(), read(&files()).unwrap());
    std::fs::remove_file(folder.path().join(SUBJECTS)).unwrap();
    assert_says(&message(folder.path()), &["UCI HAR Dataset lacks `test/subject_test.txt`"]);
}
