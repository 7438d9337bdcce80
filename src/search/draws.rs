//! Randomness as a tape: a searcher takes its draws in a stated order, so that those of a reference can be put in their
//! place.

use std::collections::VecDeque;

use crate::rng::{Purpose, Stream, split_seed, stream_key};

/// Where draws come from.
pub trait Draws {
    /// Uniform in the open interval (0, 1).
    fn uniform(&mut self) -> f64;

    /// Standard normal.
    fn normal(&mut self) -> f64;

    /// One of 0..n, each equally likely.
    fn below(&mut self, n: usize) -> usize;
}

/// What of a trial draws are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The choice of its point.
    Point,
    /// Its place among the brackets of a schedule.
    Bracket,
    /// What it becomes after so many steps.
    Step(u64),
}

impl Occasion {
    fn number(self) -> u32 {
        match self {
            Occasion::Point => 0,
            Occasion::Bracket => 1,
            Occasion::Step(step) => (step as u32).wrapping_add(2),
        }
    }
}

/// The stream of a trial on an occasion: Threefry keyed by seed, trial and occasion.
pub fn stream(seed: u64, trial: u64, occasion: Occasion) -> Stream {
    let [low, high] = stream_key(split_seed(seed), Purpose::Search, trial as u32);
    Stream::new(u64::from(high) << 32 | u64::from(low), Purpose::Search, occasion.number())
}

impl Draws for Stream {
    fn uniform(&mut self) -> f64 {
        Stream::uniform(self)
    }

    fn normal(&mut self) -> f64 {
        Stream::normal(self)
    }

    fn below(&mut self, n: usize) -> usize {
        // A uniform draw is below one, but its product with n may round up to n.
        ((n as f64 * Stream::uniform(self)) as usize).min(n - 1)
    }
}

/// A draw that was recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    /// Of [`Draws::uniform`].
    Uniform(f64),
    /// Of [`Draws::normal`].
    Normal(f64),
    /// Of [`Draws::below`], with its n.
    Below(usize, usize),
}

/// Draws that were recorded, to be taken in their order and in their kinds.
#[derive(Clone, Debug, Default)]
pub struct Tape(VecDeque<Draw>);

impl Tape {
    /// Of these draws.
    pub fn new(draws: impl IntoIterator<Item = Draw>) -> Self {
        Tape(draws.into_iter().collect())
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.0.len()
    }

    /// # Panics
    /// If there is none.
    fn next(&mut self) -> Draw {
        self.0.pop_front().expect("the tape has come to its end")
    }
}

/// # Panics
/// If another kind of draw stands next on the tape, or none.
impl Draws for Tape {
    fn uniform(&mut self) -> f64 {
        match self.next() {
            Draw::Uniform(value) => value,
            other => panic!("a uniform draw is wanted where the tape has {other:?}"),
        }
    }

    fn normal(&mut self) -> f64 {
        match self.next() {
            Draw::Normal(value) => value,
            other => panic!("a normal draw is wanted where the tape has {other:?}"),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        match self.next() {
            Draw::Below(of, value) if of == n => value,
            other => panic!("one of {n} is wanted where the tape has {other:?}"),
        }
    }
}

/// The place of a share of all weights: the first whose sum with those before it exceeds it, and of what rounding leaves
/// over the last that has any.
pub(super) fn chosen(weights: &[f64], share: f64) -> usize {
    let mut left = weights.iter().sum::<f64>() * share;
    let mut reaches = |weight: &f64| {
        left -= weight;
        left < 0.0
    };
    let last = weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
    weights.iter().position(&mut reaches).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_trial_and_occasion() {
        let first = |seed, trial, occasion| stream(seed, trial, occasion).uniform();
        let all = [
            first(1, 0, Occasion::Point),
            first(2, 0, Occasion::Point),
            first(1, 1, Occasion::Point),
            first(1, 0, Occasion::Bracket),
            first(1, 0, Occasion::Step(0)),
            first(1, 0, Occasion::Step(1)),
        ];
        assert_eq!(all[0], first(1, 0, Occasion::Point));
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b), "{all:?}");
        }
        let mut draws = stream(3, 3, Occasion::Point);
        let mut counts = [0; 5];
        (0..5000).for_each(|_| counts[draws.below(5)] += 1);
        // Within five standard deviations of 1000.
        assert!(counts.iter().all(|count: &i32| (count - 1000).abs() < 142), "{counts:?}");
    }

    #[test]
    fn shares_choose_by_weight_and_never_what_has_none() {
        let weights = [0.0, 1.0, 3.0, 0.0];
        assert_eq!([0.0, 0.2, 0.26, 0.999, 1.0].map(|share| chosen(&weights, share)), [1, 1, 2, 2, 2]);
    }
}
