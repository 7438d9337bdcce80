//! The UCI HAR data set as users have it: its values, and the text that they stand in.

mod data_support;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use data_support::uci_har::*;
use stackelberg::data::har::{WINDOW, builtin, uci_har};
use stackelberg::data::{DataError, Dataset, Split, SubjectSplit};
use zip::ZipArchive;

#[test]
fn a_zip_in_the_original_layout() {
    let windows = read(&files()).unwrap();
    assert_eq!(windows.labels(), [4, 0, 5, 4, 0, 5]);
    assert_eq!(windows.people(), [1, 3, 5, 2, 4, 9]);
    for (index, &value) in windows.values().iter().enumerate() {
        let sample = index / CHANNELS % (ROWS * WINDOW);
        assert_eq!(value, (sample as f64 / 1e3) as f32, "value {index}");
    }
}

#[test]
fn channels_are_told_apart() {
    let mut files = files();
    files.insert(BODY_ACC_Y.into(), signal(|_, t| -(t as f64)).into_bytes());
    let windows = read(&files).unwrap();
    assert_eq!(windows.example(1)[5 * CHANNELS..][..3], [0.133, -5.0, 0.133]);
}

#[test]
fn the_published_cut_down_zip() {
    let Some(folder) = data_support::har_folder() else {
        return;
    };
    let path = folder.join("UCI_HAR_Dataset_mini.zip");
    let source = uci_har::from_path(&path).unwrap();
    assert_published(&folder, &source);
    assert!(!source.about().subset && source.about().name.contains("UCI_HAR_Dataset_mini.zip"));

    let bytes = std::fs::read(&path).unwrap();
    let outer = zipped(&Files::from([
        ("UCI HAR Dataset.names".into(), b"about".to_vec()),
        ("UCI HAR Dataset.zip".into(), bytes.clone()),
    ]));
    assert_eq!(from_zip("outer.zip", &outer).unwrap(), source.clone().named(""));

    let extracted = tempfile::tempdir().unwrap();
    ZipArchive::new(Cursor::new(&bytes)).unwrap().extract(extracted.path()).unwrap();
    assert_eq!(uci_har::from_path(extracted.path()).unwrap().named(""), source.clone().named(""));
    let inside = extracted.path().join("UCI HAR Dataset");
    assert_eq!(uci_har::from_path(&inside).unwrap().named(""), source.clone().named(""));

    let downloads = tempfile::tempdir().unwrap();
    std::fs::write(downloads.path().join("UCI HAR Dataset.zip"), &bytes).unwrap();
    assert_eq!(uci_har::from_path(downloads.path()).unwrap().named(""), source.clone().named(""));
}

/// The cut-down zip has each subject's first ten windows of each activity, in the published order.
fn assert_published(folder: &Path, windows: &Dataset) {
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
        assert_eq!(windows.labels()[index], published.labels[row]);
        assert_eq!(windows.people()[index], published.subjects[row]);
        let size = WINDOW * CHANNELS;
        let stored = &published.windows[row * size..][..size];
        for (i, (value, &stored)) in windows.example(index).iter().zip(stored).enumerate() {
            let scale = data_support::SCALES[i % CHANNELS];
            assert!((value - f32::from(stored) * scale).abs() <= scale / 2.0 + 1e-7);
        }
    }
    let split = Split::by_people(windows, &SubjectSplit::default()).unwrap();
    assert_eq!(split.train.present_people(), [3, 5, 6, 7, 8]);
    assert_eq!(split.validation.present_people(), [1]);
    assert_eq!(split.test.present_people(), [2, 4, 9, 10]);
}

#[test]
fn built_in_data_agree_with_the_published_text() {
    let Some(folder) = data_support::har_folder() else {
        return;
    };
    let text = uci_har::from_path(&folder.join("UCI_HAR_Dataset_mini.zip")).unwrap().named("");
    let ours = builtin::full().unwrap().named("");
    let mut rest = (0..ours.len()).peekable();
    for index in 0..text.len() {
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        let same = rest.find(|&row| near(&ours.example(row), &text.example(index)));
        let row = same.unwrap_or_else(|| panic!("window {index} is not built in"));
        assert_eq!(ours.labels()[row], text.labels()[index]);
        assert_eq!(ours.people()[row], text.people()[index]);
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

/// The data set after a change to the text of every file that `which` takes.
fn rewritten(which: fn(&str) -> bool, change: impl Fn(&str) -> Vec<u8>) -> Result<Dataset, DataError> {
    let mut files = files();
    for (name, bytes) in files.iter_mut().filter(|(name, _)| which(name)) {
        *bytes = change(std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{name}: {error}")));
    }
    read(&files)
}

fn is_label(name: &str) -> bool {
    name.contains("/y_") || name.contains("/subject_")
}

#[test]
fn text_is_read_as_people_write_it() {
    let want = read(&files()).unwrap();
    let any: fn(&str) -> bool = |_| true;
    let each = |change: fn(f64) -> String| {
        move |text: &str| text.lines().map(|line| change(line.parse().unwrap()) + "\n").collect::<String>().into_bytes()
    };
    let mixed = |text: &str| {
        let ends = ["\r", "\n", "\r\n"].into_iter().cycle();
        text.lines().zip(ends).map(|(line, end)| format!("{line}{end}")).collect::<String>().into_bytes()
    };
    type Which = fn(&str) -> bool;
    type Change = Box<dyn Fn(&str) -> Vec<u8>>;
    let cases: [(&str, Which, Change); 16] = [
        ("byte order marks", any, Box::new(|text| format!("\u{feff}{text}").into())),
        ("1.0", is_label, Box::new(each(|n| format!("{n:.1}")))),
        ("1.0000000e+00", is_label, Box::new(each(|n| format!("{n:.7}e+00")))),
        ("1e0", is_label, Box::new(each(|n| format!("{n}e0")))),
        ("1.", is_label, Box::new(each(|n| format!("{n}.")))),
        ("+1", is_label, Box::new(each(|n| format!("+{n}")))),
        (" 1 ", is_label, Box::new(each(|n| format!(" \t{n}\u{a0} ")))),
        ("thousands of spaces", is_label, Box::new(each(|n| format!("{n}{}", " ".repeat(5000))))),
        ("CR alone", any, Box::new(|text| text.replace("\r\n", "\n").replace('\n', "\r").into())),
        ("CR LF", any, Box::new(|text| text.replace("\r\n", "\n").replace('\n', "\r\n").into())),
        ("CR CR LF", any, Box::new(|text| text.replace("\r\n", "\n").replace('\n', "\r\r\n").into())),
        ("mixed line ends", any, Box::new(mixed)),
        ("empty lines at the end", any, Box::new(|text| format!("{text}\r\n \n\n\t\r").into())),
        ("no line end at the end", any, Box::new(|text| text.trim_end().into())),
        ("an end-of-file mark of DOS", any, Box::new(|text| format!("{text}\u{1a}").into())),
        ("spaces that do not break", any, Box::new(|text| text.replace(' ', "\u{a0}").into())),
    ];
    for (name, which, change) in cases {
        let got = rewritten(which, change).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn text_that_cannot_be_read_is_named_and_nothing_of_it_is_unseen() {
    let says = |which: fn(&str) -> bool, change: &dyn Fn(&str) -> Vec<u8>, parts: &[&str]| {
        let message = rewritten(which, change).unwrap_err().to_string();
        assert_says(&message, parts);
        assert!(!message.chars().any(char::is_control), "{message:?}");
    };
    let wide = |text: &str, mark: bool| -> Vec<u8> {
        let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    for mark in [true, false] {
        says(is_label, &|text| wide(text, mark), &["train/y_train.txt is UTF-16 text", "save it as UTF-8"]);
        says(|name| name.contains("body_acc_y"), &|text| wide(text, mark), &["body_acc_y_train.txt is UTF-16 text"]);
    }
    says(|n| n.contains("body_acc_y"), &|text| format!("{text}\0\0\0").into(), &["zero bytes", "line 4", "damaged"]);
    says(is_label, &|_| "1\n\u{1b}[31m2\n3\n".into(), &["line 2", r"`\u001b[31m2` is not a label"]);
    says(is_label, &|_| "1\n\u{200b}2\n3\n".into(), &["line 2", r"`\u200b2`"]);
    says(is_label, &|_| "1\n\n3\n".into(), &["line 2", "`` (an empty line) is not a label"]);
    says(is_label, &|_| "1\n2.5\ninf\n".into(), &["line 2", "`2.5`"]);
    says(is_label, &|_| "1\ninf\n3\n".into(), &["line 2", "`inf`"]);
    says(is_label, &|_| "1\nNaN\n3\n".into(), &["line 2", "`NaN`"]);
    let commas = |text: &str| text.replace('.', ",").into_bytes();
    says(|name| name.contains("body_acc_y"), &commas, &["line 1, number 1", "written like -1.25e-3, with spaces"]);
    let minus = |text: &str| text.replace('-', "\u{2212}").into_bytes();
    says(|name| name.contains("body_acc_y"), &minus, &["line 1, number 2", "written like -1.25e-3"]);
}
