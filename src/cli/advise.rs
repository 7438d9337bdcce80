//! `stackelberg advise`.

use std::fmt::Write as _;
use std::process::ExitCode;

use pollster::block_on;
use serde::Serialize;
use stackelberg::bilevel::Unattended;
use stackelberg::engine::{mebibytes, several};
use stackelberg::experiment::advise::{Advice, Ways};
use stackelberg::experiment::config::Bytes;
use stackelberg::experiment::prepared::Prepared;
use stackelberg::experiment::record::DeviceRecord;

use super::device::{self, duration};
use super::settings::{Base, Settings};
use super::{CliError, start};

/// Say which way to the hypergradient suits a run, and what each would take
///
/// Times a training step of the run on the device, counts what each method runs and holds, and names the
/// fastest exact method that fits into the memory budget (or, where none fits, the fastest that does).
/// Times are those of hypergradients, without scoring. The table says what --method calls each;
/// those without are for programs that use the library (docs/choosing.md).
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    base: Base,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: Settings,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let config = args.settings.over(args.base.load()?);
    config.check()?;
    let mut config = device::within_memory(config);
    let source = start::load(&mut config)?;
    let run = Prepared::new(&config, &source)?;
    let ways = block_on(Ways::of(&config, &run.data.split.sizes(), &run.compiled, &mut Unattended))?;
    let (engine, pace) = device::choose(&run)?;
    let advice = ways.advice(&pace);
    super::print(&if args.json { json(&advice, &(&engine.info()).into()) } else { table(&advice) })?;
    Ok(ExitCode::SUCCESS)
}

fn json(advice: &Advice, device: &DeviceRecord) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        #[serde(flatten)]
        device: &'a DeviceRecord,
        #[serde(flatten)]
        advice: &'a Advice,
    }
    serde_json::to_string_pretty(&Report { device, advice }).expect("a report is plain values") + "\n"
}

fn table(advice: &Advice) -> String {
    let Advice { steps, hyperparameters, parameters, choices, .. } = advice;
    let best = &choices[advice.best];
    let mut text = format!(
        "\n{}, {}, {parameters} weights, memory budget {}\n\n\
         Take {}: {}.\nAbout {} a hypergradient; {} on the device.\n\n",
        several(*hyperparameters as u64, "hyperparameter"),
        several(*steps as u64, "training step"),
        Bytes(advice.memory_budget),
        best.name,
        advice.reason,
        duration(best.seconds),
        best.bytes.map(mebibytes).unwrap_or_default(),
    );
    let width = choices.iter().map(|choice| choice.name.chars().count()).max().unwrap_or(0);
    for (k, choice) in choices.iter().enumerate() {
        let mark = if k == advice.best { '*' } else { ' ' };
        let remark = match &choice.impossible {
            Some(reason) => format!("not possible: {reason}"),
            None if choice.exact => "exact".to_owned(),
            None => choice.remark.clone(),
        };
        let time = if choice.bytes.is_some() { duration(choice.seconds) } else { "–".to_owned() };
        let bytes = choice.bytes.map_or("–".to_owned(), mebibytes);
        let setting = choice.setting.as_deref().unwrap_or("–");
        let _ = writeln!(text, "{mark} {:<width$}  {setting:<15}  {time:>8}  {bytes:>10}  {remark}", choice.name);
    }
    text
}
