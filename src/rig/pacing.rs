//! How long submissions are.

/// Segments grow until one takes about this long: a page stays fluid, a driver's watchdog stays calm.
pub(crate) const SEGMENT_SECONDS: f64 = 0.01;

/// Chooses how many runs of a program go into one submission from the time earlier ones took.
pub(super) struct Pacer {
    seconds: f64,
    pub length: usize,
}

impl Default for Pacer {
    fn default() -> Self {
        Pacer { seconds: 0.0, length: 1 }
    }
}

impl Pacer {
    /// Takes the time of a finished segment of `count` runs.
    pub fn record(&mut self, count: usize, seconds: f64) {
        let each = seconds / count as f64;
        self.seconds = if self.seconds == 0.0 { each } else { 0.5 * (self.seconds + each) };
        let wanted = (SEGMENT_SECONDS / self.seconds.max(1e-7)) as usize;
        self.length = wanted.clamp(1, self.length * 2);
    }
}
