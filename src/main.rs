//! The command line.

mod cli;

fn main() -> std::process::ExitCode {
    quiet_drivers();
    cli::main()
}

/// A Vulkan layer of Mesa looks for a display, which nothing here needs, and complains on standard error where the
/// folder of displays is not named.
fn quiet_drivers() {
    const FOLDER: &str = "XDG_RUNTIME_DIR";
    if cfg!(target_os = "linux") && std::env::var_os(FOLDER).is_none_or(|value| value.is_empty()) {
        // SAFETY: there is no other thread yet.
        unsafe { std::env::set_var(FOLDER, std::env::temp_dir()) };
    }
}
