//! Reports of studies and runs of which some are not as they should be, through the built program.

mod cli_support;

use std::fs;
use std::path::{Path, PathBuf};

use cli_support::{Outcome, json, program, run, tiny_data, tune};
use serde_json::{Value, json as object};

const NAME: &str = "har-baselines-quick.jsonl";

/// An outcome of a study, as a line of its file.
fn outcome(method: &str, seed: u32, metrics: &Value) -> Value {
    object!({
        "study": "har-baselines", "labels": { "method": method, "seed": seed.to_string() }, "metrics": metrics,
        "seconds": 1.0, "version": env!("CARGO_PKG_VERSION"), "engine": "cpu", "adapter": "a processor", "backend": "",
        "driver": "", "software": true,
    })
}

fn sound(method: &str, seed: u32, accuracy: f64) -> Value {
    outcome(method, seed, &object!({ "outer_loss": 1.5, "test_accuracy": accuracy }))
}

fn lines(outcomes: &[Value]) -> String {
    outcomes.iter().map(|outcome| format!("{outcome}\n")).collect()
}

fn report(directories: &[&Path], out: &Path) -> Outcome {
    run(program("report").args(directories).arg("--out").arg(out))
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// What is wrong with a run's iterations is said once, and none counts twice.
#[test]
fn iterations_count_once_and_what_is_wrong_with_them_is_said_once() {
    let root = tempfile::tempdir().unwrap();
    let (data, one, out) = (tiny_data(root.path()), root.path().join("one"), root.path().join("out"));
    run(tune(&data, "--outer 3").arg("--out").arg(&one)).exits(0);
    let metrics = fs::read_to_string(one.join("metrics.jsonl")).unwrap();
    let lines: Vec<&str> = metrics.lines().collect();
    for (text, says, count) in [
        (format!("{metrics}{metrics}"), "line 4, iteration 1 is there already, and the last counts; and 2 more", 3),
        (format!("{}\n{}\n", lines[0], lines[1]), "it has 2 iterations, and result.json says 3", 2),
        (format!("x\ny\n{metrics}z\n"), "; and 2 more", 3),
    ] {
        fs::write(one.join("metrics.jsonl"), &text).unwrap();
        report(&[&one], &out).exits(1).says(&["metrics.jsonl", says]);
        let runs = &json(out.join("report.json"))["runs"];
        assert_eq!(runs[0]["iterations"].as_array().unwrap().len(), count, "{runs}");
    }
}

#[test]
fn one_bad_run_does_not_cost_the_set() {
    let root = tempfile::tempdir().unwrap();
    let (data, runs, out) = (tiny_data(root.path()), root.path().join("runs"), root.path().join("out"));
    let at = |name: &str| runs.join(name);
    run(tune(&data, "--outer 2").arg("--out").arg(at("good"))).exits(0);
    run(tune(&data, "--device cpu --learning-rate 1e20").arg("--out").arg(at("diverged"))).exits(1);
    fs::create_dir_all(at("begun")).unwrap();
    fs::copy(at("good/run.toml"), at("begun/run.toml")).unwrap();
    copy(&at("good"), &at("without a line"));
    fs::write(at("without a line/metrics.jsonl"), "").unwrap();
    copy(&at("good"), &at("interrupted"));
    fs::remove_file(at("interrupted/result.json")).unwrap();
    // Folders named like a run's files, and files that are not ours, are no runs.
    fs::create_dir_all(at("no run/run.toml")).unwrap();
    fs::create_dir_all(at("theirs")).unwrap();
    fs::write(at("theirs/run.toml"), "[tool]\nname = \"another\"\n").unwrap();
    fs::create_dir_all(at("empty")).unwrap();

    let states = |report: &Value| -> Vec<(String, String)> {
        let name = |run: &Value| Path::new(run["name"].as_str().unwrap()).file_name().unwrap().to_owned();
        let runs = report["runs"].as_array().unwrap().iter();
        runs.map(|run| (name(run).into_string().unwrap(), run["state"].as_str().unwrap().to_owned())).collect()
    };
    let whole = [
        ("begun", "not-begun"),
        ("diverged", "diverged"),
        ("good", "finished"),
        ("interrupted", "unfinished"),
        ("without a line", "finished"),
    ]
    .map(|(name, state)| (name.to_owned(), state.to_owned()));
    report(&[&runs], &out).exits(0);
    assert_eq!(states(&json(out.join("report.json"))), whole);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    for text in [
        "Not begun: its settings are saved",
        "Diverged with the start values, after 3 outer iterations",
        "<td>test loss</td><td>diverged</td><td>diverged</td>",
        "2 outer iterations; the best is iteration",
        "Not finished: 2 outer iterations done",
        ">outer loss<",
    ] {
        assert!(page.contains(text) || page.replace('\n', "").contains(text), "no `{text}`");
    }
    for name in ["diverged", "begun", "without a line"] {
        report(&[&at(name)], &out).exits(0);
        assert_eq!(json(out.join("report.json"))["runs"].as_array().unwrap().len(), 1, "{name} alone");
    }

    copy(&at("good"), &at("damaged"));
    fs::write(at("damaged/result.json"), "{\"version\":").unwrap();
    copy(&at("good"), &at("half a line"));
    let metrics = fs::read_to_string(at("good/metrics.jsonl")).unwrap();
    let (first, second) = metrics.split_once('\n').unwrap();
    fs::write(at("half a line/metrics.jsonl"), format!("{}\n{second}", &first[..first.len() / 2])).unwrap();
    fs::create_dir_all(at("spoilt")).unwrap();
    fs::write(at("spoilt/run.toml"), "# stackelberg 0.0.3 on the cpu engine\nsteps = \"many\"\n").unwrap();
    let told = report(&[&runs, &root.path().join("nowhere")], &out).exits(1);
    told.says(&[
        "result.json cannot be used",
        "metrics.jsonl cannot be used: line 1, column",
        "nowhere cannot be used",
    ]);
    let all = json(out.join("report.json"));
    assert_eq!((states(&all).len(), all["left_out"].as_array().unwrap().len()), (whole.len() + 2, 4), "{all:#}");
    assert!(states(&all).contains(&("damaged".to_owned(), "damaged".to_owned())));
    let names: Vec<String> = states(&all).into_iter().map(|(name, _)| name).collect();
    assert!(whole.iter().all(|(name, _)| names.contains(name)));
    // What lies in two of the given folders is reported once.
    report(&[&runs, &at("good"), &at("good")], &out).exits(1);
    assert_eq!(states(&json(out.join("report.json"))).len(), whole.len() + 2);
}

#[test]
fn every_figure_of_a_run_is_in_the_table() {
    let root = tempfile::tempdir().unwrap();
    let (data, directory, out) = (tiny_data(root.path()), root.path().join("run"), root.path().join("out"));
    run(tune(&data, "--outer 2").arg("--out").arg(&directory)).exits(0);
    report(&[&directory], &out).exits(0);
    let table = fs::read_to_string(out.join("report.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let value = |labels: &str, metric: &str| -> f64 {
        let row = rows.iter().find(|row| &row[1] == labels && &row[2] == metric);
        row.unwrap_or_else(|| panic!("no {labels} {metric} in\n{table}"))[3].parse().unwrap()
    };
    let result = json(directory.join("result.json"));
    for (labels, key) in [("at=start", "start"), ("at=tuned", "end")] {
        for (part, name) in [("train", "training"), ("validation", "validation"), ("test", "test")] {
            for figure in ["loss", "accuracy"] {
                let expected = result[key][part][figure].as_f64().unwrap();
                assert_eq!(value(labels, &format!("{name}_{figure}")), expected, "{key} {part} {figure}");
            }
        }
        assert_eq!(value(labels, "test_macro_f1"), result[key]["test_classes"]["macro_f1"].as_f64().unwrap());
        assert_eq!(value(labels, "momentum"), result[key]["hyperparameters"]["momentum"].as_f64().unwrap());
    }
    assert_eq!(value("", "best_outer_loss"), result["best_outer_loss"].as_f64().unwrap());
    for record in cli_support::metrics(&directory) {
        let labels = format!("iteration={}", record["iteration"]);
        assert_eq!(value(&labels, "outer_loss"), record["outer_loss"].as_f64().unwrap());
        if record["differentiated"] == true {
            let derivative = record["hypergradient"]["learning_rate"].as_f64().unwrap();
            assert_eq!(value(&labels, "hypergradient.learning_rate"), derivative);
        }
    }
}

#[test]
fn one_bad_line_does_not_cost_a_study_nor_one_study_the_others() {
    let root = tempfile::tempdir().unwrap();
    let (bad, good, out) = (root.path().join("bad"), root.path().join("good"), root.path().join("out"));
    [&bad, &good].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let first = sound("grid search", 0, 0.25).to_string();
    let other = object!({ "study": "har-baselines", "labels": { "size": "7", "seed": "0" }, "metrics": {},
        "seconds": 1.0, "version": "0.0.3", "engine": "", "adapter": "", "backend": "", "driver": "", "software": true });
    let second = sound("random search", 0, 0.5);
    let text = format!("{first}\n{}\n{other}\n\n\u{feff}{second}\r\n{{\"study\": \"har", &first[..40]);
    fs::write(bad.join(NAME), text).unwrap();
    fs::write(bad.join("har-best-quick.jsonl"), "\0\u{fffd}\n").unwrap();
    fs::write(bad.join("har-horizon-quick.jsonl"), "").unwrap();
    fs::write(
        bad.join("tomorrow-quick.jsonl"),
        lines(&[outcome("", 0, &object!({}))]).replace("har-baselines", "tomorrow"),
    )
    .unwrap();
    fs::write(bad.join("mine.jsonl"), "{\"text\": \"a training example\"}\n").unwrap();
    fs::create_dir(bad.join("where-it-pays-quick.jsonl")).unwrap();
    // Each way to write a number that is none.
    let undefined = outcome("Adam 1e-3", 0, &object!({ "outer_loss": 1.0, "test_accuracy": 0.5, "auc": null }));
    fs::write(good.join(NAME), lines(&[undefined])).unwrap();

    let told = report(&[&bad, &good], &out).exits(1).says(&[
        "line 2: column 40",
        "(and 1 more)",
        "take the line out",
        "har-best-quick.jsonl cannot be used",
        "its study tomorrow is not one of this version",
        "mine.jsonl is no file of a study",
        "har-horizon-quick.jsonl has no outcome yet",
    ]);
    assert!(!told.stderr.contains('\0'));
    let report = json(out.join("report.json"));
    let rows = |at: usize| report["studies"][at]["rows"].as_array().unwrap().len();
    assert_eq!((report["studies"].as_array().unwrap().len(), rows(0), rows(1)), (2, 2, 1), "{report:#}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let fifo = |path: PathBuf| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    fifo(root.path().join(NAME));
    fs::create_dir(root.path().join("run")).unwrap();
    fifo(root.path().join("run/run.toml"));
    fifo(root.path().join("run/result.json"));
    report(&[root.path()], &root.path().join("out")).exits(2).says(&["nothing to report"]);
    let study = program("experiment har-baselines --device cpu --out").arg(root.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&study.stderr).contains("it is no file, but a folder, a pipe"));
}

#[test]
fn seeds_versions_and_devices_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let of = |outcomes: &[Value]| {
        fs::write(root.path().join(NAME), lines(outcomes)).unwrap();
        let told = report(&[root.path()], &out).exits(0);
        (
            told,
            json(out.join("report.json"))["studies"][0].clone(),
            fs::read_to_string(out.join("report.html")).unwrap(),
        )
    };
    let diverged = |seed| outcome("hypergradients", seed, &object!({ "best_iteration": 0.0 }));
    let [zero, one] = [(0, 0.5), (1, 0.75)].map(|(seed, accuracy)| sound("hypergradients", seed, accuracy));

    let (_, study, page) = of(&[zero.clone(), one.clone(), diverged(2)]);
    let row = &study["rows"][0];
    assert_eq!((&row["seeds"], &row["diverged"]), (&3.into(), &1.into()));
    assert_eq!(row["metrics"]["test_accuracy"]["mean"], 0.625);
    assert!(page.contains("<td>2 of 3, 1 diverged</td>"), "{page}");

    let (told, study, page) = of(&[zero.clone(), one.clone(), zero.clone()]);
    let row = &study["rows"][0];
    assert_eq!((&row["seeds"], &row["metrics"]["test_accuracy"]["mean"]), (&2.into(), &0.625.into()));
    let remark = "method=hypergradients seed=0 is there more than once, with the same figures";
    told.says(&[remark]);
    assert!(page.contains(remark));

    let (told, study, _) = of(&[diverged(0), zero.clone()]);
    assert_eq!((&study["rows"][0]["seeds"], &study["rows"][0]["diverged"]), (&1.into(), &0.into()));
    told.says(&["with other figures: the last one counts"]);

    let mut old = one.clone();
    old["version"] = "0.0.3".into();
    old["adapter"] = "another".into();
    let (told, study, page) = of(&[zero, old]);
    told.says(&["1 of 2 outcomes are of version 0.0.3", "several devices"]);
    assert_eq!(study["versions"], object!(["0.0.3", env!("CARGO_PKG_VERSION")]));
    assert!(page.contains("by version 0.0.3, "), "{page}");

    let (_, _, page) = of(&[diverged(0)]);
    assert!(page.contains("<td>diverged</td>") && page.contains("<td>0 of 1, 1 diverged</td>"), "{page}");
}

#[test]
fn two_studies_of_one_name_keep_their_own_charts() {
    let root = tempfile::tempdir().unwrap();
    let (one, two, out) = (root.path().join("a-b"), root.path().join("a b"), root.path().join("out"));
    for (folder, method) in [(&one, "random search"), (&two, "grid search")] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join(NAME), lines(&[sound(method, 0, 0.5)])).unwrap();
    }
    report(&[&one, &two], &out).exits(0);
    let charts =
        fs::read_dir(out.join("charts")).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let charts: Vec<String> = charts.collect();
    for method in ["random search", "grid search"] {
        let of = charts.iter().filter(|chart| chart.contains(method)).count();
        assert_eq!((charts.len(), of), (4, 2), "{method}");
    }
    let report = json(out.join("report.json"));
    let names: Vec<&str> = report["studies"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert!(names[0].contains("a-b") && names[1].contains("a b"), "{names:?}");
}

#[test]
fn a_report_replaces_reports_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let here = |name: &str| root.path().join(name);
    fs::write(here(NAME), lines(&[sound("grid search", 0, 0.25)])).unwrap();
    fs::write(here("report.csv"), "mine").unwrap();
    let make = |arguments: &str| run(program(arguments).current_dir(root.path()));
    make("report .").exits(0);
    let first = fs::read_to_string(here("report/report.csv")).unwrap();
    assert!(first.contains("grid search"), "a folder of its own: {first}");
    fs::write(here(NAME), lines(&[sound("random search", 0, 0.25)])).unwrap();
    make("report .").exits(0);
    assert!(fs::read_to_string(here("report/report.csv")).unwrap().contains("random search"));

    make("report . --out .").exits(2).says(&["report.csv was not written by this command", "--out"]);
    assert_eq!(fs::read_to_string(here("report.csv")).unwrap(), "mine");
    assert!(!here("report.html").exists() && !here("charts").exists(), "all or none");
    fs::write(here("report/charts/har-baselines-quick-outer-loss.svg"), "edited").unwrap();
    make("report .").exits(2).says(&["outer-loss.svg was not written by this command, or was changed since"]);
}

#[test]
fn nothing_in_files_or_their_names_commands_the_terminal() {
    let root = tempfile::tempdir().unwrap();
    let escape = "\u{1b}]0;title\u{7}\u{1b}[31m\u{9b}2J\u{202e}\r";
    let folder = root.path().join(if cfg!(unix) { escape } else { "plain" });
    fs::create_dir(&folder).unwrap();
    let mut foreign = sound(escape, 0, 0.5);
    foreign["adapter"] = escape.into();
    let other = outcome("x", 0, &object!({})).to_string().replace("har-baselines", escape);
    fs::write(folder.join(NAME), format!("{foreign}\n{other}\n{escape}\n{escape}: {{}}\n")).unwrap();
    fs::write(folder.join("tomorrow.jsonl"), other.clone() + "\n").unwrap();
    fs::create_dir(folder.join("run")).unwrap();
    fs::write(folder.join("run/run.toml"), format!("# stackelberg 0.0.3\nsteps = \"{escape}\"\n")).unwrap();
    fs::create_dir(folder.join("case")).unwrap();
    fs::write(folder.join("case/case.json"), format!("{{\"name\": \"{escape}\", \"{escape}\": 1}}")).unwrap();
    let config = folder.join("config.toml");
    fs::write(&config, format!("steps = 3 {escape}\n")).unwrap();
    let labels = tiny_data(&folder).join("train/y_train.txt");
    fs::write(&labels, fs::read_to_string(&labels).unwrap().replacen('2', escape, 1)).unwrap();
    let commands = [
        report(&[&folder], &folder.join("out")),
        run(program("report").arg(folder.join("nowhere"))),
        run(program("tune --data").arg(&folder)),
        run(program("tune --data").arg(folder.join("nowhere"))),
        run(program("tune --config").arg(&config)),
        run(program("tune --resume").arg(folder.join("run"))),
        run(program("verify --device reference").arg(folder.join("case"))),
        run(program("verify --json --device reference").arg(folder.join("case"))),
        run(program("experiment har-baselines --device cpu --out").arg(&folder)),
        run(program("data --data").arg(&folder)),
        run(program("explain --data").arg(&folder)),
    ];
    for Outcome { stdout, stderr, .. } in &commands {
        let acts = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!stdout.contains(acts) && !stderr.contains(acts), "{stdout:?}\n{stderr:?}");
    }
    assert!(commands.iter().any(|outcome| outcome.stderr.contains(r"\u001b]0;title\u0007")), "they are shown");
    serde_json::from_str::<Value>(&commands[7].stdout).unwrap();
    let page = fs::read_to_string(folder.join("out/report.html")).unwrap();
    assert!(!page.contains('\u{1b}'), "a page is for terminals, too");
}
