//! The command line.

mod cli;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    quiet_drivers();
    cli::main()
}

/// A Vulkan layer of Mesa looks for a display, which nothing here needs, and complains on standard error where no folder
/// of displays is named. Then this program takes its own place with one named: a process cannot safely change its own
/// environment.
#[cfg(target_os = "linux")]
fn quiet_drivers() {
    use std::os::unix::process::CommandExt;

    const FOLDER: &str = "XDG_RUNTIME_DIR";
    let unnamed = std::env::var_os(FOLDER).is_none_or(|value| value.is_empty());
    if unnamed && let Ok(program) = std::env::current_exe() {
        let mut words = std::env::args_os();
        let name = words.next().unwrap_or_default();
        // Comes back only where it fails, which leaves no more than the complaint.
        let _ = std::process::Command::new(program).arg0(name).args(words).env(FOLDER, "/tmp").exec();
    }
}
