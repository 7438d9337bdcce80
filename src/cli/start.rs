//! What a run begins with or goes on from.

use std::path::Path;

use serde::{Deserialize, Serialize};
use stackelberg::bilevel::hyperparameters::Hyperparameters;
use stackelberg::data::Dataset;
use stackelberg::experiment::archive;
use stackelberg::experiment::config::{ConfigError, TuneConfig};
use stackelberg::experiment::library;
use stackelberg::experiment::record::{DeviceRecord, OuterRecord};
use stackelberg::experiment::tune::TunerState;

use super::CliError;
use super::run_dir::{self, RunDir};
use super::settings::{self, Settings};

/// What `state.safetensors` holds.
#[derive(Clone, Serialize, Deserialize)]
pub struct Saved<State> {
    pub version: String,
    pub configuration: TuneConfig,
    pub device: DeviceRecord,
    /// Of the data.
    pub fingerprint: String,
    pub tuner: State,
}

impl Saved<()> {
    pub fn with<State>(&self, tuner: State) -> Saved<State> {
        let Saved { version, configuration, device, fingerprint, tuner: () } = self.clone();
        Saved { version, configuration, device, fingerprint, tuner }
    }
}

/// A run about to begin or to go on.
pub struct Start {
    pub config: TuneConfig,
    pub directory: Option<RunDir>,
    pub saved: Option<Saved<TunerState>>,
    pub records: Vec<OuterRecord>,
}

/// The run in a directory, with the settings that may be changed.
pub fn resumed(directory: RunDir, changes: &Settings) -> Result<Start, CliError> {
    let path = directory.file(run_dir::SETTINGS);
    let text = directory.read(run_dir::SETTINGS)?.unwrap_or_default();
    let text = String::from_utf8(text).map_err(|_| directory.damaged(run_dir::SETTINGS, "it is not UTF-8 text"))?;
    let before = settings::parse(&path, text)?;
    if let Some((option, setting)) = changes.refused(&before) {
        return Err(CliError::ResumeChanges { option, setting, directory: directory.path().to_owned() });
    }
    let config = changes.over(before.clone());
    config.check()?;
    let saved = directory.read(run_dir::STATE)?;
    let saved: Option<Saved<TunerState>> = saved
        .map(|bytes| archive::unpack_value(&bytes).map_err(|problem| directory.damaged(run_dir::STATE, problem)))
        .transpose()?;
    let done = saved.as_ref().map_or(0, |saved| saved.tuner.iteration);
    let records = directory.records(done)?;
    if let Some(saved) = &saved {
        if let Some(setting) = changed(&saved.configuration.clone().of_before(), &before) {
            let problem = format!("`{setting}` was changed since the run began");
            return Err(directory.damaged(run_dir::SETTINGS, problem).into());
        }
        if let Some(outer) = config.outer.filter(|outer| *outer < done) {
            let error = ConfigError::Value {
                field: "outer",
                value: outer.to_string(),
                must: format!("at least {done}, the outer iterations that the run has behind it"),
                mend: "Leave it out to go on as the run was begun.".to_owned(),
            };
            return Err(error.into());
        }
    } else if directory.has_lost_its_state()? {
        return Err(directory.damaged(run_dir::STATE, "it is missing").into());
    }
    Ok(Start { config, directory: Some(directory), saved, records })
}

/// The settings of the run in a directory, and the hyperparameters that it trains with next, unless it has just begun.
pub fn present(path: &Path, changes: &Settings) -> Result<(TuneConfig, Option<Hyperparameters>), CliError> {
    let Start { config, saved, .. } = resumed(RunDir::look(path)?, changes)?;
    Ok((config, saved.map(|saved| saved.tuner.next)))
}

/// The first setting that differs and would lead to other bits.
fn changed(before: &TuneConfig, after: &TuneConfig) -> Option<String> {
    let table = |config: &TuneConfig| toml::Table::try_from(config).expect("settings are plain values");
    let (before, after) = (table(before), table(after));
    let differs = |key: &&String| !settings::FREE.contains(&key.as_str()) && before.get(*key) != after.get(*key);
    before.keys().chain(after.keys()).find(differs).cloned()
}

/// The windows that a configuration names. What should be known of recordings that they were cut from is said, and the
/// configuration then says how they were read.
pub fn load(config: &mut TuneConfig) -> Result<Dataset, CliError> {
    let (data, report) = library::windows(&config.data, &config.mapping())?;
    if let Some(report) = report {
        report.notes.iter().for_each(|sentence| super::note(format_args!("Note: {sentence}")));
        *config = config.clone().as_read(report.mapping);
    }
    Ok(data)
}
