//! The UCI HAR data set as users have it, whole and damaged.

mod data_support;

use stackelberg::data::har::{self, WINDOW, builtin, uci_har};
use stackelberg::data::{DataError, Dataset, Split, SubjectSplit};
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
        for channel in har::CHANNEL_NAMES {
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

/// Writes the files below a folder.
fn lay(folder: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn zipped(files: &Files) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The data without their name, which says where they lie.
fn from_zip(name: &str, bytes: &[u8]) -> Result<Dataset, DataError> {
    Ok(uci_har::from_zip(name, bytes)?.named(""))
}

fn read(files: &Files) -> Result<Dataset, DataError> {
    from_zip("my.zip", &zipped(files))
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
    let message = from_zip("outer.zip", &nested).unwrap_err().to_string();
    assert_says(&message, &["outer.zip/UCI HAR Dataset.zip does not hold", "found nothing"]);
    let message = from_zip("a.csv", b"1,2,3").unwrap_err().to_string();
    assert_says(&message, &["a.csv is neither a folder nor a zip"]);
}

#[test]
fn damaged_zips_are_errors() {
    let whole = zipped(&files());
    for length in (2..whole.len()).step_by(97) {
        let message = from_zip("my.zip", &whole[..length]).unwrap_err().to_string();
        assert_says(&message, &["my.zip is damaged or incomplete", "download it again"]);
    }
    for at in (0..whole.len()).step_by(61) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        // Damage to what is not read (dates, `X_*.txt`) does no harm; nothing may panic.
        if let Ok(windows) = from_zip("my.zip", &damaged) {
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

    lay(folder.path(), &files());
    assert_eq!(uci_har::from_path(folder.path()).unwrap().named(""), read(&files()).unwrap());
    std::fs::remove_file(folder.path().join(SUBJECTS)).unwrap();
    assert_says(&message(folder.path()), &["UCI HAR Dataset lacks `test/subject_test.txt`"]);
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

/// The data set's zip with another packing method written into all its headers, and a bit of their flags set.
fn repacked(method: u16, flag: u8) -> Vec<u8> {
    let mut bytes = zipped(&files());
    for (signature, at) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let places: Vec<usize> = bytes.windows(4).enumerate().filter(|(_, w)| w == signature).map(|(i, _)| i).collect();
        for place in places {
            bytes[place + at] |= flag;
            bytes[place + at + 2..place + at + 4].copy_from_slice(&method.to_le_bytes());
        }
    }
    bytes
}

#[test]
fn what_others_can_unpack_is_not_called_damaged() {
    let cases = [
        (9, 0, "packed with Deflate64"),
        (12, 0, "packed with bzip2"),
        (14, 0, "packed with LZMA"),
        (93, 0, "packed with Zstandard"),
        (95, 0, "packed with XZ"),
        (98, 0, "packed with PPMd"),
        (6, 0, "packed with method 6"),
        (8, 1, "encrypted"),
        (99, 1, "encrypted"),
    ];
    for (method, flag, how) in cases {
        let zip = repacked(method, flag);
        let nested = zipped(&Files::from([("a.zip".into(), zip.clone())]));
        for (bytes, place) in [(zip, "my.zip/UCI HAR"), (nested, "my.zip/a.zip/UCI HAR")] {
            let message = from_zip("my.zip", &bytes).unwrap_err().to_string();
            assert_says(&message, &[place, "y_train.txt is ", how, "unpack it with another tool"]);
            assert!(!message.contains("damaged") && !message.contains("download"), "{message}");
        }
    }
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let others: [(&[u8], &str); 8] = [
        (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7z archive: unpack it"),
        (b"Rar!\x1a\x07", "a RAR archive: unpack it"),
        (b"\x1f\x8b\x08", "packed with gzip: unpack it"),
        (b"\xfd7zXZ\0", "packed with xz: unpack it"),
        (b"BZh9", "packed with bzip2: unpack it"),
        (b"\x28\xb5\x2f\xfd", "packed with Zstandard: unpack it"),
        (&tar, "a tar archive: unpack it"),
        (b"<!doctype html>", "a web page, not the file"),
    ];
    for (bytes, kind) in others {
        assert_says(&from_zip("my.zip", bytes).unwrap_err().to_string(), &["my.zip is neither", kind]);
    }
}

#[test]
fn unusual_zips_are_read() {
    let want = read(&files()).unwrap();
    let mut large = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files() {
        large.start_file(name, SimpleFileOptions::default().large_file(true)).unwrap();
        large.write_all(&bytes).unwrap();
    }
    assert_eq!(from_zip("zip64.zip", &large.finish().unwrap().into_inner()).unwrap(), want);

    let loud: Files = files().into_iter().map(|(name, bytes)| (name.to_uppercase(), bytes)).collect();
    assert_eq!(read(&loud).unwrap(), want);
    let deep: Files = files().into_iter().map(|(name, bytes)| (format!("Users/me/my data/{name}"), bytes)).collect();
    assert_eq!(read(&deep).unwrap(), want);

    let nested = Files::from([
        ("__MACOSX/._UCI HAR Dataset.zip".into(), b"shadow".to_vec()),
        ("a/pictures.zip".into(), zipped(&Files::from([("a.jpg".into(), vec![0])]))),
        ("b/UCI HAR Dataset.zip".into(), zipped(&files())),
    ]);
    assert_eq!(read(&nested).unwrap(), want);
    let both = Files::from([("a.zip".into(), zipped(&files())), ("b.zip".into(), zipped(&files()))]);
    assert_says(&read(&both).unwrap_err().to_string(), &["my.zip holds several data sets: `a.zip`, `b.zip`"]);
    let of_two = |second: &str| {
        let mut two = files();
        two.extend(files().into_iter().map(|(name, bytes)| (name.replace("UCI HAR Dataset", second), bytes)));
        two
    };
    assert_eq!(read(&of_two("old")).unwrap(), want, "the published name is meant");
    assert_eq!(read(&of_two("UCI HAR Dataset/old")).unwrap(), want, "the higher one is meant");
    let unnamed: Files =
        of_two("old").into_iter().map(|(name, bytes)| (name.replace("UCI HAR Dataset", "new"), bytes)).collect();
    assert_says(&read(&unnamed).unwrap_err().to_string(), &["my.zip holds several data sets: `new`, `old`"]);
}

#[test]
fn a_set_below_the_given_folder_is_found() {
    let want = read(&files()).unwrap();
    let renamed = |to: &str| -> Files {
        files().into_iter().map(|(name, bytes)| (name.replace("UCI HAR Dataset", to), bytes)).collect()
    };
    for (place, given) in [("a", "a"), ("a", "."), ("a/b", "."), ("a/b/c", "a"), ("UCI har dataset", ".")] {
        let root = tempfile::tempdir().unwrap();
        lay(root.path(), &renamed(place));
        let source = uci_har::from_path(&root.path().join(given)).unwrap();
        assert_eq!(source.clone().named(""), want, "{place}");
        assert!(
            source.about().name.ends_with(Path::new(place).file_name().unwrap().to_str().unwrap()),
            "{}",
            source.about().name
        );
    }
    let root = tempfile::tempdir().unwrap();
    lay(root.path(), &renamed("a/b/c"));
    let message = uci_har::from_path(root.path()).unwrap_err().to_string();
    assert_says(&message, &["does not hold", "two folders below", "found `a`"]);
    lay(root.path(), &renamed("a/B"));
    assert!(uci_har::from_path(root.path()).is_ok(), "the higher one is meant");
    lay(root.path(), &renamed("d/e"));
    let message = uci_har::from_path(root.path()).unwrap_err().to_string();
    assert_says(&message, &["holds several data sets", "/a/B`", "/d/e`", "give the path of one"]);
    lay(root.path(), &renamed("d/UCI HAR Dataset"));
    assert!(uci_har::from_path(root.path()).is_ok(), "the published name is meant");

    let loud = tempfile::tempdir().unwrap();
    lay(loud.path(), &files().into_iter().map(|(name, bytes)| (name.to_uppercase(), bytes)).collect());
    assert_eq!(uci_har::from_path(loud.path()).unwrap().named(""), want);
}

#[test]
fn a_zip_in_the_given_folder_is_taken_or_named() {
    let want = read(&files()).unwrap();
    let official = zipped(&Files::from([("UCI HAR Dataset.zip".into(), zipped(&files()))]));
    let pictures = zipped(&Files::from([("a.jpg".into(), vec![0])]));
    for place in ["human+activity+recognition+using+smartphones.zip", "downloads/HAR.ZIP", "a/b/set.zip"] {
        let root = tempfile::tempdir().unwrap();
        let files = [(place, official.clone()), ("pictures.zip", pictures.clone()), ("notes.txt", vec![])];
        lay(root.path(), &files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect());
        let source = uci_har::from_path(root.path()).unwrap();
        assert_eq!(source.clone().named(""), want);
        assert!(source.about().name.ends_with(place), "{}", source.about().name);
    }
    let alone = |bytes: Vec<u8>| {
        let root = tempfile::tempdir().unwrap();
        lay(root.path(), &Files::from([("data.zip".into(), bytes)]));
        uci_har::from_path(root.path()).unwrap_err().to_string()
    };
    assert_says(&alone(repacked(9, 0)), &["data.zip/UCI HAR Dataset/", "Deflate64"]);
    assert_says(&alone(official[..official.len() / 2].to_vec()), &["data.zip is damaged", "download it again"]);
    assert_says(&alone(pictures), &["data.zip does not hold the UCI HAR data set", "`a.jpg`"]);
    let root = tempfile::tempdir().unwrap();
    lay(root.path(), &Files::from([("a.zip".into(), official.clone()), ("b.zip".into(), official)]));
    let message = uci_har::from_path(root.path()).unwrap_err().to_string();
    assert_says(&message, &["several data sets", "a.zip`", "b.zip`"]);
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_at_once() {
    let root = tempfile::tempdir().unwrap();
    lay(root.path(), &files());
    let fifo = |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    let message = |path: &Path| uci_har::from_path(path).unwrap_err().to_string();
    let pipe = root.path().join("pipe");
    fifo(&pipe);
    let socket = root.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [&pipe, &socket, Path::new("/dev/zero")] {
        assert_says(&message(path), &["is a pipe, socket or device", "give a file, or a folder"]);
    }
    let labels = root.path().join(LABELS);
    std::fs::remove_file(&labels).unwrap();
    fifo(&labels);
    assert_says(&message(root.path()), &["train/y_train.txt is a pipe"]);
    std::fs::remove_file(&labels).unwrap();
    std::fs::create_dir(&labels).unwrap();
    assert_says(&message(root.path()), &["lacks `train/y_train.txt`"]);
    std::os::unix::fs::symlink(&labels, root.path().join("loop")).unwrap();
    std::os::unix::fs::symlink(".", root.path().join("again")).unwrap();
    assert_says(&message(root.path()), &["lacks `train/y_train.txt`"]);
}
