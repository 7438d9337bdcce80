//! The page's side: Node's packages and the scripts of `package.json`.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

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

/// Packs a folder for a host that takes zips: what is equal has equal bytes.
pub fn pack(folder: &Path, zip: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", zip.display());
    let mut writer = ZipWriter::new(File::create(zip).with_context(failed)?);
    pack_within(folder, "", &mut writer).with_context(failed)?;
    writer.finish().with_context(failed)?;
    Ok(())
}

fn pack_within(folder: &Path, prefix: &str, zip: &mut ZipWriter<File>) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            pack_within(&entry.path(), &format!("{name}/"), zip)?;
        } else {
            zip.start_file(&name, SimpleFileOptions::default())?;
            io::copy(&mut File::open(entry.path())?, zip)?;
        }
    }
    Ok(())
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}
