//! Cases of networks that tune themselves: single steps, which are functions, and trainings.

mod network;
mod steps;
mod trajectory;

pub(super) use steps::graph;
pub(super) use trajectory::run;
