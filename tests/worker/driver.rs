//! A driver of workers, and the trials that it has them do.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::cli_support::{Bench, program};

/// A worker with the driver's ends of its pipes.
pub struct Worker {
    pub child: Child,
    pub input: Option<ChildStdin>,
    pub output: BufReader<ChildStdout>,
    /// Lines of progress since the last reply.
    pub progress: Vec<Value>,
}

impl Worker {
    pub fn start() -> Self {
        let mut command = program("worker --stdio");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Worker { child, input, output, progress: vec![] }
    }

    pub fn send(&mut self, text: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    /// The next line; none at the end of output.
    pub fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.output.read_line(&mut line).unwrap() {
            0 => None,
            _ => Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))),
        }
    }

    /// The reply to a line, past what progress there is.
    pub fn ask_line(&mut self, line: &str) -> Value {
        self.send(&format!("{line}\n"));
        self.progress.clear();
        loop {
            let reply = self.line().expect("a reply");
            if reply["reply"] != "progress" {
                return reply;
            }
            self.progress.push(reply);
        }
    }

    pub fn ask(&mut self, request: Value) -> Value {
        self.ask_line(&request.to_string())
    }

    /// The same, which has to be fulfilled.
    pub fn done(&mut self, request: Value) -> Value {
        let reply = self.ask(request.clone());
        assert_eq!(reply["reply"], request["verb"], "{reply}");
        reply
    }

    pub fn step(&mut self, budget: u64) -> Value {
        self.done(json!({"verb": "step", "budget": budget}))
    }

    pub fn save(&mut self, dir: &Path) -> Value {
        self.done(json!({"verb": "save", "dir": dir}))
    }

    /// Ends its input and gives its exit status.
    pub fn leave(mut self) -> Option<i32> {
        drop(self.input.take());
        self.child.wait().unwrap().code()
    }

    /// Kills it as nothing else can be: on Unix by SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A trial that takes some seconds, on the tiny data.
pub fn trial(bench: &Bench, trainable: &str) -> Value {
    let config = match trainable {
        "tune" => json!({"steps": 40, "outer": 5, "batch": 4}),
        _ => json!({"steps": 4000, "batch": 4, "momentum": 0.5}),
    };
    json!({"verb": "init", "trainable": trainable, "config": config, "data": bench.data, "seed": 3, "device": "cpu"})
}

/// A worker that has begun it.
pub fn begun(bench: &Bench, trainable: &str) -> (Worker, u64) {
    let mut worker = Worker::start();
    let units = worker.done(trial(bench, trainable))["units"].as_u64().unwrap();
    (worker, units)
}

/// The file of a trial that was never disturbed, and its last reply without the time it took.
pub fn undisturbed(bench: &Bench, trainable: &str) -> (Vec<u8>, Value) {
    let (mut worker, units) = begun(bench, trainable);
    let reply = worker.step(units);
    let dir = bench.dir("undisturbed").join(trainable);
    worker.save(&dir);
    (file(&dir), timeless(reply))
}

pub fn file(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("trial.safetensors")).unwrap()
}

pub fn timeless(mut reply: Value) -> Value {
    reply.as_object_mut().unwrap().remove("seconds").expect("a time");
    reply
}

/// Goes on in a new process from what was saved in a directory, to the end: the same bits. Gives the units that were done
/// and those that there are.
pub fn goes_on(bench: &Bench, trainable: &str, dir: &Path, whole: &(Vec<u8>, Value)) -> (u64, u64) {
    let (mut worker, units) = begun(bench, trainable);
    let step = worker.done(json!({"verb": "load", "dir": dir}))["step"].as_u64().unwrap();
    let reply = worker.step(units - step);
    let end = bench.dir("end");
    worker.save(&end);
    assert!(file(&end) == whole.0, "{trainable} from {step}: other bits");
    assert_eq!(timeless(reply), whole.1, "{trainable} from {step}");
    assert_eq!(worker.leave(), Some(0));
    (step, units)
}

pub const TRAINABLES: [&str; 2] = ["tune", "train"];
