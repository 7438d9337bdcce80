//! What a tuning run is told: its settings, their defaults, and what may be wrong with them.

// Long because every setting stands here, with its default and how it is read.

mod budget;
mod bytes;
mod check;
mod choices;
mod differentiation;
mod limits;
mod network;
mod rows;
mod source;
pub mod usual;
pub mod words;

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::budget::Budget;
pub use self::bytes::Bytes;
pub use self::choices::{Task, USUAL_BATCH, usual_decay, usual_hyperparameters};
pub use self::differentiation::Differentiation;
pub use self::network::Network;
pub use self::source::DataSource;
use super::leader::OuterMethod;
use crate::bilevel::hyperparameters::{Kind, ROWS, Row, Start};
use crate::bilevel::{Decay, Noise};
use crate::data::SubjectSplit;
use crate::data::recordings::{Columns, Mapping};
use crate::nn::optim::{Dynamics, Momentum};

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not TOML, or has a key or a type that a configuration does not have.
    #[error("line {line}, column {column}: {message}")]
    Toml {
        /// What is wrong, in the words of the parser.
        message: String,
        /// Line, from 1.
        line: usize,
        /// Column, in characters from 1.
        column: usize,
        /// The place in the text, in bytes.
        span: Range<usize>,
    },
    /// A setting of a trial has another type than it takes, cannot be there, or is not known.
    #[error("`{field}`: {message}")]
    Setting {
        /// Name of the setting.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// A setting is outside its range.
    #[error("`{field}` is {value}, but must be {must}. {mend}")]
    Value {
        /// Name of the setting in files.
        field: &'static str,
        /// What it is set to.
        value: String,
        /// What it must be, after "but must be".
        must: String,
        /// What to do, in a sentence.
        mend: String,
    },
}

/// All settings of a tuning run. Two runs with equal settings on the same device give the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Configuration of a tuning run")]
pub struct TuneConfig {
    /// See [`words::DATA`].
    #[schemars(description = words::DATA)]
    pub data: DataSource,
    /// See [`words::RATE`].
    #[schemars(description = words::RATE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// See [`words::WINDOW_LENGTH`].
    #[schemars(description = words::WINDOW_LENGTH)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// See [`words::OVERLAP`].
    #[schemars(description = words::OVERLAP)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<f64>,
    /// See [`words::TASK`].
    #[schemars(description = words::TASK, title = "Task")]
    pub task: Task,
    /// See [`words::NETWORK`].
    #[schemars(description = words::NETWORK, title = "Network")]
    pub network: Network,
    /// See [`words::STEPS`].
    #[schemars(description = words::STEPS, title = "Training steps", extend("symbol" = "T"), range(min = 1, max = limits::MOST_STEPS))]
    pub steps: u32,
    /// See [`words::OUTER`].
    #[schemars(description = words::OUTER, title = "Outer iterations at most", range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outer: Option<u32>,
    /// See [`words::BUDGET`].
    #[schemars(description = words::BUDGET, title = "Budget")]
    pub budget: Budget,
    /// See [`words::OUTER_METHOD`].
    #[schemars(description = words::OUTER_METHOD, title = "Outer optimiser")]
    pub outer_method: OuterMethod,
    /// See [`words::BATCH`].
    #[schemars(description = words::BATCH, title = "Batch", extend("symbol" = "B"), range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// See [`words::OPTIMIZER`].
    #[schemars(description = words::OPTIMIZER, title = "Inner optimiser")]
    pub optimizer: Dynamics,
    /// See [`words::METHOD`].
    #[schemars(description = words::METHOD, title = "Way to the hypergradient")]
    pub method: Differentiation,
    /// See [`words::HYPERPARAMETERS`].
    #[schemars(description = words::HYPERPARAMETERS, title = "Hyperparameters to tune")]
    pub hyperparameters: Vec<Kind>,
    /// See [`words::LEARNING_RATE`].
    #[schemars(description = words::LEARNING_RATE, title = "Learning rate", extend("symbol" = "η"), range(min = limits::LEAST, max = limits::MOST))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// See [`words::DECAY`].
    #[schemars(description = words::DECAY, title = "Decay of the rate")]
    pub decay: Decay,
    /// See [`words::MOMENTUM`].
    #[schemars(description = words::MOMENTUM, title = "Momentum", extend("symbol" = "μ", "exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// See [`words::BETAS`].
    #[schemars(description = words::BETAS, title = "Adam's decay rates", extend("symbol" = "β₁, β₂"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
    /// See [`words::EPSILON`].
    #[schemars(description = words::EPSILON, title = "Adam's ε", range(min = limits::LEAST, max = limits::MOST))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// See [`words::HYPERGRADIENT_RATE`].
    #[schemars(description = words::HYPERGRADIENT_RATE, title = "Hypergradient rate", extend("symbol" = "β"), range(min = limits::LEAST, max = limits::MOST))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypergradient_rate: Option<f64>,
    /// See [`words::MOMENTUM_HYPERGRADIENT_RATE`].
    #[schemars(description = words::MOMENTUM_HYPERGRADIENT_RATE, title = "Hypergradient rate of momentum", extend("symbol" = "β₂"), range(min = limits::LEAST, max = limits::MOST))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum_hypergradient_rate: Option<f64>,
    /// See [`words::L2`].
    #[schemars(description = words::L2, title = "L2 penalty", extend("symbol" = "λ"), range(min = limits::LEAST, max = limits::MOST))]
    pub l2: f64,
    /// See [`words::OUTER_RATE`].
    #[schemars(description = words::OUTER_RATE, title = "Outer rate", extend("exclusiveMinimum" = 0), range(max = limits::FASTEST))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outer_rate: Option<f64>,
    /// See [`words::EXAMPLE_WEIGHT_RATE`].
    #[schemars(description = words::EXAMPLE_WEIGHT_RATE, title = "Outer rate of example weights", extend("exclusiveMinimum" = 0), range(max = limits::FASTEST))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example_weight_rate: Option<f64>,
    /// See [`words::MISLABELLED`].
    #[schemars(description = words::MISLABELLED, title = "Wrong labels", range(min = 0, max = limits::MOST_MISLABELLED))]
    #[serde(skip_serializing_if = "is_zero")]
    pub mislabelled: f64,
    /// See [`words::DROPOUT`].
    #[schemars(description = words::DROPOUT, title = "Dropout rate", extend("symbol" = "p"), range(min = 0, max = limits::MOST_DROPOUT))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// See [`words::JITTER`].
    #[schemars(description = words::JITTER, title = "Jitter of windows", extend("symbol" = "σ"), range(min = 0, max = limits::LOUDEST))]
    pub jitter: f64,
    /// See [`words::SCALING`].
    #[schemars(description = words::SCALING, title = "Scaling of channels", extend("symbol" = "κ"), range(min = 0, max = limits::LOUDEST))]
    pub scaling: f64,
    /// See [`words::PATIENCE`].
    #[schemars(description = words::PATIENCE, title = "Patience")]
    pub patience: u32,
    /// See [`words::VALIDATION_WINDOWS`].
    #[schemars(description = words::VALIDATION_WINDOWS, title = "Validation windows", range(min = 1))]
    pub validation_windows: u32,
    /// See [`words::FOLDS`].
    #[schemars(description = words::FOLDS, title = "Folds", range(min = 2))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<u32>,
    /// See [`words::SELECTION_PEOPLE`].
    #[schemars(description = words::SELECTION_PEOPLE, title = "People who choose the iteration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection_people: Option<u32>,
    /// See [`words::MEMORY_BUDGET`].
    #[schemars(description = words::MEMORY_BUDGET, title = "Memory")]
    pub memory_budget: Bytes,
    /// See [`words::SEED`].
    #[schemars(description = words::SEED, title = "Seed")]
    pub seed: u32,
    /// See [`words::DEVICE`].
    #[schemars(description = words::DEVICE)]
    pub device: String,
    /// Who is validated and tested on.
    pub split: SubjectSplit,
    /// See [`words::COLUMNS`].
    #[schemars(description = words::COLUMNS)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
}

impl Default for TuneConfig {
    fn default() -> Self {
        TuneConfig {
            data: DataSource::Builtin,
            rate: None,
            window: None,
            overlap: None,
            task: Task::Classification,
            network: Network::NARROW,
            steps: 200,
            outer: None,
            budget: Budget::Trainings(72),
            outer_method: OuterMethod::Auto,
            batch: None,
            optimizer: Momentum.into(),
            method: Differentiation::Reverse,
            hyperparameters: usual_hyperparameters(&Momentum),
            learning_rate: None,
            decay: Decay::TAIL,
            momentum: None,
            betas: None,
            epsilon: None,
            hypergradient_rate: None,
            momentum_hypergradient_rate: None,
            l2: 1e-3,
            outer_rate: None,
            example_weight_rate: None,
            mislabelled: 0.0,
            dropout: None,
            jitter: 0.0,
            scaling: 0.0,
            patience: 15,
            validation_windows: 512,
            folds: None,
            selection_people: None,
            memory_budget: Bytes(1 << 30),
            seed: 0,
            device: "auto".to_owned(),
            split: SubjectSplit::default(),
            columns: None,
        }
    }
}

/// What older readers of configurations do not know is written where it does something.
fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

impl TuneConfig {
    /// How recordings of one's own become windows, as far as that is said.
    pub fn mapping(&self) -> Mapping {
        let columns = self.columns.clone().unwrap_or_default();
        Mapping { rate: self.rate, window: self.window, overlap: self.overlap, columns }
    }

    /// With what was seen of recordings of one's own in place of what was guessed, so that they are read the same again.
    #[must_use]
    pub fn as_read(self, Mapping { rate, window, overlap, columns }: Mapping) -> Self {
        let columns = (columns != Columns::default()).then_some(columns);
        TuneConfig { rate, window, overlap, columns, ..self }
    }

    /// Random search at the cost of so many trainings, all else as it is.
    pub fn random_search(&self, trainings: f64) -> Self {
        let budget = Budget::Trainings(trainings.round() as u32);
        TuneConfig { outer_method: OuterMethod::Random, budget, outer: None, patience: 0, ..self.clone() }
    }

    /// Windows in a training batch where there are so many to train on: as given, or usually 64.
    pub fn batch_of(&self, training_windows: usize) -> u32 {
        self.batch.unwrap_or(USUAL_BATCH.min(u32::try_from(training_windows).unwrap_or(u32::MAX)))
    }

    /// A first look: few steps on the small piece of data.
    pub fn quick() -> Self {
        TuneConfig {
            data: DataSource::Subset,
            steps: 100,
            budget: Budget::Trainings(36),
            validation_windows: 128,
            ..Self::default()
        }
    }

    /// Reads settings from TOML; those not named keep their defaults. [`TuneConfig::check`] is the
    /// caller's to call, after what overrides the file.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let wrong = |error: toml::de::Error| {
            let span = error.span().unwrap_or(0..0);
            let before = &text[..span.start.min(text.len())];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            ConfigError::Toml {
                message: error.message().to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                span,
            }
        };
        let given: toml::Table = toml::from_str(text).map_err(wrong)?;
        let mut config: Self = toml::from_str(text).map_err(wrong)?;
        // Files of an earlier version name every setting that it had: what is new since does not act in them.
        if ["outer", "memory_budget", "device"].iter().all(|key| given.contains_key(*key))
            && !given.contains_key("decay")
        {
            config = config.of_constant_rate();
        }
        Ok(config.following(|key| given.contains_key(key)).of_before())
    }

    /// Reads settings from an object of JSON, as trials have them; those not named keep their defaults. What is wrong is
    /// told of the first setting that is.
    pub fn from_json(settings: &Value) -> Result<Self, ConfigError> {
        let wrong = |field: &str, message: String| ConfigError::Setting { field: field.to_owned(), message };
        let Some(given) = settings.as_object() else {
            return Err(wrong("settings", "they are an object with the names of settings".to_owned()));
        };
        for (key, value) in given {
            let alone = Value::Object([(key.clone(), value.clone())].into_iter().collect());
            serde_json::from_value::<Self>(alone).map_err(|error| wrong(key, error.to_string()))?;
        }
        let config: Self =
            serde_json::from_value(settings.clone()).map_err(|error| wrong("settings", error.to_string()))?;
        Ok(config.following(|key| given.contains_key(key)))
    }

    /// With what is usual of its optimiser where that is not given.
    fn following(mut self, given: impl Fn(&str) -> bool) -> Self {
        if !given("hyperparameters") {
            self.hyperparameters = usual_hyperparameters(&*self.optimizer);
        }
        if !given("decay") && self.decay == Decay::TAIL {
            self.decay = usual_decay(&*self.optimizer);
        }
        self
    }

    /// All settings as JSON, which [`TuneConfig::from_json`] reads back as they are.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("settings are plain values")
    }

    /// All settings as TOML, which [`TuneConfig::from_toml`] reads back as they are.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain values")
    }

    /// The noise of the training.
    pub fn noise(&self) -> Vec<Noise> {
        let has = |row: &&Row| {
            let on = matches!(row.start, Start::SettingOr(key, _) if self.setting(key)[0] > 0.0);
            self.hyperparameters.contains(&row.kind) || on
        };
        ROWS.iter().filter(has).filter_map(|row| row.noise).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_round_trip() {
        for config in [
            TuneConfig::default(),
            TuneConfig::quick(),
            TuneConfig {
                data: DataSource::Path("a \"b\".zip".to_owned()),
                hyperparameters: vec![Kind::ExampleWeights],
                learning_rate: Some(0.1 + 0.2),
                memory_budget: Bytes(1_500_001),
                split: SubjectSplit { validation: Some(vec![3]), test: None },
                ..TuneConfig::default()
            },
        ] {
            assert_eq!(TuneConfig::from_toml(&config.to_toml()), Ok(config.clone()));
            config.check().unwrap();
        }
        assert_eq!(TuneConfig::from_toml(""), Ok(TuneConfig::default()));
    }

    /// The page makes its form of the schema; with `UPDATE` in the environment this writes it.
    #[test]
    fn the_page_has_this_schema() {
        let wanted = format!("{:#}\n", schemars::schema_for!(TuneConfig).to_value());
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("www/src/model/schema.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap();
        assert_eq!(page, wanted, "run `UPDATE=1 cargo test --lib the_page_has_this_schema`");
    }

    #[test]
    fn a_list_that_is_not_given_is_that_of_the_optimizer() {
        use Kind::{Betas, L2, Lr, Momentum};
        for (text, kinds) in [
            ("optimizer = \"sgd\"", vec![Lr, L2]),
            ("optimizer = \"adam\"\nbetas = [0.8, 0.99]", vec![Lr, Betas, L2]),
            ("optimizer = \"nesterov\"", vec![Lr, Momentum, L2]),
            ("optimizer = \"adam\"\nhyperparameters = [\"lr\"]", vec![Lr]),
        ] {
            let config = TuneConfig::from_toml(text).unwrap();
            config.check().unwrap();
            assert_eq!(config.hyperparameters, kinds, "{text}");
        }
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        for (text, start) in [
            ("momentum = 0.5\noptimizer = \"sgd\"", "`momentum` is 0.5"),
            ("optimizer = \"sgd\"\nmomentum = 0.9", "`momentum` is 0.9, but must be left out here. The optimizer sgd"),
            ("betas = [0.8, 0.999]", "`betas` is 0.8,0.999, but must be left out here. The optimizer momentum"),
            ("epsilon = 1e-3", "`epsilon` is 0.001"),
            ("example_weight_rate = 1.0", "`example_weight_rate` is 1, but must be left out here. Example weights"),
            (
                "outer_rate = 0.1\nhyperparameters = [\"example-weights\"]",
                "`outer_rate` is 0.1, but must be left out here. What is tuned has a rate of its own: set \
                 example_weight_rate",
            ),
        ] {
            let error = TuneConfig::from_toml(text).unwrap().check().unwrap_err().to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }

    /// Files of an earlier version named every setting, those that the run ignored as well.
    #[test]
    fn runs_of_before_are_read() {
        let ignored = "betas = [0.9, 0.999]\nepsilon = 1e-5\nexample_weight_rate = 0.25\n";
        let text = format!("optimizer = \"sgd\"\nhyperparameters = [\"lr\"]\nmomentum = 0.5\ndropout = 0.5\n{ignored}");
        let config = TuneConfig::from_toml(&text).unwrap();
        config.check().unwrap();
        assert_eq!((config.momentum, config.betas, config.dropout), (None, None, Some(0.5)));
        // All of them had an outer rate, used or not.
        let text = "outer_rate = 0.4\nhyperparameters = [\"example-weights\"]";
        let config = TuneConfig::from_toml(text).unwrap();
        config.check().unwrap();
        assert_eq!(config.outer_rate, None);
        // None had a decay, nor an outer optimiser to name.
        let text = "outer = 20\nmemory_budget = \"1GiB\"\ndevice = \"cpu\"\nlearning_rate = 0.001";
        let config = TuneConfig::from_toml(text).unwrap();
        assert_eq!((config.decay, config.outer_method), (Decay::None, OuterMethod::Adam));
        assert_eq!((config.outer, config.budget), (Some(20), Budget::UNLIMITED));
        // One that names fewer says what it means to set.
        assert!(TuneConfig::from_toml(ignored).unwrap().check().is_err());
    }

    #[test]
    fn toml_errors_point_at_the_key() {
        let error = |text: &str| TuneConfig::from_toml(text).unwrap_err();
        let ConfigError::Toml { message, line, column, span } = error("# é\nsteps = 3\n  stepz = 4\n") else {
            panic!("not a TOML error")
        };
        assert_eq!((line, column, span), (3, 3, 17..22));
        assert!(message.contains("unknown field `stepz`"), "{message}");
        assert!(error("hyperparameters = [\"lr\", \"foo\"]").to_string().contains("unknown hyperparameter `foo`"));
        assert!(error("memory_budget = \"lots\"").to_string().contains("`lots` is no size"));
        assert!(error("memory_budget = -1").to_string().contains("must not be negative"));
        assert!(error("steps = -1").to_string().starts_with("line 1, column 9"));
    }

    #[test]
    fn check_names_the_field() {
        type Spoil = fn(&mut TuneConfig);
        fn adam() -> TuneConfig {
            TuneConfig::from_toml("optimizer = \"adam\"").unwrap()
        }
        let cases: [(&str, Spoil); 29] = [
            ("data", |c| c.data = DataSource::Path(" ".to_owned())),
            ("steps", |c| c.steps = 0),
            ("steps", |c| c.steps = 4_000_000_000),
            ("outer_rate", |c| c.outer_rate = Some(1e300)),
            ("outer", |c| c.outer = Some(0)),
            ("budget", |c| c.budget = Budget::Trainings(0)),
            ("batch", |c| c.batch = Some(0)),
            ("validation_windows", |c| c.validation_windows = 0),
            ("hyperparameters", |c| c.hyperparameters.clear()),
            ("hyperparameters", |c| c.hyperparameters.push(Kind::Lr)),
            ("learning_rate", |c| c.learning_rate = Some(-1.0)),
            ("learning_rate", |c| c.learning_rate = Some(f64::NAN)),
            ("momentum", |c| c.momentum = Some(1.0)),
            ("l2", |c| c.l2 = 0.0),
            ("outer_rate", |c| c.outer_rate = Some(f64::INFINITY)),
            ("example_weight_rate", |c| {
                c.example_weight_rate = Some(0.0);
                c.hyperparameters.push(Kind::ExampleWeights);
            }),
            ("mislabelled", |c| c.mislabelled = 1.0),
            ("mislabelled", |c| (c.mislabelled, c.task) = (0.1, Task::Prediction)),
            ("mislabelled", |c| (c.mislabelled, c.folds) = (0.1, Some(3))),
            ("dropout", |c| c.dropout = Some(1.0)),
            ("dropout", |c| c.dropout = Some(0.999_999_999_9)),
            ("learning_rate", |c| c.learning_rate = Some(1e31)),
            ("l2", |c| c.l2 = 1e-60),
            ("jitter", |c| c.jitter = 1e30),
            ("jitter", |c| c.jitter = f64::NAN),
            ("scaling", |c| c.scaling = 11.0),
            ("scaling", |c| c.scaling = 1e-60),
            ("betas", |c| *c = TuneConfig { betas: Some([0.9, 1.0]), ..adam() }),
            ("epsilon", |c| *c = TuneConfig { epsilon: Some(0.0), ..adam() }),
        ];
        for (name, spoil) in cases {
            let mut config = TuneConfig::default();
            spoil(&mut config);
            let Err(ConfigError::Value { field, .. }) = config.check() else { panic!("{name} passed") };
            assert_eq!(field, name);
        }
        let of = |batch| TuneConfig { batch, ..TuneConfig::default() };
        of(Some(64)).check_batch(64).unwrap();
        assert!(of(Some(64)).check_batch(63).unwrap_err().to_string().contains("at most 63"));
        // One that nobody named follows small data.
        of(None).check_batch(63).unwrap();
        assert_eq!([63, 6000].map(|train| of(None).batch_of(train)), [63, 64]);
        assert_eq!(of(Some(64)).batch_of(63), 64);
    }
}
