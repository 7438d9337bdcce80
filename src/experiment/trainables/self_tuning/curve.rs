//! How a training has gone, as numbers by name.

use serde::{Deserialize, Serialize};

use crate::experiment::record::Named;

/// A judgement on the validation examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    /// Tuning steps before it.
    pub step: u32,
    pub validation_loss: f64,
    pub validation_accuracy: f64,
}

/// A name with the step that a value belongs to.
fn at(name: &str, step: usize) -> String {
    format!("{name}.{step:04}")
}

/// The judgements, each with its step, and the last one.
pub(super) fn named_points(points: &[Point]) -> Named {
    let of = |point: &Point| {
        [("validation_loss", point.validation_loss), ("validation_accuracy", point.validation_accuracy)]
    };
    let curve = points.iter().flat_map(|p| of(p).map(|(name, value)| (at(name, p.step as usize), value)));
    let last = points.last().into_iter().flat_map(|p| of(p).map(|(name, value)| (name.to_owned(), value)));
    curve.chain(last).collect()
}

/// Near its last value: within this share of it.
const NEAR: f64 = 0.1;

/// The values of a hyperparameter from its start on, after each step: each `every`-th, the last one, the step from which
/// on it stays near that, and how often it turned on the way.
pub(super) fn course(name: &str, values: &[f64], every: usize) -> Named {
    let last = values[values.len() - 1];
    let mut named: Named = values.iter().enumerate().step_by(every).map(|(k, &value)| (at(name, k), value)).collect();
    named.insert(name.to_owned(), last);
    let is_near = |value: &f64| (value - last).abs() <= NEAR * last.abs();
    let settled = values.iter().rposition(|value| !is_near(value)).map_or(0, |before| before + 1);
    let moves: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).filter(|&change| change != 0.0).collect();
    let turns = moves.windows(2).filter(|pair| (pair[0] > 0.0) != (pair[1] > 0.0)).count();
    named.insert(format!("settled.{name}"), settled as f64);
    named.insert(format!("turns.{name}"), turns as f64);
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_says_when_it_settles_and_how_often_it_turns() {
        let values = [0.5, 0.8, 0.4, 1.05, 1.0, 1.0, 1.02, 1.0];
        let named = course("rate", &values, 3);
        assert_eq!(named["rate"], 1.0);
        assert_eq!((named["rate.0000"], named["rate.0003"], named["rate.0006"]), (0.5, 1.05, 1.02));
        assert_eq!((named["settled.rate"], named["turns.rate"]), (3.0, 5.0));
        assert!(!named.contains_key("rate.0001"));
        let still = course("rate", &[0.3; 4], 2);
        assert_eq!((still["settled.rate"], still["turns.rate"]), (0.0, 0.0));
    }
}
