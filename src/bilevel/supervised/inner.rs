//! The supervised problem as an inner problem.

use super::kept;
use super::problem::{CHUNK, Problem, Source};
use crate::bilevel::SolveError;
use crate::bilevel::inner::{Acting, At, Inner, Known, NoObjective, Objective, Part, Step, Through};
use crate::ir::{DType, Graph, NodeId, Scalar, numel};
use crate::rig::Array;

impl Inner for Problem {
    fn check(&self) -> Result<(), SolveError> {
        Problem::check(self)
    }

    fn steps(&self) -> usize {
        self.steps
    }

    fn state(&self) -> Vec<Part> {
        let parameters = self.model.parameters().iter();
        let mut parts: Vec<Part> = parameters
            .map(|p| Part { name: p.name.clone(), range: p.offset..p.offset + p.len(), shape: p.shape.clone() })
            .collect();
        let slots = self.model.parameter_count()..self.optimizer_len();
        if !slots.is_empty() {
            parts.push(Part { name: "optimizer".to_owned(), shape: vec![slots.len()], range: slots });
        }
        parts.extend(self.model.statistics().iter().map(|s| {
            let first = self.optimizer_len() + s.offset;
            Part { name: s.name.clone(), range: first..first + s.len, shape: vec![s.len] }
        }));
        parts
    }

    fn weights(&self) -> usize {
        self.model.parameter_count()
    }

    fn lambda(&self) -> Vec<Acting> {
        let layout = self.layout();
        let part = |name, what, range, through| Acting { name, what, range, through };
        vec![
            part("log_lr", "the learning rate", layout.log_lr, Through::Steps),
            part("scalars", "momentum, decay rates or ε", layout.scalars, Through::Step),
            part("l2_log", "the penalties", layout.l2_log, Through::Loss),
            part("weights", "the example weights", layout.weights, Through::Loss),
            part("regularizer", "the regularizer", layout.regularizer, Through::Loss),
            part("noise_log", "the noise", layout.noise_log, Through::Step),
            part("initial_scale_log", "the initial weights", layout.initial_scale_log, Through::Start),
            part("initial_weights", "the initial weights", layout.initial_weights, Through::Start),
        ]
    }

    fn arrays(&self) -> Vec<Array> {
        let outputs = numel(self.model.output());
        let targets = |count: usize| if self.loss.takes_labels() { count } else { count * outputs };
        // One chunk of whichever set is evaluated.
        let (dtype, len) = self.kept(CHUNK);
        let mut list = vec![
            Array::new("set_x", dtype, len),
            Array::new("set_y", self.loss.target_type(), targets(CHUNK)),
            Array::new("limit", DType::U32, 1),
        ];
        if self.loss.takes_labels() {
            list.push(Array::new("confusion", DType::F32, outputs * outputs).own());
        }
        if let Some(scale) = &self.bytes {
            list.push(Array::new(kept::SCALE, DType::F32, 2 * scale.mean.len()));
        }
        let sides = [("train", self.train), ("validation", self.validation)];
        let sets = self.pool.map_or(sides.to_vec(), |pool| vec![("pool", pool)]);
        for (name, count) in sets {
            let (dtype, len) = self.kept(count);
            list.push(Array::new(&format!("{name}_x"), dtype, len));
            list.push(Array::new(&format!("{name}_y"), self.loss.target_type(), targets(count)));
        }
        if self.pool.is_some() {
            list.extend(sides.map(|(name, count)| Array::new(&format!("{name}_rows"), DType::U32, count).own()));
        }
        if self.batches == Source::Table {
            list.push(Array::new("batches", DType::U32, self.steps * self.batch).own());
        }
        if self.masked() == Some(Source::Table) {
            list.push(Array::new("masks", DType::F32, self.steps * self.mask_len()).own());
        }
        if self.takes_seed() {
            list.push(Array::new("seed", DType::U32, 2).own());
        }
        list
    }

    fn begin(&self, g: &mut Graph, lambda: NodeId, given: NodeId) -> NodeId {
        let layout = self.layout();
        let mut weights = given;
        if self.initial_weights {
            weights = g.segment(lambda, layout.initial_weights.start, layout.initial_weights.len());
        }
        if self.initial_scale {
            let log = g.segment(lambda, layout.initial_scale_log.start, 1);
            let factor = g.scalar(Scalar::Exp, &[log]);
            weights = g.mul(factor, weights);
        }
        let slots = self.optimizer.start(self.model.parameter_count()).into_iter();
        let statistics = self.model.statistics().iter().map(|s| (s.len, s.start));
        let others = constants(g, slots.chain(statistics));
        if others.is_empty() { weights } else { g.concat(&[&[weights], &others[..]].concat()) }
    }

    fn step(&self, g: &mut Graph, at: &At) -> Step {
        self.advance(g, at)
    }

    fn outer(&self, g: &mut Graph, state: NodeId, _lambda: NodeId, chunk: NodeId) -> NodeId {
        self.outer_share(g, state, chunk)
    }

    fn outer_chunks(&self) -> usize {
        self.validation.div_ceil(CHUNK)
    }

    fn objective(&self) -> Result<&dyn Objective, NoObjective> {
        if self.masked().is_some() || !self.noise.is_empty() {
            return Err(NoObjective {
                reason: "a training with dropout or other noise has no stationary point",
                instead: "reverse mode (or train without dropout and noise)",
            });
        }
        if self.model.statistic_count() > 0 {
            return Err(NoObjective {
                reason: "batch norm makes the loss of an example depend on the others of its batch, so the inner loss is \
                         no sum over examples",
                instead: "reverse mode",
            });
        }
        Ok(self)
    }

    fn is_autonomous(&self) -> bool {
        self.batch == self.train
    }

    /// Adam's bias corrections 1 − βᵗ.
    fn known(&self, lambda: &[f64], steps: usize) -> Vec<Known> {
        let (scalars, steps) = (self.layout().scalars, steps as i32);
        let corrections = self.optimizer.corrections(self.model.parameter_count()).into_iter();
        let known = |(k, slot)| {
            let at = scalars.start + k;
            Known { slot, at, derivative: -f64::from(steps) * lambda[at].powi(steps - 1) }
        };
        corrections.filter(|_| steps > 0).map(known).collect()
    }
}

/// Vectors of constants, equal neighbours in one.
fn constants(g: &mut Graph, runs: impl Iterator<Item = (usize, f32)>) -> Vec<NodeId> {
    let mut joined: Vec<(usize, f32)> = vec![];
    for (len, value) in runs {
        match joined.last_mut() {
            Some((before, same)) if *same == value => *before += len,
            _ => joined.push((len, value)),
        }
    }
    joined.into_iter().map(|(len, value)| g.full(&[len], f64::from(value))).collect()
}
