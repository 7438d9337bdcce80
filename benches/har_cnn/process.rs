//! What the benchmark asks of the system that runs it as a process. Linux tells all of it; elsewhere
//! CPU seconds are 0 and memory is unknown.

use std::fs;
use std::io::Write as _;

pub fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    pollster::block_on(super::run(&arguments));
}

pub fn print(line: &str) {
    println!("{line}");
}

/// Adds a line to a file.
pub fn append(path: &str, line: &str) {
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| writeln!(file, "{line}")).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Time on a processor of all living threads, which are the engine's own.
pub async fn processor_seconds() -> f64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
    };
    threads.map(nanoseconds).sum::<f64>() / 1e9
}

/// MB resident.
pub fn resident() -> f64 {
    status("VmRSS")
}

/// The most MB that were resident at once since [`forget_peak`].
pub fn peak() -> f64 {
    status("VmHWM")
}

pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// How many processes wanted a processor during the last minute, on average.
pub fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// A line of /proc/self/status in MB.
fn status(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}
