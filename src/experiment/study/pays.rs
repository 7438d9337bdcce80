//! From how many hyperparameters on do hypergradients pay?
//!
//! Every variable has a range in its unconstrained form. Random search draws from the box of these ranges; the
//! hypergradient and random search both begin with the usual start, and may spend the same number of gradients. A third of the people who
//! labelled the training windows were careless: beside learning rate, momentum and penalties, a weight for each of
//! them is to be found. The more of them, the fewer windows each has labelled.

use super::trial::{Budget, FRESH, Study, Trial, UCI_HAR, trainings, within};
use crate::bilevel::Transform;
use crate::bilevel::hyperparameters::Kind;
use crate::experiment::config::TuneConfig;
use crate::experiment::space::{Form, Space, Variables};
use crate::experiment::trainables::mislabelled::Mislabelled;
use crate::experiment::trainables::search::{Sampler, Settings};

pub const STUDY: Study = Study {
    name: "where-it-pays",
    question: "From how many hyperparameters on do hypergradients find a lower validation loss than random search, at equal gradient evaluations?",
    source: "our own; example weights by annotator on mislabelled windows",
    data: UCI_HAR,
    trials,
    along: "hyperparameters",
    apart: &[],
    charts: &["outer_loss", "outer_loss_half_way", "test_accuracy"],
};

/// Learning rate, momentum, and a penalty for each of four layers; what is beyond are weights of annotators.
const SCALARS: usize = 6;
/// Share of the annotators who label at random.
const CARELESS: f64 = 1.0 / 3.0;

/// The ranges of the variables, in unconstrained form: log, logit, log, logit.
const LR: [f64; 2] = [-9.2, -1.2];
const MOMENTUM: [f64; 2] = [-2.2, 4.6];
const L2: [f64; 2] = [-13.8, -2.3];
const WEIGHT: [f64; 2] = [-4.0, 4.0];

fn trials(budget: Budget) -> Vec<Trial> {
    let (base, counts, seeds): (_, &[usize], u32) = match budget {
        Budget::Quick => (within(18, TuneConfig { steps: 60, ..TuneConfig::quick() }), &[1, 6, 50], 1),
        Budget::Desktop => (TuneConfig::default(), &[1, 3, 6, 50, 500, 5000], 3),
        Budget::Full => (within(144, TuneConfig::default()), &[1, 3, 6, 50, 500, 5000], 10),
    };
    let mut trials = vec![];
    for seed in FRESH..FRESH + seeds {
        for &count in counts {
            // The weights are in the problem whether they are tuned or not, so that all cost the same.
            let hyperparameters = vec![Kind::Lr, Kind::Momentum, Kind::L2, Kind::ExampleWeights];
            let config = TuneConfig { seed, hyperparameters, ..base.clone() };
            let annotators = Some(count.saturating_sub(SCALARS) as u32);
            let ways = [("hypergradients", Sampler::Hypergradients), ("random search", Sampler::Random { stream: 1 })];
            trials.extend(ways.map(|(method, sampler)| {
                let labels = [("hyperparameters", &*count.to_string()), ("method", method)];
                let mislabelled = Some(Mislabelled { share: CARELESS, annotators, left_out: false });
                let (config, space, trainings) = (config.clone(), space(count, &config), trainings(&config));
                Trial::new(&labels, seed, "search", Settings { config, space, sampler, trainings, mislabelled })
            }));
        }
    }
    trials
}

/// So many hyperparameters, beside which all others stay at the usual start; windows count in full where annotators have
/// no weight.
fn space(count: usize, config: &TuneConfig) -> Space {
    let scalar = |kind, ends: [f64; 2], form, place: usize| {
        let start = match kind {
            Kind::Momentum => Transform::UNIT.unconstrain(config.setting("momentum")[0]),
            Kind::Lr => config.setting("learning_rate")[0].ln(),
            _ => config.l2.ln(),
        };
        let [from, to] = if place < count { ends } else { [start; 2] };
        Variables { kind, count: 1, from, to, form, start: Some(start) }
    };
    let penalties = scalar(Kind::L2, L2, Form::Itself, 2);
    let layers = if count < SCALARS { 1 } else { SCALARS - 2 };
    let weights = match count.saturating_sub(SCALARS) {
        0 => Variables { kind: Kind::ExampleWeights, count: 1, from: 1.0, to: 1.0, form: Form::Itself, start: None },
        annotators => Variables {
            kind: Kind::ExampleWeights,
            count: annotators,
            from: WEIGHT[0],
            to: WEIGHT[1],
            form: Form::Weight,
            start: Some(0.0),
        },
    };
    Space(vec![
        scalar(Kind::Lr, LR, Form::Itself, 0),
        scalar(Kind::Momentum, MOMENTUM, Form::Logistic, 1),
        Variables { count: layers, ..penalties },
        weights,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_has_as_many_variables_as_it_says() {
        for count in [1, 3, 6, 50] {
            space(count, &TuneConfig::default()).check().unwrap();
            assert_eq!(space(count, &TuneConfig::default()).start().len(), count);
        }
    }
}
