//! What commands print.

use std::io::Write;

use super::error::CliError;
use super::shell;

/// Writes a line to standard error. That nobody reads it any more is no reason to end a run.
pub fn note(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", shell::shown(&line.to_string()));
}

/// Writes to standard output. A reader that has gone away (`| head`) is no error.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(shell::shown(text).as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::Stdout(e)),
        _ => Ok(()),
    }
}
