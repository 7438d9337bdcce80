//! The Python package in `python/` against the program of this build.

use std::path::Path;
use std::process::{Command, Stdio};

/// The oldest Python that the package is for.
const OLDEST: (u32, u32) = (3, 10);

/// Tests that need nothing but Python, and those that need Ray, Optuna and pandas, too.
const ALWAYS: &str = "test_[ws]*.py";
const ALL: &str = "test_*.py";

/// Runs the package's tests with a Python.
fn passes(python: &str, tests: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let mut command = Command::new(python);
    command.args(["-W", "error::ResourceWarning", "-m", "unittest", "discover", "-v", "-s"]);
    command.arg(root.join("tests")).args(["-p", tests]);
    let run = command
        .env("PYTHONPATH", &root)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("STACKELBERG_PROGRAM", env!("CARGO_BIN_EXE_stackelberg"))
        .stdin(Stdio::null())
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&run.stderr);
    println!("{said}");
    assert!(run.status.success(), "{said}");
    assert!(said.contains("\nRan ") && !said.contains("Ran 0 tests"), "{said}");
}

/// The version of the `python3` on the path.
fn version() -> Option<(u32, u32)> {
    let says = "import sys; print(*sys.version_info[:2])";
    let said = Command::new("python3").args(["-c", says]).stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = said.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn the_package_drives_the_program() {
    match version() {
        None => println!("skipped: there is no python3 on the path"),
        Some(version) if version < OLDEST => println!("skipped: python3 is {version:?}, and {OLDEST:?} is needed"),
        Some(_) => passes("python3", ALWAYS),
    }
}

/// With `STACKELBERG_PYTHON`, a Python that has `ray[tune]`, `optuna`, `pandas` and `safetensors`; takes some minutes.
#[test]
fn ray_and_optuna_drive_the_program() {
    match std::env::var("STACKELBERG_PYTHON") {
        Err(_) => println!("skipped: STACKELBERG_PYTHON names no Python that has Ray and Optuna"),
        Ok(python) => passes(&python, ALL),
    }
}
