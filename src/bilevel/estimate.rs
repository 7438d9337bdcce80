//! What a hypergradient comes with.

use std::collections::BTreeMap;

/// What a sweep over the training run gives, whatever the method.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Mean loss over the validation set at the final weights.
    pub outer_loss: f64,
    /// Training loss of each step, before its update.
    pub inner_losses: Vec<f64>,
    /// What else the steps have recorded, by name: a number each.
    pub records: BTreeMap<String, Vec<f64>>,
    /// The first training step whose result was not finite; then there is no gradient.
    pub bad_step: Option<usize>,
    /// Derivative of the outer loss along each direction that was asked for.
    pub hypergradient: Vec<f64>,
    /// Its share that does not pass through the training, ∂E/∂λ, where the outer loss sees λ.
    pub direct: Option<Vec<f64>>,
    /// ‖residual‖ over ‖right-hand side‖ where a linear system was solved.
    pub residual: Option<f64>,
    /// ‖∇_w L‖ over all training examples at the final weights, where the method takes these for a stationary point:
    /// the further from 0, the less the derivative is one of the training's outcome.
    pub inner_gradient: Option<f64>,
    /// What was run for it.
    pub counts: Counts,
    /// The most bytes that the engine has held so far.
    pub peak_bytes: u64,
}

impl Estimate {
    /// The estimate of all members of a population that share their hyperparameters: losses, records and derivatives are
    /// added up in the members' order, residuals are the largest, and it has diverged where one of them has.
    ///
    /// # Panics
    /// If there is none.
    pub fn sum(estimates: Vec<Estimate>) -> Estimate {
        let add = |mut sum: Estimate, next: Estimate| {
            let one_diverged = sum.diverged() || next.diverged();
            let plus =
                |sum: &mut Vec<f64>, next: Vec<f64>| sum.iter_mut().zip(next).for_each(|(sum, next)| *sum += next);
            sum.outer_loss += next.outer_loss;
            plus(&mut sum.inner_losses, next.inner_losses);
            for (sum, next) in sum.records.values_mut().zip(next.records.into_values()) {
                plus(sum, next);
            }
            plus(&mut sum.hypergradient, next.hypergradient);
            if let (Some(sum), Some(next)) = (&mut sum.direct, next.direct) {
                plus(sum, next);
            }
            let largest = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
            sum.residual = largest(sum.residual, next.residual);
            sum.inner_gradient = largest(sum.inner_gradient, next.inner_gradient);
            sum.bad_step = sum.bad_step.into_iter().chain(next.bad_step).min();
            if one_diverged {
                sum.hypergradient.clear();
                sum.direct = None;
            }
            sum
        };
        estimates.into_iter().reduce(add).expect("a population has a member")
    }

    /// The same of the losses times a factor.
    pub fn scaled(mut self, factor: f64) -> Estimate {
        let vectors = [&mut self.inner_losses, &mut self.hypergradient].into_iter().chain(&mut self.direct);
        let vectors = vectors.chain(self.records.values_mut());
        vectors.flatten().for_each(|value| *value *= factor);
        self.outer_loss *= factor;
        self
    }

    /// Whether there is nothing to differentiate.
    pub fn diverged(&self) -> bool {
        self.bad_step.is_some() || !self.outer_loss.is_finite()
    }
}

/// Runs of the programs that differ in cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Training steps.
    pub steps: u64,
    /// Adjoints of training steps.
    pub adjoints: u64,
    /// How many of these began with residuals that their steps had kept.
    pub kept: u64,
    /// Tangents of training steps.
    pub tangents: u64,
    /// Products with the Hessian of the inner loss, over the whole training set each.
    pub products: u64,
}
