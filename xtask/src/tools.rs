//! What the page and the tests need beyond Cargo: what is found, what is missing, and how to get it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};

use crate::{page, process, wasm};

/// The oldest Node that the page's build runs on; `engines` in package.json says the same.
const NODE: (u32, u32) = (20, 19);

/// Where the drivers of a Linux system say that they are there.
const VULKAN_DRIVERS: [&str; 3] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

#[derive(Clone, Copy, PartialEq)]
pub enum Need {
    /// For building the page, and so for the tests too.
    Page,
    /// For the tests only.
    Tests,
    /// For nothing: the page only gets smaller by it.
    Size,
}

struct Tool {
    name: &'static str,
    need: Need,
    /// What was found, in a few words.
    find: fn() -> Option<String>,
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
    install: Install,
}

/// The command that brings a tool, by system.
struct Install {
    debian: &'static str,
    fedora: &'static str,
    macos: &'static str,
    windows: &'static str,
}

impl Install {
    const fn everywhere(command: &'static str) -> Self {
        Self { debian: command, fedora: command, macos: command, windows: command }
    }
}

const TOOLS: [Tool; 7] = [
    Tool {
        name: "rustfmt",
        need: Need::Tests,
        find: || process::first_line(process::command("rustfmt").arg("--version")),
        packages: &[],
        install: Install::everywhere("rustup component add rustfmt"),
    },
    Tool {
        name: "clippy",
        need: Need::Tests,
        find: || process::first_line(process::command("clippy-driver").arg("--version")),
        packages: &[],
        install: Install::everywhere("rustup component add clippy"),
    },
    Tool {
        name: "Rust for the browser",
        need: Need::Page,
        find: || wasm::Toolchain::present().map(|toolchain| toolchain.to_string()),
        packages: &["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "rust-web-clippy", "lld-22"],
        install: Install::everywhere("rustup target add wasm32-unknown-unknown"),
    },
    Tool {
        name: "Node with npm",
        need: Need::Page,
        find: node,
        packages: &[],
        install: Install {
            debian: "sudo apt-get install nodejs npm  (before Debian 13 or Ubuntu 25.04: see nodejs.org/en/download)",
            fedora: "sudo dnf install nodejs npm",
            macos: "brew install node",
            windows: "winget install OpenJS.NodeJS.LTS",
        },
    },
    Tool {
        name: "GPU driver",
        need: Need::Tests,
        find: gpu_driver,
        packages: &["mesa-vulkan-drivers", "libvulkan1"],
        install: Install {
            debian: "sudo apt-get install mesa-vulkan-drivers libvulkan1",
            fedora: "sudo dnf install mesa-vulkan-drivers vulkan-loader",
            macos: "part of the system",
            windows: "part of the system",
        },
    },
    Tool {
        name: "Chromium or Chrome",
        need: Need::Tests,
        find: || browser().map(|path| path.display().to_string()),
        // Without a font a headless browser draws no text.
        packages: &["chromium", "fonts-liberation"],
        install: Install {
            debian: "sudo apt-get install chromium  (on Ubuntu: sudo snap install chromium)",
            fedora: "sudo dnf install chromium",
            macos: "brew install --cask google-chrome",
            windows: "winget install Google.Chrome",
        },
    },
    Tool {
        name: "wasm-opt",
        need: Need::Size,
        find: wasm::optimiser,
        packages: &[],
        install: Install {
            debian: "sudo apt-get install binaryen  (before Debian 13: npm install --global binaryen)",
            fedora: "sudo dnf install binaryen",
            macos: "brew install binaryen",
            windows: "npm install --global binaryen",
        },
    },
];

/// Prints every tool with what was found or how to get it; fails if one is missing that is needed.
pub fn doctor() -> ExitCode {
    println!("To build stackelberg itself, Rust and a C linker are enough; they built this program too.\n");
    let mut complete = true;
    for tool in &TOOLS {
        if let Some(found) = (tool.find)() {
            println!("found    {:<21} {found}", tool.name);
            continue;
        }
        let (state, purpose) = match tool.need {
            Need::Page => ("MISSING", "for the page and the tests"),
            Need::Tests => ("MISSING", "for the tests"),
            Need::Size => ("absent", "optional: makes the page smaller"),
        };
        complete &= tool.need == Need::Size;
        println!("{state:<8} {:<21} {purpose}", tool.name);
        for (system, command) in commands(&tool.install) {
            println!("         {system:<14} {command}");
        }
    }
    if complete {
        println!("\nNothing is missing: `cargo xtask web` and `cargo xtask test` will run.");
        return ExitCode::SUCCESS;
    }
    if root_on_debian() {
        println!("\n`cargo xtask web` and `cargo xtask test` install by themselves what Debian's packages bring.");
    }
    ExitCode::FAILURE
}

/// The commands for this system, or for every Linux where its kind is not known.
fn commands(install: &Install) -> Vec<(&'static str, &'static str)> {
    let linux = [("Debian, Ubuntu", install.debian), ("Fedora", install.fedora)];
    match std::env::consts::OS {
        "macos" => vec![("macOS", install.macos)],
        "windows" => vec![("Windows", install.windows)],
        _ => match fs::read_to_string("/etc/os-release").unwrap_or_default().to_lowercase() {
            release if release.contains("debian") => linux[..1].to_vec(),
            release if release.contains("fedora") => linux[1..].to_vec(),
            _ => linux.to_vec(),
        },
    }
}

/// Installs what is missing for building the page, or for the tests, as far as that is ours to do: the Rust target
/// with rustup, and packages where root works on a Debian, as in CI.
///
/// What is still missing then is an error, except that the tests can do without what only they need unless `strict`.
pub fn prepare(need: Need, strict: bool) -> Result<()> {
    if wasm::Toolchain::present().is_none() && process::which("rustup").is_some() {
        println!("Adding the Rust target {} with rustup.", wasm::TARGET);
        let _ = process::command("rustup").args(["target", "add", wasm::TARGET]).status();
    }
    let wanted = |tool: &&Tool| need == Need::Tests || tool.need != Need::Tests;
    let missing = || TOOLS.iter().filter(wanted).filter(|tool| (tool.find)().is_none());
    if root_on_debian()
        && let Err(error) = install_packages(missing().filter(|tool| !tool.packages.is_empty()).collect())
    {
        eprintln!("{error:#}");
    }
    let needed = |tool: &&Tool| tool.need == Need::Page || strict && tool.need == Need::Tests;
    let lacking: Vec<_> = missing().filter(needed).collect();
    ensure!(lacking.is_empty(), "missing: {}; `cargo xtask doctor` says how to get it", names(&lacking));
    Ok(())
}

fn install_packages(tools: Vec<&Tool>) -> Result<()> {
    if tools.is_empty() {
        return Ok(());
    }
    let packages = tools.iter().flat_map(|tool| tool.packages);
    println!("Installing Debian packages, for {}.", names(&tools));
    let mut update = process::command("apt-get");
    process::run(update.args(["update", "--quiet"]))?;
    let mut install = process::command("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "--quiet", "--yes"]);
    process::run(install.args(["--no-install-recommends", "--no-remove", "-oDpkg::Use-Pty=0"]).args(packages))
}

fn names(tools: &[&Tool]) -> String {
    tools.iter().map(|tool| tool.name).collect::<Vec<_>>().join(", ")
}

/// Ubuntu, which names its packages differently, does not count.
fn root_on_debian() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|release| release.lines().any(|line| line == "ID=debian"))
        && process::first_line(Command::new("id").arg("-u")).as_deref() == Some("0")
}

/// The browser that the tests drive: `$CHROMIUM`, or the first that is installed.
pub fn browser() -> Option<PathBuf> {
    if let Some(chosen) = std::env::var_os("CHROMIUM") {
        return Some(chosen.into()).filter(|path: &PathBuf| path.is_file());
    }
    let on_path = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let elsewhere = [
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
        r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
    ];
    let found = on_path.iter().find_map(|name| process::which(name));
    found.or_else(|| elsewhere.iter().map(PathBuf::from).find(|path| path.is_file()))
}

fn node() -> Option<String> {
    let node = process::first_line(process::command("node").arg("--version"))?;
    let npm = process::first_line(process::command(page::NPM).arg("--version"))?;
    (version(&node)? >= NODE).then(|| format!("Node {node}, npm {npm}"))
}

/// Major and minor of a version like `v20.19.2`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim_start_matches('v').split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// What runs the GPU tests.
pub fn gpu_driver() -> Option<String> {
    match std::env::consts::OS {
        "macos" => Some("Metal".into()),
        "windows" => Some("Direct3D 12".into()),
        _ if !vulkan_loader() || vulkan_drivers().is_empty() => None,
        _ if software_vulkan().is_some() => Some("software Vulkan".into()),
        _ => Some("Vulkan".into()),
    }
}

fn vulkan_drivers() -> Vec<PathBuf> {
    let folders = VULKAN_DRIVERS.iter().filter_map(|folder| fs::read_dir(folder).ok());
    folders.flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn vulkan_loader() -> bool {
    let architecture = std::env::consts::ARCH;
    let folders =
        [format!("/usr/lib/{architecture}-linux-gnu"), "/usr/lib64".into(), "/usr/lib".into(), "/usr/local/lib".into()];
    folders.iter().any(|folder| Path::new(folder).join("libvulkan.so.1").exists())
}

/// The description of Mesa's software driver, where Vulkan has nothing better to run on.
///
/// Naming it to the Vulkan loader spares the other drivers' start and their complaints.
pub fn software_vulkan() -> Option<PathBuf> {
    let is_software =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd"));
    vulkan_drivers().into_iter().find(is_software).filter(|_| !has_gpu())
}

fn has_gpu() -> bool {
    let render_node = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("renderD");
    let mut nodes = fs::read_dir("/dev/dri").into_iter().flatten().flatten();
    nodes.any(render_node) || Path::new("/dev/nvidiactl").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(version("v20.20.2"), Some((20, 20)));
        assert!(version("v20.9.0") < Some(NODE) && version("v22.1.0") > Some(NODE));
        assert_eq!(version("unknown"), None);
    }
}
