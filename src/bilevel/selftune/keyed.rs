//! What a step is given where nothing is uploaded for it: rows and draws, functions of (seed, purpose, step, index).

use crate::bilevel::draws;
use crate::bilevel::supervised::losses::chunk_rows;
use crate::ir::{Graph, NodeId, Scalar, numel};
use crate::rng::Purpose;

/// A step and whose draws it takes.
#[derive(Clone, Copy, Debug)]
pub struct Keyed {
    /// `[2]`, see [`crate::rng::split_seed`].
    pub seed: NodeId,
    /// `[1]`, how many steps of its kind were taken before it.
    pub time: NodeId,
}

/// Steps that go through so many examples once.
pub(super) fn epoch(count: usize, batch: usize) -> usize {
    count.div_ceil(batch)
}

impl Keyed {
    /// The rows of the step's batch, and what each counts in its mean where they do not count alike, both `[batch]`. Each epoch goes through all examples once, in an order of its own. Its last batch is the
    /// smaller one that is left; the places behind it hold an example that does not count.
    pub(super) fn rows(self, g: &mut Graph, purpose: Purpose, count: usize, batch: usize) -> (NodeId, Option<NodeId>) {
        let steps = g.full_u(&[1], epoch(count, batch) as u32);
        let (passed, place) =
            (g.scalar(Scalar::DivU, &[self.time, steps]), g.scalar(Scalar::RemU, &[self.time, steps]));
        let (places, is_one) = chunk_rows(g, place, count, batch);
        let key = draws::stream_key(g, self.seed, purpose, passed, batch);
        let all = g.full_u(&[batch], count as u32);
        let rows = g.scalar(Scalar::PermuteIndex, &[key[0], key[1], all, places]);
        let weights = (!count.is_multiple_of(batch)).then(|| {
            // The mean over the batch is that over those that count.
            let is_one = g.scalar(Scalar::ToFloat, &[is_one]);
            let given = g.sum_all(is_one);
            let share = g.recip(given);
            let share = g.scale(share, batch as f64);
            g.mul(is_one, share)
        });
        (rows, weights)
    }

    fn words(self, g: &mut Graph, purpose: Purpose, stream: u32, count: usize) -> NodeId {
        let key = draws::stream_key(g, self.seed, purpose, self.time, count);
        let index = g.iota(&[count], 0);
        draws::words(g, key, index, stream)
    }

    /// Standard normal draws ξ of this shape, for hyperparameters about those of the network.
    pub(super) fn deviations(self, g: &mut Graph, stream: u32, shape: &[usize]) -> NodeId {
        self.normal_of(g, Purpose::Perturbation, stream, shape)
    }

    fn normal_of(self, g: &mut Graph, purpose: Purpose, stream: u32, shape: &[usize]) -> NodeId {
        let count = numel(shape);
        let key = draws::stream_key(g, self.seed, purpose, self.time, count);
        let index = g.iota(&[count], 0);
        let drawn = draws::normal(g, key, index, stream);
        g.reshape(drawn, shape)
    }

    /// Standard normal draws of an augmentation.
    pub(super) fn normal(self, g: &mut Graph, stream: u32, shape: &[usize]) -> NodeId {
        self.normal_of(g, Purpose::Augmentation, stream, shape)
    }

    /// Draws of an augmentation between 0 and 1.
    pub(super) fn uniform(self, g: &mut Graph, stream: u32, shape: &[usize]) -> NodeId {
        let words = self.words(g, Purpose::Augmentation, stream, numel(shape));
        let drawn = draws::uniform(g, words);
        g.reshape(drawn, shape)
    }

    /// Whole numbers of an augmentation, along the last axis below each of two.
    pub(super) fn below(self, g: &mut Graph, stream: u32, shape: &[usize], limits: [usize; 2]) -> NodeId {
        let words = self.words(g, Purpose::Augmentation, stream, numel(shape));
        let words = g.reshape(words, shape);
        let axis = g.iota(shape, shape.len() - 1);
        let [first, second] = limits.map(|limit| g.full_u(shape, limit as u32));
        let one = g.full_u(shape, 1);
        let is_first = g.scalar(Scalar::LtU, &[axis, one]);
        let limit = g.select(is_first, first, second);
        let drawn = g.scalar(Scalar::RemU, &[words, limit]);
        g.scalar(Scalar::ToFloat, &[drawn])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::eval;
    use crate::ir::DType;
    use crate::rng::{permute_index, split_seed, stream_key, threefry};

    const SEED: u64 = 0x0123_4567_89ab_cdef;

    /// What nodes hold at a step, which take that step.
    fn at(step: u32, build: impl Fn(&mut Graph, Keyed) -> Vec<NodeId>) -> Vec<Vec<f64>> {
        let mut g = Graph::new();
        let keyed = Keyed { seed: g.input("seed", &[2], DType::U32), time: g.input("time", &[1], DType::U32) };
        let nodes = build(&mut g, keyed);
        let seed = split_seed(SEED).map(f64::from).to_vec();
        eval(&g, &nodes, &[seed, vec![f64::from(step)]])
    }

    #[test]
    fn an_epoch_goes_through_all_in_the_order_of_the_host() {
        let (count, batch) = (23, 5);
        for epoch in 0..3 {
            let (mut rows, mut counted) = (vec![], 0.0);
            for step in 5 * epoch..5 * (epoch + 1) {
                let found = at(step, |g, keyed| {
                    let (rows, weights) = keyed.rows(g, Purpose::Batch, count, batch);
                    vec![rows, weights.unwrap()]
                });
                let is_last = step % 5 == 4;
                let given = if is_last { 3 } else { 5 };
                let share = batch as f64 / given as f64;
                let weights: Vec<f64> = (0..batch).map(|k| if k < given { share } else { 0.0 }).collect();
                assert!(found[1].iter().zip(&weights).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
                counted += found[1].iter().sum::<f64>();
                rows.extend(found[0][..given].iter().map(|&row| row as u32));
            }
            let key = stream_key(split_seed(SEED), Purpose::Batch, epoch);
            let host: Vec<u32> = (0..count as u32).map(|i| permute_index(key, count as u32, i)).collect();
            assert_eq!(rows, host);
            assert!((counted - 25.0).abs() < 1e-12);
        }
        let whole = at(0, |g, keyed| {
            let (rows, weights) = keyed.rows(g, Purpose::Batch, 20, 5);
            assert!(weights.is_none(), "nothing to weigh where all batches are whole");
            vec![rows]
        });
        assert_eq!(whole[0].len(), 5);
    }

    #[test]
    fn draws_are_those_of_the_host() {
        let (step, stream, shape) = (7, 3, [4, 3, 2]);
        let found =
            at(step, |g, keyed| vec![keyed.uniform(g, stream, &shape), keyed.below(g, stream, &shape, [28, 5])]);
        let key = stream_key(split_seed(SEED), Purpose::Augmentation, step);
        for (k, (uniform, whole)) in found[0].iter().zip(&found[1]).enumerate() {
            let [word, _] = threefry(key, [k as u32, stream]);
            assert_eq!(*uniform, (f64::from(word >> 9) + 0.5) / f64::from(1 << 23));
            assert_eq!(*whole, f64::from(word % [28, 5][k % 2]));
        }
        // Neither another step nor another stream nor another purpose has the same.
        let of = |step, stream| {
            at(step, |g, keyed| vec![keyed.normal(g, stream, &[64]), keyed.deviations(g, stream, &[64])])
        };
        let (first, others) = (of(7, 3), [of(8, 3), of(7, 2)]);
        assert_ne!(first[0], first[1]);
        assert!(others.iter().all(|other| other[0] != first[0] && other[1] != first[1]));
    }
}
