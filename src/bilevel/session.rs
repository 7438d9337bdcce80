//! A problem on an engine: its arrays, its programs, and the sweeps over its training steps.
//!
//! Nothing here does arithmetic. A sweep replays the compiled step (and its adjoint) along a
//! checkpoint plan; the host only records commands, and reads back once after the outer loss and
//! once at the end.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use web_time::Instant;

use super::checkpoint::{Action, Place, Plan};
use super::problem::{CHUNK, Function, NO_BAD_STEP, Problem};
use super::{Blueprint, ParameterMap};
use crate::compile::{CompileError, Program};
use crate::engine::{BindingId, BufferId, Command, Engine, EngineError, LocalFuture, ProgramId, Values};
use crate::ir::DType;
use crate::rng::split_seed;

/// Why a sweep ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(
        "a memory budget of {budget} bytes is too small: data, programs and buffers take {fixed} bytes, and each \
         training state {state}; at least {} bytes are needed, and {} bytes store every state",
        fixed + state * Plan::FEWEST_PLACES.min(steps + 1) as u64,
        fixed + state * (*steps as u64 + 1)
    )]
    Budget { budget: u64, fixed: u64, state: u64, steps: usize },
    #[error("examples without labels have no confusion counts")]
    NoLabels,
    #[error("{what}: {given} values were given, {wanted} are needed")]
    Length { what: String, given: usize, wanted: usize },
    #[error("stopped")]
    Stopped,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Stop,
}

/// Who watches a sweep. Called between segments.
pub trait Host {
    /// `done` of `total` actions of the present sweep are finished.
    fn progress(&mut self, done: usize, total: usize);

    /// Gives others a turn; may take as long as it likes (a pause).
    fn breathe(&mut self) -> LocalFuture<'_, Flow>;
}

/// A host that only lets the sweep run.
pub struct Unattended;

impl Host for Unattended {
    fn progress(&mut self, _done: usize, _total: usize) {}

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(std::future::ready(Flow::Continue))
    }
}

/// Targets of a set.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    Labels(Vec<u32>),
    Values(Vec<f32>),
}

/// Examples with their targets, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    pub x: Vec<f32>,
    pub targets: Targets,
    pub count: usize,
}

/// What a session needs besides the problem.
#[derive(Clone, Debug)]
pub struct SessionData {
    pub train: Set,
    /// The set of the outer loss.
    pub validation: Set,
    /// Initial weights.
    pub initial: Vec<f32>,
    /// Key of batches and masks where these are keyed.
    pub seed: u64,
    /// Rows of the batches `[steps, batch]` where these come from a table.
    pub batches: Vec<u32>,
    /// Dropout masks `[steps, …]` where these come from a table.
    pub masks: Vec<f32>,
}

/// How much memory the training states may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Bytes on the device in all.
    Budget(u64),
    /// Checkpoints of Revolve, the initial state included.
    Slots(usize),
    /// Every state is kept.
    StoreAll,
}

/// What a sweep over the training run gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Mean loss over the validation set at the final weights.
    pub outer_loss: f64,
    /// Training loss of each step, before its update.
    pub inner_losses: Vec<f64>,
    /// The first training step whose result was not finite; then there is no gradient.
    pub bad_step: Option<usize>,
    /// Derivative of the outer loss in the hyperparameter vector (see `Layout`).
    pub hypergradient: Vec<f64>,
    /// Derivative in the initial training state, `[D]`.
    pub initial: Vec<f64>,
}

/// Losses and counts over a whole set.
#[derive(Clone, Debug, PartialEq)]
pub struct SetEvaluation {
    /// Mean loss.
    pub loss: f64,
    /// Examples by `[true class · classes + predicted class]`.
    pub confusion: Vec<u32>,
    pub classes: usize,
}

impl SetEvaluation {
    /// Share of examples whose class is predicted.
    pub fn accuracy(&self) -> f64 {
        let right: u32 = (0..self.classes).map(|c| self.confusion[c * self.classes + c]).sum();
        f64::from(right) / f64::from(self.confusion.iter().sum::<u32>())
    }
}

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

    /// What is to be expected where only the training step could be measured, by counted FLOPs of the HAR networks: an
    /// adjoint costs 2.6 steps, and a chunk is two batches of 64.
    fn of_step(step: f64) -> Self {
        Pace { step, adjoint: 2.6 * step, outer: 2.0 * step, evaluation: 0.7 * step }
    }
}

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

/// How often a program is timed where that takes no longer than a fifth of a second.
const TRIES: usize = 3;

/// Training segments grow until one takes about this long: a page stays fluid, a driver's watchdog
/// stays calm.
const SEGMENT_SECONDS: f64 = 0.01;

/// Chooses how many actions go into one submission from the time earlier ones took.
struct Pacer {
    seconds: f64,
    length: usize,
}

impl Pacer {
    fn new() -> Self {
        Pacer { seconds: 0.0, length: 1 }
    }

    /// Takes the time of a finished segment of `count` actions.
    fn record(&mut self, count: usize, seconds: f64) {
        let each = seconds / count as f64;
        self.seconds = if self.seconds == 0.0 { each } else { 0.5 * (self.seconds + each) };
        let wanted = (SEGMENT_SECONDS / self.seconds.max(1e-7)) as usize;
        self.length = wanted.clamp(1, self.length * 2);
    }
}

/// A problem ready to run.
pub struct Session<'e> {
    engine: &'e mut dyn Engine,
    problem: Problem,
    plan: Plan,
    predicted_bytes: u64,
    buffers: HashMap<String, BufferId>,
    states: Vec<StateBuffers>,
    cotangents: [BufferId; 2],
    step: Loaded,
    adjoint: Loaded,
    outer: BindingId,
    step_bindings: HashMap<(Place, Place), BindingId>,
    adjoint_bindings: HashMap<(Place, usize), BindingId>,
    /// The evaluation program, once it was needed.
    evaluation: Option<BindingId>,
    validation_count: usize,
    pacers: [Pacer; 2],
}

impl<'e> Session<'e> {
    /// Compiles the problem's programs, plans memory, and puts the data on the device.
    pub async fn new(
        engine: &'e mut dyn Engine,
        problem: Problem,
        data: &SessionData,
        memory: Memory,
    ) -> Result<Session<'e>, SolveError> {
        let blueprint = Blueprint::new(&problem, data.validation.count, memory)?;
        let predicted_bytes = blueprint.bytes();
        let mut loaded = vec![];
        for (function, program) in blueprint.functions.iter().zip(&blueprint.programs) {
            loaded.push(load(engine, function, program).await?);
        }
        let mut buffers = HashMap::new();
        for array in &blueprint.arrays {
            buffers.insert(array.name.clone(), engine.create(&array.name, array.dtype, array.len)?);
        }
        let plan = blueprint.checkpoints;
        let mut states = vec![];
        for place in 0..plan.places {
            let state = engine.create(&format!("state {place}"), DType::F32, problem.state_len())?;
            let time = engine.create(&format!("time {place}"), DType::U32, 1)?;
            states.push(StateBuffers { state, time });
        }
        let cotangents = ["cotangent 0", "cotangent 1"].map(|name| buffers[name]);
        write_data(engine, &problem, &buffers, data)?;
        write(engine, "initial weights", states[0].state, problem.model.parameter_count(), Values::F32(&data.initial))?;

        let [step, adjoint, outer]: [Loaded; 3] = loaded.try_into().ok().expect("three programs");
        let last = states[plan.places - 1];
        let set = [("set_x", buffers["validation_x"]), ("set_y", buffers["validation_y"])];
        let ports = [set.as_slice(), &[("state", last.state), ("gradient", cotangents[0])]].concat();
        let outer = bind(engine, &outer, &buffers, &ports)?;
        Ok(Session {
            engine,
            problem,
            plan,
            predicted_bytes,
            buffers,
            states,
            cotangents,
            step,
            adjoint,
            outer,
            step_bindings: HashMap::new(),
            adjoint_bindings: HashMap::new(),
            evaluation: None,
            validation_count: data.validation.count,
            pacers: [Pacer::new(), Pacer::new()],
        })
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Bytes the plan foresees on the device.
    pub fn predicted_bytes(&self) -> u64 {
        self.predicted_bytes
    }

    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// Trains, takes the outer loss, and differentiates it through the training (reverse mode,
    /// Franceschi et al. 2017, algorithm 1).
    pub async fn hypergradient(&mut self, lambda: &[f64], host: &mut dyn Host) -> Result<Estimate, SolveError> {
        let actions = self.plan.actions.clone();
        let outer = actions.iter().position(|a| *a == Action::Outer).expect("every plan takes the outer loss");
        let total = actions.len();
        let mut estimate = self.forward(lambda, &actions[..outer], total, host).await?;
        if estimate.bad_step.is_some() || !estimate.outer_loss.is_finite() {
            return Ok(estimate);
        }
        let zeros = vec![0.0; self.problem.layout().len()];
        self.engine.write(self.buffers["lambda_cotangent"], 0, Values::F64(&zeros))?;
        let parity = self.run(&actions[outer + 1..], outer + 1, total, host).await?;
        let reads = [self.buffers["lambda_cotangent"], self.cotangents[parity]];
        let mut values = self.engine.read(&reads).await?.into_iter();
        estimate.hypergradient = values.next().unwrap_or_default();
        estimate.initial = values.next().unwrap_or_default();
        Ok(estimate)
    }

    /// Trains and takes the outer loss; no derivative.
    pub async fn train(&mut self, lambda: &[f64], host: &mut dyn Host) -> Result<Estimate, SolveError> {
        let last = self.plan.places - 1;
        let steps = self.problem.steps;
        // Two places besides the initial one are enough: the final place and any other.
        let other = if self.plan.places > 2 { 1 } else { last };
        let at = |t: usize| {
            if t == 0 {
                0
            } else if (steps - t).is_multiple_of(2) {
                last
            } else {
                other
            }
        };
        let actions: Vec<Action> = (0..steps).map(|t| Action::Step { from: at(t), to: at(t + 1) }).collect();
        self.forward(lambda, &actions, actions.len(), host).await
    }

    /// The final weights of the last sweep.
    pub async fn final_weights(&mut self) -> Result<Vec<f64>, SolveError> {
        let last = [self.states[self.plan.places - 1].state];
        let mut state = self.engine.read(&last).await?.remove(0);
        state.truncate(self.problem.model.parameter_count());
        Ok(state)
    }

    /// Puts weights in the place of the final ones of the last sweep, to be evaluated.
    pub fn set_final_weights(&mut self, weights: &[f32]) -> Result<(), SolveError> {
        let last = self.states[self.plan.places - 1].state;
        write(self.engine, "weights", last, self.problem.model.parameter_count(), Values::F32(weights))
    }

    /// Loss and confusion counts over labelled examples at the final weights of the last sweep. The set
    /// passes through the device a chunk at a time, so its size costs no memory there.
    pub async fn evaluate(&mut self, set: &Set, host: &mut dyn Host) -> Result<SetEvaluation, SolveError> {
        let Targets::Labels(labels) = &set.targets else { return Err(SolveError::NoLabels) };
        let binding = self.evaluation_binding().await?;
        let classes = self.problem.model.output()[0];
        self.clear_sums()?;
        self.engine.write(self.buffers["confusion"], 0, Values::F32(&vec![0.0; classes * classes]))?;
        let example = set.x.len() / set.count.max(1);
        for (x, labels) in set.x.chunks(CHUNK * example).zip(labels.chunks(CHUNK)) {
            self.engine.write(self.buffers["set_x"], 0, Values::F32(x))?;
            self.engine.write(self.buffers["set_y"], 0, Values::U32(labels))?;
            self.engine.write(self.buffers["limit"], 0, Values::U32(&[labels.len() as u32]))?;
            self.submit_and_breathe(binding, host).await?;
        }
        let reads = ["value", "confusion"].map(|name| self.buffers[name]);
        let values = self.engine.read(&reads).await?;
        let confusion = values[1].iter().map(|&n| n as u32).collect();
        Ok(SetEvaluation { loss: values[0][0] / set.count as f64, confusion, classes })
    }

    /// Times the parts of a run with these hyperparameters, within about so many seconds: the least time of several
    /// tries, as far as these go. A training step is run in any case; where one alone takes longer than its share, the
    /// other parts are only estimated from it.
    pub async fn measure(&mut self, lambda: &[f64], seconds: f64) -> Result<Pace, SolveError> {
        let wanted = self.problem.layout().len();
        write(self.engine, "hyperparameters", self.buffers["lambda"], wanted, Values::F64(lambda))?;
        let step = self.step_binding(0, self.plan.places - 1)?;
        let share = 0.4 * seconds;
        let first = self.time(step, 0.0, 1).await?;
        if first > share {
            return Ok(Pace::of_step(first));
        }
        // The longer program first: a browser makes fast code only of what has run for a while.
        let adjoint = self.adjoint_binding(0, 0)?;
        let adjoint = self.time(adjoint, share, usize::MAX).await?;
        let step = first.min(self.time(step, share, usize::MAX).await?);
        // Chunks are counted on the device, so they are submitted one at a time, as in a run.
        let outer = self.time(self.outer, 0.1 * seconds, 1).await?;
        let binding = self.evaluation_binding().await?;
        let evaluation = self.time(binding, 0.1 * seconds, 1).await?;
        Ok(Pace { step, adjoint, outer, evaluation })
    }

    /// The least seconds of one run of a binding, of submissions that grow to a segment's length, or to `most` runs. In
    /// a browser the first runs of a program are many times slower than the others.
    async fn time(&mut self, binding: BindingId, seconds: f64, most: usize) -> Result<f64, SolveError> {
        let begin = Instant::now();
        let (mut least, mut count, mut tries) = (f64::INFINITY, 1, 0);
        loop {
            self.clear_sums()?;
            let start = Instant::now();
            self.engine.submit(&vec![Command::Run(binding); count])?;
            self.engine.finish().await?;
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

    async fn evaluation_binding(&mut self) -> Result<BindingId, SolveError> {
        if let Some(binding) = self.evaluation {
            return Ok(binding);
        }
        let function = self.problem.evaluation();
        let loaded = load(self.engine, &function, &function.compile()?).await?;
        let state = self.states[self.plan.places - 1].state;
        Ok(*self.evaluation.insert(bind(self.engine, &loaded, &self.buffers, &[("state", state)])?))
    }

    /// Runs the training steps, then the outer loss with its gradient; reads back once.
    async fn forward(
        &mut self,
        lambda: &[f64],
        actions: &[Action],
        total: usize,
        host: &mut dyn Host,
    ) -> Result<Estimate, SolveError> {
        let wanted = self.problem.layout().len();
        write(self.engine, "hyperparameters", self.buffers["lambda"], wanted, Values::F64(lambda))?;
        self.engine.write(self.buffers["bad_step"], 0, Values::U32(&[NO_BAD_STEP]))?;
        self.run(actions, 0, total, host).await?;
        self.clear_sums()?;
        let zeros = vec![0.0f32; self.problem.state_len()];
        self.engine.write(self.cotangents[0], 0, Values::F32(&zeros))?;
        self.chunks(self.outer, self.validation_count, host).await?;
        let reads = ["value", "losses", "bad_step"].map(|name| self.buffers[name]);
        let values = self.engine.read(&reads).await?;
        let bad_step = values[2][0] as u32;
        Ok(Estimate {
            outer_loss: values[0][0],
            inner_losses: values[1].clone(),
            bad_step: (bad_step != NO_BAD_STEP).then_some(bad_step as usize),
            hypergradient: vec![],
            initial: vec![],
        })
    }

    fn clear_sums(&mut self) -> Result<(), SolveError> {
        self.engine.write(self.buffers["value"], 0, Values::F32(&[0.0]))?;
        Ok(self.engine.write(self.buffers["chunk"], 0, Values::U32(&[0]))?)
    }

    async fn chunks(&mut self, binding: BindingId, count: usize, host: &mut dyn Host) -> Result<(), SolveError> {
        for _ in 0..count.div_ceil(CHUNK) {
            self.submit_and_breathe(binding, host).await?;
        }
        Ok(())
    }

    async fn submit_and_breathe(&mut self, binding: BindingId, host: &mut dyn Host) -> Result<(), SolveError> {
        self.engine.submit(&[Command::Run(binding)])?;
        self.engine.finish().await?;
        match host.breathe().await {
            Flow::Continue => Ok(()),
            Flow::Stop => Err(SolveError::Stopped),
        }
    }

    /// Runs steps and adjoints in segments; returns which cotangent buffer the last adjoint wrote.
    async fn run(
        &mut self,
        actions: &[Action],
        done: usize,
        total: usize,
        host: &mut dyn Host,
    ) -> Result<usize, SolveError> {
        let mut parity = 0;
        let mut rest = actions;
        let mut commands = vec![];
        while let Some(first) = rest.first() {
            let kind = usize::from(matches!(first, Action::Adjoint { .. }));
            let same = rest.iter().take_while(|a| matches!(a, Action::Adjoint { .. }) == (kind == 1)).count();
            let count = same.min(self.pacers[kind].length);
            let (segment, after) = rest.split_at(count);
            commands.clear();
            for action in segment {
                let binding = match *action {
                    Action::Step { from, to } => self.step_binding(from, to)?,
                    Action::Adjoint { at } => {
                        let binding = self.adjoint_binding(at, parity)?;
                        parity = 1 - parity;
                        binding
                    }
                    Action::Outer => unreachable!("sweeps are split at the outer loss"),
                };
                commands.push(Command::Run(binding));
            }
            let start = Instant::now();
            self.engine.submit(&commands)?;
            self.engine.finish().await?;
            self.pacers[kind].record(count, start.elapsed().as_secs_f64());
            rest = after;
            host.progress(done + actions.len() - rest.len(), total);
            if host.breathe().await == Flow::Stop {
                return Err(SolveError::Stopped);
            }
        }
        Ok(parity)
    }

    fn step_binding(&mut self, from: Place, to: Place) -> Result<BindingId, SolveError> {
        if let Some(&binding) = self.step_bindings.get(&(from, to)) {
            return Ok(binding);
        }
        let (a, b) = (self.states[from], self.states[to]);
        let ports = [("state", a.state), ("time", a.time), ("next_state", b.state), ("next_time", b.time)];
        let binding = bind(self.engine, &self.step, &self.buffers, &ports)?;
        self.step_bindings.insert((from, to), binding);
        Ok(binding)
    }

    fn adjoint_binding(&mut self, at: Place, parity: usize) -> Result<BindingId, SolveError> {
        if let Some(&binding) = self.adjoint_bindings.get(&(at, parity)) {
            return Ok(binding);
        }
        let StateBuffers { state, time } = self.states[at];
        let (now, next) = (self.cotangents[parity], self.cotangents[1 - parity]);
        let ports = [("state", state), ("time", time), ("cotangent", now), ("next_cotangent", next)];
        let binding = bind(self.engine, &self.adjoint, &self.buffers, &ports)?;
        self.adjoint_bindings.insert((at, parity), binding);
        Ok(binding)
    }
}

/// The engine can be used again: a session leaves no arrays behind.
impl Drop for Session<'_> {
    fn drop(&mut self) {
        let states = self.states.iter().flat_map(|state| [state.state, state.time]);
        for buffer in self.buffers.values().copied().chain(states) {
            self.engine.destroy(buffer);
        }
    }
}

/// Writes an array whose length a caller may have got wrong.
fn write(
    engine: &mut dyn Engine,
    what: &str,
    buffer: BufferId,
    wanted: usize,
    values: Values,
) -> Result<(), SolveError> {
    if values.len() != wanted {
        return Err(SolveError::Length { what: what.to_owned(), given: values.len(), wanted });
    }
    Ok(engine.write(buffer, 0, values)?)
}

fn write_data(
    engine: &mut dyn Engine,
    problem: &Problem,
    buffers: &HashMap<String, BufferId>,
    data: &SessionData,
) -> Result<(), SolveError> {
    let example: usize = problem.model.input().iter().product();
    for (name, set) in [("train", &data.train), ("validation", &data.validation)] {
        let (x, y) = (format!("{name}_x"), format!("{name}_y"));
        let count = if name == "train" { problem.train } else { set.count };
        write(engine, &x, buffers[&x], count * example, Values::F32(&set.x))?;
        let outputs: usize = problem.model.output().iter().product();
        match &set.targets {
            Targets::Labels(labels) => write(engine, &y, buffers[&y], count, Values::U32(labels))?,
            Targets::Values(values) => write(engine, &y, buffers[&y], count * outputs, Values::F32(values))?,
        }
    }
    for (name, values) in ParameterMap::INPUTS.into_iter().zip(ParameterMap::values(&problem.model)) {
        engine.write(buffers[name], 0, Values::U32(&values))?;
    }
    if let Some(&buffer) = buffers.get("batches") {
        write(engine, "batches", buffer, problem.steps * problem.batch, Values::U32(&data.batches))?;
    }
    if let Some(&buffer) = buffers.get("masks") {
        let mask: usize = problem.model.dropout().map_or(0, |(shape, _)| shape.iter().product());
        write(engine, "masks", buffer, problem.steps * problem.batch * mask, Values::F32(&data.masks))?;
    }
    if let Some(&buffer) = buffers.get("seed") {
        engine.write(buffer, 0, Values::U32(&split_seed(data.seed)))?;
    }
    Ok(())
}

async fn load(engine: &mut dyn Engine, function: &Function, program: &Program) -> Result<Loaded, SolveError> {
    Ok(Loaded {
        id: engine.load(program).await?,
        inputs: function.graph.inputs().iter().map(|(name, _)| name.clone()).collect(),
        outputs: function.outputs.iter().map(|o| (o.name.clone(), o.in_place)).collect(),
    })
}

/// Binds a program's ports by name: the given ones first, then the session's own arrays.
fn bind(
    engine: &mut dyn Engine,
    program: &Loaded,
    buffers: &HashMap<String, BufferId>,
    ports: &[(&str, BufferId)],
) -> Result<BindingId, SolveError> {
    let find = |name: &String| {
        let given = ports.iter().find(|(port, _)| port == name).map(|(_, buffer)| *buffer);
        given.or_else(|| buffers.get(name).copied()).unwrap_or_else(|| panic!("no array for port {name}"))
    };
    let inputs: Vec<BufferId> = program.inputs.iter().map(find).collect();
    let outputs: Vec<BufferId> =
        program.outputs.iter().map(|(name, in_place)| in_place.map_or_else(|| find(name), |i| inputs[i])).collect();
    Ok(engine.bind(program.id, &inputs, &outputs)?)
}
