//! Search without derivatives: which points of a space are tried, and how long each trains.
//!
//! A [`Searcher`] is asked what a free worker is to do, and what becomes of a trial after a report. Its answers are a
//! function of [`Space`], [`History`], seed and trial number, so that a study that was interrupted, or is shared by several
//! processes, goes on to the same bits. Most are a [`Search`] of two parts, each of any kind: a [`Sampler`] chooses points, a
//! [`Schedule`] how long they train. Values are minimised; what is no finite number is the worst.
//!
//! | samplers | schedules | both at once |
//! |---|---|---|
//! | [`Random`], [`Grid`], [`Sobol`] | [`Full`] | [`Pbt`], [`Pb2`], [`FreezeThaw`] |
//! | [`Tpe`], [`GpSampler`], [`Smac`], [`Bohb`] | [`Hyperband`] and successive halving | |
//! | [`Genetic`], [`Pso`], [`Tabu`] | [`Asha`] by promotion, [`AshaStopping`] | |
//! | [`HypRl`], [`ModelRl`] | [`Median`], [`CurveStopping`] | |
//!
//! Draws are taken in a stated order from a [`draws`] tape, so that those of a reference implementation can take their
//! place. What is followed, to which digit and how well it does stands in `docs/search.md`.

pub mod asha;
pub mod bohb;
pub mod brackets;
pub mod curves;
pub mod domain;
pub mod draws;
pub mod forest;
pub mod freeze_thaw;
pub mod genetic;
pub mod gp;
pub mod grid;
pub mod halving;
pub mod history;
pub mod hyp_rl;
pub mod importance;
pub mod journal;
pub mod methods;
pub mod model_rl;
pub mod networks;
mod normal;
pub mod parzen;
pub mod pb2;
pub mod pbt;
mod percentile;
pub mod pso;
pub mod random;
pub mod searcher;
pub mod simulation;
pub mod slots;
pub mod smac;
pub mod sobol;
pub mod space;
pub mod stopping;
pub mod tabu;
pub mod tpe;

pub use asha::{Asha, AshaStopping};
pub use bohb::Bohb;
pub use domain::{Domain, Value};
pub use freeze_thaw::FreezeThaw;
pub use genetic::Genetic;
pub use gp::GpSampler;
pub use grid::Grid;
pub use halving::Hyperband;
pub use history::{Attributes, Decision, Event, History, State, Trial};
pub use hyp_rl::HypRl;
pub use methods::{METHODS, Method, Size};
pub use model_rl::ModelRl;
pub use pb2::Pb2;
pub use pbt::{Explore, Pbt, Population};
pub use pso::Pso;
pub use random::Random;
pub use searcher::{Ask, Full, Sample, Sampler, Schedule, Search, Searcher, Verdict};
pub use simulation::{Limits, Record, Simulation, Task};
pub use slots::Slots;
pub use smac::Smac;
pub use sobol::Sobol;
pub use space::{Condition, Dimension, Point, Space, SpaceError};
pub use stopping::{CurveStopping, Median};
pub use tabu::Tabu;
pub use tpe::Tpe;
