//! Scales that suit a data set.

use super::{DataError, Dataset, Examples, Standardizer};

impl Standardizer {
    /// Mean and standard deviation of each channel over all examples, computed in f64 in two passes. Of bytes it is that
    /// of the bytes.
    pub fn fit(data: &Dataset) -> Result<Standardizer, DataError> {
        let average = |of: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
            let (mut sums, mut rows) = (vec![0.0; data.about().channels.len()], 0.0);
            each_row(data, |row| {
                rows += 1.0;
                sums.iter_mut().zip(row).enumerate().for_each(|(c, (sum, &v))| *sum += of(c, f64::from(v)));
            });
            sums.iter().map(|sum| sum / rows).collect()
        };
        let mean = average(&|_, v| v);
        let std = average(&|c, v| (v - mean[c]).powi(2)).iter().map(|v| v.sqrt() as f32).collect::<Vec<f32>>();
        // A constant leaves rounding errors of the mean behind, not exactly zero.
        let flat = |c: usize| std[c] <= 1e-6 * (mean[c].abs() as f32) || std[c] == 0.0;
        not_constant(data, flat)?;
        Ok(Standardizer { mean: mean.iter().map(|&m| m as f32).collect(), std })
    }

    /// Least value and range of each channel over all examples.
    pub fn of_range(data: &Dataset) -> Result<Standardizer, DataError> {
        let channels = data.about().channels.len();
        let (mut least, mut largest) = (vec![f32::INFINITY; channels], vec![f32::NEG_INFINITY; channels]);
        each_row(data, |row| {
            for (c, &value) in row.iter().enumerate() {
                least[c] = least[c].min(value);
                largest[c] = largest[c].max(value);
            }
        });
        not_constant(data, |c| least[c] >= largest[c])?;
        let std = largest.iter().zip(&least).map(|(largest, least)| largest - least).collect();
        Ok(Standardizer { mean: least, std })
    }
}

/// Gives the values of all channels at one place of one example after another.
fn each_row(data: &Dataset, mut take: impl FnMut(&[f32])) {
    let channels = data.about().channels.len();
    match data.examples() {
        Examples::Floats(values) => values.chunks_exact(channels).for_each(take),
        Examples::Bytes { bytes, .. } => {
            let mut row = vec![0.0; channels];
            for place in bytes.chunks_exact(channels) {
                row.iter_mut().zip(place).for_each(|(value, &byte)| *value = f32::from(byte));
                take(&row);
            }
        }
    }
}

fn not_constant(data: &Dataset, flat: impl Fn(usize) -> bool) -> Result<(), DataError> {
    match data.about().channels.iter().enumerate().find(|&(c, _)| flat(c)) {
        Some((_, channel)) => Err(DataError::ConstantChannel { channel: channel.name.clone() }),
        None => Ok(()),
    }
}
