//! `stackelberg train`.

use std::fmt::Write as _;
use std::future::ready;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use pollster::block_on;
use serde::Serialize;
use serde_json::Value;
use stackelberg::bilevel::Flow;
use stackelberg::engine::{LocalFuture, several};
use stackelberg::experiment::config::TuneConfig;
use stackelberg::experiment::library::Library;
use stackelberg::experiment::record::{DeviceRecord, Ending, Named};
use stackelberg::experiment::trainables;
use stackelberg::experiment::tune::{Event, Observed, Observer};

use super::device::{self, MEASURING, duration};
use super::interrupt::Interrupt;
use super::progress::{Progress, number};
use super::settings::{self, Base, Settings};
use super::{CliError, summary};

/// Train a network once, with hyperparameters as they are given, and score it
///
/// The training of `tune` alone: no derivative, nothing tuned. It tells what hyperparameters are worth that come from
/// elsewhere, and trains for longer than a derivative would go through. Settings of tuning, such as --outer, are refused;
/// in a --config they are passed over.
///
/// Exits with 0 when it is done, 1 if training diverged or could not go on, 2 if something was given wrongly, 130 after
/// Ctrl-C.
///
/// For example:  stackelberg train --steps 2000 --learning-rate 0.03 --momentum 0.9
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(flatten)]
    base: Base,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: Settings,
}

/// What came of a training.
#[derive(Serialize)]
struct Trained<'a> {
    version: &'static str,
    settings: &'a Value,
    #[serde(flatten)]
    device: DeviceRecord,
    steps: u64,
    seconds: f64,
    diverged: bool,
    metrics: Named,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    if let Some(key) = args.settings.given().find(|key| TuneConfig::is_of_tuning(key)) {
        return Err(CliError::NotTuned { option: settings::option(&key) });
    }
    let config = device::within_memory(args.settings.over(args.base.load()?));
    // JSON has no word for what is no number.
    config.check()?;
    let settings = config.of_training();
    // Of the data sets beside UCI HAR none is a setting.
    let job = trainables::job("train", &settings, &Library::new(PathBuf::new()))?;
    let interrupt = Interrupt::listen();
    let (on, pace) = device::choose_by(&config.device, &mut |device| block_on(job.measure(device, MEASURING)))?;
    super::note(format_args!("Expected: about {} in all", duration(job.seconds(&pace)?)));
    let mut training = block_on(job.open(&on))?;
    interrupt.watch();
    let mut watch = Watch { progress: Progress::new(&config, 0.0), interrupt };
    let begun = Instant::now();
    let report = block_on(training.advance(job.units(), &mut watch))?;
    let seconds = begun.elapsed().as_secs_f64();
    let metrics = match report.ending {
        Ending::Finished => block_on(training.score(&mut watch))?,
        _ => Named::new(),
    };
    watch.progress.finish();
    if report.ending == Ending::Stopped {
        super::note(format_args!("Stopped after {}; nothing was saved", several(report.done, "training step")));
        return Ok(watch.interrupt.code());
    }
    let diverged = report.ending == Ending::Diverged;
    let (version, device) = (env!("CARGO_PKG_VERSION"), DeviceRecord::from(&on.info()));
    let trained = Trained { version, settings: &settings, device, steps: report.done, seconds, diverged, metrics };
    super::print(&match args.json {
        true => serde_json::to_string_pretty(&trained).expect("plain values") + "\n",
        false => text(&trained, &config),
    })?;
    Ok(if diverged { ExitCode::from(super::FAILED) } else { ExitCode::SUCCESS })
}

/// The outcome for people.
fn text(trained: &Trained, config: &TuneConfig) -> String {
    let (steps, time) = (several(trained.steps, "training step"), duration(trained.seconds));
    if trained.diverged {
        let cause = summary::cause(config);
        return format!("\nTraining diverged within {steps}, {time}. Start from a smaller --{cause}.\n");
    }
    let mut text = format!("\nTrained {steps}, {time}.\n\n");
    for (name, &value) in &trained.metrics {
        let is_share = ["accuracy", "f1"].iter().any(|share| name.ends_with(share));
        let value = if is_share { format!("{:.1} %", 100.0 * value) } else { number(value) };
        let _ = writeln!(text, "  {:<22}{value:>12}", name.replace('_', " "));
    }
    text
}

/// Shows how far the training is; a stop is heard.
struct Watch {
    progress: Progress,
    interrupt: Interrupt,
}

impl Observer for Watch {
    fn event(&mut self, event: Event) -> Observed {
        if let Event::Progress { done, total, .. } = event {
            self.progress.training(done, total);
        }
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        let flow = if self.interrupt.is_raised() { Flow::Stop } else { Flow::Continue };
        Box::pin(ready(flow))
    }
}
