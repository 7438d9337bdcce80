//! Learning across tasks on a device.

use std::rc::Rc;

use super::episodes::{CELL, Drawing, Episode, Key, Shape, labels};
use super::learner::{Learner, Lesson, Shared};
use crate::bilevel::supervised::kept::{self, SCALE};
use crate::bilevel::{Decay, Examples, SolveError};
use crate::compile::Program;
use crate::engine::Values;
use crate::ir::{DType, Graph, NodeId, Scalar, numel};
use crate::nn::optim::Dynamics;
use crate::rig::{Array, Compiled, Device, Function, Monitor, Progress, Quiet, Rig};
use crate::rng::{Purpose, split_seed};

/// How a learner is taught.
#[derive(Clone, Debug)]
pub struct Teaching {
    /// Episodes that it learns from.
    pub shape: Shape,
    /// Episodes that it is judged by.
    pub judged: Shape,
    /// Episodes of a step, which are run as one program; their gradients are averaged.
    pub tasks: usize,
    /// What moves λ.
    pub optimizer: Dynamics,
    /// Its learning rate.
    pub rate: f64,
    /// How that falls.
    pub decay: Decay,
    /// Steps in all.
    pub steps: usize,
}

/// Examples with the rows that episodes are drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// Examples, one after another.
    pub x: &'a Examples,
    /// How many there are.
    pub count: usize,
    /// For each cell of the drawing: the first row for support, how many there are, and the same for queries; the same
    /// rows for both, or others.
    pub cells: &'a [[u32; CELL]],
    /// How cells are drawn.
    pub drawing: Drawing,
}

/// What a learner is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Training,
    Validation,
    Test,
}

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

/// A learner on a device. Episodes are drawn there and nothing is written or read between steps.
pub struct Session {
    learner: Rc<dyn Learner>,
    teaching: Teaching,
    /// Episodes, the members of a population, and what they share.
    episodes: Rig,
    /// What takes all of them together.
    leader: Rig,
    /// Operations on floats of a step.
    flops: u64,
}

const STEP: &str = "meta_step";
const TASK: &str = "meta_task";
const STATE: &str = "state";
const RUNNING: &str = "running";
const ENTERED: &str = "entered";
const GRADIENT: &str = "gradient";
const FOUND: &str = "found";
const TIME: &str = "time";
const HISTORY: &str = "history";
const RATES: &str = "rates";
const MEMBER: &str = "member";
const JUDGED: &str = "judged";
const CHUNK: &str = "chunk";

/// Numbers that an episode leaves: loss and accuracy.
const FINDINGS: usize = 2;
/// Sums over episodes that a judgement keeps: of losses, accuracies, and squares of these.
const SUMS: usize = 3;

impl Part {
    fn program(self) -> &'static str {
        match self {
            Part::Training => TASK,
            Part::Validation => "meta_validation",
            Part::Test => "meta_test",
        }
    }

    fn named(self, name: &str) -> String {
        let suffix = match self {
            Part::Training => "",
            Part::Validation => "_validation",
            Part::Test => "_test",
        };
        format!("{name}{suffix}")
    }
}

/// A program while it is built.
struct Builder<'a> {
    learner: &'a dyn Learner,
    teaching: &'a Teaching,
    function: Function,
}

impl Builder<'_> {
    fn graph(&mut self) -> &mut Graph {
        &mut self.function.graph
    }

    fn shared(&mut self) -> Shared {
        let len = self.learner.len();
        let state_len = self.teaching.optimizer.state_len(len);
        let statistics = self.learner.statistics().len();
        let g = self.graph();
        let state = g.input(STATE, &[state_len], DType::F32);
        let running = (statistics > 0).then(|| g.input(RUNNING, &[statistics], DType::F32));
        Shared { lambda: g.segment(state, 0, len), running }
    }

    /// The episode of a member at a time.
    fn episode(&mut self, pool: &Pool, part: Part, shape: Shape, input: &[usize], time: NodeId) -> Episode {
        let channels = pool.x.scale().map(|scale| scale.mean.len());
        let g = self.graph();
        let seed = g.input("seed", &[2], DType::U32);
        let member = g.input(MEMBER, &[1], DType::U32);
        let all = kept::examples(g, &part.named("x"), pool.count, input, channels.is_some());
        let cells = g.input(&part.named("cells"), &[pool.cells.len(), CELL], DType::U32);
        let purpose = if part == Part::Training { Purpose::Episode } else { Purpose::JudgedEpisode };
        let (rows, drawn) = pool.drawing.rows(g, shape, cells, Key { purpose, seed, time, member });
        let scale = channels.map(|channels| g.input(SCALE, &[2 * channels], DType::F32));
        let [x, xq] = rows.map(|rows| {
            let taken = g.take_rows(all, rows);
            scale.map_or(taken, |scale| kept::unpack(g, taken, input, scale))
        });
        let [y, yq] = [shape.shots, shape.queries].map(|each| labels(g, shape.ways, each));
        Episode { ways: shape.ways, x, y, xq, yq, cells: Some(drawn) }
    }

    /// A member's episode of a step: what it says of λ.
    fn task(mut self, pool: &Pool, input: &[usize]) -> Function {
        let shared = self.shared();
        let time = self.graph().input(TIME, &[1], DType::U32);
        let episode = self.episode(pool, Part::Training, self.teaching.shape, input, time);
        let learner = self.learner;
        let g = self.graph();
        let Lesson { loss, gradient, scores, running } = learner.lesson(g, shared, &episode);
        let accuracy = accuracy(g, scores, episode.yq);
        let loss = g.reshape(loss, &[1]);
        let found = g.concat(&[loss, accuracy]);
        self.function.output(GRADIENT, gradient);
        self.function.output(FOUND, found);
        if let Some(running) = running {
            self.function.output(ENTERED, running);
        }
        self.function
    }

    /// A step of λ along the mean of all members' gradients.
    fn step(mut self) -> Function {
        let (len, tasks, steps) = (self.learner.len(), self.teaching.tasks, self.teaching.steps);
        let statistics = self.learner.statistics().len();
        let (optimizer, decay) = (self.teaching.optimizer.clone(), self.teaching.decay);
        let g = self.graph();
        let state = g.input(STATE, &[optimizer.state_len(len)], DType::F32);
        let gradients = g.input(GRADIENT, &[tasks, len], DType::F32);
        let found = g.input(FOUND, &[tasks, FINDINGS], DType::F32);
        let time = g.input(TIME, &[1], DType::U32);
        let rates = g.input(RATES, &[1 + optimizer.scalars().len()], DType::F32);
        let history = g.input(HISTORY, &[steps, FINDINGS], DType::F32);
        let mean = |g: &mut Graph, of: NodeId| {
            let sum = g.sum(of, &[0]);
            g.scale(sum, 1.0 / tasks as f64)
        };
        let gradient = mean(g, gradients);
        let mut rate = g.segment(rates, 0, 1);
        if let Some(factor) = decay.factor(g, time, steps) {
            rate = g.mul(rate, factor);
        }
        let rate = g.broadcast_to(rate, &[len]);
        let scalars: Vec<NodeId> = (0..optimizer.scalars().len()).map(|k| g.segment(rates, 1 + k, 1)).collect();
        let next = optimizer.step(g, state, gradient, rate, &scalars);
        let found = mean(g, found);
        let shape = [steps, FINDINGS];
        let row = g.broadcast_to(found, &shape);
        let (place, at) = (g.iota(&shape, 0), g.broadcast_to(time, &shape));
        let is_here = g.eq_u(place, at);
        let history_next = g.select(is_here, row, history);
        self.function.update(state, next);
        self.function.update(history, history_next);
        if statistics > 0 {
            let g = self.graph();
            let running = g.input(RUNNING, &[statistics], DType::F32);
            let entered = g.input(ENTERED, &[tasks, statistics], DType::F32);
            let entered = mean(g, entered);
            // It reads what it replaces only where nothing has entered.
            let nothing = g.scale(running, 0.0);
            let entered = g.add(nothing, entered);
            self.function.update(running, entered);
        }
        self.function.count(time);
        self.function
    }

    /// A member's next episode of a judgement, added to what it has found before.
    fn judge(mut self, pool: &Pool, part: Part, input: &[usize]) -> Function {
        let shared = self.shared();
        let chunk = self.graph().input(CHUNK, &[1], DType::U32);
        let episode = self.episode(pool, part, self.teaching.judged, input, chunk);
        let learner = self.learner;
        let g = self.graph();
        let judged = g.input(JUDGED, &[SUMS], DType::F32);
        let scores = learner.predict(g, shared, &episode);
        let loss = super::mean_loss(g, scores, episode.yq);
        let loss = g.reshape(loss, &[1]);
        let accuracy = accuracy(g, scores, episode.yq);
        let square = g.mul(accuracy, accuracy);
        let sums = g.concat(&[loss, accuracy, square]);
        let sums = g.add(judged, sums);
        self.function.update(judged, sums);
        self.function.count(chunk);
        self.function
    }
}

/// Share of rows whose class has the largest score, `[1]`.
fn accuracy(g: &mut Graph, scores: NodeId, labels: NodeId) -> NodeId {
    let predicted = g.argmax(scores, 1);
    let is_right = g.eq_u(predicted, labels);
    let is_right = g.scalar(Scalar::ToFloat, &[is_right]);
    let sum = g.sum_all(is_right);
    let share = g.scale(sum, 1.0 / g.shape(labels)[0] as f64);
    g.reshape(share, &[1])
}

impl Pool<'_> {
    fn check(&self, name: &str, shape: Shape) -> Result<(), SolveError> {
        let wrong = |what: String| Err(SolveError::Data { set: name.to_owned(), what });
        let (given, wanted) = (self.cells.len(), self.drawing.cells(shape.ways));
        if given != wanted {
            return wrong(format!("has rows for {given} cells, and its drawing has {wanted}"));
        }
        if let Drawing::Classes { classes, .. } = self.drawing
            && classes < shape.ways
        {
            return wrong(format!("has {classes} classes, and an episode has {}", shape.ways));
        }
        for (k, &[first, count, query_first, query_count]) in self.cells.iter().enumerate() {
            let is_same = first == query_first;
            if is_same && count != query_count {
                return wrong(format!("cell {k}: rows for support and queries begin together and end apart"));
            }
            let wanted = if is_same { shape.shots + shape.queries } else { shape.shots };
            if (count as usize) < wanted || (query_count as usize) < shape.queries {
                return wrong(format!(
                    "cell {k} has {count} rows for support and {query_count} for queries, and an episode takes {} and {}",
                    shape.shots, shape.queries
                ));
            }
            let end = first.saturating_add(count).max(query_first.saturating_add(query_count));
            if end as usize > self.count {
                return wrong(format!("cell {k} ends at row {end}, and there are {}", self.count));
            }
        }
        Ok(())
    }
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
            flops: 0,
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
            session.flops += if part == Part::Training { flops(&program) * members.len() as u64 } else { 0 };
            session.put(pool, part, input)?;
        }
        let function = session.builder(STEP).step();
        let program = compiled.program(&function)?;
        session.flops += flops(&program);
        for (name, len) in
            [(RATES, 1 + session.teaching.optimizer.scalars().len()), (HISTORY, session.teaching.steps * FINDINGS)]
        {
            session.leader.create(name, DType::F32, len)?;
        }
        session.leader.load(&function, &program).await?;
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
        self.flops
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
        let names = [STATE, GRADIENT, FOUND, TIME, RUNNING, ENTERED];
        let ports = names.into_iter().filter(|name| self.episodes.holds(name));
        let ports = ports.map(|name| Ok((name, self.episodes.array(name)?))).collect::<Result<Vec<_>, SolveError>>()?;
        let step = self.leader.bind(STEP, &ports)?;
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
