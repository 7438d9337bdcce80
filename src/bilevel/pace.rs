//! How long the parts of a run take.

use serde::{Deserialize, Serialize};
use web_time::Instant;

use super::methods::forward;
use super::programs::{ADJOINT, PULLBACK};
use super::{CHUNK, Counts, Inner, Session, SolveError};
use crate::engine::{BindingId, Command};
use crate::rig::SEGMENT_SECONDS;

/// Seconds that the parts of a run take on an engine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// One training step.
    pub step: f64,
    /// One adjoint step, with the training step inside it.
    pub adjoint: f64,
    /// One chunk of the outer loss with its gradient.
    pub outer: f64,
    /// One chunk of an evaluation.
    pub evaluation: f64,
}

impl Pace {
    /// The faster of two measurements, part by part: whatever else a machine does only ever adds time.
    pub fn least(self, other: Pace) -> Self {
        Pace {
            step: self.step.min(other.step),
            adjoint: self.adjoint.min(other.adjoint),
            outer: self.outer.min(other.outer),
            evaluation: self.evaluation.min(other.evaluation),
        }
    }

    /// Seconds of what a method runs, for so many training examples; the outer loss comes on top.
    pub fn of(&self, counts: &Counts, training: usize) -> f64 {
        let chunks = training.div_ceil(CHUNK) as f64;
        counts.steps as f64 * self.step
            + (counts.adjoints as f64 - SAVED * counts.kept as f64) * self.adjoint
            + counts.tangents as f64 * TANGENT * self.step
            + counts.products as f64 * chunks * PRODUCT * self.outer
    }

    /// What is to be expected where only the training step could be measured, by counted FLOPs of the HAR networks: an
    /// adjoint costs 2.6 steps, and a chunk is two batches of 64.
    pub fn of_step(step: f64) -> Self {
        Pace { step, adjoint: 2.6 * step, outer: 2.0 * step, evaluation: 0.7 * step }
    }
}

/// What kept residuals save of an adjoint: a third of its products (docs/performance.md), and 0.29 of its time where that
/// was measured (the full HAR network on one core, docs/benchmarks.md).
const SAVED: f64 = 0.3;

/// A tangent beside a training step, in training steps (docs/decisions/0007).
const TANGENT: f64 = 0.93;

/// A chunk of a product with the Hessian, in those of a loss with its gradient: it is their tangent beside them.
const PRODUCT: f64 = 2.0;

/// How often a program is timed where that takes no longer than a fifth of a second.
const TRIES: usize = 3;

impl Session {
    /// Times the parts of a run with these hyperparameters, within about so many seconds: the least time of several
    /// tries, as far as these go. A training step is run in any case; where one alone takes longer than its share, or
    /// the session's method has no adjoint, the other parts are only estimated from it.
    pub async fn measure(&mut self, lambda: &[f64], seconds: f64) -> Result<Pace, SolveError> {
        let lambda = self.shared(lambda)?;
        self.trajectory.begin(&lambda)?;
        let last = self.trajectory.last_place();
        let step = self.trajectory.bind_step("step", [0, last], &[])?;
        let share = 0.4 * seconds;
        let first = self.time(step, 0.0, 1).await?;
        if first > share || !self.trajectory.rig().is_loaded(ADJOINT) {
            return Ok(Pace::of_step(first));
        }
        // The longer program first: a browser makes fast code only of what has run for a while.
        let cotangents = self.trajectory.cotangents()?;
        let adjoint = self.trajectory.bind_adjoint(0, cotangents)?;
        let adjoint = self.time(adjoint, share, usize::MAX).await?;
        let step = first.min(self.time(step, share, usize::MAX).await?);
        let state = self.trajectory.final_state();
        let outer = self.trajectory.rig().bind("outer_gradient", &[("state", state)])?;
        let outer = self.time(outer, 0.1 * seconds, 1).await?;
        self.require_evaluation().await?;
        let binding = self.trajectory.rig().bind("evaluation", &[("state", state)])?;
        let evaluation = self.time(binding, 0.1 * seconds, 1).await?;
        Ok(Pace { step, adjoint, outer, evaluation })
    }

    /// The least seconds of one run of a binding, of submissions that grow to a segment's length, or to `most` runs. In
    /// a browser the first runs of a program are many times slower than the others.
    async fn time(&mut self, binding: BindingId, seconds: f64, most: usize) -> Result<f64, SolveError> {
        let device = self.device();
        let begin = Instant::now();
        let (mut least, mut count, mut tries) = (f64::INFINITY, 1, 0);
        loop {
            self.trajectory.clear_sums()?;
            let start = Instant::now();
            device.submit(&vec![Command::Run(binding); count])?;
            device.finish().await?;
            let taken = start.elapsed().as_secs_f64();
            least = least.min(taken / count as f64);
            if taken < SEGMENT_SECONDS {
                count = (2 * count).min(most);
            }
            tries += 1;
            let spent = begin.elapsed().as_secs_f64();
            if spent >= seconds && (tries >= TRIES || spent >= 0.2) {
                return Ok(least);
            }
        }
    }
}

impl<P: Inner + 'static> Session<P> {
    /// Times every dispatch of the programs of an outer iteration with these hyperparameters: seconds by program, each the
    /// median of so many runs after one that warms the device.
    pub async fn profile(
        &mut self,
        lambda: &[f64],
        repeats: usize,
    ) -> Result<Vec<(&'static str, Vec<f64>)>, SolveError> {
        let lambda = self.shared(lambda)?;
        self.trajectory.begin(&lambda)?;
        let last = self.trajectory.last_place();
        let mut bindings = vec![("step", self.trajectory.bind_step("step", [0, last], &[])?)];
        if self.trajectory.rig().is_loaded(ADJOINT) {
            let cotangents = self.trajectory.cotangents()?;
            bindings.push((ADJOINT, self.trajectory.bind_adjoint(0, cotangents)?));
            // From the zeros of the first set: how long it takes does not depend on them.
            if let Some(binding) = self.trajectory.bind_pullback(0, cotangents)? {
                bindings.push((PULLBACK, binding));
            }
        }
        if self.trajectory.rig().is_loaded(forward::STEP) {
            let [from, to] = forward::TANGENTS;
            let tangents = [("tangents", self.trajectory.array(from)?), ("next_tangents", self.trajectory.array(to)?)];
            bindings.push((forward::STEP, self.trajectory.bind_step(forward::STEP, [0, last], &tangents)?));
        }
        let state = self.trajectory.final_state();
        bindings.push(("outer_gradient", self.trajectory.rig().bind("outer_gradient", &[("state", state)])?));
        let device = self.device();
        let mut all = vec![];
        for (name, binding) in bindings {
            all.push((name, device.profile(binding, repeats, || self.trajectory.clear_sums()).await?));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_taken_on_all_examples_whatever_the_batch() {
        // Steps of a small and of a large batch, on the same examples.
        for step in [0.1, 10.0] {
            let pace = Pace { step, adjoint: 3.0 * step, outer: 5.0, evaluation: 1.0 };
            let products = Counts { products: 7, ..Counts::default() };
            assert_eq!(pace.of(&products, 3 * CHUNK - 1), 7.0 * 3.0 * PRODUCT * 5.0);
        }
    }
}
