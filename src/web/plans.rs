//! Runs that may be asked for.

use std::rc::Rc;

use serde_json::{Value, json};

use super::protocol::{self, DataInfo, Engine, Form, Setting, Settings};
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::{Noise, Pace};
use crate::data::recordings::Mapping;
use crate::data::{Dataset, Sizes};
use crate::experiment::config::{Budget, ConfigError, DataSource, Network, Task, TuneConfig};
use crate::experiment::offers::{Offer, offers, refusal};
use crate::experiment::predict;
use crate::experiment::setup::Scaled;
use crate::nn::optim::Dynamics;

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
    network: Network,
    task: Task,
    optimizer: Dynamics,
    batch: u32,
    folds: Option<u32>,
    weights: bool,
    noise: Vec<Noise>,
    dropout: bool,
}

impl Load {
    /// That of a configuration on so many training windows.
    pub fn of(config: &TuneConfig, train: usize) -> Self {
        Load {
            network: config.network.clone(),
            task: config.task,
            optimizer: config.optimizer.clone(),
            batch: config.batch_of(train),
            folds: config.folds,
            weights: config.hyperparameters.contains(&Kind::ExampleWeights),
            noise: config.noise(),
            dropout: config.setting("dropout")[0] > 0.0,
        }
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
    /// The same with right labels, where some are wrong on purpose.
    pub right: Option<Rc<Scaled>>,
    /// What a configuration calls them, and how it has them read.
    pub origin: Origin,
    /// What the page is told of them.
    pub info: DataInfo,
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

    /// What an engine's pace on it depends on.
    pub fn load(&self) -> Load {
        Load::of(&self.config, self.sizes.train)
    }

    /// What goes with its settings, and what they come to.
    pub fn form(&self, id: u32) -> Form {
        let offer = |offer: Offer| protocol::Offer {
            setting: offer.setting.to_owned(),
            value: offer.value,
            refusal: offer.refusal,
            usual: offer.usual,
        };
        let problem = refusal(&self.config, &self.sizes);
        let Value::Object(all) = self.config.filled().to_json() else { unreachable!("settings have names") };
        let dropout = self.config.setting("dropout")[0];
        let model = self.config.network.model(&self.sizes.input, self.sizes.outputs, dropout).ok();
        Form {
            id,
            offers: offers(&self.config, &self.sizes).into_iter().map(offer).collect(),
            values: all.iter().map(Setting::of).collect(),
            unused: TuneConfig::of_rows().filter(|key| !self.config.uses(key)).map(str::to_owned).collect(),
            layers: model.map(|model| serde_json::to_string_pretty(model.layers()).expect("layers are plain values")),
            problem,
        }
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

/// What settings mean on data that are taken as they want them.
pub fn plans<'a>(settings: &'a Settings, engine: Engine, taken: &Taken) -> Result<Plans<'a>, ConfigError> {
    let device = match engine {
        Engine::Webgpu => "auto",
        Engine::Cpu => "cpu",
    };
    let config = TuneConfig { device: device.to_owned(), ..configuration(settings, &taken.origin)? };
    let sizes = taken.scaled.split.sizes();
    Ok(Plans { settings, config, scaled: taken.scaled.clone(), sizes })
}

/// The configuration of settings, checked as far as it can be read.
pub fn configuration(settings: &Settings, origin: &Origin) -> Result<TuneConfig, ConfigError> {
    let mut named = json!({
        "data": origin.source,
        "network": settings.network,
        "steps": settings.steps,
        "budget": Budget::Trainings(settings.budget),
        "batch": settings.batch,
        "method": settings.method,
        "hyperparameters": settings.hyperparameters,
        "seed": settings.seed,
        "mislabelled": f64::from(settings.mislabelled) / 100.0,
    });
    for Setting { name, value } in &settings.more {
        named[name] = serde_json::from_str(value).unwrap_or_else(|_| value.as_str().into());
    }
    Ok(TuneConfig::from_json(&named)?.as_read(origin.reading.clone()))
}
