//! The main job where training labels are wrong.

use std::rc::Rc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings;
use super::tune::TuneJob;
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::TuneConfig;
use crate::experiment::error::TuneError;
use crate::experiment::event::Observer;
use crate::experiment::library::Library;
pub use crate::experiment::mislabelled::Mislabelled;
use crate::experiment::mislabelled::auc;
use crate::experiment::prepared::Prepared;
use crate::experiment::record::Named;
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::{Report, Training};
use crate::experiment::tune::Tuner;

/// Tuning on wrong labels, which example weights may find out.
pub struct TuneMislabelled;

/// What such a tuning is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The tuning.
    pub config: TuneConfig,
    /// What is done to the training labels.
    pub mislabelled: Mislabelled,
}

impl Trainable for TuneMislabelled {
    fn name(&self) -> &'static str {
        "tune-mislabelled"
    }

    fn about(&self) -> &'static str {
        "Tunes where training labels are wrong, and scores also how well example weights tell which."
    }

    fn unit(&self) -> &'static str {
        "outer iteration"
    }

    fn schema(&self) -> Schema {
        schema_for!(Settings)
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let Settings { config, mislabelled } = settings::read(settings)?;
        config.check()?;
        config.without_folds()?;
        let (data, wrong) = mislabelled.of(&config, &*library.windows(&config.data, &config.mapping())?)?;
        let wrong: Rc<[bool]> = wrong.into();
        let within = move |tuner| -> Box<dyn Training> { Box::new(Weighing { tuner, wrong: wrong.clone() }) };
        Ok(Box::new(TuneJob::new(Rc::new(Prepared::new(&config, &data)?), 0, within)?))
    }
}

/// A tuning that is told which labels are wrong when it is scored.
struct Weighing {
    tuner: Tuner,
    /// Which training labels are; empty where these windows were left out.
    wrong: Rc<[bool]>,
}

#[async_trait(?Send)]
impl Training for Weighing {
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError> {
        self.tuner.advance(units, observer).await
    }

    async fn score(&mut self, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let mut metrics = self.tuner.score(observer).await?;
        let best = self.tuner.state().best.as_ref();
        let weights = best.map_or(vec![], |best| best.hyperparameters.values(Kind::ExampleWeights));
        if !weights.is_empty() && !self.wrong.is_empty() {
            metrics.insert("auc".to_owned(), auc(&weights, &self.wrong));
        }
        Ok(metrics)
    }

    async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
        self.tuner.save().await
    }

    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError> {
        self.tuner.load(saved).await
    }

    fn set(&mut self, values: &Value) -> Result<(), TuneError> {
        self.tuner.set(values)
    }
}
