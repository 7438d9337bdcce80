//! Who watches a sweep, and how long its submissions are.

use crate::engine::LocalFuture;

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Stop,
}

/// Who watches a sweep. Called between segments.
pub trait Host {
    /// `done` of `total` actions of the present sweep are finished.
    fn progress(&mut self, done: u64, total: u64);

    /// Gives others a turn; may take as long as it likes (a pause).
    fn breathe(&mut self) -> LocalFuture<'_, Flow>;
}

/// A host that only lets the sweep run.
pub struct Unattended;

impl Host for Unattended {
    fn progress(&mut self, _done: u64, _total: u64) {}

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(std::future::ready(Flow::Continue))
    }
}

/// How far a sweep is: actions before the present part, and of the whole.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    pub done: u64,
    pub total: u64,
}

/// Segments grow until one takes about this long: a page stays fluid, a driver's watchdog stays calm.
pub(super) const SEGMENT_SECONDS: f64 = 0.01;

/// Chooses how many runs of a program go into one submission from the time earlier ones took.
pub(super) struct Pacer {
    seconds: f64,
    pub length: usize,
}

impl Pacer {
    pub fn new() -> Self {
        Pacer { seconds: 0.0, length: 1 }
    }

    /// Takes the time of a finished segment of `count` runs.
    pub fn record(&mut self, count: usize, seconds: f64) {
        let each = seconds / count as f64;
        self.seconds = if self.seconds == 0.0 { each } else { 0.5 * (self.seconds + each) };
        let wanted = (SEGMENT_SECONDS / self.seconds.max(1e-7)) as usize;
        self.length = wanted.clamp(1, self.length * 2);
    }
}
