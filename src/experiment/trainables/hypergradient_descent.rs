//! Networks trained on MNIST with and without hypergradient descent, as its authors' program does it (Baydin et al. 2018).

mod protocol;

use std::rc::Rc;

use async_trait::async_trait;
use schemars::{Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::protocol::{BATCH, PENALTY, PIXELS, RATE, penalty, penalty_at, scalar};
pub use self::protocol::{Settings, Variant};
use super::settings;
use crate::bilevel::{
    CHUNK, Inner, Loss, Pace, Plain, Problem, Regularizer, Session, SessionData, Set, Snapshot, SolveError, Source,
};
use crate::data::catalog::MNIST;
use crate::data::{DataError, Standardizer};
use crate::engine::Values;
use crate::experiment::archive;
use crate::experiment::error::TuneError;
use crate::experiment::event::{Observer, Watched};
use crate::experiment::library::Library;
use crate::experiment::record::{Ending, Named};
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::{self, ByUnits, Report, Training};
use crate::nn::Model;
use crate::rig::{Compiled, Device, Monitor};

/// Epochs over all training images, each in an order of its own, its last batch the smaller one that is left.
pub struct Descend;

impl Trainable for Descend {
    fn name(&self) -> &'static str {
        "hypergradient-descent"
    }

    fn about(&self) -> &'static str {
        "Trains a network on MNIST with or without hypergradient descent on its learning rate."
    }

    fn unit(&self) -> &'static str {
        "epoch"
    }

    fn schema(&self) -> Schema {
        schema_for!(Settings)
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let settings: Settings = settings::read(settings)?;
        let model = settings.model()?;
        let images = library.images(&MNIST)?;
        let scale = Standardizer { mean: vec![255.0 * PIXELS[0]], std: vec![255.0 * PIXELS[1]] };
        let [train, test] = &*images;
        let (given, wanted) = (train.len(), settings.images.unwrap_or(train.len()));
        if given < wanted || wanted < BATCH {
            return Err(DataError::TooFew { name: MNIST.name, given, wanted: wanted.max(BATCH) }.into());
        }
        let train = train.select(&(0..wanted).collect::<Vec<_>>()).scaled(&scale)?;
        let test = test.clone().scaled(&scale)?;
        let [train, test] = [&train, &test].map(Set::from);
        Ok(Box::new(Descent(Rc::new(Trial { settings, model, train, test, compiled: Compiled::default() }))))
    }
}

/// A trial made ready.
struct Trial {
    settings: Settings,
    model: Model,
    train: Set,
    test: Set,
    compiled: Compiled,
}

impl Trial {
    /// Steps of an epoch.
    fn steps(&self) -> usize {
        self.train.count.div_ceil(BATCH)
    }

    /// Images of the last batch of an epoch where it is not a whole one.
    fn rest(&self) -> Option<usize> {
        Some(self.train.count % BATCH).filter(|&rest| rest > 0)
    }

    fn problem(&self, batch: usize) -> Problem {
        let optimizer = self.settings.variant.dynamics(&self.model);
        Problem {
            bytes: self.train.x.scale().cloned(),
            batch,
            batches: Source::Table,
            regularizer: Some(Regularizer::new(1, penalty)),
            ..Problem::new(self.model.clone(), Loss::CrossEntropy, optimizer, self.steps(), self.train.count)
        }
    }

    fn lambda(&self, problem: &Problem) -> Vec<f64> {
        let layout = problem.layout();
        let mut lambda = vec![0.0; layout.len()];
        lambda[layout.log_lr].fill(RATE.ln());
        for (place, spec) in layout.scalars.zip(problem.optimizer.scalars()) {
            lambda[place] = scalar(spec.name, spec.usual);
        }
        lambda[layout.regularizer].fill(PENALTY.ln());
        lambda
    }

    async fn session(&self, device: &Device, batch: usize) -> Result<Session, TuneError> {
        let problem = self.problem(batch);
        let data = SessionData {
            train: self.train.clone(),
            validation: self.test.clone(),
            initial: self.settings.initial(&self.model),
            seed: 0,
            batches: vec![0; self.steps() * batch],
            masks: vec![],
        };
        // Programs go by name, and those of the last batch are others.
        let other = Compiled::default();
        let compiled = if batch == BATCH { &self.compiled } else { &other };
        Ok(Session::with(device, problem, &data, Plain, compiled).await?)
    }
}

struct Descent(Rc<Trial>);

#[async_trait(?Send)]
impl Job for Descent {
    fn problem(&self) -> String {
        let Settings { hidden, variant, .. } = &self.0.settings;
        format!("MNIST, hidden layers {hidden:?}, {variant:?}")
    }

    fn units(&self) -> u64 {
        self.0.settings.epochs.into()
    }

    async fn measure(&self, device: &Device, seconds: f64) -> Result<Pace, TuneError> {
        let mut session = self.0.session(device, BATCH).await?;
        let lambda = self.0.lambda(session.problem());
        Ok(session.measure(&lambda, seconds).await?)
    }

    fn seconds(&self, pace: &Pace) -> Result<f64, TuneError> {
        let scoring = pace.evaluation * self.0.test.count.div_ceil(CHUNK) as f64;
        Ok(f64::from(self.0.settings.epochs) * (self.0.steps() as f64 * pace.step + scoring))
    }

    async fn open(&self, device: &Device) -> Result<Box<dyn Training>, TuneError> {
        let whole = self.0.session(device, BATCH).await?;
        let rest = match self.0.rest() {
            Some(rest) => Some(self.0.session(device, rest).await?),
            None => None,
        };
        let curve = Curve { settings: self.0.settings.clone(), epochs: vec![], diverged: false };
        Ok(Box::new(Descending { trial: self.0.clone(), whole, rest, curve, state: None }))
    }
}

struct Descending {
    trial: Rc<Trial>,
    /// Steps on whole batches.
    whole: Session,
    /// The step on what is left, where something is: a program of its own, with the same state.
    rest: Option<Session>,
    curve: Curve,
    /// The end of the last epoch.
    state: Option<Snapshot>,
}

/// How the training has gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Curve {
    settings: Settings,
    epochs: Vec<Epoch>,
    diverged: bool,
}

/// An epoch. Losses are means over its batches, without the penalty.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Epoch {
    train_loss: f64,
    test_loss: f64,
    test_accuracy: f64,
    /// Mean of the learning rate over the steps.
    rate: f64,
}

/// What is kept of a training.
#[derive(Serialize, Deserialize)]
struct Saved {
    curve: Curve,
    state: Vec<f64>,
    steps: u32,
}

impl Descending {
    /// The steps of an epoch from `first` on, on a session that has so large batches; the last state.
    async fn steps(
        trial: &Trial,
        session: &mut Session,
        epoch: &mut Recorded,
        (first, count): (usize, usize),
        monitor: &mut dyn Monitor,
    ) -> Result<Snapshot, SolveError> {
        let batch = session.problem().batch;
        let mut table = vec![0; trial.steps() * batch];
        table[first * batch..][..count * batch].copy_from_slice(&epoch.order[first * BATCH..][..count * batch]);
        session.fill("batches", Values::U32(&table))?;
        let lambda = trial.lambda(session.problem());
        session.advance(&lambda, count, monitor).await?;
        for (name, values) in [("losses", &mut epoch.losses), ("learning_rate", &mut epoch.rates)] {
            let recorded = session.array(name).await?;
            values.extend(recorded.iter().flat_map(|all| &all[first..first + count]));
        }
        session.save().await
    }

    /// None where it diverges.
    async fn trained(&mut self, done: u32, monitor: &mut dyn Monitor) -> Result<Option<Epoch>, SolveError> {
        let trial = self.trial.clone();
        let weights = trial.model.parameter_count();
        match &self.state {
            Some(state) => self.whole.load(state)?,
            None => self.whole.begin_anew()?,
        }
        let before = match &self.state {
            Some(state) => penalty_at(&state.state[..weights]),
            None => penalty_at(&trial.settings.initial(&trial.model)),
        };
        let order = trial.settings.order(done, trial.train.count);
        let mut recorded = Recorded { order, losses: vec![], rates: vec![] };
        let whole = trial.train.count / BATCH;
        let mut state = Self::steps(&trial, &mut self.whole, &mut recorded, (0, whole), monitor).await?;
        let last = match &mut self.rest {
            Some(_) if !state.state.iter().all(|value| value.is_finite()) => return Ok(None),
            Some(rest) => {
                rest.load(&state)?;
                state = Self::steps(&trial, rest, &mut recorded, (whole, 1), monitor).await?;
                rest
            }
            None => &mut self.whole,
        };
        let test = last.evaluate(&trial.test, monitor).await?;
        let after = penalty_at(&state.state[..weights]);
        self.state = Some(state);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok(Some(Epoch {
            // The penalty changes little in an epoch.
            train_loss: mean(&recorded.losses) - 0.5 * (before + after),
            test_loss: test.loss,
            test_accuracy: test.accuracy(),
            rate: if recorded.rates.is_empty() { RATE } else { mean(&recorded.rates) },
        }))
    }
}

/// What the steps of an epoch go through and leave.
struct Recorded {
    order: Vec<u32>,
    losses: Vec<f64>,
    rates: Vec<f64>,
}

#[async_trait(?Send)]
impl ByUnits for Descending {
    fn report(&self) -> Report {
        let done = self.curve.epochs.len() as u64;
        let all = u64::from(self.trial.settings.epochs);
        let ending = match done {
            _ if self.curve.diverged => Ending::Diverged,
            done if done == all => Ending::Finished,
            _ => Ending::Running,
        };
        let outer_loss = self.curve.epochs.last().map(|epoch| epoch.test_loss).filter(|loss| loss.is_finite());
        Report { done, outer_loss, ending }
    }

    /// An epoch from the state that the last one has left.
    async fn unit(&mut self, observer: &mut dyn Observer) -> Result<(), TuneError> {
        let done = self.curve.epochs.len() as u32;
        let shares = [done, done + 1].map(|done| f64::from(done) / f64::from(self.trial.settings.epochs));
        let mut watched = Watched::of(observer, done + 1, shares);
        let trained = self.trained(done, &mut watched).await;
        match watched.settle(trained)?.filter(|epoch| (epoch.train_loss + epoch.test_loss).is_finite()) {
            Some(epoch) => self.curve.epochs.push(epoch),
            None => self.curve.diverged = true,
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl Training for Descending {
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError> {
        training::advance(self, units, observer).await
    }

    /// The whole curve: each number with the epoch behind it, and those of the last one.
    async fn score(&mut self, _: &mut dyn Observer) -> Result<Named, TuneError> {
        let mut metrics = Named::new();
        for (k, epoch) in self.curve.epochs.iter().enumerate() {
            let last = k + 1 == self.curve.epochs.len();
            for (name, value) in [
                ("train_loss", epoch.train_loss),
                ("test_loss", epoch.test_loss),
                ("test_accuracy", epoch.test_accuracy),
                ("learning_rate", epoch.rate),
            ] {
                metrics.insert(format!("{name}.{:03}", k + 1), value);
                metrics.extend(last.then(|| (name.to_owned(), value)));
            }
        }
        metrics.retain(|_, value| value.is_finite());
        Ok(metrics)
    }

    async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
        let (state, steps) = match &self.state {
            Some(Snapshot { state, steps, .. }) => (state.iter().map(|&value| value.into()).collect(), *steps),
            None => (vec![], 0),
        };
        Ok(archive::pack_value(&Saved { curve: self.curve.clone(), state, steps }))
    }

    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError> {
        let Saved { curve, state, steps } = archive::unpack_value(saved).map_err(TuneError::Resume)?;
        let same = Settings { epochs: self.trial.settings.epochs, ..curve.settings.clone() } == self.trial.settings;
        if !same || curve.epochs.len() > self.trial.settings.epochs as usize {
            return Err(TuneError::Resume("it was saved with other settings".to_owned()));
        }
        let state: Vec<f32> = state.into_iter().map(|value| value as f32).collect();
        self.state = (!state.is_empty()).then(|| Snapshot { parts: self.whole.inner().state(), state, steps });
        self.curve = Curve { settings: self.trial.settings.clone(), ..curve };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::CpuEngine;
    use crate::experiment::event::Nobody;
    use crate::experiment::trainables::digits::easy_digits;

    /// Two whole batches and a smaller one.
    const IMAGES: usize = 300;

    fn settings(variant: Variant, hidden: &[usize]) -> Settings {
        Settings { hidden: hidden.to_vec(), variant, epochs: 3, images: Some(IMAGES), seed: 2 }
    }

    #[test]
    fn a_training_goes_on_to_the_same_bits_and_its_learning_rate_has_moved() {
        let directory = tempfile::tempdir().unwrap();
        easy_digits(directory.path());
        let library = Library::new(directory.path().to_owned());
        let device = Device::new(CpuEngine::new(1));
        for variant in [Variant::Sgd, Variant::SgdHd, Variant::SgdnHd, Variant::AdamHd, Variant::AdamHdPerTensor] {
            let settings = serde_json::to_value(settings(variant, &[8])).unwrap();
            let job = Descend.job(&settings, &library).unwrap();
            pollster::block_on(async {
                let [mut whole, mut first, mut second] = [
                    job.open(&device).await.unwrap(),
                    job.open(&device).await.unwrap(),
                    job.open(&device).await.unwrap(),
                ];
                let end = whole.advance(u64::MAX, &mut Nobody).await.unwrap();
                assert_eq!((end.done, end.ending), (3, Ending::Finished));
                first.advance(1, &mut Nobody).await.unwrap();
                second.load(&first.save().await.unwrap()).await.unwrap();
                second.advance(2, &mut Nobody).await.unwrap();
                assert!(whole.save().await.unwrap() == second.save().await.unwrap(), "{variant:?}");
                let metrics = whole.score(&mut Nobody).await.unwrap();
                assert!(metrics["train_loss"] < metrics["train_loss.001"], "{metrics:?}");
                assert_eq!(metrics["learning_rate"] == RATE, variant == Variant::Sgd, "{metrics:?}");
            });
        }
    }

    #[test]
    fn an_epoch_goes_through_every_image_once_in_an_order_of_its_own() {
        let settings = settings(Variant::Sgd, &[]);
        let [mut first, second] = [0, 1].map(|epoch| settings.order(epoch, IMAGES));
        assert!(first != second);
        first.sort_unstable();
        assert!(first.iter().copied().eq(0..IMAGES as u32));
    }

    #[test]
    fn first_weights_and_biases_are_within_the_root_of_the_inputs() {
        let settings = settings(Variant::Sgd, &[25]);
        let model = settings.model().unwrap();
        let weights = settings.initial(&model);
        for (parameter, bound) in model.parameters().iter().zip([1.0 / 28.0, 1.0 / 28.0, 0.2, 0.2]) {
            let most = weights[parameter.offset..][..parameter.len()].iter().fold(0.0f32, |most, w| most.max(w.abs()));
            assert!(most <= bound && most > 0.5 * bound, "{}: {most}", parameter.name);
        }
    }
}
