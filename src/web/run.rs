//! A tuning run in the worker: what it tells the page, and how it takes turns with the page's messages.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use web_time::Instant;

use super::bench::{Bench, is_loss};
use super::plans::{Plans, plans};
use super::post::{Post, macrotask};
use super::protocol::*;
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::{Flow, SolveError};
use crate::engine::{EngineError, LocalFuture};
use crate::experiment::config::{DataSource, Differentiation};
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
    /// What the configuration calls the data.
    pub origin: DataSource,
    pub scaled: Rc<Scaled>,
    pub control: Rc<Control>,
}

impl Job {
    /// Tunes, with every event posted; a lost device is replaced and the run goes on from its last outer iteration.
    pub async fn run(&self, bench: &mut Bench, post: &Post) -> Result<(), Failure> {
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
                (watcher.each, watcher.measured) = (None, None);
            }
            watcher.since = None;
            post.send(&FromWorker::Recovering { engine });
        };
        if outcome.is_err() {
            // Whatever a failed run left on the engine goes with it.
            bench.close(engine);
        }
        let Some((result, model)) = outcome.map_err(failure)? else {
            post.send(&FromWorker::Cancelled);
            return Ok(());
        };
        if let Some(evaluation) = result.end.as_ref().and_then(|end| evaluation(Which::After, end)) {
            post.send(&FromWorker::Evaluation(evaluation));
        }
        post.send(&FromWorker::Done(Done {
            ending: match result.ending {
                record::Ending::Running | record::Ending::Finished => Ending::Finished,
                record::Ending::Stopped => Ending::Stopped,
                record::Ending::Diverged => Ending::Diverged,
            },
            best: result.best_iteration,
            seconds: watcher.seconds(),
            result: serde_json::to_string_pretty(&result).expect("records are plain values"),
            model: model.map(serde_bytes::ByteBuf::from),
        }));
        if let Some(each) = watcher.measured {
            let plans = plans(&self.settings, engine, &self.origin, self.scaled.clone());
            if let Ok(run) = bench.ready(&plans) {
                bench.correct(engine, &plans, &run.blueprint().map_err(failure)?.checkpoints, each);
            }
        }
        Ok(())
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
        watcher.each = watcher.each.or(bench.expected(engine).map(|run| run / f64::from(self.settings.outer)));
        let device = bench.engine(engine).await.map_err(SolveError::from)?;
        let mut tuner = Tuner::new(&device, run.clone(), watcher.state.clone()).await?;
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

/// The share of an outer iteration that is training, where the way back goes through all of its steps.
const WAY_THERE: f64 = 0.25;

/// The share of an outer iteration from which on its speed is that of the whole.
const TELLING: f64 = 0.1;

/// Progress is told at most this often.
const NEWS: Duration = Duration::from_millis(100);

/// Posts what happens, and lets the page's messages through between segments.
struct Watcher<'a> {
    settings: &'a Settings,
    post: &'a Post,
    control: Rc<Control>,
    begun: Instant,
    held: Duration,
    told: Option<(Phase, Instant)>,
    /// Seconds of the last outer iteration, or of any as foreseen.
    each: Option<f64>,
    /// Seconds of the last outer iteration on the engine at hand.
    measured: Option<f64>,
    /// When the iteration at hand began, in seconds of the run.
    since: Option<f64>,
    /// The run is over but for the last scores.
    concluding: bool,
    /// When the inner losses of the last iteration came, in seconds of the run.
    trained: f64,
    /// Seconds that scoring the start values took.
    scoring: Option<f64>,
    /// Where the run can go on after its device is lost.
    state: Option<TunerState>,
}

impl<'a> Watcher<'a> {
    fn new(settings: &'a Settings, post: &'a Post, control: Rc<Control>) -> Self {
        let (begun, held) = (Instant::now(), Duration::ZERO);
        let (told, each, measured, since) = (None, None, None, None);
        let (concluding, trained, scoring, state) = (false, 0.0, None, None);
        Watcher {
            settings,
            post,
            control,
            begun,
            held,
            told,
            each,
            measured,
            since,
            concluding,
            trained,
            scoring,
            state,
        }
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
        self.concluding = true;
        true
    }

    fn progress(&mut self, iteration: u32, done: u64, total: u64) {
        let steps = u64::from(self.settings.steps);
        let (phase, step, steps) = if self.concluding {
            (Phase::ScoringTuned, done, total)
        } else if done == total && self.state.is_none() {
            (Phase::ScoringStart, done, total)
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
        let share = match phase {
            Phase::Training => WAY_THERE * part,
            Phase::Backward => WAY_THERE + (1.0 - WAY_THERE) * part,
            Phase::Forward => part,
            Phase::ScoringStart | Phase::ScoringTuned => 1.0,
        };
        if phase != Phase::ScoringStart {
            let spent = seconds - *self.since.get_or_insert(seconds);
            // An iteration that is slower than foreseen says more than what was foreseen.
            let extrapolated = (share >= TELLING).then(|| spent / share);
            self.each = match (self.each, extrapolated) {
                (Some(each), Some(other)) => Some(each.max(other)),
                (each, other) => each.map(|each| each.max(spent)).or(other),
            };
        }
        let left = f64::from(self.settings.outer - iteration + 1) - share;
        let scoring = self.scoring.unwrap_or_default();
        self.post.send(&FromWorker::Progress(Progress {
            iteration,
            phase,
            step: step as u32,
            steps: steps as u32,
            seconds,
            seconds_left: self.each.filter(|_| !self.concluding).map(|each| left * each + scoring),
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
                self.state = Some(state.clone());
                self.each = Some(record.seconds);
                if record.differentiated {
                    self.measured = Some(record.seconds);
                }
                self.since = None;
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
        loss: record.outer_loss,
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
