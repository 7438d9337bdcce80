//! `stackelberg worker` from another process, as a driver would use it: the protocol of docs/worker.md.

#[path = "../cli_support/mod.rs"]
mod cli_support;
mod driver;
mod ends;

use std::fs;
use std::path::PathBuf;

use cli_support::Bench;
use driver::{TRAINABLES, Worker, begun, file, timeless, trial};
use serde_json::{Value, json};

#[test]
fn every_message_has_its_reply() {
    let bench = Bench::new();
    let mut worker = Worker::start();
    let hello = worker.done(json!({"verb": "hello"}));
    assert_eq!((&hello["version"], hello["program"].as_str()), (&json!(1), Some(env!("CARGO_PKG_VERSION"))));
    assert!(["cpu", "gpu"].contains(&hello["engine"].as_str().unwrap()) && hello["memory"].as_u64() > Some(1 << 28));
    assert_eq!(worker.done(json!({"verb": "hello", "version": 1})), hello);
    for (trainable, unit, change) in [
        ("tune", "outer iteration", json!({"learning_rate": 0.01})),
        ("train", "training step", json!({"learning_rate": 0.01, "momentum": 0.25})),
    ] {
        let init = worker.done(trial(&bench, trainable));
        assert_eq!((init["trainable"].as_str(), init["unit"].as_str()), (Some(trainable), Some(unit)));
        assert_eq!(init["engine"], "cpu");
        let first = worker.done(json!({"verb": "step"}));
        assert_eq!((&first["step"], &first["done"]), (&json!(1), &json!(false)));
        assert!(first["outer_loss"].as_f64().unwrap() > 0.0 && first["seconds"].as_f64().unwrap() > 0.0);
        assert!((0.0..=1.0).contains(&first["accuracy"].as_f64().unwrap()), "{first}");
        let dir = bench.dir("saved").join(trainable);
        assert_eq!(worker.save(&dir)["step"], 1);
        let plain = timeless(worker.step(2));
        // Back, and on with another value: no longer the same.
        assert_eq!(worker.done(json!({"verb": "load", "dir": dir}))["step"], 1);
        assert_eq!(timeless(worker.step(2)), plain, "{trainable}");
        worker.done(json!({"verb": "load", "dir": dir}));
        worker.done(json!({"verb": "set", "config": change}));
        assert_ne!(timeless(worker.step(2)), plain, "{trainable}");
        let units = init["units"].as_u64().unwrap();
        let end = worker.step(units);
        assert_eq!((&end["step"], &end["done"], end.get("code")), (&json!(units), &json!(true), None));
    }
    assert_eq!(worker.ask(json!({"verb": "close"})), json!({"reply": "close"}));
    assert_eq!(worker.child.wait().unwrap().code(), Some(0));
    assert_eq!(worker.line(), None);
}

/// Each fault has its code, says what is wrong, and leaves the worker as it was.
#[test]
fn every_fault_has_its_code() {
    let bench = Bench::new();
    let mut worker = Worker::start();
    let mut refused = |line: &str, code: &str, says: &str| {
        let fault = worker.ask_line(line);
        assert_eq!((fault["reply"].as_str(), fault["code"].as_str()), (Some("error"), Some(code)), "{line}: {fault}");
        assert!(fault["message"].as_str().unwrap().contains(says), "{line}: {fault}");
        assert_eq!(fault["retry"], false);
        worker.done(json!({"verb": "hello"}));
    };
    refused("step 5", "bad_config", "no JSON");
    refused("{\"verb\": \"st", "bad_config", "no JSON");
    refused("", "bad_config", "the line is empty");
    refused("[]", "bad_config", "no `verb`");
    refused(r#"{"budget": 5}"#, "bad_config", "no `verb`");
    refused(r#"{"verb": "pause"}"#, "version", "no verb `pause`; it has hello, init");
    refused(r#"{"verb": "hello", "version": 2}"#, "version", "version 2 was asked for");
    refused(r#"{"verb": "save"}"#, "bad_config", "missing field `dir`");
    refused(r#"{"verb": "step", "budget": -1}"#, "bad_config", "-1");
    refused(r#"{"verb": "close", "now": true}"#, "bad_config", "unknown field `now`");
    for line in [r#"{"verb": "step"}"#, r#"{"verb": "save", "dir": "a"}"#, r#"{"verb": "set", "config": {}}"#] {
        refused(line, "bad_config", "`init` begins one");
    }
    refused(r#"{"verb": "load", "dir": "a"}"#, "bad_config", "`init` begins one");
    let init = |change: Value| {
        let mut request = trial(&bench, "tune");
        request.as_object_mut().unwrap().append(&mut change.as_object().unwrap().clone());
        request.to_string()
    };
    refused(&init(json!({"trainable": "pray"})), "bad_config", "there are tune, train");
    refused(&init(json!({"config": {"stepz": 3}})), "bad_config", "stepz");
    refused(&init(json!({"config": {"steps": 0}})), "bad_config", "at least 1");
    refused(&init(json!({"data": "/nowhere"})), "data", "/nowhere");
    refused(&init(json!({"device": "abacus"})), "bad_config", "abacus");
    refused(&init(json!({"config": {"batch": 4, "memory_budget": 1000}})), "bad_config", "too small");

    let dir = bench.dir("saved");
    let load = json!({"verb": "load", "dir": dir}).to_string();
    assert_eq!(worker.ask(trial(&bench, "tune"))["reply"], "init");
    let mut refused = |line: &str, code: &str, says: &str| {
        let fault = worker.ask_line(line);
        assert_eq!((fault["reply"].as_str(), fault["code"].as_str()), (Some("error"), Some(code)), "{line}: {fault}");
        assert!(fault["message"].as_str().unwrap().contains(says), "{line}: {fault}");
    };
    refused(&load, "data", "no such file");
    refused(r#"{"verb": "set", "config": {"steps": 3}}"#, "bad_config", "steps");
    fs::create_dir(&dir).unwrap();
    let saved = dir.join("trial.safetensors");
    fs::write(&saved, "no trial").unwrap();
    refused(&load, "data", "damaged");
    let in_the_way = json!({"verb": "save", "dir": saved}).to_string();
    refused(&in_the_way, "data", "cannot write");
    worker.step(1);
    worker.save(&dir);
    assert_eq!(worker.done(trial(&bench, "train"))["trainable"], "train");
    let fault = worker.ask_line(&load);
    assert_eq!(fault["code"], "bad_config");
    assert!(
        fault["message"].as_str().unwrap().contains("it is a trial of `tune`, and this one is of `train`"),
        "{fault}"
    );
    // The trial is still there.
    worker.step(1);
}

/// Whatever is wrong with a beginning, and be it only seen on the device, the trial before goes on.
#[test]
fn a_beginning_that_is_refused_leaves_the_trial_before() {
    let bench = Bench::new();
    let (mut worker, _) = begun(&bench, "train");
    let mut step = worker.step(2)["step"].as_u64().unwrap();
    let (mut elsewhere, mut tight) = (trial(&bench, "train"), trial(&bench, "train"));
    elsewhere["device"] = json!("abacus");
    tight["config"]["memory_budget"] = json!(1000);
    for refused in [elsewhere, tight, json!({"verb": "init", "trainable": "hyper-cleaning", "data": "subset"})] {
        assert_eq!(worker.ask(refused)["code"], "bad_config");
        step += 1;
        assert_eq!(worker.step(1)["step"], step);
    }
    for verb in ["save", "load"] {
        let fault = worker.ask(json!({"verb": verb, "dir": ""}));
        assert!(fault["message"].as_str().unwrap().contains("`dir` is empty"), "{fault}");
    }
}

/// What has ended says so again, in the process that ended it and in any other.
#[test]
fn an_ended_trial_repeats_its_outer_loss() {
    let bench = Bench::new();
    let dir = bench.dir("saved");
    let (mut worker, units) = begun(&bench, "tune");
    let end = timeless(worker.step(units));
    assert!(end["outer_loss"].is_number());
    assert_eq!(timeless(worker.step(1)), end);
    worker.save(&dir);
    let (mut other, _) = begun(&bench, "tune");
    other.done(json!({"verb": "load", "dir": dir}));
    assert_eq!(timeless(other.step(1)), end);
}

/// What another version of the protocol has saved is refused as such.
#[test]
fn a_trial_of_another_version_is_told() {
    use stackelberg::experiment::archive;
    let bench = Bench::new();
    let (mut worker, _) = begun(&bench, "train");
    worker.step(1);
    let dir = bench.dir("saved");
    worker.save(&dir);
    let (mut about, tensors) = archive::unpack(&file(&dir)).unwrap();
    about["protocol"] = json!(2);
    fs::write(dir.join("trial.safetensors"), archive::pack(&about, &tensors)).unwrap();
    let fault = worker.ask(json!({"verb": "load", "dir": dir}));
    assert_eq!((fault["code"].as_str(), &fault["retry"]), (Some("version"), &json!(false)), "{fault}");
}

/// More than a software GPU has in one array: worth a retry elsewhere, and the worker is there for another trial.
#[test]
fn a_device_without_room_is_told() {
    let bench = Bench::new();
    let network = bench.dir("wide.json");
    let dense =
        |name: &str, inputs: u32, outputs: u32| json!({"type": "dense", "name": name, "in": inputs, "out": outputs});
    let layers = json!([{"type": "flatten"}, dense("a", 128 * 9, 40_000), {"type": "relu"}, dense("b", 40_000, 6)]);
    fs::write(&network, layers.to_string()).unwrap();
    let mut worker = Worker::start();
    let mut wide = trial(&bench, "train");
    wide["config"] = json!({"steps": 2, "batch": 4, "network": network, "optimizer": "sgd", "memory_budget": "64GiB"});
    wide["device"] = json!("llvmpipe");
    let fault = worker.ask(wide);
    if fault["code"] == "bad_config" && std::env::var_os("REQUIRE_GPU").is_none() {
        return println!("without a software GPU: {fault}");
    }
    assert_eq!((fault["code"].as_str(), &fault["retry"]), (Some("oom"), &json!(true)), "{fault}");
    assert_eq!(worker.ask(json!({"verb": "step"}))["code"], "bad_config");
    worker.done(trial(&bench, "train"));
    assert_eq!(worker.step(1)["step"], 1);
}

#[test]
fn a_training_that_diverges_is_a_result() {
    let bench = Bench::new();
    let mut worker = Worker::start();
    for trainable in TRAINABLES {
        let mut request = trial(&bench, trainable);
        request["config"]["learning_rate"] = json!(1e20);
        let units = worker.done(request)["units"].as_u64().unwrap();
        let reply = worker.step(units);
        assert_eq!((&reply["outer_loss"], &reply["done"]), (&Value::Null, &json!(true)), "{trainable}");
        assert_eq!(reply["code"], "diverged", "{trainable}");
    }
    // A tuning that came to a good point before tries a shorter way.
    worker.done(trial(&bench, "tune"));
    worker.step(1);
    worker.done(json!({"verb": "set", "config": {"learning_rate": 1e20}}));
    let reply = worker.step(1);
    assert_eq!(
        (&reply["outer_loss"], &reply["code"], &reply["done"]),
        (&Value::Null, &json!("diverged"), &json!(false))
    );
    // Another trial is none the worse for it.
    worker.done(trial(&bench, "train"));
    assert!(worker.step(1)["outer_loss"].is_number());
}

#[test]
fn a_long_step_tells_of_its_progress() {
    let bench = Bench::new();
    let mut worker = Worker::start();
    let config = json!({"steps": 200_000, "batch": 4});
    worker.done(json!({"verb": "init", "trainable": "train", "config": config, "data": bench.data, "device": "cpu"}));
    worker.send("{\"verb\": \"step\", \"budget\": 200000}\n");
    let mut done = 0;
    for _ in 0..3 {
        let progress = worker.line().unwrap();
        assert_eq!((progress["reply"].as_str(), progress["verb"].as_str()), (Some("progress"), Some("step")));
        let now = progress["done"].as_u64().unwrap();
        assert!(now > done && progress["total"] == 200_000, "{progress}");
        done = now;
    }
    worker.kill();
}

/// The session in docs/worker.md: what is asked there is answered as there, but for what machines and times differ in.
#[test]
fn the_documentation_shows_a_session_that_happens() {
    let text = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/worker.md")).unwrap();
    let session = text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a session");
    let root = tempfile::tempdir().unwrap();
    let mut worker = Worker::start();
    let mut reply = None;
    for line in session.lines() {
        let (end, rest) = line.split_once(' ').expect("an end and a line");
        let rest = rest.replace("/runs/a", root.path().join("a").to_str().unwrap());
        match end {
            "→" => reply = Some(worker.ask_line(&rest)),
            _ => {
                let told: Value = serde_json::from_str(&rest).unwrap();
                let given = reply.take().expect("one reply a request");
                let differs =
                    ["engine", "adapter", "memory", "seconds", "outer_loss", "accuracy", "program", "message"];
                let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
                assert_eq!(keys(&given), keys(&told), "{given}");
                for (key, value) in told.as_object().unwrap() {
                    let kind = |value: &Value| (value.is_number(), value.is_string(), value.is_null());
                    assert!(
                        given[key] == *value || differs.contains(&&**key) && kind(&given[key]) == kind(value),
                        "{given}"
                    );
                }
            }
        }
    }
    assert_eq!(worker.child.wait().unwrap().code(), Some(0));
}
