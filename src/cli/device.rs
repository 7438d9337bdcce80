//! Taking a device, and saying which and why.

use pollster::block_on;
use stackelberg::bilevel::Pace;
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::{EngineError, EngineInfo, mebibytes};
use stackelberg::experiment::config::{Bytes, TuneConfig};
use stackelberg::experiment::error::TuneError;
use stackelberg::experiment::prepared::Prepared;
use stackelberg::gpu::{GpuEngine, adapters};
use stackelberg::reference::ReferenceEngine;
use stackelberg::rig::Device;

use super::CliError;

/// The choice of the f64 interpreter.
pub const REFERENCE: &str = "reference";
/// The choice of the processor in f32.
pub const CPU: &str = "cpu";
/// The choice of whatever is fastest.
pub const AUTO: &str = "auto";

/// A choice as it was written: those that are words of ours in small letters, however they were.
pub fn choice(text: &str) -> Result<String, std::convert::Infallible> {
    let ours = [AUTO, CPU, REFERENCE].into_iter().find(|word| word.eq_ignore_ascii_case(text.trim()));
    Ok(ours.unwrap_or(text).to_owned())
}

/// Seconds in which an engine's pace is measured, besides the preparing of its programs.
pub const MEASURING: f64 = 0.4;

/// The engine that `choice` means, without measuring: an adapter before the processor.
pub fn open(choice: &str) -> Result<Device, CliError> {
    let engine = match choice {
        REFERENCE => Device::new(ReferenceEngine::new()),
        CPU => Device::new(CpuEngine::new(0)),
        empty if empty.trim().is_empty() => {
            return Err(no_device(choice, "it is empty, as a variable that is not set is".to_owned()));
        }
        AUTO if block_on(adapters()).first().is_none_or(|best| best.software) => Device::new(CpuEngine::new(0)),
        _ => match block_on(GpuEngine::new(choice)) {
            Err(EngineError::NoAdapter { .. }) if choice == AUTO => Device::new(CpuEngine::new(0)),
            Err(EngineError::NoAdapter { reason, .. }) => return Err(no_device(choice, reason)),
            engine => Device::new(engine?),
        },
    };
    super::note(format_args!("Device: {}", describe(&engine.info())));
    Ok(engine)
}

fn no_device(choice: &str, reason: String) -> CliError {
    let adapters = block_on(adapters()).into_iter().enumerate();
    let adapters: String = adapters.map(|(index, info)| format!(", {index} ({})", info.adapter)).collect();
    CliError::NoDevice { choice: choice.to_owned(), reason, choices: format!("{AUTO}, {CPU}, {REFERENCE}{adapters}") }
}

/// The engine for a run (see [`choose`]); another line on standard error says how long it will take.
pub fn open_for(run: &Prepared) -> Result<Device, CliError> {
    if run.config.device == REFERENCE {
        return open(REFERENCE);
    }
    let (engine, pace) = choose(run)?;
    super::note(format_args!("Expected: about {} in all", duration(run.seconds(&pace)?)));
    Ok(engine)
}

/// The engine that the settings of a run name, or the faster of GPU and processor, with its measured
/// pace. A line on standard error says which it is and why.
pub fn choose(run: &Prepared) -> Result<(Device, Pace), CliError> {
    choose_by(&run.config.device, &mut |engine| block_on(run.measure(engine, MEASURING)))
}

/// The same for whatever can be timed on an engine.
pub fn choose_by(
    choice: &str,
    measure: &mut dyn FnMut(&Device) -> Result<Pace, TuneError>,
) -> Result<(Device, Pace), CliError> {
    if choice != AUTO {
        let engine = open(choice)?;
        let pace = measure(&engine)?;
        return Ok((engine, pace));
    }
    let mut measured: Vec<(Device, Pace)> = vec![];
    for engine in everything() {
        match measure(&engine) {
            Ok(pace) => measured.push((engine, pace)),
            Err(error) => super::note(format_args!("{} cannot take this run: {error}", describe(&engine.info()))),
        }
    }
    let others: Vec<String> = measured.iter().map(|(engine, pace)| at_pace(&engine.info(), pace)).collect();
    let fastest = (0..measured.len()).min_by(|&a, &b| measured[a].1.step.total_cmp(&measured[b].1.step));
    let Some(fastest) = fastest else {
        let engine = open(AUTO)?;
        let pace = measure(&engine)?;
        return Ok((engine, pace));
    };
    let beside: Vec<&str> = (0..others.len()).filter(|&at| at != fastest).map(|at| others[at].as_str()).collect();
    let beside = if beside.is_empty() { String::new() } else { format!("; slower: {}", beside.join(", ")) };
    super::note(format_args!("Device: {}{beside}", others[fastest]));
    Ok(measured.swap_remove(fastest))
}

/// What `auto` means where nothing is measured: the first GPU, or the processor where there is none.
pub fn usual() -> EngineInfo {
    let gpu = block_on(adapters()).into_iter().next().filter(|best| !best.software);
    gpu.unwrap_or_else(|| Device::new(CpuEngine::new(0)).info())
}

/// Every engine that `auto` chooses from; where they are equally fast, the first is taken. A software adapter is a
/// processor that takes the longer way, so it is neither prepared nor timed.
fn everything() -> Vec<Device> {
    let processor = Device::new(CpuEngine::new(0));
    if block_on(adapters()).first().is_none_or(|best| best.software) {
        return vec![processor];
    }
    match block_on(GpuEngine::new(AUTO)) {
        Ok(gpu) => vec![Device::new(gpu), processor],
        Err(error) => {
            super::note(format_args!("Note: the GPU cannot be used: {error}"));
            vec![processor]
        }
    }
}

/// Bytes that a run may take of the machine's memory: the rest is for the host's side of it and for other programs.
pub fn most_bytes() -> u64 {
    // Some systems do not tell.
    let Ok(mut system) = sysinfo::System::new() else { return u64::MAX };
    system.refresh_memory();
    let group = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    match system.total_memory().min(group) {
        0 => u64::MAX,
        // In whole mebibytes, which read well.
        all => (all / 4 * 3) >> 20 << 20,
    }
}

/// The settings with a memory budget that the machine has.
pub fn within_memory(config: TuneConfig) -> TuneConfig {
    TuneConfig { memory_budget: within(config.memory_budget), ..config }
}

/// A memory budget that the machine has; says so where that is less.
pub fn within(budget: Bytes) -> Bytes {
    let most = most_bytes();
    if budget.0 <= most {
        return budget;
    }
    super::note(format_args!(
        "Note: the memory budget of {} is more than this machine can give; {} is taken, three quarters of its memory",
        mebibytes(budget.0),
        mebibytes(most)
    ));
    Bytes(most)
}

/// A length of time in the unit that suits it.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// An engine and how fast it is.
pub fn at_pace(info: &EngineInfo, pace: &Pace) -> String {
    format!("{} at {:.2} ms a training step", describe(info), 1e3 * pace.step)
}

/// An adapter in one line.
pub fn describe(info: &EngineInfo) -> String {
    match info.engine.as_str() {
        "gpu" if info.software => {
            format!("{} through {}, a processor standing in for a GPU", info.adapter, info.backend)
        }
        "gpu" => format!("{} through {}", info.adapter, info.backend),
        "cpu" => format!("{}, {}", info.adapter, info.backend),
        _ => format!("{} (slow)", info.adapter),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use stackelberg::data::har::builtin;
    use stackelberg::experiment::tune::Tuner;

    /// Whatever engines there are to choose from, and with the forecast and the run.
    #[test]
    fn a_run_on_whatever_is_fastest_is_compiled_once() {
        let config = TuneConfig { steps: 2, batch: Some(4), validation_windows: 8, ..TuneConfig::quick() };
        assert_eq!(config.device, AUTO);
        let run = Rc::new(Prepared::new(&config, &builtin::subset().unwrap()).unwrap());
        let device = open_for(&run).unwrap();
        block_on(Tuner::new(&device, run.clone(), None)).unwrap();
        let mut names = run.compiled.names();
        names.sort_unstable();
        let all = ["begin", "evaluation", "linearize", "outer_gradient", "pullback"];
        assert_eq!(names, [&all[..], &["step", "step_adjoint", "step_keeping", "update"]].concat());
    }
}
