//! The programs of a session: graphs that read what they are given by name.

use super::episodes::{CELL, Drawing, Episode, Key, Shape, labels};
use super::learner::{Learner, Lesson, Shared, mean_loss};
use crate::bilevel::supervised::kept::{self, SCALE};
use crate::bilevel::{Decay, Examples, SolveError};
use crate::ir::{DType, Graph, NodeId};
use crate::nn::functions;
use crate::nn::optim::Dynamics;
use crate::rig::Function;
use crate::rng::Purpose;

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
pub(super) enum Part {
    Training,
    Validation,
    Test,
}

pub(super) const STEP: &str = "meta_step";
pub(super) const TASK: &str = "meta_task";
pub(super) const STATE: &str = "state";
pub(super) const RUNNING: &str = "running";
pub(super) const ENTERED: &str = "entered";
pub(super) const GRADIENT: &str = "gradient";
pub(super) const FOUND: &str = "found";
pub(super) const TIME: &str = "time";
pub(super) const HISTORY: &str = "history";
pub(super) const RATES: &str = "rates";
pub(super) const MEMBER: &str = "member";
pub(super) const JUDGED: &str = "judged";
pub(super) const CHUNK: &str = "chunk";

/// Numbers that an episode leaves: loss and accuracy.
pub(super) const FINDINGS: usize = 2;
/// Sums over episodes that a judgement keeps: of losses, accuracies, and squares of these.
pub(super) const SUMS: usize = 3;

impl Part {
    pub fn program(self) -> &'static str {
        match self {
            Part::Training => TASK,
            Part::Validation => "meta_validation",
            Part::Test => "meta_test",
        }
    }

    pub fn named(self, name: &str) -> String {
        let suffix = match self {
            Part::Training => "",
            Part::Validation => "_validation",
            Part::Test => "_test",
        };
        format!("{name}{suffix}")
    }
}

/// A program while it is built.
pub(super) struct Builder<'a> {
    pub learner: &'a dyn Learner,
    pub teaching: &'a Teaching,
    pub function: Function,
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
    pub fn task(mut self, pool: &Pool, input: &[usize]) -> Function {
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
    pub fn step(mut self) -> Function {
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
            let entered = g.input(ENTERED, &[tasks, statistics], DType::F32);
            let entered = mean(g, entered);
            self.function.output(RUNNING, entered);
        }
        self.function.count(time);
        self.function
    }

    /// A member's next episode of a judgement, added to what it has found before.
    pub fn judge(mut self, pool: &Pool, part: Part, input: &[usize]) -> Function {
        let shared = self.shared();
        let chunk = self.graph().input(CHUNK, &[1], DType::U32);
        let episode = self.episode(pool, part, self.teaching.judged, input, chunk);
        let learner = self.learner;
        let g = self.graph();
        let judged = g.input(JUDGED, &[SUMS], DType::F32);
        let scores = learner.predict(g, shared, &episode);
        let loss = mean_loss(g, scores, episode.yq);
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

/// Accuracy of the class with the largest score.
fn accuracy(g: &mut Graph, scores: NodeId, labels: NodeId) -> NodeId {
    let predicted = g.argmax(scores, 1);
    functions::accuracy(g, predicted, labels)
}

impl Pool<'_> {
    pub(super) fn check(&self, name: &str, shape: Shape) -> Result<(), SolveError> {
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
