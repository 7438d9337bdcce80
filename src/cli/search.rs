//! `stackelberg search`.

mod outcome;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::builder::{PossibleValue, PossibleValuesParser};
use pollster::block_on;
use stackelberg::bilevel::Pace;
use stackelberg::engine::several;
use stackelberg::experiment::config::{Budget, ConfigError, DataSource, TuneConfig, words};
use stackelberg::experiment::library::Library;
use stackelberg::experiment::searching::about::About;
use stackelberg::experiment::searching::executor::{Ended, Executor, SearchError, spent};
use stackelberg::experiment::searching::exploit::Exploit;
use stackelberg::experiment::searching::ledger::{self, Ledger};
use stackelberg::experiment::searching::space::{self, Arm};
use stackelberg::experiment::searching::subject::{Rows, Subject};
use stackelberg::experiment::trainable::Job;
use stackelberg::experiment::trainables;
use stackelberg::search::{Domain, METHODS, Method, Size, Space};

use self::watch::Watch;
use super::device::{self, MEASURING, duration};
use super::interrupt::Interrupt;
use super::progress::number;
use super::settings::{self, Base};
use super::{CliError, shell};

/// Search for hyperparameters by trials: points of a space, each trained as far as it is worth it
///
/// Every way to choose points and to stop trials of the usual tuners, with or without hypergradients. A study is a journal:
/// whatever ends it, the same command, or `stackelberg search --journal FILE` alone, goes on where it was, to the same bits
/// on the same device. Several processes may share one, and so may Python's Optuna, whose journal it is. At the end the best
/// settings are trained again with fresh seeds, since the best of many is lucky, too.
///
/// A budget counts trainings (or is a time); a trial that is stopped early costs a part of one.
///
/// A first look:        stackelberg search --method asha --quick --journal runs/asha.log
/// All else tuned:      stackelberg search --method tpe --hypergradients --journal runs/structure.log
/// What is searched:    stackelberg search --explain-space
#[derive(clap::Args)]
#[command(
    verbatim_doc_comment,
    group(clap::ArgGroup::new("begun").args(["method", "explain_space"]).multiple(true))
)]
pub struct Args {
    /// How points are chosen, and how long they train; without it the study in the journal goes on as it was begun
    #[arg(long, value_name = "METHOD", value_parser = methods())]
    method: Option<String>,

    /// The journal of the study, made if it is not there; what belongs to it is kept in FILE.states beside it
    #[arg(long, value_name = "FILE", required_unless_present = "explain_space")]
    journal: Option<PathBuf>,

    /// What is searched, as TOML with a [[dimension]] for each setting; without it a space that suits the network
    #[arg(long, value_name = "FILE", requires = "begun")]
    space: Option<PathBuf>,

    /// What the study may cost, in trainings of all processes together; or how long this process goes on, such as 60s or
    /// 10min. More makes a study longer [default: 72, with --quick 36]
    #[arg(long, value_name = "N|TIME")]
    budget: Option<Budget>,

    /// Trainings that go on side by side; they take turns on the device [default: 1, of populations all members]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096))]
    workers: Option<u64>,

    /// Learning rate and momentum move within each training by hypergradient descent, and are not searched
    #[arg(long, requires = "begun")]
    hypergradient_descent: bool,

    /// With --hypergradient-descent and a population: what a member that takes over another's training does with learning
    /// rate, momentum and what they moved by
    #[arg(
        long,
        value_name = "RULE",
        requires = "hypergradient_descent",
        conflicts_with = "hypergradients",
        default_value_t
    )]
    exploit: Exploit,

    /// Each trial is a run of `tune`: only what is structural is searched, all else tuned by hypergradients
    #[arg(long, requires = "begun")]
    hypergradients: bool,

    /// With --hypergradients: outer iterations of a whole trial
    #[arg(long, value_name = "N", requires = "hypergradients", default_value_t = 18, value_parser = clap::value_parser!(u32).range(1..))]
    outer: u32,

    /// Training steps (with --hypergradients outer iterations) after which trials are first compared [default: a 27th of
    /// all]
    #[arg(long, value_name = "N", requires = "method", value_parser = clap::value_parser!(u64).range(1..))]
    least: Option<u64>,

    /// Each rung is so many times the one below, and one in so many trials goes on from it
    #[arg(long, value_name = "N", requires = "method", default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=1000))]
    factor: u64,

    #[command(flatten)]
    base: Base,

    #[arg(long, value_name = "PATH", requires = "begun", value_parser = |text: &str| Ok::<_, String>(settings::located(text.to_owned().into())), help = words::DATA)]
    data: Option<DataSource>,

    #[arg(long, value_name = "N", requires = "begun", help = words::SEED)]
    seed: Option<u32>,

    #[arg(long, value_name = "DEVICE", value_parser = device::choice, default_value = device::AUTO, help = words::DEVICE)]
    device: String,

    /// Train the best again with so many seeds that the search has not seen
    #[arg(long, value_name = "N", default_value_t = 3)]
    fresh: u32,

    /// Keep the best settings as a configuration, and what came of it, in this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print what is searched, and which of it is structural, and nothing else
    #[arg(long)]
    explain_space: bool,
}

fn methods() -> PossibleValuesParser {
    PossibleValuesParser::new(METHODS.iter().map(|method| PossibleValue::new(method.name).help(method.says)))
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    if args.explain_space {
        let (config, arm) = (configuration(args)?, arm(args));
        super::print(&explained(&space::arranged(&searched(args, &config)?, arm)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = args.journal.as_deref().expect("clap requires it");
    let before = ledger::described(path).map_err(SearchError::from)?;
    // Of the data sets beside UCI HAR none is a setting.
    let library = Library::new(PathBuf::new());
    let (about, budget) = match (&args.method, before) {
        (None, None) => return Err(CliError::NoSearcher { journal: path.to_owned() }),
        (None, Some(_)) if args.base.is_given() => return Err(CliError::AsBegun),
        (None, Some(before)) => {
            let usual = Budget::Trainings(u32::try_from(before.trainings()).unwrap_or(u32::MAX));
            (before, args.budget.unwrap_or(usual))
        }
        (Some(method), before) => described(args, method, before.as_ref())?,
    };
    let rows = Rows::new(&about, &library)?;
    // All that can be wrong is wrong before a file is made.
    let job = rows.job(&about.space.at(&vec![0.5; about.space.len()]))?;
    let (on, pace) = device::choose_by(&args.device, &mut |device| block_on(job.measure(device, MEASURING)))?;
    let about = sized(about, args, budget, &*job, &pace)?;
    let begun = Instant::now();
    let ledger = Ledger::open(path, &about).map_err(SearchError::from)?;
    let searcher = about.searcher().map_err(|problem| unreadable(path, problem))?;
    let mut executor = Executor::new(ledger, &about, searcher, &rows, &on)?;
    introduce(&about, &executor, budget);
    let interrupt = Interrupt::listen();
    interrupt.watch();
    let most = match budget {
        Budget::Trainings(trainings) => f64::from(trainings),
        Budget::Seconds(_) => f64::INFINITY,
    };
    let deadline = match budget {
        Budget::Seconds(seconds) => Some(begun + Duration::from_secs_f64(seconds)),
        Budget::Trainings(_) => None,
    };
    let mut watch = Watch::new(&rows, about.size.most, budget, interrupt.clone(), deadline);
    let ended = block_on(executor.run(most, &mut watch))?;
    let cost = spent(executor.journal(), about.size.most);
    if ended == Ended::Stopped && interrupt.is_raised() {
        let again = shell::command(["search", "--journal", &shell::path(path)]);
        super::note(format_args!("Stopped; what was reported is in the journal. Go on with:\n{again}"));
        return Ok(interrupt.code());
    }
    let why = match ended {
        Ended::Done => "nothing is left to try",
        Ended::Spent => "the budget is spent; a larger --budget goes on",
        Ended::Stopped => "the time is over; the same command goes on",
    };
    let trials = several(executor.journal().history.trials().len() as u64, "trial");
    super::note(format_args!("Ended after {trials}, {} trainings' worth, {}: {why}", number(cost), elapsed(begun)));
    outcome::conclude(&about, executor.journal(), &rows, &on, &watch, args.fresh, args.out.as_deref())
}

fn elapsed(begun: Instant) -> String {
    duration(begun.elapsed().as_secs_f64())
}

fn unreadable(path: &std::path::Path, problem: String) -> CliError {
    SearchError::from(ledger::LedgerError::Unreadable { path: path.to_owned(), problem }).into()
}

/// The settings of all trials but for the arm.
fn configuration(args: &Args) -> Result<TuneConfig, CliError> {
    let base = args.base.load()?;
    let (data, seed) = (args.data.clone().unwrap_or(base.data), args.seed.unwrap_or(base.seed));
    let config = TuneConfig { data, seed, device: args.device.clone(), ..base };
    config.check()?;
    config.without_folds()?;
    Ok(config)
}

fn arm(args: &Args) -> Arm {
    let Args { hypergradient_descent, hypergradients, exploit, .. } = *args;
    Arm { hypergradient_descent, hypergradients, exploit }
}

/// The space that is given, or that the row says.
fn searched(args: &Args, config: &TuneConfig) -> Result<Space, CliError> {
    let Some(path) = &args.space else {
        let row = trainables::find(row(arm(args))).expect("a row");
        return Ok(row.space(config).expect("the row says a space"));
    };
    let text = std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.clone(), source })?;
    Space::from_toml(&text).map_err(|source| CliError::Space { path: path.clone(), source })
}

/// What trials do.
fn row(arm: Arm) -> &'static str {
    if arm.hypergradients { "tune" } else { "train" }
}

/// The study that is asked for, and its budget; what goes on keeps its size.
fn described(args: &Args, method: &str, before: Option<&About>) -> Result<(About, Budget), CliError> {
    let (config, arm) = (configuration(args)?, arm(args));
    if arm.exploit != Exploit::Copy && !Method::named(method).is_some_and(Method::is_of_population) {
        let message =
            format!("of {method} no trial takes over another's training; take pbt or pb2, or leave --exploit out");
        return Err(ConfigError::Setting { field: "exploit".to_owned(), message }.into());
    }
    let budget = args.budget.unwrap_or(config.budget);
    let space = space::arranged(&searched(args, &config)?, arm)?;
    let base = device::within_memory(space::base(&config, arm, args.outer)?);
    let most: u64 = if arm.hypergradients { args.outer } else { base.steps }.into();
    let size = Size {
        dimensions: space.len(),
        trials: before.map_or(0, |before| before.size.trials),
        least: args.least.unwrap_or(most.div_ceil(27)).min(most),
        most,
        factor: args.factor,
    };
    // The same study on another device, or within another memory.
    let mut settings = if arm.hypergradients { base.to_json() } else { base.of_training() };
    for key in ["device", "memory_budget"] {
        settings[key] = before.map_or(&settings, |before| &before.settings)[key].clone();
    }
    let about = About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        method: method.to_owned(),
        size,
        workers: before.map_or(0, |before| before.workers),
        seed: config.seed,
        arm,
        trainable: row(arm).to_owned(),
        settings,
        space,
    };
    Ok((about, budget))
}

/// The study with what follows from its budget, where it begins.
fn sized(about: About, args: &Args, budget: Budget, job: &dyn Job, pace: &Pace) -> Result<About, CliError> {
    let mut about = about;
    if about.size.trials == 0 {
        let whole = match budget {
            // What a tuning costs is known afterwards; an iteration costs a training at least.
            Budget::Trainings(trainings) if about.arm.hypergradients => u64::from(trainings) / about.size.most,
            Budget::Trainings(trainings) => trainings.into(),
            Budget::Seconds(seconds) => (seconds / job.seconds(pace)?.max(1e-6)) as u64,
        };
        about.size.trials = whole.clamp(1, 100_000);
    }
    let is_population = Method::named(&about.method).is_some_and(Method::is_of_population);
    if let Some(workers) = args.workers {
        about.workers = workers as usize;
    } else if about.workers == 0 {
        about.workers = if is_population { about.size.trials as usize } else { 1 };
    }
    if is_population {
        // Every member trains from the beginning.
        about.size.trials = about.workers as u64;
    }
    Ok(about)
}

fn introduce(about: &About, executor: &Executor, budget: Budget) {
    let Size { least, most, .. } = about.size;
    let unit = trainables::find(&about.trainable).map_or("step", |row| row.unit());
    let method = Method::named(&about.method).map_or("", |method| method.says);
    super::note(format_args!(
        "Searcher: {} ({method}); {} of {}, compared after {} first",
        about.method,
        if about.arm.hypergradients { "tunings" } else { "trainings" },
        several(most, unit),
        several(least, unit),
    ));
    let names: Vec<&str> = about.space.dimensions().iter().map(|dimension| &*dimension.name).collect();
    super::note(format_args!("Searched: {}; --explain-space says how", names.join(", ")));
    let behind = executor.journal().history.trials().len() as u64;
    if behind > 0 {
        let cost = number(spent(executor.journal(), most));
        super::note(format_args!("Going on after {}, {cost} of {budget} spent", several(behind, "trial")));
    }
}

/// The dimensions of a space, one a line.
fn explained(space: &Space) -> String {
    let mut text = format!("{:<28}{:<12}{:<34}where\n", "setting", "changes", "values");
    for dimension in space.dimensions() {
        let values = match &dimension.domain {
            Domain::Categorical { choices } => {
                let written = |choice| serde_json::to_string(choice).expect("plain values").replace('"', "");
                choices.iter().map(written).collect::<Vec<_>>().join(", ")
            }
            domain => {
                let (low, high) = domain.ends();
                let whole = if matches!(domain, Domain::Int { .. }) { ", whole" } else { "" };
                let log = if domain.is_log() { ", by ratios" } else { "" };
                format!("{} to {}{whole}{log}", number(low), number(high))
            }
        };
        let changes = if dimension.structural { "structural" } else { "midway" };
        let when = dimension.when.as_ref().map_or(String::new(), |when| {
            let written = |value| serde_json::to_string(value).expect("plain values").replace('"', "");
            format!("{} is {}", when.parent, when.values.iter().map(written).collect::<Vec<_>>().join(" or "))
        });
        text += format!("{:<28}{changes:<12}{values:<34}{when}", dimension.name).trim_end();
        text += "\n";
    }
    text
}
