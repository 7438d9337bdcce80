//! What is under way on a device: it goes on by so much at a time, and can be kept, moved and changed in between.

use async_trait::async_trait;
use serde_json::Value;

use super::config::ConfigError;
use super::error::TuneError;
use super::event::Observer;
use super::record::{Ending, Named};

/// How far a training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Units behind it: outer iterations, training steps, whatever it counts.
    pub done: u64,
    /// Outer loss of the last of them; none where that diverged, or there was none.
    pub outer_loss: Option<f64>,
    /// Whether and why it has ended.
    pub ending: Ending,
}

/// A training under way. It borrows nothing, so that many may wait on one device and take turns.
#[async_trait(?Send)]
pub trait Training {
    /// Goes on by so many units, or by fewer where it ends before or the observer stops it. Whatever was stopped midway
    /// can go on.
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError>;

    /// How good what it has come to is: numbers by name, as outcomes of studies have them.
    async fn score(&mut self, observer: &mut dyn Observer) -> Result<Named, TuneError>;

    /// All that it takes to go on elsewhere to the same bits, as a safetensors file; trainings that are equally far and
    /// have the same before them give the same file.
    async fn save(&mut self) -> Result<Vec<u8>, TuneError>;

    /// Takes up where a training of the same shape was saved.
    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError>;

    /// Gives hyperparameters other values from here on, each by the name of its setting; refuses, with their names, those
    /// that cannot change midway.
    fn set(&mut self, _values: &Value) -> Result<(), TuneError> {
        let message = "nothing of this training can change midway".to_owned();
        Err(ConfigError::Setting { field: "set".to_owned(), message }.into())
    }
}

/// A training that goes on unit by unit, each of which is done whole or not at all.
#[async_trait(?Send)]
pub(super) trait ByUnits {
    /// How far it is.
    fn report(&self) -> Report;

    /// The next unit.
    async fn unit(&mut self, observer: &mut dyn Observer) -> Result<(), TuneError>;

    /// Takes back what a unit has left that was stopped midway.
    fn take_back(&mut self) -> Result<(), TuneError> {
        Ok(())
    }
}

/// [`Training::advance`] of such a one.
pub(super) async fn advance(
    training: &mut dyn ByUnits,
    units: u64,
    observer: &mut dyn Observer,
) -> Result<Report, TuneError> {
    for _ in 0..units {
        if training.report().ending != Ending::Running {
            break;
        }
        match training.unit(observer).await {
            Ok(()) => {}
            Err(error) if error.is_stop() => {
                training.take_back()?;
                return Ok(Report { ending: Ending::Stopped, ..training.report() });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(training.report())
}
