//! How much of the differences between trials is due to each dimension: functional analysis of variance (Hutter et al. 2014)
//! of a forest.

use super::draws::{Occasion, stream};
use super::forest::{Forest, Leaves, Shape, Tree};
use super::history::{History, finite};
use super::space::Space;

/// Trees of the forest.
const TREES: usize = 64;

/// Fewer trials say nothing.
const FEWEST: usize = 8;

/// What a study tells of its dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Importances {
    /// The steps after which trials are compared: those that most of them have reached.
    pub step: u64,
    /// Trials that have.
    pub trials: usize,
    /// For each dimension the share of the variance that is due to it alone. What is left to 1 is due to several together.
    pub shares: Vec<f64>,
}

/// The importance of each dimension; none where too few trials have a value, or all have the same.
pub fn importances(space: &Space, history: &History) -> Option<Importances> {
    let mut steps: Vec<u64> = history.trials().iter().flat_map(|t| t.reports.iter().map(|r| r.step)).collect();
    steps.sort_unstable();
    steps.dedup();
    let reached = |step: u64| history.trials().iter().filter(|trial| trial.value_at(step).is_some()).count();
    let step = steps.into_iter().max_by_key(|step| reached(*step))?;
    let there = history.trials().iter().filter_map(|trial| Some((trial, finite(trial.value_at(step)?))));
    // Where a trial began is what it was: what it took over came later.
    let (points, values): (Vec<Vec<f64>>, Vec<f64>) =
        there.map(|(trial, value)| (space.units(&trial.begun), value)).unzip();
    let worst = values.iter().copied().filter(|value| value.is_finite()).fold(f64::NEG_INFINITY, f64::max);
    if values.len() < FEWEST || worst == f64::NEG_INFINITY {
        return None;
    }
    // What diverged is as bad as the worst that did not.
    let values: Vec<f64> = values.into_iter().map(|value| value.min(worst)).collect();
    let shape = Shape { leaves: Leaves::Mean, in_leaf: 1, ..Shape::smac(space.len()) };
    let forest = Forest::new(TREES, shape, &points, &values, &mut stream(0, 0, Occasion::Point));
    let shares: Vec<Vec<f64>> = forest.trees().iter().filter_map(|tree| main_effects(tree, space.len())).collect();
    let mean = |j: usize| shares.iter().map(|of_tree| of_tree[j]).sum::<f64>() / shares.len() as f64;
    let trials = values.len();
    (!shares.is_empty()).then(|| Importances { step, trials, shares: (0..space.len()).map(mean).collect() })
}

/// The share of a tree's variance over the unit cube that each feature has by itself; none of a tree that is the same
/// everywhere.
pub fn main_effects(tree: &Tree, features: usize) -> Option<Vec<f64>> {
    let boxes = tree.boxes(features);
    let volume = |sides: &[[f64; 2]]| sides.iter().map(|[low, high]| high - low).product::<f64>();
    let mean: f64 = boxes.iter().map(|(sides, value)| value * volume(sides)).sum();
    let variance: f64 = boxes.iter().map(|(sides, value)| (value - mean).powi(2) * volume(sides)).sum();
    if variance <= 0.0 {
        return None;
    }
    let effect = |j: usize| {
        let mut cuts: Vec<f64> = boxes.iter().flat_map(|(sides, _)| sides[j]).collect();
        cuts.sort_by(f64::total_cmp);
        cuts.dedup();
        let between = cuts.windows(2).map(|pair| {
            let (width, middle) = (pair[1] - pair[0], 0.5 * (pair[0] + pair[1]));
            let there = boxes.iter().filter(|(sides, _)| sides[j][0] < middle && middle < sides[j][1]);
            let marginal: f64 = there.map(|(sides, value)| value * volume(sides) / (sides[j][1] - sides[j][0])).sum();
            width * (marginal - mean).powi(2)
        });
        between.sum::<f64>() / variance
    };
    Some((0..features).map(effect).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Dimension, Domain};

    fn space(count: usize) -> Space {
        let float = Domain::Float { low: 0.0, high: 1.0, log: false, step: None };
        let dimension =
            |k: usize| Dimension { name: format!("x{k}"), domain: float.clone(), when: None, structural: false };
        Space::new((0..count).map(dimension).collect()).unwrap()
    }

    /// Of f = 4 [a > ½] + 2 [b > ½] the variance is 4 + 1, of which each has its own; of [a > ½] = [b > ½] none has any.
    #[test]
    fn a_tree_divides_its_variance_as_the_formula_does() {
        let corners = [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]].map(|corner| corner.to_vec());
        let shape = Shape { leaves: Leaves::Mean, ..Shape::facade(2) };
        let tree =
            |values: [f64; 4]| Tree::new(shape, &corners, &values, &[1.0; 4], &mut stream(0, 0, Occasion::Point));
        let shares = main_effects(&tree([0.0, 2.0, 4.0, 6.0]), 2).unwrap();
        assert!((shares[0] - 0.8).abs() < 1e-12 && (shares[1] - 0.2).abs() < 1e-12, "{shares:?}");
        assert_eq!(main_effects(&tree([1.0; 4]), 2), None);
    }

    #[test]
    fn what_matters_is_found() {
        let space = space(3);
        let point = |k: usize| space.at(&[0.618, 0.414, 0.732].map(|step: f64| (step * (k + 1) as f64).fract()));
        let value = |k: usize| {
            let point = point(k);
            10.0 * point.get(1).unwrap() + point.get(0).unwrap()
        };
        let history = |count: usize| History::of((0..count).map(|k| (point(k), 3, value(k))));
        let found = importances(&space, &history(60)).unwrap();
        assert_eq!((found.step, found.trials), (3, 60));
        assert!(found.shares[1] > 0.8 && found.shares[2] < 0.1, "{found:?}");
        assert!(found.shares.iter().sum::<f64>() <= 1.0 + 1e-9);
        assert_eq!(importances(&space, &history(FEWEST - 1)), None);
    }
}
