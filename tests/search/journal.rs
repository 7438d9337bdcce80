//! Optuna's journal: a file that Optuna 5.0.0 wrote is read, and what is written here comes back as it was, to us and to
//! Optuna.

use std::io::Write;
use std::process::Command;

use stackelberg::search::asha::{Asha, Promotion};
use stackelberg::search::history::{Event, History, State};
use stackelberg::search::journal::{Journal, Writer};
use stackelberg::search::{
    Condition, Dimension, Domain, Explore, Full, Limits, Pbt, Point, Population, Random, Record, Search, Searcher,
    Simulation, Space, Task, Tpe, Value,
};

use crate::vectors::{float, int};

/// As Optuna wrote it, with another name of the worker and other times.
const OPTUNA: &str = include_str!("optuna-5.0.0.log");

const WRITER: Writer = Writer { worker: "ours-1", time: "2026-11-28T12:00:00.000000+00:00" };

fn fixture_space() -> Space {
    let choices = vec![Value::Int(3), Value::Text("adam".to_owned()), Value::Text("sgd".to_owned())];
    let dimension = |name: &str, domain| Dimension { name: name.to_owned(), domain, when: None, structural: false };
    let when = Some(Condition { parent: "kind".to_owned(), values: vec![Value::Text("sgd".to_owned())] });
    Space::new(vec![
        dimension("lr", float(1e-4, 1.0, true)),
        dimension("width", int(4, 64, true)),
        dimension("kind", Domain::Categorical { choices }),
        Dimension { when, ..dimension("momentum", float(0.0, 1.0, false)) },
    ])
    .unwrap()
}

#[test]
fn what_optuna_wrote_is_read() {
    let space = fixture_space();
    let journal = Journal::read(OPTUNA, "fixture", &space).unwrap();
    assert_eq!((journal.study, journal.whole), (Some(1), OPTUNA.len()));
    let trials = journal.history.trials();
    let states: Vec<State> = trials.iter().map(|trial| trial.state).collect();
    use State::{Complete, Failed, Pruned, Running};
    assert_eq!(states, [Complete, Complete, Pruned, Failed, Running, Complete, Complete]);
    // Choices are counted in the space's order, not in the file's.
    assert_eq!(trials[0].point, Point(vec![Some(0.004656804637919571), Some(29.0), Some(1.0), None]));
    assert_eq!(trials[5].point.get(3), Some(0.31551563100606295));
    let scores: Vec<f64> = trials.iter().map(|trial| trial.score()).collect();
    assert_eq!(scores[..3], [0.3379901379712529, 0.5, 0.5006573686655138]);
    // Of the fifth the value is none of its reports, and the last was added as a whole.
    assert_eq!(scores[5..], [0.125, 0.75]);
    assert!(trials[1].reports[0].value.is_nan() && trials[1].reports[1].value == f64::INFINITY);
    assert_eq!(trials[6].value_at(1), Some(1.0));

    // Greater values of another study of the file are better.
    let lr = Space::new(fixture_space().dimensions()[..1].to_vec()).unwrap();
    let greater = Journal::read(OPTUNA, "greater", &lr).unwrap();
    assert_eq!(greater.history.trials()[0].score(), -0.0004649784036750116);
    let other = Journal::read(OPTUNA, "other", &lr).unwrap();
    assert_eq!(other.history.trials()[0].state, State::Paused, "it waits to be taken up");
    assert_eq!(Journal::read(OPTUNA, "none", &lr).unwrap().study, None);
}

#[test]
fn a_line_that_was_cut_off_is_left_out_and_wrong_ones_are_named() {
    let space = fixture_space();
    let cut = OPTUNA.len() - 20;
    let journal = Journal::read(&OPTUNA[..cut], "fixture", &space).unwrap();
    assert_eq!(journal.whole, OPTUNA[..cut].rfind('\n').unwrap() + 1);
    let problem = |text: &str, space: &Space| Journal::read(text, "fixture", space).unwrap_err().to_string();
    let torn = OPTUNA.replacen("\"step\":1", "\"step\":", 1);
    let line = OPTUNA[..OPTUNA.find("\"step\":1").unwrap()].matches('\n').count() + 1;
    assert!(problem(&torn, &space).starts_with(&format!("line {line}: ")));
    let narrow =
        Space::new(vec![Dimension { domain: float(1e-4, 1e-3, true), ..fixture_space().dimensions()[0].clone() }]);
    assert!(problem(OPTUNA, &narrow.unwrap()).contains("`lr` has a value outside of the space"));
}

/// A training whose loss is no number with some trials.
struct Training;

impl Task for Training {
    type State = f64;

    fn begin(&self, trial: u64, _: &Point) -> f64 {
        trial as f64
    }

    fn advance(&self, state: &mut f64, point: &Point, step: u64) -> Option<f64> {
        let loss = point.get(0)?.ln().abs() / step as f64 + point.get(1)? / 64.0;
        match *state as u64 % 5 {
            2 if step > 1 => Some(f64::NAN),
            3 => Some(if step > 1 { f64::INFINITY } else { loss }),
            4 if step > 2 => None,
            _ => Some(loss),
        }
    }
}

/// The text of a study, written event by event by a process that reads the file again each time.
fn written(space: &Space, records: &[Record]) -> String {
    let mut text = OPTUNA.to_owned() + &WRITER.study("ours");
    for Record { event, .. } in records {
        let journal = Journal::read(&text, "ours", space).unwrap();
        text.extend(WRITER.lines(&journal, space, event).unwrap());
    }
    text
}

fn comparable(history: &History) -> String {
    serde_json::to_string(history).unwrap()
}

#[test]
fn what_is_written_comes_back_as_it_was() {
    let space = fixture_space();
    let asha = Asha { least: 1, most: 9, factor: 3, promotion: Promotion::Count };
    let population = Population { members: 4, budget: 9, interval: 3, fraction: 0.25 };
    let searchers: [(&str, &dyn Searcher); 3] = [
        ("asha", &Search { sampler: Random, schedule: asha }),
        ("pbt", &Pbt { population, explore: Explore::default() }),
        ("tpe", &Search { sampler: Tpe { beginning: 5, ..Tpe::OPTUNA5 }, schedule: Full { budget: 3 } }),
    ];
    let mut failed = 0;
    for (name, searcher) in searchers {
        let run = Simulation::new(searcher, &space, &Training, 4, 2, Limits::trials(14));
        let (history, records) = run.run().unwrap();
        let text = written(&space, &records);
        let back = Journal::read(&text, "ours", &space).unwrap();
        assert_eq!(comparable(&back.history), comparable(&history), "{name}");
        // The other study is where it was.
        let other = Journal::read(&text, "fixture", &space).unwrap();
        assert_eq!(comparable(&other.history), comparable(&Journal::read(OPTUNA, "fixture", &space).unwrap().history));
        failed += records.iter().filter(|record| matches!(record.event, Event::Failed { .. })).count();
    }
    assert!(failed > 0, "some broke");
}

/// What a study is, who trains a trial and what that has cost are noted in lines of their own.
#[test]
fn notes_come_back() {
    let space = fixture_space();
    let searcher = Search { sampler: Random, schedule: Full { budget: 3 } };
    let (_, records) = Simulation::new(&searcher, &space, &Training, 4, 2, Limits::trials(2)).run().unwrap();
    let mut text = OPTUNA.to_owned() + &WRITER.study("ours");
    let read = |text: &str| Journal::read(text, "ours", &space).unwrap();
    text += &WRITER.about(&read(&text), &("random", 4)).unwrap();
    for Record { event, .. } in &records[..2] {
        text.extend(WRITER.lines(&read(&text), &space, event).unwrap());
    }
    let other = Writer { worker: "ours-2", ..WRITER };
    text += &other.spent(&read(&text), 0, 0.25).unwrap();
    text += &WRITER.spent(&read(&text), 0, 0.5).unwrap();
    text += &other.adopted(&read(&text), 1).unwrap();
    let back = read(&text);
    assert_eq!(back.events, [records[0].event.clone(), records[1].event.clone()]);
    assert_eq!(back.owners, ["ours-1", "ours-2"]);
    assert_eq!(back.spent, [(0, 0.5)].into());
    let studies = Journal::studies(&text).unwrap();
    let about = |name: &str| studies.iter().find(|(known, _)| known == name).expect("a study").1.clone();
    assert_eq!((about("fixture"), about("ours")), (None, Some(serde_json::json!(["random", 4]))));
    assert!(other.spent(&back, 2, 1.0).unwrap_err().to_string().contains("no such trial"));
    // What this process has written need not be read again.
    let mut known = read(&text);
    for Record { event, .. } in &records[2..] {
        text.extend(WRITER.lines(&known, &space, event).unwrap());
        known.wrote(event.clone(), WRITER.worker).unwrap();
    }
    let again = read(&text);
    assert_eq!(comparable(&known.history), comparable(&again.history));
    assert_eq!((known.events, known.owners), (again.events, again.owners));
}

#[test]
fn optuna_reads_and_continues_what_is_written() {
    let Some(python) = std::env::var_os("STACKELBERG_PYTHON") else {
        println!("skipped: STACKELBERG_PYTHON names no Python that has Optuna");
        return;
    };
    let space = fixture_space();
    let schedule = Asha { least: 1, most: 9, factor: 3, promotion: Promotion::Count };
    let searcher = Search { sampler: Random, schedule };
    let (history, records) = Simulation::new(&searcher, &space, &Training, 4, 2, Limits::trials(14)).run().unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(written(&space, &records).as_bytes()).unwrap();
    let program = "
import sys, json, optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name='ours', storage=JournalStorage(JournalFileBackend(sys.argv[1])))
before = [[t.state.name, t.params, len(t.intermediate_values), t.value] for t in study.trials]
def f(trial):
    lr = trial.suggest_float('lr', 1e-4, 1.0, log=True)
    width = trial.suggest_int('width', 4, 64, log=True)
    kind = trial.suggest_categorical('kind', [3, 'adam', 'sgd'])
    if kind == 'sgd': trial.suggest_float('momentum', 0.0, 1.0)
    trial.report(lr, 1)
    return lr
study.optimize(f, 12)
print(json.dumps(before))
";
    let output = Command::new(python).args(["-c", program]).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap().replace("Infinity", "null");
    let seen: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(seen.len(), history.trials().len());
    for (seen, trial) in seen.iter().zip(history.trials()) {
        let state = match trial.state {
            State::Running | State::Paused => "RUNNING",
            State::Complete => "COMPLETE",
            State::Pruned => "PRUNED",
            State::Failed => "FAIL",
        };
        assert_eq!((&seen[0], seen[2].as_u64()), (&state.into(), Some(trial.reports.len() as u64)));
        assert_eq!(seen[1]["lr"].as_f64(), trial.point.get(0));
        assert_eq!(seen[1]["width"].as_f64(), trial.point.get(1));
        assert_eq!(seen[1].get("momentum").is_some(), trial.point.get(3).is_some());
        if trial.state == State::Complete && trial.score().is_finite() {
            assert_eq!(seen[3].as_f64(), Some(trial.score()));
        }
    }
    // What Optuna added comes back here, and its trials count with ours.
    let text = std::fs::read_to_string(file.path()).unwrap();
    let back = Journal::read(&text, "ours", &space).unwrap().history;
    assert_eq!(back.trials().len(), history.trials().len() + 12);
    let added = &back.trials()[history.trials().len()..];
    assert!(added.iter().all(|trial| trial.state == State::Complete && Some(trial.score()) == trial.point.get(0)));
    let ours = &back.trials()[..history.trials().len()];
    assert_eq!(serde_json::to_string(ours).unwrap(), serde_json::to_string(history.trials()).unwrap());
}
