//! One row a hyperparameter: all that is said of a kind anywhere. Settings, checks, help, records, the schema and the
//! page read it.

use serde::{Deserialize, Serialize};

use crate::bilevel::{Noise, Problem, Transform};

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
    /// Step size β of hypergradient descent on the learning rate.
    HypergradientRate,
    /// Step size of hypergradient descent on the momentum.
    MomentumHypergradientRate,
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
    /// One weight in (0, 2) a training example.
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

/// How fast the outer optimiser moves a kind: a share of the value of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The setting.
    pub setting: &'static str,
    /// Its value where it is not given.
    pub usual: f64,
    /// The share: less where there are many of it, or where a little does much.
    pub share: f64,
}

impl Rate {
    /// Of all that has none of its own.
    pub const OUTER: Rate = Rate { setting: "outer_rate", usual: 0.4, share: 1.0 };
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
    /// Between which values a search without hypergradients looks for it.
    pub range: [f64; 2],
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
        start.into_iter().chain([self.rate.setting])
    }
}
