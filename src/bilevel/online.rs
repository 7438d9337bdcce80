//! Online variants (algorithms.md A.7): the training goes on from one estimate to the next instead of
//! starting again, T steps each. Cheaper, and biased: what was trained with earlier hyperparameters is
//! taken as given.

use async_trait::async_trait;

use super::checkpoint::Plan;
use super::method::Room;
use super::{
    Array, Counts, Directions, Estimate, Forward, Function, Host, Method, Problem, Refusal, Runner, SolveError,
};

/// Any method on a training that goes on: warm restarts with reverse or forward mode, truncated online
/// reverse mode, T1–T2 with [`Implicit::t1_t2`](super::Implicit::t1_t2).
///
/// After a training that diverged the same steps are taken again.
pub struct Online {
    method: Box<dyn Method>,
    /// Whether the last estimate ended in a state to go on from.
    goes_on: bool,
}

impl Online {
    pub fn new(method: impl Into<Box<dyn Method>>) -> Self {
        Online { method: method.into(), goes_on: false }
    }
}

/// Real-time forward mode (Franceschi et al. 2017): the tangents go on with the training, so that they
/// hold its whole history, each step's with the hyperparameters of its time.
///
/// After a training that diverged the same steps are taken again, with tangents that begin there: what led to them
/// is taken as given from then on.
pub struct RealTime {
    forward: Forward,
    goes_on: bool,
}

impl RealTime {
    /// For so many directions.
    pub fn new(directions: usize) -> Self {
        RealTime { forward: Forward { width: directions.max(1) }, goes_on: false }
    }
}

fn initial_weights_refused(method: &'static str, along: &Directions) -> Option<Refusal> {
    along.move_initial().then(|| Refusal {
        method,
        what: "the initial weights",
        reason: "only the first of its estimates begins with them".to_owned(),
        instead: "reverse mode",
    })
}

#[async_trait(?Send)]
impl Method for Online {
    fn name(&self) -> &'static str {
        "online differentiation"
    }

    fn refusal(&self, problem: &Problem, along: &Directions) -> Option<Refusal> {
        initial_weights_refused(self.name(), along).or_else(|| self.method.refusal(problem, along))
    }

    fn functions(&self, problem: &Problem) -> Vec<Function> {
        self.method.functions(problem)
    }

    fn arrays(&self, problem: &Problem) -> Vec<Array> {
        self.method.arrays(problem)
    }

    fn plan(&self, problem: &Problem, room: Room) -> Result<Plan, SolveError> {
        self.method.plan(problem, room)
    }

    fn counts(&self, problem: &Problem, plan: &Plan, directions: usize) -> Counts {
        self.method.counts(problem, plan, directions)
    }

    async fn estimate(
        &mut self,
        runner: &mut Runner<'_>,
        lambda: &[f64],
        along: &Directions,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        if std::mem::take(&mut self.goes_on) {
            runner.carry_on()?;
        }
        let estimate = self.method.estimate(runner, lambda, along, host).await?;
        self.goes_on = !estimate.diverged();
        Ok(estimate)
    }
}

#[async_trait(?Send)]
impl Method for RealTime {
    fn name(&self) -> &'static str {
        "real-time forward mode"
    }

    fn refusal(&self, _problem: &Problem, along: &Directions) -> Option<Refusal> {
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
        too_many.or_else(|| initial_weights_refused(self.name(), along))
    }

    fn functions(&self, problem: &Problem) -> Vec<Function> {
        self.forward.functions(problem)
    }

    fn arrays(&self, problem: &Problem) -> Vec<Array> {
        self.forward.arrays(problem)
    }

    fn counts(&self, problem: &Problem, plan: &Plan, directions: usize) -> Counts {
        self.forward.counts(problem, plan, directions)
    }

    async fn estimate(
        &mut self,
        runner: &mut Runner<'_>,
        lambda: &[f64],
        along: &Directions,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        let goes_on = std::mem::take(&mut self.goes_on);
        if goes_on {
            runner.carry_on()?;
        }
        let estimate = self.forward.sweep(runner, lambda, along, goes_on, host).await?;
        self.goes_on = !estimate.diverged();
        Ok(estimate)
    }
}
