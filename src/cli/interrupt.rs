//! Ctrl-C and its like.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The signals that ask for an end.
#[cfg(unix)]
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, signal_hook::consts::SIGHUP];
#[cfg(not(unix))]
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// What has been asked for. Where somebody looks at its flag, a signal raises it, and another one after that ends the
/// process at once, as any does where nobody looks.
#[derive(Clone, Default)]
pub struct Interrupt {
    stop: Arc<AtomicBool>,
    /// Whether the next signal ends the process.
    impatient: Arc<AtomicBool>,
    /// The last signal; 0 before there is one.
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Signals are noted from now on; they end the process until somebody looks.
    pub fn listen() -> Self {
        let interrupt = Interrupt::default();
        interrupt.look_away();
        for signal in SIGNALS {
            let Interrupt { stop, impatient, signal: last } = interrupt.clone();
            // They act in the order of their registration.
            let registered = flag::register_conditional_shutdown(signal, 128 + signal, impatient.clone())
                .and_then(|_| flag::register_usize(signal, last, signal as usize))
                .and_then(|_| flag::register(signal, stop))
                .and_then(|_| flag::register(signal, impatient));
            if let Err(error) = registered {
                super::note(format_args!("Note: signal {signal} will end the run at once ({error})"));
            }
        }
        interrupt
    }

    /// Whether to stop.
    pub fn is_raised(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Lowers the flag: from now on somebody looks at it.
    pub fn watch(&self) {
        self.stop.store(false, Ordering::Relaxed);
        self.impatient.store(false, Ordering::Relaxed);
    }

    /// For work that looks at nothing.
    pub fn look_away(&self) {
        self.impatient.store(true, Ordering::Relaxed);
    }

    /// The exit status of what a signal ended.
    pub fn code(&self) -> ExitCode {
        match self.signal.load(Ordering::Relaxed) {
            0 => ExitCode::SUCCESS,
            signal => ExitCode::from(128 + signal as u8),
        }
    }
}
