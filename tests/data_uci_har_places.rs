//! Where the UCI HAR data set may lie: folders and zips of all kinds, whole and damaged.

mod data_support;

use std::io::{Cursor, Write};
use std::path::Path;

use data_support::uci_har::*;
use stackelberg::data::har::uci_har;
use zip::{ZipWriter, write::SimpleFileOptions};

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
    assert_says(&message, &["my.zip holds neither tables", "`holiday/0.jpg`", "and 1 more", "`train/`"]);
    assert_says(&error(|files| files.clear()), &["found nothing"]);
    let nested = zipped(&Files::from([("UCI HAR Dataset.zip".into(), zipped(&Files::new()))]));
    let message = from_zip("outer.zip", &nested).unwrap_err().to_string();
    assert_says(&message, &["outer.zip/UCI HAR Dataset.zip holds neither tables", "found nothing"]);
    let message = from_zip("a.csv", b"1,2,3").unwrap_err().to_string();
    assert_says(&message, &["a.csv is neither a table of recordings, a folder nor a zip"]);
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
    assert_says(&message(folder.path()), &["holds neither tables of recordings", "found nothing"]);
    std::fs::write(folder.path().join("notes.txt"), "hello").unwrap();
    assert_says(&message(folder.path()), &["`notes.txt`"]);
    assert_says(
        &message(&folder.path().join("notes.txt")),
        &["notes.txt is neither a table of recordings, a folder nor a zip"],
    );
    assert_says(&message(&folder.path().join("absent")), &["cannot read", "absent"]);

    lay(folder.path(), &files());
    assert_eq!(uci_har::from_path(folder.path()).unwrap().named(""), read(&files()).unwrap());
    std::fs::remove_file(folder.path().join(SUBJECTS)).unwrap();
    assert_says(&message(folder.path()), &["UCI HAR Dataset lacks `test/subject_test.txt`"]);
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
    assert_says(&message, &["holds neither tables", "two folders below", "found `a`"]);
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
    assert_says(&alone(pictures), &["data.zip holds neither tables of recordings", "`a.jpg`"]);
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
