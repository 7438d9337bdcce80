//! The main job: tune a network's hyperparameters by differentiating through its training.

use std::rc::Rc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use web_time::Instant;

pub use super::event::{Event, Observed, Observer};
pub use super::state::{Best, TunerState};

use super::archive;
use super::error::TuneError;
use super::event::Watched;
use super::names;
use super::prepared::Prepared;
use super::record::{
    Classification, DeviceRecord, Ending, Evaluation, Named, OuterRecord, RunResult, Score, Trivial, moved,
};
use super::setup::{self, set, trivial};
use super::training::{self, ByUnits, Report, Training};
use crate::bilevel::hyperparameters::Hyperparameters;
use crate::bilevel::outer::Variables;
use crate::bilevel::{Session, SetEvaluation, SolveError};
use crate::data::Dataset;
use crate::rig::Device;

/// A run on a device.
pub struct Tuner {
    session: Session,
    prepared: Rc<Prepared>,
    trivial: Option<Trivial>,
    /// Every training has batches, dropout and noise of its own.
    redraws: bool,
    state: TunerState,
    /// The network of the best iteration, unless that was before the run was resumed.
    best_weights: Option<Vec<f32>>,
    /// Outer loss of the last iteration.
    outer_loss: Option<f64>,
}

/// How far the seeds of two iterations are apart: more than people number their seeds by.
const APART: u64 = 1_000_003;

/// What a run keeps of itself to go on from.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// See [`Prepared::common`].
    of: Value,
    state: TunerState,
    /// Of the last iteration.
    outer_loss: Option<f64>,
    network: Option<Vec<f32>>,
}

impl Tuner {
    /// Puts a run on a device. With a state the run goes on from there.
    pub async fn new(device: &Device, prepared: Rc<Prepared>, resume: Option<TunerState>) -> Result<Tuner, TuneError> {
        let state = match resume {
            Some(state) => resumable(state, &prepared.start)?,
            None => first_state(&prepared),
        };
        prepared.blueprint()?;
        let session = prepared.session(device, prepared.method()?).await?;
        let trivial = trivial(&prepared.data.split);
        // Of folds the network is not kept.
        let redraws = prepared.config.leader().0.redraws() && prepared.folds.is_none();
        Ok(Tuner { session, prepared, trivial, redraws, state, best_weights: None, outer_loss: None })
    }

    /// The same with one set of batches, dropout and noise for all trainings: for hyperparameters that another training
    /// is to have, since a network that was lucky in its draws says little of them.
    pub fn with_fixed_draws(self) -> Tuner {
        Tuner { redraws: false, ..self }
    }

    /// The training that it runs.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What it remembers between outer iterations.
    pub fn state(&self) -> &TunerState {
        &self.state
    }

    /// Evaluates the network with the best hyperparameters found, which is trained again only where it is not known;
    /// also gives its weights. Whoever has stopped a run does not wait for a training: without a network there is no
    /// evaluation then.
    pub async fn conclude(
        &mut self,
        ending: Ending,
        observer: &mut dyn Observer,
    ) -> Result<(RunResult, Option<Vec<f32>>), TuneError> {
        if ending == Ending::Stopped && self.best_weights.is_none() {
            return Ok((self.result(ending, None), None));
        }
        let point = match &self.state.best {
            Some(best) => best.hyperparameters.clone(),
            None => self.prepared.start.clone(),
        };
        if self.best_weights.is_none() {
            self.redraw(self.state.best.as_ref().map_or(1, |best| best.iteration))?;
            let mut host = Watched::quiet(observer);
            let trained = self.session.train_at(&point, &mut host).await;
            host.settle(trained)?;
        }
        if self.prepared.folds.is_some() {
            let (end, weights) = self.evaluate(&point, observer).await?;
            return Ok((self.result(ending, Some(end)), weights));
        }
        let weights = match self.best_weights.clone() {
            Some(weights) => weights,
            None => weights(&mut self.session).await?,
        };
        // Scored is what is kept, in single precision, on whatever engine and however the run got here.
        // Of a training that diverged, the last weights are still there.
        if weights.iter().all(|weight| weight.is_finite()) {
            self.session.set_final_network(&weights)?;
        }
        let (end, _) = self.evaluate(&point, observer).await?;
        Ok((self.result(ending, Some(end)), Some(weights)))
    }

    /// The best hyperparameters so far and the network trained with them, where this is known.
    pub fn best_network(&self) -> Option<(Named, &[f32])> {
        let (best, weights) = (self.state.best.as_ref()?, self.best_weights.as_ref()?);
        Some((self.named(&best.hyperparameters), weights))
    }

    /// The record of the run so far, with the evaluation of its end if that was made.
    pub fn result(&self, ending: Ending, end: Option<Evaluation>) -> RunResult {
        RunResult {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration: self.prepared.config.clone(),
            seed: self.prepared.config.seed,
            device: DeviceRecord::from(&self.session.device().info()),
            data: self.prepared.record(),
            ending,
            settled: self.state.has_settled(&self.prepared.config),
            iterations: self.state.iteration,
            best_iteration: self.state.best.as_ref().map_or(0, |best| best.iteration),
            spent: self.state.spent,
            hypergradients: self.state.hypergradients,
            past_edge: self.state.past_edge,
            best_outer_loss: self.state.best.as_ref().map(|best| best.outer_loss),
            selection_loss: self.state.best.as_ref().and_then(|best| best.selection_loss),
            start: self.state.start.clone(),
            end,
            trivial: self.trivial,
            seconds: self.state.seconds,
            peak_bytes: self.state.peak_bytes,
            dispatches: self.state.dispatches,
        }
    }

    /// Makes the draws of an iteration's training, where each has its own: at first those that `train` would make.
    fn redraw(&mut self, iteration: u32) -> Result<(), SolveError> {
        if !self.redraws {
            return Ok(());
        }
        let apart = if iteration > 1 { APART * u64::from(iteration) } else { 0 };
        self.session.redraw(u64::from(self.prepared.config.seed) + apart)
    }

    /// Scores what the last sweep has trained, at this point, on all three sets. Of folds, each is scored on the people
    /// whom it has not seen, and a training on all of them on the others; its network is given, too.
    async fn evaluate(
        &mut self,
        point: &Hyperparameters,
        observer: &mut dyn Observer,
    ) -> Result<(Evaluation, Option<Vec<f32>>), TuneError> {
        let prepared = self.prepared.clone();
        let (split, mut host) = (&prepared.data.split, Watched::quiet(observer));
        let (evaluations, network) = match &prepared.folds {
            None => {
                let sets = [&split.train, &split.validation, &split.test];
                (evaluations(&mut self.session, &sets, &mut host).await?, None)
            }
            Some(folds) => {
                let validated = folds.validated(&mut self.session, &mut host).await;
                let validated = host.settle(validated)?;
                let mut joined = folds.joined(&self.session.device(), &prepared.config, &split.sizes()).await?;
                let trained = joined.train_at(point, &mut host).await;
                host.settle(trained)?;
                let mut all = evaluations(&mut joined, &[&folds.pool, &split.test], &mut host).await?;
                all.insert(1, validated);
                (all, Some(weights(&mut joined).await?))
            }
        };
        let test = &evaluations[2];
        let named = test.classes > 0 && test.loss.is_finite();
        let rows = test.confusion.chunks(test.classes.max(1));
        let confusion = rows.map(|row| row.iter().map(|&n| u64::from(n)).collect()).collect();
        let evaluation = Evaluation {
            hyperparameters: self.named(point),
            train: Score::of(&evaluations[0]),
            validation: Score::of(&evaluations[1]),
            test: Score::of(test),
            test_classes: named.then(|| Classification::from_confusion(&split.test.about().outputs, confusion)),
        };
        Ok((evaluation, network))
    }

    fn ending(&self) -> Ending {
        self.state.ending(&self.prepared.config).unwrap_or(Ending::Running)
    }

    /// Constrained values by name.
    fn named(&self, point: &Hyperparameters) -> Named {
        names::values(point, self.session.problem())
    }
}

#[async_trait(?Send)]
impl ByUnits for Tuner {
    fn report(&self) -> Report {
        let ending = self.ending();
        Report { done: self.state.iteration.into(), outer_loss: self.outer_loss, ending }
    }

    /// One outer iteration: train, differentiate if that is asked for, step.
    async fn unit(&mut self, observer: &mut dyn Observer) -> Result<(), TuneError> {
        let (begin, before) = (Instant::now(), self.session.device().counters());
        let iteration = self.state.iteration + 1;
        let (point, cost) = (self.state.next.clone(), self.state.next_cost());
        let differentiates = self.state.leader.differentiates();
        let shares = [0.0, 1.0].map(|part| self.state.share(&self.prepared.config, part));
        self.redraw(iteration)?;
        let mut host = Watched::of(observer, iteration, shares);
        let estimate = match differentiates {
            true => self.session.estimate_at(&point, &mut host).await,
            false => self.session.train_at(&point, &mut host).await,
        };
        let estimate = host.settle(estimate)?.scaled(1.0 / self.session.members() as f64);
        let seconds = begin.elapsed().as_secs_f64();
        let after = self.session.device().counters();
        observed(observer.event(Event::InnerLosses { iteration, losses: &estimate.inner_losses }))?;
        if self.state.start.is_none() {
            let (start, _) = self.evaluate(&point, observer).await?;
            observed(observer.event(Event::Start(&start)))?;
            self.state.start = Some(start);
        }
        let selection_loss = match (&self.prepared.clone().selection, estimate.diverged()) {
            (Some(windows), false) => {
                let mut host = Watched::quiet(observer);
                let found = evaluations(&mut self.session, &[windows], &mut host).await?;
                // A loss that is no number is no reason to choose.
                Some(found[0].loss.min(f64::MAX))
            }
            _ => None,
        };
        let outer_loss = if estimate.diverged() { f64::NAN } else { estimate.outer_loss };
        let variables = Variables::of(&point, |_| 0.0);
        let past_edge = !estimate.hypergradient.is_empty() && variables.past_edge(outer_loss, &estimate.hypergradient);
        let accepted = self.state.leader.advance(&mut self.state.next, &estimate);
        self.state.iteration = iteration;
        self.state.spent += cost;
        self.state.hypergradients += u32::from(differentiates);
        self.state.past_edge += u32::from(past_edge);
        self.state.note(&point, outer_loss, selection_loss);
        self.state.seconds += seconds;
        self.state.dispatches += after.dispatches - before.dispatches;
        self.state.peak_bytes = self.state.peak_bytes.max(after.peak_bytes);
        let record = OuterRecord {
            iteration,
            spent: self.state.spent,
            outer_loss: outer_loss.is_finite().then_some(outer_loss),
            selection_loss,
            diverged_at_step: estimate.bad_step.map(|step| step as u32),
            residual: estimate.residual,
            inner_gradient: estimate.inner_gradient,
            hyperparameters: self.named(&point),
            moved: moved(&estimate.records, 0..estimate.bad_step.unwrap_or(self.prepared.problem.steps)),
            differentiated: differentiates,
            hypergradient: names::derivatives(&point, self.session.problem(), &estimate.hypergradient),
            past_edge,
            accepted,
            seconds,
            peak_bytes: after.peak_bytes,
            dispatches: after.dispatches - before.dispatches,
            submits: after.submits - before.submits,
            readbacks: after.readbacks - before.readbacks,
            buffers_created: after.buffers_created - before.buffers_created,
        };
        self.outer_loss = record.outer_loss;
        let is_best = self.state.best.as_ref().is_some_and(|best| best.iteration == iteration);
        if is_best && self.prepared.folds.is_none() {
            self.best_weights = Some(weights(&mut self.session).await?);
        }
        let result = self.result(Ending::Running, None);
        let (state, weights) = (&self.state, self.best_weights.as_deref().filter(|_| is_best));
        observed(observer.event(Event::Outer { record: &record, state, result: &result, weights }))
    }
}

#[async_trait(?Send)]
impl Training for Tuner {
    /// Outer iterations. One that is stopped midway is run again.
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError> {
        training::advance(self, units, observer).await
    }

    /// The network with the best hyperparameters so far, beside that of the start values.
    async fn score(&mut self, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let (result, _) = self.conclude(self.ending(), observer).await?;
        Ok(result.metrics())
    }

    /// What the run has cost is no part of it.
    async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
        let state = TunerState { seconds: 0.0, dispatches: 0, peak_bytes: 0, ..self.state.clone() };
        let (of, outer_loss) = (self.prepared.common(), self.outer_loss);
        Ok(archive::pack_value(&Saved { of, state, outer_loss, network: self.best_weights.clone() }))
    }

    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError> {
        let Saved { of, state, outer_loss, network } = archive::unpack_value(saved).map_err(TuneError::Resume)?;
        self.prepared.check_common(&of)?;
        let done = state.iteration;
        if let Some(all) = self.prepared.config.outer.filter(|all| done > *all) {
            let message = format!("it has {done} outer iterations behind it, more than `outer`, {all}");
            return Err(TuneError::Resume(message));
        }
        self.state = resumable(state, &self.prepared.start)?;
        (self.best_weights, self.outer_loss) = (network, outer_loss);
        Ok(())
    }

    /// The point of the next outer iteration, from which the outer optimiser begins anew.
    fn set(&mut self, values: &Value) -> Result<(), TuneError> {
        self.state.next = self.prepared.changed(&self.state.next, values)?;
        self.state.leader = setup::leader(&self.prepared.config, &self.state.next);
        Ok(())
    }
}

/// The network that a sweep of a session has trained.
async fn weights(session: &mut Session) -> Result<Vec<f32>, SolveError> {
    Ok(session.final_network().await?.into_iter().map(|w| w as f32).collect())
}

/// What it does on these sets.
async fn evaluations(
    session: &mut Session,
    sets: &[&Dataset],
    host: &mut Watched<'_>,
) -> Result<Vec<SetEvaluation>, TuneError> {
    let mut all = vec![];
    for part in sets {
        let evaluation = session.evaluate(&set(part), host).await;
        all.push(host.settle(evaluation)?);
    }
    Ok(all)
}

fn first_state(prepared: &Prepared) -> TunerState {
    let Prepared { config, problem, start, .. } = prepared;
    TunerState {
        iteration: 0,
        spent: 0.0,
        training: prepared.members() as f64,
        price: setup::price(config, problem, start),
        hypergradients: 0,
        past_edge: 0,
        leader: setup::leader(config, start),
        next: start.clone(),
        best: None,
        gained: None,
        diverged: 0,
        start: None,
        seconds: 0.0,
        dispatches: 0,
        peak_bytes: 0,
    }
}

/// A state that fits the configuration.
fn resumable(state: TunerState, start: &Hyperparameters) -> Result<TunerState, TuneError> {
    let shape = |h: &Hyperparameters| h.groups.iter().map(|g| (g.kind, g.values.len(), g.tuned)).collect::<Vec<_>>();
    if shape(&state.next) == shape(start) && state.leader.variables() == start.variables().len() {
        Ok(state)
    } else {
        Err(TuneError::Resume("its state was written with other hyperparameters or other data".to_owned()))
    }
}

fn observed(result: Observed) -> Result<(), TuneError> {
    result.map_err(TuneError::Observer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bilevel::Memory;
    use crate::cpu::CpuEngine;
    use crate::data::har::builtin;
    use crate::experiment::config::TuneConfig;
    use crate::experiment::event::Nobody;
    use crate::experiment::leader::OuterMethod;
    use crate::rig::Unattended;

    #[test]
    fn each_training_has_draws_of_its_own_and_the_best_can_be_made_again() {
        let quick = TuneConfig { steps: 6, batch: Some(8), validation_windows: 16, ..TuneConfig::quick() };
        let config = TuneConfig { outer_method: OuterMethod::Random, patience: 0, ..quick };
        let prepared = Rc::new(Prepared::new(&config, &builtin::subset().unwrap()).unwrap());
        let device = Device::new(CpuEngine::new(1));
        let tuner = || pollster::block_on(Tuner::new(&device, prepared.clone(), None)).unwrap();
        let mut session = pollster::block_on(prepared.session(&device, Memory::StoreAll)).unwrap();
        let mut loss = |point: &Hyperparameters, seed: u64| {
            session.redraw(seed).unwrap();
            pollster::block_on(session.train_at(point, &mut Unattended)).unwrap().outer_loss
        };
        let seed = u64::from(config.seed);

        let mut run = tuner();
        let mut fixed = tuner().with_fixed_draws();
        for iteration in 1..=5 {
            let point = run.state.next.clone();
            assert_eq!(point, fixed.state.next, "random points do not depend on losses");
            let own = if iteration > 1 { seed + APART * iteration } else { seed };
            for (tuner, seed) in [(&mut run, own), (&mut fixed, seed)] {
                pollster::block_on(tuner.advance(1, &mut Nobody)).unwrap();
                assert_eq!(tuner.outer_loss, Some(loss(&point, seed)), "iteration {iteration}");
            }
        }
        assert_ne!(run.outer_loss, fixed.outer_loss);

        let best = run.state.best.as_ref().unwrap();
        assert!(best.iteration > 1, "a draw of its own is the best");
        let mut resumed = pollster::block_on(Tuner::new(&device, prepared.clone(), Some(run.state.clone()))).unwrap();
        let network = run.best_weights.clone();
        let (_, again) = pollster::block_on(resumed.conclude(Ending::Finished, &mut Nobody)).unwrap();
        assert_eq!(again, network);
    }
}
