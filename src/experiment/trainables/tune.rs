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
use crate::experiment::searching::space;
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::Training;
use crate::experiment::tune::Tuner;
use crate::rig::Device;
use crate::search::Space;

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

    fn space(&self, config: &TuneConfig) -> Option<Space> {
        Some(space::usual(config))
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let config = TuneConfig::from_json(settings)?;
        let run = Prepared::of(&config, library.scaled(&config)?)?;
        Ok(Box::new(TuneJob::new(Rc::new(run), 0, |tuner| Box::new(tuner))?))
    }
}

/// A tuning made ready, alone or within a training that scores it otherwise.
pub(super) struct TuneJob {
    run: Rc<Prepared>,
    /// Training steps that the score takes.
    scoring: u32,
    within: Box<dyn Fn(Tuner) -> Box<dyn Training>>,
}

impl TuneJob {
    pub fn new(
        run: Rc<Prepared>,
        scoring: u32,
        within: impl Fn(Tuner) -> Box<dyn Training> + 'static,
    ) -> Result<Self, TuneError> {
        run.method()?;
        Ok(TuneJob { run, scoring, within: Box::new(within) })
    }
}

#[async_trait(?Send)]
impl Job for TuneJob {
    fn problem(&self) -> String {
        self.run.name()
    }

    fn units(&self) -> u64 {
        self.run.at_most()
    }

    async fn measure(&self, device: &Device, seconds: f64) -> Result<Pace, TuneError> {
        self.run.measure(device, seconds).await
    }

    fn seconds(&self, pace: &Pace) -> Result<f64, TuneError> {
        Ok(self.run.seconds(pace)? + f64::from(self.scoring) * pace.step)
    }

    async fn open(&self, device: &Device) -> Result<Box<dyn Training>, TuneError> {
        Ok((self.within)(Tuner::new(device, self.run.clone(), None).await?))
    }
}
