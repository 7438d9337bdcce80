//! Runs that may be asked for.

use std::rc::Rc;

use super::protocol::{Engine, Settings};
use crate::bilevel::hyperparameters::Kind;
use crate::data::Sizes;
use crate::data::recordings::Mapping;
use crate::experiment::config::{Budget, DataSource, Network, TuneConfig};
use crate::experiment::setup::Scaled;

/// A run that may be asked for, and on what data.
pub struct Plans<'a> {
    pub settings: &'a Settings,
    pub config: TuneConfig,
    pub scaled: Rc<Scaled>,
    /// How large its parts and examples are.
    pub sizes: Sizes,
}

/// What an engine's pace depends on.
#[derive(Clone, PartialEq)]
pub struct Load {
    pub network: Network,
    pub batch: u32,
    pub weights: bool,
    /// Whether dropout, values and channels have noise of their own.
    pub noise: [bool; 3],
}

impl Load {
    pub fn of(settings: &Settings) -> Self {
        let tuned = |kind| settings.hyperparameters.contains(&kind);
        let noise = [Kind::Dropout, Kind::Jitter, Kind::Scaling].map(tuned);
        Load { network: settings.network.clone(), batch: settings.batch, weights: tuned(Kind::ExampleWeights), noise }
    }
}

/// What the ways to the hypergradient depend on: settings but those that make no difference, and the sizes of the data.
pub type Subject = (TuneConfig, Sizes);

impl Plans<'_> {
    /// What the ways to its hypergradient depend on.
    pub fn subject(&self) -> Subject {
        let TuneConfig { outer, budget, seed, method, device, .. } = TuneConfig::default();
        (TuneConfig { outer, budget, seed, method, device, ..self.config.clone() }, self.sizes.clone())
    }
}

/// Where data come from.
#[derive(Clone, PartialEq)]
pub struct Origin {
    /// What a configuration calls them.
    pub source: DataSource,
    /// How it has recordings of a visitor's own read.
    pub reading: Mapping,
}

/// What settings mean on the data.
pub fn plans<'a>(settings: &'a Settings, engine: Engine, origin: &Origin, scaled: Rc<Scaled>) -> Plans<'a> {
    let device = match engine {
        Engine::Webgpu => "auto",
        Engine::Cpu => "cpu",
    };
    let config = TuneConfig { device: device.to_owned(), ..configuration(settings, origin.clone()) };
    let sizes = scaled.split.sizes();
    Plans { settings, config, scaled, sizes }
}

fn configuration(settings: &Settings, Origin { source, reading }: Origin) -> TuneConfig {
    TuneConfig {
        data: source,
        network: settings.network.clone(),
        steps: settings.steps,
        budget: Budget::Trainings(settings.budget),
        batch: Some(settings.batch),
        method: settings.method,
        hyperparameters: settings.hyperparameters.clone(),
        seed: settings.seed,
        ..TuneConfig::default()
    }
    .as_read(reading)
}
