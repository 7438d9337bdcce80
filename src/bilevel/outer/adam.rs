//! Adam's memory, shared by the outer optimisers.

use serde::{Deserialize, Serialize};

/// Decay rates and ε, which stands outside the root.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Decay rate β₁ of the mean of derivatives, from 0 and below 1.
    pub beta1: f64,
    /// Decay rate β₂ of the mean of their squares, from 0 and below 1.
    pub beta2: f64,
    /// ε, above 0.
    pub epsilon: f64,
}

impl Adam {
    /// The published values.
    pub const USUAL: Adam = Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
}

/// Running means of derivatives and of their squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Moments {
    first: Vec<f64>,
    second: Vec<f64>,
    /// 1 − βᵗ for either.
    corrections: [f64; 2],
}

impl Moments {
    pub fn new(variables: usize) -> Self {
        Moments { first: vec![0.0; variables], second: vec![0.0; variables], corrections: [0.0; 2] }
    }

    /// Takes in a hypergradient, times a factor.
    pub fn update(&mut self, adam: Adam, hypergradient: &[f64], factor: f64) {
        let average = |beta: f64, old: f64, new: f64| beta * old + (1.0 - beta) * new;
        let [c1, c2] = self.corrections;
        self.corrections = [average(adam.beta1, c1, 1.0), average(adam.beta2, c2, 1.0)];
        for ((m, v), h) in self.first.iter_mut().zip(&mut self.second).zip(hypergradient) {
            let h = factor * h;
            *m = average(adam.beta1, *m, h);
            *v = average(adam.beta2, *v, h * h);
        }
    }

    /// What a variable moves against, times its rate.
    pub fn direction(&self, adam: Adam, variable: usize) -> f64 {
        let [c1, c2] = self.corrections;
        self.first[variable] / c1 / ((self.second[variable] / c2).sqrt() + adam.epsilon)
    }

    /// Root mean square of the hypergradients' lengths; 0 before there is one.
    pub fn usual_length(&self) -> f64 {
        let squares: f64 = self.second.iter().sum();
        if squares == 0.0 { 0.0 } else { (squares / self.corrections[1]).sqrt() }
    }
}
