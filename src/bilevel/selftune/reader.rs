//! The programs of a session: graphs that read what they are given by name.

use super::augmentation::Draws;
use super::counts::{Counts, Supply};
use super::keyed::Keyed;
use super::perturbation::Leader;
use super::step::{Batch, Follower, Rates, TrainingBatch, Tuning, Variant};
use crate::bilevel::CHUNK;
use crate::bilevel::supervised::kept::{self, SCALE};
use crate::bilevel::supervised::losses::chunk_rows;
use crate::ir::{DType, NodeId, Scalar};
use crate::rig::Function;
use crate::rng::Purpose;

pub(super) const TRAIN: &str = "selftune_train";
pub(super) const TUNE: &str = "selftune_tune";
pub(super) const CUT: &str = "selftune_cut";

/// A batch, by the names of what it is taken from.
struct Taken<'a> {
    /// Of its examples.
    of: &'a str,
    /// Of its rows and draws.
    at: &'a str,
    /// Examples, and those in a batch.
    counts: [usize; 2],
    /// The order of the rows and whose steps go through it.
    rows: (Purpose, &'a str),
    /// The number of the draws ξ among those of a step, and whose steps they are of.
    draws: (u32, &'a str),
}

pub(super) struct Reader<'a> {
    tuning: &'a Tuning,
    counts: &'a Counts,
    function: Function,
}

impl<'a> Reader<'a> {
    pub fn new(tuning: &'a Tuning, counts: &'a Counts, name: &'static str) -> Self {
        Reader { tuning, counts, function: Function::new(name) }
    }

    /// An input that several places of a graph read.
    fn shared(&mut self, name: &str, shape: &[usize], dtype: DType) -> NodeId {
        let graph = &mut self.function.graph;
        let known = graph.inputs().iter().find(|(other, _)| other == name).map(|(_, id)| *id);
        known.unwrap_or_else(|| graph.input(name, shape, dtype))
    }

    fn input(&mut self, name: &str, shape: &[usize]) -> NodeId {
        self.shared(name, shape, DType::F32)
    }

    fn is_keyed(&self) -> bool {
        matches!(self.counts.supply, Supply::Keyed { .. })
    }

    /// A step by the name of its counter.
    fn keyed(&mut self, time: &str) -> Keyed {
        let seed = self.shared("seed", &[2], DType::U32);
        Keyed { seed, time: self.shared(time, &[1], DType::U32) }
    }

    /// All examples called `of`, and their targets.
    fn examples(&mut self, of: &str, all: usize) -> (NodeId, NodeId) {
        let network = &self.tuning.network;
        let loss = network.loss;
        let targets = if loss.takes_labels() { vec![all] } else { [&[all], network.model.output()].concat() };
        let name = format!("x{of}");
        let known = self.function.graph.inputs().iter().find(|(other, _)| *other == name).map(|(_, id)| *id);
        let bytes = self.counts.bytes.is_some();
        let graph = &mut self.function.graph;
        let x = known.unwrap_or_else(|| kept::examples(graph, &name, all, network.model.input(), bytes));
        (x, self.shared(&format!("y{of}"), &targets, loss.target_type()))
    }

    /// The examples in these rows, and their targets.
    fn rows_of(&mut self, (x, y): (NodeId, NodeId), rows: NodeId) -> (NodeId, NodeId) {
        let graph = &mut self.function.graph;
        let (x, y) = (graph.take_rows(x, rows), graph.take_rows(y, rows));
        let Some(channels) = self.counts.bytes else { return (x, y) };
        let scale = self.input(SCALE, &[2 * channels]);
        (kept::unpack(&mut self.function.graph, x, self.tuning.network.model.input(), scale), y)
    }

    fn batch(&mut self, taken: &Taken) -> Batch {
        let [all, batch] = taken.counts;
        let examples = self.examples(taken.of, all);
        let shape = [batch, self.tuning.network.domains.len()];
        let (rows, weights, draws) = if self.is_keyed() {
            let ((purpose, passes), (stream, time)) = (taken.rows, taken.draws);
            let (passes, time) = (self.keyed(passes), self.keyed(time));
            let g = &mut self.function.graph;
            let (rows, weights) = passes.rows(g, purpose, all, batch);
            (rows, weights, time.deviations(g, stream, &shape))
        } else {
            let rows = self.shared(&format!("rows{}", taken.at), &[batch], DType::U32);
            (rows, None, self.input(&format!("xi{}", taken.at), &shape))
        };
        let (x, y) = self.rows_of(examples, rows);
        Batch { x, y, draws, weights }
    }

    fn follower(&mut self) -> Follower {
        let gates = self.tuning.network.gates();
        let [general, response] = [gates.model.parameter_count(), gates.response_len()];
        let lengths = [general, response].map(|len| self.tuning.inner.state_len(len));
        let planes = self.tuning.planes().map(|planes| planes.state_len());
        Follower {
            general: self.input("general", &[lengths[0]]),
            response: self.input("response", &[lengths[1]]),
            planes: planes.map(|len| self.input("planes", &[len])),
        }
    }

    fn leader_state(&mut self) -> NodeId {
        let len = self.tuning.outer.state_len(2 * self.tuning.network.domains.len());
        self.input("leader", &[len])
    }

    fn leader(&mut self) -> Leader {
        let state = self.leader_state();
        self.tuning.leader(&mut self.function.graph, state)
    }

    /// The learning rate and the scalars of an optimiser.
    fn rates(&mut self, name: &str, scalars: usize) -> Vec<NodeId> {
        let all = self.input(name, &[1 + scalars]);
        (0..=scalars).map(|k| self.function.graph.segment(all, k, 1)).collect()
    }

    fn result(&mut self, name: &str, scalar: NodeId) {
        let number = self.function.graph.reshape(scalar, &[1]);
        self.function.output(name, number);
    }

    /// One more step of a kind.
    fn count(&mut self, name: &str) {
        if self.is_keyed() {
            let counter = self.shared(name, &[1], DType::U32);
            self.function.count(counter);
        }
    }

    pub fn train(mut self) -> Function {
        let (follower, leader) = (self.follower(), self.leader());
        let examples = self.batch(&Taken {
            of: "",
            at: "",
            counts: [self.counts.training, self.counts.batch],
            rows: (Purpose::Batch, TRAINED),
            draws: (0, TRAINED),
        });
        let shapes = self.counts.draws.clone();
        let is_central = matches!(self.tuning.variant, Variant::Plain | Variant::DeltaStn);
        let is_perturbed = self.tuning.variant != Variant::Plain;
        let keyed = self.is_keyed().then(|| self.keyed(TRAINED));
        let mut given = |name: &str, is_used: bool| -> Vec<NodeId> {
            let shapes = shapes.iter().enumerate().filter(|_| is_used && keyed.is_none());
            shapes.map(|(k, shape)| self.input(&format!("{name}{k}"), shape)).collect()
        };
        let (perturbed, central) = (given("draw", is_perturbed), given("central", is_central));
        let draws = |set, given| match keyed {
            Some(keyed) => Draws::Keyed { keyed, shapes: &shapes, set },
            None => Draws::Given(given),
        };
        let batch = TrainingBatch { examples, perturbed: draws(0, &perturbed), central: draws(1, &central) };
        let rates = self.rates("inner_rates", self.tuning.inner.scalars().len());
        let rates = Rates { rate: rates[0], scalars: &rates[1..] };
        let trained = self.tuning.train(&mut self.function.graph, follower, leader, batch, rates);
        self.function.update(follower.general, trained.follower.general);
        if trained.follower.response != follower.response {
            self.function.update(follower.response, trained.follower.response);
        }
        if let (Some(before), Some(after), Some(values)) = (follower.planes, trained.follower.planes, trained.values) {
            self.function.update(before, after);
            self.function.output("values", values);
        }
        self.result("loss", trained.loss);
        self.count(TRAINED);
        self.function
    }

    pub fn tune(mut self) -> Function {
        let (follower, state) = (self.follower(), self.leader_state());
        let validation = self.batch(&Taken {
            of: "_validation",
            at: "_validation",
            counts: [self.counts.validation, self.counts.validation_batch],
            rows: (Purpose::Validation, TUNED),
            draws: (1, TUNED),
        });
        // The batch that the next training step takes.
        let other = self.tuning.is_mixed().then(|| {
            self.batch(&Taken {
                of: "",
                at: "_other",
                counts: [self.counts.training, self.counts.batch],
                rows: (Purpose::Batch, TRAINED),
                draws: (2, TUNED),
            })
        });
        let rates = self.rates("outer_rates", self.tuning.outer.scalars().len());
        let rates = Rates { rate: rates[0], scalars: &rates[1..] };
        let tuned = self.tuning.tune(&mut self.function.graph, follower, state, validation, other, rates);
        self.function.update(state, tuned.leader);
        self.result("outer_loss", tuned.loss);
        self.record(tuned.leader, tuned.loss);
        self.count(TUNED);
        self.function
    }

    /// λ and s after a tuning step, and the outer loss before it, in its row of the history.
    fn record(&mut self, leader: NodeId, loss: NodeId) {
        let Supply::Keyed { records } = self.counts.supply else { return };
        if records == 0 {
            return;
        }
        let len = 2 * self.tuning.network.domains.len();
        let shape = [records, len + 1];
        let history = self.input(HISTORY, &shape);
        let time = self.shared(TUNED, &[1], DType::U32);
        let g = &mut self.function.graph;
        let (leader, loss) = (g.segment(leader, 0, len), g.reshape(loss, &[1]));
        let row = g.concat(&[leader, loss]);
        let row = g.broadcast_to(row, &shape);
        let (place, time) = (g.iota(&shape, 0), g.broadcast_to(time, &shape));
        let is_here = g.eq_u(place, time);
        let new = g.select(is_here, row, history);
        self.function.update(history, new);
    }

    pub fn cut(mut self) -> Function {
        let (follower, leader) = (self.follower(), self.leader());
        let cut = self.tuning.cut(&mut self.function.graph, follower, leader);
        if let (Some(before), Some(after)) = (follower.planes, cut.planes) {
            self.function.update(before, after);
        }
        self.function
    }

    /// A chunk of the examples called `of`: adds to `judged` the losses, how many are predicted right, where they are
    /// labelled, and counts on.
    pub fn judge(mut self, of: &str, count: usize) -> Function {
        let (follower, leader) = (self.follower(), self.leader());
        let examples = self.examples(of, count);
        let chunk = self.shared("chunk", &[1], DType::U32);
        let judged = self.input(JUDGED, &[2]);
        let (rows, is_one) = chunk_rows(&mut self.function.graph, chunk, count, CHUNK);
        let (x, y) = self.rows_of(examples, rows);
        let g = &mut self.function.graph;
        let weights = self.tuning.weights(g, follower);
        let output = self.tuning.predict(g, weights, leader, x);
        let is_one = g.scalar(Scalar::ToFloat, &[is_one]);
        let losses = self.tuning.network.loss.each(g, output, y);
        let mut sums = vec![losses];
        if self.tuning.network.loss.has_classes() {
            let predicted = g.argmax(output, 1);
            let is_right = g.eq_u(predicted, y);
            sums.push(g.scalar(Scalar::ToFloat, &[is_right]));
        } else {
            sums.push(g.full(&[CHUNK], 0.0));
        }
        let sums = sums.into_iter().map(|each| {
            let counted = g.mul(each, is_one);
            let sum = g.sum_all(counted);
            g.reshape(sum, &[1])
        });
        let sums: Vec<NodeId> = sums.collect();
        let sums = g.concat(&sums);
        let sums = g.add(judged, sums);
        self.function.update(judged, sums);
        self.function.count(chunk);
        self.function
    }
}

/// The array that counts training steps.
pub(super) const TRAINED: &str = "trained";
/// The array that counts tuning steps.
pub(super) const TUNED: &str = "tuned";
/// The array with a row for each tuning step.
pub(super) const HISTORY: &str = "history";
/// The array with the sums of a judgement.
pub(super) const JUDGED: &str = "judged";
