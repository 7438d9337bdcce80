//! Where a lesson computes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::bilevel::{
    Around, Blueprint, Change, Estimate, Inner, Method, Opened, Problem, Session, SessionData, SolveError, meta,
    selftune,
};
use crate::data::Dataset;
use crate::engine::Values;
use crate::experiment::machine::{Machine, REPEATS};
use crate::rig::{Compiled, Device};

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
        if let Some(blueprint) = blueprint {
            self.keep(Opened::of(&mut session, &blueprint, REPEATS).await?);
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
        let (blueprint, method) = self.prepared(&problem, method.into())?;
        let mut session = Session::with(&self.device, problem, data, method, &self.compiled).await?;
        if let Some(blueprint) = blueprint {
            self.keep(Opened::of(&mut session, &blueprint, REPEATS).await?);
        }
        Ok(session)
    }

    /// A session of a self-tuning network.
    pub(super) async fn open_selftuned(
        &self,
        tuning: selftune::Tuning,
        counts: selftune::Counts,
    ) -> Result<selftune::Session, SolveError> {
        let mut session = selftune::Session::open(&self.device, tuning, counts, &self.compiled).await?;
        if self.wanted.take() {
            self.keep(session.open_up(REPEATS).await?);
        }
        Ok(session)
    }

    /// A session of a learner across tasks.
    pub(super) async fn open_meta(
        &self,
        learner: Rc<dyn meta::Learner>,
        teaching: meta::Teaching,
        input: &[usize],
        pools: [meta::Pool<'_>; 3],
    ) -> Result<meta::Session, SolveError> {
        let mut session = meta::Session::open(&self.device, learner, teaching, input, pools, &self.compiled).await?;
        if self.wanted.take() {
            self.keep(session.open_up(REPEATS).await?);
        }
        Ok(session)
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
        Ok((blueprint, if factor == 1.0 { method } else { Around::with(method, Factor(factor)).into() }))
    }

    fn keep(&self, opened: Opened) {
        self.machine.replace(Some(Machine::new(opened, None)));
    }
}

/// What multiplies the answers of a method.
struct Factor(f64);

impl Change for Factor {
    fn after(&mut self, estimate: &mut Estimate) {
        estimate.hypergradient.iter_mut().for_each(|derivative| *derivative *= self.0);
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

    /// Sessions of other kinds take no step back, and say so.
    #[test]
    fn what_a_session_of_another_kind_does_not_have_is_said() {
        let at = [("cuts", 2.0), ("epoch", 30.0), ("multiplier", 0.2), ("follows", 1.0)];
        let machine = machine("cutting-planes", &at);
        let names: Vec<&str> = machine.functions.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["selftune_train", "selftune_tune", "selftune_cut", "selftune_validation"]);
        assert!(machine.functions.iter().flat_map(|function| &function.dispatches).all(|run| run.seconds.is_some()));
        assert!(machine.memory.contains("planes f32[8]"), "{}", machine.memory);
        assert!(machine.checkpoints.starts_with("no checkpoint plan"));
    }

    #[cfg(feature = "builtin-data")]
    #[test]
    fn a_learner_across_tasks_is_opened_as_it_is_taught() {
        let machine = machine("five-examples", &[("shots", 1.0)]);
        let names: Vec<&str> = machine.functions.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["meta_task", "meta_validation", "meta_test", "meta_step"]);
        assert!(machine.functions.iter().flat_map(|function| &function.dispatches).all(|run| run.seconds.is_some()));
        assert!(machine.checkpoints.starts_with("no checkpoint plan"));
    }
}
