//! Studies and reports, through the built program.

mod cli_support;

use std::fs;

use cli_support::{json, program, run, spawn, wait, wait_until};
use stackelberg::experiment::study::{self, STUDIES, Study};

const NAME: &str = "har-baselines-quick.jsonl";

/// A line of a study's file as a run of `method` would have written it.
fn line(method: &str, accuracy: f64) -> String {
    format!(
        "{{\"study\":\"har-baselines\",\"labels\":{{\"method\":\"{method}\",\"seed\":\"0\"}},\
         \"metrics\":{{\"outer_loss\":1.5,\"test_accuracy\":{accuracy}}},\"seconds\":1.0,\"version\":\"0.1.0\",\
         \"engine\":\"cpu\",\"adapter\":\"a <processor>\",\"backend\":\"\",\"driver\":\"\",\"software\":true}}\n"
    )
}

const FINISHED: [&str; 4] = ["probe descent", "random search", "grid search", "Adam 1e-3"];

#[test]
fn a_study_goes_on_where_it_was_killed_and_is_reported() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join(NAME);
    let finished: String = FINISHED.map(|method| line(method, 0.25)).concat();
    // The last line was being written when the process was killed.
    fs::write(&file, format!("{finished}{{\"study\":\"har-ba")).unwrap();
    let directory = root.path().display();
    run(&mut program(&format!("report {directory} --out {directory}"))).exits(0);
    let report = json(root.path().join("report.json"));
    assert_eq!(report["studies"][0]["rows"].as_array().unwrap().len(), 4, "what is whole is reported");
    assert!(fs::read_to_string(&file).unwrap().ends_with("har-ba"), "a report changes nothing");

    let study = run(&mut program(&format!("experiment har-baselines --device cpu --out {directory}"))).exits(0);
    let study = study.says(&["1 of 5 trials to do", "5/5 method=logistic regression on statistics seed=0"]);
    assert!(study.stdout.contains("random search") && study.stdout.contains("0.25 "), "{}", study.stdout);
    assert!(!study.stdout.contains('±'), "a single seed has no spread: {}", study.stdout);
    let saved = fs::read_to_string(&file).unwrap();
    assert!(saved.starts_with(&finished));
    let last: serde_json::Value = serde_json::from_str(saved.lines().nth(4).unwrap()).unwrap();
    assert_eq!((saved.lines().count(), last["engine"].as_str()), (5, Some("cpu")));
    let accuracy = last["metrics"]["test_accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.9, "a linear model on good features finds nine tenths of the windows: {accuracy}");

    run(&mut program(&format!("experiment har-baselines --device cpu --out {directory}")))
        .exits(0)
        .says(&["0 of 5 trials to do"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), saved, "nothing is run twice");

    run(&mut program(&format!("report {directory} {directory} --out {directory}"))).exits(0);
    let page = fs::read_to_string(root.path().join("report.html")).unwrap();
    assert!(page.contains("a &lt;processor&gt;") && page.contains("<svg"), "names are escaped, charts are there");
    let rest = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!rest.contains("http:") && !rest.contains("https:"), "the page needs nothing from elsewhere");
    let report = json(root.path().join("report.json"));
    assert_eq!(report["studies"][0]["rows"].as_array().unwrap().len(), 5);
    let table = fs::read_to_string(root.path().join("report.csv")).unwrap();
    assert!(table.contains("\"har-baselines-quick\",\"method=random search\",test_accuracy,0.25,0,1"), "{table}");
    let chart = fs::read_to_string(root.path().join("charts/har-baselines-quick-test-accuracy.svg")).unwrap();
    assert!(page.contains(&chart) && chart.contains("random search"), "every row has its name");
}

/// Two processes at once, each with its part of the trials that are left: each trial is done once, and whoever reads sees
/// all.
#[test]
fn processes_share_a_study() {
    let root = tempfile::tempdir().unwrap();
    // Of the five trials the fourth and the fifth are left: one for each of two parts.
    fs::write(root.path().join(NAME), FINISHED[..3].iter().map(|method| line(method, 0.25)).collect::<String>())
        .unwrap();
    let experiment = |more: &str| {
        let mut command = program(&format!("experiment har-baselines --device cpu {more} --out"));
        command.arg(root.path());
        command
    };
    let part = |part: usize| root.path().join(format!("har-baselines-quick.{part}-of-2.jsonl"));
    let mut parts = [1, 2].map(|part| spawn(&mut experiment(&format!("--shard {part}/2"))));
    wait_until(&mut parts[1], "its file", || part(2).exists());
    // Nobody else does what they do.
    for others in ["", "--shard 2/2", "--shard 1/3"] {
        run(&mut experiment(others)).exits(1).says(&["another process is working on", "har-baselines-quick"]);
    }
    assert!(!root.path().join("har-baselines-quick.1-of-3.jsonl").exists(), "a file of what was refused");
    let [first, second] = parts.map(|part| wait(part).exits(0).says(&["1 of "]));
    assert!(first.stderr.contains("logistic regression") && second.stderr.contains("Adam"), "{}", first.stderr);
    let lines = |path: &std::path::Path| fs::read_to_string(path).unwrap().lines().count();
    assert_eq!([&root.path().join(NAME), &part(1), &part(2)].map(|path| lines(path)), [3, 1, 1]);

    let whole = run(&mut experiment("")).exits(0).says(&["0 of 5 trials to do"]);
    assert!(whole.stdout.contains("logistic regression") && whole.stdout.contains("Adam 1e-3"), "{}", whole.stdout);
    run(&mut experiment("--shard 1/3")).exits(0).says(&["0 of 2 trials to do"]);
    run(program("report").arg(root.path()).arg("--out").arg(root.path())).exits(0);
    let report = json(root.path().join("report.json"));
    assert_eq!(report["studies"].as_array().unwrap().len(), 1);
    assert_eq!(report["studies"][0]["rows"].as_array().unwrap().len(), 5);
    run(&mut experiment("--shard 3/2")).exits(2).says(&["write I/N"]);
    run(&mut program("experiment list --shard 1/2")).exits(2).says(&["list takes no --shard"]);
}

/// The study's own file is there for its lock alone where parts of it were done.
#[test]
fn a_study_in_parts_has_outcomes() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join(NAME), "").unwrap();
    fs::write(root.path().join("har-baselines-quick.1-of-2.jsonl"), line(FINISHED[0], 0.25)).unwrap();
    let told = run(program("report").arg(root.path()).arg("--out").arg(root.path().join("report"))).exits(0);
    assert!(!told.stderr.contains("no outcome"), "{}", told.stderr);
}

#[test]
fn files_and_names_that_cannot_be_used_are_named() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().display();
    run(&mut program(&format!("report {directory}"))).exits(2).says(&["nothing to report", "stackelberg experiment"]);
    run(&mut program("experiment har-basslines")).exits(2).says(&["har-baselines"]);
    fs::write(root.path().join(NAME), format!("{}{{}}\n", line("probe descent", 0.5))).unwrap();
    let damaged = ["line 2", "missing field `study`", "take the line out"];
    run(&mut program(&format!("experiment har-baselines --device cpu --out {directory}"))).exits(1).says(&damaged);
    run(&mut program(&format!("report {directory} --out {directory}/report"))).exits(1).says(&damaged);
}

#[test]
fn data_that_are_not_there_are_named_with_where_to_get_them() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().display();
    run(&mut program(&format!("experiment mnist-hyper-cleaning --device cpu --out {directory} --data {directory}")))
        .exits(1)
        .says(&["there is no train-images-idx3-ubyte", "mnist", "STACKELBERG_DATA"]);
}

/// The outcomes of every trial of a study's quick budget, as a finished run of it would have written them.
fn finished(study: &Study) -> String {
    let outcome = |trial: study::Trial| {
        let outcome = study::Outcome {
            study: study.name.to_owned(),
            labels: trial.labels,
            metrics: [("test_accuracy".to_owned(), 0.5)].into(),
            seconds: 1.0,
            version: "0.0.3".to_owned(),
            device: stackelberg::experiment::record::DeviceRecord {
                engine: "cpu".to_owned(),
                adapter: "a processor".to_owned(),
                backend: String::new(),
                driver: String::new(),
                software: true,
            },
        };
        serde_json::to_string(&outcome).unwrap() + "\n"
    };
    (study.trials)(study::Budget::Quick).into_iter().map(outcome).collect()
}

fn in_file(study: &Study) -> String {
    format!("{}-quick.jsonl", study.name)
}

/// Whoever only reads needs no right to write, leaves no trace, and does not wait for who writes.
#[test]
fn a_finished_study_is_only_read() {
    let root = tempfile::tempdir().unwrap();
    let study = study::find("har-baselines").unwrap();
    let file = root.path().join(in_file(study));
    // The last line has lost its end, as in some editors.
    fs::write(&file, finished(study).trim_end()).unwrap();
    let lock = fs::File::open(&file).unwrap();
    lock.lock().unwrap();
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&file, permissions).unwrap();
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    let told = run(program("experiment har-baselines --device cpu --out").arg(root.path())).exits(0);
    let told = told.says(&["0 of 5 trials to do", "5 of 5 outcomes are of version 0.0.3, not"]);
    assert!(told.stdout.contains("Adam 1e-3"), "{}", told.stdout);
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_is_no_study_is_left_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let of_another = finished(study::find("har-best").unwrap());
    for text in ["my notes", "{\"a\": 1}", "one\ntwo", "\u{1b}[31m", &of_another] {
        let file = root.path().join(NAME);
        fs::write(&file, text).unwrap();
        let told = run(program("experiment har-baselines --device cpu --out").arg(root.path())).exits(1);
        told.says(&["har-baselines-quick.jsonl, line 1:"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn one_bad_study_does_not_cost_all() {
    let root = tempfile::tempdir().unwrap();
    for study in &STUDIES {
        fs::write(root.path().join(in_file(study)), finished(study)).unwrap();
    }
    fs::write(root.path().join(NAME), "{}\n").unwrap();
    let told = run(program("experiment all --device cpu --out").arg(root.path())).exits(1);
    let told = told.says(&["har-baselines is left out", "line 1"]);
    for study in STUDIES.iter().filter(|study| study.name != "har-baselines") {
        assert!(told.stdout.contains(&format!("\n{}\n", study.name)), "no {}:\n{}", study.name, told.stdout);
    }
}

#[test]
fn names_of_studies_wait_for_nothing() {
    let told = run(&mut program("experiment list --device there-is-no-such-device"));
    assert!(told.status != Some(0), "{}", told.stdout);
    for study in &STUDIES {
        assert!(told.stdout.contains(&format!("{}\n  {}", study.name, study.question)), "{}", told.stdout);
    }
}
