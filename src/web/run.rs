//! A tuning run in the worker, from its start to what is shown beside its result.

use std::rc::Rc;

use super::bench::{Bench, is_loss};
use super::control::Control;
use super::plans::{Plans, Taken, plans, with_beside};
use super::post::Post;
use super::protocol::*;
use super::records::{done, files, forecast};
use super::watcher::{Spent, Watcher};
use super::{beside, details};
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::{Flow, SolveError};
use crate::engine::EngineError;
use crate::experiment::classifier::Classifier;
use crate::experiment::error::TuneError;
use crate::experiment::model_file::Exported;
use crate::experiment::record::{self, RunResult};
use crate::experiment::training::{Report, Training};
use crate::experiment::tune::Tuner;

/// What a run needs.
pub struct Job {
    pub settings: Settings,
    pub engine: Engine,
    pub data: Taken,
    pub control: Rc<Control>,
    /// Where it goes on from, as [`FromWorker::Saved`] has it.
    pub resume: Option<Vec<u8>>,
}

impl Job {
    /// Tunes, with every event posted; a lost device is replaced and the run goes on from its last outer iteration.
    /// Says whether it has a network that names classes.
    pub async fn run(&self, bench: &mut Bench, post: &Post) -> Result<bool, Failure> {
        let mut engine = self.engine;
        let mut watcher = Watcher::new(&self.settings, &self.data, post, self.control.clone());
        if let Some(saved) = &self.resume {
            watcher.go_on_from(saved).map_err(|message| Failure { stage: Stage::Run, message })?;
        }
        let mut lost = false;
        let outcome = loop {
            let plans = plans(&self.settings, engine, &self.data).map_err(TuneError::from)?;
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
            return Ok(false);
        };
        watcher.tell(Which::After, result.end.as_ref());
        if let Some(forecast) = forecast(&result) {
            post.send(&FromWorker::Forecast(forecast));
        }
        // One that tells the next sample has no classes to name.
        let classifier = model.as_ref().and_then(|model| Classifier::open(model).ok());
        let plans = plans(&self.settings, engine, &self.data).map_err(TuneError::from)?;
        let mut random = None;
        if result.ending == record::Ending::Finished {
            // What is shown beside the result is no part of it: without it, the result stands.
            random = self.beside(engine, &plans, &result, bench, &mut watcher).await.unwrap_or_default();
            if let Some(classifier) = &classifier {
                self.look_closer(classifier, bench, &mut watcher).await;
            }
        }
        let files = files(&result, random.as_ref(), &watcher.records, model.as_deref());
        post.send(&FromWorker::Done(done(&result, watcher.seconds(), files)));
        if let Some(each) = watcher.measured.each()
            && let Ok(run) = bench.ready(&plans)
        {
            bench.correct(engine, &plans, &run.blueprint().map_err(failure)?.checkpoints, each);
        }
        Ok(classifier.is_some())
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
        if let Some(right) = &self.data.right {
            let right = beside::right_labels(right, &run, &device, watcher).await?;
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
    Failure { stage, ..error.into() }
}
