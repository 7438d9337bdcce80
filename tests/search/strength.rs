//! How good searchers are on cheap functions, beside the references named in `docs/search.md`. The seeds are not those on
//! which anything was chosen.

use stackelberg::search::{Genetic, GpSampler, Pso, Random, Sampler, Smac, Space, Tabu, Tpe};

use crate::functions::{branin, ladder, ladder_space, least, regrets, square};

/// Median, ninth decile and mean of what is left after so many trials, over seeds.
fn measured<S: Sampler>(name: &str, sampler: impl Fn() -> S, seeds: u64, (space, f, trials): Case) -> (f64, f64, f64) {
    let found = regrets((1000..1000 + seeds).map(|seed| least(sampler(), &space, f, trials, seed)).collect());
    println!("{name}: median {:.4}, ninth decile {:.4}, mean {:.4}", found.0, found.1, found.2);
    found
}

type Case = (Space, fn(&[f64]) -> f64, u64);

fn branin_40() -> Case {
    (square(), branin, 40)
}

fn ladder_60() -> Case {
    (ladder_space(), ladder, 60)
}

#[test]
fn tpe_as_in_optuna() {
    let (median, ..) = measured("branin", || Tpe::OPTUNA5, 40, branin_40());
    assert!(median < 0.5, "{median}");
    let (median, ..) = measured("ladder", || Tpe::OPTUNA5, 40, ladder_60());
    assert!(median < 0.03, "{median}");
}

#[test]
fn tpe_as_in_hyperopt() {
    measured("branin", || Tpe::HYPEROPT, 40, branin_40());
    measured("ladder", || Tpe::HYPEROPT, 40, ladder_60());
}

#[test]
fn gaussian_processes() {
    measured("gp, branin", GpSampler::default, 10, branin_40());
    measured("gp, ladder", GpSampler::default, 10, ladder_60());
}

#[test]
fn forests() {
    measured("smac, branin", || Smac::new(2, 40), 30, branin_40());
    measured("smac, ladder", || Smac::new(6, 60), 30, ladder_60());
}

#[test]
fn heuristics() {
    let genetic = || Genetic { population: 10, ..Genetic::default() };
    measured("random, branin", || Random, 100, branin_40());
    measured("random, ladder", || Random, 100, ladder_60());
    measured("genetic, branin", genetic, 40, branin_40());
    measured("genetic, ladder", genetic, 40, ladder_60());
    measured("swarm, branin", || Pso { particles: 10, ..Pso::default() }, 40, branin_40());
    measured("swarm, ladder", || Pso { particles: 10, ..Pso::default() }, 40, ladder_60());
    measured("tabu, branin", Tabu::default, 40, branin_40());
    measured("tabu, ladder", Tabu::default, 40, ladder_60());
}
