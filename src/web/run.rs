//! A tuning run in the worker: what it tells the page, and how it takes turns with the page's messages.
// Long because what a run tells, keeps and can be told to do follow from one another at every turn of it.

use std::cell::{Cell, RefCell};
use std::mem::take;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use web_time::Instant;

use super::bench::{Bench, is_loss};
use super::kept::{self, Kept};
use super::plans::{Origin, Plans, Spoilt, Taken, plans, with_beside};
use super::post::{Post, macrotask};
use super::protocol::*;
use super::{beside, details};
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::outer::roughness;
use crate::bilevel::{Flow, SolveError};
use crate::engine::{EngineError, LocalFuture};
use crate::experiment::archive;
use crate::experiment::classifier::Classifier;
use crate::experiment::config::Differentiation;
use crate::experiment::error::TuneError;
use crate::experiment::mislabelled::auc;
use crate::experiment::model_file::Exported;
use crate::experiment::names;
use crate::experiment::record::{self, OuterRecord, RunResult, Score};
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
    /// To the end of an outer iteration.
    Step,
    Hold,
    Stop,
}

impl Control {
    pub fn pause(&self) {
        if matches!(self.wish.get(), Wish::Run | Wish::Step) {
            self.wish.set(Wish::Hold);
        }
    }

    pub fn step(&self) {
        if self.wish.get() != Wish::Stop {
            self.change(Wish::Step);
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
    pub data: Taken,
    pub control: Rc<Control>,
    /// Where it goes on from, as [`FromWorker::Saved`] has it.
    pub resume: Option<Vec<u8>>,
}

/// What a run can go on from.
#[derive(Serialize, Deserialize)]
struct Saved {
    state: TunerState,
    records: Vec<OuterRecord>,
    seconds: f64,
}

impl Job {
    /// Tunes, with every event posted; a lost device is replaced and the run goes on from its last outer iteration.
    /// Gives its network, if it has one.
    pub async fn run(&self, bench: &mut Bench, post: &Post) -> Result<Option<(Kept, NetworkInfo)>, Failure> {
        let mut engine = self.engine;
        let mut watcher = Watcher::new(&self.settings, &self.data, post, self.control.clone());
        if let Some(saved) = &self.resume {
            watcher.go_on_from(saved).map_err(|message| Failure { stage: Stage::Run, message })?;
        }
        let mut lost = false;
        let outcome = loop {
            let plans = plans(&self.settings, engine, &self.origin, self.data.scaled.clone());
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
        watcher.tell(Which::After, result.end.as_ref());
        // One that tells the next sample has no classes to name.
        let kept = model.as_ref().and_then(|model| Kept::of_run(&result, model).ok());
        let plans = plans(&self.settings, engine, &self.origin, self.data.scaled.clone());
        let mut random = None;
        if result.ending == record::Ending::Finished {
            // What is shown beside the result is no part of it: without it, the result stands.
            random = self.beside(engine, &plans, &result, bench, &mut watcher).await.unwrap_or_default();
            if let Some((kept, _)) = &kept {
                self.look_closer(&kept.classifier, bench, &mut watcher).await;
            }
        }
        let files = kept::files(&result, random.as_ref(), &watcher.records, model.as_deref());
        post.send(&FromWorker::Done(done(&result, watcher.seconds(), files)));
        if let Some(each) = watcher.measured.each()
            && let Ok(run) = bench.ready(&plans)
        {
            bench.correct(engine, &plans, &run.blueprint().map_err(failure)?.checkpoints, each);
        }
        Ok(kept)
    }

    /// What the run is held against; gives random search at equal cost, if that was asked for.
    async fn beside(
        &self,
        engine: Engine,
        plans: &Plans<'_>,
        tuned: &RunResult,
        bench: &mut Bench,
        watcher: &mut Watcher<'_>,
    ) -> Result<Option<RunResult>, TuneError> {
        let run = bench.ready(plans)?;
        let device = bench.engine(engine).await.map_err(SolveError::from)?;
        if let Some(spoilt) = &self.data.spoilt {
            let right = beside::right_labels(&spoilt.right, &run, &device, watcher).await?;
            watcher.tell(Which::RightLabels, right.as_ref());
        }
        if !self.settings.compare {
            return Ok(None);
        }
        let random = beside::random(tuned, &run, &device, watcher).await?;
        watcher.tell(Which::Random, random.as_ref().and_then(|random| random.end.as_ref()));
        Ok(random)
    }

    /// Tells what the network that was kept does with single windows and people.
    async fn look_closer(&self, classifier: &Classifier, bench: &mut Bench, watcher: &mut Watcher<'_>) {
        let Ok(device) = bench.engine(Engine::Cpu).await else { return };
        let best = watcher.state.as_ref().and_then(|state| state.best.as_ref());
        let weights = best.map(|best| best.hyperparameters.values(Kind::ExampleWeights)).unwrap_or_default();
        // Weights that are not tuned are all one.
        let tuned = self.settings.hyperparameters.contains(&Kind::ExampleWeights);
        let weights = if tuned { weights } else { vec![] };
        let Taken { source, scaled, .. } = &self.data;
        if let Ok(details) = details::of(classifier, source, &scaled.split, &weights, &device).await {
            watcher.post.send(&FromWorker::Details(details));
        }
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
        let trainings = f64::from(self.settings.budget) * with_beside(&self.settings);
        watcher.foreseen = bench.expected(engine).map(|run| run / trainings);
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
    fn new(settings: &'a Settings, data: &'a Taken, post: &'a Post, control: Rc<Control>) -> Self {
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
    fn at(&mut self, state: &TunerState) {
        (self.spent, self.cost) = (state.spent, state.next_cost());
        self.differentiates = state.leader.differentiates();
        self.since = self.seconds();
    }

    /// Takes up a run where it was saved, and tells what was before.
    fn go_on_from(&mut self, saved: &[u8]) -> Result<(), String> {
        let Saved { state, records, seconds } = archive::unpack_value(saved)?;
        self.tell(Which::Before, state.start.as_ref());
        for iteration in iterations(&records, &self.settings.hyperparameters) {
            self.post.send(&FromWorker::Outer(iteration));
        }
        (self.state, self.records, self.before) = (Some(state), records, seconds);
        Ok(())
    }

    /// Tells a network's scores, if it has some.
    fn tell(&self, which: Which, of: Option<&record::Evaluation>) {
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
        let Some(Spoilt { wrong, .. }) = &self.data.spoilt else { return };
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

/// Bins of weights.
const BINS: usize = 20;

/// What the page shows of the end of a run.
pub fn done(result: &RunResult, seconds: f64, files: Vec<RunFile>) -> Done {
    let (method, reason) = result.configuration.leader();
    Done {
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
        seconds,
        files,
    }
}

/// What the page shows of all iterations that are recorded.
pub fn iterations<'a>(records: &'a [OuterRecord], tuned: &'a [Kind]) -> impl Iterator<Item = OuterIteration> + use<'a> {
    records.iter().enumerate().map(|(at, record)| outer_iteration(record, &records[..at], tuned))
}

/// The loss that the last hypergradient before an iteration foretells of it, if it were a straight line. Nothing where
/// hyperparameters are too many to be recorded one by one.
fn foretold(record: &OuterRecord, before: &[OuterRecord], tuned: &[Kind]) -> Option<f64> {
    let last = before.iter().rev().find(|last| last.differentiated && !last.hypergradient.is_empty())?;
    let mut loss = last.outer_loss?;
    for (name, slope) in &last.hypergradient {
        let transform = tuned.iter().find(|kind| names::is_of(**kind, name))?.row().transform;
        let [from, to] =
            [last, record].map(|of| of.hyperparameters.get(name).map(|&value| transform.unconstrain(value)));
        loss += slope * (to? - from?);
    }
    loss.is_finite().then_some(loss)
}

/// How near an iteration that took a hypergradient is to the edge of stability, by the derivatives that tell.
fn rough(record: &OuterRecord) -> Option<f64> {
    let telling = [Kind::Lr, Kind::Momentum].map(|kind| record.hypergradient.get(kind.row().record));
    let largest = telling.into_iter().flatten().map(|slope| slope.abs()).reduce(f64::max)?;
    Some(roughness(record.outer_loss?, largest))
}

/// What the page shows of an iteration: the kinds that are tuned, in the order in which people name them.
fn outer_iteration(record: &OuterRecord, before: &[OuterRecord], tuned: &[Kind]) -> OuterIteration {
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
        roughness: rough(record),
        foretold: foretold(record, before, tuned),
        accepted: record.accepted,
        hyperparameters: hyperparameters.collect(),
        seconds: record.seconds,
    }
}

/// Scores, which a network that diverged has none of; the page's networks all classify.
pub fn evaluation(which: Which, of: &record::Evaluation) -> Option<Evaluation> {
    let (Score { loss: Some(loss), accuracy: Some(accuracy) }, Some(classes)) = (of.test, &of.test_classes) else {
        return None;
    };
    Some(Evaluation {
        which,
        loss,
        accuracy,
        macro_f1: classes.macro_f1,
        f1: classes.classes.iter().map(|class| class.f1).collect(),
        precision: classes.classes.iter().map(|class| class.precision).collect(),
        recall: classes.classes.iter().map(|class| class.recall).collect(),
        confusion: classes.confusion.iter().flatten().map(|&windows| windows as u32).collect(),
    })
}
