//! `cargo xtask …`: builds and serves the page, runs every check, and says what a machine lacks for either.

mod bench;
mod page;
mod process;
mod serve;
mod suite;
mod tools;
mod wasm;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
Usage: cargo xtask COMMAND

Commands:
  web [--port P] [--debug]  Build the page and serve it on 127.0.0.1 (port 8080, or the next free one)
  build-web [--debug] [--base PATH]
                            Build the page into www/dist and pack it; it works under any path, and --base names one for
                            hosts that want absolute addresses
  test [--all]              Run every check: formatting, lints, native tests, page and browser tests.
                            With --all also the slow tests, those marked #[ignore]
  bench [--rounds N] [--torch] [--record] [--quick]
                            Measure training steps, gradients, Hessian-vector products and hypergradients of the HAR network beside
                            JAX, and with --torch PyTorch, in turns (3 rounds), on one thread, on all cores and on an NVIDIA
                            GPU where there is one. They are installed under target/. --record puts the table into
                            docs/benchmarks.md, --quick is one short round
  bench-web [OPTION…]       Run benches/har_cnn in Chromium, with its own options (--work, --T, --repeat, --json …)
  doctor                    Say what is found on this machine, what is missing, and how to get it

--debug builds the WebAssembly module with assertions and readable stack traces instead of small and fast.";

enum Command {
    Web { port: u16, profile: wasm::Profile },
    BuildWeb { profile: wasm::Profile, base: Option<String> },
    Test { all: bool },
    Bench(bench::Options),
    BenchWeb { options: Vec<String> },
    Doctor,
    Help,
}

/// Exits with 2 where the command line is wrong, with 1 where something failed.
fn main() -> ExitCode {
    let failed = |status: u8| {
        move |error: anyhow::Error| {
            eprintln!("error: {error:#}");
            ExitCode::from(status)
        }
    };
    let command = parse(std::env::args().skip(1)).map_err(failed(2));
    command.and_then(|command| run(command).map_err(failed(1))).unwrap_or_else(|code| code)
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Command> {
    let name = args.next();
    let (mut port, mut profile, mut base, mut all, mut options) = (8080, wasm::Profile::Release, None, false, vec![]);
    let mut bench = bench::Options { rounds: 3, quick: false, torch: false, record: false };
    while let Some(arg) = args.next() {
        match (name.as_deref(), arg.as_str()) {
            (_, "--help" | "-h") => return Ok(Command::Help),
            (Some("web"), "--port") => match args.next().map(|p| p.parse()) {
                Some(Ok(number)) => port = number,
                _ => bail!("--port needs a number from 0 to 65535"),
            },
            (Some("web" | "build-web"), "--debug") => profile = wasm::Profile::Debug,
            (Some("build-web"), "--base") => match args.next() {
                Some(path) if path.starts_with('/') && path.ends_with('/') => base = Some(path),
                _ => bail!("--base needs the path that the page is served under, from / to /, such as /studio/"),
            },
            (Some("test"), "--all") => all = true,
            (Some("bench"), "--rounds") => match args.next().map(|rounds| rounds.parse()) {
                Some(Ok(rounds @ 1..)) => bench.rounds = rounds,
                _ => bail!("--rounds needs a number of rounds, such as 3"),
            },
            (Some("bench"), "--quick") => bench.quick = true,
            (Some("bench"), "--torch") => bench.torch = true,
            (Some("bench"), "--record") => bench.record = true,
            (Some("bench-web"), _) => options.push(arg),
            _ => bail!("unknown argument `{arg}`\n\n{USAGE}"),
        }
    }
    Ok(match name.as_deref() {
        Some("web") => Command::Web { port, profile },
        Some("build-web") => Command::BuildWeb { profile, base },
        Some("test") => Command::Test { all },
        Some("bench") => Command::Bench(bench),
        Some("bench-web") => Command::BenchWeb { options },
        Some("doctor") => Command::Doctor,
        None | Some("help" | "--help" | "-h") => Command::Help,
        Some(other) => bail!("unknown command `{other}`\n\n{USAGE}"),
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Web { port, profile } => {
            build_web(profile, None)?;
            let server = serve::Server::bind(page_output(), port)?;
            println!("Serving the page on {} (Ctrl-C stops)", server.url()?);
            server.run()
        }
        Command::BuildWeb { profile, base } => {
            build_web(profile, base.as_deref())?;
            if profile == wasm::Profile::Release {
                page::weigh(&page_output())?;
            }
            let zip = process::root().join("target/stackelberg-studio.zip");
            page::pack(&page_output(), &zip)?;
            println!("The page is in {}, and packed as {}", page_output().display(), zip.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Test { all } => suite::run(all),
        Command::Bench(options) => {
            bench::run(&options)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::BenchWeb { options } => {
            bench_web(&options)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor => Ok(tools::doctor()),
        Command::Help => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn build_web(profile: wasm::Profile, base: Option<&str>) -> Result<()> {
    tools::prepare(tools::Need::Page, false)?;
    let toolchain = wasm::Toolchain::find()?;
    toolchain.build(profile)?;
    toolchain.build_extra()?;
    page::install()?;
    let mut build = page::script("build");
    // By itself the page works under any path.
    if let Some(base) = base {
        build.args(["--", "--base", base]);
    }
    process::run(&mut build)
}

fn bench_web(options: &[String]) -> Result<()> {
    tools::prepare(tools::Need::Tests, false)?;
    let browser = tools::browser().context("there is no Chromium; `cargo xtask doctor` says how to get one")?;
    let module = wasm::Toolchain::find()?.build_bench("har_cnn")?;
    page::install()?;
    let mut node = process::command("node");
    node.env("CHROMIUM", browser).arg("benches/web.mjs").arg(module).args(options);
    process::run(&mut node)
}

/// Where Vite puts the built page.
fn page_output() -> PathBuf {
    process::root().join("www/dist")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn commands_and_their_options_are_read() {
        assert!(matches!(parsed("web").unwrap(), Command::Web { port: 8080, profile: wasm::Profile::Release }));
        assert!(matches!(
            parsed("web --port 9000 --debug").unwrap(),
            Command::Web { port: 9000, profile: wasm::Profile::Debug }
        ));
        assert!(matches!(
            parsed("build-web").unwrap(),
            Command::BuildWeb { profile: wasm::Profile::Release, base: None }
        ));
        let Command::BuildWeb { base, .. } = parsed("build-web --base /studio/").unwrap() else { panic!("build-web") };
        assert_eq!(base.as_deref(), Some("/studio/"));
        assert!(matches!(parsed("test --all").unwrap(), Command::Test { all: true }));
        assert!(matches!(parsed("").unwrap(), Command::Help));
        assert!(matches!(parsed("web --help").unwrap(), Command::Help));
        let Command::BenchWeb { options } = parsed("bench-web --work w1 --T 2").unwrap() else { panic!("bench-web") };
        assert_eq!(options, ["--work", "w1", "--T", "2"]);
        let Command::Bench(options) = parsed("bench --rounds 5 --torch").unwrap() else { panic!("bench") };
        assert_eq!(options, bench::Options { rounds: 5, quick: false, torch: true, record: false });
    }

    #[test]
    fn wrong_arguments_are_named() {
        for line in [
            "serve",
            "bench --rounds 0",
            "web --port",
            "web --port 99999",
            "build-web --port 1",
            "build-web --base studio",
            "doctor --all",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
