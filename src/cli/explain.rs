//! `stackelberg explain`.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;
use stackelberg::bilevel::Blueprint;
use stackelberg::experiment::prepared::Prepared;

use super::settings::{Base, Settings};
use super::{CliError, device, start};

/// Print what a run would compute and hold, without a device
///
/// The graphs are the formulas: one line for each array operation, derivatives included. The programs
/// are what the device runs: the operations fused into dispatches. The memory plan lists every array
/// on the device (buffers for reading back and for scoring come on top); the checkpoint plan says which training states are kept and which are computed
/// again on the way back.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    base: Base,

    /// What to print
    #[arg(long, value_enum, default_value_t = Part::All)]
    part: Part,

    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    /// Graphs of the training step, its adjoint, and the outer loss
    Graph,
    /// The programs that these compile to
    Program,
    /// Arrays on the device
    Memory,
    /// Training states kept and steps run again
    Checkpoints,
    All,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let config = args.settings.over(args.base.load()?);
    config.check()?;
    let mut config = device::within_memory(config);
    let source = start::load(&mut config)?;
    super::print(&text(Prepared::new(&config, &source)?.blueprint()?, args.part))?;
    Ok(ExitCode::SUCCESS)
}

fn text(blueprint: &Blueprint, part: Part) -> String {
    let wanted = |this: Part| part == this || part == Part::All;
    let mut sections = vec![];
    if wanted(Part::Graph) {
        for f in &blueprint.functions {
            let outputs: Vec<_> = f.outputs.iter().map(|o| (o.name.clone(), o.node)).collect();
            let mut text = format!("graph {}\n", f.name);
            let _ = write!(text, "{}", f.graph.print(&outputs));
            sections.push(text);
        }
    }
    if wanted(Part::Program) {
        sections.extend(blueprint.programs.iter().map(ToString::to_string));
    }
    if wanted(Part::Memory) {
        sections.push(blueprint.print_memory());
    }
    if wanted(Part::Checkpoints) {
        sections.push(blueprint.checkpoints.print());
    }
    sections.join("\n")
}
