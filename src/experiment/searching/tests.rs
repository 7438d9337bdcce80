//! Studies of trainings that cost nothing: formulas with a memory, on no device.

use std::fs;
use std::future::ready;
use std::path::Path;

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::about::About;
use super::executor::{Ended, Executor, SearchError, Watch, spent};
use super::ledger::{self, Ledger, LedgerError};
use super::space::Arm;
use super::subject::Subject;
use super::trainings::{changes, retrained};
use crate::bilevel::{Flow, Pace};
use crate::engine::LocalFuture;
use crate::experiment::config::ConfigError;
use crate::experiment::error::TuneError;
use crate::experiment::event::{Event as Progress, Observed, Observer};
use crate::experiment::record::{Ending, Named};
use crate::experiment::trainable::Job;
use crate::experiment::training::{Report, Training};
use crate::reference::ReferenceEngine;
use crate::rig::Device;
use crate::search::journal::Journal;
use crate::search::{Event, Limits, Point, Simulation, Size, Space, State, Task};

/// A loss that goes to an end that depends on the rate, at a pace that does, too.
#[derive(Clone, Copy)]
struct Formula {
    rate: f64,
    loss: f64,
}

impl Formula {
    fn of(point: &Point) -> Self {
        Formula { rate: point.get(0).unwrap(), loss: 2.0 }
    }

    fn step(&mut self) {
        let end = (self.rate.ln() + 3.0).powi(2) * 0.1 + 0.1;
        self.loss += (0.1 + 0.5 * self.rate) * (end - self.loss);
    }
}

impl Task for Formula {
    type State = Formula;

    fn begin(&self, _: u64, point: &Point) -> Formula {
        Formula::of(point)
    }

    fn advance(&self, state: &mut Formula, point: &Point, _: u64) -> Option<f64> {
        state.rate = point.get(0)?;
        state.step();
        Some(state.loss)
    }
}

/// What is wrong with trainings whose rates are above.
#[derive(Clone, Copy)]
struct Subjects {
    diverges: f64,
    breaks: f64,
    /// Whether a member keeps a tenth of its own loss.
    keeps: bool,
}

const SOUND: Subjects = Subjects { diverges: f64::INFINITY, breaks: f64::INFINITY, keeps: false };

impl Subject for Subjects {
    fn job(&self, point: &Point) -> Result<Box<dyn Job>, TuneError> {
        if point.get(0).unwrap() > self.breaks {
            let message = "no training has such a rate".to_owned();
            return Err(ConfigError::Setting { field: "rate".to_owned(), message }.into());
        }
        Ok(Box::new(Ready(*self, Formula::of(point))))
    }

    fn midway(&self, point: &Point) -> Json {
        json!({"rate": point.get(0)})
    }

    fn taken_over(&self, _: &Point, donor: Vec<u8>, own: Option<&[u8]>) -> Result<Vec<u8>, TuneError> {
        let Some(own) = own.filter(|_| self.keeps) else { return Ok(donor) };
        let read = |saved: &[u8]| serde_json::from_slice::<(f64, f64, u64)>(saved).unwrap();
        let ((rate, loss, done), (_, own, _)) = (read(&donor), read(own));
        Ok(json!([rate, 0.9 * loss + 0.1 * own, done]).to_string().into_bytes())
    }

    fn keeps_own(&self) -> bool {
        self.keeps
    }

    fn keeps_best(&self) -> bool {
        false
    }
}

struct Ready(Subjects, Formula);

#[async_trait(?Send)]
impl Job for Ready {
    fn problem(&self) -> String {
        String::new()
    }

    fn units(&self) -> u64 {
        27
    }

    async fn measure(&self, _: &Device, _: f64) -> Result<Pace, TuneError> {
        unreachable!("nobody measures")
    }

    fn seconds(&self, _: &Pace) -> Result<f64, TuneError> {
        Ok(0.0)
    }

    async fn open(&self, _: &Device) -> Result<Box<dyn Training>, TuneError> {
        Ok(Box::new(Under { of: self.0, formula: self.1, done: 0 }))
    }
}

struct Under {
    of: Subjects,
    formula: Formula,
    done: u64,
}

#[async_trait(?Send)]
impl Training for Under {
    async fn advance(&mut self, units: u64, _: &mut dyn Observer) -> Result<Report, TuneError> {
        (0..units).for_each(|_| self.formula.step());
        self.done += units;
        let diverged = self.formula.rate > self.of.diverges;
        let ending = if diverged { Ending::Diverged } else { Ending::Running };
        Ok(Report { done: self.done, outer_loss: (!diverged).then_some(self.formula.loss), ending })
    }

    async fn score(&mut self, _: &mut dyn Observer) -> Result<Named, TuneError> {
        Ok(Named::from([("outer_loss".to_owned(), self.formula.loss), ("steps".to_owned(), self.done as f64)]))
    }

    async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
        Ok(json!([self.formula.rate, self.formula.loss, self.done]).to_string().into_bytes())
    }

    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError> {
        let read = serde_json::from_slice(saved).map_err(|error| TuneError::Resume(error.to_string()))?;
        (self.formula.rate, self.formula.loss, self.done) = read;
        Ok(())
    }

    fn set(&mut self, values: &Json) -> Result<(), TuneError> {
        self.formula.rate = values["rate"].as_f64().unwrap();
        Ok(())
    }
}

/// Counts what happens, and stops after so much.
struct Counting {
    left: usize,
    broke: Vec<u64>,
}

impl Counting {
    fn to(left: usize) -> Self {
        Counting { left, broke: vec![] }
    }
}

impl Observer for Counting {
    fn event(&mut self, _: Progress) -> Observed {
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(ready(Flow::Continue))
    }
}

impl Watch for Counting {
    fn happened(&mut self, _: &Journal, _: &Event) {
        self.left = self.left.saturating_sub(1);
    }

    fn broke(&mut self, trial: u64, _: &TuneError) {
        self.broke.push(trial);
    }

    fn waits(&mut self) {}

    fn is_over(&self) -> bool {
        self.left == 0
    }
}

fn space() -> Space {
    Space::from_toml("[[dimension]]\nname = \"rate\"\ntype = \"float\"\nlow = 1e-3\nhigh = 1.0\nlog = true").unwrap()
}

fn about(method: &str, workers: usize) -> About {
    let trials = if method == "pbt" { workers as u64 } else { 9 };
    About {
        version: String::new(),
        method: method.to_owned(),
        size: Size { dimensions: 1, trials, least: 3, most: 27, factor: 3 },
        workers,
        seed: 5,
        arm: Arm::default(),
        trainable: "train".to_owned(),
        settings: json!({}),
        space: space(),
    }
}

/// Goes on with a study in this process.
fn go_on(path: &Path, about: &About, subject: Subjects, watch: &mut Counting) -> Result<Ended, SearchError> {
    let device = Device::new(ReferenceEngine::new());
    let ledger = Ledger::open(path, about)?;
    let mut executor = Executor::new(ledger, about, about.searcher().unwrap(), &subject, &device)?;
    pollster::block_on(executor.run(9.0, watch))
}

fn journal(path: &Path) -> Journal {
    ledger::read(path).unwrap().unwrap().1
}

/// Methods of each kind: whole trainings, rungs by promotion and by stopping, brackets that wait, and takeovers.
fn studies() -> impl Iterator<Item = (&'static str, usize)> {
    let any =
        ["tpe", "asha", "asha-stop", "hyperband", "median"].into_iter().flat_map(|method| [(method, 1), (method, 4)]);
    any.chain([("pbt", 6)])
}

#[test]
fn a_study_is_that_of_the_virtual_clock() {
    let folder = tempfile::tempdir().unwrap();
    for (method, workers) in studies() {
        let (about, path) = (about(method, workers), folder.path().join(format!("{method}-{workers}.log")));
        let ended = go_on(&path, &about, SOUND, &mut Counting::to(usize::MAX)).unwrap();
        let wanted = if method == "pbt" { Ended::Done } else { Ended::Spent };
        assert_eq!(ended, wanted, "{method}");
        let study = journal(&path);
        let (searcher, task) = (about.searcher().unwrap(), Formula { rate: 1.0, loss: 0.0 });
        let limits = Limits { trials: 200, seconds: 12.0 * 27.0, interval: 3 };
        let (_, records) = Simulation::new(&*searcher, &about.space, &task, 5, workers, limits).run().unwrap();
        assert!(study.events.len() > 30, "{method}");
        for (at, (event, record)) in study.events.iter().zip(&records).enumerate() {
            assert_eq!(*event, record.event, "{method}, {workers} workers, event {at}");
        }
        assert!(records.len() >= study.events.len(), "{method}");
        let cost = spent(&study, 27);
        assert!(cost >= 9.0 || method == "pbt", "{method} cost {cost}");
        // Nothing is kept of trials that have ended.
        let open = study.history.trials().iter().filter(|trial| trial.is_open() && trial.step() > 0).count();
        let kept = fs::read_dir(path.with_extension("log.states")).map_or(0, Iterator::count);
        assert_eq!(kept, open, "{method}, {workers} workers");
    }
}

#[test]
fn what_was_interrupted_goes_on_to_the_same_study() {
    let folder = tempfile::tempdir().unwrap();
    for (method, workers) in studies() {
        let about = about(method, workers);
        let whole = folder.path().join(format!("{method}-{workers}.log"));
        go_on(&whole, &about, SOUND, &mut Counting::to(usize::MAX)).unwrap();
        let events = journal(&whole).events;
        // By a process that stops again and again.
        let parts = folder.path().join(format!("{method}-{workers}-parts.log"));
        for pieces in [1, 2, 5, 3, 7, 1, 1, 4, usize::MAX] {
            let ended = go_on(&parts, &about, SOUND, &mut Counting::to(pieces)).unwrap();
            assert_eq!(ended == Ended::Stopped, pieces < usize::MAX, "{method}");
        }
        assert_eq!(journal(&parts).events, events, "{method}, {workers} workers");
        // By one that was killed between any two bytes, and has lost what it kept.
        if method != "pbt" {
            let text = fs::read(&whole).unwrap();
            let shares = [0.31, 0.5, 0.77, 0.93].map(|share| (share * text.len() as f64) as usize);
            // Once between a line and its end.
            for cut in shares.into_iter().chain([text.len() - 1]) {
                let torn = folder.path().join(format!("{method}-{workers}-{cut}.log"));
                fs::write(&torn, &text[..cut]).unwrap();
                go_on(&torn, &about, SOUND, &mut Counting::to(usize::MAX)).unwrap();
                assert_eq!(journal(&torn).events, events, "{method}, {workers} workers, cut at {cut}");
            }
        }
    }
}

#[test]
fn what_diverges_or_breaks_costs_no_study() {
    let folder = tempfile::tempdir().unwrap();
    let subject = Subjects { diverges: 0.2, breaks: 0.6, ..SOUND };
    for method in ["tpe", "asha", "asha-stop", "hyperband", "pbt"] {
        let (about, path) = (about(method, 4), folder.path().join(format!("{method}.log")));
        let mut watch = Counting::to(usize::MAX);
        go_on(&path, &about, subject, &mut watch).unwrap();
        let study = journal(&path);
        let trials = study.history.trials();
        let rate = |point: &Point| point.get(0).unwrap();
        for trial in trials {
            assert_eq!(trial.state == State::Failed, watch.broke.contains(&trial.number), "{method}");
            if trial.changes.is_empty() && trial.step() > 0 {
                assert_eq!(trial.score() == f64::INFINITY, rate(&trial.point) > 0.2, "{method}");
            }
            // What diverged costs what was trained until that was seen.
            if trial.has_diverged() && trial.changes.is_empty() {
                assert_eq!(trial.trained(), 3, "{method}");
            }
        }
        assert!(trials.iter().any(|trial| trial.score().is_finite()), "{method}");
        // And it is the same where it goes on.
        let parts = folder.path().join(format!("{method}-parts.log"));
        for pieces in [3, 9, 2, usize::MAX] {
            go_on(&parts, &about, subject, &mut Counting::to(pieces)).unwrap();
        }
        assert_eq!(format!("{:?}", journal(&parts).events), format!("{:?}", study.events), "{method}");
    }
}

#[test]
fn where_every_trial_breaks_the_study_ends_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let subject = Subjects { breaks: 0.0, ..SOUND };
    let error = go_on(&path, &about("random", 1), subject, &mut Counting::to(usize::MAX)).unwrap_err().to_string();
    assert!(
        error.contains("all of the first 10 trials broke") && error.contains("no training has such a rate"),
        "{error}"
    );
}

#[test]
fn another_study_is_refused_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let begun = about("asha", 2);
    go_on(&path, &begun, SOUND, &mut Counting::to(5)).unwrap();
    let refused = |about: &About| Ledger::open(&path, about).unwrap_err().to_string();
    assert!(
        refused(&About { method: "tpe".to_owned(), ..begun.clone() }).contains("another method: \"asha\"; \"tpe\"")
    );
    assert!(refused(&About { seed: 6, ..begun.clone() }).contains("another seed: 5; 6"));
    let settings = json!({"batch": 7});
    assert!(refused(&About { settings, ..begun.clone() }).contains("another settings.batch: null; 7"));
    // How many go on side by side may change.
    Ledger::open(&path, &About { workers: 3, ..begun }).unwrap();
    fs::write(&path, "{\"op_code\":0,\"worker_id\":\"a\",\"study_name\":\"b\",\"directions\":[1]}\n").unwrap();
    assert!(matches!(ledger::described(&path), Err(LedgerError::NoStudy { .. })));
}

/// Two processes share a study; a third one has begun it and is gone.
#[test]
fn several_share_a_study_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let about = about("asha", 3);
    go_on(&path, &about, SOUND, &mut Counting::to(9)).unwrap();
    let left = journal(&path);
    let running = |study: &Journal| study.history.trials().iter().filter(|t| t.state == State::Running).count();
    assert!(running(&left) > 0, "the first leaves trials behind");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| go_on(&path, &about, SOUND, &mut Counting::to(usize::MAX)).unwrap());
        }
    });
    let study = journal(&path);
    assert_eq!(study.events[..left.events.len()], left.events[..]);
    assert!(spent(&study, 27) >= 9.0);
    for trial in left.history.trials().iter().filter(|trial| trial.state == State::Running) {
        assert!(!left.owners.contains(&study.owners[trial.number as usize]), "trial {}", trial.number);
    }
    // Each trial was trained by one at a time: its values are those of its formula.
    for trial in study.history.trials() {
        let mut formula = Formula::of(&trial.begun);
        for report in &trial.reports {
            let step = report.step;
            let before = trial.reports.iter().map(|report| report.step).filter(|other| *other < step).max();
            (before.unwrap_or(0)..step).for_each(|_| formula.step());
            assert_eq!(report.value, formula.loss, "trial {} at {step}", trial.number);
        }
    }
}

/// The best of a population is trained again through all that it took over, whatever it kept of its own.
#[test]
fn what_a_trial_went_through_leads_to_the_same_loss() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::new(ReferenceEngine::new());
    let scores = [false, true].map(|keeps| {
        let (about, path) = (about("pbt", 8), folder.path().join(format!("{keeps}.log")));
        let subject = Subjects { keeps, ..SOUND };
        go_on(&path, &about, subject, &mut Counting::to(usize::MAX)).unwrap();
        let history = journal(&path).history;
        for trial in history.trials() {
            let mut watch = Counting::to(1);
            let again = retrained(&subject, &device, &history, trial.number, &mut watch);
            let again = pollster::block_on(again).unwrap().unwrap();
            assert_eq!(again["outer_loss"], trial.score(), "trial {}", trial.number);
        }
        let most = history.trials().iter().map(|trial| changes(&history, trial.number)).max();
        assert!(most > Some(0), "some take over others");
        history.trials().iter().map(|trial| trial.score()).collect::<Vec<_>>()
    });
    assert_ne!(scores[0], scores[1]);
}
