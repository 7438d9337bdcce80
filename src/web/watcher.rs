//! Who watches a run in the worker: tells the page, and lets its messages through.

use std::mem::take;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use web_time::Instant;

use super::control::{Control, Wish};
use super::plans::{Taken, with_beside};
use super::post::{Post, macrotask};
use super::protocol::*;
use super::records::{evaluation, iterations, outer_iteration};
use crate::bilevel::Flow;
use crate::bilevel::hyperparameters::Kind;
use crate::engine::LocalFuture;
use crate::experiment::archive;
use crate::experiment::config::Differentiation;
use crate::experiment::mislabelled::auc;
use crate::experiment::record::{self, OuterRecord};
use crate::experiment::tune::{Event, Observed, Observer, TunerState};

/// Bins of weights.
const BINS: usize = 20;

/// What a run can go on from.
#[derive(Serialize, Deserialize)]
struct Saved {
    state: TunerState,
    records: Vec<OuterRecord>,
    seconds: f64,
}

/// After a stop, scores are made only if they take at most so many seconds.
const AT_ONCE: f64 = 1.0;

/// From so many trainings on, what they took says more than what was foreseen.
const TELLING: f64 = 0.5;

/// Progress is told at most this often.
const NEWS: Duration = Duration::from_millis(100);

/// Trainings and the seconds that they took.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    trainings: f64,
    seconds: f64,
}

impl Spent {
    fn and(self, trainings: f64, seconds: f64) -> Self {
        Spent { trainings: self.trainings + trainings, seconds: self.seconds + seconds }
    }

    /// Seconds of a training, once this is enough to tell.
    pub fn each(self) -> Option<f64> {
        (self.trainings >= TELLING).then(|| self.seconds / self.trainings)
    }
}

/// Posts what happens, and lets the page's messages through between segments.
pub struct Watcher<'a> {
    pub settings: &'a Settings,
    data: &'a Taken,
    pub post: &'a Post,
    control: Rc<Control>,
    begun: Instant,
    /// Seconds of the run before it was taken up again.
    before: f64,
    held: Duration,
    told: Option<(Phase, Instant)>,
    /// What was spent before the iteration at hand, and what this costs, in trainings.
    pub spent: f64,
    cost: f64,
    /// Whether it takes a hypergradient.
    differentiates: bool,
    /// Seconds of a training, as foreseen.
    pub foreseen: Option<f64>,
    /// What the iterations so far took on the engine at hand.
    pub measured: Spent,
    /// When the iteration at hand began, in seconds of the run.
    since: f64,
    /// When the inner losses of the last iteration came, in seconds of the run.
    trained: f64,
    /// Seconds that scoring the start values took.
    scoring: Option<f64>,
    /// Where the run can go on after its device is lost.
    pub state: Option<TunerState>,
    /// Its outer iterations so far.
    pub records: Vec<OuterRecord>,
}

impl<'a> Watcher<'a> {
    pub fn new(settings: &'a Settings, data: &'a Taken, post: &'a Post, control: Rc<Control>) -> Self {
        Watcher {
            settings,
            data,
            post,
            control,
            begun: Instant::now(),
            before: 0.0,
            held: Duration::ZERO,
            told: None,
            spent: 0.0,
            cost: 0.0,
            differentiates: false,
            foreseen: None,
            measured: Spent::default(),
            since: 0.0,
            trained: 0.0,
            scoring: None,
            state: None,
            records: vec![],
        }
    }

    /// Takes note of what the next iteration is.
    pub fn at(&mut self, state: &TunerState) {
        (self.spent, self.cost) = (state.spent, state.next_cost());
        self.differentiates = state.leader.differentiates();
        self.since = self.seconds();
    }

    /// Takes up a run where it was saved, and tells what was before.
    pub fn go_on_from(&mut self, saved: &[u8]) -> Result<(), String> {
        let Saved { state, records, seconds } = archive::unpack_value(saved)?;
        self.tell(Which::Before, state.start.as_ref());
        for iteration in iterations(&records, &self.settings.hyperparameters) {
            self.post.send(&FromWorker::Outer(iteration));
        }
        (self.state, self.records, self.before) = (Some(state), records, seconds);
        Ok(())
    }

    /// Tells a network's scores, if it has some.
    pub fn tell(&self, which: Which, of: Option<&record::Evaluation>) {
        if let Some(evaluation) = of.and_then(|of| evaluation(which, of)) {
            self.post.send(&FromWorker::Evaluation(evaluation));
        }
    }

    /// Seconds since the start without the pauses.
    pub fn seconds(&self) -> f64 {
        self.before + (self.begun.elapsed() - self.held).as_secs_f64()
    }

    /// Seconds of a training, as far as one can tell.
    pub fn each(&self) -> Option<f64> {
        self.measured.each().or(self.foreseen)
    }

    /// Whether progress is worth telling again.
    pub fn is_news(&mut self, phase: Phase) -> bool {
        let fresh = |&(before, at): &(Phase, Instant)| before == phase && at.elapsed() < NEWS;
        if self.told.as_ref().is_some_and(fresh) {
            return false;
        }
        self.told = Some((phase, Instant::now()));
        true
    }

    /// Share of the whole run that is behind it when so many trainings are spent on tuning.
    fn share(&self, spent: f64) -> f64 {
        (spent / f64::from(self.settings.budget)).min(1.0) / with_beside(self.settings)
    }

    /// Seconds that random search will take, once so much is spent on tuning.
    fn beside(&self, each: f64, spent: f64) -> f64 {
        (with_beside(self.settings) - 1.0) * each * spent
    }

    /// Tells how the weights that come next tell right labels from wrong ones.
    fn weigh(&self, iteration: u32, state: &TunerState) {
        let Some(wrong) = &self.data.scaled.wrong else { return };
        let weights = state.next.values(Kind::ExampleWeights);
        if weights.len() != wrong.len() || !self.settings.hyperparameters.contains(&Kind::ExampleWeights) {
            return;
        }
        let bin = |weight: f64| ((weight / 2.0 * BINS as f64) as usize).min(BINS - 1);
        let counted = |which: bool| {
            let mut bins = vec![0; BINS];
            weights.iter().zip(&**wrong).filter(|(_, wrong)| **wrong == which).for_each(|(&w, _)| bins[bin(w)] += 1);
            bins
        };
        let (right, wrong, auc) = (counted(false), counted(true), auc(&weights, wrong));
        self.post.send(&FromWorker::Weights(Weights { iteration, auc, right, wrong }));
    }

    /// Begins the last part of a run, unless it was stopped and scoring would not be done at once.
    pub fn may_score(&mut self, ending: record::Ending) -> bool {
        if ending == record::Ending::Stopped && self.scoring.is_none_or(|seconds| seconds > AT_ONCE) {
            return false;
        }
        // Another stop will end the scoring too.
        self.control.wish.set(Wish::Run);
        self.post.send(&FromWorker::Progress(Progress {
            iteration: self.state.as_ref().map_or(0, |state| state.iteration),
            phase: Phase::ScoringTuned,
            step: 0,
            steps: 1,
            spent: self.spent,
            seconds: self.seconds(),
            seconds_left: self
                .scoring
                .map(|scoring| scoring + self.beside(self.each().unwrap_or_default(), self.spent)),
            share: self.share(f64::from(self.settings.budget)),
        }));
        true
    }

    fn progress(&mut self, iteration: u32, done: u64, total: u64) {
        let steps = u64::from(self.settings.steps);
        let (phase, step, steps) = if done == total && self.state.is_none() {
            (Phase::ScoringStart, done, total)
        } else if !self.differentiates {
            (Phase::Training, done, total)
        } else if self.settings.method == Differentiation::Forward {
            (Phase::Forward, done, total)
        } else if done <= steps {
            (Phase::Training, done, steps)
        } else {
            (Phase::Backward, done - steps, total - steps)
        };
        if !self.is_news(phase) {
            return;
        }
        let seconds = self.seconds();
        let part = step as f64 / steps.max(1) as f64;
        let trainings = match phase {
            Phase::Training => part,
            Phase::Backward => 1.0 + (self.cost - 1.0) * part,
            Phase::Forward => self.cost * part,
            _ => self.cost,
        };
        let each = self.measured.and(trainings, seconds - self.since).each().or(self.foreseen);
        let spent = self.spent + trainings;
        let left = (f64::from(self.settings.budget) - spent).max(0.0);
        let scoring = self.scoring.unwrap_or_default();
        self.post.send(&FromWorker::Progress(Progress {
            iteration,
            phase,
            step: step as u32,
            steps: steps as u32,
            spent,
            seconds,
            seconds_left: each.map(|each| left * each + scoring + self.beside(each, spent + left)),
            share: self.share(spent),
        }));
    }
}

impl Observer for Watcher<'_> {
    fn event(&mut self, event: Event) -> Observed {
        match event {
            Event::Progress { iteration, done, total, .. } => self.progress(iteration, done, total),
            Event::InnerLosses { iteration, losses } => {
                self.trained = self.seconds();
                let losses = losses.iter().map(|&loss| loss as f32).collect();
                self.post.send(&FromWorker::InnerLosses { iteration, losses });
            }
            Event::Start(start) => {
                self.scoring = Some(self.seconds() - self.trained);
                self.tell(Which::Before, Some(start));
            }
            Event::Outer { record, state, .. } => {
                self.measured = self.measured.and(record.spent - self.spent, self.trained - self.since);
                self.post.send(&FromWorker::Outer(outer_iteration(
                    record,
                    &self.records,
                    &self.settings.hyperparameters,
                )));
                self.weigh(record.iteration, state);
                self.records.push(record.clone());
                let saved = Saved { state: state.clone(), records: take(&mut self.records), seconds: self.seconds() };
                self.post.send(&FromWorker::Saved { state: ByteBuf::from(archive::pack_value(&saved)) });
                (self.state, self.records) = (Some(saved.state), saved.records);
                self.at(state);
                if self.control.wish.get() == Wish::Step {
                    self.control.wish.set(Wish::Hold);
                }
            }
        }
        Ok(())
    }

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(async {
            macrotask().await;
            if self.control.wish.get() == Wish::Hold {
                let since = Instant::now();
                self.post.send(&FromWorker::Paused);
                self.control.changed().await;
                self.held += since.elapsed();
                self.post.send(&FromWorker::Resumed);
            }
            self.control.flow()
        })
    }
}
