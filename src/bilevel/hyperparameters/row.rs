//! One row a hyperparameter: all that is said of a kind anywhere. Settings, checks, help, records, the schema and the
//! page read it.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::table::{ROWS, one};
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
    pub(super) fn scalars(self, problem: &Problem) -> Vec<usize> {
        let names = problem.optimizer.scalars().iter().map(|scalar| scalar.name);
        names.enumerate().filter(|(_, name)| self.row().scalars.contains(name)).map(|(k, _)| k).collect()
    }

    pub(super) fn scalar(self, problem: &Problem, k: usize) -> Entries {
        one(problem.layout().scalars.start + self.scalars(problem)[k])
    }

    pub(super) fn noises(self, problem: &Problem) -> usize {
        usize::from(self.row().noise.is_some_and(|noise| problem.noise.contains(&noise)))
    }

    pub(super) fn strength(self, problem: &Problem) -> Entries {
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
