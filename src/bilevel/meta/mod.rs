//! Few-shot learning as bilevel programming (Franceschi et al. 2018): what tasks share is the leader, what each learns of
//! its own few examples the follower.
//!
//! A [`Learner`] is a way to learn what tasks share, a graph of one episode; a [`Session`] trains it on a device, many
//! episodes as the members of one program. Tasks are trained for a few steps, so their training is part of the graph and
//! differentiated with it; longer ones are an [`Inner`](super::Inner) problem.

mod closed_form;
mod episodes;
mod learner;
mod maml;
mod meta_lstm;
mod metric;
mod parts;
mod programs;
mod representation;
mod session;
mod siamese;
mod snail;
mod transfer;

pub use episodes::{Drawing, Episode, Shape};
pub use learner::{Learner, Lesson, Shared, mean_loss};
pub use maml::{Maml, Order};
pub use meta_lstm::MetaLstm;
pub use metric::{Compared, Distance, Metric};
pub use programs::{Pool, Teaching};
pub use representation::{Classifier, Head, Representation};
pub use session::{Judgement, Record, Saved, Session};
pub use siamese::{Siamese, pair_losses};
pub use snail::Snail;
pub use transfer::Transfer;

#[cfg(test)]
mod tests;
