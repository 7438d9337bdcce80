//! Runs that are interrupted, damaged or gone on with, through the built program.

mod cli_support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cli_support::{Bench, bits, json, metrics, program, run, spawn, tune, wait, wait_until};
use serde_json::Value;

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
    let needed = bench.least_budget("--steps 6");
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
    assert_eq!(lines.len(), 2, "a shorter step may not diverge");
    let rate = |line: &Value| line["hyperparameters"]["learning_rate"].as_f64().unwrap();
    assert!((rate(&lines[0]) / rate(&lines[1]) - std::f64::consts::E).abs() < 1e-9);
    assert!(lines.iter().all(|line| line["outer_loss"].is_null() && line["accepted"] == false), "{lines:?}");
    let result = json(bench.dir("hopeless").join("result.json"));
    assert_eq!(result["ending"], "diverged");
    for point in ["start", "end"] {
        assert!(result[point]["test"]["accuracy"].is_null() && result[point]["test_classes"].is_null(), "{result}");
    }
    assert!(!bench.dir("hopeless").join("model.safetensors").exists());
    let again = bench.resume("hopeless", "--outer 3").exits(1);
    assert!(again.stdout.contains("Training diverged from the start values on"), "{}", again.stdout);

    let heavy = "--l2 1e30 --hyperparameters l2 --outer 2";
    let heavy = bench.tune("heavy", heavy).exits(1).says(&["training diverged at step"]);
    assert!(heavy.stdout.contains("after 1 outer iteration,"), "the same again would diverge: {}", heavy.stdout);
    assert!(heavy.stdout.contains("smaller --l2"), "{}", heavy.stdout);

    // The first step of the outer optimiser goes over the edge.
    let edge = "--hyperparameters lr --outer-rate 80 --outer 2 --outer-method adam";
    bench.tune("edge", edge).exits(0).says(&["taken back"]);
    let result = json(bench.dir("edge").join("result.json"));
    assert_eq!((&result["best_iteration"], &result["iterations"]), (&1.into(), &2.into()));
    let loss = |when: &str| result[when]["validation"]["loss"].as_f64().unwrap();
    assert!((loss("end") - loss("start")).abs() < 1e-6, "the end is the start, in single precision: {result}");
    assert!(bench.dir("edge").join("model.safetensors").exists());
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
