//! A problem's arrays and programs on an engine, and the sweeps over its training steps.
//!
//! Nothing here does arithmetic. The host only records commands; nothing is read back inside a sweep.

use std::collections::HashMap;

use web_time::Instant;

use super::checkpoint::{Action, Place, Plan};
use super::method::{Counts, Estimate};
use super::pacing::{Pacer, Progress};
use super::problem::{CHUNK, Function, NO_BAD_STEP, Problem};
use super::{Blueprint, Flow, Host, SolveError};
use crate::compile::Program;
use crate::engine::{BindingId, BufferId, Command, Engine, ProgramId, Values};
use crate::ir::DType;

/// A program on the engine with the names of its ports.
struct Loaded {
    id: ProgramId,
    inputs: Vec<String>,
    outputs: Vec<(String, Option<usize>)>,
}

/// One training state on the device: the state vector and its step counter.
#[derive(Clone, Copy)]
struct StateBuffers {
    state: BufferId,
    time: BufferId,
}

/// Kinds of work whose submissions are paced apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Step,
    Adjoint,
    Product,
}

impl Action {
    fn work(&self) -> Work {
        if matches!(self, Action::Adjoint { .. }) { Work::Adjoint } else { Work::Step }
    }
}

/// What methods run on.
pub struct Runner<'e> {
    pub(super) engine: &'e mut dyn Engine,
    problem: Problem,
    plan: Plan,
    arrays: HashMap<String, BufferId>,
    states: Vec<StateBuffers>,
    programs: HashMap<&'static str, Loaded>,
    bindings: HashMap<(&'static str, Vec<BufferId>), BindingId>,
    validation: usize,
    pacers: [Pacer; 3],
    /// What was run since the hyperparameters were set.
    pub(super) counts: Counts,
    /// Steps before the state that sweeps begin with.
    carried: usize,
}

/// A bias correction 1 − βᵗ that a training state carries. It does not depend on the training, so its
/// derivative is known where the training before that state is not differentiated.
pub(super) struct Correction {
    /// Place of β in the hyperparameter vector.
    pub at: usize,
    /// Place of the correction in the state.
    pub slot: usize,
    /// Its derivative in β.
    pub derivative: f64,
}

impl<'e> Runner<'e> {
    /// Loads the programs of a blueprint and makes its arrays.
    pub(super) async fn new(
        engine: &'e mut dyn Engine,
        problem: Problem,
        blueprint: Blueprint,
        validation: usize,
    ) -> Result<Runner<'e>, SolveError> {
        let mut runner = Runner {
            engine,
            problem,
            plan: blueprint.checkpoints,
            arrays: HashMap::new(),
            states: vec![],
            programs: HashMap::new(),
            bindings: HashMap::new(),
            validation,
            pacers: [Pacer::new(), Pacer::new(), Pacer::new()],
            counts: Counts::default(),
            carried: 0,
        };
        for (function, program) in blueprint.functions.iter().zip(&blueprint.programs) {
            runner.load(function, program).await?;
        }
        for array in blueprint.arrays {
            let buffer = runner.engine.create(&array.name, array.dtype, array.len)?;
            runner.arrays.insert(array.name, buffer);
        }
        for place in 0..runner.plan.places {
            let state = runner.engine.create(&format!("state {place}"), DType::F32, runner.problem.state_len())?;
            let time = runner.engine.create(&format!("time {place}"), DType::U32, 1)?;
            runner.states.push(StateBuffers { state, time });
        }
        Ok(runner)
    }

    pub(super) fn problem(&self) -> &Problem {
        &self.problem
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    // Arrays.

    pub(super) fn holds(&self, name: &str) -> bool {
        self.arrays.contains_key(name)
    }

    pub(super) fn array(&self, name: &str) -> BufferId {
        self.arrays[name]
    }

    /// The training state at the start of every sweep.
    pub(super) fn initial_state(&self) -> BufferId {
        self.states[0].state
    }

    /// The training state at the end of the last sweep.
    pub(super) fn final_state(&self) -> BufferId {
        self.states[self.plan.places - 1].state
    }

    /// Writes an array of the session's own, whose length is right.
    pub(super) fn write(&mut self, name: &str, values: Values) -> Result<(), SolveError> {
        Ok(self.engine.write(self.arrays[name], 0, values)?)
    }

    /// Writes the weights of a training state.
    pub(super) fn write_state(&mut self, state: BufferId, weights: &[f32]) -> Result<(), SolveError> {
        Ok(self.engine.write(state, 0, Values::F32(weights))?)
    }

    /// Writes an array whose length a caller may have got wrong.
    pub(super) fn write_exactly(&mut self, name: &str, wanted: usize, values: Values) -> Result<(), SolveError> {
        self.write_array(name, self.arrays[name], wanted, values)
    }

    /// The same for one that is no array by name.
    pub(super) fn write_array(
        &mut self,
        what: &str,
        buffer: BufferId,
        wanted: usize,
        values: Values,
    ) -> Result<(), SolveError> {
        if values.len() != wanted {
            return Err(SolveError::Length { what: what.to_owned(), given: values.len(), wanted });
        }
        Ok(self.engine.write(buffer, 0, values)?)
    }

    pub(super) async fn read(&mut self, buffers: &[BufferId]) -> Result<Vec<Vec<f64>>, SolveError> {
        Ok(self.engine.read(buffers).await?)
    }

    // Programs.

    async fn load(&mut self, function: &Function, program: &Program) -> Result<(), SolveError> {
        let loaded = Loaded {
            id: self.engine.load(program).await?,
            inputs: function.graph.inputs().iter().map(|(name, _)| name.clone()).collect(),
            outputs: function.outputs.iter().map(|o| (o.name.clone(), o.in_place)).collect(),
        };
        self.programs.insert(function.name, loaded);
        Ok(())
    }

    /// Loads a program if it is not there yet.
    pub(super) async fn require(&mut self, function: Function) -> Result<(), SolveError> {
        if self.is_loaded(function.name) {
            return Ok(());
        }
        self.load(&function, &function.compile()?).await
    }

    pub(super) fn is_loaded(&self, program: &str) -> bool {
        self.programs.contains_key(program)
    }

    /// Binds a program's ports by name: the given ones first, then the session's own arrays. Made once.
    pub(super) fn bind(&mut self, program: &'static str, ports: &[(&str, BufferId)]) -> Result<BindingId, SolveError> {
        let key = (program, ports.iter().map(|(_, buffer)| *buffer).collect());
        if let Some(&binding) = self.bindings.get(&key) {
            return Ok(binding);
        }
        let find = |name: &String| {
            let given = ports.iter().find(|(port, _)| port == name).map(|(_, buffer)| *buffer);
            given.or_else(|| self.arrays.get(name).copied()).unwrap_or_else(|| panic!("no array for port {name}"))
        };
        let loaded = &self.programs[program];
        let inputs: Vec<BufferId> = loaded.inputs.iter().map(find).collect();
        let outputs = loaded.outputs.iter();
        let outputs: Vec<BufferId> = outputs.map(|(name, at)| at.map_or_else(|| find(name), |i| inputs[i])).collect();
        let binding = self.engine.bind(loaded.id, &inputs, &outputs)?;
        self.bindings.insert(key, binding);
        Ok(binding)
    }

    /// Binds a program that makes a training step from one place to another.
    pub(super) fn bind_step(
        &mut self,
        program: &'static str,
        from: Place,
        to: Place,
        more: &[(&str, BufferId)],
    ) -> Result<BindingId, SolveError> {
        let (a, b) = (self.states[from], self.states[to]);
        let ports = [("state", a.state), ("time", a.time), ("next_state", b.state), ("next_time", b.time)];
        self.bind(program, &[&ports, more].concat())
    }

    /// Binds the adjoint of the step that leaves the state at a place; `parity` says which of the two
    /// cotangents comes in.
    pub(super) fn bind_adjoint(&mut self, at: Place, parity: usize) -> Result<BindingId, SolveError> {
        let StateBuffers { state, time } = self.states[at];
        let [now, next] = [parity, 1 - parity].map(|parity| self.cotangent(parity));
        self.bind("step_adjoint", &[("state", state), ("time", time), ("cotangent", now), ("next_cotangent", next)])
    }

    /// The outer gradient is the cotangent that a backward sweep begins with.
    fn cotangent(&self, parity: usize) -> BufferId {
        self.array(["gradient", "cotangent"][parity])
    }

    /// The step counter before the last training step without a way back.
    pub(super) fn last_time(&self) -> BufferId {
        self.states[self.plan.training_place(self.problem.steps - 1)].time
    }

    /// Binds one chunk of the outer loss.
    pub(super) fn bind_outer(&mut self) -> Result<BindingId, SolveError> {
        let set = [("set_x", self.array("validation_x")), ("set_y", self.array("validation_y"))];
        self.bind("outer_gradient", &[set.as_slice(), &[("state", self.final_state())]].concat())
    }

    // Sweeps.

    /// Sets the hyperparameters for a new sweep.
    pub(super) fn begin(&mut self, lambda: &[f64]) -> Result<(), SolveError> {
        let wanted = self.problem.layout().len();
        self.write_array("hyperparameters", self.array("lambda"), wanted, Values::F64(lambda))?;
        self.write("bad_step", Values::U32(&[NO_BAD_STEP]))
    }

    /// Makes the state at the end of the last sweep the one that the next begins with.
    pub(super) fn carry_on(&mut self) -> Result<(), SolveError> {
        let (first, last) = (self.states[0], self.states[self.plan.places - 1]);
        let copies = [(last.state, first.state), (last.time, first.time)];
        self.engine.submit(&copies.map(|(from, to)| Command::Copy { from, to }))?;
        self.carried += self.problem.steps;
        Ok(())
    }

    /// The bias corrections in the state `steps` after that of the sweep's begin.
    pub(super) fn corrections(&self, lambda: &[f64], steps: usize) -> Vec<Correction> {
        let before = (self.carried + steps) as i32;
        let scalars = self.problem.layout().scalars;
        let carried = self.problem.optimizer.corrections(self.problem.model.parameter_count());
        let correction = |(k, slot)| {
            let at = scalars.start + k;
            Correction { at, slot, derivative: -f64::from(before) * lambda[at].powi(before - 1) }
        };
        carried.into_iter().filter(|_| before > 0).map(correction).collect()
    }

    /// Runs the training steps, then the outer loss with its gradient; reads back once.
    pub(super) async fn train(
        &mut self,
        lambda: &[f64],
        actions: impl Iterator<Item = Action>,
        total: u64,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        self.counts = Counts::default();
        self.begin(lambda)?;
        self.run(actions, Progress { done: 0, total }, host).await?;
        self.outer_loss(host).await
    }

    /// The same with no way back, so that two places do for the states.
    pub(super) async fn train_only(&mut self, lambda: &[f64], host: &mut dyn Host) -> Result<Estimate, SolveError> {
        let plan = self.plan.clone();
        let step = |t| Action::Step { from: plan.training_place(t), to: plan.training_place(t + 1) };
        self.train(lambda, (0..plan.steps).map(step), plan.steps as u64, host).await
    }

    /// The outer loss at the final state and, on the device, its gradient.
    pub(super) async fn outer_loss(&mut self, host: &mut dyn Host) -> Result<Estimate, SolveError> {
        self.clear_sums()?;
        self.write("gradient", Values::F32(&vec![0.0; self.problem.state_len()]))?;
        let binding = self.bind_outer()?;
        for _ in 0..self.validation.div_ceil(CHUNK) {
            self.submit_and_breathe(binding, host).await?;
        }
        let values = self.read(&["value", "losses", "bad_step"].map(|name| self.array(name))).await?;
        let bad_step = values[2][0] as u32;
        Ok(self.counted(Estimate {
            outer_loss: values[0][0],
            inner_losses: values[1].clone(),
            bad_step: (bad_step != NO_BAD_STEP).then_some(bad_step as usize),
            hypergradient: vec![],
            residual: None,
            inner_gradient: None,
            counts: Counts::default(),
            peak_bytes: 0,
        }))
    }

    /// The estimate with what it has cost so far.
    pub(super) fn counted(&self, estimate: Estimate) -> Estimate {
        Estimate { counts: self.counts, peak_bytes: self.engine.counters().peak_bytes, ..estimate }
    }

    pub(super) fn clear_sums(&mut self) -> Result<(), SolveError> {
        self.write("value", Values::F32(&[0.0]))?;
        self.write("chunk", Values::U32(&[0]))
    }

    pub(super) async fn submit_and_breathe(
        &mut self,
        binding: BindingId,
        host: &mut dyn Host,
    ) -> Result<(), SolveError> {
        self.engine.submit(&[Command::Run(binding)])?;
        self.engine.finish().await?;
        match host.breathe().await {
            Flow::Continue => Ok(()),
            Flow::Stop => Err(SolveError::Stopped),
        }
    }

    /// Runs steps and adjoints; returns the cotangent that the last adjoint wrote.
    pub(super) async fn run(
        &mut self,
        actions: impl Iterator<Item = Action>,
        mut progress: Progress,
        host: &mut dyn Host,
    ) -> Result<BufferId, SolveError> {
        let mut actions = actions.peekable();
        let (mut steps, mut adjoints) = (0, 0);
        while let Some(first) = actions.peek() {
            let work = first.work();
            let next = |runner: &mut Self| {
                let Some(action) = actions.next_if(|action| action.work() == work) else { return Ok(None) };
                let binding = match action {
                    Action::Step { from, to } => {
                        steps += 1;
                        runner.bind_step("step", from, to, &[])
                    }
                    Action::Adjoint { at } => {
                        adjoints += 1;
                        runner.bind_adjoint(at, (adjoints - 1) % 2)
                    }
                    Action::Outer => unreachable!("sweeps are split at the outer loss"),
                };
                binding.map(Some)
            };
            self.submit_all(work, &mut progress, host, next).await?;
        }
        self.counts.steps += steps;
        self.counts.adjoints += adjoints as u64;
        Ok(self.cotangent(adjoints % 2))
    }

    /// Submits `count` bindings in segments.
    pub(super) async fn repeat(
        &mut self,
        work: Work,
        count: usize,
        mut progress: Progress,
        host: &mut dyn Host,
        binding: impl Fn(&mut Self, usize) -> Result<BindingId, SolveError>,
    ) -> Result<(), SolveError> {
        let mut all = 0..count;
        let next = |runner: &mut Self| all.next().map(|k| binding(runner, k)).transpose();
        self.submit_all(work, &mut progress, host, next).await
    }

    /// Submits bindings in segments until there is no next one.
    async fn submit_all(
        &mut self,
        work: Work,
        progress: &mut Progress,
        host: &mut dyn Host,
        mut next: impl FnMut(&mut Self) -> Result<Option<BindingId>, SolveError>,
    ) -> Result<(), SolveError> {
        let mut commands = vec![];
        loop {
            commands.clear();
            while commands.len() < self.pacers[work as usize].length
                && let Some(binding) = next(self)?
            {
                commands.push(Command::Run(binding));
            }
            if commands.is_empty() {
                return Ok(());
            }
            let start = Instant::now();
            self.engine.submit(&commands)?;
            self.engine.finish().await?;
            self.pacers[work as usize].record(commands.len(), start.elapsed().as_secs_f64());
            progress.done += commands.len() as u64;
            host.progress(progress.done, progress.total);
            if host.breathe().await == Flow::Stop {
                return Err(SolveError::Stopped);
            }
        }
    }
}

/// The engine can be used again: a session leaves no arrays behind.
impl Drop for Runner<'_> {
    fn drop(&mut self) {
        let states = self.states.iter().flat_map(|state| [state.state, state.time]);
        for buffer in self.arrays.values().copied().chain(states) {
            self.engine.destroy(buffer);
        }
    }
}
