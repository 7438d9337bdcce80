//! The leader's optimisers.

mod adam;
mod descent;
mod guarded_adam;
mod hoag;
mod outer_adam;
mod probe;
mod sampled;
mod variables;

pub use adam::Adam;
pub use descent::{Descent, Rule};
pub use guarded_adam::GuardedAdam;
pub use hoag::Hoag;
pub use outer_adam::OuterAdam;
pub use probe::ProbeDescent;
pub use sampled::{Sampled, Source};
pub use variables::{Moved, Variables, roughness};

use super::Estimate;
use super::hyperparameters::Hyperparameters;

/// What moves hyperparameters by what was found at them. All its memory can be written down, which is what a resumed
/// run needs.
pub trait OuterOptimizer {
    /// Whether it asks for the hypergradient at the next point, or for the loss alone, which costs a third of that.
    fn differentiates(&self) -> bool {
        true
    }

    /// Takes the loss (NaN where the training diverged) and the hypergradient found at `variables`, which are
    /// unconstrained, and moves them to the next point to try; the answer says whether the point was accepted. Where it
    /// has not asked for it, there is no hypergradient.
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
