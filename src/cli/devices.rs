//! `stackelberg devices`.

use std::fmt::Write as _;
use std::process::ExitCode;

use pollster::block_on;
use stackelberg::bilevel::Pace;
use stackelberg::cpu::CpuEngine;
use stackelberg::data::har::builtin;
use stackelberg::engine::{EngineError, EngineInfo};
use stackelberg::experiment::config::{Bytes, TuneConfig};
use stackelberg::experiment::prepared::Prepared;
use stackelberg::gpu::{GpuEngine, adapters};
use stackelberg::rig::Device;

use super::CliError;
use super::device::{self, MEASURING};

/// List what can compute here, and how fast
///
/// Each line starts with what --device takes: an adapter's number, `cpu` or `reference`; part of an
/// adapter's name does as well, and `auto`. Each is timed on a training step of the narrow network; without
/// --device a run times its own and takes the faster of the first GPU and the processor; an adapter that is
/// a processor standing in for a GPU has to be named.
#[derive(clap::Args)]
pub struct Args {}

/// A line of the list.
struct Row {
    choice: String,
    info: EngineInfo,
    /// What a training step takes, or why it cannot be run.
    pace: Result<Pace, String>,
}

pub fn run(_: &Args) -> Result<ExitCode, CliError> {
    let run = Prepared::new(&TuneConfig::default(), &builtin::subset()?)?;
    let measure = |choice: String, engine: Result<Device, EngineError>, info: EngineInfo| {
        let pace = engine.map_err(|error| error.to_string()).and_then(|engine| {
            let pace = block_on(run.measure(&engine, MEASURING));
            pace.map_err(|error| error.to_string())
        });
        Row { choice, info, pace }
    };
    let mut rows = vec![];
    for (index, info) in block_on(adapters()).into_iter().enumerate() {
        let choice = index.to_string();
        let engine = block_on(GpuEngine::new(&choice)).map(Device::new);
        rows.push(measure(choice, engine, info));
    }
    let processor = Device::new(CpuEngine::new(0));
    let info = processor.info();
    rows.push(measure(device::CPU.to_owned(), Ok(processor), info));
    super::print(&list(&rows))?;
    Ok(ExitCode::SUCCESS)
}

fn list(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row { choice, info, pace } in rows {
        let _ = writeln!(text, "{choice:<9}  {}", info.adapter);
        let _ = match pace {
            Ok(pace) => writeln!(text, "           {:.2} ms a training step", 1e3 * pace.step),
            Err(reason) => writeln!(text, "           cannot be used: {reason}"),
        };
        let kind = if info.software { "software: a processor standing in for a GPU" } else { "GPU" };
        let largest = Bytes(info.max_buffer_bytes >> 20 << 20);
        let _ = match info.engine.as_str() {
            "cpu" => writeln!(text, "           {}, f32", info.backend),
            _ => {
                writeln!(text, "           {kind}; {}, driver {}; arrays up to {largest}", info.backend, info.driver)
            }
        };
    }
    let _ = writeln!(text, "reference  the f64 interpreter on the processor: exact, slow, always there");
    if rows.iter().all(|row| row.info.engine != "gpu") {
        text.push_str(
            "\nNo GPU adapter was found. Install or update the graphics driver; on Debian and Ubuntu,\n\
             `apt-get install mesa-vulkan-drivers` also brings one that runs without a GPU.\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_what_device_takes() {
        let row = |choice: &str, engine: &str, adapter: &str, software, pace| Row {
            choice: choice.to_owned(),
            info: EngineInfo {
                engine: engine.to_owned(),
                adapter: adapter.to_owned(),
                backend: "vulkan".to_owned(),
                driver: "d 1".to_owned(),
                software,
                max_buffer_bytes: (128 << 20) + 5,
            },
            pace,
        };
        let pace = Pace { step: 0.0015, adjoint: 0.004, outer: 0.003, evaluation: 0.001 };
        let cpu = || row("cpu", "cpu", "processor", true, Ok(pace));
        let text = list(&[
            row("0", "gpu", "Fast", false, Ok(pace)),
            row("1", "gpu", "Slow", true, Err("it is too small".to_owned())),
            cpu(),
        ]);
        assert!(text.starts_with(
            "0          Fast\n           1.50 ms a training step\n           GPU; vulkan, driver d 1; arrays up to 128MiB\n"
        ));
        assert!(text.contains("\n1          Slow\n           cannot be used: it is too small\n           software"));
        assert!(text.ends_with("always there\n"));
        assert!(list(&[cpu()]).contains("No GPU adapter"));
    }
}
