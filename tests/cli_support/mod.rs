//! Running the built program, and a data set small enough to do it often.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program with arguments separated by spaces.
pub fn program(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stackelberg"));
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

/// What came of a run of the program.
pub struct Outcome {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    fn of(output: Output) -> Self {
        Outcome {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit status.
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that the error message holds these texts, however it was wrapped.
    pub fn says(self, texts: &[&str]) -> Self {
        let flat = |text: &str| {
            let words = text.split_whitespace().filter(|word| !matches!(*word, "│" | "×" | "╰─▶" | "|"));
            words.collect::<Vec<_>>().join(" ")
        };
        for text in texts {
            assert!(flat(&self.stderr).contains(&flat(text)), "no `{text}` in:\n{}", self.stderr);
        }
        self
    }
}

/// Runs the program to its end.
pub fn run(command: &mut Command) -> Outcome {
    Outcome::of(command.output().expect("the program starts"))
}

/// Starts the program.
pub fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Waits for the end of a started program.
pub fn wait(child: Child) -> Outcome {
    Outcome::of(child.wait_with_output().expect("the program runs"))
}

/// Waits until something holds; the program may not end before.
pub fn wait_until(child: &mut Child, what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(child.try_wait().unwrap().is_none(), "the program ended before {what}");
        assert!(begin.elapsed() < Duration::from_secs(300), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Writes a data set of six people with six windows each: a sine whose pitch is the activity.
pub fn tiny_data(root: &Path) -> PathBuf {
    let folder = root.join("UCI HAR Dataset");
    let mut noise = 1u32;
    for (part, people) in [("train", [1, 3, 5, 6]), ("test", [2, 4, 9, 10])] {
        let windows: Vec<(u32, u32)> = people.iter().flat_map(|&p| (1..=6).map(move |label| (p, label))).collect();
        let signals = folder.join(part).join("Inertial Signals");
        fs::create_dir_all(&signals).unwrap();
        for (c, channel) in stackelberg::data::har::CHANNEL_NAMES.iter().enumerate() {
            let mut text = String::new();
            for &(_, label) in &windows {
                for t in 0..128 {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let wave = (f64::from(label) * 0.1 * f64::from(t) + c as f64).sin();
                    let _ = write!(text, " {:.5}", wave + f64::from(noise >> 16) / 65536.0);
                }
                text.push('\n');
            }
            fs::write(signals.join(format!("{channel}_{part}.txt")), text).unwrap();
        }
        let column = |of: fn(&(u32, u32)) -> u32| windows.iter().map(|w| format!("{}\n", of(w))).collect::<String>();
        fs::write(folder.join(part).join(format!("y_{part}.txt")), column(|w| w.1)).unwrap();
        fs::write(folder.join(part).join(format!("subject_{part}.txt")), column(|w| w.0)).unwrap();
    }
    folder
}

/// `tune` on the tiny data with few and small steps on the reference engine; `more` goes last.
pub fn tune(data: &Path, more: &str) -> Command {
    let mut command = program("tune --steps 3 --outer 3 --batch 4 --device reference");
    command.arg("--data").arg(data).args(more.split_whitespace());
    command
}

/// A JSON file.
pub fn json(path: impl AsRef<Path>) -> Value {
    let path = path.as_ref();
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", path.display()))
}

/// The lines of `metrics.jsonl`; none while there is no file.
pub fn metrics(directory: &Path) -> Vec<Value> {
    let text = fs::read_to_string(directory.join("metrics.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect()
}

/// What must be the same bits in two runs: every record without its times, and the model.
pub fn bits(directory: &Path) -> (Vec<Value>, Vec<u8>) {
    let mut records = metrics(directory);
    for record in &mut records {
        for key in ["seconds", "peak_bytes", "dispatches", "submits", "readbacks", "buffers_created"] {
            record.as_object_mut().unwrap().remove(key).expect("a complete record");
        }
    }
    let mut result = json(directory.join("result.json"));
    for key in ["seconds", "peak_bytes", "dispatches", "configuration"] {
        result.as_object_mut().unwrap().remove(key).expect("a complete result");
    }
    records.push(result);
    (records, fs::read(directory.join("model.safetensors")).unwrap())
}

/// A folder with the tiny data and room for runs.
pub struct Bench {
    pub root: tempfile::TempDir,
    pub data: PathBuf,
}

impl Bench {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = tiny_data(root.path());
        Bench { root, data }
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A run on the tiny data, kept in the directory of that name.
    pub fn tune(&self, out: &str, more: &str) -> Outcome {
        run(tune(&self.data, more).arg("--out").arg(self.dir(out)))
    }

    pub fn resume(&self, name: &str, more: &str) -> Outcome {
        run(program("tune --resume").arg(self.dir(name)).args(more.split_whitespace()))
    }

    /// The budget that the error about a small one says is needed.
    pub fn least_budget(&self, more: &str) -> u64 {
        let outcome = run(&mut tune(&self.data, &format!("{more} --memory-budget 1000"))).exits(2);
        let outcome = outcome.says(&["a memory budget of 1000 bytes is too small", "bytes) is needed"]);
        let bytes = outcome.stderr.split('(').nth(1).and_then(|rest| rest.split_whitespace().next());
        bytes.expect("the bytes needed").parse().expect("a number")
    }
}
