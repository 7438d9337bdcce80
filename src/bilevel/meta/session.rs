//! Learning across tasks on a device.

use std::rc::Rc;

use super::learner::Learner;
use super::programs::{
    Builder, CHUNK, ENTERED, FINDINGS, FOUND, GRADIENT, HISTORY, JUDGED, MEMBER, Part, Pool, RATES, RUNNING, STATE,
    STEP, SUMS, TASK, TIME, Teaching,
};
use crate::bilevel::supervised::kept::{self, SCALE};
use crate::bilevel::{Examples, Opened, SolveError};
use crate::compile::Program;
use crate::engine::{BindingId, Values};
use crate::ir::{DType, numel};
use crate::rig::{Array, Compiled, Device, Function, Monitor, Progress, Quiet, Rig};
use crate::rng::split_seed;

/// Means over the episodes of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// Of the loss that λ is to make small.
    pub loss: f64,
    /// Share of the queries whose class has the largest score.
    pub accuracy: f64,
}

/// What was found on many episodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// Episodes.
    pub episodes: usize,
    /// Mean cross-entropy of the queries.
    pub loss: f64,
    /// Mean share of the queries whose class has the largest score.
    pub accuracy: f64,
    /// Half of the 95 % interval of that mean: 1.96 standard deviations over √episodes.
    pub interval: f64,
}

/// All that changes: what goes on from it goes on to the same bits.
pub type Saved = std::collections::BTreeMap<String, Vec<f64>>;

/// What there is instead of a checkpoint plan.
const NO_CHECKPOINTS: &str = "no checkpoint plan: the few steps of a task are one program, which goes through them and back and \
keeps what it needs on the way in scratch memory.\n";

/// A learner on a device. Episodes are drawn there and nothing is written or read between steps.
pub struct Session {
    learner: Rc<dyn Learner>,
    teaching: Teaching,
    /// Episodes, the members of a population, and what they share.
    episodes: Rig,
    /// What takes all of them together.
    leader: Rig,
    /// That of the leader is the last.
    parts: Vec<(Function, Rc<Program>)>,
}

impl Session {
    /// Compiles the steps, and puts training, validation and test examples of this shape on the device.
    ///
    /// # Errors
    /// If a pool lacks rows for an episode, or the device fails.
    pub async fn open(
        device: &Device,
        learner: Rc<dyn Learner>,
        teaching: Teaching,
        input: &[usize],
        pools: [Pool<'_>; 3],
        compiled: &Compiled,
    ) -> Result<Session, SolveError> {
        let parts = [Part::Training, Part::Validation, Part::Test];
        for (pool, part) in pools.iter().zip(parts) {
            let shape = if part == Part::Training { teaching.shape } else { teaching.judged };
            pool.check(&part.named("episodes"), shape)?;
        }
        let mut session = Session {
            learner,
            episodes: Rig::with(device, teaching.tasks, Compiled::default()),
            leader: Rig::new(device),
            teaching,
            parts: vec![],
        };
        let members: Vec<u32> = (0..session.teaching.tasks as u32).collect();
        for (pool, part) in pools.iter().zip(parts) {
            let function = match part {
                Part::Training => session.builder(TASK).task(pool, input),
                _ => session.builder(part.program()).judge(pool, part, input),
            };
            session.declare(&function)?;
            let program = compiled.program(&function)?;
            session.episodes.load(&function, &program).await?;
            session.parts.push((function, program));
            session.put(pool, part, input)?;
        }
        let function = session.builder(STEP).step();
        let program = compiled.program(&function)?;
        for (name, len) in
            [(RATES, 1 + session.teaching.optimizer.scalars().len()), (HISTORY, session.teaching.steps * FINDINGS)]
        {
            session.leader.create(name, DType::F32, len)?;
        }
        session.leader.load(&function, &program).await?;
        session.parts.push((function, program));
        for member in members {
            session.episodes.fill_of(member as usize, MEMBER, Values::U32(&[member]))?;
        }
        Ok(session)
    }

    fn builder(&self, name: &'static str) -> Builder<'_> {
        Builder { learner: &*self.learner, teaching: &self.teaching, function: Function::new(name) }
    }

    /// Makes the arrays that a program of the members reads and writes: what it writes, and its number, each has for itself.
    fn declare(&mut self, function: &Function) -> Result<(), SolveError> {
        let inputs = function.graph.inputs().iter().map(|(name, node)| (name, *node, name == MEMBER));
        let outputs = function.outputs.iter().map(|output| (&output.name, output.node, true));
        // What is written comes first: it decides.
        for (name, node, own) in outputs.chain(inputs) {
            if !self.episodes.holds(name) {
                let (dtype, len) = (function.graph.dtype(node), numel(function.graph.shape(node)));
                self.episodes.declare(&Array { name: name.clone(), dtype, len, own })?;
            }
        }
        Ok(())
    }

    fn put(&self, pool: &Pool, part: Part, input: &[usize]) -> Result<(), SolveError> {
        let x = part.named("x");
        match pool.x {
            Examples::Floats(values) => self.episodes.fill(&x, Values::F32(values))?,
            Examples::Bytes { bytes, scale } => {
                self.episodes.fill(SCALE, Values::F32(&kept::scale_array(scale)))?;
                self.episodes.fill(&x, Values::U32(&kept::packed(bytes, numel(input))))?;
            }
        }
        Ok(self.episodes.fill(&part.named("cells"), Values::U32(pool.cells.as_flattened()))?)
    }

    /// Begins with the first step of a seed, from what the learner begins with.
    ///
    /// # Errors
    /// If the device fails.
    pub fn begin(&mut self, seed: u64) -> Result<(), SolveError> {
        let mut state = self.learner.initial(seed);
        for (len, value) in self.teaching.optimizer.start(state.len()) {
            state.extend(std::iter::repeat_n(value, len));
        }
        self.episodes.fill(STATE, Values::F32(&state))?;
        if self.episodes.holds(RUNNING) {
            self.episodes.fill(RUNNING, Values::F32(&self.learner.statistics()))?;
        }
        self.episodes.fill(TIME, Values::U32(&[0]))?;
        self.episodes.fill("seed", Values::U32(&split_seed(seed)))?;
        let scalars = self.teaching.optimizer.scalars().iter().map(|scalar| scalar.usual);
        let rates: Vec<f64> = [self.teaching.rate].into_iter().chain(scalars).collect();
        self.leader.fill(RATES, Values::F64(&rates))?;
        Ok(self.leader.clear(HISTORY)?)
    }

    /// Operations on floats that a step takes.
    pub fn flops(&self) -> u64 {
        let of = |(function, program): &(Function, Rc<Program>)| match function.name {
            TASK => flops(program) * self.teaching.tasks as u64,
            STEP => flops(program),
            _ => 0,
        };
        self.parts.iter().map(of).sum()
    }

    /// What it computes with, each dispatch timed so often. Steps are taken: it is to [`begin`](Self::begin) after it.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn open_up(&mut self, repeats: usize) -> Result<Opened, SolveError> {
        let mut seconds = vec![];
        let names: Vec<&'static str> = self.parts.iter().map(|(function, _)| function.name).collect();
        for name in names {
            let binding = match name {
                STEP => self.bind_step()?,
                name => self.episodes.bind(name, &[])?,
            };
            let timed = self.leader.device().profile::<SolveError>(binding, repeats, || Ok(())).await?;
            seconds.push((name, timed));
        }
        let (of_episodes, of_leader) = self.parts.split_at(self.parts.len() - 1);
        Ok(Opened::on(&[(&self.episodes, of_episodes), (&self.leader, of_leader)], seconds, NO_CHECKPOINTS))
    }

    /// The step of the leader, which reads what lies with the episodes.
    fn bind_step(&mut self) -> Result<BindingId, SolveError> {
        let names = [STATE, GRADIENT, FOUND, TIME, RUNNING, ENTERED];
        let ports = names.into_iter().filter(|name| self.episodes.holds(name));
        let ports = ports.map(|name| Ok((name, self.episodes.array(name)?))).collect::<Result<Vec<_>, SolveError>>()?;
        Ok(self.leader.bind(STEP, &ports)?)
    }

    /// Takes steps, many in a submission, without reading or writing anything between them.
    ///
    /// # Errors
    /// If the device fails, or the monitor asks to stop.
    pub async fn run(
        &mut self,
        steps: usize,
        progress: &mut Progress,
        monitor: &mut dyn Monitor,
    ) -> Result<(), SolveError> {
        let task = self.episodes.bind(TASK, &[])?;
        let step = self.bind_step()?;
        let mut bindings = (0..steps).flat_map(|_| [task, step]);
        Ok(self.leader.replay("meta", |_| Ok(bindings.next()), progress, monitor).await?)
    }

    /// How it does on so many episodes of validation classes, the same for all learners of a seed.
    ///
    /// # Errors
    /// If the device fails, or the monitor asks to stop.
    pub async fn validate(&mut self, episodes: usize, monitor: &mut dyn Monitor) -> Result<Judgement, SolveError> {
        self.judge(Part::Validation, episodes, monitor).await
    }

    /// The same of test classes.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub async fn test(&mut self, episodes: usize, monitor: &mut dyn Monitor) -> Result<Judgement, SolveError> {
        self.judge(Part::Test, episodes, monitor).await
    }

    async fn judge(&mut self, part: Part, episodes: usize, monitor: &mut dyn Monitor) -> Result<Judgement, SolveError> {
        let members = self.teaching.tasks;
        let rounds = episodes.div_ceil(members);
        self.episodes.clear(JUDGED)?;
        self.episodes.fill(CHUNK, Values::U32(&[0]))?;
        let binding = self.episodes.bind(part.program(), &[])?;
        let mut bindings = std::iter::repeat_n(binding, rounds);
        let next = |_: &mut Rig| Ok(bindings.next());
        self.episodes.replay("meta_judge", next, &mut Progress::default(), &mut Quiet(monitor)).await?;
        let sums = self.read(JUDGED).await?;
        let [loss, sum, square] = [0, 1, 2].map(|k| sums.iter().skip(k).step_by(SUMS).sum::<f64>());
        let count = (rounds * members) as f64;
        let accuracy = sum / count;
        let variance = (square / count - accuracy * accuracy).max(0.0) * count / (count - 1.0).max(1.0);
        let interval = 1.96 * (variance / count).sqrt();
        Ok(Judgement { episodes: rounds * members, loss: loss / count, accuracy, interval })
    }

    async fn read(&self, name: &str) -> Result<Vec<f64>, SolveError> {
        let array = self.episodes.array(name)?;
        Ok(self.episodes.read(&[array]).await?.remove(0))
    }

    /// λ `[len]`.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn lambda(&self) -> Result<Vec<f64>, SolveError> {
        let mut state = self.read(STATE).await?;
        state.truncate(self.learner.len());
        Ok(state)
    }

    /// The steps so far.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn history(&self) -> Result<Vec<Record>, SolveError> {
        let taken = self.read(TIME).await?[0] as usize;
        let array = self.leader.array(HISTORY)?;
        let all = self.leader.read(&[array]).await?.remove(0);
        let record = |row: &[f64]| Record { loss: row[0], accuracy: row[1] };
        Ok(all.chunks(FINDINGS).take(taken).map(record).collect())
    }

    /// The arrays that steps change, with whose they are.
    fn changing(&self) -> impl Iterator<Item = (&'static str, &Rig)> {
        let all = [(STATE, &self.episodes), (RUNNING, &self.episodes), (TIME, &self.episodes), (HISTORY, &self.leader)];
        all.into_iter().filter(|(name, rig)| rig.holds(name))
    }

    /// All that changes.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn save(&self) -> Result<Saved, SolveError> {
        let mut saved = Saved::new();
        for (name, rig) in self.changing() {
            let array = rig.array(name)?;
            saved.insert(name.to_owned(), rig.read(&[array]).await?.remove(0));
        }
        Ok(saved)
    }

    /// Goes on from what was saved of a learner of the same shape and seed, which has begun.
    ///
    /// # Errors
    /// If it is of another.
    pub fn load(&self, saved: &Saved) -> Result<(), SolveError> {
        for (name, rig) in self.changing() {
            let values = saved.get(name).ok_or_else(|| SolveError::Data {
                set: name.to_owned(),
                what: "is not among what was saved: it is of another learner".to_owned(),
            })?;
            rig.fill(name, Values::F64(values))?;
        }
        Ok(())
    }
}

fn flops(program: &Program) -> u64 {
    program.costs().iter().map(|cost| cost.flops).sum()
}
