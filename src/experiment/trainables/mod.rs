//! The registry: what trials can do, each in a file with its line in [`TRAINABLES`].

#[cfg(test)]
mod digits;
pub mod few_shot;
pub mod hyper_cleaning;
pub mod hypergradient_descent;
pub mod images;
pub mod mislabelled;
pub mod retrain;
pub mod search;
pub mod self_tuning;
mod settings;
pub mod statistics;
mod train;
mod tune;
mod weights;

use serde_json::Value;

use super::config::ConfigError;
use super::error::TuneError;
use super::library::Library;
use super::trainable::{Job, Trainable};

/// All of them.
pub const TRAINABLES: &[&dyn Trainable] = &[
    &tune::Tune,
    &train::Train,
    &search::Search,
    &mislabelled::TuneMislabelled,
    &retrain::Retrain,
    &statistics::Statistics,
    &hyper_cleaning::HyperCleaning,
    &images::TuneImages,
    &hypergradient_descent::Descend,
    &self_tuning::SelfTuning,
    &self_tuning::search::PlainSearch,
    &few_shot::FewShot,
];

/// The one of that name.
pub fn find(name: &str) -> Option<&'static dyn Trainable> {
    TRAINABLES.iter().find(|trainable| trainable.name() == name).copied()
}

/// Makes a trial of the one of that name ready.
pub fn job(name: &str, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
    let Some(trainable) = find(name) else {
        let names: Vec<&str> = TRAINABLES.iter().map(|trainable| trainable.name()).collect();
        let message = format!("there is no {name}; there are {}", names.join(", "));
        return Err(ConfigError::Setting { field: "trainable".to_owned(), message }.into());
    };
    trainable.job(settings, library)
}
