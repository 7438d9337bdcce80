//! The default tuner on data that nothing about it was chosen on.

use super::trial::{Budget, Study, Trial, within};
use crate::experiment::config::{Network, TuneConfig};
use crate::experiment::leader::OuterMethod;
use crate::experiment::trainables::images::Settings;

pub const STUDY: Study = Study {
    name: "image-baselines",
    question: "Do start and outer optimiser, chosen on windows of motion, do as well on images?",
    source: "our own; MNIST and Fashion-MNIST",
    data: "MNIST and Fashion-MNIST, IDX files",
    trials,
    along: "method",
    apart: &["images"],
    charts: &["outer_loss", "test_accuracy"],
};

const METHODS: [(&str, OuterMethod); 4] = [
    ("probe descent", OuterMethod::ProbeDescent),
    ("random search", OuterMethod::Random),
    ("Gaussian process", OuterMethod::Gp),
    ("Sobol", OuterMethod::Sobol),
];

fn trials(budget: Budget) -> Vec<Trial> {
    let mlp = Network::Zoo("mlp");
    let base = TuneConfig { network: mlp, patience: 0, ..TuneConfig::default() };
    let (base, examples, seeds) = match budget {
        Budget::Quick => (within(12, TuneConfig { steps: 20, validation_windows: 128, ..base }), 200, 1),
        Budget::Desktop => (base, 2000, 3),
        Budget::Full => (base, 2000, 8),
    };
    let mut trials = vec![];
    for images in ["mnist", "fashion-mnist"] {
        for seed in 0..seeds {
            for (method, outer_method) in METHODS {
                let config = TuneConfig { seed, outer_method, ..base.clone() };
                let settings = Settings { config, images: images.to_owned(), examples };
                trials.push(Trial::new(&[("images", images), ("method", method)], seed, "tune-images", settings));
            }
        }
    }
    trials
}
