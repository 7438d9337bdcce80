//! `stackelberg devices`.

use std::fmt::Write as _;
use std::process::ExitCode;

use pollster::block_on;
use stackelberg::engine::EngineInfo;
use stackelberg::experiment::config::Bytes;
use stackelberg::gpu::adapters;

use super::CliError;

/// List what can compute here
///
/// Each line starts with what --device takes: an adapter's number, or `reference`. Any part of an
/// adapter's name does as well. Without --device the adapter marked * is taken.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<ExitCode, CliError> {
    super::print(&list(&block_on(adapters())))?;
    Ok(ExitCode::SUCCESS)
}

fn list(adapters: &[EngineInfo]) -> String {
    let mut text = String::new();
    for (index, info) in adapters.iter().enumerate() {
        let mark = if index == 0 { '*' } else { ' ' };
        let kind = if info.software { "software: a processor standing in for a GPU" } else { "GPU" };
        let largest = Bytes(info.max_buffer_bytes >> 20 << 20);
        let _ = writeln!(text, "{mark} {index:<9}  {}", info.adapter);
        let _ = writeln!(text, "             {kind}; {}, driver {}; arrays up to {largest}", info.backend, info.driver);
    }
    let _ = writeln!(text, "  reference  the f64 interpreter on the processor: exact, slow, always there");
    if adapters.is_empty() {
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
        let info = |adapter: &str, software| EngineInfo {
            engine: "gpu".to_owned(),
            adapter: adapter.to_owned(),
            backend: "vulkan".to_owned(),
            driver: "d 1".to_owned(),
            software,
            max_buffer_bytes: (128 << 20) + 5,
        };
        let text = list(&[info("Fast", false), info("Slow", true)]);
        assert!(text.starts_with("* 0          Fast\n             GPU; vulkan, driver d 1; arrays up to 128MiB\n"));
        assert!(text.contains("\n  1          Slow\n             software"));
        assert!(text.ends_with("always there\n"));
        assert!(list(&[]).contains("No GPU adapter"));
    }
}
