//! `stackelberg data`, through the built program, and the reading of what it checks.

mod cli_support;

use std::fs;
use std::path::{Path, PathBuf};

use cli_support::{program, run};
use serde_json::Value;
use stackelberg::data::catalog::{FASHION_MNIST, MNIST};
use stackelberg::data::{Dataset, Examples, idx};

/// The directory of real data sets, if it is there.
fn real() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let given = std::env::var_os("STACKELBERG_SHARED").map(PathBuf::from);
    let places = given.into_iter().chain([root.join("../shared"), root.join("../../shared")]);
    let found = places.map(|place| place.join("data")).find(|place| place.join("mnist").is_dir());
    if found.is_none() {
        println!("skipped: no ../shared/data/mnist");
    }
    found
}

fn data(arguments: &str, directory: &Path) -> cli_support::Outcome {
    run(program(&format!("data {arguments}")).env("STACKELBERG_DATA", directory))
}

#[test]
fn missing_and_damaged_files_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let listed = data("", root.path()).exits(0).stdout;
    for text in
        ["uci-har: right", "10299 windows", "mnist: not there", "CC BY-SA 3.0", "6bbc9ace898e44ae57da46a324031adb"]
    {
        assert!(listed.contains(text), "no `{text}` in\n{listed}");
    }
    assert!(listed.contains(&root.path().join("fashion-mnist").display().to_string()), "{listed}");
    data("uci-har", root.path()).exits(0);
    data("mnist", root.path()).exits(1);
    run(&mut program("data minst")).exits(2).says(&["mnist"]);
    data("mnist", Path::new("")).exits(2).says(&["it is empty", "unset STACKELBERG_DATA"]);

    let folder = root.path().join("mnist");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("t10k-labels-idx1-ubyte"), b"\0\0\x08\x01\0\0\0\x01\x05").unwrap();
    fs::write(folder.join("train-labels-idx1-ubyte.gz"), b"\x1f\x8bnothing").unwrap();
    let report: Value = serde_json::from_str(&data("--json", root.path()).exits(1).stdout).unwrap();
    let files = report[1]["files"].as_array().unwrap();
    let states: Vec<&str> = files.iter().map(|file| file["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["missing", "wrong", "missing", "wrong"]);
    let problem = |at: usize| files[at]["problem"].as_str().unwrap();
    assert!(problem(1).contains("damaged or cut short"), "{}", problem(1));
    assert!(problem(3).contains("9 bytes") && problem(3).contains("download it again"), "{}", problem(3));
    assert_eq!((&report[1]["name"], &report[1]["state"]), (&"mnist".into(), &"wrong".into()));
}

#[test]
fn the_official_files_are_right_and_read() {
    let Some(directory) = real() else { return };
    let report = run(program("data mnist fashion-mnist --json --data").arg(&directory)).exits(0).stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    for set in report.as_array().unwrap() {
        assert!(set["files"].as_array().unwrap().iter().all(|file| file["state"] == "right"), "{set}");
    }
    for (set, mean) in [(MNIST, 0.13066), (FASHION_MNIST, 0.28604)] {
        let [train, test]: [Dataset; 2] = set.load(&directory).unwrap();
        assert_eq!((train.len(), test.len()), (60_000, 10_000));
        assert_eq!((&test.about().shape[..], test.about().outputs.len()), (&[28, 28, 1][..], 10));
        let Examples::Bytes { bytes, .. } = train.examples() else { panic!("images are bytes") };
        let sum: u64 = bytes.iter().map(|&pixel| u64::from(pixel)).sum();
        assert!((sum as f64 / 255.0 / bytes.len() as f64 - mean).abs() < 5e-6, "{}", set.name);
    }
}

#[test]
fn what_is_not_there_is_named_with_where_to_get_it() {
    let root = tempfile::tempdir().unwrap();
    let message = MNIST.load(root.path()).unwrap_err().to_string();
    for text in ["no train-images-idx3-ubyte", "mnist", MNIST.source, "STACKELBERG_DATA"] {
        assert!(message.contains(text), "no `{text}` in {message}");
    }
}

/// An IDX file of labels.
const LABELS: &[u8] = b"\0\0\x08\x01\0\0\0\x01\x05";

#[test]
fn files_are_found_under_their_other_names() {
    for (folder, file) in [
        ("mnist", "t10k-labels.idx1-ubyte"),
        ("mnist", "T10K-LABELS-IDX1-UBYTE"),
        ("mnist/raw", "t10k-labels-idx1-ubyte"),
        ("MNIST/raw", "t10k-labels-idx1-ubyte"),
        ("mnist/t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"),
        ("mnist/t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
    ] {
        for packed in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            let (name, bytes) =
                if packed { (format!("{file}.gz"), gzip(LABELS)) } else { (file.to_owned(), LABELS.into()) };
            fs::write(folder.join(name), bytes).unwrap();
            let found = MNIST.files[3].read(&MNIST.folder(root.path())).unwrap();
            let (path, bytes) = found.unwrap_or_else(|| panic!("{} {file} {packed}", folder.display()));
            assert_eq!(idx::unpacked(&path.display().to_string(), bytes).unwrap(), LABELS);
            assert_eq!(
                MNIST.folder(&MNIST.folder(root.path())),
                MNIST.folder(root.path()),
                "the folder itself will do"
            );
        }
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("FashionMNIST")).unwrap();
    assert_eq!(FASHION_MNIST.folder(root.path()), root.path().join("FashionMNIST"));
    assert_eq!(MNIST.folder(root.path()), root.path().join("mnist"), "another set with the same files");
}

#[test]
fn the_official_name_comes_first() {
    let root = tempfile::tempdir().unwrap();
    let folder = MNIST.folder(root.path());
    fs::create_dir_all(folder.join("raw")).unwrap();
    for name in ["raw/t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte", "t10k-labels-idx1-ubyte.gz"] {
        fs::write(folder.join(name), name).unwrap();
    }
    let (path, _) = MNIST.files[3].read(&folder).unwrap().unwrap();
    assert_eq!(path, folder.join("t10k-labels-idx1-ubyte.gz"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_file_is_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("mnist");
    fs::create_dir(&folder).unwrap();
    let pipe = folder.join("train-images-idx3-ubyte");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let listed = data("mnist", root.path()).exits(1).stdout;
    assert!(listed.contains("is a pipe, socket or device"), "{listed}");
}
