//! What the rows of hyperparameters say of settings: values, what a run looks at, what its training does not have.

use serde_json::Value;

use super::{Budget, ConfigError, Network, TuneConfig, USUAL_BATCH, usual_hyperparameters};
use crate::bilevel::Decay;
use crate::bilevel::hyperparameters::{Kind, ROWS, Rate, Row, Start};
use crate::experiment::leader::OuterMethod;
use crate::nn::optim::{self, Dynamics};

/// The power of the batch size that usual learning rates grow with up to batches of 64, beyond which they stay
/// (docs/choosing.md).
const POWER: f64 = 0.25;

impl TuneConfig {
    /// The value or values of a setting by name: those given, or the usual ones.
    ///
    /// # Panics
    /// If no row of a hyperparameter reads such a setting.
    pub fn setting(&self, key: &str) -> Vec<f64> {
        self.given(key).unwrap_or_else(|| self.usual(key).expect("a row names a setting"))
    }

    /// The value or values of a setting that is given.
    fn given(&self, key: &str) -> Option<Vec<f64>> {
        let table = toml::Table::try_from(self).expect("settings are plain values");
        match table.get(key)? {
            toml::Value::Float(value) => Some(vec![*value]),
            toml::Value::Array(values) => values.iter().map(toml::Value::as_float).collect(),
            _ => None,
        }
    }

    /// The usual value or values of a setting that configurations may leave out; none where there is no such setting.
    pub(super) fn usual(&self, key: &str) -> Option<Vec<f64>> {
        let row = ROWS.iter().find(|row| row.settings().any(|setting| setting == key))?;
        match row.start {
            _ if row.rate.setting == key => Some(vec![self.leader().0.usual_rate(&row.rate)]),
            Start::Setting("dropout") => Some(vec![0.5]),
            Start::Setting("learning_rate") => Some(vec![self.usual_rate()]),
            _ => {
                // Its own, or those of the first that has them.
                let named = optim::named();
                let all = [&self.optimizer].into_iter().chain(&named);
                let specs: Vec<_> = all.flat_map(|optimizer| optimizer.scalars()).collect();
                let usual = |name: &&str| specs.iter().find(|spec| spec.name == *name).map(|spec| spec.usual);
                row.scalars.iter().map(usual).collect()
            }
        }
    }

    /// The usual learning rate of the optimiser on batches of this size.
    fn usual_rate(&self) -> f64 {
        self.optimizer.usual_rate() * (f64::from(self.batch.unwrap_or(USUAL_BATCH)) / 64.0).min(1.0).powf(POWER)
    }

    /// The outer optimiser, and why it is this one.
    pub fn leader(&self) -> (OuterMethod, String) {
        self.outer_method.of(&self.hyperparameters)
    }

    /// The settings that rows name, which some runs do not look at.
    pub fn of_rows() -> impl Iterator<Item = &'static str> {
        let mut named: Vec<&str> = ROWS.iter().flat_map(Row::settings).collect();
        named.sort_unstable();
        named.dedup();
        named.into_iter()
    }

    /// Whether a run looks at a setting; of those that rows do not name, it does.
    pub fn uses(&self, key: &str) -> bool {
        let mut rows = ROWS.iter().filter(|row| row.settings().any(|setting| setting == key)).peekable();
        rows.peek().is_none()
            || rows.any(|row| match row.start {
                _ if row.rate.setting == key => self.hyperparameters.contains(&row.kind),
                Start::Setting("dropout") => matches!(self.network, Network::Zoo(_)),
                _ => row.scalars.is_empty() || row.kind.is_of(&*self.optimizer),
            })
    }

    /// Whether a setting says how hyperparameters are tuned, so that a plain training has no use for it.
    pub fn is_of_tuning(key: &str) -> bool {
        ["outer", "budget", "outer_method", "method", "patience", "folds", "selection_people"].contains(&key)
            || ROWS.iter().any(|row| row.rate.setting == key)
    }

    /// The settings of one plain training.
    pub fn of_training(&self) -> Value {
        let mut settings = self.to_json();
        if let Some(settings) = settings.as_object_mut() {
            settings.retain(|key, _| !Self::is_of_tuning(key));
        }
        settings
    }

    /// With the usual values of what the run looks at and was not given.
    pub fn filled(&self) -> Self {
        let one = |key: &str| self.uses(key).then(|| self.setting(key)[0]);
        TuneConfig {
            learning_rate: one("learning_rate"),
            momentum: one("momentum"),
            betas: self.uses("betas").then(|| self.setting("betas").try_into().ok()).flatten(),
            epsilon: one("epsilon"),
            hypergradient_rate: one("hypergradient_rate"),
            momentum_hypergradient_rate: one("momentum_hypergradient_rate"),
            outer_rate: one("outer_rate"),
            example_weight_rate: one("example_weight_rate"),
            dropout: one("dropout"),
            ..self.clone()
        }
    }

    /// Refuses settings that a run would not look at.
    pub(super) fn check_use(&self) -> Result<(), ConfigError> {
        for row in &ROWS {
            for key in row.settings().filter(|key| !self.uses(key)) {
                let Some(values) = self.given(key) else { continue };
                let optimizer = self.optimizer.name();
                let mend = if key == row.rate.setting {
                    self.moving(row)
                } else if row.scalars.is_empty() {
                    "The layers of the network's file say what they drop.".to_owned()
                } else {
                    format!("The optimizer {optimizer} has no {key}: {}.", having(row.kind))
                };
                let value = values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
                return Err(ConfigError::Value { field: key, value, must: "left out here".to_owned(), mend });
            }
        }
        Ok(())
    }

    /// How to go on where nothing that is tuned moves at a kind's rate.
    fn moving(&self, row: &Row) -> String {
        let shared = ROWS.iter().filter(|other| other.rate.setting == row.rate.setting).count() > 1;
        match self.hyperparameters.first() {
            Some(tuned) if shared => {
                format!("What is tuned has a rate of its own: set {} in its place.", tuned.row().rate.setting)
            }
            _ => format!("{} are not tuned: name {} among the hyperparameters.", row.title, row.name),
        }
    }

    /// What a training lacks that hyperparameters of this kind could be of, and how to go on.
    pub(super) fn lacks(&self, kind: Kind) -> Option<String> {
        let row = kind.row();
        match kind {
            Kind::Dropout if matches!(self.network, Network::Zoo(_)) && self.setting("dropout") == [0.0] => {
                Some("Dropout is switched off: start from a rate above 0.".to_owned())
            }
            Kind::Regularizer => {
                Some("This network has no regularizer of its own; problems made in Rust may have one.".to_owned())
            }
            _ if row.scalars.is_empty() || kind.is_of(&*self.optimizer) => None,
            _ => {
                let usual = usual_hyperparameters(&*self.optimizer);
                let own: Vec<&str> =
                    usual.iter().filter(|kind| !kind.row().scalars.is_empty()).map(|k| k.name()).collect();
                let instead =
                    if own.is_empty() { "none".to_owned() } else { format!("{} in its place", own.join(",")) };
                let usual = usual.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",");
                let name = self.optimizer.name();
                Some(format!("The optimizer is {name}, which has {instead}: name {usual}, or {}.", having(kind)))
            }
        }
    }

    /// Settings of a version that had no decay and no outer optimiser but Adam, whose iterations alone were limited.
    pub(super) fn of_constant_rate(self) -> Self {
        TuneConfig { decay: Decay::None, outer_method: OuterMethod::Adam, budget: Budget::UNLIMITED, ..self }
    }

    /// Settings of an earlier version, which named all of them: without those that the run did not look at. An outer
    /// rate it named, and the usual one means nothing where nothing moves at it.
    pub fn of_before(mut self) -> Self {
        if self.outer_rate == Some(Rate::OUTER.usual) && !self.uses("outer_rate") {
            self.outer_rate = None;
        }
        let Self { momentum, betas, epsilon, example_weight_rate, dropout, .. } = &self;
        let all = momentum.and(*epsilon).and(*example_weight_rate).and(*dropout).is_some() && betas.is_some();
        let forget = |key: &str| all && !self.uses(key);
        let [m, b, e, w] = ["momentum", "betas", "epsilon", "example_weight_rate"].map(forget);
        self.momentum = self.momentum.filter(|_| !m);
        self.betas = self.betas.filter(|_| !b);
        self.epsilon = self.epsilon.filter(|_| !e);
        self.example_weight_rate = self.example_weight_rate.filter(|_| !w);
        self
    }
}

/// How to get a training that has a kind, such as `take optimizer adam`; of those with hypergradient descent only where no
/// other has it.
fn having(kind: Kind) -> String {
    let of = |optimizers: &[Dynamics]| -> Vec<&str> {
        optimizers.iter().filter(|o| kind.is_of(&***o)).map(|o| o.name()).collect()
    };
    let names = Some(of(&optim::plain())).filter(|names| !names.is_empty()).unwrap_or_else(|| of(&optim::named()));
    let names = names.join(", ");
    format!(
        "take optimizer {}",
        names.rsplit_once(", ").map_or(names.clone(), |(rest, last)| format!("{rest} or {last}"))
    )
}
