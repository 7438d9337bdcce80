//! Reverse mode (Franceschi et al. 2017, algorithm 1; algorithms.md A.3): the whole training run is
//! differentiated backwards. Its time does not depend on the number of hyperparameters.

use async_trait::async_trait;

use crate::bilevel::checkpoint::{Action, Plan};
use crate::bilevel::inner::{Inner, Known, Through};
use crate::bilevel::method::Room;
use crate::bilevel::{Directions, Estimate, Memory, Method, Refusal, SolveError, Trajectory, programs};
use crate::ir::DType;
use crate::rig::{Array, Function, Monitor, Progress};

/// Exact for all hyperparameters; keeps training states or, within a byte budget, computes them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reverse {
    /// Which states are kept.
    pub memory: Memory,
}

/// A memory limit alone means reverse mode.
impl From<Memory> for Box<dyn Method> {
    fn from(memory: Memory) -> Self {
        Box::new(Reverse { memory })
    }
}

#[async_trait(?Send)]
impl Method for Reverse {
    fn name(&self) -> &'static str {
        "reverse mode"
    }

    fn refusal(&self, _inner: &dyn Inner, _along: &Directions) -> Option<Refusal> {
        None
    }

    fn takes_adjoints(&self) -> bool {
        true
    }

    fn functions(&self, inner: &dyn Inner) -> Vec<Function> {
        functions(inner)
    }

    fn arrays(&self, inner: &dyn Inner) -> Vec<Array> {
        arrays(inner)
    }

    fn plan(&self, inner: &dyn Inner, room: Room) -> Result<Plan, SolveError> {
        plan(self.memory, inner.steps(), inner.steps(), room)
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        Ok(sweep(trajectory, lambda, &[along], None, monitor).await?.remove(0))
    }

    fn takes_members(&self) -> bool {
        true
    }

    async fn estimate_each(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &[&Directions],
        monitor: &mut dyn Monitor,
    ) -> Result<Vec<Estimate>, SolveError> {
        sweep(trajectory, lambda, along, None, monitor).await
    }
}

/// Reverse mode that is looked at on its way back: of the same bits, and slower by what is read.
pub struct Watched<F> {
    /// Which states are kept.
    pub memory: Memory,
    /// Steps gone back between two looks, about.
    pub every: usize,
    /// Told what the training came to, how many steps the way back has come, and the derivative by every hyperparameter
    /// as far as these steps make it. That of what acts in one step alone is complete once the way back is through it.
    pub look: F,
}

#[async_trait(?Send)]
impl<F: FnMut(&Estimate, usize, &[f64])> Method for Watched<F> {
    fn name(&self) -> &'static str {
        "reverse mode, watched"
    }

    fn refusal(&self, inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
        Reverse { memory: self.memory }.refusal(inner, along)
    }

    fn takes_adjoints(&self) -> bool {
        true
    }

    fn functions(&self, inner: &dyn Inner) -> Vec<Function> {
        functions(inner)
    }

    fn arrays(&self, inner: &dyn Inner) -> Vec<Array> {
        arrays(inner)
    }

    fn plan(&self, inner: &dyn Inner, room: Room) -> Result<Plan, SolveError> {
        plan(self.memory, inner.steps(), inner.steps(), room)
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let watch = Some((self.every, &mut self.look as Look));
        Ok(sweep(trajectory, lambda, &[along], watch, monitor).await?.remove(0))
    }
}

/// Who looks at a way back.
type Look<'a> = &'a mut dyn FnMut(&Estimate, usize, &[f64]);

/// The programs of a backward sweep besides the adjoint.
pub(super) fn functions(inner: &dyn Inner) -> Vec<Function> {
    let starts = inner.lambda().iter().any(|part| part.through == Through::Start && !part.range.is_empty());
    starts.then(|| programs::begin_adjoint(inner)).into_iter().collect()
}

/// The arrays of a backward sweep, besides the outer gradient that it begins with.
pub(super) fn arrays(inner: &dyn Inner) -> Vec<Array> {
    vec![
        Array::new("lambda_cotangent", DType::F32, inner.lambda_len()),
        Array::new("cotangent", DType::F32, inner.state_len()),
    ]
}

/// The plan that differentiates the last steps of a training within a memory limit.
pub(super) fn plan(memory: Memory, steps: usize, last: usize, room: Room) -> Result<Plan, SolveError> {
    match memory {
        Memory::StoreAll => Ok(Plan::of_last(steps, last, usize::MAX).expect("any number of states may be kept")),
        Memory::Slots(slots) => Ok(Plan::revolve_last(steps, last, slots.clamp(1, last))),
        Memory::Budget(budget) => {
            let plan = Plan::of_last(steps, last, room.places(budget));
            let plan = plan.ok_or_else(|| room.too_small(budget, steps, last))?;
            let kept = room.kept(budget, plan.places);
            Ok(plan.keeping(kept))
        }
    }
}

/// Runs the session's plan there and back, for all members at once.
pub(super) async fn sweep(
    trajectory: &mut Trajectory,
    lambda: &[f64],
    along: &[&Directions],
    watch: Option<(usize, Look<'_>)>,
    monitor: &mut dyn Monitor,
) -> Result<Vec<Estimate>, SolveError> {
    let Plan { steps, last, .. } = *trajectory.plan();
    let total = trajectory.plan().actions_run();
    let mut actions = trajectory.plan().actions();
    let mut estimates = trajectory.train_each(lambda, actions.by_ref().take(steps), total, monitor).await?;
    if estimates.iter().all(Estimate::diverged) {
        return Ok(estimates);
    }
    trajectory.rig().clear("lambda_cotangent")?;
    // The outer loss has been taken.
    let way_back = actions.skip(1);
    let mut progress = Progress { done: steps as u64 + 1, total };
    let start = match watch {
        None => trajectory.run(way_back, &mut progress, monitor).await?,
        Some((every, look)) => {
            let mut way_back = way_back.peekable();
            // Of an even number, so that the next part finds the cotangent where every sweep begins.
            let (most, mut back) = (every.max(2).next_multiple_of(2), 0);
            loop {
                let mut left = most;
                let part = std::iter::from_fn(|| {
                    let next = way_back.next_if(|_| left > 0)?;
                    left -= usize::from(matches!(next, Action::Adjoint { .. }));
                    Some(next)
                });
                let end = trajectory.run(part, &mut progress, monitor).await?;
                back += most - left;
                let so_far = trajectory.read(&[trajectory.array("lambda_cotangent")?]).await?.remove(0);
                look(&estimates[0], back, &so_far);
                if way_back.peek().is_none() {
                    break end;
                }
            }
        }
    };
    if last == steps && along.iter().any(|along| trajectory.starts(along)) {
        trajectory.pull_back_start(start)?;
    }
    // What is known of the state that the way back ends at is differentiated here.
    let (m, d) = (trajectory.inner().lambda_len(), trajectory.inner().state_len());
    let known = |(lambda, along): (&[f64], &&Directions)| {
        let mut known = trajectory.known(lambda, steps - last)?;
        known.retain(|known| along.moves(&(known.at..known.at + 1)));
        Ok(known)
    };
    let known: Vec<Vec<Known>> = lambda.chunks(m).zip(along).map(known).collect::<Result<_, SolveError>>()?;
    let mut reads = vec![trajectory.array("lambda_cotangent")?];
    if known.iter().any(|known| !known.is_empty()) {
        reads.push(start);
    }
    let mut values = trajectory.read(&reads).await?;
    for (member, estimate) in estimates.iter_mut().enumerate().filter(|(_, estimate)| !estimate.diverged()) {
        for known in &known[member] {
            values[0][member * m + known.at] += known.derivative * values[1][member * d + known.slot];
        }
        estimate.hypergradient = along[member].pull_back(&values[0][member * m..][..m]);
    }
    Ok(estimates.into_iter().map(|estimate| trajectory.counted(estimate)).collect())
}
