//! What a self-tuning network has to beat: plain trainings of the same network at points of the same box.

use std::rc::Rc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ground::{BATCH, Ground, Protocol};
use super::settings;
use super::task::Task;
use crate::bilevel::Pace;
use crate::bilevel::selftune::{Act, Examined, Judgement, Session, Variant};
use crate::experiment::archive;
use crate::experiment::config::ConfigError;
use crate::experiment::error::TuneError;
use crate::experiment::event::{Observer, Watched};
use crate::experiment::library::Library;
use crate::experiment::record::{Ending, Named};
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::{self, ByUnits, Report, Training};
use crate::gp::{Gp, Observation};
use crate::rig::{Device, Progress};
use crate::rng::{Purpose, Stream};

/// The best of plain trainings.
pub struct PlainSearch;

/// What such a trial is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What is trained.
    pub task: Task,
    /// Where to look.
    pub sampler: Sampler,
    /// How many points.
    pub trainings: u32,
    /// How long each is trained: as long as a self-tuning network.
    pub protocol: Protocol,
    /// Images of those for training that are used, from the first on; all where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// Of the points, and of weights, order and draws of every training.
    pub seed: u32,
}

/// Where to look next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Evenly by chance between the ends of each hyperparameter.
    Random,
    /// Where a Gaussian process expects the most, after the first five points, which are those of `random`.
    Gp,
}

/// Points before the first that a Gaussian process chooses.
const BEGINNING: usize = 5;

impl Trainable for PlainSearch {
    fn name(&self) -> &'static str {
        "plain-search"
    }

    fn about(&self) -> &'static str {
        "Looks for the hyperparameters of a self-tuning network by plain trainings, at random or by a Gaussian process."
    }

    fn unit(&self) -> &'static str {
        "training"
    }

    fn schema(&self) -> Schema {
        schema_for!(Settings)
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let settings: Settings = settings::read(settings)?;
        if settings.trainings == 0 {
            let message = "a search takes at least 1".to_owned();
            return Err(ConfigError::Setting { field: "trainings".to_owned(), message }.into());
        }
        let ground = Ground::new(&settings.task, settings.protocol, (settings.images, settings.seed), library)?;
        Ok(Box::new(PlainSearchJob(Rc::new(Trial { settings, ground }))))
    }
}

struct Trial {
    settings: Settings,
    ground: Ground,
}

struct PlainSearchJob(Rc<Trial>);

#[async_trait(?Send)]
impl Job for PlainSearchJob {
    fn problem(&self) -> String {
        format!("{}, plain", self.0.ground.name)
    }

    fn units(&self) -> u64 {
        self.0.settings.trainings.into()
    }

    async fn measure(&self, device: &Device, seconds: f64) -> Result<Pace, TuneError> {
        self.0.ground.measure(device, Variant::Plain, seconds).await
    }

    fn seconds(&self, pace: &Pace) -> Result<f64, TuneError> {
        Ok(f64::from(self.0.settings.trainings) * self.0.ground.seconds(pace, 1))
    }

    async fn open(&self, device: &Device) -> Result<Box<dyn Training>, TuneError> {
        let session = self.0.ground.open(device, Variant::Plain).await?;
        Ok(Box::new(Searching { trial: self.0.clone(), session, seen: vec![] }))
    }
}

struct Searching {
    trial: Rc<Trial>,
    session: Session,
    seen: Vec<Seen>,
}

/// A training that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    /// Shares of the way between the ends of each hyperparameter.
    point: Vec<f64>,
    /// None where it diverged.
    scores: Option<Scores>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Scores {
    validation_loss: f64,
    validation_accuracy: f64,
    test_loss: f64,
    test_accuracy: f64,
}

impl Seen {
    fn loss(&self) -> f64 {
        self.scores.map_or(f64::INFINITY, |scores| scores.validation_loss)
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    settings: Settings,
    seen: Vec<Seen>,
}

impl Searching {
    /// The next point, as shares.
    fn point(&self) -> Vec<f64> {
        let Settings { sampler, seed, .. } = self.trial.settings;
        let mut stream = Stream::new(seed.into(), Purpose::Search, self.seen.len() as u32);
        match sampler {
            Sampler::Gp if self.seen.len() >= BEGINNING => {
                let seen = self.seen.iter();
                let seen = seen.map(|seen| Observation { point: seen.point.clone(), value: seen.loss() });
                Gp::fit(&seen.collect::<Vec<_>>(), None).propose(&mut stream)
            }
            Sampler::Random | Sampler::Gp => {
                self.trial.ground.hyperparameters().iter().map(|_| stream.uniform()).collect()
            }
        }
    }

    /// The values of a point. The ends themselves are out of reach.
    fn values(&self, point: &[f64]) -> Vec<f64> {
        const MARGIN: f64 = 1e-6;
        let at = |(share, ends): (&f64, [f64; 2])| ends[0] + (ends[1] - ends[0]) * share.clamp(MARGIN, 1.0 - MARGIN);
        point.iter().zip(self.trial.ground.hyperparameters().iter().map(|h| h.ends)).map(at).collect()
    }

    /// The best of the first so many.
    fn best(&self, first: usize) -> Option<&Seen> {
        let seen = self.seen[..first].iter().filter(|seen| seen.scores.is_some());
        seen.reduce(|best, seen| if seen.loss() < best.loss() { seen } else { best })
    }
}

#[async_trait(?Send)]
impl ByUnits for Searching {
    fn report(&self) -> Report {
        let ending =
            if self.seen.len() < self.trial.settings.trainings as usize { Ending::Running } else { Ending::Finished };
        let outer_loss = self.seen.last().map(Seen::loss).filter(|loss| loss.is_finite());
        Report { done: self.seen.len() as u64, outer_loss, ending }
    }

    async fn unit(&mut self, observer: &mut dyn Observer) -> Result<(), TuneError> {
        let trial = self.trial.clone();
        let point = self.point();
        let lambda = trial.ground.unconstrained(&self.values(&point))?;
        trial.ground.begin(&self.session, &lambda)?;
        let (done, all) = (self.seen.len(), f64::from(trial.settings.trainings));
        let mut watched = Watched::of(observer, done as u32 + 1, [done, done + 1].map(|done| done as f64 / all));
        let steps = trial.ground.protocol.training_steps(trial.ground.epoch());
        let mut progress = Progress { done: 0, total: steps as u64 };
        let ran = self.session.run(std::iter::repeat_n(Act::Train, steps), &mut progress, &mut watched).await;
        watched.settle(ran)?;
        let mut judged: Vec<Judgement> = vec![];
        for examined in [Examined::Validation, Examined::Test] {
            let result = self.session.judge(examined, &mut watched).await;
            judged.push(watched.settle(result)?);
        }
        let [validation, test] = [judged[0], judged[1]];
        let scores = (validation.loss + test.loss).is_finite().then_some(Scores {
            validation_loss: validation.loss,
            validation_accuracy: validation.accuracy,
            test_loss: test.loss,
            test_accuracy: test.accuracy,
        });
        self.seen.push(Seen { point, scores });
        Ok(())
    }
}

#[async_trait(?Send)]
impl Training for Searching {
    /// Trainings. One that is stopped midway is run again.
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError> {
        training::advance(self, units, observer).await
    }

    /// The scores and hyperparameters of the lowest validation loss, and that loss after each training.
    async fn score(&mut self, _: &mut dyn Observer) -> Result<Named, TuneError> {
        let mut metrics = Named::new();
        for trainings in 1..=self.seen.len() {
            let best = self.best(trainings).map(|best| (format!("best_of.{trainings:02}"), best.loss()));
            metrics.extend(best);
        }
        if let Some(Seen { point, scores: Some(scores) }) = self.best(self.seen.len()) {
            let Scores { validation_loss, validation_accuracy, test_loss, test_accuracy } = *scores;
            metrics.extend(self.trial.ground.named(&self.values(point)));
            metrics.extend(
                [
                    ("validation_loss", validation_loss),
                    ("validation_accuracy", validation_accuracy),
                    ("test_loss", test_loss),
                    ("test_accuracy", test_accuracy),
                ]
                .map(|(name, value)| (name.to_owned(), value)),
            );
        }
        let steps = self.trial.ground.protocol.training_steps(self.trial.ground.epoch());
        metrics.insert("gradients".to_owned(), (self.seen.len() * steps * BATCH) as f64);
        Ok(metrics)
    }

    async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
        Ok(archive::pack_value(&Kept { settings: self.trial.settings.clone(), seen: self.seen.clone() }))
    }

    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError> {
        let Kept { settings, seen } = archive::unpack_value(saved).map_err(TuneError::Resume)?;
        if settings != self.trial.settings || seen.len() > settings.trainings as usize {
            return Err(TuneError::Resume("it was saved with other settings".to_owned()));
        }
        self.seen = seen;
        Ok(())
    }
}
