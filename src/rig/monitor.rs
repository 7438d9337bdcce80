//! Who watches what runs.

use crate::engine::LocalFuture;

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Run the next segment.
    Continue,
    /// End with an error that says so.
    Stop,
}

/// Who watches a sweep. Called between segments.
pub trait Monitor {
    /// `done` of `total` actions of the present sweep are finished.
    fn progress(&mut self, done: u64, total: u64);

    /// Gives others a turn; may take as long as it likes (a pause).
    fn breathe(&mut self) -> LocalFuture<'_, Flow>;
}

/// A monitor that only lets the sweep run.
pub struct Unattended;

impl Monitor for Unattended {
    fn progress(&mut self, _done: u64, _total: u64) {}

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(std::future::ready(Flow::Continue))
    }
}

/// How far a sweep is: actions before the present part, and of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Actions done.
    pub done: u64,
    /// Actions of the whole.
    pub total: u64,
}

/// Watches a part of a sweep that is not counted in its progress.
pub(crate) struct Quiet<'a>(pub &'a mut dyn Monitor);

impl Monitor for Quiet<'_> {
    fn progress(&mut self, _done: u64, _total: u64) {}

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        self.0.breathe()
    }
}
