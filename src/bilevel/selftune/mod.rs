//! Networks that tune themselves: beside its weights, the network learns how they would answer to other
//! hyperparameters, and these descend on the validation loss through that answer while it trains (algorithms.md C).
//!
//! STN (MacKay et al. 2019), Δ-STN (Bae and Grosse 2020) and STN with cutting planes and a mixed outer loss (CPMLHO).

mod augmentation;
mod counts;
mod gates;
mod keyed;
mod network;
mod perturbation;
mod planes;
mod reader;
mod schedule;
mod session;
mod step;

pub use augmentation::{Augmentation, Draws};
pub use counts::{Counts, Supply};
pub use gates::{Gates, Weights};
pub use keyed::Keyed;
pub use network::{Augmented, Judged, SelfTuned};
pub use perturbation::Leader;
pub use planes::{Constraint, Multiplier, Planes, Tie};
pub use schedule::{Act, Schedule};
pub use session::{Examined, Judgement, Record, Saved, Session, Work};
pub use step::{Batch, Follower, Linear, Rates, Trained, TrainingBatch, Tuned, Tuning, Variant};

#[cfg(test)]
mod augmentation_tests;
#[cfg(test)]
mod response_tests;
#[cfg(test)]
mod tests;
