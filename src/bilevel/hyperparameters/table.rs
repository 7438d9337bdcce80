//! The table of hyperparameters: a row for each kind.

use super::row::{Entries, Holds, Kind, Names, Rate, Row, Start};
use crate::bilevel::{Noise, Transform};

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
    rate: Rate::OUTER,
    range: [0.1, 10.0],
    required: false,
    alternatives: &[],
    apart: None,
    scalars: &[],
    noise: None,
    holds: Holds::Logarithm,
    count: |_| 1,
    entries: |_, _| Box::new(std::iter::empty()),
};

const SCALAR: Row =
    Row { transform: Transform::UNIT, range: [0.1, 0.99], required: true, holds: Holds::Itself, ..USUAL };

const NOISE: Row = Row { range: [0.005, 0.5], required: true, ..USUAL };

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
        range: [1e-4, 0.3],
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
        rate: Rate { share: 0.25, ..Rate::OUTER },
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
        range: [0.5, 0.9999],
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
        range: [1e-8, 1e-2],
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
        title: "L2 penalty",
        symbol: "λ",
        unit: "penalty",
        names: Names::Kernels,
        start: Start::Setting("l2"),
        range: [1e-6, 0.1],
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
        range: [1e-6, 0.1],
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
        range: [0.05, 0.9],
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
        about: "One weight in (0, 2) a training example; tuned as the logit of its half.",
        record: "example_weights",
        title: "Example weights",
        symbol: "ω",
        unit: "weight of a window",
        transform: Transform::Within { low: 0.0, high: 2.0 },
        names: Names::Many,
        start: Start::Value(1.0),
        rate: Rate { setting: "example_weight_rate", usual: 0.3, share: 1.0 },
        range: [0.036, 1.964],
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
        range: [-3.0, 3.0],
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
        rate: Rate { share: 0.25, ..Rate::OUTER },
        range: [0.3, 3.0],
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
        rate: Rate { share: 0.0025, ..Rate::OUTER },
        range: [-1.0, 1.0],
        required: true,
        holds: Holds::Itself,
        count: |problem| problem.layout().initial_weights.len(),
        entries: |problem, k| one(problem.layout().initial_weights.start + k),
        ..USUAL
    },
];

pub(super) fn one(entry: usize) -> Entries {
    Box::new(std::iter::once(entry))
}
