//! `stackelberg tune`.

use std::future::ready;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use pollster::block_on;
use serde::{Deserialize, Serialize};
use stackelberg::bilevel::{Flow, SolveError};
use stackelberg::data::{self, Source, builtin};
use stackelberg::engine::LocalFuture;
use stackelberg::experiment::archive;
use stackelberg::experiment::config::{ConfigError, DataSource, TuneConfig};
use stackelberg::experiment::model_file::Exported;
use stackelberg::experiment::record::{DataRecord, DeviceRecord, Ending, OuterRecord, RunResult};
use stackelberg::experiment::tune::{Event, Observed, Observer, TuneError, Tuner, TunerState};

use super::progress::Progress;
use super::run_dir::{self, RunDir, RunDirError};
use super::settings::{self, Base, Settings};
use super::{CliError, device, summary};

/// Tune the hyperparameters of a network that recognises activities from a phone's motion
///
/// The network is trained for T steps; the loss on validation windows is differentiated through all of
/// them with respect to the hyperparameters, which then take a step downhill; and again, N times. At
/// the end the network is trained once more with the best hyperparameters and scored on people that
/// neither training nor tuning has seen.
///
/// A first look, in about a minute:        stackelberg tune --quick
/// The whole data set, with files kept:    stackelberg tune --out runs/first
/// After Ctrl-C, a crash, a power cut:     stackelberg tune --resume runs/first
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(flatten)]
    base: Base,

    /// Keep the run in this directory: settings, a line of metrics for each iteration, result, model,
    /// and what --resume needs
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,

    /// Go on with the run in this directory where it was interrupted, to the same bits. --outer,
    /// --memory-budget and --device may be changed, other settings may not
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "config"])]
    resume: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,
}

/// What `state.safetensors` holds.
#[derive(Clone, Serialize, Deserialize)]
struct Saved<State> {
    version: String,
    configuration: TuneConfig,
    device: DeviceRecord,
    /// Of the data.
    fingerprint: String,
    tuner: State,
}

impl Saved<()> {
    fn with<State>(&self, tuner: State) -> Saved<State> {
        let Saved { version, configuration, device, fingerprint, tuner: () } = self.clone();
        Saved { version, configuration, device, fingerprint, tuner }
    }
}

/// A run about to begin or to go on.
struct Start {
    config: TuneConfig,
    directory: Option<RunDir>,
    saved: Option<Saved<TunerState>>,
    records: Vec<OuterRecord>,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let mut start = match &args.resume {
        Some(path) => resumed(RunDir::open(path)?, &args.settings)?,
        None => fresh(args)?,
    };
    let stop = on_interrupt();
    let source = load(&start.config.data)?;
    let fingerprint = format!("{:016x}", source.fingerprint);
    if let (Some(saved), Some(directory)) = (&start.saved, &start.directory)
        && saved.fingerprint != fingerprint
    {
        return Err(directory.damaged(run_dir::STATE, "the data have changed since it was written").into());
    }
    let mut engine = device::open(&start.config.device)?;
    let device = DeviceRecord::from(engine.info());
    if let Some(saved) = start.saved.as_ref().filter(|saved| saved.device != device) {
        let before = &saved.device.adapter;
        eprintln!("Note: the run was begun on {before} ({}); on another device its bits differ", saved.device.driver);
    }
    if start.config.device == device::AUTO {
        start.config.device = device.adapter.clone();
    }
    let Start { config, directory, saved, records } = start;
    let state = saved.map(|saved| saved.tuner);
    let done = records.len() as u32;
    let mut tuner = block_on(Tuner::new(&mut *engine, &config, &source, state))?;
    let DataRecord { name, training_windows, validation_windows, test_windows, .. } = tuner.data();
    eprintln!(
        "Data: {name}; {training_windows} training, {validation_windows} validation, {test_windows} test windows"
    );
    if let Some(directory) = &directory {
        directory.write(run_dir::SETTINGS, settings_file(&config, &device).as_bytes())?;
    }
    let mut watch = Watch {
        progress: Progress::new(config.outer, done),
        stop,
        header: Saved {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration: config.clone(),
            device,
            fingerprint,
            tuner: (),
        },
        model: Exported::new(tuner.session().problem(), tuner.scale()),
        directory,
        records,
    };
    let result = finish(&mut tuner, &mut watch);
    watch.progress.finish();
    match result {
        Ok(Some(result)) => {
            super::print(&summary::text(&result, watch.directory.as_ref().map(RunDir::path)))?;
            let failed = result.best_outer_loss.is_none() && result.ending != Ending::Stopped;
            Ok(if failed { ExitCode::from(super::FAILED) } else { ExitCode::SUCCESS })
        }
        Ok(None) => {
            eprintln!("Stopped without a final evaluation. {}", watch.way_on().unwrap_or_default());
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(CliError::in_run(error, watch.way_on())),
    }
}

/// All outer iterations and the evaluation; `None` if that was interrupted too.
fn finish(tuner: &mut Tuner, watch: &mut Watch) -> Result<Option<RunResult>, TuneError> {
    let ending = block_on(tuner.run(watch))?;
    if ending == Ending::Stopped {
        watch.progress.say("Stopping: one more training to score the best settings so far (Ctrl-C again skips it)");
        watch.stop.store(false, Ordering::Relaxed);
    }
    match block_on(tuner.conclude(ending, watch)) {
        Ok((result, weights)) => {
            watch.conclude(&result, &weights).map_err(|error| TuneError::Observer(error.into()))?;
            Ok(Some(result))
        }
        Err(TuneError::Solve(SolveError::Stopped)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn fresh(args: &Args) -> Result<Start, CliError> {
    let config = args.settings.over(args.base.load()?);
    config.check()?;
    let directory = args.out.as_deref().map(RunDir::create).transpose()?;
    Ok(Start { config, directory, saved: None, records: vec![] })
}

fn resumed(directory: RunDir, changes: &Settings) -> Result<Start, CliError> {
    let path = directory.file(run_dir::SETTINGS);
    let text = directory.read(run_dir::SETTINGS)?.unwrap_or_default();
    let text = String::from_utf8(text).map_err(|_| directory.damaged(run_dir::SETTINGS, "it is not UTF-8 text"))?;
    let before = settings::parse(&path, text)?;
    let config = changes.over(before.clone());
    config.check()?;
    if let Some(setting) = changed(&before, &config) {
        return Err(CliError::ResumeChanges { setting, directory: directory.path().to_owned() });
    }
    let saved = directory.read(run_dir::STATE)?;
    let saved: Option<Saved<TunerState>> = saved
        .map(|bytes| archive::unpack_value(&bytes).map_err(|problem| directory.damaged(run_dir::STATE, problem)))
        .transpose()?;
    let done = saved.as_ref().map_or(0, |saved| saved.tuner.iteration);
    let records = directory.records(done)?;
    if let Some(saved) = &saved {
        if let Some(setting) = changed(&saved.configuration, &before) {
            let problem = format!("`{setting}` was changed since the run began");
            return Err(directory.damaged(run_dir::SETTINGS, problem).into());
        }
        if config.outer < done {
            let error = ConfigError::Value {
                field: "outer",
                value: config.outer.to_string(),
                must: format!("at least {done}, the outer iterations that the run has behind it"),
                mend: "Leave it out to go on as the run was begun.".to_owned(),
            };
            return Err(error.into());
        }
    } else if directory.has_lost_its_state()? {
        return Err(directory.damaged(run_dir::STATE, "it is missing").into());
    }
    Ok(Start { config, directory: Some(directory), saved, records })
}

/// The first setting that differs and would lead to other bits.
fn changed(before: &TuneConfig, after: &TuneConfig) -> Option<String> {
    let free = |config: &TuneConfig| TuneConfig {
        outer: before.outer,
        memory_budget: before.memory_budget,
        device: before.device.clone(),
        ..config.clone()
    };
    let table = |config: &TuneConfig| toml::Table::try_from(free(config)).expect("settings are plain values");
    let (before, after) = (table(before), table(after));
    before.keys().chain(after.keys()).find(|key| before.get(*key) != after.get(*key)).cloned()
}

/// The windows that a configuration names.
pub fn load(source: &DataSource) -> Result<Source, CliError> {
    Ok(match source {
        DataSource::Builtin => data::load(None)?,
        DataSource::Subset => Source::builtin(builtin::SUBSET, None)?,
        DataSource::Path(path) => data::load(Some(path.as_ref()))?,
    })
}

/// `run.toml`: repeats the run.
fn settings_file(config: &TuneConfig, device: &DeviceRecord) -> String {
    format!(
        "# stackelberg {} on the {} engine: {}, driver {}\n# To repeat the run: stackelberg tune --config run.toml --out NEW\n\n{}",
        env!("CARGO_PKG_VERSION"),
        device.engine,
        device.adapter,
        device.driver,
        config.to_toml()
    )
}

/// A flag that Ctrl-C (or a polite kill) raises. While it is up, another one ends the process.
fn on_interrupt() -> Arc<AtomicBool> {
    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let stop = STOP.get_or_init(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let raised = stop.clone();
        let handler = move || {
            if raised.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        };
        if let Err(error) = ctrlc::set_handler(handler) {
            eprintln!("Note: Ctrl-C will end the run at once ({error})");
        }
        stop
    });
    stop.clone()
}

/// Shows what happens and saves it.
struct Watch {
    progress: Progress,
    stop: Arc<AtomicBool>,
    header: Saved<()>,
    model: Exported,
    directory: Option<RunDir>,
    records: Vec<OuterRecord>,
}

impl Observer for Watch {
    fn event(&mut self, event: Event) -> Observed {
        match event {
            // The last training, which scores the best settings, is of no new iteration.
            Event::Progress { iteration, .. } if iteration as usize <= self.records.len() => {}
            Event::Progress { iteration, done, total } => self.progress.advance(iteration, done, total),
            Event::Outer { record, state, result, weights } => {
                self.progress.outer(record);
                self.records.push(record.clone());
                self.save(state, result, weights)?;
            }
            Event::InnerLosses { .. } | Event::Start(_) => {}
        }
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        let flow = if self.stop.load(Ordering::Relaxed) { Flow::Stop } else { Flow::Continue };
        Box::pin(ready(flow))
    }
}

impl Watch {
    /// Saves an iteration. The state comes last: it is what a resumed run goes on from, so whatever
    /// a killed process leaves half done belongs to an iteration that will be repeated.
    fn save(&self, state: &TunerState, result: &RunResult, weights: Option<&[f32]>) -> Result<(), RunDirError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        directory.write_records(&self.records)?;
        self.save_result(directory, result, weights)?;
        directory.write(run_dir::STATE, &archive::pack_value(&self.header.with(state)))
    }

    /// Saves what the run has come to.
    fn conclude(&self, result: &RunResult, weights: &[f32]) -> Result<(), RunDirError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        self.save_result(directory, result, result.best_outer_loss.map(|_| weights))
    }

    fn save_result(&self, directory: &RunDir, result: &RunResult, weights: Option<&[f32]>) -> Result<(), RunDirError> {
        if let Some(weights) = weights {
            let named = &self.records[result.best_iteration as usize - 1].hyperparameters;
            directory.write(run_dir::MODEL, &self.model.pack(weights, named))?;
        }
        let json = serde_json::to_string_pretty(result).expect("results are plain values");
        directory.write(run_dir::RESULT, format!("{json}\n").as_bytes())
    }

    /// How to go on with an interrupted run.
    fn way_on(&self) -> Option<String> {
        let directory = self.directory.as_ref()?.path().display();
        let saved = self.records.len();
        Some(format!("{saved} outer iterations are saved; go on with `stackelberg tune --resume {directory}`"))
    }
}
