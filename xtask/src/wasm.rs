//! The library as a WebAssembly module with its JavaScript bindings, in `www/pkg`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

use anyhow::{Context, Result, anyhow};
use wasm_bindgen_cli_support::Bindgen;

use crate::process;

pub const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's own compiler, addressed by path because rustup's usually comes first on `PATH`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_CARGO_CLIPPY: &str = "/usr/bin/cargo-clippy";
const DEBIAN_LINKER: &str = "/usr/bin/rust-lld";

/// What the module is compiled for.
#[derive(Clone, Copy, PartialEq)]
pub enum Profile {
    /// Small and fast.
    Release,
    /// Assertions, and stack traces with names.
    Debug,
}

/// Where the compiler for [`TARGET`] comes from.
pub enum Toolchain {
    /// The Rust in use has the target's standard library.
    InUse,
    /// Debian's `rustc-web` packages. They bring the standard library as source only, so it is compiled once, into a
    /// private sysroot, by a documented but unstable option of Cargo.
    Debian,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InUse => "the Rust in use",
            Self::Debian => "Debian's rustc-web",
        })
    }
}

/// Features of the module that is loaded when it is asked for.
const EXTRA: &str = "verify,lessons,files";

impl Toolchain {
    /// The compiler that is there, or how to get one.
    pub fn find() -> Result<Self> {
        Self::present()
            .ok_or_else(|| anyhow!("Rust cannot compile for {TARGET} here; `cargo xtask doctor` says what to install"))
    }

    pub fn present() -> Option<Self> {
        // rustc names the folder even where it does not exist.
        let library = process::first_line(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]));
        if library.is_some_and(|folder| Path::new(&folder).is_dir()) {
            return Some(Self::InUse);
        }
        let programs = [DEBIAN_CARGO, DEBIAN_CARGO_CLIPPY, DEBIAN_LINKER];
        let sysroot = process::first_line(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]))?;
        let source = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
        (source.is_dir() && programs.iter().all(|program| Path::new(program).is_file())).then_some(Self::Debian)
    }

    /// Compiles the module, makes its bindings, and shrinks it where `wasm-opt` is there.
    pub fn build(&self, profile: Profile) -> Result<()> {
        let module = self.module(profile, "")?;
        let bindings = process::root().join("www/pkg");
        bind(&module, &bindings, profile)?;
        if profile == Profile::Release {
            shrink(&bindings.join("stackelberg_bg.wasm"))?;
        }
        Ok(())
    }

    /// Compiles the module with what the studio begins without: files, reference cases for its self-check, and lessons.
    pub fn build_extra(&self) -> Result<()> {
        bind(&self.module(Profile::Release, EXTRA)?, &process::root().join("www/extra"), Profile::Release)
    }

    /// The module with these features of the package.
    fn module(&self, profile: Profile, features: &str) -> Result<PathBuf> {
        let (name, folder) = match profile {
            Profile::Release => ("wasm-release", "wasm-release"),
            Profile::Debug => ("dev", "debug"),
        };
        let mut cargo = self.cargo("rustc", features)?;
        // Nobody but the browser needs the library as a module, so only this build makes one.
        process::run(cargo.args(["--lib", "--crate-type", "cdylib", "--profile", name]))?;
        Ok(target_folder().join(TARGET).join(folder).join("stackelberg.wasm"))
    }

    /// Compiles a benchmark with its bindings, and gives the folder where they are.
    pub fn build_bench(&self, name: &str) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "")?;
        cargo.args(["--bench", name, "--profile", "wasm-release", "--message-format", "json-render-diagnostics"]);
        let module = executable(&process::output(&mut cargo)?).context("Cargo names no module")?;
        // Cargo puts a hash into the module's name, which would end up in that of the bindings.
        let plain = target_folder().join(name).with_extension("wasm");
        fs::copy(module, &plain)?;
        let bindings = target_folder().join("bench");
        bind(&plain, &bindings, Profile::Release)?;
        Ok(bindings)
    }

    /// Lints what is compiled for the browser.
    pub fn clippy(&self) -> Result<()> {
        // The build's own profile, so that both share the compiled macros.
        process::run(self.cargo("clippy", EXTRA)?.args([
            "--lib",
            "--bench",
            "har_cnn",
            "--profile",
            "wasm-release",
            "--",
            "-D",
            "warnings",
        ]))
    }

    /// Cargo for the package with these features alone, in a folder of its own: two compilers may share nothing.
    fn cargo(&self, subcommand: &str, features: &str) -> Result<Command> {
        // Every browser with WebGPU has SIMD, and the page asks before it loads the module.
        let mut flags = OsString::from("-Ctarget-feature=+simd128");
        let mut cargo = match self {
            Self::InUse => process::cargo(subcommand),
            Self::Debian => {
                // `cargo clippy` would look for its helper in ~/.cargo/bin first and find rustup's.
                let program = if subcommand == "clippy" { DEBIAN_CARGO_CLIPPY } else { DEBIAN_CARGO };
                flags.push("\x1f--sysroot\x1f");
                flags.push(debian_sysroot()?);
                let mut cargo = debian(program);
                cargo.arg(subcommand);
                cargo
            }
        };
        cargo.args(["--no-default-features", "--features", features, "--target", TARGET]);
        cargo.env("CARGO_TARGET_DIR", target_folder()).env("CARGO_ENCODED_RUSTFLAGS", flags);
        Ok(cargo)
    }
}

/// The file that Cargo's messages say was made to be run.
fn executable(messages: &str) -> Option<String> {
    let (_, rest) = messages.split_once(r#""executable":""#)?;
    Some(rest.split_once('"')?.0.replace(r"\\", r"\"))
}

/// Makes a module's JavaScript bindings.
fn bind(module: &Path, bindings: &Path, profile: Profile) -> Result<()> {
    Bindgen::new()
        .input_path(module)
        .web(true)?
        .typescript(true)
        .omit_default_module_path(false)
        .keep_debug(profile == Profile::Debug)
        .remove_name_section(profile == Profile::Release)
        .remove_producers_section(profile == Profile::Release)
        .generate(bindings)
        .with_context(|| format!("cannot make JavaScript bindings for {}", module.display()))
}

fn target_folder() -> PathBuf {
    process::root().join("target/wasm")
}

fn debian(program: &str) -> Command {
    let mut command = process::command(program);
    // Cargo hands the folder of rustup's libraries down to what it runs; Debian's compiler must not look there.
    command.env_remove("LD_LIBRARY_PATH").env("CARGO", DEBIAN_CARGO).env("RUSTC", DEBIAN_RUSTC);
    command
}

/// A sysroot with the target's standard library, compiled on first use and after an upgrade of the compiler.
fn debian_sysroot() -> Result<PathBuf> {
    let sysroot = process::root().join("target/wasm-sysroot");
    let stamp = sysroot.join("compiler");
    let compiler = debian(DEBIAN_RUSTC).arg("--version").output()?.stdout;
    if fs::read(&stamp).is_ok_and(|made_by| made_by == compiler) {
        return Ok(sysroot);
    }
    println!("Compiling the standard library for {TARGET}, once.");
    let source = process::root().join("target/wasm-std");
    fs::create_dir_all(source.join("src"))?;
    fs::write(source.join("Cargo.toml"), STD_MANIFEST)?;
    fs::write(source.join("src/lib.rs"), "#![no_std]\n")?;
    let mut build = debian(DEBIAN_CARGO);
    build
        .current_dir(&source)
        .args(["build", "--release", "--target", TARGET, "-Z", "build-std=std,panic_abort"])
        .env("CARGO_TARGET_DIR", source.join("target"))
        .env("RUSTC_BOOTSTRAP", "1")
        // Link-time optimisation of the module needs the library's bitcode.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Cembed-bitcode=yes");
    process::run(&mut build)?;

    let _ = fs::remove_dir_all(&sysroot);
    let library = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&library)?;
    for entry in fs::read_dir(source.join("target").join(TARGET).join("release/deps"))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "rlib") {
            fs::copy(entry.path(), library.join(entry.file_name()))?;
        }
    }
    fs::remove_dir_all(source)?;
    fs::write(stamp, compiler)?;
    Ok(sysroot)
}

/// An empty package: building it builds the standard library and nothing of ours.
const STD_MANIFEST: &str = r#"[package]
name = "empty"
version = "0.0.0"
edition = "2024"

[profile.release]
panic = "abort"

[workspace]
"#;

/// Version 108, Debian 12's, exports table 0 whichever table was meant, so that the bindings' table of JavaScript values
/// is lost and the module cannot start.
const OLDEST_WASM_OPT: u32 = 116;

/// The version of `wasm-opt`, if it is there and new enough to leave a module's tables as they are.
pub fn optimiser() -> Option<String> {
    let line = process::first_line(process::command("wasm-opt").arg("--version"))?;
    let version = line.split_whitespace().find_map(|word| word.parse::<u32>().ok())?;
    (version >= OLDEST_WASM_OPT).then(|| format!("version {version}"))
}

/// Shrinks a module in place; without `wasm-opt` it works just as well.
fn shrink(module: &Path) -> Result<()> {
    let before = module.metadata()?.len();
    if optimiser().is_none() {
        println!("WebAssembly module: {before} bytes (wasm-opt {OLDEST_WASM_OPT} or later would make it smaller)");
        return Ok(());
    }
    let shrunk = module.with_extension("opt.wasm");
    // Only what every browser with WebGPU has; `--all-features` makes modules that Chromium refuses.
    let features = [
        "simd",
        "bulk-memory",
        "reference-types",
        "mutable-globals",
        "nontrapping-float-to-int",
        "sign-ext",
        "multivalue",
    ];
    let mut optimise = process::command("wasm-opt");
    optimise.arg("-Oz").args(features.map(|feature| format!("--enable-{feature}")));
    match process::run(optimise.arg(module).arg("-o").arg(&shrunk)) {
        Ok(()) => {
            fs::rename(&shrunk, module)?;
            println!("WebAssembly module: {before} bytes, {} after wasm-opt", module.metadata()?.len());
        }
        Err(error) => println!("WebAssembly module: {before} bytes, left as it is because {error}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_in_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"C:\\target\\deps\\work-1f.wasm","fresh":true}"#,
        );
        assert_eq!(executable(messages).as_deref(), Some(r"C:\target\deps\work-1f.wasm"));
        assert_eq!(executable(r#"{"executable":null}"#), None);
    }
}
