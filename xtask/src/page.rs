//! The page's side: Node's packages and the scripts of `package.json`.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::Result;

use crate::process;

/// npm's program; on Windows a script, which is not found without its ending.
pub const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// Installs the packages of `package-lock.json` where they are missing or older than it.
pub fn install() -> Result<()> {
    // npm writes this file last, so it stands for a finished installation.
    let installed = modified(&process::root().join("node_modules/.package-lock.json"));
    let locked = modified(&process::root().join("package-lock.json"));
    if installed.is_some() && installed >= locked {
        return Ok(());
    }
    process::run(process::command(NPM).args(["ci", "--no-audit", "--no-fund"]))
}

/// A script of `package.json`.
pub fn script(name: &str) -> Command {
    let mut command = process::command(NPM);
    command.args(["run", "--silent", name]);
    command
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}
