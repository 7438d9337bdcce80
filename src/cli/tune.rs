//! `stackelberg tune`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use pollster::block_on;
use stackelberg::bilevel::SolveError;
use stackelberg::data::Split;
use stackelberg::engine::several;
use stackelberg::experiment::config::{TuneConfig, USUAL_BATCH};
use stackelberg::experiment::error::TuneError;
use stackelberg::experiment::model_file::Exported;
use stackelberg::experiment::prepared::Prepared;
use stackelberg::experiment::record::{DataRecord, DeviceRecord, Ending, RunResult};
use stackelberg::experiment::setup::Scaled;
use stackelberg::experiment::training::{Report, Training};
use stackelberg::experiment::tune::Tuner;
use stackelberg::rig::Device;

use super::device::CPU;
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::run_dir::{self, RunDir, RunDirError};
use super::settings::{self, Base, Settings};
use super::start::{Saved, Start, load, resumed};
use super::watch::Watch;
use super::{CliError, device, summary};

/// Tune the hyperparameters of a network that recognises activities from a phone's motion
///
/// The network is trained for T steps; the loss on validation windows is differentiated through them
/// with respect to the hyperparameters, and trainings at points along that derivative show how far to
/// go; and again, until the budget is spent or nothing is gained any more. At the end the network with
/// the lowest loss is scored on people that neither training nor tuning has seen.
///
/// Exits with 0 when it is done, 1 if training diverged from the start or the run could not go on, 2 if
/// something was given wrongly, 130 after Ctrl-C (`stackelberg --help` has all).
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

    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "config"], help = about_resume())]
    resume: Option<PathBuf>,

    /// Spend as much on random search afterwards, and show it beside
    #[arg(long)]
    compare: bool,

    /// Run once more on a random division of the same windows, and show its score beside: windows of one person are then
    /// in all parts, so it says too much of people who were not recorded
    #[arg(long)]
    random_split: bool,

    /// Validate on each person who is not tested on in turn: as many folds as there are
    #[arg(long, conflicts_with_all = ["folds", "resume"])]
    leave_one_person_out: bool,

    #[command(flatten)]
    settings: Settings,
}

fn about_resume() -> String {
    let free = settings::FREE.map(settings::option).join(", ");
    format!(
        "Go on with the run in this directory where it was interrupted, to the same bits on the same device. {free} may \
         be changed, other settings may not"
    )
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let mut start = match &args.resume {
        Some(path) => resumed(RunDir::open(path)?, &args.settings)?,
        None => fresh(args)?,
    };
    if let Some(left) = nothing_left(&start) {
        super::note(left);
    }
    start.config = device::within_memory(start.config);
    let source = load(&mut start.config)?;
    if args.leave_one_person_out {
        let Split { train, validation, .. } = Split::by_people(&source, &start.config.split)?;
        start.config.folds = Some((train.present_people().len() + validation.present_people().len()) as u32);
    }
    // Settings that do not fit the data leave no directory behind and wake no device.
    let run = Prepared::new(&start.config, &source)?;
    run.blueprint()?;
    if let (None, Some(batch @ ..USUAL_BATCH)) = (start.config.batch, run.config.batch) {
        super::note(format_args!(
            "Note: batches of {batch} windows, all that there are to train on ({USUAL_BATCH} are usual, --batch says otherwise)"
        ));
    }
    if start.config.task.classifies() {
        start.config.split.remarks(&source)?.iter().for_each(super::note);
    }
    let shuffled = args.random_split.then(|| Scaled::at_random(&start.config, &source)).transpose()?;
    drop(source);
    if let Some(path) = &args.out {
        start.directory = Some(RunDir::create(path)?);
    }
    let device = device::open_for(&run)?;
    drive(start, run, &device, Interrupt::listen(), Beside { random: args.compare, shuffled: shuffled.map(Rc::new) })
}

/// What is run beside.
struct Beside {
    /// Random search at equal cost.
    random: bool,
    /// The same run on these data, the windows of which were divided at random.
    shuffled: Option<Rc<Scaled>>,
}

/// Runs to the end, or until a signal comes.
fn drive(
    start: Start,
    mut run: Prepared,
    on: &Device,
    interrupt: Interrupt,
    beside: Beside,
) -> Result<ExitCode, CliError> {
    let fingerprint = run.data.fingerprint.clone();
    if let (Some(saved), Some(directory)) = (&start.saved, &start.directory)
        && saved.fingerprint != fingerprint
    {
        let data = run.config.data.to_string();
        return Err(RunDirError::OtherData { directory: directory.path().to_owned(), data }.into());
    }
    let device = DeviceRecord::from(&on.info());
    if let Some(saved) = start.saved.as_ref().filter(|saved| saved.device != device) {
        let before = &saved.device.adapter;
        let driver = &saved.device.driver;
        super::note(format_args!("Note: the run was begun on {before} ({driver}); on another device its bits differ"));
    }
    if run.config.device == device::AUTO {
        run.config.device = if device.engine == CPU { device.engine.clone() } else { device.adapter.clone() };
    }
    let (run, Start { directory, saved, records, .. }) = (Rc::new(run), start);
    let state = saved.map(|saved| saved.tuner);
    let done = records.len() as u32;
    let mut tuner = block_on(Tuner::new(on, run.clone(), state))?;
    interrupt.watch();
    let DataRecord { name, training_windows, validation_windows, test_windows, .. } = run.record();
    let tuned_on = match (&run.folds, &run.selection) {
        (Some(folds), _) => format!("{} windows in {} folds", folds.pool.len(), run.members()),
        (None, Some(kept)) => format!(
            "{training_windows} training, {validation_windows} validation (of which {} choose the iteration)",
            kept.len()
        ),
        (None, None) => format!("{training_windows} training, {validation_windows} validation"),
    };
    super::note(format_args!("Data: {name}; {tuned_on}, {test_windows} test windows"));
    let (method, reason) = run.config.leader();
    super::note(format_args!("Outer optimiser: {method} ({reason})"));
    if let Some(directory) = &directory {
        directory.write(run_dir::SETTINGS, settings_file(&run.config, &device).as_bytes())?;
    }
    let mut watch = Watch {
        progress: Progress::new(&run.config, tuner.state().share(&run.config, 0.0)),
        interrupt: interrupt.clone(),
        header: Saved {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration: run.config.clone(),
            device,
            fingerprint,
            tuner: (),
        },
        model: Exported::new(&run),
        directory,
        records,
        saved: done,
    };
    let result = finish(&mut tuner, &mut watch);
    watch.progress.finish();
    match result {
        Ok(Some(result)) => {
            let finished = result.ending == Ending::Finished;
            let random = match beside.random && finished {
                true => random(&result, &run, on, &mut watch)?,
                false => None,
            };
            let shuffled = match beside.shuffled.filter(|_| finished) {
                Some(data) => shuffled(data, &run, on, &mut watch)?,
                None => None,
            };
            super::print(&summary::text(&result, random.as_ref(), watch.directory.as_ref().map(RunDir::path)))?;
            if let Some(shuffled) = &shuffled {
                super::print(&summary::beside_random_split(&result, shuffled))?;
            }
            Ok(match (result.ending, result.best_outer_loss) {
                (Ending::Stopped, _) => interrupt.code(),
                (_, None) => ExitCode::from(super::FAILED),
                (_, Some(_)) => ExitCode::SUCCESS,
            })
        }
        Ok(None) => {
            let way_on = watch.way_on().unwrap_or_else(|| "nothing was saved (--out DIR does)".to_owned());
            super::note(format_args!("Stopped without a final evaluation; {way_on}"));
            Ok(interrupt.code())
        }
        Err(error) => Err(CliError::in_run(error, watch.way_on())),
    }
}

/// Random search at the cost of a run; nothing where it was interrupted.
fn random(tuned: &RunResult, run: &Prepared, on: &Device, watch: &mut Watch) -> Result<Option<RunResult>, CliError> {
    let config = run.config.random_search(tuned.spent);
    let result = other(Prepared::of(&config, run.data.clone())?, "Random search at equal cost:", on, watch)?;
    if let (Some(directory), Some(result)) = (&watch.directory, &result) {
        let json = serde_json::to_string_pretty(result).expect("results are plain values");
        directory.write(run_dir::RANDOM, format!("{json}\n").as_bytes())?;
    }
    Ok(result)
}

/// The same run on windows that were divided at random; nothing where it was interrupted.
fn shuffled(data: Rc<Scaled>, run: &Prepared, on: &Device, watch: &mut Watch) -> Result<Option<RunResult>, CliError> {
    let config = TuneConfig { folds: None, ..run.config.clone() };
    other(Prepared::of(&config, data)?, "The same on a random division of the windows:", on, watch)
}

/// Another run, of which nothing is saved; nothing where it did not end by itself.
fn other(run: Prepared, title: &str, on: &Device, watch: &mut Watch) -> Result<Option<RunResult>, CliError> {
    let config = run.config.clone();
    let mut tuner = block_on(Tuner::new(on, Rc::new(run), None))?;
    let directory = watch.directory.take();
    watch.progress = Progress::new(&config, 0.0);
    watch.progress.say(title);
    watch.header.configuration = config;
    let result = finish(&mut tuner, watch);
    watch.progress.finish();
    watch.directory = directory;
    Ok(result?.filter(|result| result.ending == Ending::Finished))
}

/// All outer iterations and the evaluation; `None` if that was interrupted too.
fn finish(tuner: &mut Tuner, watch: &mut Watch) -> Result<Option<RunResult>, TuneError> {
    let Report { ending, .. } = block_on(tuner.advance(u64::MAX, watch))?;
    if ending == Ending::Stopped {
        watch.progress.say(match tuner.best_network() {
            Some(_) => "Stopping: scoring the best settings so far (Ctrl-C again skips it)",
            None => "Stopping",
        });
        watch.interrupt.watch();
    }
    match block_on(tuner.conclude(ending, watch)) {
        Ok((result, weights)) => {
            watch.conclude(&result, weights.as_deref()).map_err(|error| TuneError::Observer(error.into()))?;
            Ok(Some(result))
        }
        Err(TuneError::Solve(SolveError::Stopped)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn fresh(args: &Args) -> Result<Start, CliError> {
    let config = args.settings.over(args.base.load()?);
    config.check()?;
    Ok(Start { config, directory: None, saved: None, records: vec![] })
}

/// That a run to go on with has ended, and what makes it longer.
fn nothing_left(start: &Start) -> Option<String> {
    let (config, state) = (&start.config, &start.saved.as_ref()?.tuner);
    let done = several(u64::from(state.iteration), "outer iteration");
    let how = match state.ending(config)? {
        Ending::Diverged => "nothing was left to try; a new run may start from other values".to_owned(),
        _ if config.outer.is_some_and(|outer| state.iteration >= outer) => {
            format!("a larger --outer than {} makes it longer", config.outer.unwrap_or_default())
        }
        _ if state.has_settled(config) => {
            format!("a larger --patience than {}, or 0, makes it longer", config.patience)
        }
        _ => format!("a larger --budget than {} makes it longer", config.budget),
    };
    Some(format!("Nothing is left to do: the run has ended after {done} ({how}). It is only scored again."))
}

/// `run.toml`: repeats the run.
fn settings_file(config: &TuneConfig, device: &DeviceRecord) -> String {
    // A line break in a name would make this no TOML.
    let [adapter, driver] = [&device.adapter, &device.driver].map(|name| name.escape_debug());
    format!(
        "# stackelberg {} on the {} engine: {adapter}, driver {driver}\n# To repeat the run: stackelberg tune --config {} --out NEW\n\n{}",
        env!("CARGO_PKG_VERSION"),
        device.engine,
        run_dir::SETTINGS,
        config.to_toml()
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use clap::Parser;
    use stackelberg::compile::Program;
    use stackelberg::data::Dataset;
    use stackelberg::data::har::{self, builtin};
    use stackelberg::engine::{
        BindingId, BufferId, Command, Counters, Engine, EngineError, EngineInfo, Holdings, LocalFuture, ProgramId,
        Result as EngineResult, Timing, Values,
    };
    use stackelberg::experiment::record::OuterRecord;
    use stackelberg::ir::DType;
    use stackelberg::reference::ReferenceEngine;

    /// An engine whose device is lost after so many dispatches, which unlike submissions do not depend on time.
    struct Fragile {
        inner: ReferenceEngine,
        dispatches: u64,
    }

    impl Engine for Fragile {
        fn info(&self) -> &EngineInfo {
            self.inner.info()
        }

        fn counters(&self) -> Counters {
            self.inner.counters()
        }

        fn create(&mut self, label: &str, dtype: DType, len: usize) -> EngineResult<BufferId> {
            self.inner.create(label, dtype, len)
        }

        fn destroy(&mut self, buffer: BufferId) {
            self.inner.destroy(buffer);
        }

        fn write(&mut self, buffer: BufferId, offset: usize, values: Values) -> EngineResult<()> {
            self.inner.write(buffer, offset, values)
        }

        fn read(&mut self, buffers: &[BufferId]) -> LocalFuture<'static, EngineResult<Vec<Vec<f64>>>> {
            self.inner.read(buffers)
        }

        fn load(&mut self, program: &Program) -> LocalFuture<'static, EngineResult<ProgramId>> {
            self.inner.load(program)
        }

        fn bind(&mut self, program: ProgramId, inputs: &[BufferId], outputs: &[BufferId]) -> EngineResult<BindingId> {
            self.inner.bind(program, inputs, outputs)
        }

        fn submit(&mut self, commands: &[Command]) -> EngineResult<()> {
            if self.counters().dispatches >= self.dispatches {
                return Err(EngineError::DeviceLost { reason: "someone pulled it out".to_owned() });
            }
            self.inner.submit(commands)
        }

        fn time(&mut self, binding: BindingId) -> LocalFuture<'static, EngineResult<Timing>> {
            self.inner.time(binding)
        }

        fn finish(&mut self) -> LocalFuture<'static, EngineResult<()>> {
            self.inner.finish()
        }

        fn unload(&mut self, program: ProgramId) {
            self.inner.unload(program);
        }

        fn holdings(&self) -> Holdings {
            self.inner.holdings()
        }

        fn forget_peak(&mut self) {
            self.inner.forget_peak();
        }
    }

    /// A window for each of six activities of each of four people.
    fn source() -> Dataset {
        let rows: Vec<(u32, u32)> =
            [1, 2, 3, 5].into_iter().flat_map(|p| (0..6).map(move |label| (p, label))).collect();
        let value = |label: u32, i: usize| ((i * (label as usize + 1)) as f32).sin();
        let each = builtin::subset().unwrap().example(0).len();
        let x = rows.iter().flat_map(|&(_, label)| (0..each).map(move |i| value(label, i))).collect();
        let (people, labels) = rows.into_iter().unzip();
        har::dataset("waves", false, x, labels, people).unwrap()
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn run_with(device: &Device, command: &str, directory: &Path) -> Result<ExitCode, CliError> {
        let args =
            Line::parse_from(command.split_whitespace().map(String::from).chain([directory.display().to_string()]))
                .args;
        let mut start = match &args.resume {
            Some(path) => resumed(RunDir::open(path)?, &args.settings)?,
            None => fresh(&args)?,
        };
        if let Some(path) = &args.out {
            start.directory = Some(RunDir::create(path)?);
        }
        let run = Prepared::new(&start.config, &source())?;
        drive(start, run, device, Interrupt::default(), Beside { random: args.compare, shuffled: None })
    }

    #[test]
    fn a_lost_device_ends_the_run_and_spares_what_was_saved() {
        let root = tempfile::tempdir().unwrap();
        let (whole, broken) = (root.path().join("whole"), root.path().join("broken"));
        let command = "tune --steps 2 --outer 3 --batch 4 --device reference --out";
        let fragile = |dispatches| Device::new(Fragile { inner: ReferenceEngine::new(), dispatches });
        let one = fragile(u64::MAX);
        run_with(&one, command, &whole).unwrap();

        // As many as two iterations take, of which the scoring of the start values is no part: the second is under way.
        let records = std::fs::read_to_string(whole.join(run_dir::METRICS)).unwrap();
        let taken = |line: &str| serde_json::from_str::<OuterRecord>(line).unwrap().dispatches;
        let dispatches = records.lines().take(2).map(taken).sum();
        let error = run_with(&fragile(dispatches), command, &broken).unwrap_err();
        assert!(error.to_string().contains("the device was lost: someone pulled it out"), "{error}");
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("saved: ") && help.contains("tune --resume"), "{help}");

        let other = fragile(u64::MAX);
        run_with(&other, "tune --resume", &broken).unwrap();
        assert!(other.counters().dispatches < one.counters().dispatches, "what was saved is not repeated");
        let model = |directory: &Path| std::fs::read(directory.join(run_dir::MODEL)).unwrap();
        assert_eq!(model(&whole), model(&broken));
    }
}
