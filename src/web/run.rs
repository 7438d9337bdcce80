//! A tuning run in the worker: what it tells the page, and how it takes turns with the page's messages.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use web_time::Instant;

use super::bench::{Bench, is_loss};
use super::kept::{self, Kept};
use super::plans::{Origin, Plans, plans};
use super::post::{Post, macrotask};
use super::protocol::*;
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::{Flow, SolveError};
use crate::engine::{EngineError, LocalFuture};
use crate::experiment::config::Differentiation;
use crate::experiment::error::TuneError;
use crate::experiment::model_file::Exported;
use crate::experiment::names;
use crate::experiment::record::{self, OuterRecord, RunResult, Score};
use crate::experiment::setup::Scaled;
use crate::experiment::training::{Report, Training};
use crate::experiment::tune::{Event, Observed, Observer, Tuner, TunerState};

/// What the visitor wants of a run.
#[derive(Default)]
pub struct Control {
    wish: Cell<Wish>,
    /// Wakes a held run.
    wake: RefCell<Option<oneshot::Sender<()>>>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Wish {
    #[default]
    Run,
    Hold,
    Stop,
}

impl Control {
    pub fn pause(&self) {
        if self.wish.get() == Wish::Run {
            self.wish.set(Wish::Hold);
        }
    }

    pub fn resume(&self) {
        if self.wish.get() == Wish::Hold {
            self.change(Wish::Run);
        }
    }

    pub fn stop(&self) {
        self.change(Wish::Stop);
    }

    fn flow(&self) -> Flow {
        if self.wish.get() == Wish::Stop { Flow::Stop } else { Flow::Continue }
    }

    fn change(&self, wish: Wish) {
        self.wish.set(wish);
        if let Some(wake) = self.wake.take() {
            // The run may have ended meanwhile.
            let _ = wake.send(());
        }
    }

    /// Waits for the next [`change`](Self::change).
    async fn changed(&self) {
        let (wake, woken) = oneshot::channel();
        *self.wake.borrow_mut() = Some(wake);
        let _ = woken.await;
    }
}

/// What a run needs.
pub struct Job {
    pub settings: Settings,
    pub engine: Engine,
    /// What the configuration calls the data, and how it has them read.
    pub origin: Origin,
    pub scaled: Rc<Scaled>,
    pub control: Rc<Control>,
}

impl Job {
    /// Tunes, with every event posted; a lost device is replaced and the run goes on from its last outer iteration.
    /// Gives its network, if it has one.
    pub async fn run(&self, bench: &mut Bench, post: &Post) -> Result<Option<(Kept, NetworkInfo)>, Failure> {
        let mut engine = self.engine;
        let mut watcher = Watcher::new(&self.settings, post, self.control.clone());
        let mut lost = false;
        let outcome = loop {
            let plans = plans(&self.settings, engine, &self.origin, self.scaled.clone());
            let outcome = self.attempt(engine, &plans, bench, &mut watcher).await;
            let Err(error) = &outcome else { break outcome };
            if is_loss(error) {
                // A device that would be lost again gives way to the processor, and so does one that does not come back.
                if !bench.lose() {
                    engine = Engine::Cpu;
                }
            } else if lost && engine != Engine::Cpu && is_gone(error) {
                engine = Engine::Cpu;
            } else {
                break outcome;
            }
            lost = true;
            if engine != self.engine {
                watcher.measured = Spent::default();
            }
            post.send(&FromWorker::Recovering { engine });
        };
        if outcome.is_err() {
            // Whatever a failed run left on the engine goes with it.
            bench.close(engine);
        }
        let Some((result, model)) = outcome.map_err(failure)? else {
            post.send(&FromWorker::Cancelled);
            return Ok(None);
        };
        if let Some(evaluation) = result.end.as_ref().and_then(|end| evaluation(Which::After, end)) {
            post.send(&FromWorker::Evaluation(evaluation));
        }
        let (method, reason) = result.configuration.leader();
        post.send(&FromWorker::Done(Done {
            ending: match result.ending {
                record::Ending::Running | record::Ending::Finished => Ending::Finished,
                record::Ending::Stopped => Ending::Stopped,
                record::Ending::Diverged => Ending::Diverged,
            },
            best: result.best_iteration,
            spent: result.spent,
            hypergradients: result.hypergradients,
            past_edge: result.past_edge,
            settled: result.settled,
            method,
            reason,
            seconds: watcher.seconds(),
            files: kept::files(&result, &watcher.records, model.as_deref()),
        }));
        if let Some(each) = watcher.measured.each() {
            let plans = plans(&self.settings, engine, &self.origin, self.scaled.clone());
            if let Ok(run) = bench.ready(&plans) {
                bench.correct(engine, &plans, &run.blueprint().map_err(failure)?.checkpoints, each);
            }
        }
        // One that tells the next sample has no classes to name.
        Ok(model.and_then(|model| Kept::of_run(&result, &model).ok()))
    }

    /// One engine's part of a run: gives the record and the model's file, if there is one, or nothing if the run was
    /// stopped before its first outer iteration was complete.
    async fn attempt(
        &self,
        engine: Engine,
        plans: &Plans<'_>,
        bench: &mut Bench,
        watcher: &mut Watcher<'_>,
    ) -> Result<Option<(RunResult, Option<Vec<u8>>)>, TuneError> {
        let run = Rc::new(bench.ready(plans)?);
        if bench.prepare(engine, &run, || self.control.flow()).await? == Flow::Stop {
            return Ok(None);
        }
        bench.forecast(plans, Some(&run.blueprint()?.checkpoints));
        watcher.foreseen = bench.expected(engine).map(|run| run / f64::from(self.settings.budget));
        let device = bench.engine(engine).await.map_err(SolveError::from)?;
        let mut tuner = Tuner::new(&device, run.clone(), watcher.state.clone()).await?;
        watcher.at(tuner.state());
        let Report { ending, .. } = tuner.advance(u64::MAX, watcher).await?;
        if tuner.state().iteration == 0 {
            return Ok(None);
        }
        let exported = Exported::new(&run);
        if watcher.may_score(ending) {
            match tuner.conclude(ending, watcher).await {
                Ok((result, weights)) => {
                    let end = result.end.as_ref().zip(weights);
                    let model = end.map(|(end, weights)| exported.pack(&weights, &end.hyperparameters));
                    return Ok(Some((result, model)));
                }
                Err(TuneError::Solve(SolveError::Stopped)) => {}
                Err(error) => return Err(error),
            }
        }
        let model = tuner.best_network().map(|(hyperparameters, weights)| exported.pack(weights, &hyperparameters));
        Ok(Some((tuner.result(ending, None), model)))
    }
}

/// Whether there is no device any more.
fn is_gone(error: &TuneError) -> bool {
    matches!(error, TuneError::Solve(SolveError::Engine(EngineError::NoAdapter { .. })))
}

fn failure(error: TuneError) -> Failure {
    let stage = if is_gone(&error) { Stage::Device } else { Stage::Run };
    Failure { stage, message: error.to_string() }
}

/// After a stop, scores are made only if they take at most so many seconds.
const AT_ONCE: f64 = 1.0;

/// From so many trainings on, what they took says more than what was foreseen.
const TELLING: f64 = 0.5;

/// Progress is told at most this often.
const NEWS: Duration = Duration::from_millis(100);

/// Trainings and the seconds that they took.
#[derive(Clone, Copy, Default)]
struct Spent {
    trainings: f64,
    seconds: f64,
}

impl Spent {
    fn and(self, trainings: f64, seconds: f64) -> Self {
        Spent { trainings: self.trainings + trainings, seconds: self.seconds + seconds }
    }

    /// Seconds of a training, once this is enough to tell.
    fn each(self) -> Option<f64> {
        (self.trainings >= TELLING).then(|| self.seconds / self.trainings)
    }
}

/// Posts what happens, and lets the page's messages through between segments.
struct Watcher<'a> {
    settings: &'a Settings,
    post: &'a Post,
    control: Rc<Control>,
    begun: Instant,
    held: Duration,
    told: Option<(Phase, Instant)>,
    /// What was spent before the iteration at hand, and what this costs, in trainings.
    spent: f64,
    cost: f64,
    /// Whether it takes a hypergradient.
    differentiates: bool,
    /// Seconds of a training, as foreseen.
    foreseen: Option<f64>,
    /// What the iterations so far took on the engine at hand.
    measured: Spent,
    /// When the iteration at hand began, in seconds of the run.
    since: f64,
    /// When the inner losses of the last iteration came, in seconds of the run.
    trained: f64,
    /// Seconds that scoring the start values took.
    scoring: Option<f64>,
    /// Where the run can go on after its device is lost.
    state: Option<TunerState>,
    /// Its outer iterations so far.
    records: Vec<OuterRecord>,
}

impl<'a> Watcher<'a> {
    fn new(settings: &'a Settings, post: &'a Post, control: Rc<Control>) -> Self {
        Watcher {
            settings,
            post,
            control,
            begun: Instant::now(),
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
    fn at(&mut self, state: &TunerState) {
        (self.spent, self.cost) = (state.spent, state.next_cost());
        self.differentiates = state.leader.differentiates();
        self.since = self.seconds();
    }

    /// Seconds since the start without the pauses.
    fn seconds(&self) -> f64 {
        (self.begun.elapsed() - self.held).as_secs_f64()
    }

    /// Begins the last part of a run, unless it was stopped and scoring would not be done at once.
    fn may_score(&mut self, ending: record::Ending) -> bool {
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
            seconds_left: self.scoring,
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
        let fresh = |&(before, at): &(Phase, Instant)| before == phase && at.elapsed() < NEWS;
        if self.told.as_ref().is_some_and(fresh) {
            return;
        }
        self.told = Some((phase, Instant::now()));
        let seconds = self.seconds();
        let part = step as f64 / steps.max(1) as f64;
        let trainings = match phase {
            Phase::Training => part,
            Phase::Backward => 1.0 + (self.cost - 1.0) * part,
            Phase::Forward => self.cost * part,
            Phase::ScoringStart | Phase::ScoringTuned => self.cost,
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
            seconds_left: each.map(|each| left * each + scoring),
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
                if let Some(evaluation) = evaluation(Which::Before, start) {
                    self.post.send(&FromWorker::Evaluation(evaluation));
                }
            }
            Event::Outer { record, state, .. } => {
                self.measured = self.measured.and(record.spent - self.spent, self.trained - self.since);
                self.state = Some(state.clone());
                self.records.push(record.clone());
                self.at(state);
                self.post.send(&FromWorker::Outer(outer_iteration(record, &self.settings.hyperparameters)));
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

/// What the page shows of an iteration: the kinds that are tuned, in the order in which people name them.
fn outer_iteration(record: &OuterRecord, tuned: &[Kind]) -> OuterIteration {
    let belongs = |kind: Kind, name: &str| names::is_of(kind, name);
    let hyperparameters = tuned.iter().flat_map(|&group| {
        let members = record.hyperparameters.iter().filter(move |(name, _)| belongs(group, name));
        members.map(move |(name, &value)| Hyperparameter {
            name: name.clone(),
            group,
            value,
            hypergradient: record.hypergradient.get(name).copied(),
        })
    });
    OuterIteration {
        iteration: record.iteration,
        spent: record.spent,
        loss: record.outer_loss,
        selection: record.selection_loss,
        differentiated: record.differentiated,
        past_edge: record.past_edge,
        accepted: record.accepted,
        hyperparameters: hyperparameters.collect(),
        seconds: record.seconds,
    }
}

/// Scores, which a network that diverged has none of; the page's networks all classify.
fn evaluation(which: Which, of: &record::Evaluation) -> Option<Evaluation> {
    let (Score { loss: Some(loss), accuracy: Some(accuracy) }, Some(classes)) = (of.test, &of.test_classes) else {
        return None;
    };
    Some(Evaluation {
        which,
        loss,
        accuracy,
        macro_f1: classes.macro_f1,
        f1: classes.classes.iter().map(|class| class.f1).collect(),
        confusion: classes.confusion.iter().flatten().map(|&windows| windows as u32).collect(),
    })
}
