//! How long a run will take, from one training step and its like measured on the engine.

use super::config::{Budget, TuneConfig};
use super::setup::counts;
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::{CHUNK, Pace};
use crate::data::Sizes;

/// Seconds of a whole run at this pace and with this plan, on data of these sizes.
pub fn seconds(pace: &Pace, plan: &Plan, config: &TuneConfig, sizes: &Sizes) -> f64 {
    let Sizes { train, validation, test, .. } = *sizes;
    let chunks = |windows: usize| windows.div_ceil(CHUNK) as f64;
    let outer = pace.outer * chunks(validation.min(config.validation_windows as usize));
    let sweep = pace.of(&counts(config, plan, sizes), train) + outer;
    // All windows are scored twice: with the start values and at the end.
    let scoring = pace.evaluation * [train, validation, test].map(chunks).iter().sum::<f64>();
    let scoring = 2.0 * scoring;
    match config.budget {
        Budget::Seconds(all) => all + scoring,
        Budget::Trainings(all) => {
            // A step at this pace is one of all folds.
            let training = pace.step * f64::from(config.steps) + outer;
            let all = f64::from(all) / f64::from(config.folds.unwrap_or(1));
            let of = |outer: u32| {
                let hypergradients = config.leader().0.hypergradients(outer);
                f64::from(hypergradients) * sweep + f64::from(outer - hypergradients) * training
            };
            let at_most = config.outer.map_or(f64::INFINITY, of);
            at_most.min(all * training) + scoring
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::leader::OuterMethod;
    use crate::experiment::setup::with_training;

    #[test]
    fn a_run_is_the_sum_of_its_parts() {
        let pace = Pace { step: 1.0, adjoint: 3.0, outer: 10.0, evaluation: 100.0 };
        let config = TuneConfig {
            steps: 20,
            outer: Some(2),
            budget: Budget::Trainings(1000),
            validation_windows: 200,
            outer_method: OuterMethod::Adam,
            ..TuneConfig::default()
        };
        let scoring = 2.0 * 100.0 * (8.0 + 3.0 + 1.0);
        let sizes = Sizes { validation: 300, test: 128, ..with_training(1000) };
        let stored = Plan::new(20, 21).unwrap();
        assert_eq!(seconds(&pace, &stored, &config, &sizes), 2.0 * (20.0 + 60.0 + 2.0 * 10.0) + scoring);
        // Of a descent by tries, the second iteration is a training; a budget of trainings is mostly that.
        let few = TuneConfig { outer_method: OuterMethod::Auto, ..config.clone() };
        assert_eq!(seconds(&pace, &stored, &few, &sizes), 100.0 + 40.0 + scoring);
        let within = TuneConfig { outer: None, budget: Budget::Trainings(3), ..few };
        assert_eq!(seconds(&pace, &stored, &within, &sizes), 3.0 * 40.0 + scoring);
        // With fewer states kept, steps are run again.
        let revolve = Plan::revolve(20, 4);
        let again = (revolve.steps_run() - 20) as f64;
        assert_eq!(seconds(&pace, &revolve, &config, &sizes), 2.0 * (20.0 + again + 60.0 + 2.0 * 10.0) + scoring);
    }
}
