//! The page's side: Node's packages and the scripts of `package.json`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
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

/// Ways that hosts compress, with the bytes that a visitor may load before the first run in each; nothing more may come to it unseen.
const FIRST_LOAD: [(&str, u64); 2] = [("gzip", 2_400_000), ("brotli", 2_200_000)];

/// Node's program that prints the bytes of each file in both ways, each at its best.
const COMPRESSED: &str = "
const { gzipSync, brotliCompressSync } = require('zlib');
for (const path of process.argv.slice(1)) {
  const bytes = require('fs').readFileSync(path);
  console.log(gzipSync(bytes, { level: 9 }).length, brotliCompressSync(bytes).length);
}";

/// Refuses a page whose first load has grown: the page, the scripts and styles that it names, the worker and what it imports, the
/// module that it names, the first people's recordings and the fonts of Latin text. What either imports when it is asked for does not
/// count.
pub fn weigh(folder: &Path) -> Result<()> {
    let assets = folder.join("assets");
    let entries = fs::read_dir(&assets)?.collect::<io::Result<Vec<_>>>()?;
    let all: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    let chosen = |choose: &dyn Fn(&str) -> bool| -> Vec<PathBuf> {
        all.iter().filter(|path| file_name(path).is_some_and(choose)).cloned().collect()
    };
    let named = |part: &str, end: &str| chosen(&|name| name.starts_with(part) && name.ends_with(end));
    let page = folder.join("index.html");
    let text = fs::read_to_string(&page)?;
    let mut first = chosen(&|name| text.contains(name));
    first.push(page);
    for worker in named("worker-", ".js") {
        let text = fs::read_to_string(&worker)?;
        let imported = |name: &str| text.contains(&format!("from\"./{name}"));
        first.extend(chosen(&|name| imported(name) || (name.ends_with(".wasm") && text.contains(name))));
        first.push(worker);
    }
    first.extend(named("subset-", ".bin"));
    for font in
        ["instrument-sans-latin-wght-normal", "stix-two-text-latin-wght-normal", "stix-two-text-latin-wght-italic"]
    {
        first.extend(named(font, ".woff2"));
    }
    let lines = process::output(process::command("node").args(["-e", COMPRESSED]).args(&first))?;
    let mut sums = [0; 2];
    println!("{:>9} {:>9}", FIRST_LOAD[0].0, FIRST_LOAD[1].0);
    for (line, path) in lines.lines().zip(&first) {
        let bytes = line.split(' ').map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?;
        println!("{:>9} {:>9}  {}", bytes[0], bytes[1], file_name(path).unwrap_or_default());
        sums.iter_mut().zip(bytes).for_each(|(sum, bytes)| *sum += bytes);
    }
    println!("{:>9} {:>9}  bytes in all come before the first run", sums[0], sums[1]);
    for (sum, (way, most)) in sums.into_iter().zip(FIRST_LOAD) {
        anyhow::ensure!(sum <= most, "the page has grown: {sum} bytes by {way} come before the first run, {most} may");
    }
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
