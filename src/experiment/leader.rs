//! The outer optimisers that runs can be told to take, by name.

use std::fmt;
use std::ops::{Deref, DerefMut};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bilevel::hyperparameters::{Kind, Names, Rate};
use crate::bilevel::outer::{GuardedAdam, OuterAdam, OuterOptimizer, ProbeDescent, Sampled, Source, Variables};

/// How hyperparameters are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum OuterMethod {
    /// `probe-descent`; where there are many of a kind, such as example weights, `guarded-adam`.
    #[default]
    Auto,
    /// Tries along a hypergradient by plain trainings, which cost a third of one.
    ProbeDescent,
    /// A hypergradient and a step of Adam at a time, kept from the edge of stability.
    GuardedAdam,
    /// A hypergradient and a step of Adam at a time; steps to a much larger loss are taken back.
    Adam,
    /// Trainings at points drawn evenly from the ranges of the hyperparameters.
    Random,
    /// Trainings at the points of the Sobol sequence.
    Sobol,
    /// Trainings where a Gaussian process expects the most.
    Gp,
}

impl OuterMethod {
    /// All of them.
    pub const ALL: [OuterMethod; 7] = [
        OuterMethod::Auto,
        OuterMethod::ProbeDescent,
        OuterMethod::GuardedAdam,
        OuterMethod::Adam,
        OuterMethod::Random,
        OuterMethod::Sobol,
        OuterMethod::Gp,
    ];

    /// What `auto` means for these hyperparameters, and why.
    pub fn of(self, kinds: &[Kind]) -> (OuterMethod, String) {
        let many = kinds.iter().find(|kind| kind.row().names == Names::Many);
        match (self, many) {
            (OuterMethod::Auto, Some(many)) => {
                let reason =
                    format!("{} are many, and one hypergradient tells of them all", many.row().title.to_lowercase());
                (OuterMethod::GuardedAdam, reason)
            }
            (OuterMethod::Auto, None) => (
                OuterMethod::ProbeDescent,
                "the hyperparameters are few, and a training costs less than a hypergradient".to_owned(),
            ),
            (named, _) => (named, "asked for".to_owned()),
        }
    }

    /// Whether every training has batches, dropout and noise of its own. What tries points keeps the best network, and
    /// finds a better one if not only its points differ; what goes by hypergradients alone compares like with like.
    pub(super) fn redraws(self) -> bool {
        !matches!(self, OuterMethod::GuardedAdam | OuterMethod::Adam)
    }

    /// How many of so many iterations take a hypergradient, about.
    pub(super) fn hypergradients(self, iterations: u32) -> u32 {
        match self {
            OuterMethod::GuardedAdam | OuterMethod::Adam => iterations,
            // Three tries along each.
            OuterMethod::Auto | OuterMethod::ProbeDescent => iterations.div_ceil(4),
            OuterMethod::Random | OuterMethod::Sobol | OuterMethod::Gp => 0,
        }
    }

    /// The usual value of a rate's setting.
    pub(super) fn usual_rate(self, rate: &Rate) -> f64 {
        match (self, rate.setting == Rate::OUTER.setting) {
            (OuterMethod::GuardedAdam, true) => 0.15,
            (OuterMethod::Adam, false) => 0.25,
            _ => rate.usual,
        }
    }

    /// An optimiser, for a method that is not `auto`.
    pub(super) fn start(self, variables: Variables, seed: u64) -> Leader {
        match self {
            OuterMethod::Auto | OuterMethod::ProbeDescent => Leader::ProbeDescent(ProbeDescent::new(variables, seed)),
            OuterMethod::GuardedAdam => Leader::GuardedAdam(GuardedAdam::new(variables)),
            OuterMethod::Adam => {
                let rates = variables.moved.iter().flat_map(|moved| std::iter::repeat_n(moved.rate, moved.count));
                Leader::Adam(OuterAdam::with_rates(rates.collect()))
            }
            OuterMethod::Random => Leader::Sampled(Sampled::new(variables, Source::Random, seed)),
            OuterMethod::Sobol => Leader::Sampled(Sampled::new(variables, Source::Sobol, seed)),
            OuterMethod::Gp => Leader::Sampled(Sampled::new(variables, Source::Gp, seed)),
        }
    }
}

impl fmt::Display for OuterMethod {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            OuterMethod::Auto => "auto",
            OuterMethod::ProbeDescent => "probe-descent",
            OuterMethod::GuardedAdam => "guarded-adam",
            OuterMethod::Adam => "adam",
            OuterMethod::Random => "random",
            OuterMethod::Sobol => "sobol",
            OuterMethod::Gp => "gp",
        })
    }
}

/// An outer optimiser with its memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leader {
    /// Tries along hypergradients.
    ProbeDescent(ProbeDescent),
    /// Adam with a guard.
    GuardedAdam(GuardedAdam),
    /// Adam with step rejection.
    Adam(OuterAdam),
    /// Search without hypergradients.
    Sampled(Sampled),
}

impl Leader {
    /// How many variables it moves.
    pub fn variables(&self) -> usize {
        match self {
            Leader::ProbeDescent(probe) => probe.variables().len(),
            Leader::GuardedAdam(guarded) => guarded.variables().len(),
            Leader::Adam(adam) => adam.variables(),
            Leader::Sampled(sampled) => sampled.variables().len(),
        }
    }
}

impl Deref for Leader {
    type Target = dyn OuterOptimizer;

    fn deref(&self) -> &Self::Target {
        match self {
            Leader::ProbeDescent(probe) => probe,
            Leader::GuardedAdam(guarded) => guarded,
            Leader::Adam(adam) => adam,
            Leader::Sampled(sampled) => sampled,
        }
    }
}

impl DerefMut for Leader {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Leader::ProbeDescent(probe) => probe,
            Leader::GuardedAdam(guarded) => guarded,
            Leader::Adam(adam) => adam,
            Leader::Sampled(sampled) => sampled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_follows_from_what_is_tuned() {
        let of = |kinds: &[Kind]| OuterMethod::Auto.of(kinds);
        assert_eq!(of(&[Kind::Lr, Kind::Momentum, Kind::L2]).0, OuterMethod::ProbeDescent);
        let (method, reason) = of(&[Kind::Lr, Kind::ExampleWeights]);
        assert_eq!(method, OuterMethod::GuardedAdam);
        assert!(reason.starts_with("example weights are many"), "{reason}");
        assert_eq!(OuterMethod::Adam.of(&[Kind::LrSchedule]).0, OuterMethod::Adam);
    }
}
