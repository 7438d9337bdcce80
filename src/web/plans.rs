//! Runs that may be asked for.

use std::rc::Rc;

use super::protocol::{Engine, Settings};
use crate::bilevel::Pace;
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::hyperparameters::Kind;
use crate::data::recordings::Mapping;
use crate::data::{Dataset, Sizes};
use crate::experiment::config::{Budget, DataSource, Network, TuneConfig};
use crate::experiment::predict;
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

/// Data as a run takes them.
#[derive(Clone)]
pub struct Taken {
    /// As they were recorded.
    pub source: Rc<Dataset>,
    /// Divided and scaled.
    pub scaled: Rc<Scaled>,
    /// Which labels are wrong, where some are on purpose.
    pub spoilt: Option<Spoilt>,
}

/// Labels that are wrong on purpose.
#[derive(Clone)]
pub struct Spoilt {
    /// The data divided and scaled before.
    pub right: Rc<Scaled>,
    /// Which training windows have another label.
    pub wrong: Rc<[bool]>,
}

/// What a run costs in all beside its tuning: as much again, where it is held against random search.
pub fn with_beside(settings: &Settings) -> f64 {
    if settings.compare { 2.0 } else { 1.0 }
}

impl Plans<'_> {
    /// Seconds of the whole run at this pace and with this plan.
    pub fn seconds(&self, pace: &Pace, plan: &Plan) -> f64 {
        with_beside(self.settings) * predict::seconds(pace, plan, &self.config, &self.sizes)
    }

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
