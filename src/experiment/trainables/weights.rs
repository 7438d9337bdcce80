//! First weights as PyTorch draws them.

use crate::nn::Model;
use crate::rng::{Purpose, Stream};

/// Weights and biases, uniform between ∓ 1 / √(inputs of a unit); `number` tells apart several vectors of one seed.
pub(super) fn uniform(model: &Model, seed: u64, number: u32) -> Vec<f32> {
    let mut stream = Stream::new(seed, Purpose::Init, number);
    let mut inputs = 0;
    let mut weights = vec![];
    for parameter in model.parameters() {
        // A layer's kernel comes before its bias.
        if parameter.is_kernel() {
            inputs = parameter.shape[..parameter.shape.len() - 1].iter().product();
        }
        let bound = 1.0 / (inputs as f64).sqrt();
        weights.extend((0..parameter.len()).map(|_| ((2.0 * stream.uniform() - 1.0) * bound) as f32));
    }
    weights
}
