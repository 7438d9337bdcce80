//! `stackelberg check-gradient`.

use std::fmt::Write as _;
use std::future::ready;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pollster::block_on;
use serde::Serialize;
use stackelberg::bilevel::{Flow, Monitor};
use stackelberg::engine::{LocalFuture, several};
use stackelberg::experiment::check::{
    Along, Answer, Answers, Comparison, Edge, GradientCheck, MODES, OnDevice, Outcome, SCATTER, SETTLED, STEEP, Size,
    Subject, Verdict,
};
use stackelberg::experiment::config::Differentiation;
use stackelberg::experiment::prepared::Prepared;
use stackelberg::experiment::record::DeviceRecord;
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;

use super::device::{self, duration};
use super::settings::{Base, Settings};
use super::{CliError, start};

/// Check the hypergradient of a run: is it right, and is it of use
///
/// On the settings of a run, two things are looked at, along every scalar hyperparameter, and along
/// random directions through large groups such as example weights. In f64, through 10 training steps of
/// batches of 8 (or fewer, where the settings have fewer) and with 64 validation windows: reverse mode
/// against forward mode against central differences. On the device, through the whole of the settings:
/// reverse mode against forward mode. With --device reference, all of the settings is gone through in
/// f64, however long it takes, and nothing else is.
///
/// How far two answers may be apart is measured: rounding by what is left of six neighbouring points'
/// values when a straight line is taken out, the error of a difference by halving its step until
/// rounding is the larger part of it.
///
/// Exits with 0 if the hypergradient is right (also where it is of no use, past the edge of stability);
/// with 1 if two answers disagree; with 3 if differences are too rough to tell along some direction.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    base: Base,

    /// Check at the hyperparameters that the run in this directory would train with next
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "config"])]
    run: Option<PathBuf>,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: Settings,
}

/// Exit status of a check that could tell nothing.
const UNSETTLED: u8 = 3;

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    if args.settings.method.is_some() {
        return Err(CliError::NoMethod);
    }
    let (config, point) = match &args.run {
        Some(directory) => start::present(directory, &args.settings)?,
        None => (args.settings.over(args.base.load()?), None),
    };
    config.check()?;
    let mut config = device::within_memory(config);
    if !matches!(config.method, Differentiation::Reverse | Differentiation::Forward) {
        super::note(format!(
            "Note: `{}` is approximate by design and not part of this check, which is of reverse and forward mode.",
            config.method
        ));
    }
    let source = start::load(&mut config)?;
    let in_full = config.device == device::REFERENCE;
    let run = Rc::new(Prepared::new(&config, &source)?);
    let subject = Subject::new(run.clone(), point, Along::EACH, in_full)?;
    let begin = Instant::now();
    let exact = Device::new(ReferenceEngine::new());
    let pace_in_f64 = block_on(subject.exact().measure(&exact, device::MEASURING))?;
    let chosen = if in_full { None } else { Some(device::choose(&run)?) };
    let pace = chosen.as_ref().map_or(pace_in_f64, |(_, pace)| *pace);
    let seconds = subject.seconds(&pace_in_f64, &pace);
    // What has been prepared to be measured is prepared again for each of the modes.
    let preparing = 2.0 * begin.elapsed().as_secs_f64();
    let there = if in_full { 0.0 } else { seconds[1] };
    let all = preparing + seconds[0] + there;
    super::note(format!("Expected: about {} in all, {} of it in f64", duration(all), duration(seconds[0])));
    let mut bar = Bar::new();
    let device = chosen.as_ref().map(|(device, _)| device);
    let check = block_on(subject.check(&exact, device, seconds, &mut bar));
    bar.0.finish_and_clear();
    let check = check?;
    let device = chosen.as_ref().map(|(device, _)| DeviceRecord::from(&device.info()));
    let report = Report { device: device.as_ref(), configured: subject.sizes()[1], check: &check };
    super::print(&if args.json { json(&report) } else { table(&report) })?;
    Ok(match check.outcome {
        Outcome::Passed | Outcome::Edge => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::from(super::FAILED),
        Outcome::Unsettled => ExitCode::from(UNSETTLED),
    })
}

/// How far the check is, where there is a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("checking [{bar:30}] {percent:>3} %  (Ctrl-C ends it)");
        bar.set_style(style.expect("a valid template").progress_chars("=> "));
        Bar(bar)
    }
}

impl Monitor for Bar {
    fn progress(&mut self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(ready(Flow::Continue))
    }
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a DeviceRecord>,
    configured: Size,
    check: &'a GradientCheck,
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("a report is plain values") + "\n"
}

fn title(answer: &Answer) -> String {
    format!("{} ({})", answer.method, if answer.engine == device::REFERENCE { "f64" } else { &answer.engine })
}

fn table(report: &Report) -> String {
    let GradientCheck { exact, device, .. } = report.check;
    let mut text = answers("In f64", report.check, exact);
    match device {
        Some(OnDevice::Answered { answers: there, .. }) => {
            text.push_str(&answers("On the device", report.check, there));
        }
        Some(OnDevice::Diverged { size }) => {
            let _ = writeln!(text, "\nOn the device, {}: training diverges, here or beside here", through(*size));
        }
        None => {}
    }
    let _ = writeln!(text, "\n{}", sentence(report.check));
    text
}

fn through(size: Size) -> String {
    let Size { steps, batch, validation_windows } = size;
    let steps = several(steps.into(), "training step");
    format!("through {steps}, batch {batch}, {validation_windows} validation windows at most")
}

/// What one precision gave.
fn answers(place: &str, check: &GradientCheck, part: &Answers) -> String {
    let mut text = format!(
        "\n{place}, {}: derivatives of the outer loss, {:.4}, and how far each may be off\n\n",
        through(part.size),
        part.outer_loss
    );
    let width = check.directions.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let _ = write!(text, "  {:<width$}", "");
    part.answers.iter().for_each(|answer| {
        let _ = write!(text, "  {:>24}", title(answer));
    });
    let steps = part.answers.iter().find(|answer| !answer.steps.is_empty());
    let _ = writeln!(text, "{}", if steps.is_some() { "      step" } else { "" });
    for (k, name) in check.directions.iter().enumerate() {
        let _ = write!(text, "  {name:<width$}");
        for answer in &part.answers {
            let _ = write!(text, "  {:>14.7e} ± {:7.1e}", answer.values[k], answer.uncertainty[k]);
        }
        let _ = writeln!(text, "{}", steps.map(|answer| format!("  {:8.1e}", answer.steps[k])).unwrap_or_default());
    }
    let _ = writeln!(text, "\n  {:<58}{:>12}{:>10}{:>10}", "", "angle", "error", "shows");
    part.comparisons.iter().for_each(|comparison| text.push_str(&row(check, part, comparison)));
    text
}

fn row(check: &GradientCheck, part: &Answers, comparison: &Comparison) -> String {
    let [a, b] = comparison.answers.map(|k| title(&part.answers[k]));
    let verdict = match comparison.verdict() {
        Verdict::Agree => "agree".to_owned(),
        verdict => {
            let those = check.along(&comparison.verdicts, verdict).join(", ");
            let word = if verdict == Verdict::Disagree { "DISAGREE" } else { "cannot tell" };
            format!("{word} along {those}")
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

/// What the check came to.
fn sentence(check: &GradientCheck) -> String {
    let marks = format!(
        "In f64 the ways may differ by no more than rounding and the differences' own error, which must be below {:.0} %;\n\
         on the device the modes by rounding as measured, or {:.0} %.",
        100.0 * SETTLED / 2.0,
        100.0 * MODES
    );
    match check.outcome {
        Outcome::Passed => format!("Yes: the hypergradient is right along every direction.\n{marks}"),
        Outcome::Edge => {
            let why = match &check.device {
                Some(OnDevice::Answered { edge: Some(Edge::Scatter), scatter, .. }) => format!(
                    "in single precision\nhypergradients at points that differ in their last digits differ by {:.0} % of its length ({:.0} % is \
                     the mark).\nA run does not measure that: its edge of stability is a derivative of {STEEP} times the loss",
                    100.0 * scatter,
                    100.0 * SCATTER
                ),
                Some(OnDevice::Answered { .. }) => {
                    format!(
                        "a derivative\nis more than {STEEP} times the outer loss, which a run, too, calls past the edge of stability"
                    )
                }
                _ => "through all\nof its steps training diverges".to_owned(),
            };
            format!(
                "The hypergradient is exact, but rough here: {why}.\n\
                 Start from a smaller --learning-rate, or train through fewer --steps.\n{marks}"
            )
        }
        Outcome::Unsettled => {
            let open = check.along(&check.exact.verdicts, Verdict::Unsettled).join(", ");
            format!(
                "NOT SETTLED: the modes agree, but differences are too rough along {open}: a kink of the network lies\n\
                 too close. Another --seed has other ones."
            )
        }
        Outcome::Failed => {
            let device = check.device.as_ref().and_then(|device| match device {
                OnDevice::Answered { answers, .. } => Some(("on the device", answers)),
                OnDevice::Diverged { .. } => None,
            });
            let parts = [Some(("in f64", &check.exact)), device].into_iter().flatten();
            let wrong = parts.map(|(place, part)| (place, check.along(&part.verdicts, Verdict::Disagree)));
            let wrong = wrong.filter(|(_, those)| !those.is_empty());
            let those: Vec<String> = wrong.map(|(place, those)| format!("{} ({place})", those.join(", "))).collect();
            format!("No: along {}, answers disagree by more than is explained.\n{marks}", those.join(" and "))
        }
    }
}
