//! Taking a device, and saying which and why.

use pollster::block_on;
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::{Engine, EngineInfo};
use stackelberg::gpu::{GpuEngine, adapters};
use stackelberg::reference::ReferenceEngine;

use super::CliError;

/// The choice of the f64 interpreter.
pub const REFERENCE: &str = "reference";
/// The choice of the fastest adapter.
pub const AUTO: &str = "auto";

/// The engine on the device that `choice` means. A line on standard error says which it is and why.
pub fn open(choice: &str) -> Result<Box<dyn Engine>, CliError> {
    if choice == REFERENCE {
        super::note("Device: the f64 reference interpreter on the processor, as asked for (slow, exact)");
        return Ok(Box::new(ReferenceEngine::new()));
    }
    if choice == "cpu" {
        return Ok(Box::new(CpuEngine::new(0)));
    }
    let reason = if choice == AUTO {
        match block_on(adapters()).len() {
            1 => "the only adapter".to_owned(),
            count => format!("the fastest kind of {count} adapters"),
        }
    } else {
        format!("it matches --device {choice}")
    };
    let engine = block_on(GpuEngine::new(choice))?;
    super::note(format_args!("Device: {} ({reason})", describe(engine.info())));
    Ok(Box::new(engine))
}

/// An adapter in one line.
pub fn describe(info: &EngineInfo) -> String {
    let kind = if info.software { ", a processor standing in for a GPU" } else { "" };
    format!("{} through {}{kind}", info.adapter, info.backend)
}
