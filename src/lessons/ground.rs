//! Where a lesson computes.

use std::rc::Rc;

use async_trait::async_trait;

use crate::bilevel::checkpoint::Plan;
use crate::bilevel::{
    Counts, Directions, Estimate, Inner, Method, Problem, Refusal, Room, Session, SessionData, SolveError, Trajectory,
};
use crate::data::Dataset;
use crate::engine::Values;
use crate::rig::{Array, Compiled, Device, Function, Monitor};

use super::follower::Follower;

/// A device with the programs that were compiled for it so far: those of a problem that comes again are there.
pub struct Ground {
    device: Device,
    compiled: Compiled,
    /// Every hypergradient is so many times what it is. 1, but where a class is to find out that something is wrong.
    pub factor: f64,
    /// Recordings of people, once they are there.
    pub recordings: Option<Rc<Dataset>>,
}

impl Ground {
    /// A device to compute on, and what every hypergradient is multiplied by.
    pub fn new(device: Device, factor: f64) -> Self {
        Ground { device, compiled: Compiled::default(), factor, recordings: None }
    }

    /// A session of a follower, its data in place.
    pub(super) async fn open(
        &self,
        follower: Follower,
        method: impl Into<Box<dyn Method>>,
    ) -> Result<Session<Follower>, SolveError> {
        let mut session =
            Session::open_with(&self.device, follower, 1, self.method(method.into()), &self.compiled).await?;
        for (name, values) in session.inner().data.clone() {
            session.fill(name, Values::F32(&values))?;
        }
        Ok(session)
    }

    /// A session of a model on examples.
    pub(super) async fn open_supervised(
        &self,
        problem: Problem,
        data: &SessionData,
        method: impl Into<Box<dyn Method>>,
    ) -> Result<Session, SolveError> {
        Session::with(&self.device, problem, data, self.method(method.into()), &self.compiled).await
    }

    /// A method with the factor on what it finds.
    fn method(&self, method: Box<dyn Method>) -> Box<dyn Method> {
        match self.factor {
            1.0 => method,
            factor => Scaled { method, factor }.into(),
        }
    }
}

/// A method whose answers are multiplied.
struct Scaled {
    method: Box<dyn Method>,
    factor: f64,
}

#[async_trait(?Send)]
impl Method for Scaled {
    fn name(&self) -> &'static str {
        self.method.name()
    }

    fn refusal(&self, inner: &dyn Inner, along: &Directions) -> Option<Refusal> {
        self.method.refusal(inner, along)
    }

    fn takes_adjoints(&self) -> bool {
        self.method.takes_adjoints()
    }

    fn functions(&self, inner: &dyn Inner) -> Vec<Function> {
        self.method.functions(inner)
    }

    fn arrays(&self, inner: &dyn Inner) -> Vec<Array> {
        self.method.arrays(inner)
    }

    fn plan(&self, inner: &dyn Inner, room: Room) -> Result<Plan, SolveError> {
        self.method.plan(inner, room)
    }

    fn counts(&self, inner: &dyn Inner, plan: &Plan, directions: usize) -> Counts {
        self.method.counts(inner, plan, directions)
    }

    async fn estimate(
        &mut self,
        trajectory: &mut Trajectory,
        lambda: &[f64],
        along: &Directions,
        monitor: &mut dyn Monitor,
    ) -> Result<Estimate, SolveError> {
        let mut estimate = self.method.estimate(trajectory, lambda, along, monitor).await?;
        estimate.hypergradient.iter_mut().for_each(|derivative| *derivative *= self.factor);
        Ok(estimate)
    }
}
