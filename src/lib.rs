//! Bilevel optimisation on any GPU: tune a neural network by differentiating through its training.
//!
//! The follower trains: it takes steps on the weights w of a model, and the steps depend on hyperparameters λ (learning
//! rates, penalties, a weight for each example, …). The leader wants λ for which the trained weights do well on other
//! data, E(w, λ). What it needs is the *hypergradient* dE/dλ, through the training. Here is one, from data to the end:
//!
//! ```
//! use stackelberg::cpu::CpuEngine;
//! use stackelberg::{Device, Hyperparameters, Implicit, Kind, Layer, Loss, Model, Problem, Session, SessionData, Set};
//! use stackelberg::{Solver, Targets, Unattended, optim};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { pollster::block_on(async {
//! let examples = |x: &[f32], y: &[f32]| Set {
//!     x: x.to_vec().into(),
//!     targets: Targets::Values(y.to_vec()),
//!     count: y.len(),
//! };
//! let train = examples(&[1.0, 2.0, 3.0, 4.0], &[2.5, 4.5, 6.5, 8.5]);
//! let validation = examples(&[1.5, 2.5], &[3.0, 5.0]);
//!
//! // Ridge regression: w minimises the mean of (x w − y)² over the training examples, and ½ eᵘ w² with it.
//! let layer = Layer::Dense { name: "slope".into(), inputs: 1, outputs: 1, bias: false };
//! let model = Model::new(vec![layer], &[1])?;
//! let gradient_descent = Problem::new(model, Loss::MeanSquaredError, optim::Sgd, 50, train.count);
//! let problem = Problem { l2: true, ..gradient_descent };
//!
//! // The penalty eᵘ = 0.1 is to be tuned, by the mean of (x w − y)² over the validation examples.
//! let point = Hyperparameters::default().fixed(&problem, Kind::Lr, 0.05).tuned(&problem, Kind::L2, 0.1);
//!
//! let device = Device::new(CpuEngine::new(1)); // gpu::GpuEngine where there is a GPU
//! let data = SessionData::new(train, validation, vec![0.0], 0);
//! let method = Implicit::new(Solver::ConjugateGradient, 1);
//! let mut session = Session::new(&device, problem, &data, method).await?;
//! let estimate = session.estimate_at(&point, &mut Unattended).await?;
//!
//! // By hand: w = 2 · 16.25 / (2 · 7.5 + eᵘ), E = 4.25 (w − 2)², dE/du = −8.5 (w − 2) eᵘ w / (2 · 7.5 + eᵘ).
//! let w = 32.5 / 15.1;
//! assert!((estimate.outer_loss - 4.25 * (w - 2.0f64).powi(2)).abs() < 1e-5);
//! assert!((estimate.hypergradient[0] + 8.5 * (w - 2.0) * 0.1 * w / 15.1).abs() < 1e-5);
//! // It is negative: more penalty would do better.
//! # Ok(()) }) }
//! ```
//!
//! | for | see |
//! |---|---|
//! | problems of other kinds | [`Problem`] for a model trained on examples, [`Inner`] for graphs of one's own |
//! | ways to differentiate | [`Reverse`], [`Truncated`], [`Forward`], [`Implicit`], [`FixedPoint`]; [`Method`] for one's own |
//! | what to tune | [`Kind`] and [`Transform`]; [`Directions`] for anything linear in them |
//! | ways to move the hyperparameters | [`bilevel::outer`] |
//! | a model of a function that is costly to evaluate, and its next point | [`gp::Gp`] |
//! | search without derivatives: what is tried, and how long it trains | [`search`] |
//! | models and how they are trained | [`Model`], [`Layer`], [`nn::zoo`], [`optim`] |
//! | data sets | [`data`] |
//! | where it is computed | [`gpu::GpuEngine`], [`cpu::CpuEngine`], [`reference::ReferenceEngine`] (f64), each on a [`Device`] |
//! | the runs and studies of the command line | [`experiment`] |
//! | lessons on bilevel optimisation, computed as they are shown | [`lessons`] |
//!
//! The layers, lowest first, each importing only from those before it: [`rng`] → [`ir`], [`gp`] → [`autodiff`],
//! [`search`] → [`interp`], [`compile`] → [`engine`] → [`kernels`], [`host`] → [`gpu`], [`cpu`], [`mod@reference`] → [`rig`] → [`nn`],
//! [`data`] → [`bilevel`] → [`experiment`].
//!
//! The command line, the built-in recordings (`builtin-data`) and reference cases (`verify`) are features; the feature
//! `cli` is all of them and on by default. Problems of one's own need none.

pub mod autodiff;
pub mod bilevel;
pub mod compile;
pub mod cpu;
pub mod data;
pub mod engine;
pub mod experiment;
pub mod gp;
pub mod gpu;
pub mod host;
pub mod interp;
pub mod ir;
pub mod kernels;
#[cfg(feature = "lessons")]
pub mod lessons;
pub mod nn;
pub mod reference;
pub mod rig;
pub mod rng;
pub mod search;
#[cfg(target_arch = "wasm32")]
pub mod web;

pub use bilevel::hyperparameters::{Hyperparameters, Kind};
pub use bilevel::{
    Directions, Estimate, FixedPoint, Forward, Implicit, Inner, Loss, Memory, Method, Online, Problem, Regularizer,
    Reverse, Session, SessionData, Set, SolveError, Solver, Targets, Transform, Truncated,
};
pub use nn::{Layer, Model, optim};
pub use rig::{Device, Flow, Monitor, Unattended};
