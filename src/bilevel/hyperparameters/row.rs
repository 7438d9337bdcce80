//! One row a hyperparameter: all that is said of a kind anywhere. Settings, checks, help, records, the schema and the
//! page read it.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::bilevel::{Noise, Problem, Transform};
use crate::nn::optim::Optimizer;

/// A kind of hyperparameter; what it is stands in its [row](Kind::row).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Kind {
    /// One learning rate for all steps and layers.
    Lr,
    /// A factor on the learning rate for each layer.
    LrLayers,
    /// A factor on the learning rate for each training step.
    LrSchedule,
    /// Momentum in (0, 1).
    Momentum,
    /// Adam's two decay rates in (0, 1).
    Betas,
    /// Adam's ε.
    Epsilon,
    /// One L2 penalty λ a layer, ½ λ ‖W‖² of its kernel.
    L2,
    /// One L2 penalty λ for all layers, ½ λ ‖W‖² of their kernels.
    L2Global,
    /// Rate in (0, 1) of Gaussian dropout.
    Dropout,
    /// Standard deviation of noise added to the values of an example.
    Jitter,
    /// Standard deviation of random factors on the channels of an example.
    Scaling,
    /// One weight in (0, 1) a training example.
    ExampleWeights,
    /// What the problem's own regularizer takes.
    Regularizer,
    /// A factor on the initial weights.
    InitialScale,
    /// The initial weights.
    InitialWeights,
}

/// What an array holds of a hyperparameter θ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Holds {
    Itself,
    Logarithm,
    /// ½ ln(θ / (1 − θ)): the log standard deviation of dropout at rate θ.
    HalfLogit,
}

/// What values of a kind are called in records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Names {
    /// There is one, called as the kind.
    One,
    /// One for each layer that has parameters.
    Layers,
    /// One for each layer that has a kernel.
    Kernels,
    /// These.
    Each(&'static [&'static str]),
    /// They are too many for names: mean and extremes are recorded.
    Many,
}

/// What a kind starts from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// The value of this setting.
    Setting(&'static str),
    /// The value of this setting, or the number where that is 0.
    SettingOr(&'static str, f64),
    /// This number.
    Value(f64),
    /// The initial weights.
    Weights,
}

/// How fast the outer optimiser moves a kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// This share of the outer rate: less where there are many of it, or where a little does much.
    Share(f64),
    /// By a rate of its own, the value of this setting; where it is not given, the number.
    Setting(&'static str, f64),
}

/// Everything about a kind.
pub struct Row {
    /// The kind.
    pub kind: Kind,
    /// Its name in configurations.
    pub name: &'static str,
    /// What it is and how it is tuned, in a sentence.
    pub about: &'static str,
    /// What records call its values, before a dot or a digit where they are several.
    pub record: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Its symbol.
    pub symbol: &'static str,
    /// What its values are.
    pub unit: &'static str,
    /// Where it may lie and how it is tuned, unless a group says otherwise.
    pub transform: Transform,
    /// What its values are called in records.
    pub names: Names,
    /// What it starts from.
    pub start: Start,
    /// How fast the outer optimiser moves it.
    pub rate: Rate,
    /// Whether a problem that has it needs to be told its value.
    pub required: bool,
    /// Kinds that may stand in its place where a problem needs it.
    pub alternatives: &'static [Kind],
    /// A kind that moves the same, so that at most one of the two is tuned.
    pub apart: Option<Kind>,
    /// The scalars of inner optimisers that it holds, by their names there.
    pub scalars: &'static [&'static str],
    /// The noise whose strength it is.
    pub noise: Option<Noise>,
    pub(super) holds: Holds,
    /// How many of it a problem has; none where it has no such thing.
    pub(super) count: fn(&Problem) -> usize,
    /// The entries of the hyperparameter vector that its k-th value moves.
    pub(super) entries: fn(&Problem, usize) -> Entries,
}

pub(super) type Entries = Box<dyn Iterator<Item = usize>>;

/// What most kinds have in common: one factor on a logarithmic scale, which is there only where it is tuned.
const USUAL: Row = Row {
    kind: Kind::Lr,
    name: "",
    about: "",
    record: "",
    title: "",
    symbol: "",
    unit: "",
    transform: Transform::Log,
    names: Names::One,
    start: Start::Value(1.0),
    rate: Rate::Share(1.0),
    required: false,
    alternatives: &[],
    apart: None,
    scalars: &[],
    noise: None,
    holds: Holds::Logarithm,
    count: |_| 1,
    entries: |_, _| Box::new(std::iter::empty()),
};

const SCALAR: Row = Row { transform: Transform::UNIT, required: true, holds: Holds::Itself, ..USUAL };

const NOISE: Row = Row { required: true, ..USUAL };

/// Every kind, in the order of their enumeration.
pub static ROWS: [Row; 15] = [
    Row {
        kind: Kind::Lr,
        name: "lr",
        about: "One learning rate for all steps and layers; tuned as its logarithm.",
        record: "learning_rate",
        title: "Learning rate",
        symbol: "η",
        unit: "rate a step",
        start: Start::Setting("learning_rate"),
        required: true,
        alternatives: &[Kind::LrLayers, Kind::LrSchedule],
        entries: |problem, _| Box::new(problem.layout().log_lr),
        ..USUAL
    },
    Row {
        kind: Kind::LrLayers,
        name: "lr-layers",
        about: "A factor on the learning rate for each layer; tuned as its logarithm.",
        record: "lr_layers",
        title: "Rate per layer",
        symbol: "ηₗ",
        unit: "factor on the rate",
        names: Names::Layers,
        count: |problem| problem.model.parameter_layers(),
        entries: |problem, k| Box::new(problem.layout().log_lr.skip(k).step_by(problem.model.parameter_layers())),
        ..USUAL
    },
    Row {
        kind: Kind::LrSchedule,
        name: "lr-schedule",
        about: "A factor on the learning rate for each training step; tuned as its logarithm.",
        record: "lr_schedule",
        title: "Rate per step",
        symbol: "ηₜ",
        unit: "factor on the rate",
        names: Names::Many,
        rate: Rate::Share(0.25),
        count: |problem| problem.steps,
        entries: |problem, k| {
            let layers = problem.model.parameter_layers();
            Box::new(problem.layout().log_lr.skip(k * layers).take(layers))
        },
        ..USUAL
    },
    Row {
        kind: Kind::Momentum,
        name: "momentum",
        about: "Momentum in (0, 1); tuned as its logit.",
        record: "momentum",
        title: "Momentum",
        symbol: "μ",
        unit: "factor, 0 to 1",
        start: Start::Setting("momentum"),
        scalars: &["momentum"],
        count: |problem| Kind::Momentum.scalars(problem).len(),
        entries: |problem, k| Kind::Momentum.scalar(problem, k),
        ..SCALAR
    },
    Row {
        kind: Kind::Betas,
        name: "betas",
        about: "Adam's two decay rates in (0, 1); tuned as their logits.",
        record: "beta",
        title: "Decay rates",
        symbol: "β",
        unit: "factor, 0 to 1",
        names: Names::Each(&["beta1", "beta2"]),
        start: Start::Setting("betas"),
        scalars: &["beta1", "beta2"],
        count: |problem| Kind::Betas.scalars(problem).len(),
        entries: |problem, k| Kind::Betas.scalar(problem, k),
        ..SCALAR
    },
    Row {
        kind: Kind::Epsilon,
        name: "epsilon",
        about: "Adam's ε; tuned as its logarithm.",
        record: "epsilon",
        title: "Adam's ε",
        symbol: "ε",
        unit: "size of a gradient",
        transform: Transform::Log,
        start: Start::Setting("epsilon"),
        scalars: &["epsilon"],
        count: |problem| Kind::Epsilon.scalars(problem).len(),
        entries: |problem, k| Kind::Epsilon.scalar(problem, k),
        ..SCALAR
    },
    Row {
        kind: Kind::L2,
        name: "l2",
        about: "One L2 penalty λ a layer, ½ λ ‖W‖² of its kernel; tuned as its logarithm.",
        record: "l2",
        title: "L2 penalty per layer",
        symbol: "λ",
        unit: "penalty",
        names: Names::Kernels,
        start: Start::Setting("l2"),
        required: true,
        alternatives: &[Kind::L2Global],
        apart: Some(Kind::L2Global),
        count: |problem| if problem.l2 { problem.model.kernels().len() } else { 0 },
        entries: |problem, k| one(problem.layout().l2_log.start + problem.model.kernels()[k].0),
        ..USUAL
    },
    Row {
        kind: Kind::L2Global,
        name: "l2-global",
        about: "One L2 penalty λ for all layers, ½ λ ‖W‖² of their kernels; tuned as its logarithm.",
        record: "l2",
        title: "L2 penalty of all layers",
        symbol: "λ",
        unit: "penalty",
        start: Start::Setting("l2"),
        apart: Some(Kind::L2),
        count: |problem| usize::from(problem.l2),
        entries: |problem, _| Box::new(problem.layout().l2_log),
        ..USUAL
    },
    Row {
        kind: Kind::Dropout,
        name: "dropout",
        about: "Rate in (0, 1) of Gaussian dropout; tuned as its logit.",
        record: "dropout",
        title: "Dropout rate",
        symbol: "p",
        unit: "rate, 0 to 1",
        transform: Transform::UNIT,
        start: Start::Setting("dropout"),
        noise: Some(Noise::Dropout),
        holds: Holds::HalfLogit,
        count: |problem| Kind::Dropout.noises(problem),
        entries: |problem, _| Kind::Dropout.strength(problem),
        ..NOISE
    },
    Row {
        kind: Kind::Jitter,
        name: "jitter",
        about: "Standard deviation of noise added to the values of an example; tuned as its logarithm.",
        record: "jitter",
        title: "Jitter of windows",
        symbol: "σ",
        unit: "standard deviation",
        start: Start::SettingOr("jitter", 0.05),
        noise: Some(Noise::Jitter),
        count: |problem| Kind::Jitter.noises(problem),
        entries: |problem, _| Kind::Jitter.strength(problem),
        ..NOISE
    },
    Row {
        kind: Kind::Scaling,
        name: "scaling",
        about: "Standard deviation of random factors on the channels of an example; tuned as its logarithm.",
        record: "scaling",
        title: "Scaling of channels",
        symbol: "κ",
        unit: "standard deviation",
        start: Start::SettingOr("scaling", 0.1),
        noise: Some(Noise::Scaling),
        count: |problem| Kind::Scaling.noises(problem),
        entries: |problem, _| Kind::Scaling.strength(problem),
        ..NOISE
    },
    Row {
        kind: Kind::ExampleWeights,
        name: "example-weights",
        about: "One weight in (0, 1) a training example; tuned as its logit.",
        record: "example_weights",
        title: "Example weights",
        symbol: "ω",
        unit: "weight of a window",
        transform: Transform::UNIT,
        names: Names::Many,
        start: Start::Value(0.5),
        rate: Rate::Setting("example_weight_rate", 0.25),
        required: true,
        holds: Holds::Itself,
        count: |problem| problem.layout().weights.len(),
        entries: |problem, k| one(problem.layout().weights.start + k),
        ..USUAL
    },
    Row {
        kind: Kind::Regularizer,
        name: "regularizer",
        about: "What the problem's own regularizer takes, as it takes it. The networks that a configuration names have \
                none.",
        record: "regularizer",
        title: "Regularizer",
        symbol: "ρ",
        unit: "as the regularizer takes it",
        transform: Transform::Identity,
        names: Names::Many,
        start: Start::Value(0.0),
        required: true,
        holds: Holds::Itself,
        count: |problem| problem.layout().regularizer.len(),
        entries: |problem, k| one(problem.layout().regularizer.start + k),
        ..USUAL
    },
    Row {
        kind: Kind::InitialScale,
        name: "initial-scale",
        about: "A factor on the initial weights; tuned as its logarithm.",
        record: "initial_scale",
        title: "Scale of first weights",
        symbol: "s",
        unit: "factor",
        // It acts on the outputs by its fourth power, once in each layer.
        rate: Rate::Share(0.25),
        required: true,
        count: |problem| problem.layout().initial_scale_log.len(),
        entries: |problem, _| one(problem.layout().initial_scale_log.start),
        ..USUAL
    },
    Row {
        kind: Kind::InitialWeights,
        name: "initial-weights",
        about: "The initial weights.",
        record: "initial_weights",
        title: "First weights",
        symbol: "w₀",
        unit: "weight",
        transform: Transform::Identity,
        names: Names::Many,
        start: Start::Weights,
        rate: Rate::Share(0.0025),
        required: true,
        holds: Holds::Itself,
        count: |problem| problem.layout().initial_weights.len(),
        entries: |problem, k| one(problem.layout().initial_weights.start + k),
        ..USUAL
    },
];

fn one(entry: usize) -> Entries {
    Box::new(std::iter::once(entry))
}

impl Row {
    /// The settings that it reads, by name.
    pub fn settings(&self) -> impl Iterator<Item = &'static str> {
        let start = match self.start {
            Start::Setting(key) | Start::SettingOr(key, _) => Some(key),
            Start::Value(_) | Start::Weights => None,
        };
        let rate = match self.rate {
            Rate::Setting(key, _) => Some(key),
            Rate::Share(_) => None,
        };
        start.into_iter().chain(rate)
    }
}

impl Kind {
    /// All that is said of it.
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Kind> {
        ROWS.iter().map(|row| row.kind)
    }

    /// The kinds that a configuration may name: its networks have no regularizer of their own.
    pub fn of_configurations() -> impl Iterator<Item = Kind> {
        Self::all().filter(|kind| *kind != Kind::Regularizer)
    }

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// How many of it a problem has; none where it has no such thing.
    pub fn count(self, problem: &Problem) -> usize {
        (self.row().count)(problem)
    }

    /// Whether it holds scalars of an inner optimiser.
    pub fn is_of(self, optimizer: &dyn Optimizer) -> bool {
        optimizer.scalars().iter().any(|scalar| self.row().scalars.contains(&scalar.name))
    }

    /// Places of its scalars among those of the problem's optimiser; none where this has no such scalars.
    fn scalars(self, problem: &Problem) -> Vec<usize> {
        let names = problem.optimizer.scalars().iter().map(|scalar| scalar.name);
        names.enumerate().filter(|(_, name)| self.row().scalars.contains(name)).map(|(k, _)| k).collect()
    }

    fn scalar(self, problem: &Problem, k: usize) -> Entries {
        one(problem.layout().scalars.start + self.scalars(problem)[k])
    }

    fn noises(self, problem: &Problem) -> usize {
        usize::from(self.row().noise.is_some_and(|noise| problem.noise.contains(&noise)))
    }

    fn strength(self, problem: &Problem) -> Entries {
        let position = problem.noise.iter().position(|&noise| Some(noise) == self.row().noise);
        let first = problem.layout().noise_log.start;
        Box::new(position.into_iter().map(move |position| first + position))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::all().find(|kind| kind.name() == name);
        found.ok_or_else(|| {
            let names: Vec<String> = Self::of_configurations().map(|kind| format!("`{kind}`")).collect();
            format!("unknown hyperparameter `{name}`, expected one of {}", names.join(", "))
        })
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.name().to_owned()
    }
}

impl JsonSchema for Kind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Kind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let rows = Self::of_configurations().map(Kind::row);
        let rows = rows.map(|row| json_schema!({ "const": row.name, "description": row.about }));
        json_schema!({ "oneOf": rows.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_their_kinds_and_their_names_differ() {
        for (k, row) in ROWS.iter().enumerate() {
            assert_eq!(row.kind as usize, k, "{}", row.name);
            assert_eq!(row.name.parse(), Ok(row.kind));
            assert!(![row.about, row.record, row.title, row.symbol, row.unit].contains(&""), "{}", row.name);
            let apart = row.apart.map_or(row.kind, |other| other.row().apart.unwrap());
            assert_eq!(apart, row.kind, "{} is apart from a kind that is not apart from it", row.name);
        }
    }

    /// The page reads the rows from a file; with `UPDATE` in the environment this writes it.
    #[test]
    fn the_page_has_the_same_rows() {
        let text = |text: &str| serde_json::to_string(text).expect("a text");
        let rows = Kind::of_configurations().map(Kind::row).map(|row| {
            let [name, title, symbol, unit] = [row.name, row.title, row.symbol, row.unit].map(text);
            let log = row.transform == Transform::Log;
            format!("  {name}: {{\"title\": {title}, \"symbol\": {symbol}, \"unit\": {unit}, \"log\": {log}}}")
        });
        let wanted = format!("{{\n{}\n}}\n", rows.collect::<Vec<_>>().join(",\n"));
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("www/src/model/hyperparameters.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap();
        assert_eq!(page, wanted, "run `UPDATE=1 cargo test --lib the_page_has_the_same_rows`");
    }
}
