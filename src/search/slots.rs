//! Workers on a virtual clock: what each trains, and whose report is next. Which one that is follows from the steps of the
//! trainings alone, so that a study does not depend on how fast a machine is.

use super::history::Trial;

/// A worker's training until its next report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    /// The trial.
    pub trial: u64,
    /// The step that it reports next.
    pub step: u64,
    /// When it does.
    pub ends: f64,
}

/// Workers and what they do.
#[derive(Clone, Debug)]
pub struct Slots {
    clock: f64,
    jobs: Vec<Option<Job>>,
    /// Trials report after so many steps, and at the end of their budgets.
    interval: u64,
}

impl Slots {
    /// So many workers without work, whose trials report after so many steps.
    pub fn new(workers: usize, interval: u64) -> Self {
        Slots { clock: 0.0, jobs: vec![None; workers], interval: interval.max(1) }
    }

    /// The virtual time.
    pub fn clock(&self) -> f64 {
        self.clock
    }

    /// Sets the virtual time.
    pub fn set_clock(&mut self, clock: f64) {
        self.clock = clock;
    }

    /// The first worker that has nothing to do.
    pub fn idle(&self) -> Option<usize> {
        self.jobs.iter().position(Option::is_none)
    }

    /// Who trains a trial, and until when.
    pub fn of(&self, trial: u64) -> Option<(usize, Job)> {
        self.busy().find(|(_, job)| job.trial == trial)
    }

    /// All who train.
    pub fn busy(&self) -> impl Iterator<Item = (usize, Job)> {
        self.jobs.iter().enumerate().filter_map(|(worker, job)| Some((worker, (*job)?)))
    }

    /// Whose report is next: the earliest, of equally early ones that of the first worker.
    pub fn next(&self) -> Option<(usize, Job)> {
        self.busy().min_by(|a, b| a.1.ends.total_cmp(&b.1.ends).then(a.0.cmp(&b.0)))
    }

    /// A worker trains a trial from where it is until its next report; steps take so many virtual seconds each.
    pub fn begin(&mut self, worker: usize, trial: &Trial, seconds: impl Fn(u64) -> f64) {
        let (done, interval) = (trial.step(), self.interval);
        let step = (done / interval * interval + interval).min(trial.budget.max(done + 1));
        let seconds: f64 = (done + 1..=step).map(seconds).sum();
        self.jobs[worker] = Some(Job { trial: trial.number, step, ends: self.clock + seconds });
    }

    /// A worker has nothing to do any more.
    pub fn free(&mut self, worker: usize) {
        self.jobs[worker] = None;
    }
}
