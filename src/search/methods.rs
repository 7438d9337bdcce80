//! The searchers by name, as a study or a command line names them.

use serde::{Deserialize, Serialize};

use super::asha::{Asha, AshaStopping, Brackets, Promotion, Stop};
use super::brackets::Table;
use super::pb2::Form;
use super::searcher::{Full, Sampler, Schedule, Search, Searcher};
use super::{
    Bohb, CurveStopping, Explore, FreezeThaw, Genetic, GpSampler, Grid, Hyperband, Median, ModelRl, Pb2, Pbt,
    Population, Pso, Random, Smac, Sobol, Tabu, Tpe,
};

/// How large a study is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Dimensions of its space.
    pub dimensions: usize,
    /// Whole trainings that it may cost, about.
    pub trials: u64,
    /// Steps of the lowest rung, and between comparisons of a population.
    pub least: u64,
    /// Steps of a whole training.
    pub most: u64,
    /// How many times a rung is the one below.
    pub factor: u64,
}

/// A searcher by its name.
pub struct Method {
    /// The name.
    pub name: &'static str,
    /// What it does, in a line.
    pub says: &'static str,
    build: fn(Size) -> Box<dyn Searcher>,
}

impl Method {
    /// The method of this name.
    pub fn named(name: &str) -> Option<&'static Method> {
        METHODS.iter().find(|method| method.name == name)
    }

    /// Whether its trials are members of a population, which train side by side.
    pub fn is_of_population(&self) -> bool {
        ["pbt", "pb2"].contains(&self.name)
    }

    /// The searcher for a study of this size.
    pub fn searcher(&self, size: Size) -> Box<dyn Searcher> {
        (self.build)(size)
    }
}

/// A sampler whose trials train to their end.
fn whole(sampler: impl Sampler + 'static, size: Size) -> Box<dyn Searcher> {
    Box::new(Search { sampler, schedule: Full { budget: size.most } })
}

/// A schedule of random points.
fn scheduled(schedule: impl Schedule + 'static) -> Box<dyn Searcher> {
    Box::new(Search { sampler: Random, schedule })
}

fn asha(size: Size, promotion: Promotion) -> Asha {
    Asha { least: size.least, most: size.most, factor: size.factor, promotion }
}

fn stopping(size: Size, brackets: u32) -> AshaStopping {
    let Size { least, most, factor, .. } = size;
    AshaStopping { least, most, factor, brackets: Brackets::Chance(brackets), rule: Stop::Ray }
}

fn hyperband(size: Size) -> Hyperband {
    Hyperband::new(Table::Paper, size.least, size.most, size.factor, None)
}

fn population(size: Size) -> Population {
    Population { members: size.trials, budget: size.most, interval: size.least, fraction: 0.25 }
}

/// Trials that one successive halving begins: each of its rungs costs about as much as the first.
fn begun(size: Size) -> u64 {
    let Size { trials, least, most, factor, .. } = size;
    let rungs = std::iter::successors(Some(least.max(1)), |rung| rung.checked_mul(factor.max(2)));
    let rungs = 1 + rungs.take_while(|rung| *rung < most).count() as u64;
    (trials * most / (least.max(1) * rungs)).max(1)
}

/// Individuals or particles: a fifth of the trials, at most twenty.
fn crowd(size: Size) -> usize {
    (size.trials as usize / 5).clamp(4, 20)
}

/// All methods. A player that has learned on tasks ([`HypRl`](super::HypRl)) is made of these, and not by name.
pub const METHODS: [Method; 25] = [
    Method { name: "random", says: "points at random", build: |size| whole(Random, size) },
    Method { name: "grid", says: "all points of a grid", build: |size| whole(Grid::default(), size) },
    Method { name: "sobol", says: "points of the Sobol sequence", build: |size| whole(Sobol, size) },
    Method { name: "tpe", says: "Parzen estimators as in Optuna 5", build: |size| whole(Tpe::OPTUNA5, size) },
    Method { name: "tpe-hyperopt", says: "Parzen estimators as in hyperopt", build: |size| whole(Tpe::HYPEROPT, size) },
    Method { name: "gp", says: "a Gaussian process as in Optuna 5", build: |size| whole(GpSampler::default(), size) },
    Method {
        name: "smac",
        says: "a random forest as in SMAC 2.4",
        build: |size| whole(Smac::new(size.dimensions, size.trials as usize), size),
    },
    Method {
        name: "genetic",
        says: "generations by tournament, crossover and mutation",
        build: |size| whole(Genetic { population: crowd(size), ..Genetic::default() }, size),
    },
    Method {
        name: "pso",
        says: "a swarm of particles",
        build: |size| whole(Pso { particles: crowd(size), ..Pso::default() }, size),
    },
    Method {
        name: "tabu",
        says: "from a point to its best neighbour, and not back",
        build: |size| whole(Tabu::default(), size),
    },
    Method {
        name: "model-rl",
        says: "a policy that learns from trials and from predictions of them",
        build: |size| whole(ModelRl::default(), size),
    },
    Method {
        name: "halving",
        says: "the best part of all trials goes on, again and again",
        build: |size| scheduled(Hyperband::halving(begun(size), size.least, size.most, size.factor, None)),
    },
    Method { name: "hyperband", says: "halving from several first rungs", build: |size| scheduled(hyperband(size)) },
    Method {
        name: "asha",
        says: "halving without waiting, by promotion",
        build: |size| scheduled(asha(size, Promotion::Count)),
    },
    Method {
        name: "asha-quantile",
        says: "the same as in Syne Tune",
        build: |size| scheduled(asha(size, Promotion::Quantile)),
    },
    Method {
        name: "asha-stop",
        says: "halving without waiting, by stopping, as in Ray",
        build: |size| scheduled(stopping(size, 1)),
    },
    Method { name: "ahb", says: "the same in three brackets", build: |size| scheduled(stopping(size, 3)) },
    Method {
        name: "median",
        says: "trials worse than the median are stopped",
        build: |size| scheduled(Median::new(size.most)),
    },
    Method {
        name: "curve",
        says: "trials whose curve leads to nothing are stopped",
        build: |size| scheduled(CurveStopping::new(size.most)),
    },
    Method {
        name: "bohb",
        says: "Hyperband of points where good ones lie",
        build: |size| Box::new(Search { sampler: Bohb::default(), schedule: hyperband(size) }),
    },
    Method {
        name: "tpe-asha",
        says: "Parzen estimators, halving without waiting",
        build: |size| Box::new(Search { sampler: Tpe::OPTUNA5, schedule: asha(size, Promotion::Count) }),
    },
    Method {
        name: "gp-median",
        says: "a Gaussian process, and the median rule",
        build: |size| Box::new(Search { sampler: GpSampler::default(), schedule: Median::new(size.most) }),
    },
    Method {
        name: "freeze-thaw",
        says: "a model of learning curves says which trial goes on",
        build: |size| Box::new(FreezeThaw::new(size.least, size.most)),
    },
    Method {
        name: "pbt",
        says: "the worst of a population take over from the best",
        build: |size| Box::new(Pbt { population: population(size), explore: Explore::default() }),
    },
    Method {
        name: "pb2",
        says: "the same, and a Gaussian process says where they go on",
        build: |size| Box::new(Pb2 { population: population(size), form: Form::Noisy }),
    },
];
