//! Online variants (algorithms.md A.7): the training goes on from one estimate to the next instead of
//! starting again, T steps each. Cheaper, and biased: what was trained with earlier hyperparameters is
//! taken as given.

use async_trait::async_trait;

use super::around::{Around, Change};
use super::forward::Forward;
use crate::bilevel::checkpoint::Plan;
use crate::bilevel::inner::{Inner, Through};
use crate::bilevel::{Counts, Directions, Estimate, Method, Refusal, SolveError, Trajectory};
use crate::rig::{Array, Function, Monitor};

/// Any method on a training that goes on: warm restarts with reverse or forward mode, truncated online
/// reverse mode, T1–T2 with [`Implicit::t1_t2`](super::Implicit::t1_t2).
///
/// After a training that diverged the same steps are taken again.
pub type Online = Around<GoesOn>;

impl Online {
    /// That method, from the second estimate on from where the last training ended.
    pub fn new(method: impl Into<Box<dyn Method>>) -> Self {
        Around::with(method, GoesOn::default())
    }
}

/// Whether the last estimate ended in a state to go on from.
#[derive(Default)]
pub struct GoesOn(bool);

/// Real-time forward mode (Franceschi et al. 2017): the tangents go on with the training, so that they
/// hold its whole history, each step's with the hyperparameters of its time.
///
/// After a training that diverged or was stopped the same steps are taken again, with tangents that begin there: what
/// led to them is taken as given from then on. So it is where the directions are others than before.
pub struct RealTime {
    forward: Forward,
    goes_on: bool,
    /// What the tangents that go on belong to.
    along: Option<Directions>,
}

impl RealTime {
    /// For so many directions.
    pub fn new(directions: usize) -> Self {
        RealTime { forward: Forward { width: directions.max(1) }, goes_on: false, along: None }
    }
}

fn start_refused(method: &'static str, inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
    along.moved(inner, &[Through::Start]).map(|part| Refusal {
        method,
        what: part.what,
        reason: "only the first of its estimates begins with them".to_owned(),
        instead: "reverse mode",
    })
}

impl Change for GoesOn {
    fn name(&self) -> Option<&'static str> {
        Some("online differentiation")
    }

    fn refusal(&self, inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
        start_refused("online differentiation", inner, along)
    }

    fn before(&mut self, trajectory: &mut Trajectory) -> Result<(), SolveError> {
        if std::mem::take(&mut self.0) { trajectory.carry_on() } else { Ok(()) }
    }

    fn after(&mut self, estimate: &mut Estimate) {
        self.0 = !estimate.diverged();
    }

    fn forget(&mut self) {
        self.0 = false;
    }
}

#[async_trait(?Send)]
impl Method for RealTime {
    fn name(&self) -> &'static str {
        "real-time forward mode"
    }

    fn refusal(&self, inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
        let width = self.forward.width;
        let too_many = (along.len() > width).then(|| Refusal {
            method: self.name(),
            what: "so many hyperparameters",
            reason: format!(
                "it was made for {width} directions, whose tangents it keeps, and {} are given",
                along.len()
            ),
            instead: "one made for them, or online reverse mode",
        });
        too_many.or_else(|| start_refused(self.name(), inner, along))
    }

    fn functions(&self, inner: &dyn Inner) -> Vec<Function> {
        self.forward.functions(inner)
    }

    fn arrays(&self, inner: &dyn Inner) -> Vec<Array> {
        self.forward.arrays(inner)
    }

    fn forget(&mut self) {
        self.goes_on = false;
    }

    fn counts(&self, inner: &dyn Inner, plan: &Plan, directions: usize) -> Counts {
        self.forward.counts(inner, plan, directions)
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let goes_on = std::mem::take(&mut self.goes_on);
        if goes_on {
            trajectory.carry_on()?;
        }
        // Tangents along other directions begin here.
        let same = self.along.replace(along.clone()).as_ref() == Some(along);
        let estimate = self.forward.sweep(trajectory, lambda, along, goes_on && same, monitor).await?;
        self.goes_on = !estimate.diverged();
        Ok(estimate)
    }
}
