//! `stackelberg check-gradient`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use pollster::block_on;
use serde::Serialize;
use stackelberg::bilevel::Unattended;
use stackelberg::engine::{Engine, several};
use stackelberg::experiment::check::{Along, Answer, Comparison, GradientCheck, Subject, Verdict};
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
/// rounding is the larger part of it.
///
/// Where that takes no longer than --seconds, all of it is done in f64 too, which settles much smaller
/// errors. With --device reference it is done in f64 however long it takes, beside the processor.
///
/// Exits with 0 if all answers agree, with 1 if two disagree or the differences are too rough to tell.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    base: Base,

    /// Check at the hyperparameters that the run in this directory has come to
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "config"])]
    run: Option<PathBuf>,

    /// Time that the part in f64 may take
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    seconds: f64,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: Settings,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
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
    let subject = Subject::new(&config, &source, point, Along::EACH)?;

    let exact = config.device == device::REFERENCE;
    let choice = if exact { device::CPU.to_owned() } else { config.device.clone() };
    let (mut engine, pace) = device::choose(&TuneConfig { device: choice, ..config.clone() }, &source)?;
    let mut reference = ReferenceEngine::new();
    let slow = block_on(predict::measure(&mut reference, &config, &source, 0.0))?;
    let (here, there) = (subject.seconds(&pace, false), subject.seconds(&slow, true));
    let in_f64 = exact || there <= args.seconds;
    super::note(if in_f64 {
        format!("Expected: about {} on the device and {} in f64", duration(here), duration(there))
    } else {
        format!(
            "Expected: about {}. In f64 it would take {}, so differences are taken in f32; --seconds {:.0} has it done",
            duration(here),
            duration(there),
            (1.2 * there).ceil()
        )
    });
    let reference: Option<&mut dyn Engine> = if in_f64 { Some(&mut reference) } else { None };
    let check = block_on(subject.check(&mut *engine, reference, &mut Unattended))?;
    let device = DeviceRecord::from(engine.info());
    super::print(&if args.json { json(&check, &device) } else { table(&check) })?;
    Ok(if check.passed { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) })
}

fn json(check: &GradientCheck, device: &DeviceRecord) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        #[serde(flatten)]
        device: &'a DeviceRecord,
        #[serde(flatten)]
        check: &'a GradientCheck,
    }
    let report = Report { device, check };
    serde_json::to_string_pretty(&report).expect("a report is plain values") + "\n"
}

fn title(answer: &Answer) -> String {
    format!("{} ({})", answer.method, if answer.engine == device::REFERENCE { "f64" } else { &answer.engine })
}

fn table(check: &GradientCheck) -> String {
    let mut text = format!(
        "\nDerivatives of the outer loss, {:.4}, after {}, and how far each may be off\n\n",
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
    let _ = writeln!(text, "\n  {:<58}{:>12}{:>10}{:>10}", "", "angle", "error", "allowed");
    check.comparisons.iter().for_each(|comparison| text.push_str(&row(check, comparison)));
    let verdict = match (check.passed, check.comparisons.iter().any(|c| c.verdict == Verdict::Disagree)) {
        (true, _) => {
            let device = check.comparisons.iter().filter(|c| c.answers[0] == 0);
            let shown = device.map(|c| c.allowed).fold(f64::INFINITY, f64::min);
            format!("Passed: all answers agree. A relative error of {shown:.0e} on the device would have shown.")
        }
        (false, true) => {
            "FAILED: answers disagree by more than rounding and the differences' own error explain.".to_owned()
        }
        (false, false) => {
            let in_f64 = check.answers.iter().any(|answer| answer.engine == device::REFERENCE);
            let mend = if in_f64 { "" } else { "have it done in f64 (--device reference), or " };
            format!("FAILED: the differences are too rough to tell; {mend}take fewer --steps or --hyperparameters.")
        }
    };
    let _ = writeln!(text, "\n{verdict}");
    text
}

fn row(check: &GradientCheck, comparison: &Comparison) -> String {
    let [a, b] = comparison.answers.map(|k| title(&check.answers[k]));
    let verdict = match comparison.verdict {
        Verdict::Agree => "agree".to_owned(),
        Verdict::Disagree => {
            let worst = &check.directions[comparison.worst];
            format!("DISAGREE along {worst}: {:.1} times what is allowed", comparison.worst_ratio)
        }
        Verdict::Undecided => "undecided".to_owned(),
    };
    format!(
        "  {:<58}{:>11.1e}°{:>10.1e}{:>10.1e}  {verdict}\n",
        format!("{a} against {b}"),
        comparison.angle,
        comparison.relative_error,
        comparison.allowed
    )
}
