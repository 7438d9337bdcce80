//! Few-shot learning: the third paper's table on the characters that are there, and on people.

use super::trial::{Budget, FRESH, Study, Trial, UCI_HAR};
use crate::experiment::trainables::few_shot::{Following, Method, Settings, Task};
use crate::nn::optim::{Dynamics, Momentum, Sgd};

pub const CHARACTERS: Study = Study {
    name: "few-shot-omniglot",
    question: "Which way to learn across tasks tells new characters best from one or five drawings of each?",
    source: "Franceschi et al. 2018, table of few-shot learning on 1,623 characters (5 classes, 1 drawing): Siamese 97.3, matching \
             98.1, MAML 98.7, prototypical 98.8, SNAIL 99.1, hyper-representation 98.6; here 242 characters unless all are there",
    data: "Omniglot",
    trials: characters,
    along: "method",
    apart: &["setting"],
    charts: &["test_accuracy", "validation_loss"],
};

pub const PEOPLE: Study = Study {
    name: "few-shot-har",
    question: "What do a few windows of each activity of a new person buy, and does learning across people help to use them?",
    source: "our own; the network of few-shot learning on the recordings of the main job",
    data: UCI_HAR,
    trials: people,
    along: "shots",
    apart: &["method"],
    charts: &["test_accuracy", "test_loss"],
};

/// Learning rates of a task's steps, for means over examples.
const CLASSIFIER: f64 = 0.1;
const NETWORK: f64 = 0.4;
/// For logistic regression on scaled statistics, which are many and alike.
const STATISTICS: f64 = 0.02;

fn representation(inner_steps: usize) -> Method {
    let optimizer: Dynamics = Sgd.into();
    Method::Representation { optimizer, inner_steps, inner_rate: CLASSIFIER, learn_rate: true }
}

fn maml(order: Following, inner_steps: usize, judged_steps: usize) -> Method {
    Method::Maml { order, inner_steps, judged_steps, inner_rate: NETWORK }
}

/// Every way, by the name that it has in the table.
fn every() -> Vec<(&'static str, Method)> {
    let momentum =
        Method::Representation { optimizer: Momentum.into(), inner_steps: 5, inner_rate: CLASSIFIER, learn_rate: true };
    vec![
        ("random features", Method::RandomFeatures { inner_steps: 50, inner_rate: CLASSIFIER }),
        ("transfer", Method::Transfer { inner_steps: 50, inner_rate: CLASSIFIER }),
        ("Siamese", Method::Siamese),
        ("matching", Method::Matching),
        ("prototypical", Method::Prototypical),
        ("MAML", maml(Following::Second, 1, 3)),
        ("FOMAML", maml(Following::First, 1, 3)),
        ("Reptile", maml(Following::Reptile, 5, 10)),
        ("meta-LSTM", Method::MetaLstm { inner_steps: 5, units: 20 }),
        ("SNAIL", Method::Snail { width: 32 }),
        ("hyper-representation", representation(5)),
        ("hyper-representation, momentum", momentum),
        ("hyper-representation, ridge", Method::Ridge { penalty: 0.1 }),
    ]
}

/// Ways that are taken to other numbers of classes and drawings, too.
const CHOSEN: [&str; 4] = ["hyper-representation", "MAML", "prototypical", "matching"];

struct Plan {
    filters: usize,
    steps: u32,
    episodes: usize,
}

impl Plan {
    fn characters(&self, name: &str, method: Method, [ways, shots]: [usize; 2], seed: u32) -> Trial {
        let Plan { filters, steps, episodes } = *self;
        // Queries of a class as the codes have them, fewer where there are many classes.
        let queries = if ways > 5 { 5 } else { 15 };
        let tasks = if ways > 5 { 2 } else { 4 };
        let rate = if matches!(method, Method::Maml { order: Following::Reptile, .. }) { 0.5 } else { 1e-3 };
        let settings = Settings {
            task: Task::Characters,
            method,
            ways: Some(ways),
            shots,
            queries,
            training_ways: None,
            filters,
            tasks,
            steps,
            every: steps / 5,
            rate,
            episodes,
            seed,
        };
        let setting = format!("{ways} ways, {shots} shots");
        Trial::new(&[("method", name), ("setting", &setting)], seed, "few-shot", settings)
    }

    fn people(&self, name: &str, (task, method): (Task, Method), shots: usize, seed: u32) -> Trial {
        let Plan { filters, steps, episodes } = *self;
        // Where nothing is learned across people there is nothing to wait for.
        let steps = if matches!(method, Method::Statistics { .. }) { 5 } else { steps };
        let rate = if matches!(method, Method::Maml { order: Following::Reptile, .. }) { 0.5 } else { 1e-3 };
        let settings = Settings {
            task,
            method,
            ways: None,
            shots,
            queries: 10,
            training_ways: None,
            filters,
            tasks: 4,
            steps,
            every: steps / 5,
            rate,
            episodes,
            seed,
        };
        Trial::new(&[("method", name), ("shots", &shots.to_string())], seed, "few-shot", settings)
    }
}

fn characters(budget: Budget) -> Vec<Trial> {
    let (plan, seeds) = match budget {
        Budget::Quick => (Plan { filters: 16, steps: 100, episodes: 100 }, 1),
        Budget::Desktop => (Plan { filters: 32, steps: 1_000, episodes: 600 }, 3),
        Budget::Full => (Plan { filters: 64, steps: 20_000, episodes: 1_000 }, 3),
    };
    let mut trials = vec![];
    for seed in FRESH..FRESH + seeds {
        let single = every().into_iter().filter(|(name, _)| budget != Budget::Quick || CHOSEN.contains(name));
        trials.extend(single.map(|(name, method)| plan.characters(name, method, [5, 1], seed)));
        if budget == Budget::Quick {
            continue;
        }
        for setting in [[5, 5], [20, 1], [20, 5]] {
            let chosen = every().into_iter().filter(|(name, _)| CHOSEN.contains(name));
            trials.extend(chosen.map(|(name, method)| plan.characters(name, method, setting, seed)));
        }
    }
    trials
}

fn people(budget: Budget) -> Vec<Trial> {
    let (plan, seeds, shots): (_, _, &[usize]) = match budget {
        Budget::Quick => (Plan { filters: 8, steps: 50, episodes: 40 }, 1, &[5]),
        Budget::Desktop => (Plan { filters: 32, steps: 500, episodes: 400 }, 5, &[1, 5, 10]),
        Budget::Full => (Plan { filters: 64, steps: 2_000, episodes: 1_000 }, 5, &[1, 5, 10]),
    };
    // One network for all people, as it is, and trained on with what a person gives.
    let statistics = || Method::Statistics { inner_steps: 200, inner_rate: STATISTICS };
    let methods = || {
        let apart = vec![
            ("one network", maml(Following::Second, 0, 0)),
            ("one network, fine-tuned", maml(Following::Second, 0, 5)),
            ("MAML", maml(Following::Second, 1, 5)),
            ("hyper-representation", representation(5)),
            ("prototypical", Method::Prototypical),
            ("random features", Method::RandomFeatures { inner_steps: 50, inner_rate: CLASSIFIER }),
            ("logistic regression on statistics", statistics()),
        ];
        let mixed = vec![
            ("one network, fine-tuned; windows at random", maml(Following::Second, 0, 5)),
            ("logistic regression on statistics; windows at random", statistics()),
        ];
        let of = |task, list: Vec<(&'static str, Method)>| {
            list.into_iter().map(move |(name, method)| (name, (task, method)))
        };
        of(Task::People, apart).chain(of(Task::PeopleMixed, mixed))
    };
    let mut trials = vec![];
    for seed in FRESH..FRESH + seeds {
        for &shots in shots {
            trials.extend(methods().map(|(name, taught)| plan.people(name, taught, shots, seed)));
        }
    }
    trials
}
