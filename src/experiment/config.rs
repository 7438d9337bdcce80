//! What a tuning run is told: its settings, their defaults, and what may be wrong with them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::bilevel::hyperparameters::Kind;
use crate::bilevel::{FixedPoint, Forward, Implicit, Loss, Memory, Method, Noise, Reverse, Solver, Truncated};
use crate::data::{CHANNELS, CLASSES, SubjectSplit};
use crate::nn::functions;
use crate::nn::optim::{Epsilon, Optimizer};

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not TOML, or has a key or a type that a configuration does not have.
    #[error("line {line}, column {column}: {message}")]
    Toml { message: String, line: usize, column: usize, span: Range<usize> },
    /// A setting is outside its range.
    #[error("`{field}` is {value}, but must be {must}. {mend}")]
    Value { field: &'static str, value: String, must: String, mend: String },
}

/// The network to train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Network {
    /// 8 filters, 16 hidden units: fast, for slow machines and for trying things out.
    #[default]
    Narrow,
    /// 64 filters, 100 hidden units: the full network of the papers.
    Paper,
}

impl Network {
    /// Filters of each convolution.
    pub fn filters(self) -> usize {
        match self {
            Network::Narrow => 8,
            Network::Paper => 64,
        }
    }

    /// Units of the hidden dense layer.
    pub fn hidden(self) -> usize {
        match self {
            Network::Narrow => 16,
            Network::Paper => 100,
        }
    }
}

/// What the network is to learn of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Task {
    /// Its activity: softmax and cross-entropy.
    #[default]
    Classification,
    /// Its activity, as the first paper prints it: softplus outputs and their squared error.
    ClassificationMse,
    /// The sample that follows, every channel scaled to 0…1: softplus outputs and their squared error.
    Prediction,
    /// The same with linear outputs.
    PredictionLinear,
}

impl Task {
    /// Whether it is the activity that is learnt, and not the next sample.
    pub fn classifies(self) -> bool {
        matches!(self, Task::Classification | Task::ClassificationMse)
    }

    /// Outputs of the network.
    pub fn outputs(self) -> usize {
        if self.classifies() { CLASSES } else { CHANNELS }
    }

    /// Whether the outputs pass through softplus.
    pub fn softplus(self) -> bool {
        matches!(self, Task::ClassificationMse | Task::Prediction)
    }

    /// Inner and outer loss of a window.
    pub fn loss(self) -> Loss {
        match self {
            Task::Classification => Loss::CrossEntropy,
            Task::ClassificationMse => Loss::Own { labels: true, each: functions::one_hot_mse_each },
            Task::Prediction | Task::PredictionLinear => Loss::MeanSquaredError,
        }
    }
}

/// How the inner problem is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Dynamics {
    /// Stochastic gradient descent.
    Sgd,
    /// With momentum, in its velocity form.
    #[default]
    Momentum,
    /// With momentum, in Polyak's position form.
    HeavyBall,
    /// With Nesterov's momentum.
    Nesterov,
    /// Adam, with ε inside the root.
    Adam,
}

impl Dynamics {
    /// The inner optimiser.
    pub fn optimizer(self) -> Optimizer {
        match self {
            Dynamics::Sgd => Optimizer::Sgd,
            Dynamics::Momentum => Optimizer::Momentum,
            Dynamics::HeavyBall => Optimizer::HeavyBall,
            Dynamics::Nesterov => Optimizer::Nesterov,
            Dynamics::Adam => Optimizer::Adam(Epsilon::Inside),
        }
    }
}

/// How the outer loss is differentiated. Written as one text: `reverse`, `forward`, `truncated:20`,
/// `implicit:20` or `fixed-point:100`, where the number is that of steps or of iterations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Differentiation {
    /// Back through all training steps.
    #[default]
    Reverse,
    /// Along with the training, a few hyperparameters at a time.
    Forward,
    /// Back through the last steps alone.
    Truncated(u32),
    /// As if the training had ended in a stationary point: conjugate gradients on the normal equations.
    Implicit(u32),
    /// As if it had ended in a fixed point of the last step.
    FixedPoint(u32),
}

impl Differentiation {
    /// The method for so many directions. Those that keep states keep to the memory budget.
    pub fn method(self, memory: Memory, directions: usize) -> Box<dyn Method> {
        match self {
            Differentiation::Reverse => Reverse { memory }.into(),
            Differentiation::Forward => Forward::for_directions(directions).into(),
            Differentiation::Truncated(last) => Truncated { last: last as usize, memory }.into(),
            Differentiation::Implicit(k) => Implicit::new(Solver::NormalEquations, k as usize).into(),
            Differentiation::FixedPoint(k) => FixedPoint::new(k as usize).into(),
        }
    }
}

impl FromStr for Differentiation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = text.split_once(':').map_or((text, None), |(name, number)| (name, Some(number)));
        let number = number.map(|number| number.parse().ok().filter(|&n| n > 0));
        match (name, number) {
            ("reverse", None) => Ok(Differentiation::Reverse),
            ("forward", None) => Ok(Differentiation::Forward),
            ("truncated", Some(Some(last))) => Ok(Differentiation::Truncated(last)),
            ("implicit", Some(Some(iterations))) => Ok(Differentiation::Implicit(iterations)),
            ("fixed-point", Some(Some(iterations))) => Ok(Differentiation::FixedPoint(iterations)),
            _ => Err(format!(
                "`{text}` is no method: write reverse, forward, truncated:K (the last K steps), implicit:K or \
                 fixed-point:K (K iterations), with K at least 1"
            )),
        }
    }
}

impl TryFrom<String> for Differentiation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Differentiation> for String {
    fn from(differentiation: Differentiation) -> Self {
        differentiation.to_string()
    }
}

impl fmt::Display for Differentiation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Differentiation::Reverse => f.write_str("reverse"),
            Differentiation::Forward => f.write_str("forward"),
            Differentiation::Truncated(last) => write!(f, "truncated:{last}"),
            Differentiation::Implicit(iterations) => write!(f, "implicit:{iterations}"),
            Differentiation::FixedPoint(iterations) => write!(f, "fixed-point:{iterations}"),
        }
    }
}

/// Where the windows come from. Written as one text: `builtin`, `subset`, or a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub enum DataSource {
    /// The whole built-in data set: 30 people.
    #[default]
    Builtin,
    /// The small built-in piece: 12 people. Accuracies on it are not comparable with published ones.
    Subset,
    /// A folder or a zip file.
    Path(String),
}

impl From<String> for DataSource {
    fn from(text: String) -> Self {
        match text.as_str() {
            "builtin" => DataSource::Builtin,
            "subset" => DataSource::Subset,
            _ => DataSource::Path(text),
        }
    }
}

impl From<DataSource> for String {
    fn from(source: DataSource) -> Self {
        source.to_string()
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            DataSource::Builtin => "builtin",
            DataSource::Subset => "subset",
            DataSource::Path(path) => path,
        })
    }
}

/// A number of bytes. Read from a number or from a text such as `512MiB` or `1.5 GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no size: write a number with a unit, such as 512MiB, 1.5GB or 65536");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" => 1,
            name => UNITS.iter().find(|(u, _)| u.eq_ignore_ascii_case(name)).ok_or_else(wrong)?.1,
        };
        let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
        let bytes = number * unit as f64;
        // Above 2⁵³ an f64 no longer counts single bytes, and no device has as many.
        if (0.0..9e15).contains(&bytes) { Ok(Bytes(bytes as u64)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Bytes {
    /// Exact: in the largest binary unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let whole = |&&(_, unit): &&(&str, u64)| self.0 >= unit && self.0.is_multiple_of(unit);
        let (name, unit) = UNITS[..3].iter().find(whole).copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes, or a text such as \"512MiB\".",
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string" }]
        })
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number of bytes, or a text such as \"512MiB\"")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Bytes, E> {
                u64::try_from(bytes).map(Bytes).map_err(|_| E::custom("a size must not be negative"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// All settings of a tuning run. Two runs with equal settings on the same device give the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Configuration of a tuning run")]
pub struct TuneConfig {
    /// Windows to learn from: `builtin` (UCI HAR, 30 people), `subset` (12 of them), or the path of
    /// a UCI HAR folder or zip.
    pub data: DataSource,
    /// What the network is to learn of a window.
    pub task: Task,
    /// The network to train.
    pub network: Network,
    /// Training steps T of the inner problem, through all of which the hypergradient goes.
    pub steps: u32,
    /// Outer iterations: trainings, each followed by one step on the hyperparameters.
    pub outer: u32,
    /// Windows in a training batch.
    pub batch: u32,
    /// How the inner problem is trained.
    pub optimizer: Dynamics,
    /// How the outer loss is differentiated: `reverse`, `forward`, `truncated:K`, `implicit:K` or
    /// `fixed-point:K`.
    pub method: Differentiation,
    /// What to tune. The other hyperparameters keep their start values.
    pub hyperparameters: Vec<Kind>,
    /// Inner learning rate to start from.
    pub learning_rate: f64,
    /// Inner momentum to start from.
    pub momentum: f64,
    /// L2 penalty of every layer to start from.
    pub l2: f64,
    /// Rate of the outer Adam on scalar hyperparameters, in log or logit units per iteration.
    pub outer_rate: f64,
    /// Rate of the outer Adam on example weights, in logit units per iteration.
    pub example_weight_rate: f64,
    /// Share of units that dropout silences during training. Where it is tuned, noise of the same
    /// variance stands for it.
    pub dropout: f64,
    /// Standard deviation of noise on the scaled windows during training; where it is tuned and 0, it
    /// starts from 0.05.
    pub jitter: f64,
    /// Standard deviation of a random factor on each channel of a window during training; where it is
    /// tuned and 0, it starts from 0.1.
    pub scaling: f64,
    /// Outer iterations without a lower outer loss after which a run ends; 0 never ends it.
    pub patience: u32,
    /// The outer loss is taken on a fixed random choice of this many validation windows, or on all
    /// where there are fewer.
    pub validation_windows: u32,
    /// Memory that the run may use on the device, such as "512MiB". With less, more training steps
    /// are recomputed; the results are the same bits.
    pub memory_budget: Bytes,
    /// Seed of the initial weights, batches, dropout masks and the choice of validation windows.
    pub seed: u32,
    /// Device: `auto`, `reference`, or the name or index of an adapter.
    pub device: String,
    /// Who is validated and tested on.
    pub split: SubjectSplit,
}

/// Training steps that a plan is made for.
const MOST_STEPS: u32 = 1_000_000;

/// An iteration at this rate goes through all of single precision: e⁸⁸ is its largest number.
const FASTEST: f64 = 88.0;

impl Default for TuneConfig {
    fn default() -> Self {
        TuneConfig {
            data: DataSource::Builtin,
            task: Task::Classification,
            network: Network::Narrow,
            steps: 200,
            outer: 20,
            batch: 64,
            optimizer: Dynamics::Momentum,
            method: Differentiation::Reverse,
            hyperparameters: vec![Kind::Lr, Kind::Momentum, Kind::L2],
            learning_rate: 0.001,
            momentum: 0.5,
            l2: 1e-3,
            outer_rate: 0.4,
            example_weight_rate: 0.25,
            dropout: 0.5,
            jitter: 0.0,
            scaling: 0.0,
            patience: 0,
            validation_windows: 512,
            memory_budget: Bytes(1 << 30),
            seed: 0,
            device: "auto".to_owned(),
            split: SubjectSplit::default(),
        }
    }
}

impl TuneConfig {
    /// A first look: few steps on the small piece of data.
    pub fn quick() -> Self {
        TuneConfig {
            data: DataSource::Subset,
            steps: 100,
            outer: 10,
            validation_windows: 128,
            learning_rate: 0.005,
            ..Self::default()
        }
    }

    /// Reads settings from TOML; those not named keep their defaults. [`TuneConfig::check`] is the
    /// caller's to call, after what overrides the file.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let before = &text[..span.start.min(text.len())];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            ConfigError::Toml {
                message: error.message().to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                span,
            }
        })
    }

    /// All settings as TOML, which [`TuneConfig::from_toml`] reads back as they are.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain values")
    }

    /// Refuses settings that no data could make sense of.
    pub fn check(&self) -> Result<(), ConfigError> {
        fn require(
            ok: bool,
            field: &'static str,
            value: impl fmt::Display,
            must: &str,
            mend: &str,
        ) -> Result<(), ConfigError> {
            let error =
                || ConfigError::Value { field, value: value.to_string(), must: must.to_owned(), mend: mend.to_owned() };
            if ok { Ok(()) } else { Err(error()) }
        }
        let positive = |field, value: f64, mend| {
            require(value > 0.0 && value.is_finite(), field, value, "a finite number above 0", mend)
        };
        require(
            self.steps >= 1,
            "steps",
            self.steps,
            "at least 1",
            "Without a training step there is nothing to differentiate; 20 is a quick look, 200 the usual number.",
        )?;
        require(
            self.steps <= MOST_STEPS,
            "steps",
            self.steps,
            &format!("at most {MOST_STEPS}"),
            "Every step has its place in the plan and its own learning rates in memory; 200 is the usual number.",
        )?;
        require(self.outer >= 1, "outer", self.outer, "at least 1", "20 is the usual number of outer iterations.")?;
        require(self.batch >= 1, "batch", self.batch, "at least 1", "64 is the usual size.")?;
        require(
            self.validation_windows >= 1,
            "validation_windows",
            self.validation_windows,
            "at least 1",
            "The outer loss needs windows to be taken on; 512 is the usual number.",
        )?;
        let names = "Name one or more of lr, momentum, l2, example-weights and the others, each once.";
        let twice =
            (1..self.hyperparameters.len()).any(|k| self.hyperparameters[..k].contains(&self.hyperparameters[k]));
        require(!self.hyperparameters.is_empty(), "hyperparameters", "empty", "a list of what to tune", names)?;
        require(!twice, "hyperparameters", self.kind_names(), "free of repetitions", names)?;
        self.check_kinds()?;
        positive("learning_rate", self.learning_rate, "Start from 0.001, or larger if training is slow.")?;
        require(
            self.momentum > 0.0 && self.momentum < 1.0,
            "momentum",
            self.momentum,
            "above 0 and below 1",
            "It is tuned on a logit scale, which has no ends; start from 0.5, or from 0.01 for nearly none.",
        )?;
        positive("l2", self.l2, "It is tuned on a log scale; start from 0.001, or from 1e-8 for nearly none.")?;
        let rate = |field, value: f64, mend| {
            require(value > 0.0 && value <= FASTEST, field, value, &format!("above 0 and at most {FASTEST}"), mend)
        };
        rate("outer_rate", self.outer_rate, "0.4 moves each hyperparameter by up to a half in an iteration.")?;
        rate("example_weight_rate", self.example_weight_rate, "0.25 is the usual rate.")?;
        require(
            (0.0..1.0).contains(&self.dropout),
            "dropout",
            self.dropout,
            "at least 0 and below 1",
            "0 switches it off; 0.5 is the usual share.",
        )?;
        let not_negative = |field, value: f64, mend| {
            require(value >= 0.0 && value.is_finite(), field, value, "a finite number, 0 or above", mend)
        };
        not_negative("jitter", self.jitter, "Windows are scaled to a deviation of 1; 0.05 is a little noise.")?;
        not_negative("scaling", self.scaling, "0.1 changes each channel by about a tenth.")
    }

    fn kind_names(&self) -> String {
        self.hyperparameters.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",")
    }

    /// Refuses hyperparameters that the training does not have.
    fn check_kinds(&self) -> Result<(), ConfigError> {
        let dynamics = self.optimizer;
        let adam = dynamics == Dynamics::Adam;
        let missing = |kind: &Kind| match kind {
            Kind::Momentum if adam => Some("The optimizer is adam, which has betas in its place: name lr,betas,l2."),
            Kind::Momentum if dynamics == Dynamics::Sgd => {
                Some("The optimizer is sgd, which has none: name lr,l2, or take momentum.")
            }
            Kind::Betas | Kind::Epsilon if !adam => Some("Only adam has it: take optimizer adam."),
            Kind::Dropout if self.dropout == 0.0 => Some("Dropout is switched off: start from a rate above 0."),
            Kind::Regularizer => {
                Some("This network has no regularizer of its own; problems made in Rust may have one.")
            }
            _ => None,
        };
        if [Kind::L2, Kind::L2Global].iter().all(|kind| self.hyperparameters.contains(kind)) {
            return Err(ConfigError::Value {
                field: "hyperparameters",
                value: self.kind_names(),
                must: "with one of l2 and l2-global at most".to_owned(),
                mend: "Tune one penalty for all layers or one for each.".to_owned(),
            });
        }
        let Some((kind, mend)) = self.hyperparameters.iter().find_map(|kind| missing(kind).map(|mend| (kind, mend)))
        else {
            return Ok(());
        };
        Err(ConfigError::Value {
            field: "hyperparameters",
            value: self.kind_names(),
            must: format!("without {}, which this training does not have", kind.name()),
            mend: mend.to_owned(),
        })
    }

    /// The noise of the training.
    pub fn noise(&self) -> Vec<Noise> {
        let tuned = |kind: Kind| self.hyperparameters.contains(&kind);
        let all = [
            (Noise::Dropout, tuned(Kind::Dropout)),
            (Noise::Jitter, tuned(Kind::Jitter) || self.jitter > 0.0),
            (Noise::Scaling, tuned(Kind::Scaling) || self.scaling > 0.0),
        ];
        all.into_iter().filter(|(_, has)| *has).map(|(noise, _)| noise).collect()
    }

    /// Refuses a batch larger than the training set that it is drawn from without replacement.
    pub fn check_batch(&self, training_windows: usize) -> Result<(), ConfigError> {
        if self.batch as usize <= training_windows {
            return Ok(());
        }
        Err(ConfigError::Value {
            field: "batch",
            value: self.batch.to_string(),
            must: format!("at most {training_windows}, the number of training windows"),
            mend: "A batch holds each window at most once: take a smaller batch or more data.".to_owned(),
        })
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
                learning_rate: 0.1 + 0.2,
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

    #[test]
    fn toml_errors_point_at_the_key() {
        let error = |text: &str| TuneConfig::from_toml(text).unwrap_err();
        let ConfigError::Toml { message, line, column, span } = error("# é\nsteps = 3\n  stepz = 4\n") else {
            panic!("not a TOML error")
        };
        assert_eq!((line, column, span), (3, 3, 17..22));
        assert!(message.contains("unknown field `stepz`"), "{message}");
        assert!(error("hyperparameters = [\"lr\", \"foo\"]").to_string().contains("unknown variant `foo`"));
        assert!(error("memory_budget = \"lots\"").to_string().contains("`lots` is no size"));
        assert!(error("memory_budget = -1").to_string().contains("must not be negative"));
        assert!(error("steps = -1").to_string().starts_with("line 1, column 9"));
    }

    #[test]
    fn check_names_the_field() {
        type Spoil = fn(&mut TuneConfig);
        let cases: [(&str, Spoil); 15] = [
            ("steps", |c| c.steps = 0),
            ("steps", |c| c.steps = 4_000_000_000),
            ("outer_rate", |c| c.outer_rate = 1e300),
            ("outer", |c| c.outer = 0),
            ("batch", |c| c.batch = 0),
            ("validation_windows", |c| c.validation_windows = 0),
            ("hyperparameters", |c| c.hyperparameters.clear()),
            ("hyperparameters", |c| c.hyperparameters.push(Kind::Lr)),
            ("learning_rate", |c| c.learning_rate = -1.0),
            ("learning_rate", |c| c.learning_rate = f64::NAN),
            ("momentum", |c| c.momentum = 1.0),
            ("l2", |c| c.l2 = 0.0),
            ("outer_rate", |c| c.outer_rate = f64::INFINITY),
            ("example_weight_rate", |c| c.example_weight_rate = 0.0),
            ("dropout", |c| c.dropout = 1.0),
        ];
        for (name, spoil) in cases {
            let mut config = TuneConfig::default();
            spoil(&mut config);
            let Err(ConfigError::Value { field, .. }) = config.check() else { panic!("{name} passed") };
            assert_eq!(field, name);
        }
        TuneConfig::default().check_batch(64).unwrap();
        assert!(TuneConfig::default().check_batch(63).unwrap_err().to_string().contains("at most 63"));
    }

    #[test]
    fn sizes() {
        for (text, bytes, printed) in [
            ("512MiB", 512 << 20, "512MiB"),
            ("1.5 GiB", 3 << 29, "1536MiB"),
            ("1GB", 1_000_000_000, "1000000000B"),
            ("2kb", 2000, "2000B"),
            ("0", 0, "0B"),
            ("4096", 4096, "4KiB"),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
            assert_eq!(Bytes(bytes).to_string(), printed);
            assert_eq!(printed.parse(), Ok(Bytes(bytes)));
        }
        for text in ["", "MiB", "1 XB", "-1MiB", "1e30GiB", "NaN"] {
            text.parse::<Bytes>().unwrap_err();
        }
    }
}
