//! Trainings of the registry pause, move and go on to the same bits.

use pollster::block_on;
use serde_json::{Value, json};
use stackelberg::bilevel::Flow;
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::LocalFuture;
use stackelberg::experiment::library::Library;
use stackelberg::experiment::record::Ending;
use stackelberg::experiment::trainable::Job;
use stackelberg::experiment::trainables::{self, TRAINABLES};
use stackelberg::experiment::training::Training;
use stackelberg::experiment::tune::{Event, Observed, Observer};
use stackelberg::gpu::GpuEngine;
use stackelberg::rig::Device;

/// Stops after so many segments.
struct Patience(usize);

fn endless() -> Patience {
    Patience(usize::MAX)
}

impl Observer for Patience {
    fn event(&mut self, _: Event) -> Observed {
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        self.0 = self.0.saturating_sub(1);
        Box::pin(std::future::ready(if self.0 == 0 { Flow::Stop } else { Flow::Continue }))
    }
}

fn job(name: &str, settings: &Value) -> Box<dyn Job> {
    trainables::job(name, settings, &Library::new("no such directory".into())).unwrap()
}

/// A training in what might be another process.
fn open(name: &str, settings: &Value) -> Box<dyn Training> {
    block_on(job(name, settings).open(&Device::new(CpuEngine::new(1)))).unwrap()
}

/// A GPU where there is one; where one is required, it is an error if there is none.
fn gpu() -> Option<Device> {
    match block_on(GpuEngine::new("auto")) {
        Ok(engine) => Some(Device::new(engine)),
        Err(error) if ["CI", "REQUIRE_GPU"].iter().all(|name| std::env::var_os(name).is_none()) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn small() -> Value {
    json!({ "data": "subset", "steps": 7, "batch": 4, "validation_windows": 16, "learning_rate": 0.01 })
}

fn with(mut settings: Value, key: &str, value: Value) -> Value {
    settings[key] = value;
    settings
}

#[test]
fn what_was_saved_goes_on_to_the_same_bits() {
    for (name, settings) in [
        ("tune", with(small(), "outer", json!(4))),
        ("train", small()),
        ("train", with(small(), "optimizer", json!("adam"))),
    ] {
        let mut whole = open(name, &settings);
        let units = job(name, &settings).units();
        let end = block_on(whole.advance(u64::MAX, &mut endless())).unwrap();
        assert_eq!((end.done, end.ending), (units, Ending::Finished), "{name}");
        let (wanted, scores) =
            block_on(async { (whole.save().await.unwrap(), whole.score(&mut endless()).await.unwrap()) });
        assert!(scores.contains_key("test_accuracy"), "{scores:?}");
        for first in [0, 1, 3] {
            let mut training = open(name, &settings);
            let report = block_on(training.advance(first, &mut endless())).unwrap();
            assert_eq!((report.done, report.ending), (first, Ending::Running), "{name}");
            let saved = block_on(training.save()).unwrap();
            let mut other = open(name, &settings);
            block_on(other.load(&saved)).unwrap();
            assert_eq!(block_on(other.save()).unwrap(), saved, "{name} after {first}");
            assert_eq!(block_on(other.advance(0, &mut endless())).unwrap(), report, "{name} after {first}");
            assert_eq!(block_on(other.advance(u64::MAX, &mut endless())).unwrap(), end, "{name} after {first}");
            assert_eq!(block_on(other.save()).unwrap(), wanted, "{name} after {first}");
            assert_eq!(block_on(other.score(&mut endless())).unwrap(), scores, "{name} after {first}");
            let mut ended = open(name, &settings);
            block_on(ended.load(&wanted)).unwrap();
            assert_eq!(block_on(ended.advance(1, &mut endless())).unwrap(), end, "{name} after its end");
        }
    }
}

/// On one device, so that its pipelines are made once.
#[test]
fn on_a_gpu_too() {
    let Some(device) = gpu() else { return };
    let job = job("train", &small());
    block_on(async {
        let mut whole = job.open(&device).await.unwrap();
        let end = whole.advance(u64::MAX, &mut endless()).await.unwrap();
        let mut first = job.open(&device).await.unwrap();
        first.advance(3, &mut endless()).await.unwrap();
        let mut second = job.open(&device).await.unwrap();
        second.load(&first.save().await.unwrap()).await.unwrap();
        assert_eq!(second.advance(u64::MAX, &mut endless()).await.unwrap(), end);
        assert_eq!(second.save().await.unwrap(), whole.save().await.unwrap());
        assert_eq!(second.score(&mut endless()).await.unwrap(), whole.score(&mut endless()).await.unwrap());
    });
}

#[test]
fn what_was_stopped_goes_on_to_the_same_bits() {
    for (name, settings) in [("tune", with(small(), "outer", json!(3))), ("train", small())] {
        let mut whole = open(name, &settings);
        let end = block_on(whole.advance(u64::MAX, &mut endless())).unwrap();
        let mut training = open(name, &settings);
        let mut stops = 0;
        let report = loop {
            let report = block_on(training.advance(u64::MAX, &mut Patience(2 + 3 * stops))).unwrap();
            if report.ending != Ending::Stopped {
                break report;
            }
            stops += 1;
        };
        assert!(stops > 0);
        assert_eq!((report.done, report.ending), (end.done, end.ending), "{name}");
        assert_eq!(block_on(training.save()).unwrap(), block_on(whole.save()).unwrap(), "{name}");
    }
}

/// A fork that is given another rate midway is not what it came from, and is what any other such fork is.
#[test]
fn hyperparameters_change_midway() {
    for (name, settings) in [("tune", with(small(), "outer", json!(4))), ("train", small())] {
        let mut training = open(name, &settings);
        block_on(training.advance(2, &mut endless())).unwrap();
        let saved = block_on(training.save()).unwrap();
        let fork = |values: Value| {
            let mut fork = open(name, &settings);
            block_on(fork.load(&saved)).unwrap();
            fork.set(&values).unwrap();
            block_on(fork.advance(2, &mut endless())).unwrap();
            block_on(fork.save()).unwrap()
        };
        let other = json!({ "learning_rate": 0.02, "momentum": 0.8 });
        assert_eq!(fork(other.clone()), fork(other.clone()), "{name}");
        assert!(fork(other) != fork(json!({})), "{name}");
        let refused = training.set(&json!({ "steps": 3 })).unwrap_err().to_string();
        assert_eq!(refused, "`steps`: it cannot change midway; what can is l2, learning_rate, momentum");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut training = open("train", &small());
    block_on(training.advance(2, &mut endless())).unwrap();
    let saved = block_on(training.save()).unwrap();
    let error = |name: &str, settings: Value, saved: &[u8]| {
        block_on(open(name, &settings).load(saved)).unwrap_err().to_string()
    };
    assert!(error("tune", small(), &saved).contains("cannot be resumed"));
    assert!(
        error("train", with(small(), "optimizer", json!("sgd")), &saved)
            .contains("another `optimizer`, momentum; here it is sgd")
    );
    assert!(error("train", with(small(), "steps", json!(1)), &saved).contains("more steps behind it"));
    assert!(error("train", with(small(), "network", json!("paper")), &saved).contains("another `network`"));
    // Its own batches and pace are its own.
    block_on(open("train", &with(with(small(), "seed", json!(5)), "batch", json!(2))).load(&saved)).unwrap();
    let mut tuning = open("tune", &with(small(), "outer", json!(3)));
    block_on(tuning.advance(2, &mut endless())).unwrap();
    let tuned = block_on(tuning.save()).unwrap();
    assert!(error("tune", with(small(), "outer", json!(1)), &tuned).contains("2 outer iterations behind it"));
    assert!(error("tune", with(small(), "network", json!("paper")), &tuned).contains("another `network`"));
    assert!(error("train", small(), &saved[..saved.len() - 3]).contains("cut short or damaged"));

    let library = Library::new("no such directory".into());
    let refused = |name: &str, settings: Value| match trainables::job(name, &settings, &library) {
        Ok(_) => panic!("{name} took {settings}"),
        Err(error) => error.to_string(),
    };
    assert!(refused("tunes", small()).contains("`trainable`: there is no tunes; there are tune, train, search"));
    assert!(
        refused("train", with(small(), "outer", json!(3))).contains("`outer`: a plain training does not look at it")
    );
    assert!(refused("train", with(small(), "stepz", json!(3))).contains("`stepz`: unknown field"));
    assert!(refused("tune", with(small(), "steps", json!(-3))).contains("`steps`: invalid value"));
    assert!(refused("tune", with(small(), "optimizer", json!("adam-outside"))).contains("Take adam"));
    assert!(refused("tune", json!(3)).contains("an object"));
    assert!(refused("search", json!({ "trainings": 3 })).contains("missing field"));
}

#[test]
fn a_training_that_diverges_says_so() {
    let mut training = open("train", &with(small(), "learning_rate", json!(1e20)));
    let report = block_on(training.advance(u64::MAX, &mut endless())).unwrap();
    assert_eq!((report.ending, report.outer_loss), (Ending::Diverged, None));
    assert!(block_on(training.score(&mut endless())).unwrap().is_empty());
    // It stays as far as it was, whatever it is given, and there is nothing of it to keep.
    training.set(&json!({ "learning_rate": 0.01 })).unwrap();
    assert_eq!(block_on(training.advance(3, &mut endless())).unwrap(), report);
    assert!(block_on(training.save()).unwrap_err().to_string().contains("diverged"));
    let healthy = block_on(open("train", &small()).save()).unwrap();
    block_on(training.load(&healthy)).unwrap();
    assert_eq!(block_on(training.advance(1, &mut endless())).unwrap().done, 1);
}

#[test]
fn every_row_says_what_it_is() {
    let names: std::collections::BTreeSet<&str> = TRAINABLES.iter().map(|row| row.name()).collect();
    assert_eq!(names.len(), TRAINABLES.len());
    for row in TRAINABLES {
        assert!(row.about().ends_with('.') && !row.unit().is_empty(), "{}", row.name());
        assert!(row.schema().get("properties").is_some(), "{}", row.name());
    }
    let schema = trainables::find("train").unwrap().schema();
    let properties = schema.get("properties").unwrap();
    assert!(properties.get("steps").is_some() && properties.get("outer_rate").is_none());
}
