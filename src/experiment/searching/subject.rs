//! What the trials of a study train.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::about::About;
use super::exploit::Exploit;
use super::space::{self, Arm};
use crate::experiment::config::TuneConfig;
use crate::experiment::error::TuneError;
use crate::experiment::library::Library;
use crate::experiment::trainable::Job;
use crate::experiment::trainables;
use crate::search::{Point, Space, Value};

/// Points become trainings.
pub trait Subject {
    /// The training at a point made ready.
    ///
    /// # Errors
    /// If there is none: that costs the trial, and not the study.
    fn job(&self, point: &Point) -> Result<Box<dyn Job>, TuneError>;

    /// What a training that takes over another one's state is to change, by names of settings.
    fn midway(&self, point: &Point) -> Json;

    /// The saved training that a member with this point goes on from, which takes over that of a `donor`, and whose own was
    /// `own` if it has not diverged.
    ///
    /// # Errors
    /// If these are not of such trainings.
    fn taken_over(&self, point: &Point, donor: Vec<u8>, own: Option<&[u8]>) -> Result<Vec<u8>, TuneError>;

    /// Whether its own counts in that.
    fn keeps_own(&self) -> bool;

    /// Whether a training is worth the best that it has come to, and not the last: one that tunes itself is.
    fn keeps_best(&self) -> bool;
}

/// Trials of the registry.
pub struct Rows<'a> {
    base: TuneConfig,
    arm: Arm,
    trainable: String,
    space: Space,
    library: &'a Library,
}

impl<'a> Rows<'a> {
    /// Those that a study is of.
    ///
    /// # Errors
    /// If its settings are none of this version.
    pub fn new(about: &About, library: &'a Library) -> Result<Self, TuneError> {
        let base = TuneConfig::from_json(&about.settings)?;
        let About { arm, trainable, space, .. } = about.clone();
        Ok(Rows { base, arm, trainable, space, library })
    }

    /// The same with trainings of another seed.
    pub fn seeded(&self, seed: u32) -> Self {
        let Rows { base, arm, trainable, space, library } = self;
        let base = TuneConfig { seed, ..base.clone() };
        Rows { base, arm: *arm, trainable: trainable.clone(), space: space.clone(), library }
    }

    /// The settings at a point.
    ///
    /// # Errors
    /// If a value is none of its setting.
    pub fn config(&self, point: &Point) -> Result<TuneConfig, TuneError> {
        Ok(space::settings(&self.base, self.arm, &self.space, point)?)
    }

    /// The values of a point by name.
    pub fn named(&self, point: &Point) -> BTreeMap<String, Value> {
        self.space.written(point)
    }
}

impl Subject for Rows<'_> {
    fn job(&self, point: &Point) -> Result<Box<dyn Job>, TuneError> {
        let config = self.config(point)?;
        let settings = if self.arm.hypergradients { config.to_json() } else { config.of_training() };
        trainables::job(&self.trainable, &settings, self.library)
    }

    fn midway(&self, point: &Point) -> Json {
        space::midway(&self.space, point)
    }

    fn taken_over(&self, point: &Point, donor: Vec<u8>, own: Option<&[u8]>) -> Result<Vec<u8>, TuneError> {
        self.arm.exploit.joined(&self.config(point)?.optimizer, donor, own)
    }

    fn keeps_own(&self) -> bool {
        self.arm.exploit == Exploit::Keep
    }

    fn keeps_best(&self) -> bool {
        self.arm.hypergradients
    }
}
