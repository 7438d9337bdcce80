//! Hypergradient descent on MNIST: the curves of its paper (Baydin et al. 2018).

use super::trial::{Budget, Study, Trial};
use crate::experiment::trainables::hypergradient_descent::{Settings, Variant};

pub const STUDY: Study = Study {
    name: "hd-mnist",
    question: "Does a learning rate that descends along its own hypergradient do as its authors published?",
    source: "Baydin et al. 2018, figure 2 and the authors' log files: test loss of logistic regression after 10 epochs 0.374 (SGD), 0.288 (SGD-HD), 0.285 (SGDN), 0.272 (SGDN-HD, Adam, Adam-HD)",
    data: "MNIST",
    trials,
    along: "variant",
    apart: &["network"],
    charts: &["train_loss", "test_loss", "learning_rate"],
};

/// The authors' learning rate of Adam-HD moves on from tensor to tensor within a step; ours, like the paper's, does not.
const VARIANTS: [(&str, Variant); 7] = [
    ("SGD", Variant::Sgd),
    ("SGD-HD", Variant::SgdHd),
    ("SGDN", Variant::Sgdn),
    ("SGDN-HD", Variant::SgdnHd),
    ("Adam", Variant::Adam),
    ("Adam-HD", Variant::AdamHd),
    ("Adam-HD per tensor", Variant::AdamHdPerTensor),
];

fn trials(budget: Budget) -> Vec<Trial> {
    /// Name, hidden layers, epochs.
    type Networks = &'static [(&'static str, &'static [usize], u32)];
    let (networks, images, seeds): (Networks, _, _) = match budget {
        Budget::Quick => (&[("logistic regression", &[], 2)], Some(6_000), 1),
        Budget::Desktop => (&[("logistic regression", &[], 10), ("MLP", &[1000, 1000], 5)], None, 3),
        Budget::Full => (&[("logistic regression", &[], 10), ("MLP", &[1000, 1000], 100)], None, 3),
    };
    let mut trials = vec![];
    for &(network, hidden, epochs) in networks {
        for seed in 0..seeds {
            for (name, variant) in VARIANTS {
                let settings = Settings { hidden: hidden.to_vec(), variant, epochs, images, seed };
                let labels = [("network", network), ("variant", name)];
                trials.push(Trial::new(&labels, seed, "hypergradient-descent", settings));
            }
        }
    }
    trials
}
