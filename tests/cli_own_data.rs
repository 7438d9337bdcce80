//! Recordings of one's own through the built program: seen, trained on, told of.

mod cli_support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use cli_support::{json, program, run};
use serde_json::Value;

const PEOPLE: usize = 6;

/// A file of each person in a folder, semicolons between and decimal commas: two activities that differ in pitch.
fn recordings(root: &Path) -> PathBuf {
    let folder = root.join("watch");
    fs::create_dir_all(&folder).unwrap();
    for person in 1..=PEOPLE {
        let mut text = "Time (s);acc x (g);acc y (g);activity\n".to_owned();
        for sample in 0..400 {
            let walks = sample < 200;
            let (time, pitch) = (f64::from(sample) * 0.04, if walks { 0.9 } else { 0.1 });
            let wave = |c: f64| ((f64::from(sample) * pitch + c + person as f64).sin() * 1000.0).round() / 1000.0;
            let label = if walks { "walk" } else { "sit" };
            let line = format!("{time:.2};{};{};{label}\n", wave(0.0), wave(1.0));
            text += &line.replace('.', ",");
        }
        fs::write(folder.join(format!("person{person}.csv")), text).unwrap();
    }
    folder
}

#[test]
fn what_is_seen_is_what_is_trained_on_and_told_of() {
    let root = tempfile::tempdir().unwrap();
    let (data, out) = (recordings(root.path()), root.path().join("run"));
    let seen = run(program("data inspect --json").arg(&data)).exits(0);
    let seen: Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!((&seen["measured_hz"], &seen["people"].as_array().unwrap().len()), (&25.0.into(), &PEOPLE));
    assert_eq!(seen["mapping"]["columns"]["person"], "file");
    let text = run(program("data inspect").arg(&data)).exits(0).stdout;
    for part in ["decimal commas", "25 samples a second (measured)", "sit 30, walk 36", "label = \"activity\""] {
        assert!(text.contains(part), "{part}: {text}");
    }

    run(program("tune --steps 20 --outer 2 --batch 8 --device reference --data").arg(&data).arg("--out").arg(&out))
        .exits(0);
    let result = json(out.join("result.json"));
    assert_eq!(result["data"]["fingerprint"], seen["fingerprint"]);

    // The test people alone: the accuracy is that of the run.
    let test = root.path().join("test");
    fs::create_dir(&test).unwrap();
    for person in [5, 6] {
        let name = format!("person{person}.csv");
        fs::copy(data.join(&name), test.join(&name)).unwrap();
    }
    let told = run(program("predict --json --device reference").arg(&out).arg(&test)).exits(0);
    let all: Value = serde_json::from_str(&told.stdout).unwrap();
    let windows = all["windows"].as_array().unwrap();
    let right = windows.iter().filter(|window| window["label"] == window["class"]).count();
    let accuracy = result["end"]["test"]["accuracy"].as_f64().unwrap();
    assert_eq!((windows.len(), right as f64 / windows.len() as f64), (22, accuracy));
    let sum: f64 = windows[0]["probabilities"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6);
    told.says(&["Of 22 windows whose label is known"]);

    // Without labels, at another rate, in another unit: told of, and what is odd is said.
    let mut odd = "t,acc x,acc y\n".to_owned();
    for sample in 0..600 {
        let _ = writeln!(odd, "{},{},{}", sample * 20, 9.8 * f64::from(sample).sin(), 9.8 * f64::from(sample).cos());
    }
    let (odd_file, table) = (root.path().join("odd.csv"), root.path().join("told.csv"));
    fs::write(&odd_file, odd).unwrap();
    let told = run(program("predict --device reference").arg(&out).arg(&odd_file).arg("--out").arg(&table)).exits(0);
    told.says(&["`acc x` has the mean", "m/s² for g?", "8 windows told of"]);
    let table = fs::read_to_string(&table).unwrap();
    assert!(table.starts_with("file,person,seconds,label,class,sit,walk\nodd.csv,odd,0,,"), "{table}");
    assert_eq!(table.lines().count(), 9);
}

#[test]
fn real_recordings_are_the_same_data_as_in_the_browser() {
    let seen =
        run(program("data inspect --json tests/recordings/volunteers.csv").current_dir(env!("CARGO_MANIFEST_DIR")));
    let seen: Value = serde_json::from_str(&seen.exits(0).stdout).unwrap();
    // tests/web/tune.test.mjs has the same.
    assert_eq!((&seen["fingerprint"], &seen["windows"]), (&"3a1d5ec144794a17".into(), &16.into()));
    assert_eq!(
        seen["channels"][0],
        serde_json::json!({ "name": "acc x", "unit": "g", "least": 0.456, "greatest": 1.746 })
    );
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let root = tempfile::tempdir().unwrap();
    let (data, out) = (recordings(root.path()), root.path().join("run"));
    run(program("tune --steps 2 --outer 1 --batch 8 --device reference --data").arg(&data).arg("--out").arg(&out))
        .exits(0);
    let slow: String = (0..300).map(|s| format!("{},{},{}\n", s * 100, s % 7, s % 5)).collect();
    let file = root.path().join("slow.csv");
    fs::write(&file, format!("t,acc x,acc y\n{slow}")).unwrap();
    let predict = |more: &[&str]| run(program("predict --device reference").arg(&out).arg(&file).args(more));
    predict(&[]).exits(2).says(&["recorded at 10 samples a second", "trained on 25", "tune --rate"]);
    fs::write(&file, format!("t,ax,ay\n{slow}")).unwrap();
    predict(&[]).exits(1).says(&["no column `acc x (g)` (for a channel)", "`ax`"]);
    let tune = |more: &[&str]| run(program("tune --device reference").args(more));
    tune(&["--rate", "50"]).exits(2).says(&["`rate` is given", "built-in data"]);
    let data = data.to_str().unwrap();
    tune(&["--data", data, "--columns", "label=activty"]).exits(1).says(&["no column `activty`", "`activity`"]);
    tune(&["--columns", "label"]).exits(2).says(&["KEY=VALUE"]);
    let none = run(program("predict").arg(root.path()).arg(data)).exits(2);
    let none = none.says(&["holds no run: it has no run.toml", "`stackelberg tune --out` wrote to"]);
    assert!(!none.stderr.contains("resume"), "{}", none.stderr);
    tune(&["--data", data, "--columns", "label=activity; label=what"]).exits(2).says(&["`label` is given twice"]);
    tune(&["--data", data, "--window", "2"]).exits(1).says(&["may have from 4 to 65536", "`--window`"]);
    tune(&["--data", data, "--batch", "64"]).exits(2).says(&["`batch` is 64, but must be at most"]);
}

#[test]
fn a_run_says_how_its_recordings_were_read_and_who_is_in_which_part() {
    let root = tempfile::tempdir().unwrap();
    let (data, out, again) = (recordings(root.path()), root.path().join("run"), root.path().join("again"));
    let tuned = run(program("tune --steps 2 --outer 1 --device reference --random-split --data")
        .arg(&data)
        .arg("--out")
        .arg(&out))
    .exits(0);
    // 33 windows of three people are fewer than the usual batch.
    let tuned = tuned.says(&["Note: batches of 33 windows, all that there are to train on"]);
    for part in ["are kept apart: ", "on a random division of the same windows: ", "Expect the first"] {
        assert!(tuned.stdout.contains(part), "{part}: {}", tuned.stdout);
    }
    let settings = fs::read_to_string(out.join("run.toml")).unwrap();
    for line in ["rate = 25.0", "window = 64", "batch = 33", "[columns]", "person = \"file\"", "label = \"activity\""] {
        assert!(settings.lines().any(|own| own == line), "{line}: {settings}");
    }
    run(program("tune --config").arg(out.join("run.toml")).arg("--out").arg(&again)).exits(0);
    let [first, second] = [&out, &again].map(|run| json(run.join("result.json")));
    assert_eq!((&first["data"], &first["end"]), (&second["data"], &second["end"]));
    run(program("export").arg(&out)).exits(0);
    let card = json(out.join("card.json"));
    let parts = serde_json::json!({ "training": [1, 2, 3], "validation": [4], "test": [5, 6] });
    assert_eq!((&card["split"], &card["data"]["people"]), (&parts, &parts));
    let folds =
        run(program("tune --steps 2 --outer 1 --device reference --leave-one-person-out --data").arg(&data)).exits(0);
    folds.says(&["in 4 folds"]);
}

#[test]
fn labels_of_other_classes_and_small_units_are_said() {
    let root = tempfile::tempdir().unwrap();
    let (data, out) = (recordings(root.path()), root.path().join("run"));
    run(program("tune --steps 2 --outer 1 --device reference --data").arg(&data).arg("--out").arg(&out)).exits(0);
    let text = fs::read_to_string(data.join("person1.csv")).unwrap();
    let other = root.path().join("other.csv");
    fs::write(&other, text.replace("walk", "swim")).unwrap();
    let told = run(program("predict --device reference").arg(&out).arg(&other)).exits(0);
    told.says(&[
        "6 windows have labels that are no classes of the run (`swim`; its classes are sit, walk), and are not scored",
    ]);
    fs::write(&other, text.replace("walk", "swim").replace(";sit", ";row")).unwrap();
    let told = run(program("predict --device reference").arg(&out).arg(&other)).exits(0);
    told.says(&["(`row`, `swim`; its classes are sit, walk), so nothing can be scored"]);
    // A tenth of the spread is g where m/s² were, though it is no large deviation.
    let mut small = "t,acc x,acc y\n".to_owned();
    for sample in 0..400 {
        let wave = |c: f64| (f64::from(sample) * 0.9 + c).sin() / 9.81;
        let _ = writeln!(small, "{:.2},{:.4},{:.4}", f64::from(sample) * 0.04, wave(0.0), wave(1.0));
    }
    fs::write(&other, small).unwrap();
    run(program("predict --device reference").arg(&out).arg(&other)).exits(0).says(&["g for m/s²?"]);
}
