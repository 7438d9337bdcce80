//! Networks that tune themselves, beside each other and beside searches: the CPMLHO paper's tables and figures, and the
//! main job's network.

use super::trial::{Budget, FRESH, Study, Trial, UCI_HAR};
use crate::experiment::trainables::self_tuning::search::{Sampler, Settings as Search};
use crate::experiment::trainables::self_tuning::{Method, Protocol, Settings, Task};

pub const STARTS: Study = Study {
    name: "stn-mnist",
    question: "Does dropout before the first layer of a self-tuning network come to the same value from any start?",
    source: "CPMLHO, figure 2: from 0.1, 0.2, 0.5 and 0.8 it ends near 0.05",
    data: "MNIST",
    trials: starts,
    along: "start",
    apart: &["method"],
    charts: &["dropout0", "validation_loss"],
};

pub const DIGITS: Study = Study {
    name: "cpmlho-mnist",
    question: "Does CPMLHO beat Δ-STN, and do both beat searches and plain training, on MNIST?",
    source: "CPMLHO, tables 1 and 3, figure 1: validation loss 0.183 (random search), 0.182 (Bayesian optimisation, Δ-STN), 0.180 (CPMLHO)",
    data: "MNIST",
    trials: digits,
    along: "method",
    apart: &[],
    charts: &["validation_loss", "test_accuracy", "dropout0", "dropout1", "dropout2"],
};

pub const CLOTHES: Study = Study {
    name: "cpmlho-fashion",
    question: "Does CPMLHO beat Δ-STN on Fashion-MNIST, where cutout is tuned besides dropout?",
    source: "CPMLHO, tables 1 to 3: validation loss 0.548 (random search), 0.541 (Bayesian optimisation), 0.531 (Δ-STN), 0.518 (CPMLHO)",
    data: "Fashion-MNIST",
    trials: clothes,
    along: "method",
    apart: &[],
    charts: &["validation_loss", "test_accuracy", "dropout0", "dropout1", "dropout2", "cutout_holes", "cutout_length"],
};

pub const WINDOWS: Study = Study {
    name: "dropout-har",
    question: "Does a network that tunes its own dropout and augmentation beat one that keeps them, on people never seen?",
    source: "our own; the reference problem with the methods of the CPMLHO paper",
    data: UCI_HAR,
    trials: windows,
    along: "method",
    apart: &[],
    charts: &["validation_loss", "test_accuracy", "dropout0", "jitter", "scaling", "time_mask"],
};

/// The multiplier μ and the weight θ of the validation loss that stand where nothing is said (corrections.md 4.2).
const MULTIPLIER: f64 = 1e-3;
const VALIDATION: f64 = 1.0;

const CPMLHO: Method = Method::Cpmlho { multiplier: Some(MULTIPLIER), validation: Some(VALIDATION) };

/// What every seed runs.
const METHODS: [(&str, Method); 6] = [
    ("plain", Method::Plain),
    ("STN", Method::Stn),
    ("Δ-STN", Method::DeltaStn),
    ("CPMLHO", CPMLHO),
    ("CPMLHO without planes", Method::Cpmlho { multiplier: None, validation: Some(VALIDATION) }),
    ("CPMLHO, validation loss alone", Method::Cpmlho { multiplier: Some(MULTIPLIER), validation: None }),
];

/// What tells tuning from training: the methods train different weights at one learning rate, so one that trains faster
/// would seem to tune better. A method with another learning rate, or with another rate of dropout that it starts from.
const CONTROLS: [(&str, Method, Option<f64>, f64); 3] = [
    ("plain, learning rate 0.002", Method::Plain, None, 2e-3),
    ("Δ-STN, learning rate 0.002", Method::DeltaStn, None, 2e-3),
    ("plain, dropout 0.006", Method::Plain, Some(0.006), 1e-3),
];

/// What one seed runs: θ and μ.
const SWEEP: [(&str, Method); 6] = [
    ("CPMLHO, θ = 0", Method::Cpmlho { multiplier: Some(MULTIPLIER), validation: Some(0.0) }),
    ("CPMLHO, θ = 0.1", Method::Cpmlho { multiplier: Some(MULTIPLIER), validation: Some(0.1) }),
    ("CPMLHO, θ = 10", Method::Cpmlho { multiplier: Some(MULTIPLIER), validation: Some(10.0) }),
    ("CPMLHO, μ = 0.0001", Method::Cpmlho { multiplier: Some(1e-4), validation: Some(VALIDATION) }),
    ("CPMLHO, μ = 0.01", Method::Cpmlho { multiplier: Some(1e-2), validation: Some(VALIDATION) }),
    ("CPMLHO, μ = 1", Method::Cpmlho { multiplier: Some(1.0), validation: Some(VALIDATION) }),
];

/// Rates of dropout of the network for MNIST.
const RATES: usize = 3;

const SAMPLERS: [(&str, Sampler); 2] = [("random search", Sampler::Random), ("Gaussian process", Sampler::Gp)];

/// A task with how it is trained.
struct Plan {
    task: Task,
    protocol: Protocol,
    images: Option<usize>,
    seed: u32,
}

impl Plan {
    fn settings(&self, method: Method) -> Settings {
        let Plan { task, protocol, images, seed } = self;
        Settings { task: task.clone(), method, protocol: *protocol, start: None, images: *images, seed: *seed }
    }

    fn tuned(&self, methods: &[(&str, Method)]) -> Vec<Trial> {
        let trial = |&(name, method): &(&str, Method)| {
            Trial::new(&[("method", name)], self.seed, "self-tuning", self.settings(method))
        };
        methods.iter().map(trial).collect()
    }

    fn controlled(&self) -> Vec<Trial> {
        let trial = |&(name, method, dropout, learning_rate): &(&str, Method, Option<f64>, f64)| {
            let protocol = Protocol { learning_rate, ..self.protocol };
            let start = dropout.map(|rate| vec![rate; RATES]);
            let settings = Settings { protocol, start, ..self.settings(method) };
            Trial::new(&[("method", name)], self.seed, "self-tuning", settings)
        };
        CONTROLS.iter().map(trial).collect()
    }

    /// Searches by so many plain trainings; none where there are to be none.
    fn searched(&self, trainings: u32) -> Vec<Trial> {
        let trial = |(name, sampler): (&str, Sampler)| {
            let Plan { task, protocol, images, seed } = self;
            let (task, protocol, images, seed) = (task.clone(), *protocol, *images, *seed);
            let settings = Search { task, sampler, trainings, protocol, images, seed };
            Trial::new(&[("method", name)], seed, "plain-search", settings)
        };
        SAMPLERS.into_iter().filter(|_| trainings > 0).map(trial).collect()
    }
}

fn digits(budget: Budget) -> Vec<Trial> {
    let quick = Protocol { warm_up: 2, every: 20, ..Protocol::s1(60) };
    let (width, images, protocol, trainings, seeds) = match budget {
        Budget::Quick => (256, Some(10_000), quick, 0, 1),
        Budget::Desktop => (256, None, Protocol::s1(200), 10, 5),
        Budget::Full => (1200, None, Protocol::s1(200), 20, 5),
    };
    let mut trials = vec![];
    for seed in 0..seeds {
        let plan = Plan { task: Task::Digits { hidden: vec![width; 2] }, protocol, images, seed };
        match budget {
            Budget::Quick => trials.extend(plan.tuned(&METHODS[1..4])),
            _ => trials.extend([plan.tuned(&METHODS), plan.controlled()].concat()),
        }
        trials.extend(plan.searched(if seed < 3 || budget == Budget::Full { trainings } else { 0 }));
    }
    if budget != Budget::Quick {
        let plan = Plan { task: Task::Digits { hidden: vec![width; 2] }, protocol, images, seed: 0 };
        trials.extend(plan.tuned(&SWEEP));
    }
    trials
}

fn starts(budget: Budget) -> Vec<Trial> {
    let quick = Protocol { warm_up: 1, every: 20, ..Protocol::s1(40) };
    let (width, images, protocol, from): (_, _, _, &[f64]) = match budget {
        Budget::Quick => (64, Some(6_000), quick, &[0.1, 0.8]),
        Budget::Desktop => (256, None, Protocol { every: 50, ..Protocol::s1(1000) }, &[0.1, 0.2, 0.5, 0.8]),
        Budget::Full => (1200, None, Protocol { every: 50, ..Protocol::s1(1000) }, &[0.1, 0.2, 0.5, 0.8]),
    };
    let plan = Plan { task: Task::Digits { hidden: vec![width; 2] }, protocol, images, seed: 0 };
    let mut trials = vec![];
    for &(name, method) in &METHODS[2..4] {
        for &start in from {
            let settings =
                Settings { start: Some([&[start][..], &[0.05; RATES - 1]].concat()), ..plan.settings(method) };
            let labels = [("method", name), ("start", &*start.to_string())];
            trials.push(Trial::new(&labels, plan.seed, "self-tuning", settings));
        }
    }
    trials
}

fn clothes(budget: Budget) -> Vec<Trial> {
    let quick = Protocol { warm_up: 1, every: 20, ..Protocol::s1(40) };
    let (filters, hidden, images, protocol, trainings, seeds) = match budget {
        Budget::Quick => ([8, 16], None, Some(6_000), quick, 0, 1),
        Budget::Desktop => ([8, 16], None, None, Protocol::s1(200), 0, 3),
        Budget::Full => ([16, 32], Some(1568), None, Protocol::s1(200), 20, 5),
    };
    let mut trials = vec![];
    for seed in 0..seeds {
        let plan = Plan { task: Task::Clothes { filters, hidden }, protocol, images, seed };
        trials.extend(plan.tuned(if budget == Budget::Quick { &METHODS[1..4] } else { &METHODS[..4] }));
        trials.extend(plan.searched(trainings));
    }
    trials
}

fn windows(budget: Budget) -> Vec<Trial> {
    // A learning rate of the main job; 5,515 windows are 44 steps an epoch.
    let long = |warm_up, steps| Protocol { learning_rate: 1e-2, warm_up, steps, every: 40 };
    let (filters, hidden, protocol, seeds) = match budget {
        Budget::Quick => (8, 16, long(2, 40), 1),
        Budget::Desktop => (8, 16, long(10, 720), 5),
        Budget::Full => (64, 100, long(10, 720), 5),
    };
    let seeds = FRESH..FRESH + seeds;
    seeds
        .flat_map(|seed| {
            let plan = Plan { task: Task::Windows { filters, hidden }, protocol, images: None, seed };
            plan.tuned(if budget == Budget::Quick { &METHODS[1..4] } else { &METHODS[..4] })
        })
        .collect()
}
