//! Where to look next: the point with the highest logarithm of the expected improvement.

use super::bfgs::Search;
use super::kernel::Coordinate;
use super::model::Gp;
use super::sobol::Points;
use crate::rng::Stream;

/// Points that are looked at before the searches begin.
const CANDIDATES: usize = 2048;

/// Searches from points drawn among them, besides those from the best point and from the incumbent.
const DRAWN: usize = 8;

/// The least variance that improvements are expected with.
const LEAST_VARIANCE: f64 = 1e-12;

impl Gp {
    /// The logarithm of the expected improvement on the lowest value so far, in standardised units.
    pub fn log_ei(&self, x: &[f64]) -> f64 {
        let belief = self.belief(x);
        let deviation = belief.variance.max(LEAST_VARIANCE).sqrt();
        standard_log_ei((belief.mean - self.incumbent().1) / deviation) + deviation.ln()
    }

    /// Its value and gradient, both negated for a search that minimises.
    fn negated_log_ei(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let belief = self.belief(x);
        let deviation = belief.variance.max(LEAST_VARIANCE).sqrt();
        let z = (belief.mean - self.incumbent().1) / deviation;
        let varies = belief.variance > LEAST_VARIANCE;
        let (by_mean, by_variance) = self.slopes(x, belief);
        let log_ei = standard_log_ei(z);
        let rate = slope(z, log_ei);
        let along = |(mean, variance): (f64, f64)| {
            let widening = if varies { variance / (2.0 * deviation * deviation) } else { 0.0 };
            -(rate * (mean / deviation - z * widening) + widening)
        };
        (-log_ei - deviation.ln(), by_mean.into_iter().zip(by_variance).map(along).collect())
    }

    /// The next point of the unit cube to look at: the best of many points and of searches from some of them. Coordinates
    /// that are not dense have one of their values.
    pub fn propose(&self, draws: &mut Stream) -> Vec<f64> {
        let (incumbent, _) = self.incumbent();
        let mut candidates: Vec<Vec<f64>> =
            Points::shifted(incumbent.len(), draws).take(CANDIDATES).map(|x| self.snapped(x)).collect();
        let scores: Vec<f64> = candidates.iter().map(|x| self.log_ei(x)).collect();
        let starts = promising(&scores, draws);
        let starts = starts.into_iter().map(|i| std::mem::take(&mut candidates[i])).chain([incumbent.to_vec()]);
        let found = starts.map(|start| self.search(start));
        found.min_by(|(_, a), (_, b)| a.total_cmp(b)).expect("the incumbent").0
    }

    /// A point of the cube with the values that its coordinates can have.
    fn snapped(&self, mut x: Vec<f64>) -> Vec<f64> {
        for (x, coordinate) in x.iter_mut().zip(self.coordinates()) {
            match coordinate {
                Coordinate::Dense => {}
                Coordinate::Levels(levels) => *x = nearest(levels, *x),
                Coordinate::Category(count) => *x = (*x * *count as f64).floor().min(*count as f64 - 1.0),
            }
        }
        x
    }

    /// The end of a search, with the negated acquisition there: sweeps over the dense coordinates together and over each of
    /// the others, until none leads further.
    fn search(&self, start: Vec<f64>) -> (Vec<f64>, f64) {
        let metric = &self.parameters().inverse_squares;
        let dense: Vec<usize> =
            (0..start.len()).filter(|&j| self.coordinates().get(j).is_none_or(|c| *c == Coordinate::Dense)).collect();
        let along: Vec<f64> = dense.iter().map(|&j| metric[j]).collect();
        let search = Search { bounds: (0.0, 1.0), metric: &along, tolerance: TOLERANCE, steps: SWEEPS };
        let (mut x, mut value) = (start, f64::INFINITY);
        for _ in 0..SWEEPS {
            let before = value;
            if dense.is_empty() {
                value = -self.log_ei(&x);
            } else {
                let part: Vec<f64> = dense.iter().map(|&j| x[j]).collect();
                let with = |part: &[f64]| {
                    let mut whole = x.clone();
                    dense.iter().zip(part).for_each(|(&j, value)| whole[j] = *value);
                    whole
                };
                let negated = |part: &[f64]| {
                    let (value, slopes) = self.negated_log_ei(&with(part));
                    (value, dense.iter().map(|&j| slopes[j]).collect())
                };
                let (part, there) = search.minimize(negated, &part);
                (x, value) = (with(&part), there);
            }
            for (j, coordinate) in self.coordinates().iter().enumerate() {
                let values: Vec<f64> = match coordinate {
                    Coordinate::Dense => continue,
                    Coordinate::Levels(levels) => tried(levels, x[j]),
                    Coordinate::Category(count) => (0..*count).map(|k| k as f64).collect(),
                };
                for other in values {
                    let mut next = x.clone();
                    next[j] = other;
                    let there = -self.log_ei(&next);
                    if there < value {
                        (x, value) = (next, there);
                    }
                }
            }
            if dense.len() == x.len() || before - value <= TOLERANCE {
                break;
            }
        }
        (x, value)
    }
}

/// Where a search ends: slopes, in units of length scales, and what a sweep brings.
const TOLERANCE: f64 = 1e-4;

/// Sweeps of a search, and steps of each of them over what is dense.
const SWEEPS: usize = 100;

/// Levels that are all tried in each sweep; of more, those a power of two away.
const ALL_LEVELS: usize = 16;

/// The level nearest to a number; of two as near the lower.
fn nearest(levels: &[f64], x: f64) -> f64 {
    let above = levels.partition_point(|level| *level < x);
    let sides = [above.checked_sub(1), Some(above)].into_iter().flatten().filter_map(|k| levels.get(k).copied());
    sides.reduce(|a, b| if (b - x).abs() < (a - x).abs() { b } else { a }).unwrap_or(x)
}

/// The levels that a sweep tries from one of them on.
fn tried(levels: &[f64], from: f64) -> Vec<f64> {
    if levels.len() <= ALL_LEVELS {
        return levels.to_vec();
    }
    let here = levels.partition_point(|level| *level < from);
    let steps = std::iter::successors(Some(1), |step| Some(2 * step)).take_while(|step| *step < levels.len());
    let places = steps.flat_map(|step| [here.checked_sub(step), Some(here + step)]);
    places.flatten().filter_map(|k| levels.get(k).copied()).collect()
}

/// The place of the highest score, then of some drawn among the others, with probability proportional to their
/// exponential.
fn promising(scores: &[f64], draws: &mut Stream) -> Vec<usize> {
    let best = (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
    let mut chances: Vec<f64> = scores.iter().map(|score| (score - scores[best]).exp()).collect();
    let mut chosen = vec![best];
    for _ in 0..DRAWN {
        chances[chosen[chosen.len() - 1]] = 0.0;
        let mut left = chances.iter().sum::<f64>() * draws.uniform();
        // What rounding leaves over goes to the last one that has a chance.
        let Some(last) = chances.iter().rposition(|chance| *chance > 0.0) else { break };
        let mut reaches = |chance: &f64| {
            left -= chance;
            left < 0.0
        };
        chosen.push(chances.iter().position(&mut reaches).unwrap_or(last));
    }
    chosen
}

/// ln(φ(z) + z Φ(z)), the logarithm of the expected improvement where the standardised mean lies z deviations above the
/// best value; also far out, where φ and Φ are no numbers any more.
pub fn standard_log_ei(z: f64) -> f64 {
    if z < FAR {
        -0.5 * z * z - HALF_LOG_TAU - 2.0 * (-z).ln() + tail(z).ln()
    } else {
        (density(z) + z * below(z)).ln()
    }
}

/// Its derivative Φ(z)/(φ(z) + z Φ(z)), given its value.
fn slope(z: f64, log_ei: f64) -> f64 {
    if z < FAR { -z * (1.0 / tail(z) - 1.0 / (z * z)) } else { below(z) / log_ei.exp() }
}

/// Below this, series take the place of differences.
const FAR: f64 = -25.0;

/// ln √(2π).
const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_8;

/// The standard normal density.
fn density(z: f64) -> f64 {
    (-0.5 * z * z - HALF_LOG_TAU).exp()
}

/// The standard normal distribution function.
fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// z² (1 + z Φ(z)/φ(z)) far below zero: 1 − 3/z² + 3·5/z⁴ − 3·5·7/z⁶ + …
fn tail(z: f64) -> f64 {
    (1..=8).rev().fold(1.0, |sum, k| 1.0 - f64::from(2 * k + 1) / (z * z) * sum)
}

#[cfg(test)]
mod tests {
    use super::super::observations::Observation;
    use super::*;
    use crate::rng::Purpose;

    #[test]
    fn the_series_takes_over_without_a_step_and_slopes_are_those_of_the_values() {
        let (before, after) = (standard_log_ei(FAR), standard_log_ei(FAR.next_down()));
        assert!((before / after - 1.0).abs() < 1e-12, "{before} {after}");
        for z in [-1e6, -300.0, -40.0, -25.5, -24.5, -10.0, -1.0, 0.0, 2.0, 9.0] {
            let h = 1e-5 * f64::max(1.0, f64::abs(z));
            let difference = (standard_log_ei(z + h) - standard_log_ei(z - h)) / (2.0 * h);
            let rate = slope(z, standard_log_ei(z));
            assert!((rate - difference).abs() < 1e-6 * rate.abs(), "at {z}: {rate}, by differences {difference}");
        }
    }

    #[test]
    fn drawn_starts_are_other_ones_and_those_without_a_chance_are_left_out() {
        let mut scores = vec![-2000.0; 50];
        scores[7] = -1.0;
        scores[9] = 0.0;
        let mut draws = Stream::new(1, Purpose::Search, 0);
        assert_eq!(promising(&scores, &mut draws), [9, 7]);
        let mut chosen = promising(&vec![0.5; 50], &mut draws);
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 1 + DRAWN);
    }

    #[test]
    fn the_gradient_is_that_of_the_acquisition() {
        let seen = Points::new(3).skip(1).take(15).map(|point| {
            let value = (3.0 * point[0]).sin() + point[1] * point[2];
            Observation { point, value }
        });
        let gp = Gp::fit(&seen.collect::<Vec<_>>(), None);
        for x in Points::new(3).skip(40).take(5) {
            let (value, gradient) = gp.negated_log_ei(&x);
            assert_eq!(value, -gp.log_ei(&x));
            for j in 0..3 {
                let at = |h: f64| {
                    let mut y = x.clone();
                    y[j] += h;
                    -gp.log_ei(&y)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    (gradient[j] - difference).abs() < 1e-5 * (1.0 + difference.abs()),
                    "{} {difference}",
                    gradient[j]
                );
            }
        }
    }
}
