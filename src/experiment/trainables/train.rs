//! One plain training with given hyperparameters.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use async_trait::async_trait;
use safetensors::Dtype;
use schemars::{Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bilevel::hyperparameters::Hyperparameters;
use crate::bilevel::{Blueprint, CHUNK, Estimate, Inner, Pace, Plain, Session, Set, Snapshot, Unattended};
use crate::data::Sizes;
use crate::experiment::archive::{self, Tensor};
use crate::experiment::config::{ConfigError, TuneConfig};
use crate::experiment::error::TuneError;
use crate::experiment::event::{Observer, Watched};
use crate::experiment::library::Library;
use crate::experiment::prepared::Prepared;
use crate::experiment::record::{Ending, Named, moved};
use crate::experiment::scored::scored;
use crate::experiment::searching::space;
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::{Report, Training};
use crate::rig::Device;
use crate::search::Space;

/// A training without a hypergradient, to be scored.
pub struct Train;

impl Trainable for Train {
    fn name(&self) -> &'static str {
        "train"
    }

    fn about(&self) -> &'static str {
        "Trains once with the hyperparameters as they are given, and scores the network."
    }

    fn unit(&self) -> &'static str {
        "training step"
    }

    fn schema(&self) -> Schema {
        let mut schema = schema_for!(TuneConfig);
        schema.insert("title".to_owned(), "Configuration of a training".into());
        if let Some(Value::Object(settings)) = schema.get_mut("properties") {
            settings.retain(|key, _| !TuneConfig::is_of_tuning(key));
        }
        schema
    }

    fn space(&self, config: &TuneConfig) -> Option<Space> {
        Some(space::usual(config))
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let mut given = settings.as_object().into_iter().flat_map(|given| given.keys());
        if let Some(field) = given.find(|key| TuneConfig::is_of_tuning(key)) {
            let message = "a plain training does not look at it; leave it out".to_owned();
            return Err(ConfigError::Setting { field: field.clone(), message }.into());
        }
        let config = TuneConfig::from_json(settings)?;
        Ok(Box::new(TrainJob(Rc::new(Prepared::of(&config, library.scaled(&config)?)?))))
    }
}

struct TrainJob(Rc<Prepared>);

#[async_trait(?Send)]
impl Job for TrainJob {
    fn problem(&self) -> String {
        format!("{}, training alone", self.0.name())
    }

    fn units(&self) -> u64 {
        self.0.config.steps.into()
    }

    async fn measure(&self, device: &Device, seconds: f64) -> Result<Pace, TuneError> {
        let mut session = self.0.session(device, Plain).await?;
        Ok(session.measure(&self.0.start.arrays(&self.0.problem), seconds).await?)
    }

    fn seconds(&self, pace: &Pace) -> Result<f64, TuneError> {
        let Sizes { validation, test, .. } = self.0.data.split.sizes();
        let chunks = |windows: usize| windows.div_ceil(CHUNK) as f64;
        let scoring = pace.evaluation * (chunks(validation) + chunks(test));
        Ok(f64::from(self.0.config.steps) * pace.step + pace.outer * chunks(self.0.problem.validation) + scoring)
    }

    async fn open(&self, device: &Device) -> Result<Box<dyn Training>, TuneError> {
        Blueprint::with(&self.0.problem, &Plain, &self.0.compiled)?.within(self.0.config.memory_budget.0)?;
        let session = self.0.session(device, Plain).await?;
        let point = self.0.start.clone();
        Ok(Box::new(PlainTraining {
            session,
            prepared: self.0.clone(),
            point,
            done: 0,
            recorded: 0..0,
            records: BTreeMap::new(),
            diverged: false,
        }))
    }
}

struct PlainTraining {
    session: Session,
    prepared: Rc<Prepared>,
    /// What the next step trains with.
    point: Hyperparameters,
    /// Training steps done.
    done: u64,
    /// Those of them that were recorded here, and what of them.
    recorded: Range<usize>,
    records: BTreeMap<String, Vec<f64>>,
    /// Whether it has ended that way: there is nothing to go on from.
    diverged: bool,
}

/// What a training keeps of itself besides its state.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// See [`Prepared::common`].
    of: Value,
    steps: u32,
    hyperparameters: Hyperparameters,
}

impl PlainTraining {
    fn lambda(&self) -> Vec<f64> {
        self.point.arrays(&self.prepared.problem)
    }

    /// Goes on by so many steps and takes the outer loss; no step makes the beginning a state like any other.
    async fn run(&mut self, steps: u64, observer: &mut dyn Observer) -> Result<Estimate, TuneError> {
        self.point.check(&self.prepared.problem)?;
        let lambda = self.lambda();
        let mut watched = Watched::of(observer, 1, [0.0, 1.0]);
        let ran = self.session.advance(&lambda, steps as usize, &mut watched).await;
        watched.settle(ran)?;
        let mut quiet = Watched::quiet(observer);
        let estimate = self.session.outer_loss(&mut quiet).await;
        quiet.settle(estimate)
    }
}

#[async_trait(?Send)]
impl Training for PlainTraining {
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError> {
        if self.diverged {
            return Ok(Report { done: self.done, outer_loss: None, ending: Ending::Diverged });
        }
        let all = u64::from(self.prepared.config.steps);
        let estimate = match self.run(units.min(all - self.done), observer).await {
            Ok(estimate) => Some(estimate),
            Err(error) if error.is_stop() => None,
            Err(error) => return Err(error),
        };
        self.done = self.session.save().await?.steps.into();
        let Some(estimate) = estimate else {
            return Ok(Report { done: self.done, outer_loss: None, ending: Ending::Stopped });
        };
        self.diverged = estimate.bad_step.is_some() || !estimate.outer_loss.is_finite();
        (self.recorded.end, self.records) = (self.done as usize, estimate.records);
        let ending = match self.done {
            _ if self.diverged => Ending::Diverged,
            done if done == all => Ending::Finished,
            _ => Ending::Running,
        };
        Ok(Report { done: self.done, outer_loss: (!self.diverged).then_some(estimate.outer_loss), ending })
    }

    /// The network as it is now.
    async fn score(&mut self, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let Report { outer_loss, .. } = self.advance(0, observer).await?;
        let split = &self.prepared.data.split;
        let sets = [Set::from(&split.validation), Set::from(&split.test)];
        let mut metrics = scored(&mut self.session, &sets, observer).await?;
        metrics.extend(moved(&self.records, self.recorded.clone()));
        metrics.extend(outer_loss.map(|loss| ("outer_loss".to_owned(), loss)));
        Ok(metrics)
    }

    async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
        if self.diverged {
            let message = "the training diverged, and nothing of it is left to save; load what was saved before";
            return Err(TuneError::Resume(message.to_owned()));
        }
        if self.done == 0 {
            self.session.advance(&self.lambda(), 0, &mut Unattended).await?;
        }
        let Snapshot { parts, state, steps } = self.session.save().await?;
        let tensors: Vec<Tensor> = parts
            .into_iter()
            .map(|part| Tensor {
                bytes: state[part.range].iter().flat_map(|value| value.to_le_bytes()).collect(),
                name: part.name,
                shape: part.shape,
                dtype: Dtype::F32,
            })
            .collect();
        let saved = Saved { of: self.prepared.common(), steps, hyperparameters: self.point.clone() };
        Ok(archive::pack(&serde_json::to_value(saved).expect("plain values"), &tensors))
    }

    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError> {
        let (about, tensors) = archive::unpack(saved).map_err(TuneError::Resume)?;
        let wrong = |what: &str| TuneError::Resume(what.to_owned());
        let Saved { of, steps, hyperparameters } =
            serde_json::from_value(about).map_err(|_| wrong("it is no saved training of this kind"))?;
        self.prepared.check_common(&of)?;
        if steps > self.prepared.config.steps {
            return Err(wrong("it has more steps behind it than this training takes"));
        }
        hyperparameters.check(&self.prepared.problem)?;
        let parts = self.prepared.problem.state();
        let mut state = vec![];
        for part in &parts {
            let same =
                |tensor: &&Tensor| (&tensor.name, &tensor.shape, tensor.dtype) == (&part.name, &part.shape, Dtype::F32);
            let tensor = tensors.iter().find(same).ok_or_else(|| wrong("it is of another network or optimizer"))?;
            let values = tensor.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            state.extend(values);
        }
        self.session.load(&Snapshot { parts, state, steps })?;
        (self.point, self.done, self.diverged) = (hyperparameters, steps.into(), false);
        self.recorded = steps as usize..steps as usize;
        Ok(())
    }

    fn set(&mut self, values: &Value) -> Result<(), TuneError> {
        self.point = self.prepared.changed(&self.point, values)?;
        Ok(())
    }
}
