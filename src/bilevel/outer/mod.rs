//! The leader's optimisers.

mod adam;
mod descent;
mod guarded;
mod hoag;

pub use adam::Adam;
pub use descent::{Descent, Rule};
pub use guarded::OuterAdam;
pub use hoag::Hoag;

use super::Estimate;
use super::hyperparameters::Hyperparameters;

/// What moves hyperparameters by what was found at them. All its memory can be written down, which is what a resumed
/// run needs.
pub trait OuterOptimizer {
    /// Takes the loss (NaN where the training diverged) and the hypergradient found at `variables`, which are
    /// unconstrained, and moves them to the next point to try; the answer says whether the point was accepted.
    ///
    /// # Panics
    /// If there are not as many variables, or derivatives of a finite loss, as the optimiser was made for.
    fn step(&mut self, variables: &mut [f64], loss: f64, hypergradient: &[f64]) -> bool;

    /// How exactly it wants the next hypergradient, if it says so: hand it to
    /// [`Session::set_tolerance`](super::Session::set_tolerance) before the estimate.
    fn tolerance(&self) -> Option<f64> {
        None
    }

    /// Moves hyperparameters on from the point that an estimate was made at.
    fn advance(&mut self, point: &mut Hyperparameters, estimate: &Estimate) -> bool {
        let loss = if estimate.bad_step.is_some() { f64::NAN } else { estimate.outer_loss };
        let mut variables = point.variables();
        let accepted = self.step(&mut variables, loss, &estimate.hypergradient);
        point.set_variables(&variables);
        accepted
    }
}
