//! Plain outer optimisers: every point is taken. (`outer` has the one that takes steps back.)

use serde::{Deserialize, Serialize};

use super::OuterOptimizer;
use super::adam::{Adam, Moments};

/// How the outer variables move.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// u ← u − rate · h.
    GradientDescent,
    /// Adam, its direction scaled by the rate.
    Adam(Adam),
}

/// An optimiser with its memory, which is all that a resumed run needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Descent {
    rule: Rule,
    rate: f64,
    moments: Moments,
}

impl Descent {
    /// For so many variables.
    pub fn new(rule: Rule, rate: f64, variables: usize) -> Self {
        let moments = Moments::new(if rule == Rule::GradientDescent { 0 } else { variables });
        Descent { rule, rate, moments }
    }
}

/// Every point is taken.
impl OuterOptimizer for Descent {
    fn step(&mut self, variables: &mut [f64], _loss: f64, hypergradient: &[f64]) -> bool {
        let Rule::Adam(adam) = self.rule else {
            variables.iter_mut().zip(hypergradient).for_each(|(u, h)| *u -= self.rate * h);
            return true;
        };
        self.moments.update(adam, hypergradient, 1.0);
        for (k, u) in variables.iter_mut().enumerate() {
            *u -= self.rate * self.moments.direction(adam, k);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_steps_are_known() {
        let mut u = [1.0, -2.0];
        Descent::new(Rule::GradientDescent, 0.5, 2).step(&mut u, 0.0, &[0.2, 4.0]);
        assert_eq!(u, [0.9, -4.0]);
        // Adam's first step is the rate against the sign of the derivative.
        let mut adam = Descent::new(Rule::Adam(Adam::USUAL), 0.1, 2);
        let mut u = [1.0, -2.0];
        adam.step(&mut u, 0.0, &[3.0, -1e-3]);
        assert!((u[0] - 0.9).abs() < 1e-9 && (u[1] + 1.9).abs() < 1e-5, "{u:?}");
    }

    #[test]
    fn a_resumed_run_goes_on_bit_for_bit() {
        let mut adam = Descent::new(Rule::Adam(Adam::USUAL), 0.1, 1);
        let mut u = [1.0f64];
        for _ in 0..5 {
            let h = [2.0 * u[0].sin()];
            adam.step(&mut u, 0.0, &h);
        }
        let (text, kept) = (serde_json::to_string(&adam).unwrap(), u);
        for _ in 0..5 {
            let h = [2.0 * u[0].sin()];
            adam.step(&mut u, 0.0, &h);
        }
        let mut resumed: Descent = serde_json::from_str(&text).unwrap();
        let mut v = kept;
        for _ in 0..5 {
            let h = [2.0 * v[0].sin()];
            resumed.step(&mut v, 0.0, &h);
        }
        assert!(resumed == adam && u[0].to_bits() == v[0].to_bits());
    }
}
