//! Workers that end, of themselves or by force: another one goes on to the same bits.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli_support::Bench;
use crate::driver::{TRAINABLES, Worker, begun, file, goes_on, timeless, trial, undisturbed};

/// A driver that is killed in mid-write has asked for nothing.
#[test]
fn half_a_line_at_the_end_is_no_request() {
    let bench = Bench::new();
    let (mut worker, _) = begun(&bench, "train");
    let dir = bench.dir("saved");
    worker.step(1);
    worker.save(&dir);
    let before = file(&dir);
    worker.send(r#"{"verb": "step", "budget": 7}"#);
    drop(worker.input.take());
    assert_eq!(worker.line(), None);
    assert_eq!(worker.child.wait().unwrap().code(), Some(0));
    assert!(file(&dir) == before, "saved again, as it was");
}

#[test]
fn the_end_of_input_saves_in_mid_step() {
    let bench = Bench::new();
    for trainable in TRAINABLES {
        let whole = undisturbed(&bench, trainable);
        let (mut worker, units) = begun(&bench, trainable);
        let dir = bench.dir("saved").join(trainable);
        worker.step(1);
        worker.save(&dir);
        worker.send(&format!("{}\n", json!({"verb": "step", "budget": units})));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(worker.leave(), Some(0));
        let (step, units) = goes_on(&bench, trainable, &dir, &whole);
        assert!(step >= 1 && step < units, "{trainable} was not stopped midway, but after {step} of {units}");
    }
}

/// Whoever ends the input at once still gets what was asked before, but for steps.
#[test]
fn what_was_asked_before_the_end_is_done() {
    let bench = Bench::new();
    let mut worker = Worker::start();
    let dir = bench.dir("saved");
    let save = json!({"verb": "save", "dir": dir});
    worker.send(&format!("{}\n{}\n{save}\n", json!({"verb": "hello"}), trial(&bench, "train")));
    drop(worker.input.take());
    let replies: Vec<Value> = std::iter::from_fn(|| worker.line()).filter(|line| line["reply"] != "progress").collect();
    assert_eq!(
        replies.iter().map(|reply| reply["reply"].as_str().unwrap()).collect::<Vec<_>>(),
        ["hello", "init", "save"]
    );
    assert_eq!(worker.child.wait().unwrap().code(), Some(0));
    let whole = undisturbed(&bench, "train");
    assert_eq!(goes_on(&bench, "train", &dir, &whole).0, 0);
}

/// A driver that is gone still has saved what it asked to have saved behind a step, which does not go on for it.
#[test]
fn what_was_asked_behind_a_step_is_done() {
    let bench = Bench::new();
    let (mut worker, units) = begun(&bench, "train");
    let dir = bench.dir("saved");
    let (step, save) = (json!({"verb": "step", "budget": units}), json!({"verb": "save", "dir": dir}));
    worker.send(&format!("{step}\n{save}\n{step}\n{}\n", json!({"verb": "close"})));
    std::thread::sleep(Duration::from_millis(100));
    drop(worker.input.take());
    let replies: Vec<Value> = std::iter::from_fn(|| worker.line()).filter(|line| line["reply"] != "progress").collect();
    assert_eq!((&replies[0]["reply"], &replies[1]), (&json!("save"), &json!({"reply": "close"})), "{replies:?}");
    let step = replies[0]["step"].as_u64().unwrap();
    assert!(step > 0 && step < units, "{step} of {units}");
    assert_eq!(goes_on(&bench, "train", &dir, &undisturbed(&bench, "train")).0, step);
}

/// The end of input saves a trial where it was saved, not where it came from, and not what has diverged.
#[test]
fn the_end_of_input_spares_what_is_not_the_trials_own() {
    let bench = Bench::new();
    let dir = bench.dir("saved");
    let (mut worker, _) = begun(&bench, "train");
    worker.step(2);
    worker.save(&dir);
    let before = file(&dir);
    let (mut copy, _) = begun(&bench, "train");
    copy.done(json!({"verb": "load", "dir": dir}));
    copy.step(2);
    assert_eq!(copy.leave(), Some(0));
    assert!(file(&dir) == before, "a copy was saved over the original");
    worker.done(json!({"verb": "set", "config": {"learning_rate": 1e20}}));
    assert_eq!(worker.step(9)["code"], "diverged");
    let refused = worker.ask(json!({"verb": "save", "dir": dir}));
    assert!(refused["message"].as_str().unwrap().contains("diverged"), "{refused}");
    assert_eq!(worker.leave(), Some(0));
    assert!(file(&dir) == before, "what diverged was saved over what had not");
}

/// Without a directory there is nothing to save to, and nothing is written anywhere.
#[test]
fn a_trial_that_was_never_saved_leaves_nothing() {
    let bench = Bench::new();
    let before = fs::read_dir(bench.root.path()).unwrap().count();
    let (mut worker, _) = begun(&bench, "train");
    worker.step(1);
    assert_eq!(worker.leave(), Some(0));
    assert_eq!(fs::read_dir(bench.root.path()).unwrap().count(), before);
}

#[test]
fn a_worker_killed_in_mid_step_goes_on_from_its_last_save() {
    let bench = Bench::new();
    for trainable in TRAINABLES {
        let whole = undisturbed(&bench, trainable);
        let (mut worker, units) = begun(&bench, trainable);
        let dir = bench.dir("saved").join(trainable);
        worker.step(units / 4);
        worker.save(&dir);
        worker.send(&format!("{}\n", json!({"verb": "step", "budget": units})));
        std::thread::sleep(Duration::from_millis(100));
        worker.kill();
        goes_on(&bench, trainable, &dir, &whole);
    }
}

/// The same on a software GPU, where there is one.
#[test]
fn a_worker_killed_on_a_gpu_goes_on_to_the_same_bits() {
    let bench = Bench::new();
    let mut request = trial(&bench, "train");
    request["config"]["steps"] = json!(200);
    request["device"] = json!("llvmpipe");
    let mut whole = Worker::start();
    let begun = whole.ask(request.clone());
    if begun["code"] == "bad_config" && std::env::var_os("REQUIRE_GPU").is_none() {
        return println!("without a software GPU: {begun}");
    }
    assert_eq!(begun["engine"], "gpu", "{begun}");
    let reply = timeless(whole.step(200));
    let [one, other] = ["one", "other"].map(|name| bench.dir(name));
    whole.save(&one);
    let mut killed = Worker::start();
    killed.done(request.clone());
    killed.step(50);
    killed.save(&other);
    killed.send("{\"verb\": \"step\", \"budget\": 150}\n");
    std::thread::sleep(Duration::from_millis(50));
    killed.kill();
    let mut after = Worker::start();
    after.done(request);
    assert_eq!(after.done(json!({"verb": "load", "dir": other}))["step"], 50);
    assert_eq!(timeless(after.step(150)), reply);
    after.save(&other);
    assert!(file(&one) == file(&other), "other bits");
}

/// Killed at any moment between the request and its reply, a worker leaves the old trial or the new one, and either goes
/// on to the same bits.
#[test]
fn a_worker_killed_while_it_saves_leaves_a_whole_trial() {
    let bench = Bench::new();
    for trainable in TRAINABLES {
        let whole = undisturbed(&bench, trainable);
        let dir = bench.dir("saved").join(trainable);
        let mut seen = vec![];
        for pause in [0, 1, 3, 10, 40] {
            let (mut worker, units) = begun(&bench, trainable);
            let _ = fs::remove_dir_all(&dir);
            worker.step(units / 4);
            worker.save(&dir);
            let old = file(&dir);
            worker.step(units / 4);
            worker.send(&format!("{}\n", json!({"verb": "save", "dir": dir})));
            std::thread::sleep(Duration::from_millis(pause));
            worker.kill();
            seen.push(file(&dir) == old);
            goes_on(&bench, trainable, &dir, &whole);
        }
        println!(
            "{trainable}: the old trial was left {} of {} times",
            seen.iter().filter(|old| **old).count(),
            seen.len()
        );
    }
}
