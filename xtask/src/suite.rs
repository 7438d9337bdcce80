//! `cargo xtask test`: every check in order, each with its time, and one sum at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{page, page_output, process, serve, tools, wasm};

/// Tests that passed and failed.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

#[derive(Default)]
struct Suite {
    steps: Vec<(&'static str, Duration, Result<()>)>,
    count: Count,
}

/// Runs every check, also after one has failed; with `all` the slow tests too.
pub fn run(all: bool) -> Result<ExitCode> {
    // A developer may lack a GPU driver or a browser; a CI run that did would prove too little.
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    tools::prepare(tools::Need::Tests, strict)?;
    let browser = tools::browser();
    let wasm = wasm::Toolchain::find()?;

    let mut suite = Suite::default();
    suite.step("formatting", |_| process::run(process::cargo("fmt").args(["--all", "--check"])));
    suite.step("clippy, native", |_| clippy_native());
    suite.step("clippy, wasm32", |_| wasm.clippy());
    suite.step("library alone", |_| library_alone(all));
    suite.step("documentation", |_| documentation());
    let mut python = std::env::var_os("STACKELBERG_PYTHON").map(PathBuf::from);
    if all && python.is_none() {
        suite.step("Python packages", |_| {
            python = Some(process::python("python", PYTHON_PACKAGES)?);
            Ok(())
        });
    }
    suite.step("native tests", |count| native_tests(count, all, strict, python.as_deref()));
    suite.step("examples", |_| examples());
    suite.step("tests of xtask", |count| run_tests(process::cargo("test").args(XTASK), count));
    suite.step("wasm build", |_| wasm.build(wasm::Profile::Release));
    suite.step("extra build", |_| wasm.build_extra());
    suite.step("Node packages", |_| page::install());
    suite.step("page types", |_| process::run(&mut page::script("check")));
    suite.step("page unit tests", |count| run_tests(&mut page::script("test"), count));
    suite.step("page build", |_| process::run(&mut page::script("build")));
    suite.step("first load", |_| page::weigh(&process::root().join("www/dist")));
    if let Some(browser) = &browser {
        suite.step("browser tests", |count| browser_tests(browser, count, all, python.as_deref()));
    }
    let code = suite.report();
    if tools::gpu_driver().is_none() {
        println!("The GPU tests did not run: there is no driver; `cargo xtask doctor` says how to get one.");
    }
    if browser.is_none() {
        println!("The browser tests did not run: there is no Chromium; `cargo xtask doctor` says how to get one.");
    }
    Ok(code)
}

/// This program's package, in the profile it was built in.
const XTASK: [&str; 4] = ["--package", "xtask", "--profile", "xtask"];

fn clippy_native() -> Result<()> {
    let warnings = ["--", "-D", "warnings"];
    let library = ["--package", "stackelberg", "--package", "stackelberg-columns"];
    process::run(process::cargo("clippy").args(library).arg("--all-targets").args(warnings))?;
    process::run(process::cargo("clippy").args(XTASK).arg("--all-targets").args(warnings))
}

/// The library as other packages take it: each feature compiles by itself (those of the page with `all`; its module has them
/// together), and without any of them nothing that only the command line needs is there.
fn library_alone(all: bool) -> Result<()> {
    for feature in ["", "builtin-data"].into_iter().chain(["verify", "lessons"].into_iter().filter(|_| all)) {
        let mut clippy = process::cargo("clippy");
        clippy.args(["--lib", "--no-default-features", "--features", feature]);
        process::run(clippy.args(["--", "-D", "warnings"]))?;
    }
    let mut tree = process::cargo("tree");
    tree.args(["--no-default-features", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let tree = process::output(&mut tree)?;
    let manifest = fs::read_to_string(process::root().join("Cargo.toml"))?;
    let optional = optional_packages(&manifest);
    ensure!(!optional.is_empty(), "Cargo.toml has no optional package");
    let there = tree.lines().filter_map(|line| line.split(' ').next());
    let unasked: Vec<&str> = there.filter(|name| optional.contains(name)).collect();
    ensure!(unasked.is_empty(), "without default features the library still needs {}", unasked.join(", "));
    Ok(())
}

/// The packages that a manifest names as optional.
fn optional_packages(manifest: &str) -> Vec<&str> {
    let optional = manifest.lines().filter(|line| line.contains("optional = true"));
    optional.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect()
}

/// The pages of docs.rs; a public item without a comment and a link that leads nowhere are errors.
fn documentation() -> Result<()> {
    process::run(process::cargo("doc").args(["--lib", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// What tests ask of a Python that they are given.
const PYTHON_PACKAGES: [&str; 7] =
    ["numpy", "onnxruntime", "optuna", "optuna-dashboard", "pandas", "ray[tune]", "safetensors"];

fn native_tests(count: &mut Count, all: bool, strict: bool, python: Option<&Path>) -> Result<()> {
    let mut cargo = process::cargo("test");
    cargo.envs(python.map(|python| ("STACKELBERG_PYTHON", python)));
    cargo.arg("--no-fail-fast");
    if all {
        cargo.args(["--", "--include-ignored"]);
    }
    let chosen = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].iter().any(|name| std::env::var_os(name).is_some());
    if let Some(driver) = tools::software_vulkan().filter(|_| !chosen) {
        println!("GPU tests run on software Vulkan: {}", driver.display());
        cargo.env("VK_DRIVER_FILES", driver);
        // Its window system code, unused here, complains without this folder.
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            cargo.env("XDG_RUNTIME_DIR", std::env::temp_dir());
        }
    }
    if strict {
        cargo.env("REQUIRE_GPU", "1");
    }
    run_tests(&mut cargo, count)
}

/// Runs every example. hyper_cleaning ends with where to get MNIST if it is not there.
fn examples() -> Result<()> {
    for name in ["ridge", "feature_penalty", "schedule", "har", "hyper_cleaning", "averaged_truncation"] {
        process::run(process::cargo("run").args(["--quiet", "--example", name]))?;
    }
    Ok(())
}

fn browser_tests(browser: &Path, count: &mut Count, all: bool, python: Option<&Path>) -> Result<()> {
    let server = serve::Server::bind(page_output(), 0)?;
    let mut script = page::script("test:browser");
    script.env("CHROMIUM", browser).env("PAGE_URL", server.url()?);
    if all {
        script.env("LONG", "1");
    }
    script.envs(python.map(|python| ("STACKELBERG_PYTHON", python)));
    // A Vulkan driver meant for the native tests would slow the browser's own software GPU down.
    script.env_remove("VK_DRIVER_FILES").env_remove("VK_ICD_FILENAMES");
    std::thread::spawn(|| server.run());
    run_tests(&mut script, count)
}

/// Runs tests and counts them by what their runner prints; running none is a failure.
fn run_tests(command: &mut Command, count: &mut Count) -> Result<()> {
    process::run_watched(command, |line| count.add(counted(line)))?;
    ensure!(count.passed > 0, "no test ran");
    Ok(())
}

/// What a closing line of `cargo test` or of Node's test runner counts.
fn counted(line: &str) -> Count {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(0);
    match words[..] {
        ["test", "result:", _, _, "passed;", _, "failed;", ..] => Count { passed: number(3), failed: number(5) },
        ["ℹ" | "#", "pass", _] => Count { passed: number(2), failed: 0 },
        ["ℹ" | "#", "fail" | "cancelled", _] => Count { passed: 0, failed: number(2) },
        _ => Count::default(),
    }
}

impl Suite {
    fn step(&mut self, name: &'static str, check: impl FnOnce(&mut Count) -> Result<()>) {
        println!("\n== {name}");
        let (start, mut count) = (Instant::now(), Count::default());
        let outcome = check(&mut count);
        // A step that fails for another reason than a failed test counts as one.
        if let Err(error) = &outcome {
            eprintln!("error: {error:#}");
            count.failed = count.failed.max(1);
        }
        self.count.add(count);
        println!("== {name}: {:.1} s", start.elapsed().as_secs_f64());
        self.steps.push((name, start.elapsed(), outcome));
    }

    fn report(&self) -> ExitCode {
        println!();
        for (name, duration, outcome) in &self.steps {
            let state = if outcome.is_ok() { "ok" } else { "FAILED" };
            println!("{name:<16} {:>7.1} s  {state}", duration.as_secs_f64());
        }
        let Count { passed, failed } = self.count;
        println!("{passed} passed, {failed} failed");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_both_runners_are_counted() {
        let cargo =
            "test result: FAILED. 31 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.52s\n";
        assert_eq!(counted(cargo), Count { passed: 31, failed: 2 });
        assert_eq!(counted("# pass 7\n"), Count { passed: 7, failed: 0 });
        assert_eq!(counted("ℹ fail 3\n"), Count { passed: 0, failed: 3 });
        assert_eq!(counted("# cancelled 1\n"), Count { passed: 0, failed: 1 });
        assert_eq!(counted("a test that will pass 7 times\n"), Count::default());
    }

    #[test]
    fn a_step_that_fails_without_a_failed_test_counts_as_one() {
        let mut suite = Suite::default();
        suite.step("good", |count| {
            count.passed = 2;
            Ok(())
        });
        suite.step("bad", |_| anyhow::bail!("no"));
        assert_eq!(suite.count, Count { passed: 2, failed: 1 });
    }

    #[test]
    fn optional_packages_are_read_from_the_manifest() {
        let manifest = "clap = { version = \"4\", optional = true }\nserde = \"1\"\nmd-5 = { optional = true }\n";
        assert_eq!(optional_packages(manifest), ["clap", "md-5"]);
    }

    #[test]
    fn running_no_test_is_a_failure() {
        let mut silent = process::command("rustc");
        silent.arg("--version");
        assert!(run_tests(&mut silent, &mut Count::default()).is_err());
    }
}
