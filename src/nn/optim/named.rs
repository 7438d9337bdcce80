//! The optimisers that have a name.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    Adam, Averaged, Bounds, Dynamics, Epsilon, HeavyBall, HypergradientDescent, Momentum, Nesterov, Rule, Sgd,
};

/// The optimisers that move weights alone.
pub fn plain() -> [Dynamics; 5] {
    [Sgd.into(), Momentum.into(), HeavyBall.into(), Nesterov.into(), Adam(Epsilon::Inside).into()]
}

/// The optimisers that configurations name.
pub fn named() -> Vec<Dynamics> {
    plain().into_iter().chain(averaged()).chain(hypergradient_descents()).collect()
}

/// Every one, for tests that go through all.
pub fn every() -> Vec<Dynamics> {
    named().into_iter().chain([Adam(Epsilon::Outside).into()]).collect()
}

impl FromStr for Dynamics {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || named().iter().map(|optimizer| format!("`{}`", optimizer.name())).collect::<Vec<_>>().join(", ");
        let found = every().into_iter().find(|optimizer| optimizer.name() == name);
        found.ok_or_else(|| format!("unknown optimizer `{name}`, expected one of {}", names()))
    }
}

impl JsonSchema for Dynamics {
    fn schema_name() -> Cow<'static, str> {
        "Dynamics".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let rows = every();
        let rows = rows.iter().map(|row| json_schema!({ "const": row.name(), "description": row.formula() }));
        json_schema!({ "oneOf": rows.collect::<Vec<_>>() })
    }
}

/// Those judged by an average of their weights.
fn averaged() -> [Dynamics; 2] {
    let formula = "momentum, judged by w̄ ← w̄ + 7 / (t + 6) (w − w̄) of its weights after step t";
    let momentum = Averaged::new("momentum-averaged", formula, Momentum);
    let formula = "adam, judged by w̄ ← w̄ + 7 / (t + 6) (w − w̄) of its weights after step t";
    [momentum, Averaged::new("adam-averaged", formula, Adam(Epsilon::Inside))].map(Dynamics::from)
}

/// Those with hypergradient descent that configurations name.
fn hypergradient_descents() -> Vec<Dynamics> {
    let moved = |name, formula, base: Dynamics, rule, rates: &[f64]| {
        HypergradientDescent::new(base, rule, rates).named(name, formula)
    };
    let pair = Bounds { rate: [1e-5, 0.2], momentum: [0.7, 0.99] };
    let adam = || Dynamics::from(Adam(Epsilon::Inside));
    let rows = [
        moved(
            "sgd-hd",
            "sgd with α for η, from η on α ← α + β ⟨g, g⁻⟩ before each step, g⁻ being the gradient a step before",
            Sgd.into(),
            Rule::Additive,
            &[1e-3],
        ),
        moved(
            "sgd-hd-multiplicative",
            "sgd with α for η, from η on α ← α (1 + β cos(g, g⁻)) before each step",
            Sgd.into(),
            Rule::Multiplicative,
            &[0.02],
        ),
        moved(
            "sgd-hd-log",
            "sgd with α for η, from η on ln α ← ln α + β α ⟨g, g⁻⟩ before each step",
            Sgd.into(),
            Rule::Log,
            &[0.1],
        ),
        moved(
            "nesterov-hd",
            "nesterov with α for η, from η on α ← α + β ⟨g, u⁻⟩ before each step, −α u⁻ being the step before",
            Nesterov.into(),
            Rule::Additive,
            &[1e-3],
        ),
        moved(
            "nesterov-hd-multiplicative",
            "nesterov with α for η, from η on α ← α (1 + β cos(g, u⁻)) before each step",
            Nesterov.into(),
            Rule::Multiplicative,
            &[0.02],
        ),
        moved(
            "nesterov-hd-log",
            "nesterov with α for η, from η on ln α ← ln α + β α ⟨g, u⁻⟩ before each step",
            Nesterov.into(),
            Rule::Log,
            &[0.5],
        ),
        moved(
            "adam-hd",
            "adam with α for η, from η on α ← α + β ⟨g, u⁻⟩ before each step, −α u⁻ being the step before",
            adam(),
            Rule::Additive,
            &[1e-7],
        ),
        moved(
            "adam-hd-multiplicative",
            "adam with α for η, from η on α ← α (1 + β cos(g, u⁻)) before each step",
            adam(),
            Rule::Multiplicative,
            &[0.02],
        ),
        moved(
            "adam-hd-log",
            "adam with α for η, from η on ln α ← ln α + β α ⟨g, u⁻⟩ before each step",
            adam(),
            Rule::Log,
            &[3e-3],
        ),
        moved(
            "heavy-ball-hd",
            "heavy-ball with α for η and γ for μ, from η and μ on α ← α + β ⟨g, g⁻⟩ and γ ← γ − β₂ ⟨g, w⁻ − w⁻⁻⟩ before \
             each step, w⁻ and w⁻⁻ being the weights one and two steps before",
            HeavyBall.into(),
            Rule::Additive,
            &[1e-4, 1e-4],
        ),
        moved(
            "heavy-ball-hd-cosine",
            "the same with ln α ← ln α + β cos(g, g⁻) within 0.00001 to 0.2, and the logit of γ between 0.7 and 0.99 less \
             β₂ cos(g, w⁻ − w⁻⁻)",
            HeavyBall.into(),
            Rule::Cosine,
            &[0.02, 0.02],
        )
        .within(pair),
        moved(
            "momentum-hd",
            "momentum with α for η and γ for μ, from η and μ on α ← α + β ⟨g, v⁻⟩ and γ ← γ + β₂ α ⟨g, v⁻⁻⟩ before each \
             step, v⁻ and v⁻⁻ being v one and two steps before",
            Momentum.into(),
            Rule::Additive,
            &[1e-4, 1e-4],
        ),
        moved(
            "momentum-hd-cosine",
            "the same with ln α ← ln α + β cos(g, v⁻) within 0.00001 to 0.2, and the logit of γ between 0.7 and 0.99 plus \
             β₂ cos(g, v⁻⁻)",
            Momentum.into(),
            Rule::Cosine,
            &[0.02, 0.02],
        )
        .within(pair),
        moved(
            "heavy-ball-hd-printed",
            "heavy-ball-hd with the signs that were printed, w ← w − α g − γ (w − w⁻) and γ ← γ + β₂ ⟨g, w⁻ − w⁻⁻⟩: momentum \
             that works against itself, here to be seen",
            HeavyBall.into(),
            Rule::Additive,
            &[1e-4, 1e-4],
        )
        .printed(),
    ];
    rows.into_iter().map(Dynamics::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_name_each_once() {
        for optimizer in named() {
            assert_eq!(optimizer.name().parse::<Dynamics>().unwrap(), optimizer);
        }
        let error = "rmsprop".parse::<Dynamics>().unwrap_err();
        let names = "unknown optimizer `rmsprop`, expected one of `sgd`, `momentum`, `heavy-ball`, `nesterov`, `adam`, `momentum-averaged`";
        assert!(error.starts_with(names), "{error}");
    }
}
