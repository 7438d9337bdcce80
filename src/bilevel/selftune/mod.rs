//! Networks that tune themselves: beside its weights, the network learns how they would answer to other
//! hyperparameters, and these descend on the validation loss through that answer while it trains (algorithms.md C).
//!
//! STN (MacKay et al. 2019), Δ-STN (Bae and Grosse 2020) and STN with cutting planes and a mixed outer loss (CPMLHO).

mod augmentation;
mod gates;
mod network;
mod perturbation;
mod planes;
mod schedule;
mod session;
mod step;

pub use augmentation::Augmentation;
pub use gates::{Gates, Weights};
pub use network::{Augmented, Judged, SelfTuned};
pub use perturbation::Leader;
pub use planes::{Constraint, Multiplier, Planes, Tie};
pub use schedule::{Act, Schedule};
pub use session::{Counts, Session};
pub use step::{Batch, Follower, Linear, Rates, Trained, TrainingBatch, Tuned, Tuning, Variant};

#[cfg(test)]
mod tests;
