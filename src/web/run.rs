//! A tuning run in the worker: what it tells the page, and how it takes turns with the page's messages.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use js_sys::{Function, Promise};
use tsify::Tsify;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::MessageChannel;
use web_time::Instant;

use super::protocol::*;
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::{Flow, SolveError};
use crate::data::Source;
use crate::engine::{EngineError, LocalFuture};
use crate::experiment::config::{self, DataSource, TuneConfig};
use crate::experiment::model_file::Exported;
use crate::experiment::record::{self, OuterRecord, RunResult, Score};
use crate::experiment::tune::{Event, Observed, Observer, TuneError, Tuner, TunerState};
use crate::gpu::GpuEngine;

/// Where messages to the page go.
#[derive(Clone)]
pub struct Post(pub Function);

impl Post {
    pub fn send(&self, message: &FromWorker) {
        // Plain values always turn into JavaScript, and the function is the worker's own `postMessage`.
        let value = message.into_js().expect("messages are plain values");
        let _ = self.0.call1(&JsValue::NULL, &value);
    }
}

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

/// A device that is lost twice within this time will be lost again.
const RECOVERY: Duration = Duration::from_secs(60);

/// Tunes, with every event posted; a lost device is replaced and the run goes on from its last outer iteration.
pub async fn tune(
    settings: &Settings,
    origin: DataSource,
    source: &Source,
    post: &Post,
    control: Rc<Control>,
) -> Result<Done, Failure> {
    let config = configuration(settings, origin);
    let mut watcher = Watcher::new(settings, post, control);
    let mut lost: Option<Instant> = None;
    let (result, model) = loop {
        match attempt(&config, source, &mut watcher).await {
            Err(TuneError::Solve(SolveError::Engine(EngineError::DeviceLost { .. })))
                if lost.is_none_or(|before| before.elapsed() > RECOVERY) =>
            {
                lost = Some(Instant::now());
                post.send(&FromWorker::Recovering);
            }
            outcome => break outcome.map_err(failure)?,
        }
    };
    if let Some(end) = &result.end {
        post.send(&FromWorker::Evaluation(evaluation(Which::After, end)));
    }
    Ok(Done {
        ending: match result.ending {
            record::Ending::Running | record::Ending::Finished => Ending::Finished,
            record::Ending::Stopped => Ending::Stopped,
            record::Ending::Diverged => Ending::Diverged,
        },
        best: result.best_iteration,
        seconds: watcher.seconds(),
        result: serde_json::to_string_pretty(&result).expect("records are plain values"),
        model,
    })
}

/// One engine's part of a run: gives the record and the model's file if it comes to the end.
async fn attempt(
    config: &TuneConfig,
    source: &Source,
    watcher: &mut Watcher<'_>,
) -> Result<(RunResult, Vec<u8>), TuneError> {
    let mut engine = GpuEngine::new("auto").await.map_err(SolveError::from)?;
    let mut tuner = Tuner::new(&mut engine, config, source, watcher.state.clone()).await?;
    let ending = tuner.run(watcher).await?;
    watcher.concluding = true;
    let (result, weights) = tuner.conclude(ending, watcher).await?;
    let hyperparameters = result.end.as_ref().map(|end| &end.hyperparameters).expect("a concluded run has its end");
    let model = Exported::new(tuner.session().problem(), tuner.scale()).pack(&weights, hyperparameters);
    Ok((result, model))
}

fn configuration(settings: &Settings, data: DataSource) -> TuneConfig {
    TuneConfig {
        data,
        network: match settings.network {
            Network::Narrow => config::Network::Narrow,
            Network::Paper => config::Network::Paper,
        },
        steps: settings.steps,
        outer: settings.outer,
        batch: settings.batch,
        hyperparameters: settings.hyperparameters.iter().map(|&group| kind(group)).collect(),
        seed: settings.seed,
        ..TuneConfig::default()
    }
}

fn kind(group: Group) -> Kind {
    match group {
        Group::Lr => Kind::Lr,
        Group::Momentum => Kind::Momentum,
        Group::L2 => Kind::L2,
        Group::ExampleWeights => Kind::ExampleWeights,
    }
}

fn failure(error: TuneError) -> Failure {
    let stage = match error {
        TuneError::Solve(SolveError::Engine(EngineError::NoAdapter { .. })) => Stage::Device,
        _ => Stage::Run,
    };
    Failure { stage, message: error.to_string() }
}

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
    /// Seconds of the last outer iteration.
    each: Option<f64>,
    /// The run is over but for the last scores, which a stop does not spare.
    concluding: bool,
    /// Where the run can go on after its device is lost.
    state: Option<TunerState>,
}

impl<'a> Watcher<'a> {
    fn new(settings: &'a Settings, post: &'a Post, control: Rc<Control>) -> Self {
        let (begun, held) = (Instant::now(), Duration::ZERO);
        Watcher { settings, post, control, begun, held, told: None, each: None, concluding: false, state: None }
    }

    /// Seconds since the start without the pauses.
    fn seconds(&self) -> f64 {
        (self.begun.elapsed() - self.held).as_secs_f64()
    }

    fn progress(&mut self, iteration: u32, done: usize, total: usize) {
        let steps = self.settings.steps as usize;
        let (phase, step, steps) = if self.concluding {
            (Phase::ScoringTuned, done, total)
        } else if done == total && self.state.is_none() {
            (Phase::ScoringStart, done, total)
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
        let left = f64::from(self.settings.outer - iteration + 1) - done as f64 / total as f64;
        self.post.send(&FromWorker::Progress(Progress {
            iteration,
            phase,
            step: step as u32,
            steps: steps as u32,
            seconds: self.seconds(),
            seconds_left: self.each.filter(|_| !self.concluding).map(|each| left * each),
        }));
    }
}

impl Observer for Watcher<'_> {
    fn event(&mut self, event: Event) -> Observed {
        match event {
            Event::Progress { iteration, done, total } => self.progress(iteration, done, total),
            Event::InnerLosses { iteration, losses } => {
                let losses = losses.iter().map(|&loss| loss as f32).collect();
                self.post.send(&FromWorker::InnerLosses { iteration, losses });
            }
            Event::Start(start) => self.post.send(&FromWorker::Evaluation(evaluation(Which::Before, start))),
            Event::Outer { record, state, .. } => {
                self.state = Some(state.clone());
                self.each = Some(record.seconds);
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
            if self.control.wish.get() == Wish::Stop && !self.concluding { Flow::Stop } else { Flow::Continue }
        })
    }
}

/// Lets the worker take messages. A resolved promise would not: it goes on before the next message is looked at.
async fn macrotask() {
    let Ok(channel) = MessageChannel::new() else { return };
    let turn = Promise::new(&mut |resolve, _| channel.port1().set_onmessage(Some(&resolve)));
    if channel.port2().post_message(&JsValue::NULL).is_ok() {
        let _ = JsFuture::from(turn).await;
    }
    channel.port1().close();
}

/// What the page shows of an iteration: the groups that are tuned, in the order in which people name them.
fn outer_iteration(record: &OuterRecord, tuned: &[Group]) -> OuterIteration {
    let belongs = |group: Group, name: &str| match group {
        Group::Lr => name == "learning_rate",
        Group::Momentum => name == "momentum",
        Group::L2 => name.starts_with("l2."),
        Group::ExampleWeights => name.starts_with("example_weights."),
    };
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

fn evaluation(which: Which, of: &record::Evaluation) -> Evaluation {
    let Score { loss, accuracy } = of.test;
    let classes = &of.test_classes;
    Evaluation {
        which,
        loss,
        accuracy,
        macro_f1: classes.macro_f1,
        f1: classes.classes.iter().map(|class| class.f1).collect(),
        confusion: classes.confusion.iter().flatten().map(|&windows| windows as u32).collect(),
    }
}
