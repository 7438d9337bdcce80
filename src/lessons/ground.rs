//! Where a lesson computes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use async_trait::async_trait;

use crate::bilevel::checkpoint::Plan;
use crate::bilevel::{
    Blueprint, Counts, Directions, Estimate, Inner, Method, Problem, Refusal, Room, Session, SessionData, SolveError,
    Trajectory, meta, selftune,
};
use crate::data::Dataset;
use crate::engine::Values;
use crate::experiment::machine::Machine;
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
    /// Whether the next session is to be opened up, and what was found in the last that was.
    wanted: Cell<bool>,
    machine: RefCell<Option<Machine>>,
}

impl Ground {
    /// A device to compute on, and what every hypergradient is multiplied by.
    pub fn new(device: Device, factor: f64) -> Self {
        let (wanted, machine) = (Cell::new(false), RefCell::new(None));
        Ground { device, compiled: Compiled::default(), factor, recordings: None, wanted, machine }
    }

    /// The next session that is opened is to be opened up.
    pub fn want_machine(&self) {
        self.wanted.set(true);
    }

    /// What was found in it.
    pub fn machine(&self) -> Option<Machine> {
        self.machine.take()
    }

    /// A session of a follower, its data in place.
    pub(super) async fn open(
        &self,
        follower: Follower,
        method: impl Into<Box<dyn Method>>,
    ) -> Result<Session<Follower>, SolveError> {
        let (blueprint, method) = self.prepared(&follower, method.into())?;
        let mut session = Session::open_with(&self.device, follower, 1, method, &self.compiled).await?;
        for (name, values) in session.inner().data.clone() {
            session.fill(name, Values::F32(&values))?;
        }
        self.keep(&mut session, blueprint).await?;
        Ok(session)
    }

    /// A session of a model on examples.
    pub(super) async fn open_supervised(
        &self,
        problem: Problem,
        data: &SessionData,
        method: impl Into<Box<dyn Method>>,
    ) -> Result<Session, SolveError> {
        let (blueprint, method) = self.prepared(&problem, method.into())?;
        let mut session = Session::with(&self.device, problem, data, method, &self.compiled).await?;
        self.keep(&mut session, blueprint).await?;
        Ok(session)
    }

    /// A session of a self-tuning network.
    pub(super) async fn open_selftuned(
        &self,
        tuning: selftune::Tuning,
        counts: selftune::Counts,
    ) -> Result<selftune::Session, SolveError> {
        selftune::Session::open(&self.device, tuning, counts, &self.compiled).await
    }

    /// A session of a learner across tasks.
    pub(super) async fn open_meta(
        &self,
        learner: Rc<dyn meta::Learner>,
        teaching: meta::Teaching,
        input: &[usize],
        pools: [meta::Pool<'_>; 3],
    ) -> Result<meta::Session, SolveError> {
        meta::Session::open(&self.device, learner, teaching, input, pools, &self.compiled).await
    }

    /// A method with the factor on what it finds, and the blueprint where it is wanted.
    fn prepared(
        &self,
        inner: &dyn Inner,
        method: Box<dyn Method>,
    ) -> Result<(Option<Blueprint>, Box<dyn Method>), SolveError> {
        let wanted = self.wanted.take();
        let blueprint = wanted.then(|| Blueprint::with(inner, &*method, &self.compiled)).transpose()?;
        let factor = self.factor;
        Ok((blueprint, if factor == 1.0 { method } else { Scaled { method, factor }.into() }))
    }

    async fn keep<P: Inner + 'static>(
        &self,
        session: &mut Session<P>,
        blueprint: Option<Blueprint>,
    ) -> Result<(), SolveError> {
        if let Some(blueprint) = blueprint {
            let machine = Machine::of(session, &blueprint).await?;
            self.machine.replace(Some(machine));
        }
        Ok(())
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

    fn forget(&mut self) {
        self.method.forget();
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

#[cfg(test)]
mod tests {
    use super::super::testing::machine;

    #[test]
    fn a_lesson_opened_up_has_its_step_its_adjoint_and_shaders_with_times() {
        let settings = [("lambda", 0.0), ("price", 0.0), ("rate", 0.2), ("steps", 5.0)];
        let machine = machine("leader-and-follower", &settings);
        let names: Vec<&str> = machine.functions.iter().map(|function| function.name.as_str()).collect();
        assert!(names.contains(&"step") && names.contains(&"step_adjoint") && names.contains(&"outer_gradient"));
        for function in &machine.functions {
            assert!(!function.graph.is_empty());
            for run in &function.dispatches {
                assert!(run.wgsl.contains("@compute"), "{}: {}", function.name, run.wgsl);
            }
        }
        let adjoint = &machine.functions[names.iter().position(|name| *name == "step_adjoint").unwrap()];
        assert!(adjoint.dispatches.iter().all(|run| run.seconds.is_some()));
        assert!(machine.memory.contains("validation_x") && machine.checkpoints.contains("5 training steps"));
    }
}
