//! Networks that tune their own hyperparameters while they train: STN, Δ-STN and CPMLHO, beside plain training.

mod curve;
mod ground;
pub mod search;
mod task;

use std::rc::Rc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::curve::{Point, course, named_points};
pub use self::ground::Protocol;
use self::ground::{BATCH, Ground};
pub use self::task::Task;
use super::settings;
use crate::bilevel::Pace;
use crate::bilevel::selftune::{Act, Constraint, Examined, Multiplier, Saved, Session, Tie, Variant};
use crate::experiment::archive;
use crate::experiment::error::TuneError;
use crate::experiment::event::{Observer, Watched};
use crate::experiment::library::Library;
use crate::experiment::record::{Ending, Named};
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::{self, ByUnits, Report, Training};
use crate::rig::{Device, Progress};

/// One training in which the hyperparameters move.
pub struct SelfTuning;

/// What such a trial is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What is trained.
    pub task: Task,
    /// What moves the hyperparameters.
    pub method: Method,
    /// How long and how fast.
    pub protocol: Protocol,
    /// The hyperparameters at first, as they enter the training; the usual ones where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Vec<f64>>,
    /// Images of those for training that are used, from the first on; all where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// Of the first weights, the order of the examples and all draws.
    pub seed: u32,
}

/// What moves the hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Method {
    /// Nothing: they stay.
    Plain,
    /// Self-tuning networks (MacKay et al. 2019).
    Stn,
    /// Δ-STN (Bae and Grosse 2020).
    DeltaStn,
    /// STN with cutting planes and a mixed outer loss.
    Cpmlho {
        /// The multiplier μ of a new plane, which stays; without one there are no planes.
        multiplier: Option<f64>,
        /// What the validation loss counts beside the training loss, θ; without it, it is all that counts.
        validation: Option<f64>,
    },
}

/// What the distance of general and response weights may be, for each: ε².
const SLACK: f64 = 1e-6;

impl Method {
    fn variant(self) -> Variant {
        match self {
            Method::Plain => Variant::Plain,
            Method::Stn => Variant::Stn,
            Method::DeltaStn => Variant::DeltaStn,
            Method::Cpmlho { multiplier, validation } => {
                let constraint = multiplier.map(|start| Constraint {
                    tie: Tie::Mean,
                    slack: SLACK,
                    start,
                    multiplier: Multiplier::Fixed,
                    planes: 1,
                });
                Variant::Cpmlho { constraint, validation: validation.unwrap_or(f64::INFINITY) }
            }
        }
    }

    fn has_planes(self) -> bool {
        matches!(self, Method::Cpmlho { multiplier: Some(_), .. })
    }
}

impl Trainable for SelfTuning {
    fn name(&self) -> &'static str {
        "self-tuning"
    }

    fn about(&self) -> &'static str {
        "Trains a network that tunes its own dropout and augmentation on a validation set while it is trained."
    }

    fn unit(&self) -> &'static str {
        "epoch of the warm-up, then as many tuning steps as lie between two judgements"
    }

    fn schema(&self) -> Schema {
        schema_for!(Settings)
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let settings: Settings = settings::read(settings)?;
        let ground = Ground::new(&settings.task, settings.protocol, (settings.images, settings.seed), library)?;
        let start = ground.unconstrained(&settings.start.clone().unwrap_or_else(|| ground.usual()))?;
        let parts = settings.protocol.parts(ground.epoch(), settings.method.has_planes());
        Ok(Box::new(SelfTuningJob(Rc::new(Trial { settings, ground, start, parts }))))
    }
}

/// A trial made ready.
struct Trial {
    settings: Settings,
    ground: Ground,
    /// Unconstrained.
    start: Vec<f64>,
    parts: Vec<Vec<Act>>,
}

impl Trial {
    /// The steps of a part that there are: plain training moves no hyperparameter.
    fn acts(&self, part: usize) -> impl Iterator<Item = Act> + '_ {
        let is_plain = self.settings.method == Method::Plain;
        self.parts[part].iter().copied().filter(move |&act| !(is_plain && act == Act::Tune))
    }
}

struct SelfTuningJob(Rc<Trial>);

#[async_trait(?Send)]
impl Job for SelfTuningJob {
    fn problem(&self) -> String {
        format!("{}, {:?}", self.0.ground.name, self.0.settings.method)
    }

    fn units(&self) -> u64 {
        self.0.parts.len() as u64
    }

    async fn measure(&self, device: &Device, seconds: f64) -> Result<Pace, TuneError> {
        self.0.ground.measure(device, self.0.settings.method.variant(), seconds).await
    }

    fn seconds(&self, pace: &Pace) -> Result<f64, TuneError> {
        let Settings { protocol, .. } = &self.0.settings;
        Ok(self.0.ground.seconds(pace, protocol.steps / protocol.every + 1))
    }

    async fn open(&self, device: &Device) -> Result<Box<dyn Training>, TuneError> {
        let trial = self.0.clone();
        let session = trial.ground.open(device, trial.settings.method.variant()).await?;
        let mut running = Running { trial, session, done: 0, points: vec![], state: Saved::new(), diverged: false };
        running.begin()?;
        running.state = running.session.save().await?;
        Ok(Box::new(running))
    }
}

/// A training under way.
struct Running {
    trial: Rc<Trial>,
    session: Session,
    /// Parts behind it.
    done: usize,
    points: Vec<Point>,
    /// The end of the last part.
    state: Saved,
    diverged: bool,
}

/// What is kept of a training.
#[derive(Serialize, Deserialize)]
struct Kept {
    settings: Settings,
    done: usize,
    points: Vec<Point>,
    state: Saved,
    diverged: bool,
}

impl Running {
    fn begin(&self) -> Result<(), TuneError> {
        self.trial.ground.begin(&self.session, &self.trial.start)
    }
}

#[async_trait(?Send)]
impl ByUnits for Running {
    fn report(&self) -> Report {
        let ending = match self.done {
            _ if self.diverged => Ending::Diverged,
            done if done == self.trial.parts.len() => Ending::Finished,
            _ => Ending::Running,
        };
        let outer_loss = self.points.last().map(|point| point.validation_loss).filter(|loss| loss.is_finite());
        Report { done: self.done as u64, outer_loss, ending }
    }

    /// The next part, from the state that the last one has left.
    async fn unit(&mut self, observer: &mut dyn Observer) -> Result<(), TuneError> {
        let trial = self.trial.clone();
        let (all, warm) = (trial.parts.len(), trial.settings.protocol.warm_up as usize);
        let shares = [self.done, self.done + 1].map(|done| done as f64 / all as f64);
        let mut watched = Watched::of(observer, self.done as u32 + 1, shares);
        let acts: Vec<Act> = trial.acts(self.done).collect();
        let mut progress = Progress { done: 0, total: acts.len() as u64 };
        let ran = self.session.run(acts, &mut progress, &mut watched).await;
        watched.settle(ran)?;
        let done = self.done + 1;
        if done >= warm {
            let judged = self.session.judge(Examined::Validation, &mut watched).await;
            let judged = watched.settle(judged)?;
            let step = (done - warm) as u32 * trial.settings.protocol.every;
            if !judged.loss.is_finite() {
                self.diverged = true;
                return Ok(());
            }
            self.points.push(Point { step, validation_loss: judged.loss, validation_accuracy: judged.accuracy });
        }
        self.state = self.session.save().await?;
        self.done = done;
        Ok(())
    }

    fn take_back(&mut self) -> Result<(), TuneError> {
        self.session.load(&self.state)?;
        Ok(())
    }
}

#[async_trait(?Send)]
impl Training for Running {
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError> {
        training::advance(self, units, observer).await
    }

    /// The judgements, the hyperparameters at them with the step behind each, and what all of it costs in gradients of a
    /// training example by plain training, as floating-point operations are counted.
    async fn score(&mut self, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let mut metrics = Named::new();
        if self.diverged {
            return Ok(metrics);
        }
        let mut quiet = Watched::quiet(observer);
        let test = self.session.judge(Examined::Test, &mut quiet).await;
        let test = quiet.settle(test)?;
        metrics.extend([("test_loss".to_owned(), test.loss), ("test_accuracy".to_owned(), test.accuracy)]);
        metrics.extend(named_points(&self.points));
        let ground = &self.trial.ground;
        let history = self.session.history().await?;
        let mut values = vec![ground.constrained(&self.trial.start)];
        values.extend(history.iter().map(|record| ground.constrained(&record.lambda)));
        for (k, hyperparameter) in ground.hyperparameters().iter().enumerate() {
            let values: Vec<f64> = values.iter().map(|at| at[k]).collect();
            metrics.extend(course(hyperparameter.name, &values, ground.protocol.every as usize));
        }
        let taken = (0..self.done).flat_map(|part| self.trial.acts(part));
        let flops: f64 = taken.filter_map(|act| self.session.work(act)).map(|work| work.flops as f64).sum();
        let plain = ground.plain()?.flops as f64 / BATCH as f64;
        metrics.insert("gradients".to_owned(), flops / plain);
        Ok(metrics)
    }

    async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
        Ok(archive::pack_value(&Kept {
            settings: self.trial.settings.clone(),
            done: self.done,
            points: self.points.clone(),
            state: self.state.clone(),
            diverged: self.diverged,
        }))
    }

    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError> {
        let Kept { settings, done, points, state, diverged } =
            archive::unpack_value(saved).map_err(TuneError::Resume)?;
        if settings != self.trial.settings || done > self.trial.parts.len() {
            return Err(TuneError::Resume("it was saved with other settings".to_owned()));
        }
        self.session.load(&state)?;
        (self.done, self.points, self.state, self.diverged) = (done, points, state, diverged);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
