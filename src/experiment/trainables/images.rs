//! The main job on images of the tool's other data sets.

use std::rc::Rc;

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings;
use super::tune::TuneJob;
use crate::data::catalog::{DATA_SETS, DataSet};
use crate::data::{DataError, Split};
use crate::experiment::config::{ConfigError, DataSource, TuneConfig};
use crate::experiment::error::TuneError;
use crate::experiment::library::Library;
use crate::experiment::prepared::Prepared;
use crate::experiment::setup::Scaled;
use crate::experiment::trainable::{Job, Trainable};
use crate::rng::{Purpose, permute_index, split_seed, stream_key};

/// A tuning on some of the images of a set.
pub struct TuneImages;

/// What such a trial is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The tuning, but for its data: `data` and `split` stay as they are by default.
    pub config: TuneConfig,
    /// Name of the set: `mnist` or `fashion-mnist`.
    pub images: String,
    /// Images to train on and as many to validate on, drawn from the published training images.
    pub examples: usize,
}

impl Settings {
    /// The images drawn and scaled, beside all published test images.
    fn data(&self, library: &Library) -> Result<Scaled, TuneError> {
        let wrong = |field: &str, message: String| ConfigError::Setting { field: field.to_owned(), message };
        let of_windows = (&self.config.data, &self.config.split) != (&DataSource::default(), &Default::default());
        if of_windows {
            return Err(wrong("config", "`data` and `split` are of windows; leave them out".to_owned()).into());
        }
        let set: &DataSet = DATA_SETS.iter().find(|set| set.name == self.images).ok_or_else(|| {
            let names: Vec<&str> = DATA_SETS.iter().map(|set| set.name).collect();
            wrong("images", format!("there is no {}; there are {}", self.images, names.join(", ")))
        })?;
        let images = library.images(set)?;
        let [train, test] = &*images;
        let (given, wanted) = (train.len(), 2 * self.examples);
        if given < wanted {
            return Err(DataError::TooFew { name: set.name, given, wanted }.into());
        }
        let key = stream_key(split_seed(self.config.seed.into()), Purpose::Partition, 1);
        let drawn: Vec<usize> = (0..wanted as u32).map(|i| permute_index(key, given as u32, i) as usize).collect();
        let (of_training, of_validation) = drawn.split_at(self.examples);
        let split =
            Split { train: train.select(of_training), validation: train.select(of_validation), test: test.clone() };
        let fingerprint = format!("{:016x}", split.train.fingerprint() ^ split.validation.fingerprint());
        let (split, scale) = split.standardized()?;
        Ok(Scaled { split, scale, fingerprint, wrong: None })
    }
}

impl Trainable for TuneImages {
    fn name(&self) -> &'static str {
        "tune-images"
    }

    fn about(&self) -> &'static str {
        "Tunes hyperparameters on some of the images of MNIST or Fashion-MNIST."
    }

    fn unit(&self) -> &'static str {
        "outer iteration"
    }

    fn schema(&self) -> Schema {
        schema_for!(Settings)
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let settings: Settings = settings::read(settings)?;
        settings.config.check()?;
        settings.config.without_folds()?;
        let run = Prepared::of(&settings.config, Rc::new(settings.data(library)?))?;
        Ok(Box::new(TuneJob::new(Rc::new(run), 0, |tuner| Box::new(tuner))?))
    }
}
