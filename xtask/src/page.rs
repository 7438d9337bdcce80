//! The page's side: Node's packages and the scripts of `package.json`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
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

/// Bytes that a visitor loads before the first run, as a host sends them compressed with gzip; nothing more may come to it
/// unseen.
const FIRST_LOAD: u64 = 3_450_000;

/// Refuses a page whose first load has grown: the page, its scripts and styles, the module that the worker names, the first
/// people's recordings and the fonts of Latin text.
pub fn weigh(folder: &Path) -> Result<()> {
    let assets = folder.join("assets");
    let named = |part: &str, end: &str| -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&assets)?.collect::<io::Result<Vec<_>>>()?;
        let found = |name: &str| name.starts_with(part) && name.ends_with(end);
        Ok(entries.iter().map(fs::DirEntry::path).filter(|path| file_name(path).is_some_and(found)).collect())
    };
    let workers = named("worker-", ".js")?;
    let mut first = vec![folder.join("index.html")];
    for worker in &workers {
        let text = fs::read_to_string(worker)?;
        let modules = named("", ".wasm")?;
        first.extend(modules.into_iter().filter(|path| file_name(path).is_some_and(|name| text.contains(name))));
    }
    first.extend(workers);
    for (part, end) in [("index-", ".js"), ("index-", ".css"), ("subset-", ".bin")] {
        first.extend(named(part, end)?);
    }
    for font in
        ["instrument-sans-latin-wght-normal", "stix-two-text-latin-wght-normal", "stix-two-text-latin-wght-italic"]
    {
        first.extend(named(font, ".woff2")?);
    }
    let mut sum = 0;
    for path in &first {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        io::copy(&mut File::open(path)?, &mut packed)?;
        let bytes = packed.finish()?.len() as u64;
        println!("{bytes:>9} bytes  {}", file_name(path).unwrap_or_default());
        sum += bytes;
    }
    println!("{sum:>9} bytes in all come before the first run, of {FIRST_LOAD} at most");
    anyhow::ensure!(sum <= FIRST_LOAD, "the page has grown: {sum} bytes come before the first run, {FIRST_LOAD} may");
    Ok(())
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
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
