//! Parameters of learners that no list of layers describes: arrays one behind another in λ.

use crate::ir::{Graph, NodeId, numel};
use crate::rng::{Purpose, Stream};

/// An array of λ.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub shape: Vec<usize>,
    /// What it holds at first.
    pub start: Start,
}

/// What an array holds at first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Start {
    /// Normal numbers with variance 1 over its rows: what sums them up keeps its size.
    Normal,
    /// One number.
    All(f32),
}

impl Part {
    /// A map of so many numbers to so many others.
    pub fn map(inputs: usize, outputs: usize) -> Part {
        Part { shape: vec![inputs, outputs], start: Start::Normal }
    }

    /// A vector of one number.
    pub fn all(len: usize, value: f32) -> Part {
        Part { shape: vec![len], start: Start::All(value) }
    }

    fn len(&self) -> usize {
        numel(&self.shape)
    }
}

/// How many numbers they are.
pub(super) fn len(parts: &[Part]) -> usize {
    parts.iter().map(Part::len).sum()
}

/// What they hold at first, a function of the seed.
pub(super) fn initial(parts: &[Part], seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(seed, Purpose::Init, u32::MAX);
    let mut values = vec![];
    for part in parts {
        let deviation = (1.0 / part.shape[0] as f64).sqrt();
        values.extend((0..part.len()).map(|_| match part.start {
            Start::Normal => (deviation * stream.normal()) as f32,
            Start::All(value) => value,
        }));
    }
    values
}

/// The arrays, which begin at this place of λ.
pub(super) fn read(g: &mut Graph, lambda: NodeId, mut at: usize, parts: &[Part]) -> Vec<NodeId> {
    let array = |part: &Part| {
        let flat = g.segment(lambda, at, part.len());
        at += part.len();
        g.reshape(flat, &part.shape)
    };
    parts.iter().map(array).collect()
}
