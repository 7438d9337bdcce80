//! `stackelberg check-gradient`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use pollster::block_on;
use serde::Serialize;
use stackelberg::bilevel::hyperparameters::{Hyperparameters, Kind};
use stackelberg::bilevel::{CHUNK, Pace, Unattended};
use stackelberg::data::Source;
use stackelberg::engine::{Engine, several};
use stackelberg::experiment::check::{Along, Answer, Comparison, GradientCheck, Outcome, Subject, Verdict};
use stackelberg::experiment::config::{Differentiation, TuneConfig};
use stackelberg::experiment::predict;
use stackelberg::experiment::record::DeviceRecord;
use stackelberg::reference::ReferenceEngine;

use super::device::{self, duration};
use super::settings::{Base, Settings};
use super::{CliError, tune};

/// Check the hypergradient of a run against two others
///
/// On the settings of a run, reverse mode is compared with forward mode and with central differences:
/// along every scalar hyperparameter, and along random directions through large groups such as example
/// weights. How far two answers may be apart is measured: rounding by what is left of six neighbouring
/// values when a straight line is taken out, the error of a difference by halving its step until
/// rounding is the larger part of it. Each direction has a verdict of its own: the answers agree,
/// they disagree, or they may be so far apart that agreeing says nothing.
///
/// All of it is done in f64 too, which settles much smaller errors. To have that done within --seconds,
/// fewer training steps are checked, and if need be smaller batches; with --steps, or at a run's
/// schedule of rates, nothing is made smaller, and what takes too long in f64 is checked in f32 alone.
/// With --device reference it is done in f64 however long it takes, beside the processor.
///
/// Exits with 0 if all answers agree along every direction, or along some while nothing disagrees; with
/// 1 if two disagree; with 3 if the answers are too rough to tell along any direction.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    base: Base,

    /// Check at the hyperparameters that the run in this directory has come to
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "config"])]
    run: Option<PathBuf>,

    /// Time that the check may take, once it is prepared
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = seconds)]
    seconds: f64,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: Settings,
}

/// Exit status of a check that could tell nothing.
const UNSETTLED: u8 = 3;

/// Fewer training steps than these are only taken where smaller batches do not help.
const SHORT: u32 = 10;

/// Momentum first acts in the second step.
const SHORTEST: u32 = 2;

/// The smallest batch that one is cut to.
const SMALL: u32 = 8;

/// What makes a check long.
#[derive(Clone, Copy, PartialEq, Serialize)]
struct Size {
    steps: u32,
    batch: u32,
    validation_windows: u32,
}

impl Size {
    fn of(config: &TuneConfig) -> Self {
        Size { steps: config.steps, batch: config.batch, validation_windows: config.validation_windows }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Size { steps, batch, validation_windows } = self;
        write!(f, "--steps {steps} --batch {batch} --validation-windows {validation_windows}")
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "write a number of seconds above 0, such as 60".to_owned())
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    if args.settings.method.is_some() {
        return Err(CliError::NoMethod);
    }
    let (config, point) = match &args.run {
        Some(directory) => tune::present(directory, &args.settings)?,
        None => (args.settings.over(args.base.load()?), None),
    };
    config.check()?;
    if !matches!(config.method, Differentiation::Reverse | Differentiation::Forward) {
        super::note(format!(
            "Note: `{}` is approximate by design and not part of this check, which is of reverse and forward mode.",
            config.method
        ));
    }
    let source = tune::load(&config.data)?;
    let exact = config.device == device::REFERENCE;
    let choice = if exact { device::CPU.to_owned() } else { config.device.clone() };
    let begin = Instant::now();
    let (mut engine, pace) = device::choose(&TuneConfig { device: choice, ..config.clone() }, &source)?;
    let mut reference = ReferenceEngine::new();
    let Plan { subject, size, here, there } = plan(args, &config, &source, point, &pace, &mut reference)?;
    let in_f64 = exact || here + there <= args.seconds;
    // What has been prepared to be measured is prepared again for each of the modes.
    let spent = begin.elapsed().as_secs_f64();
    super::note(if in_f64 {
        format!("Expected: about {} in all, {} of it in f64", duration(2.0 * spent + here + there), duration(there))
    } else {
        format!(
            "Expected: about {} in all. In f64 it would take {}, so differences are taken in f32; --seconds {:.0} has \
             it done in f64",
            duration(2.0 * spent + here),
            duration(there),
            (1.2 * (here + there)).ceil()
        )
    });
    let reference: Option<&mut dyn Engine> = if in_f64 { Some(&mut reference) } else { None };
    let check = block_on(subject.check(&mut *engine, reference, &mut Unattended))?;
    let report = Report {
        device: &DeviceRecord::from(engine.info()),
        configured: Size::of(&config),
        checked: size,
        check: &check,
    };
    super::print(&if args.json { json(&report) } else { table(&report) })?;
    Ok(match check.outcome {
        Outcome::Passed | Outcome::Partly => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::from(super::FAILED),
        Outcome::Unsettled => ExitCode::from(UNSETTLED),
    })
}

/// What is checked, and its seconds on the device and in f64.
struct Plan {
    subject: Subject,
    size: Size,
    here: f64,
    there: f64,
}

/// As much of the settings as is checked in time in f64, unless they are to be kept.
fn plan(
    args: &Args,
    config: &TuneConfig,
    source: &Source,
    point: Option<Hyperparameters>,
    pace: &Pace,
    reference: &mut ReferenceEngine,
) -> Result<Plan, CliError> {
    let Settings { steps, batch, validation_windows, .. } = &args.settings;
    // A schedule has a value for each step.
    let scheduled = point.is_some() && config.hyperparameters.contains(&Kind::LrSchedule);
    let whole = config.device == device::REFERENCE || steps.is_some() || scheduled;
    let mut measured = |config: &TuneConfig| block_on(predict::measure(reference, config, source, device::MEASURING));
    let mut cut = config.clone();
    let (mut slow, mut least) = (measured(&cut)?, cut.steps);
    loop {
        let [here, there] = [(pace, false), (&slow, true)];
        let in_all = |subject: &Subject| subject.seconds(here.0, here.1) + subject.seconds(there.0, there.1);
        let subject = |config: &TuneConfig| Subject::new(config, source, point.clone(), Along::EACH);
        let (subject, taken) = Subject::in_time(&mut cut, least, args.seconds, subject, in_all)?;
        let smaller = batch.is_none() && cut.batch > SMALL;
        if whole || taken <= args.seconds || (least <= SHORTEST && !smaller) {
            let [here, there] = [here, there].map(|(pace, f64s)| subject.seconds(pace, f64s));
            return Ok(Plan { subject, size: Size::of(&cut), here, there });
        }
        if least > SHORT {
            least = SHORT;
            if validation_windows.is_none() {
                cut.validation_windows = cut.validation_windows.min(CHUNK as u32);
            }
        } else if smaller {
            // Somewhat less than in proportion: the outer loss takes as long whatever the batch.
            let share = 0.8 * args.seconds / taken;
            cut.batch = ((share * f64::from(cut.batch)) as u32).clamp(SMALL, cut.batch - 1);
            slow = measured(&cut)?;
        } else {
            least = SHORTEST;
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    device: &'a DeviceRecord,
    configured: Size,
    checked: Size,
    #[serde(flatten)]
    check: &'a GradientCheck,
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("a report is plain values") + "\n"
}

fn title(answer: &Answer) -> String {
    format!("{} ({})", answer.method, if answer.engine == device::REFERENCE { "f64" } else { &answer.engine })
}

fn table(report: &Report) -> String {
    let Report { configured, checked, check, .. } = report;
    let mut text = String::from("\n");
    if checked != configured {
        let _ = writeln!(text, "To be done in time, checked with {checked}\nin place of {configured};");
        let _ = writeln!(text, "where --steps is given, nothing is made smaller.\n");
    }
    let _ = writeln!(
        text,
        "Derivatives of the outer loss, {:.4}, after {}, and how far each may be off\n",
        check.outer_loss,
        several(check.steps as u64, "training step")
    );
    let width = check.directions.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let _ = write!(text, "  {:<width$}", "");
    check.answers.iter().for_each(|answer| {
        let _ = write!(text, "  {:>24}", title(answer));
    });
    let steps = check.answers.iter().find(|answer| !answer.steps.is_empty());
    let _ = writeln!(text, "{}", if steps.is_some() { "      step" } else { "" });
    for (k, name) in check.directions.iter().enumerate() {
        let _ = write!(text, "  {name:<width$}");
        for answer in &check.answers {
            let _ = write!(text, "  {:>14.7e} ± {:7.1e}", answer.values[k], answer.uncertainty[k]);
        }
        let _ = writeln!(text, "{}", steps.map(|answer| format!("  {:8.1e}", answer.steps[k])).unwrap_or_default());
    }
    let _ = writeln!(text, "\n  {:<58}{:>12}{:>10}{:>10}", "", "angle", "error", "shows");
    check.comparisons.iter().for_each(|comparison| text.push_str(&row(check, comparison)));
    let _ = writeln!(text, "\n{}", sentence(check));
    text
}

fn row(check: &GradientCheck, comparison: &Comparison) -> String {
    let [a, b] = comparison.answers.map(|k| title(&check.answers[k]));
    let verdict = match comparison.verdict() {
        Verdict::Agree => "agree".to_owned(),
        Verdict::Disagree => {
            let those = check.along(&comparison.verdicts, Verdict::Disagree).join(", ");
            format!("DISAGREE along {those}: up to {:.1} times what is allowed", comparison.worst_ratio)
        }
        Verdict::Unsettled => {
            format!("not settled along {}", check.along(&comparison.verdicts, Verdict::Unsettled).join(", "))
        }
    };
    format!(
        "  {:<58}{:>11.1e}°{:>10.1e}{:>10}  {verdict}\n",
        format!("{a} against {b}"),
        comparison.angle,
        comparison.relative_error,
        comparison.shown().map_or("-".to_owned(), |shown| format!("{shown:.1e}"))
    )
}

/// What the check came to, and how large an error it would have found.
fn sentence(check: &GradientCheck) -> String {
    let unsettled = check.along(&check.verdicts, Verdict::Unsettled);
    let open = unsettled.join(", ");
    let modes = check.shown_by_modes.map(|shown| {
        format!("Between the modes, a relative error above {shown:.0e} that only one of them has would have shown.")
    });
    let differences = check.shown_by_differences.map(|shown| {
        format!("Against the differences, one above {shown:.0e} would have shown, even one that both modes have.")
    });
    let bounds: Vec<String> = modes.into_iter().chain(differences).collect();
    let bounds = bounds.join("\n");
    let in_f64 = check.answers.iter().any(|answer| answer.engine == device::REFERENCE);
    let mend = if in_f64 {
        "Take fewer --steps or --hyperparameters."
    } else {
        "Have it done in f64 (a longer --seconds, or --device reference), or take fewer --steps."
    };
    match check.outcome {
        Outcome::Passed => format!("Passed: all answers agree along every direction.\n{bounds}"),
        Outcome::Partly => format!(
            "Passed in part: nothing disagrees, but {} of {} directions are not settled: {open}.\n\
             Along these an error may have stayed hidden. {mend}\nAlong what is settled on the device:\n{bounds}",
            unsettled.len(),
            check.directions.len()
        ),
        Outcome::Unsettled => format!(
            "NOT SETTLED: nothing disagrees, but some answers are too rough along every direction, so this says\n\
             neither that the hypergradient is right nor that it is wrong. {mend}\n{bounds}"
        ),
        Outcome::Failed => {
            let those = check.along(&check.verdicts, Verdict::Disagree).join(", ");
            format!("FAILED: along {those}, answers disagree by more than rounding and the differences' error explain.")
        }
    }
}
