//! The optimisers with hypergradient descent that have a name.

use super::{Adam, Bounds, Dynamics, Epsilon, HeavyBall, HypergradientDescent, Momentum, Nesterov, Rule, Sgd};

/// Those with hypergradient descent that configurations name.
pub(super) fn hypergradient_descents() -> Vec<Dynamics> {
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
