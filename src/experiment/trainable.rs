//! What trials can do: rows of a registry, told apart by name, each with settings that are data.

use async_trait::async_trait;
use schemars::Schema;
use serde_json::Value;

use super::config::TuneConfig;
use super::error::TuneError;
use super::library::Library;
use super::training::Training;
use crate::bilevel::Pace;
use crate::rig::Device;
use crate::search::Space;

/// A row of the registry. Command line, studies and workers drive all of them through the same verbs.
pub trait Trainable: Sync {
    /// What trials call it.
    fn name(&self) -> &'static str;

    /// What it does, in a sentence.
    fn about(&self) -> &'static str;

    /// What [`Training::advance`] counts: an outer iteration, a training step, a whole training.
    fn unit(&self) -> &'static str;

    /// What its settings are.
    fn schema(&self) -> Schema;

    /// What a search looks through where it is told nothing else; none where settings are no configuration of a training.
    fn space(&self, _config: &TuneConfig) -> Option<Space> {
        None
    }

    /// Reads the data, which the library keeps, and checks the settings against them; all that needs no device.
    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError>;
}

/// A trial made ready: all that there is before a device.
#[async_trait(?Send)]
pub trait Job {
    /// Its training problem by name: jobs of one name go at one pace.
    fn problem(&self) -> String;

    /// Units until it ends by itself; it may end before.
    fn units(&self) -> u64;

    /// Times the parts of its training on a device, within about so many seconds.
    async fn measure(&self, device: &Device, seconds: f64) -> Result<Pace, TuneError>;

    /// Seconds that all of it takes at this pace, its score included.
    fn seconds(&self, pace: &Pace) -> Result<f64, TuneError>;

    /// Puts it on a device. What was measured before is not compiled again.
    async fn open(&self, device: &Device) -> Result<Box<dyn Training>, TuneError>;
}
