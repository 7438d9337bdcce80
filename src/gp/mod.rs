//! A Gaussian process for Bayesian optimisation: what it believes of a function from what was seen of it, and where
//! to look next. The definition, constants included, is that of Optuna 5.0.0's `GPSampler`.
//!
//! Points lie in the unit cube, and the function is to be minimised. Inside, values are standardised and negated, and
//! are modelled with mean zero and the kernel
//!
//! ```text
//! k(x, x') = κ (1 + s + s²/3) e⁻ˢ,   s² = 5 Σ aⱼ (xⱼ − x'ⱼ)²        (Matérn 5/2)
//! ```
//!
//! plus the noise σ². [`Parameters`] are fitted by their maximum a posteriori, the next point maximises the logarithm
//! of the expected improvement. Everything is a function of what was observed and of the draws.

mod acquisition;
pub(crate) mod bfgs;
pub(crate) mod cholesky;
mod fit;
mod kernel;
mod model;
mod observations;
mod sobol;

pub use acquisition::standard_log_ei;
pub use kernel::{Coordinate, Parameters};
pub use model::Gp;
pub use observations::Observation;
pub use sobol::Points;
