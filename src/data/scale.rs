//! The scale of examples, channel by channel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is taken off the values of each channel and by what the rest is divided, in the channels' units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Standardizer {
    /// Mean of each channel; its least value where examples reach from 0 to 1.
    pub mean: Vec<f32>,
    /// Population standard deviation of each channel; its range where examples reach from 0 to 1.
    pub std: Vec<f32>,
}

impl Standardizer {
    /// Leaves values as they are.
    pub fn identity(channels: usize) -> Standardizer {
        Standardizer { mean: vec![0.0; channels], std: vec![1.0; channels] }
    }

    /// Scales values whose last axis is the channel.
    pub fn apply(&self, x: &mut [f32]) {
        for row in x.chunks_exact_mut(self.mean.len()) {
            for ((value, mean), std) in row.iter_mut().zip(&self.mean).zip(&self.std) {
                *value = (*value - mean) / std;
            }
        }
    }

    /// What is wrong with it as a scale of bytes in so many channels: besides, what they stand for may overflow.
    pub(crate) fn wrong_of_bytes(&self, channels: usize) -> Option<String> {
        self.wrong(channels).or_else(|| {
            let overflows = |byte: f32| {
                let mut ends = vec![byte; channels];
                self.apply(&mut ends);
                ends.iter().position(|value| !value.is_finite())
            };
            let at = [0.0, 255.0].into_iter().find_map(overflows)?;
            let (mean, std) = (self.mean[at], self.std[at]);
            Some(format!(
                "the scale takes {mean} off channel {at} and divides by {std}, which makes some bytes infinite"
            ))
        })
    }

    /// What is wrong with it as a scale of so many channels.
    pub(crate) fn wrong(&self, channels: usize) -> Option<String> {
        let Standardizer { mean, std } = self;
        if [mean.len(), std.len()] != [channels; 2] {
            return Some(format!(
                "the scale is of {} channels, and examples have {channels}",
                mean.len().max(std.len())
            ));
        }
        let wrong = |&c: &usize| !mean[c].is_finite() || !std[c].is_normal();
        let at = (0..channels).find(wrong)?;
        let (mean, std) = (mean[at], std[at]);
        Some(format!(
            "the scale takes {mean} off channel {at} and divides by {std}; both must be finite, and the second not 0"
        ))
    }
}
