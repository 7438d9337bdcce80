//! What a run is held against: random search at equal cost, and a training on right labels.

use std::rc::Rc;

use super::plans::with_beside;
use super::protocol::{Drawn, FromWorker, Phase, Progress};
use super::watcher::Watcher;
use crate::bilevel::Flow;
use crate::engine::LocalFuture;
use crate::experiment::config::TuneConfig;
use crate::experiment::error::TuneError;
use crate::experiment::prepared::Prepared;
use crate::experiment::record::{Ending, Evaluation, RunResult};
use crate::experiment::setup::Scaled;
use crate::experiment::training::{Report, Training};
use crate::experiment::tune::{Event, Observed, Observer, Tuner};
use crate::rig::Device;

/// Random search at the cost of a run; nothing where it was stopped.
pub async fn random(
    tuned: &RunResult,
    run: &Prepared,
    device: &Device,
    watcher: &mut Watcher<'_>,
) -> Result<Option<RunResult>, TuneError> {
    let config = run.config.random_search(tuned.spent);
    let search = Prepared::with(&config, run.data.clone(), run.compiled.clone())?;
    let mut tuner = Tuner::new(device, Rc::new(search), None).await?;
    let mut beside =
        Beside { phase: Phase::RandomSearch, budget: tuned.spent.round(), done: 0.0, start: None, watcher };
    let Report { ending, .. } = tuner.advance(u64::MAX, &mut beside).await?;
    if ending == Ending::Stopped {
        return Ok(None);
    }
    Ok(Some(tuner.conclude(ending, &mut beside).await?.0))
}

/// The start values' network where all labels are right; nothing where it was stopped or diverged.
pub async fn right_labels(
    right: &Rc<Scaled>,
    run: &Prepared,
    device: &Device,
    watcher: &mut Watcher<'_>,
) -> Result<Option<Evaluation>, TuneError> {
    let config = TuneConfig { outer: Some(1), mislabelled: 0.0, ..run.config.random_search(1.0) };
    let training = Prepared::with(&config, right.clone(), run.compiled.clone())?;
    let mut tuner = Tuner::new(device, Rc::new(training), None).await?;
    let mut beside = Beside { phase: Phase::RightLabels, budget: 1.0, done: 0.0, start: None, watcher };
    tuner.advance(1, &mut beside).await?;
    Ok(beside.start)
}

/// Tells the page how far it is.
struct Beside<'a, 'b> {
    phase: Phase,
    /// What it may cost, in trainings, and what it has.
    budget: f64,
    done: f64,
    /// The scores of its first network.
    start: Option<Evaluation>,
    watcher: &'a mut Watcher<'b>,
}

impl Observer for Beside<'_, '_> {
    fn event(&mut self, event: Event) -> Observed {
        match event {
            Event::Progress { iteration, done, total, .. } => {
                if !self.watcher.is_news(self.phase) {
                    return Ok(());
                }
                let spent = self.done + done as f64 / total.max(1) as f64;
                let left = (self.budget - spent).max(0.0);
                let of_this = spent / self.budget.max(1.0);
                self.watcher.post.send(&FromWorker::Progress(Progress {
                    iteration,
                    phase: self.phase,
                    step: done as u32,
                    steps: total as u32,
                    spent: self.watcher.spent,
                    seconds: self.watcher.seconds(),
                    seconds_left: self.watcher.each().map(|each| left * each),
                    // Tuning was the first half.
                    share: match self.phase {
                        Phase::RandomSearch => 0.5 + 0.5 * of_this,
                        _ => 1.0 / with_beside(self.watcher.settings),
                    },
                }));
            }
            Event::Start(start) => self.start = Some(start.clone()),
            Event::Outer { record, .. } => {
                self.done = record.spent;
                if self.phase == Phase::RandomSearch {
                    let drawn = Drawn { spent: record.spent, loss: record.outer_loss };
                    self.watcher.post.send(&FromWorker::Drawn(drawn));
                }
            }
            Event::InnerLosses { .. } => {}
        }
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        self.watcher.breathe()
    }
}
