//! Fifteen plain statistics of each channel of a window: what a classifier without a network works
//! with, and the yardstick for one with.
//!
//! Measured with scikit-learn 1.9 (`StandardScaler`, `LogisticRegression(max_iter=1000)`) on the whole
//! data set: test accuracy 94.5 % when trained on all 21 published training subjects, 93.3 % on the 16
//! of them that [`SubjectSplit`](crate::data::SubjectSplit) trains on.

use super::CHANNELS;
use crate::data::Dataset;

/// The statistics of one channel, in order. Quantiles interpolate linearly; *steps* are differences
/// of neighbouring samples; autocorrelations are of the signal less its mean, divided by the one at
/// lag 0 (and 0 for a constant signal).
pub const NAMES: [&str; 15] = [
    "mean",
    "standard deviation",
    "minimum",
    "10 % quantile",
    "median",
    "90 % quantile",
    "maximum",
    "root mean square",
    "mean magnitude of steps",
    "autocorrelation at lag 1",
    "autocorrelation at lag 2",
    "autocorrelation at lag 4",
    "autocorrelation at lag 8",
    "autocorrelation at lag 16",
    "autocorrelation at lag 32",
];

/// Statistics of one window of UCI HAR.
pub const FEATURES: usize = CHANNELS * NAMES.len();

/// Samples and channels of windows; none where the examples are something else.
fn window(data: &Dataset) -> Option<[usize; 2]> {
    match data.about().shape[..] {
        [samples, channels] if samples > 1 => Some([samples, channels]),
        _ => None,
    }
}

/// Statistics of one example; none where the examples are no windows.
pub fn count(data: &Dataset) -> Option<usize> {
    window(data).map(|[_, channels]| channels * NAMES.len())
}

/// `[n, count]`, row-major: for each window, [`NAMES`] of the first channel, of the second, …
///
/// # Panics
/// If these are no windows.
pub fn features(data: &Dataset) -> Vec<f32> {
    let [samples, channels] = window(data).expect("windows of samples and channels");
    let mut features = Vec::with_capacity(data.len() * channels * NAMES.len());
    for window in data.values().chunks_exact(samples * channels) {
        for channel in 0..channels {
            let signal: Vec<f64> = window[channel..].iter().step_by(channels).map(|&v| f64::from(v)).collect();
            features.extend(of_signal(&signal).map(|value| value as f32));
        }
    }
    features
}

fn of_signal(signal: &[f64]) -> [f64; NAMES.len()] {
    let samples = signal.len();
    let mean = signal.iter().sum::<f64>() / samples as f64;
    let centred: Vec<f64> = signal.iter().map(|v| v - mean).collect();
    let energy = covariance(&centred, 0);
    let correlation = |lag| {
        if energy > 0.0 { covariance(&centred, lag) / energy } else { 0.0 }
    };
    let steps = signal.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum::<f64>();
    let mut sorted = signal.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    [
        mean,
        (energy / samples as f64).sqrt(),
        sorted[0],
        quantile(&sorted, 0.1),
        quantile(&sorted, 0.5),
        quantile(&sorted, 0.9),
        sorted[samples - 1],
        (covariance(signal, 0) / samples as f64).sqrt(),
        steps / (samples - 1) as f64,
        correlation(1),
        correlation(2),
        correlation(4),
        correlation(8),
        correlation(16),
        correlation(32),
    ]
}

/// Nothing at lags that the signal is too short for.
fn covariance(signal: &[f64], lag: usize) -> f64 {
    signal.iter().zip(signal.iter().skip(lag)).map(|(a, b)| a * b).sum()
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    below + (sorted[place.ceil() as usize] - below) * place.fract()
}

/// Scales the features of training, validation and test windows, so many each, by mean and deviation of the first;
/// constant ones become 0.
pub fn standardize(parts: &mut [Vec<f32>; 3], width: usize) {
    for column in 0..width {
        let values = || parts[0][column..].iter().step_by(width).map(|&v| f64::from(v));
        let count = values().count() as f64;
        let mean = values().sum::<f64>() / count;
        let deviation = (values().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
        let scale = if deviation > 1e-12 { 1.0 / deviation } else { 0.0 };
        for part in parts.iter_mut() {
            part[column..].iter_mut().step_by(width).for_each(|v| *v = ((f64::from(*v) - mean) * scale) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::har::WINDOW;

    fn assert_statistics(signal: [f64; WINDOW], want: [f64; NAMES.len()]) {
        for (name, (got, want)) in NAMES.iter().zip(of_signal(&signal).iter().zip(want)) {
            assert!((got - want).abs() < 1e-12 * want.abs().max(1.0), "{name}: {got}, not {want}");
        }
    }

    /// Signals whose statistics follow from formulas.
    #[test]
    fn known_signals() {
        let square = std::array::from_fn(|t| if t % 2 == 0 { -3.0 } else { 3.0 });
        let kept = |lag: i32| f64::from((128 - lag) * if lag % 2 == 0 { 1 } else { -1 }) / 128.0;
        let [a, b, c, d, e, f] = [1, 2, 4, 8, 16, 32].map(kept);
        assert_statistics(square, [0.0, 3.0, -3.0, -3.0, 0.0, 3.0, 3.0, 3.0, 6.0, a, b, c, d, e, f]);

        let ramp: [f64; WINDOW] = std::array::from_fn(|t| 2.0 * t as f64);
        let got = of_signal(&ramp);
        assert!((got[1] - 2.0 * ((128.0f64 * 128.0 - 1.0) / 12.0).sqrt()).abs() < 1e-12);
        assert!((got[3] - 25.4).abs() < 1e-12 && got[4] == 127.0 && (got[5] - 228.6).abs() < 1e-12);
        assert!((got[7] - (4.0 * 127.0 * 255.0 / 6.0f64).sqrt()).abs() < 1e-12);

        let flat = [1.5; WINDOW];
        let [x, o] = [1.5, 0.0];
        assert_statistics(flat, [x, o, x, x, x, x, x, x, o, o, o, o, o, o, o]);

        // Of a signal shorter than most lags.
        let [.., one, two, four, _, _, _] = of_signal(&[1.0, -1.0, 1.0, -1.0]);
        assert_eq!([one, two, four], [-0.75, 0.5, 0.0]);
    }

    #[test]
    fn features_are_sorted_by_channel() {
        let mut x = vec![0.0; 2 * WINDOW * CHANNELS];
        x[WINDOW * CHANNELS + 4] = 128.0;
        let data = crate::data::har::dataset("flat", false, x, vec![0, 1], vec![1, 1]).unwrap();
        let features = features(&data);
        assert_eq!(features.len(), 2 * FEATURES);
        let channel = FEATURES + 4 * NAMES.len()..FEATURES + 5 * NAMES.len();
        assert_eq!(features[channel.start], 1.0, "mean");
        assert_eq!(features[channel.start + 6], 128.0, "maximum");
        for (index, value) in features.iter().enumerate() {
            assert!(channel.contains(&index) || *value == 0.0);
        }
    }
}
