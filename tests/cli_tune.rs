//! `tune` through the built program: what it writes, how it goes on, and what it says when something
//! is wrong.

mod cli_support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cli_support::{Outcome, bits, json, metrics, program, run, spawn, tiny_data, tune, wait, wait_until};
use serde_json::Value;

/// A folder with the tiny data and room for runs.
struct Bench {
    root: tempfile::TempDir,
    data: std::path::PathBuf,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = tiny_data(root.path());
        Bench { root, data }
    }

    fn dir(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    /// A run on the tiny data, kept in the directory of that name.
    fn tune(&self, out: &str, more: &str) -> Outcome {
        run(tune(&self.data, more).arg("--out").arg(self.dir(out)))
    }

    fn resume(&self, name: &str, more: &str) -> Outcome {
        run(program("tune --resume").arg(self.dir(name)).args(more.split_whitespace()))
    }
}

#[test]
fn a_run_leaves_a_complete_record() {
    let bench = Bench::new();
    let outcome = bench.tune("run", "--seed 7").exits(0);
    assert!(outcome.stdout.contains("Tuned in 3 outer iterations"), "{}", outcome.stdout);
    outcome.says(&["Device: f64 on the processor", "18 training, 6 validation, 24 test windows", "3/3 outer loss"]);
    let directory = bench.dir("run");
    let lines = metrics(&directory);
    assert_eq!(lines.len(), 3);
    for (k, line) in lines.iter().enumerate() {
        assert_eq!(line["iteration"], k + 1);
        assert!(line["outer_loss"].as_f64().unwrap() > 0.0);
        for name in ["learning_rate", "momentum", "l2.conv1", "l2.conv2", "l2.dense1", "l2.dense2"] {
            assert!(line["hyperparameters"][name].as_f64().unwrap() > 0.0, "{name} in {line}");
            assert!(line["hypergradient"][name].as_f64().unwrap() != 0.0, "{name} in {line}");
        }
        for count in ["seconds", "peak_bytes", "dispatches", "submits", "readbacks"] {
            assert!(line[count].as_f64().unwrap() > 0.0, "{count} in {line}");
        }
    }
    let result = json(directory.join("result.json"));
    for (key, value) in [("engine", "reference"), ("ending", "finished"), ("version", env!("CARGO_PKG_VERSION"))] {
        assert_eq!(result[key], value);
    }
    assert_eq!(
        (&result["seed"], &result["iterations"], &result["data"]["subset"]),
        (&7.into(), &3.into(), &false.into())
    );
    for point in ["start", "end"] {
        for set in ["train", "validation", "test"] {
            assert!(result[point][set]["loss"].is_number() && result[point][set]["accuracy"].is_number());
        }
        let classes = &result[point]["test_classes"];
        let counted: u64 = classes["confusion"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|r| r.as_array().unwrap())
            .map(|n| n.as_u64().unwrap())
            .sum();
        assert_eq!(counted, 24);
        assert_eq!(classes["classes"].as_array().unwrap().len(), 6);
    }
    let best = result["best_iteration"].as_u64().unwrap() as usize;
    assert_eq!(result["best_outer_loss"], lines[best - 1]["outer_loss"]);
    let losses = lines.iter().map(|l| l["outer_loss"].as_f64().unwrap());
    assert_eq!(result["best_outer_loss"].as_f64(), losses.reduce(f64::min));

    let bytes = fs::read(directory.join("model.safetensors")).unwrap();
    let model = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(model.len(), 8);
    assert_eq!(model.tensor("conv1.kernel").unwrap().shape(), [3, 9, 8]);
    assert!(fs::read_to_string(directory.join("run.toml")).unwrap().contains("seed = 7"));
}

#[test]
fn run_toml_repeats_the_run() {
    let bench = Bench::new();
    bench.tune("a", "--hyperparameters lr,example-weights --dropout 0.25 --validation-subjects 3").exits(0);
    let settings = bench.dir("a").join("run.toml");
    run(program("tune --out").arg(bench.dir("b")).arg("--config").arg(&settings)).exits(0);
    assert_eq!(bits(&bench.dir("a")), bits(&bench.dir("b")));
    let weights = &metrics(&bench.dir("b"))[2]["hyperparameters"];
    assert!(weights["example_weights.min"].as_f64() < weights["example_weights.max"].as_f64(), "{weights}");
    // An option overrides the file.
    run(program("tune --seed 1 --out").arg(bench.dir("c")).arg("--config").arg(&settings)).exits(0);
    assert_ne!(bits(&bench.dir("a")).1, bits(&bench.dir("c")).1);
}

#[test]
fn a_directory_holds_one_run() {
    let bench = Bench::new();
    bench.tune("run", "--outer 1").exits(0);
    let before = bits(&bench.dir("run"));
    bench.tune("run", "--outer 1").exits(2).says(&["already holds a run", "--resume", "new --out"]);
    assert_eq!(before, bits(&bench.dir("run")));
    bench.resume("nothing", "").exits(2).says(&["holds no run to resume", "--out"]);
    bench.resume("run/run.toml", "").exits(2).says(&["run.toml is a file, and a run is a directory"]);
    let steps = bench.resume("run", "--steps 4").exits(2);
    steps.says(&["--steps was given, and run.toml has `steps = 3`", "run.toml", "--config"]);
    bench.resume("run", "--outer 3 --seed 1").exits(2).says(&["--seed was given, and run.toml has `seed = 0`"]);
    // What follows from an option was not given.
    for optimizer in ["adam", "sgd"] {
        let refused = bench.resume("run", &format!("--optimizer {optimizer}")).exits(2);
        refused.says(&["--optimizer was given, and run.toml has `optimizer = \"momentum\"`", "leave --optimizer out"]);
    }
    fs::create_dir(bench.dir("mine")).unwrap();
    fs::write(bench.dir("mine").join("result.json"), "mine").unwrap();
    let foreign = bench.tune("mine", "--outer 1").exits(2).says(&["result.json is in the way"]);
    assert!(!foreign.stderr.contains("--resume"), "there is nothing to resume:\n{}", foreign.stderr);
}

#[test]
fn a_run_can_be_made_longer_and_is_the_same_bits() {
    let bench = Bench::new();
    bench.tune("whole", "").exits(0);
    bench.tune("parts", "--outer 1").exits(0);
    let outcome = bench.resume("parts", "--outer 3").exits(0);
    assert!(!outcome.stderr.contains("1/3"), "the first iteration is not repeated:\n{}", outcome.stderr);
    assert_eq!(bits(&bench.dir("whole")), bits(&bench.dir("parts")));
    // Less memory means recomputed steps, not other bits.
    bench.tune("small", "--outer 1 --steps 6").exits(0);
    bench.tune("large", "--outer 3 --steps 6").exits(0);
    let needed = least_budget(&bench, "--steps 6");
    bench.resume("small", &format!("--outer 3 --memory-budget {needed}")).exits(0);
    assert_eq!(bits(&bench.dir("small")), bits(&bench.dir("large")));
    bench.resume("small", "--outer 2").exits(2).says(&["`outer` is 2, but must be at least 3"]);
}

/// What a run prints to go on with it is taken as it stands and run by a shell.
#[cfg(unix)]
#[test]
fn a_printed_command_can_be_pasted() {
    let bench = Bench::new();
    let here = |mut command: Command| run(command.current_dir(bench.root.path()));
    let paste = |command: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        here(shell)
    };
    let command_in = |text: &str, part: &str| {
        let line = text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part} in:\n{text}"));
        line.split_once("help: ").map_or(line, |(_, command)| command).trim().to_owned()
    };
    let long = "a directory whose name is longer than a terminal is wide, so that its name would have to be broken";
    for name in ["my runs/-a b", "--x", "it's $HOME `id`; *", "tab\tand\u{1b}[2J", long] {
        let out = |out: &str| {
            let mut command = tune(&bench.data, "--outer 1");
            command.arg(format!("--out={out}"));
            command
        };
        here(out(name)).exits(0);
        let directory = bench.root.path().join(name);
        let occupied = here(out(name)).exits(2);
        let raw = occupied.stderr.chars().filter(|c| c.is_control()).all(|c| matches!(c, '\n' | '\t'));
        assert!(raw, "control characters reach the terminal:\n{:?}", occupied.stderr);
        let resume = command_in(&occupied.stderr, "tune --resume");
        paste(&format!("{resume} --outer 2")).exits(0);
        assert_eq!(metrics(&directory).len(), 2, "{resume}");

        let mut changed = program("tune --steps 4");
        changed.arg(format!("--resume={name}"));
        let refused = here(changed).exits(2);
        let repeat = command_in(&refused.stderr, "tune --config");
        let copy = format!("{name} 2");
        let quoted = format!("--out='{}' --outer 1", copy.replace('\'', r"'\''"));
        paste(&repeat.replace("--out NEW", &quoted)).exits(0);
        assert_eq!(metrics(&bench.root.path().join(copy)).len(), 1, "{repeat}");
    }
}

/// The same of an interrupted run.
#[cfg(unix)]
#[test]
fn the_command_that_a_stopped_run_prints_goes_on_with_it() {
    let bench = Bench::new();
    let mut command = tune(&bench.data, "--outer 12");
    let mut child = spawn(command.args(["--out", "my runs/a b"]).current_dir(bench.root.path()));
    let directory = bench.dir("my runs/a b");
    wait_until(&mut child, "an iteration", || saved(&directory) >= 1);
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    let outcome = wait(child);
    let resume = outcome.stdout.lines().find_map(|line| line.strip_prefix("Go on with: ")).expect("a command");
    run(Command::new("sh").args(["-c", resume]).current_dir(bench.root.path())).exits(0);
    assert_eq!(metrics(&directory).len(), 12);
}

/// A directory that is taken away in mid-run is not recommended for going on.
#[cfg(unix)]
#[test]
fn a_run_whose_directory_is_gone_says_so() {
    let bench = Bench::new();
    let directory = bench.dir("run");
    let mut child = spawn(tune(&bench.data, "--outer 1000000").arg("--out").arg(&directory));
    wait_until(&mut child, "an iteration", || saved(&directory) >= 1);
    fs::rename(&directory, bench.dir("elsewhere")).unwrap();
    let outcome = wait(child).exits(1).says(&["cannot write", "is not there any more"]);
    assert!(!outcome.stderr.contains("--resume"), "{}", outcome.stderr);
}

#[test]
fn a_finished_run_says_that_nothing_is_left_to_do() {
    let bench = Bench::new();
    let first = bench.tune("run", "--outer 2").exits(0);
    assert!(!first.stderr.contains("Nothing is left"), "{}", first.stderr);
    bench.resume("run", "").exits(0).says(&["Nothing is left to do", "2 outer iterations", "a larger --outer than 2"]);
    let longer = bench.resume("run", "--outer 3").exits(0);
    assert!(!longer.stderr.contains("Nothing is left"), "{}", longer.stderr);
}

/// The budget that the error about a small one says is needed.
fn least_budget(bench: &Bench, more: &str) -> u64 {
    let outcome = run(&mut tune(&bench.data, &format!("{more} --memory-budget 1000"))).exits(2);
    let outcome = outcome.says(&["a memory budget of 1000 bytes is too small", "bytes) is needed"]);
    let bytes = outcome.stderr.split('(').nth(1).and_then(|rest| rest.split_whitespace().next());
    bytes.expect("the bytes needed").parse().expect("a number")
}

#[test]
fn a_budget_too_small_is_refused_with_the_one_that_fits() {
    let bench = Bench::new();
    let needed = least_budget(&bench, "--steps 8");
    bench.tune("fits", &format!("--steps 8 --outer 1 --memory-budget {needed}")).exits(0);
    bench.tune("not", &format!("--steps 8 --outer 1 --memory-budget {}", needed - 1)).exits(2).says(&["is too small"]);
    assert!(!bench.dir("not").exists(), "a run that cannot begin leaves nothing behind");
    bench.tune("not", "--outer 1").exits(0);
}

/// Methods that have no states to spare are held to the budget, too.
#[test]
fn every_method_keeps_to_the_budget() {
    let bench = Bench::new();
    for method in ["forward", "truncated:2", "implicit:5", "fixed-point:5"] {
        let penalties = "--outer 1 --dropout 0 --batch 18 --hyperparameters l2";
        let more = format!("{penalties} --method {method} --memory-budget");
        let refused = bench.tune("never", &format!("{more} 1KiB")).exits(2);
        let refused = refused.says(&["a memory budget of 1.0 KiB is too small"]);
        assert!(!bench.dir("never").exists(), "{method} leaves nothing behind");
        if method != "truncated:2" {
            let bytes = refused.stderr.split('(').nth(1).and_then(|rest| rest.split_whitespace().next());
            let needed: u64 = bytes.expect("the bytes needed").parse().expect("a number");
            bench.tune("never", &format!("{more} {}", needed - 1)).exits(2);
            run(&mut tune(&bench.data, &format!("{more} {needed}"))).exits(0);
        }
    }
}

/// Kills a run again and again and lets it go on; the end must be the bits of an undisturbed run.
fn killed(kills: usize, device: &str, outer: u32) {
    let bench = Bench::new();
    let more = format!("--outer {outer} --device {device}");
    let whole = bench.tune("whole", &more);
    whole.exits(0);
    let directory = bench.dir("killed");
    let mut child = spawn(tune(&bench.data, &more).arg("--out").arg(&directory));
    let mut random = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    for kill in 1..=kills {
        // At a random moment of the iterations that are this kill's share; the first one before any.
        let due = outer as usize * (kill - 1) / kills;
        wait_until(&mut child, "its iterations", || directory.join("run.toml").exists() && saved(&directory) >= due);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros(random >> 47));
        child.kill().unwrap();
        child.wait().unwrap();
        let done = saved(&directory);
        println!("kill {kill} after {done} iterations");
        child = spawn(program("tune --resume").arg(&directory));
        if kill == kills {
            let outcome = wait(child).exits(0);
            let ran = outcome.stderr.lines().filter(|l| l.contains("outer loss")).count();
            assert_eq!(ran, outer as usize - done, "only the missing iterations run:\n{}", outcome.stderr);
            break;
        }
    }
    assert_eq!(bits(&bench.dir("whole")), bits(&directory));
}

/// Iterations in the saved state: those that a resumed run does not repeat.
fn saved(directory: &Path) -> usize {
    let Ok(bytes) = fs::read(directory.join("state.safetensors")) else { return 0 };
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("a whole file at any moment");
    let entry = &header.metadata().as_ref().unwrap()["stackelberg"];
    let state: Value = serde_json::from_str(entry.split_once(' ').unwrap().1).unwrap();
    state["tuner"]["iteration"].as_u64().unwrap() as usize
}

#[test]
fn killed_runs_go_on_to_the_same_bits() {
    killed(3, "reference", 8);
}

#[test]
#[ignore = "over 20 CPU seconds"]
fn ten_kills_go_on_to_the_same_bits() {
    killed(10, "reference", 33);
}

#[test]
fn killed_runs_on_a_gpu_go_on_to_the_same_bits() {
    let devices = run(&mut program("devices")).exits(0).stdout;
    if devices.contains("No GPU adapter") {
        assert!(std::env::var_os("REQUIRE_GPU").is_none(), "this test needs a GPU adapter:\n{devices}");
        println!("SKIPPED: no GPU adapter");
        return;
    }
    killed(2, "0", 6);
    let bench = Bench::new();
    bench.tune("gpu", "--device 0 --outer 2").exits(0);
    let result = json(bench.dir("gpu").join("result.json"));
    assert_eq!(result["engine"], "gpu");
    assert!(result["dispatches"].as_u64().unwrap() > 0);
    assert_eq!(metrics(&bench.dir("gpu"))[1]["buffers_created"], 0, "after the first iteration nothing is allocated");
}

#[test]
fn killed_runs_on_the_processor_go_on_to_the_same_bits() {
    killed(3, "cpu", 12);
    let bench = Bench::new();
    bench.tune("cpu", "--device cpu --outer 2").exits(0).says(&["Device: processor with", "Expected: about"]);
    let result = json(bench.dir("cpu").join("result.json"));
    assert_eq!(result["engine"], "cpu");
    assert_eq!(metrics(&bench.dir("cpu"))[1]["buffers_created"], 0, "after the first iteration nothing is allocated");
}

#[cfg(unix)]
#[test]
fn interrupt_ends_cleanly_and_can_be_resumed() {
    let bench = Bench::new();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let directory = bench.dir(signal);
        // It cannot have ended by itself.
        let mut child = spawn(tune(&bench.data, "--outer 1000000").arg("--out").arg(&directory));
        wait_until(&mut child, "two iterations", || saved(&directory) >= 2);
        kill(&child, signal);
        let outcome = wait(child).exits(code).says(&["Stopping: scoring the best settings"]);
        assert!(outcome.stdout.contains("stackelberg tune --resume"), "{}", outcome.stdout);
        let result = json(directory.join("result.json"));
        assert_eq!(result["ending"], "stopped");
        assert!(result["end"]["test"]["accuracy"].is_number());
        assert_eq!(result["iterations"], saved(&directory));
        let outer = saved(&directory) + 2;
        let whole = format!("whole {signal}");
        bench.tune(&whole, &format!("--outer {outer}")).exits(0);
        bench.resume(signal, &format!("--outer {outer}")).exits(0);
        assert_eq!(bits(&bench.dir(&whole)), bits(&directory));
    }
}

fn kill(child: &std::process::Child, signal: &str) {
    let kill = std::process::Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

/// Whoever stops a run in its first iteration does not wait for a training to its end: there is nothing to score.
#[cfg(unix)]
#[test]
fn a_stop_in_the_first_iteration_trains_no_further() {
    let bench = Bench::new();
    let directory = bench.dir("run");
    let mut child = spawn(tune(&bench.data, "--steps 1000000 --outer 3").arg("--out").arg(&directory));
    // Written when the first iteration begins.
    wait_until(&mut child, "the settings", || directory.join("run.toml").exists());
    kill(&child, "INT");
    let outcome = wait(child).exits(130).says(&["Stopping"]);
    assert!(!outcome.stderr.contains("scoring"), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("Stopped in the first outer iteration."), "{}", outcome.stdout);
    let result = json(directory.join("result.json"));
    assert_eq!(
        (&result["ending"], &result["iterations"], result["end"].is_null()),
        (&"stopped".into(), &0.into(), true)
    );
    assert!(!directory.join("model.safetensors").exists());
}

/// Nothing before the first step grows faster than the number of steps: not even the shortest plans, of which a
/// forecast takes one, are written out.
#[cfg(unix)]
#[test]
fn a_million_steps_fit_into_little_memory() {
    let bench = Bench::new();
    let limited = |words: &str| {
        let mut command = std::process::Command::new("sh");
        // Address space in KiB: 2 GiB, most of it never touched.
        command.args(["-c", "ulimit -v 2097152; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_stackelberg")]);
        command.args(words.split(' ')).args(["--device", "cpu", "--steps", "1000000", "--data"]).arg(&bench.data);
        command
    };
    let advice = run(limited("advise --json --batch 4").args(["--hyperparameters", "lr"])).exits(0).stdout;
    assert!(serde_json::from_str::<Value>(&advice).unwrap()["choices"].is_array());
    let directory = bench.dir("run");
    let mut child = spawn(limited("tune --batch 4 --outer 1").arg("--out").arg(&directory));
    wait_until(&mut child, "the first iteration", || directory.join("run.toml").exists());
    kill(&child, "TERM");
    wait(child).exits(143);
}

/// Momentum first acts in the second step.
#[test]
fn a_derivative_that_is_exactly_zero_is_explained() {
    let bench = Bench::new();
    let one = bench.tune("one", "--steps 1 --outer 1").exits(0);
    one.says(&["the derivative by momentum is exactly 0", "in the second training step"]);
    let two = bench.tune("two", "--steps 2 --outer 1").exits(0);
    assert!(!two.stderr.contains("exactly 0"), "{}", two.stderr);
}

#[test]
fn wrong_settings_name_the_field_and_the_way_out() {
    let bench = Bench::new();
    let cases = [
        ("--steps 0", ["`steps` is 0", "at least 1"]),
        ("--outer 0", ["`outer` is 0", "at least 1"]),
        ("--batch 0", ["`batch` is 0", "64 is the usual size"]),
        ("--batch 19", ["`batch` is 19, but must be at most 18", "smaller batch"]),
        ("--learning-rate=-1", ["`learning_rate` is -1", "above 0"]),
        ("--learning-rate -1", ["`learning_rate` is -1", "above 0"]),
        ("--steps 4000000000", ["`steps` is 4000000000", "at most 1000000"]),
        ("--outer-rate 1e300", ["`outer_rate` is 1", "at most 88"]),
        ("--learning-rate nan", ["`learning_rate` is NaN", "finite"]),
        ("--momentum 1", ["`momentum` is 1", "below 1"]),
        ("--dropout 1", ["`dropout` is 1", "0 switches it off"]),
        ("--jitter 1e30", ["`jitter` is 1e30", "0, or from 1e-30 to 10"]),
        ("--scaling 1e30", ["`scaling` is 1e30", "0.1 changes each channel"]),
        ("--l2 1e-60", ["`l2` is 1e-60", "finite in single precision"]),
        ("--optimizer adam --betas 0.9,1", ["`betas` is 1", "two numbers above 0"]),
        ("--betas 0.9", ["0.9", "two numbers with a comma"]),
        ("--betas 0.8,0.99", ["`betas` is 0.8,0.99", "take optimizer adam"]),
        (
            "--optimizer sgd --momentum 0.9",
            ["`momentum` is 0.9", "has no momentum: take optimizer momentum, heavy-ball or nesterov"],
        ),
        ("--example-weight-rate 1", ["`example_weight_rate` is 1", "name example-weights"]),
        ("--hyperparameters lr,lr", ["`hyperparameters` is lr,lr", "each once"]),
    ];
    for (more, texts) in cases {
        let outcome = bench.tune("never", more).exits(2).says(&texts);
        assert!(!outcome.stderr.contains("Device:"), "{more} is known to be wrong without a device");
        assert!(!bench.dir("never").exists(), "{more} leaves nothing behind");
    }
    bench.tune("never", "--validation-subjects 1,7").exits(2).says(&["validation subjects [7] are not in the data"]);
    assert!(!bench.dir("never").exists());
}

#[test]
fn a_run_on_a_relative_path_goes_on_from_anywhere() {
    let bench = Bench::new();
    let near = |command: &str, more: &str| {
        let mut command = program(command);
        command.arg(bench.dir("run")).args(more.split_whitespace());
        run(command.args(["--data", "UCI HAR Dataset"]).current_dir(bench.root.path()))
    };
    near("tune --steps 2 --outer 1 --batch 4 --device reference --out", "").exits(0);
    run(program("tune --outer 2 --resume").arg(bench.dir("run")).current_dir(std::env::temp_dir())).exits(0);
    near("tune --resume", "--outer 3").exits(0);
    assert_eq!(metrics(&bench.dir("run")).len(), 3);
}

#[test]
fn nobody_has_to_read_what_a_run_says() {
    let bench = Bench::new();
    let mut child = spawn(tune(&bench.data, "").arg("--out").arg(bench.dir("run")));
    drop((child.stdout.take(), child.stderr.take()));
    wait(child).exits(0);
    assert_eq!(metrics(&bench.dir("run")).len(), 3);
}

#[test]
fn a_wrong_configuration_file_is_shown_in_place() {
    let bench = Bench::new();
    let file = bench.dir("mine.toml");
    let with = |text: &str| {
        fs::write(&file, text).unwrap();
        run(program("tune --config").arg(&file)).exits(2)
    };
    with("steps = 5\nstepz = 6\n").says(&[
        "mine.toml has a mistake in line 2, column 1",
        "unknown field `stepz`",
        "stepz = 6",
        "schema configuration",
    ]);
    with("steps = \"many\"\n").says(&["line 1, column 9", "invalid type"]);
    with("steps = 5\n[[[\n").says(&["mine.toml has a mistake in line 2"]);
    with("batch = 0\n").says(&["`batch` is 0"]);
    fs::write(&file, [0xff, 0xfe]).unwrap();
    run(program("tune --config").arg(&file)).exits(2).says(&["cannot read the configuration", "mine.toml"]);
    run(program("tune --config").arg(bench.dir("none.toml")))
        .exits(2)
        .says(&["cannot read the configuration", "none.toml"]);
}

#[test]
fn wrong_data_name_file_and_line() {
    let bench = Bench::new();
    let again = |file: &str, change: &dyn Fn(String) -> String| {
        let path = bench.data.join(file);
        let original = fs::read_to_string(&path).unwrap();
        fs::write(&path, change(original.clone())).unwrap();
        let outcome = bench.tune("never", "").exits(1);
        fs::write(&path, original).unwrap();
        assert!(!bench.dir("never").join("run.toml").exists());
        outcome
    };
    let signal = "train/Inertial Signals/body_gyro_y_train.txt";
    let nan = |text: String| {
        let (first, rest) = text.split_once('\n').unwrap();
        format!("{first}\n NaN{}", &rest[rest[1..].find(' ').unwrap() + 1..])
    };
    again(signal, &nan).says(&["body_gyro_y_train.txt, line 2, number 1", "`NaN` is not a finite number"]);
    again(signal, &|text| text[..text.len() / 2].to_owned()).says(&["body_gyro_y_train.txt"]);
    again("train/y_train.txt", &|text| text.replacen('6', "9", 1)).says(&["y_train.txt, line 6", "`9` is not a label"]);
    again("test/subject_test.txt", &|_| String::new()).says(&["subject_test.txt is empty"]);
    fs::remove_file(bench.data.join("test/y_test.txt")).unwrap();
    bench.tune("never", "").exits(1).says(&["y_test.txt"]);
    run(program("tune --data").arg(bench.dir("nowhere"))).exits(2).says(&["nowhere"]);
    run(&mut program("tune --data=")).exits(2).says(&["`data` is empty", "a variable that is not set", "Leave it out"]);
    run(program("tune").args(["--data", " "])).exits(2).says(&["`data` is empty"]);
    fs::write(bench.dir("x.zip"), b"PK\x03\x04 no zip").unwrap();
    run(program("tune --data").arg(bench.dir("x.zip"))).exits(1).says(&["x.zip", "damaged"]);
}

#[test]
fn activities_that_cannot_be_learnt_are_named() {
    let bench = Bench::new();
    let labels = bench.data.join("train/y_train.txt");
    // Persons 1, 3, 5 and 6 have a window of each activity; person 1 is validated on.
    let text = fs::read_to_string(&labels).unwrap();
    let (first, rest) = text.split_at(12);
    fs::write(&labels, format!("{first}{}", rest.replace('4', "5"))).unwrap();
    bench.tune("run", "--outer 1").exits(0).says(&["no training person has a window of sitting"]);
    for part in ["train", "test"] {
        fs::write(bench.data.join(format!("{part}/y_{part}.txt")), "3\n".repeat(24)).unwrap();
    }
    bench.tune("single", "--outer 1").exits(0).says(&["all windows are of one activity (walking downstairs)"]);
}

#[test]
fn resuming_with_other_data_is_refused() {
    let bench = Bench::new();
    bench.tune("run", "--outer 1").exits(0);
    let labels = bench.data.join("train/y_train.txt");
    let text = fs::read_to_string(&labels).unwrap();
    fs::write(&labels, text.replacen('6', "5", 1)).unwrap();
    bench.resume("run", "--outer 2").exits(1).says(&["learnt from other data than", "put the data back", "--config"]);
}

#[test]
fn absurd_learning_rates_are_reported_and_the_last_good_state_kept() {
    let bench = Bench::new();
    let outcome = bench.tune("hopeless", "--learning-rate 1e30 --outer 2").exits(1);
    assert!(outcome.stdout.contains("Training diverged from the start values on"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("smaller --learning-rate"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("accuracy"), "nothing was learnt:\n{}", outcome.stdout);
    outcome.says(&["training diverged at step"]);
    let lines = metrics(&bench.dir("hopeless"));
    assert_eq!(lines.len(), 1, "the same start again would diverge again");
    assert!(lines[0]["outer_loss"].is_null() && lines[0]["accepted"] == false, "{}", lines[0]);
    let result = json(bench.dir("hopeless").join("result.json"));
    assert_eq!(result["ending"], "diverged");
    for point in ["start", "end"] {
        assert!(result[point]["test"]["accuracy"].is_null() && result[point]["test_classes"].is_null(), "{result}");
    }
    assert!(!bench.dir("hopeless").join("model.safetensors").exists());
    let again = bench.resume("hopeless", "--outer 3").exits(1);
    assert!(again.stdout.contains("Training diverged from the start values on"), "{}", again.stdout);

    let heavy = bench.tune("heavy", "--l2 1e30 --outer 2").exits(1).says(&["training diverged at step"]);
    assert!(heavy.stdout.contains("in 1 outer iteration,") || heavy.stdout.contains("after 1 outer iteration,"));
    assert!(heavy.stdout.contains("smaller --l2"), "{}", heavy.stdout);
    assert!(!heavy.stderr.contains("taken back"), "nothing comes after it:\n{}", heavy.stderr);

    // The first step of the outer optimiser goes over the edge.
    bench.tune("edge", "--hyperparameters lr --outer-rate 80 --outer 2").exits(0).says(&["taken back"]);
    let result = json(bench.dir("edge").join("result.json"));
    assert_eq!((&result["best_iteration"], &result["iterations"]), (&1.into(), &2.into()));
    let loss = |when: &str| result[when]["validation"]["loss"].as_f64().unwrap();
    assert!((loss("end") - loss("start")).abs() < 1e-6, "the end is the start, in single precision: {result}");
    assert!(bench.dir("edge").join("model.safetensors").exists());
}

#[test]
fn a_check_of_the_gradient_goes_through_at_the_point_of_a_run() {
    let bench = Bench::new();
    bench.tune("run", "--outer 2 --hyperparameters lr,momentum").exits(0);
    // A check reads the run, be it where nothing can be written.
    fs::remove_file(bench.dir("run").join(".lock")).unwrap();
    let check = run(program("check-gradient --json --run").arg(bench.dir("run"))).exits(0);
    let report = serde_json::from_str::<Value>(&check.stdout).unwrap()["check"].take();
    // The run was in f64, and so is its check.
    let answers = report["exact"]["answers"].as_array().unwrap().len();
    assert_eq!((&report["outcome"], answers, report["device"].is_null()), (&"passed".into(), 3, true));
    assert_eq!(report["directions"], serde_json::json!(["learning_rate", "momentum"]));
    assert!(!bench.dir("run").join(".lock").exists());
    let other = run(program("check-gradient --run").arg(bench.dir("run")).args(["--steps", "5"])).exits(2);
    other.says(&["--steps was given, and run.toml has `steps = 3`"]);
}

#[test]
fn advice_names_a_method_and_why() {
    let bench = Bench::new();
    let advise = |more: &str| {
        let mut command = program("advise --json --device cpu --steps 20 --batch 4 --data");
        let report = run(command.arg(&bench.data).args(more.split_whitespace())).exits(0).stdout;
        serde_json::from_str::<Value>(&report).unwrap()
    };
    let best = |report: &Value| report["choices"][report["best"].as_u64().unwrap() as usize]["setting"].clone();
    assert_eq!(best(&advise("--hyperparameters lr,l2,example-weights")), "reverse");
    let one = advise("--hyperparameters lr");
    assert_eq!(one["hyperparameters"], 1);
    // Which is faster here, the clock says; the best is the fastest of the exact ones that are possible.
    let choices = one["choices"].as_array().unwrap();
    let exact = choices.iter().filter(|choice| choice["exact"] == true && choice["impossible"].is_null());
    let least = exact.map(|choice| choice["seconds"].as_f64().unwrap()).fold(f64::INFINITY, f64::min);
    assert_eq!(choices[one["best"].as_u64().unwrap() as usize]["seconds"].as_f64(), Some(least), "{one}");
}

#[test]
fn no_advice_exceeds_the_memory_of_the_machine() {
    let bench = Bench::new();
    let mut command = program("advise --json --device cpu --steps 20 --batch 4 --memory-budget 1000000GiB --data");
    let outcome = run(command.arg(&bench.data)).exits(0).says(&["is more than this machine can give"]);
    let advice: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let budget = advice["memory_budget"].as_u64().unwrap();
    assert!(budget < 1_000_000 << 30, "{advice}");
    let held = |choice: &Value| choice["bytes"].as_u64().is_none_or(|bytes| bytes <= budget);
    assert!(advice["choices"].as_array().unwrap().iter().all(held), "{advice}");
}

#[test]
fn damaged_files_are_named() {
    let bench = Bench::new();
    bench.tune("run", "--outer 2").exits(0);
    let whole = bits(&bench.dir("run"));
    let spoil = |name: &str, change: &dyn Fn(Vec<u8>) -> Option<Vec<u8>>| {
        let path = bench.dir("run").join(name);
        let original = fs::read(&path).unwrap();
        match change(original.clone()) {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let outcome = bench.resume("run", "");
        fs::write(&path, original).unwrap();
        outcome
    };
    let cut = |bytes: Vec<u8>| Some(bytes[..bytes.len() / 2].to_vec());
    spoil("state.safetensors", &cut).exits(1).says(&["state.safetensors cannot be used", "cut short", "--config"]);
    let flip = |mut bytes: Vec<u8>| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        Some(bytes)
    };
    spoil("state.safetensors", &flip).exits(1).says(&["checksum"]);
    spoil("state.safetensors", &|_| Some(vec![])).exits(1).says(&["state.safetensors cannot be used"]);
    spoil("state.safetensors", &|_| None).exits(1).says(&["state.safetensors cannot be used: it is missing"]);
    spoil("metrics.jsonl", &cut).exits(1).says(&["metrics.jsonl cannot be used"]);
    spoil("metrics.jsonl", &|_| None).exits(1).says(&["metrics.jsonl", "0 lines"]);
    spoil("run.toml", &|_| Some(b"steps = ".to_vec())).exits(2).says(&["run.toml has a mistake in line 1"]);
    let other = |bytes| Some(String::from_utf8(bytes).unwrap().replace("batch = 4", "batch = 5").into_bytes());
    spoil("run.toml", &other).exits(1).says(&["run.toml cannot be used", "`batch` was changed"]);
    spoil("run.toml", &|_| None).exits(2).says(&["holds no run"]);
    let metrics = bench.dir("run").join("metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    fs::write(&metrics, text.replacen("\"iteration\":2", "\"iteration\":x", 1)).unwrap();
    run(program("report").arg(bench.dir("run")).arg("--out").arg(bench.dir("report")))
        .exits(1)
        .says(&["metrics.jsonl cannot be used: line 2, column"]);
    fs::write(&metrics, text).unwrap();
    fs::create_dir(bench.dir("empty")).unwrap();
    run(program("report").args([bench.dir("run"), bench.dir("empty")]).arg("--out").arg(bench.dir("report")))
        .exits(0)
        .says(&["Nothing to report in", "empty"]);
    bench.resume("run", "").exits(0);
    assert_eq!(whole, bits(&bench.dir("run")), "nothing above did harm");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_run_and_spares_what_was_saved() {
    let bench = Bench::new();
    bench.tune("whole", "").exits(0);
    bench.tune("run", "--outer 1").exits(0);
    let directory = bench.dir("run");
    // Every write to this device fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", directory.join(".state.safetensors.tmp")).unwrap();
    bench.resume("run", "--outer 3").exits(1).says(&[
        "cannot write",
        "state.safetensors",
        "No space left on device",
        "make room on the disk",
        "--resume",
    ]);
    assert_eq!(saved(&directory), 1);
    bench.resume("run", "").exits(0);
    assert_eq!(bits(&bench.dir("whole")), bits(&directory));
}

#[cfg(unix)]
#[test]
fn a_place_that_cannot_be_written_is_an_error_before_any_work() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    fs::write(bench.dir("file"), b"").unwrap();
    bench.tune("file", "").exits(1).says(&["cannot make the directory", "--out"]);
    bench.tune("file/below", "").exits(1).says(&["cannot make the directory"]);
    if cfg!(target_os = "linux") {
        run(&mut tune(&bench.data, "--out /proc/stackelberg")).exits(1).says(&["cannot make the directory /proc"]);
        run(&mut tune(&bench.data, "--out /proc")).exits(1).says(&["cannot write to the directory /proc", "--out"]);
    }
    // The administrator may write anywhere.
    let locked = bench.dir("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(locked.join("probe"), b"").is_err() {
        bench.tune("locked", "").exits(1).says(&["cannot write to", "make the directory writable"]);
    }
}

#[test]
fn two_processes_do_not_share_a_directory() {
    let bench = Bench::new();
    let directory = bench.dir("run");
    let mut child = spawn(tune(&bench.data, "--outer 1000000").arg("--out").arg(&directory));
    wait_until(&mut child, "an iteration", || saved(&directory) >= 1);
    bench.resume("run", "").exits(1).says(&["another process is working on the run"]);
    child.kill().unwrap();
    child.wait().unwrap();
    bench.resume("run", &format!("--outer {}", saved(&directory))).exits(0);
}

/// A processor that stands in for a GPU is slower than the processor, and to find that out takes seconds.
#[test]
fn a_software_adapter_is_not_timed() {
    let bench = Bench::new();
    let told = bench.tune("run", "--device auto --outer 1").exits(0).says(&["Device: "]);
    assert!(!told.stderr.contains("standing in for a GPU"), "{}", told.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_the_processor_is_taken() {
    let bench = Bench::new();
    let mut command = program("tune --steps 2 --outer 1 --batch 4 --data");
    command.arg(&bench.data).arg("--out").arg(bench.dir("run"));
    command.env("VK_DRIVER_FILES", "/nowhere").env("VK_ICD_FILENAMES", "/nowhere");
    run(&mut command).exits(0).says(&["Device: processor with"]);
    let settings = fs::read_to_string(bench.dir("run").join("run.toml")).unwrap();
    assert!(settings.contains("device = \"cpu\""), "what was taken is named:\n{settings}");
    run(&mut tune(&bench.data, "--device no-such-card"))
        .exits(2)
        .says(&["no usable device `no-such-card`", "auto, cpu, reference"]);
}

#[test]
fn the_next_sample_can_be_learnt_instead_of_the_activity() {
    let root = tempfile::tempdir().unwrap();
    let tune = |task: &str, directory: &Path| {
        let settings = "--data subset --steps 3 --outer 2 --batch 16 --validation-windows 64 --device cpu";
        let mut command = program(&format!("tune --task {task} {settings} --out"));
        (run(command.arg(directory)).exits(0), json(directory.join("result.json")))
    };
    for task in ["prediction", "prediction-linear"] {
        let (outcome, result) = tune(task, &root.path().join(task));
        for text in ["test loss", "predicting the last sample again", "the training mean"] {
            assert!(outcome.stdout.contains(text), "no `{text}` in\n{}", outcome.stdout);
        }
        assert!(!outcome.stdout.contains("accuracy") && !outcome.stdout.contains("F1"), "{}", outcome.stdout);
        assert!(result["end"]["test_classes"].is_null() && result["end"]["test"]["accuracy"].is_null());
        assert_eq!(result["configuration"]["task"], task);
        let trivial = |name: &str| result["trivial"][name].as_f64().unwrap();
        assert!(0.0 < trivial("last_sample") && trivial("last_sample") < trivial("training_mean"));
    }
    let (outcome, result) = tune("classification-mse", &root.path().join("mse"));
    assert!(outcome.stdout.contains("test accuracy") && result["trivial"].is_null());
    let loss = result["start"]["test"]["loss"].as_f64().unwrap();
    assert!(loss > 0.0 && loss < 2.0, "the squared error of six outputs: {loss}");
    run(&mut program(&format!("report {0} {0} --out {0}", root.path().join("prediction").display()))).exits(0);

    let data = tiny_data(root.path());
    run(&mut cli_support::tune(&data, "--task prediction"))
        .exits(2)
        .says(&["no train window is continued by the next one of the same person", "take the task `classification`"]);
}

/// A run whose outer loss does not fall any more ends by itself, and goes on with more patience.
#[test]
fn patience_ends_a_run() {
    let bench = Bench::new();
    // A second step of this length goes far over the edge.
    bench.tune("run", "--outer 40 --outer-rate 3 --patience 2").exits(0);
    let result = json(bench.dir("run").join("result.json"));
    let (last, best) = (result["iterations"].as_u64().unwrap(), result["best_iteration"].as_u64().unwrap());
    assert!(last < 40 && last == best + 2, "{last} {best}");
    let lines = metrics(&bench.dir("run"));
    let losses: Vec<f64> = lines.iter().map(|line| line["outer_loss"].as_f64().unwrap_or(f64::INFINITY)).collect();
    let again = bench.resume("run", "--patience 4").exits(0);
    assert!(
        again.stdout.contains("without a lower outer loss") || again.stdout.contains("Tuned in 40"),
        "{}",
        again.stdout
    );
    assert!(metrics(&bench.dir("run")).len() > lines.len(), "more patience goes on");
    assert!(losses[best as usize..].iter().all(|loss| *loss >= losses[best as usize - 1]), "{losses:?}");
}

/// Exact methods go through the same points; others through others.
#[test]
fn methods_are_chosen_by_name() {
    let bench = Bench::new();
    let losses = |name: &str, method: &str| {
        bench.tune(name, &format!("--method {method}")).exits(0);
        let losses = metrics(&bench.dir(name)).into_iter().map(|line| line["outer_loss"].as_f64().unwrap());
        losses.collect::<Vec<_>>()
    };
    let reverse = losses("reverse", "reverse");
    for (a, b) in reverse.iter().zip(losses("forward", "forward")) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
    let truncated = losses("truncated", "truncated:1");
    assert_eq!(truncated[0], reverse[0]);
    assert!((truncated[2] - reverse[2]).abs() > 1e-6, "{truncated:?} {reverse:?}");
    let refused = bench.tune("implicit", "--method implicit:5 --dropout 0").exits(2);
    refused.says(&["gives no derivative in the learning rate", "Take reverse mode"]);
    bench.tune("penalties", "--method implicit:5 --dropout 0 --hyperparameters l2").exits(0).says(&["residual"]);
    assert!(metrics(&bench.dir("penalties"))[0]["residual"].as_f64().unwrap() > 0.0);
    assert!(metrics(&bench.dir("reverse"))[0]["residual"].is_null());
    bench.tune("wrong", "--method backward").exits(2).says(&["`backward` is no method", "truncated:K"]);
}

/// Without a list, what is tuned follows the optimizer; a run's file names it.
#[test]
fn every_optimizer_has_its_own_usual_hyperparameters() {
    let bench = Bench::new();
    let cases = [
        ("sgd", "", &["learning_rate", "l2.conv1"][..]),
        ("adam", "--betas 0.8,0.99 --epsilon 1e-3", &["learning_rate", "beta1", "beta2"]),
    ];
    for (optimizer, more, names) in cases {
        bench.tune(optimizer, &format!("--outer 1 --optimizer {optimizer} {more}")).exits(0);
        let line = &metrics(&bench.dir(optimizer))[0];
        for name in names {
            assert!(line["hypergradient"][name].as_f64().unwrap() != 0.0, "{name} in {line}");
        }
        assert!(line["hyperparameters"]["momentum"].is_null(), "{line}");
    }
    let adam = &metrics(&bench.dir("adam"))[0]["hyperparameters"];
    for (name, value) in [("beta1", 0.8), ("beta2", 0.99), ("epsilon", 1e-3)] {
        assert!((adam[name].as_f64().unwrap() / value - 1.0).abs() < 1e-9, "{name} in {adam}");
    }
    let kinds = &json(bench.dir("adam").join("result.json"))["configuration"]["hyperparameters"];
    assert_eq!(*kinds, serde_json::json!(["lr", "betas", "l2"]));
    bench.resume("adam", "--outer 2").exits(0);

    // A report finds runs in folders below.
    let page = bench.dir("page");
    run(program("report").arg(bench.root.path()).arg("--out").arg(&page)).exits(0);
    assert_eq!(json(page.join("report.json"))["runs"].as_array().unwrap().len(), 2);
    run(program("report").arg(bench.root.path().parent().unwrap().join("none")).arg("--out").arg(&page)).exits(2);
}

/// What else can be tuned is tuned, and recorded under its name.
#[test]
fn every_kind_of_hyperparameter_is_tuned_by_name() {
    let bench = Bench::new();
    let cases = [
        (
            "momentum",
            "lr,lr-layers,lr-schedule,dropout,jitter,scaling,initial-scale,l2-global",
            &["lr_layers.conv1", "lr_schedule.norm", "dropout", "jitter", "scaling", "initial_scale", "l2"][..],
        ),
        (
            "adam",
            "lr,betas,epsilon,initial-weights,example-weights",
            &["beta1", "beta2", "epsilon", "initial_weights.norm", "example_weights.norm"],
        ),
    ];
    for (optimizer, kinds, names) in cases {
        bench.tune(optimizer, &format!("--optimizer {optimizer} --hyperparameters {kinds}")).exits(0);
        let line = &metrics(&bench.dir(optimizer))[0];
        for name in names {
            assert!(line["hypergradient"][name].as_f64().unwrap() != 0.0, "{name} in {line}");
        }
    }
    let refused = bench.tune("none", "--optimizer sgd --hyperparameters lr,momentum").exits(2);
    refused.says(&["hyperparameters", "without momentum, which this training does not have"]);
}
