//! A method of one's own, on the public interface alone.
//!
//! Truncation to one step (Luketina et al. 2016) asks what the last training step did for the outer loss, and is as noisy
//! as that one step's batch. Asked of each of the last K steps and averaged, h = 1/K Σₖ Bₖᵀ ∇E(wₖ) with Bₖ = ∂Φ(wₖ₋₁, λ)/∂λ,
//! it costs K adjoints and K outer gradients, and no product of Jacobians at all.

use async_trait::async_trait;
use stackelberg::bilevel::checkpoint::{Action, Plan};
use stackelberg::bilevel::inner::{Inner, Through};
use stackelberg::bilevel::{Counts, Directions, Estimate, Method, Monitor, Refusal, Room, SolveError, Trajectory};
use stackelberg::engine::Values;
use stackelberg::ir::DType;
use stackelberg::rig::{Array, Function};

/// The average of one-step truncations at the last points of the trajectory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AveragedTruncation {
    /// Points K; more than the training has steps are all.
    pub points: usize,
}

impl AveragedTruncation {
    fn points(&self, steps: usize) -> usize {
        self.points.clamp(1, steps)
    }
}

#[async_trait(?Send)]
impl Method for AveragedTruncation {
    fn name(&self) -> &'static str {
        "averaged one-step truncation"
    }

    /// Whatever acts before the steps that are asked is not seen.
    fn refusal(&self, inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
        let part = along.moved(inner, &[Through::Start])?;
        Some(Refusal {
            method: self.name(),
            what: part.what,
            reason: "no step that is differentiated depends on it".to_owned(),
            instead: "reverse mode",
        })
    }

    fn takes_adjoints(&self) -> bool {
        true
    }

    fn functions(&self, _inner: &dyn Inner) -> Vec<Function> {
        vec![]
    }

    fn arrays(&self, inner: &dyn Inner) -> Vec<Array> {
        vec![
            Array::new("lambda_cotangent", DType::F32, inner.lambda_len()),
            Array::new("cotangent", DType::F32, inner.state_len()),
        ]
    }

    /// The states before the last K steps, and the last one.
    fn plan(&self, inner: &dyn Inner, _room: Room) -> Result<Plan, SolveError> {
        let steps = inner.steps();
        Ok(Plan::of_last(steps, self.points(steps), usize::MAX).expect("any number of states may be kept"))
    }

    fn counts(&self, inner: &dyn Inner, _plan: &Plan, _directions: usize) -> Counts {
        let steps = inner.steps();
        Counts { steps: steps as u64, adjoints: self.points(steps) as u64, ..Counts::default() }
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let steps = trajectory.plan().steps;
        let total = trajectory.plan().actions_run();
        let mut actions = trajectory.plan().actions();
        let mut estimate = trajectory.train(lambda, actions.by_ref().take(steps), total, monitor).await?;
        if estimate.diverged() {
            return Ok(estimate);
        }
        trajectory.fill("lambda_cotangent", Values::F64(&vec![0.0; lambda.len()]))?;
        let ports = [trajectory.array("gradient")?, trajectory.array("cotangent")?];
        let points = self.points(steps);
        let mut sum = vec![0.0; lambda.len()];
        // What comes after the outer loss are the adjoints, the last step's first.
        let places = actions.filter_map(|action| if let Action::Adjoint { at, .. } = action { Some(at) } else { None });
        for (k, place) in places.enumerate() {
            let adjoint = trajectory.bind_adjoint(place, ports)?;
            trajectory.rig().submit(&[adjoint])?;
            trajectory.counts().adjoints += 1;
            // Bias corrections of the state before the step are functions of λ, too.
            let known = trajectory.known(lambda, steps - 1 - k)?;
            if !known.is_empty() {
                let cotangent = trajectory.read(&ports[1..]).await?.remove(0);
                known.iter().for_each(|known| sum[known.at] += known.derivative * cotangent[known.slot]);
            }
            if k + 1 < points {
                // The next point is the state that this step began with.
                trajectory.outer_loss_at(place, monitor).await?;
            }
        }
        let adjoints = trajectory.read(&[trajectory.array("lambda_cotangent")?]).await?.remove(0);
        sum.iter_mut().zip(adjoints).for_each(|(sum, adjoint)| *sum = (*sum + adjoint) / points as f64);
        estimate.hypergradient = along.pull_back(&sum);
        Ok(trajectory.counted(estimate))
    }
}
