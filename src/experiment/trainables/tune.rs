//! The main job as a trial.

use std::rc::Rc;

use async_trait::async_trait;
use schemars::{Schema, schema_for};
use serde_json::Value;

use crate::bilevel::Pace;
use crate::experiment::config::TuneConfig;
use crate::experiment::error::TuneError;
use crate::experiment::library::Library;
use crate::experiment::prepared::Prepared;
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::Training;
use crate::experiment::tune::Tuner;
use crate::rig::Device;

/// Hyperparameters by hypergradients.
pub struct Tune;

impl Trainable for Tune {
    fn name(&self) -> &'static str {
        "tune"
    }

    fn about(&self) -> &'static str {
        "Tunes hyperparameters by differentiating through the training, and scores the network of the best."
    }

    fn unit(&self) -> &'static str {
        "outer iteration"
    }

    fn schema(&self) -> Schema {
        schema_for!(TuneConfig)
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let config = TuneConfig::from_json(settings)?;
        let prepared = Prepared::of(&config, library.scaled(&config)?)?;
        prepared.method()?;
        Ok(Box::new(TuneJob(Rc::new(prepared))))
    }
}

struct TuneJob(Rc<Prepared>);

#[async_trait(?Send)]
impl Job for TuneJob {
    fn problem(&self) -> String {
        self.0.name()
    }

    fn units(&self) -> u64 {
        self.0.config.outer.into()
    }

    async fn measure(&self, device: &Device, seconds: f64) -> Result<Pace, TuneError> {
        self.0.measure(device, seconds).await
    }

    fn seconds(&self, pace: &Pace) -> Result<f64, TuneError> {
        self.0.seconds(pace)
    }

    async fn open(&self, device: &Device) -> Result<Box<dyn Training>, TuneError> {
        Ok(Box::new(Tuner::new(device, self.0.clone(), None).await?))
    }
}
