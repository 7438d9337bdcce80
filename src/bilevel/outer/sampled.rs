//! Search without hypergradients: points at random, evenly spread, or where a Gaussian process expects the most.

use serde::{Deserialize, Serialize};

use super::OuterOptimizer;
use super::variables::Variables;
use crate::gp::{Gp, Observation, Points};
use crate::rng::{Purpose, Stream};

/// How points are chosen within the [ranges](crate::bilevel::hyperparameters::Row::range) of the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Evenly by chance.
    Random,
    /// By the Sobol sequence, shifted by the seed.
    Sobol,
    /// By the expected improvement of a Gaussian process, after so many Sobol points as Optuna has random ones.
    Gp,
}

/// Points before the first that a Gaussian process chooses, the start among them (Optuna 5.0.0's `GPSampler`).
const BEGINNING: usize = 10;

/// Search by trainings alone, from the start values on. Variables are looked for between the unconstrained ends of their
/// kinds' ranges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    variables: Variables,
    source: Source,
    seed: u64,
    /// Every point so far, in shares of the ranges, with its loss; of one that diverged there is none.
    seen: Vec<(Vec<f64>, Option<f64>)>,
}

impl Sampled {
    /// For these variables; what is drawn is the seed's.
    ///
    /// # Panics
    /// If there are more than 100 variables and the source is not [`Source::Random`].
    pub fn new(variables: Variables, source: Source, seed: u64) -> Self {
        assert!(source == Source::Random || variables.len() <= 100, "a sequence has at most 100 coordinates");
        Sampled { variables, source, seed, seen: vec![] }
    }

    /// What it moves.
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// The ends between which each variable is looked for.
    fn ranges(&self) -> impl Iterator<Item = [f64; 2]> {
        self.variables.each().map(|moved| {
            let row = moved.kind.row();
            row.range.map(|end| row.transform.unconstrain(end))
        })
    }

    /// The next point, in shares of the ranges.
    fn propose(&self) -> Vec<f64> {
        let (count, dimensions) = (self.seen.len(), self.variables.len());
        let stream = |number: usize| Stream::new(self.seed, Purpose::Outer, number as u32);
        match self.source {
            Source::Random => {
                let mut stream = stream(count);
                (0..dimensions).map(|_| stream.uniform()).collect()
            }
            Source::Gp if count >= BEGINNING => {
                let seen = self
                    .seen
                    .iter()
                    .map(|(point, loss)| Observation { point: point.clone(), value: loss.unwrap_or(f64::NAN) });
                Gp::fit(&seen.collect::<Vec<_>>(), None).propose(&mut stream(count))
            }
            // The start is the first point, and the sequence's first the second.
            Source::Sobol | Source::Gp => {
                let mut points = Points::shifted(dimensions, &mut stream(0));
                points.nth(count - 1).expect("a sequence of four thousand million points")
            }
        }
    }
}

impl OuterOptimizer for Sampled {
    fn differentiates(&self) -> bool {
        false
    }

    fn step(&mut self, variables: &mut [f64], loss: f64, _: &[f64]) -> bool {
        let best = self.seen.iter().filter_map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
        let shares = variables.iter().zip(self.ranges()).map(|(u, [from, to])| (u - from) / (to - from)).collect();
        self.seen.push((shares, Some(loss).filter(|loss| loss.is_finite())));
        let next: Vec<f64> = self.propose().iter().zip(self.ranges()).map(|(x, [a, b])| a + x * (b - a)).collect();
        variables.copy_from_slice(&next);
        loss < best
    }
}

#[cfg(test)]
mod tests {
    use super::super::variables::Moved;
    use super::*;
    use crate::bilevel::hyperparameters::Kind;

    fn of(source: Source) -> Sampled {
        let moved = [Kind::Lr, Kind::Momentum].map(|kind| Moved { kind, count: 1, rate: 0.4 });
        Sampled::new(Variables::new(moved.to_vec(), &[]), source, 5)
    }

    /// A bowl with its bottom at a learning rate of 0.02 and a momentum of 0.8, and a cliff.
    fn bowl(u: &[f64]) -> f64 {
        let [lr, momentum] = [u[0] - 0.02f64.ln(), u[1] - 4.0f64.ln()];
        if u[0] > -1.5 { f64::NAN } else { lr * lr + 0.5 * momentum * momentum }
    }

    fn run(sampled: &mut Sampled, points: usize) -> Vec<(Vec<f64>, f64)> {
        let mut u = vec![0.001f64.ln(), 0.0];
        let mut all = vec![];
        for _ in 0..points {
            let loss = bowl(&u);
            all.push((u.clone(), loss));
            sampled.step(&mut u, loss, &[]);
        }
        all
    }

    #[test]
    fn points_lie_within_the_ranges_and_are_the_seeds() {
        for source in [Source::Random, Source::Sobol, Source::Gp] {
            let all = run(&mut of(source), 24);
            let points = |all: &[(Vec<f64>, f64)]| all.iter().map(|(u, _)| u.clone()).collect::<Vec<_>>();
            assert_eq!(points(&all), points(&run(&mut of(source), 24)), "{source:?}");
            for (u, _) in &all[1..] {
                let within = |k: usize, kind: Kind| {
                    let row = kind.row();
                    let [from, to] = row.range.map(|end| row.transform.unconstrain(end));
                    (from - 1e-12..=to + 1e-12).contains(&u[k])
                };
                assert!(within(0, Kind::Lr) && within(1, Kind::Momentum), "{source:?} {u:?}");
            }
        }
    }

    #[test]
    fn a_gaussian_process_finds_the_bottom_of_a_bowl() {
        let best = |source| run(&mut of(source), 30).iter().map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
        let [random, sobol, gp] = [Source::Random, Source::Sobol, Source::Gp].map(best);
        assert!(gp < 1e-3 && gp < 0.1 * random.min(sobol), "{random} {sobol} {gp}");
    }

    #[test]
    fn a_resumed_search_goes_on_bit_for_bit() {
        for source in [Source::Random, Source::Sobol, Source::Gp] {
            let mut whole = of(source);
            run(&mut whole, 14);
            let mut parts = of(source);
            let mut u = vec![0.001f64.ln(), 0.0];
            for _ in 0..14 {
                parts = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
                let loss = bowl(&u);
                parts.step(&mut u, loss, &[]);
            }
            assert_eq!(whole, parts, "{source:?}");
        }
    }
}
