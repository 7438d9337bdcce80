//! `stackelberg search` through the built program: studies that end, are killed, shared, gone on with by Optuna, and drawn.

mod cli_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cli_support::{Bench, json, program, run, spawn, wait, wait_until};
use stackelberg::experiment::searching::ledger;
use stackelberg::search::journal::Journal;
use stackelberg::search::{Event, State};

const SPACE: &str = r#"
    [[dimension]]
    name = "learning_rate"
    type = "float"
    low = 1e-3
    high = 0.5
    log = true

    [[dimension]]
    name = "momentum"
    type = "float"
    low = 0.3
    high = 0.95

    [[dimension]]
    name = "batch"
    type = "int"
    low = 2
    high = 6
"#;

/// The tiny data, with settings and a space for it.
struct Ground {
    bench: Bench,
    config: PathBuf,
    space: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let bench = Bench::new();
        let (config, space) = (bench.dir("config.toml"), bench.dir("space.toml"));
        fs::write(&config, "steps = 9\nbatch = 4\nvalidation_windows = 8\nnetwork = \"mlp\"\n").unwrap();
        fs::write(&space, SPACE).unwrap();
        Ground { bench, config, space }
    }

    fn journal(&self, name: &str) -> PathBuf {
        self.bench.dir(name)
    }

    /// A study that begins.
    fn search(&self, journal: &str, more: &str) -> Command {
        let mut command = self.go_on(journal, more);
        command.arg("--config").arg(&self.config).arg("--space").arg(&self.space).arg("--data").arg(&self.bench.data);
        command
    }

    /// The study of a journal, whatever it is.
    fn go_on(&self, journal: &str, more: &str) -> Command {
        let mut command = program("search --device cpu");
        command.args(more.split_whitespace()).arg("--journal").arg(self.journal(journal));
        command
    }
}

fn study(path: &Path) -> Journal {
    ledger::read(path).unwrap().expect("a study").1
}

#[test]
fn a_study_ends_with_what_the_best_is_worth() {
    let ground = Ground::new();
    let out = ground.bench.dir("best");
    let told = run(ground.search("study.log", "--method asha --budget 5 --fresh 2").arg("--out").arg(&out)).exits(0);
    let told = told.says(&["Searcher: asha", "Searched: learning_rate, momentum, batch", "goes on to", "at rung 1"]);
    for text in ["Best: trial ", "seed of the search 0", "fresh seeds 1 to 2", "outer loss", "test accuracy"] {
        assert!(told.stdout.contains(text), "no `{text}` in\n{}", told.stdout);
    }
    let first = study(&ground.journal("study.log"));
    let best = first.history.best().expect("one came to its end").clone();
    let result = json(out.join("result.json"));
    assert_eq!((&result["best"]["number"], &result["study"]["method"]), (&best.number.into(), &"asha".into()));
    // Trained alone, the best comes to what it had come to from rung to rung.
    let own = &result["trainings"][0];
    assert_eq!((own["seed"].as_u64(), own["metrics"]["outer_loss"].as_f64()), (Some(0), Some(best.score())));
    let mut train = program("train --json --device cpu --config");
    let trained = run(train.arg(out.join("best.toml"))).exits(0);
    let trained: serde_json::Value = serde_json::from_str(&trained.stdout).unwrap();
    assert_eq!(trained["metrics"]["outer_loss"].as_f64(), Some(best.score()));
    // A larger budget goes on with the same study.
    run(&mut ground.go_on("study.log", "--budget 7 --fresh 0")).exits(0).says(&["Going on after"]);
    let longer = study(&ground.journal("study.log"));
    assert!(longer.events.len() > first.events.len());
    assert_eq!(longer.events[..first.events.len()], first.events[..]);
}

#[test]
fn a_study_that_was_killed_goes_on_to_the_same_decisions() {
    let ground = Ground::new();
    let arguments = "--method tpe-asha --budget 5 --workers 3 --fresh 0";
    run(&mut ground.search("whole.log", arguments)).exits(0);
    let parts = ground.journal("parts.log");
    for lines in [6, 25, 40] {
        let mut child = spawn(&mut ground.search("parts.log", arguments));
        let there = || fs::read_to_string(&parts).unwrap_or_default().lines().count();
        wait_until(&mut child, "some lines are there", || there() >= lines);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    run(&mut ground.go_on("parts.log", "--budget 5 --fresh 0")).exits(0).says(&["Going on after"]);
    let [whole, parts] = ["whole.log", "parts.log"].map(|name| study(&ground.journal(name)));
    assert!(whole.events.iter().any(|event| matches!(event, Event::Resumed { .. })));
    assert_eq!(parts.events, whole.events);
}

#[test]
fn two_processes_share_a_study() {
    let ground = Ground::new();
    let arguments = "--method asha --budget 6 --workers 2 --fresh 0";
    let both = [0, 1].map(|_| spawn(&mut ground.search("study.log", arguments)));
    for child in both {
        wait(child).exits(0);
    }
    let shared = study(&ground.journal("study.log"));
    // What is in the file makes one history, and all that ended has a value.
    let mut owners = shared.owners.clone();
    owners.sort();
    owners.dedup();
    assert_eq!(owners.len(), 2, "both have trained");
    let ended = shared.history.trials().iter().filter(|trial| trial.state == State::Complete);
    assert!(ended.clone().count() > 0 && ended.clone().all(|trial| trial.step() == 9));
    // A third one takes over what they have left, and no trial is lost.
    run(&mut ground.go_on("study.log", "--budget 8 --workers 9 --fresh 0")).exits(0);
    let after = study(&ground.journal("study.log"));
    for trial in shared.history.trials().iter().filter(|trial| trial.state == State::Running) {
        let trial = after.history.trial(trial.number).unwrap();
        assert!(!shared.owners.contains(&after.owners[trial.number as usize]), "trial {}", trial.number);
    }
    assert!(!ground.journal("study.log.lock").exists());
}

#[test]
fn what_is_wrong_is_told_before_anything_is_made() {
    let ground = Ground::new();
    let none = |told: cli_support::Outcome| {
        assert!(!ground.journal("study.log").exists(), "{}", told.stderr);
    };
    none(run(&mut ground.go_on("study.log", "")).exits(2).says(&["search takes a --method", "study.log has no study"]));
    none(run(&mut ground.go_on("study.log", "--method annealing")).exits(2).says(&["annealing", "asha-stop"]));
    none(run(&mut ground.go_on("study.log", "--seed 3")).exits(2).says(&["--method"]));
    let with = |text: &str| {
        fs::write(&ground.space, text).unwrap();
        run(&mut ground.search("study.log", "--method asha")).exits(2)
    };
    none(with(&SPACE.replace("batch", "width")).says(&["no `width` to be searched", "network, batch, optimizer"]));
    none(with(&SPACE.replace("0.95", "0.1")).says(&["space.toml", "`momentum`", "from 0.3 to 0.1"]));
    none(with("dimension = 3").says(&["space.toml", "line 1"]));
    fs::write(&ground.space, SPACE).unwrap();
    run(&mut ground.search("study.log", "--method random --budget 1 --fresh 0")).exits(0);
    let other = |more: &str| run(&mut ground.search("study.log", more)).exits(2);
    other("--method tpe").says(&["begun with another method", "\"random\"", "\"tpe\"", "another --journal"]);
    other("--method random --seed 4").says(&["another seed: 0; 4"]);
    other("--method random --hypergradient-descent").says(&["another arm.hypergradient-descent: false; true"]);
    fs::write(&ground.space, SPACE.replace("0.95", "0.9")).unwrap();
    other("--method random").says(&["begun with another space"]);
    run(&mut ground.go_on("study.log", "--quick")).exits(2).says(&["without --method the study goes on"]);
    fs::write(ground.journal("other.log"), "3\n").unwrap();
    run(&mut ground.go_on("other.log", "--method random")).exits(1).says(&["other.log, line 1"]);
}

#[test]
fn hypergradients_take_over_what_they_move() {
    let ground = Ground::new();
    let explained = |more: &str| {
        let told = run(program(&format!("search --explain-space {more}")).arg("--space").arg(&ground.space)).exits(0);
        told.stdout.lines().skip(1).map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    let rows: [Vec<String>; 3] = ["", "--hypergradient-descent", "--hypergradients"].map(explained);
    assert_eq!(rows[0], ["learning_rate midway", "momentum midway", "batch structural"]);
    assert_eq!([&rows[1], &rows[2]], [&["batch structural"], &["batch structural"]]);
    // A training whose learning rate moves, and tunings that differ in their batches alone.
    run(&mut ground.search("descent.log", "--method random --hypergradient-descent --budget 2 --fresh 0")).exits(0);
    let told = run(&mut ground
        .search("tuned.log", "--method asha --hypergradients --outer 4 --least 2 --factor 2 --budget 24 --fresh 1"));
    let told = told.exits(0).says(&["Searched: batch;", "4 outer iterations", "at rung 2"]);
    assert!(told.stdout.contains("Best: trial "), "{}", told.stdout);
    let tuned = study(&ground.journal("tuned.log"));
    for trial in tuned.history.trials() {
        // A tuning is worth its best iteration, and costs what it says.
        assert!(trial.reports.windows(2).all(|pair| pair[1].value <= pair[0].value));
        let cost = tuned.spent.get(&trial.number).copied().unwrap_or_default();
        assert!(cost >= trial.step() as f64, "trial {} cost {cost}", trial.number);
    }
}

#[test]
fn what_moves_is_copied_begun_anew_or_kept() {
    let ground = Ground::new();
    let rules = ["copy", "reset", "keep"].map(|rule| {
        let (journal, out) = (format!("{rule}.log"), ground.bench.dir(rule));
        let line =
            format!("--method pbt --hypergradient-descent --exploit {rule} --least 3 --workers 6 --fresh 1 --budget 6");
        run(ground.search(&journal, &line).arg("--out").arg(&out)).exits(0);
        let study = study(&ground.journal(&journal));
        assert!(study.events.iter().any(|event| matches!(event, Event::Changed { .. })), "{rule}");
        // The best, trained again through all of it, comes to the same bits.
        let result = json(out.join("result.json"));
        assert_eq!(
            result["trainings"][0]["metrics"]["outer_loss"],
            result["best"]["reports"].as_array().unwrap().last().unwrap()["value"]
        );
        study.history.trials().iter().map(|trial| trial.score()).collect::<Vec<_>>()
    });
    assert!(rules[0] != rules[1] && rules[1] != rules[2] && rules[0] != rules[2], "{rules:?}");
    let refused = |line: &str| run(&mut ground.search("other.log", line)).exits(2);
    refused("--method asha --hypergradient-descent --exploit keep").says(&["`exploit`", "pbt or pb2"]);
    refused("--method pbt --exploit keep").says(&["--hypergradient-descent"]);
}

#[test]
fn a_population_takes_over_and_is_drawn() {
    let ground = Ground::new();
    run(&mut ground.search("population.log", "--method pbt --least 3 --workers 6 --fresh 1 --budget 6")).exits(0);
    let members = study(&ground.journal("population.log"));
    assert_eq!(members.history.trials().len(), 6);
    assert!(members.events.iter().any(|event| matches!(event, Event::Changed { .. })));
    run(&mut ground.search("asha.log", "--method asha --fresh 0 --budget 6")).exits(0);
    let out = ground.bench.dir("report");
    run(program("report").arg(ground.journal("asha.log")).arg("--out").arg(&out)).exits(0);
    let report = json(out.join("report.json"));
    let search = &report["searches"][0];
    assert_eq!(search["about"]["method"], "asha");
    let shares = search["importance"]["shares"].as_array().expect("enough trials");
    assert_eq!(shares.len(), 3);
    for chart in ["history", "rungs", "parallel", "importance", "timeline"] {
        let svg = fs::read_to_string(out.join(format!("charts/asha-{chart}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.len() > 1000, "{chart}");
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("by asha in 3 dimensions") && page.matches("<svg").count() == 5);
    let csv = fs::read_to_string(out.join("report.csv")).unwrap();
    assert!(csv.contains("\"trial=0\",learning_rate,") && csv.contains("importance.momentum"));
    // A folder has all journals in it, and nothing but these.
    run(program("report").arg(ground.bench.root.path()).arg("--out").arg(&out)).exits(0);
    assert_eq!(json(out.join("report.json"))["searches"].as_array().unwrap().len(), 2);
}

#[test]
fn optuna_goes_on_with_a_study_and_it_with_optunas() {
    let Some(python) = std::env::var_os("STACKELBERG_PYTHON") else {
        println!("skipped: STACKELBERG_PYTHON names no Python that has Optuna");
        return;
    };
    let ground = Ground::new();
    run(&mut ground.search("study.log", "--method tpe --budget 12 --fresh 0")).exits(0);
    let before = study(&ground.journal("study.log")).history.next();
    let program = "
import sys, optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name='stackelberg', storage=JournalStorage(JournalFileBackend(sys.argv[1])))
assert len(study.trials) >= int(sys.argv[2]), len(study.trials)
def f(trial):
    lr = trial.suggest_float('learning_rate', 1e-3, 0.5, log=True)
    trial.suggest_float('momentum', 0.3, 0.95)
    trial.suggest_int('batch', 2, 6)
    trial.report(lr, 9)
    return lr
study.optimize(f, 40)
";
    // At the same time as ours, under the same lock.
    let mut theirs = Command::new(&python);
    theirs.args(["-c", program]).arg(ground.journal("study.log")).arg(before.to_string());
    let theirs = spawn(&mut theirs);
    let ours = spawn(&mut ground.go_on("study.log", "--budget 30 --fresh 0"));
    wait(theirs).exits(0);
    wait(ours).exits(0);
    run(&mut ground.go_on("study.log", "--budget 60 --fresh 0")).exits(0);
    let after = study(&ground.journal("study.log"));
    let pythons = after.owners.iter().filter(|owner| !owner.starts_with("stackelberg-")).count();
    assert_eq!(pythons, 40);
    assert!(after.history.trials().iter().all(|trial| trial.state == State::Complete && trial.score().is_finite()));
    // And Optuna's dashboard opens it.
    let mut dashboard = Command::new(&python);
    dashboard.args(["-c", DASHBOARD]).arg(ground.journal("study.log")).arg(after.history.next().to_string());
    wait(spawn(&mut dashboard)).exits(0);
}

/// Asks Optuna's dashboard, without a server, for the study in a journal, and how many trials it has.
const DASHBOARD: &str = "
import io, json, sys
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna_dashboard import wsgi
app = wsgi(JournalStorage(JournalFileBackend(sys.argv[1])))
def get(path, query=''):
    said = []
    request = {'REQUEST_METHOD': 'GET', 'PATH_INFO': path, 'QUERY_STRING': query, 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
        'SERVER_PROTOCOL': 'HTTP/1.1', 'wsgi.url_scheme': 'http', 'wsgi.input': io.BytesIO(), 'wsgi.errors': sys.stderr}
    body = b''.join(app(request, lambda status, headers, *_: said.append(status)))
    assert said[0].startswith('200'), (path, said, body)
    return json.loads(body)
[study] = get('/api/studies')['study_summaries']
assert study['study_name'] == 'stackelberg', study
trials = get(f\"/api/studies/{study['study_id']}\", 'after=0')['trials']
assert len(trials) == int(sys.argv[2]), len(trials)
assert all(trial['params'] for trial in trials)
";
