//! From a phone's raw accelerometer and gyroscope to the nine channels of UCI HAR.
//!
//! The recipe, found by fitting and exact to the published digits: a median of 3 samples, a causal
//! 10th-order Butterworth low-pass at 20 Hz, then the slow part (gravity below 0.3 Hz, gyroscope
//! drift below 0.1 Hz) taken off. Everything runs in f64 with additions and multiplications only,
//! so every platform gets the same bits.

use super::CHANNELS;
use bytemuck::{Pod, Zeroable};

/// Accelerometer x, y, z, then gyroscope x, y, z.
pub const SENSORS: usize = 6;
/// What one count of the HAPT recordings' accelerometer means, in g (1/720).
pub const ACC_UNIT: f64 = 0.001388888888888889;
/// What one count of the HAPT recordings' gyroscope means, in rad/s (17.5 millidegrees/s).
pub const GYRO_UNIT: f64 = 0.0003054326225956446;

/// One second-order section: b0, b1, b2, a1, a2 (a0 is 1).
type Section = [f64; 5];

/// 10th-order Butterworth low-pass, 20 Hz.
const NOISE: [Section; 5] = [
    [0.12837301330223744, 0.2567460266044749, 0.12837301330223744, 1.0237166685840595, 0.26538339206952083],
    [1.0, 2.0, 1.0, 1.0618968468751016, 0.3125766878303108],
    [1.0, 2.0, 1.0, 1.142980502539901, 0.41280159809618855],
    [1.0, 2.0, 1.0, 1.2772114832789292, 0.5787202149760926],
    [1.0, 2.0, 1.0, 1.4817841285386755, 0.8315859108540891],
];

/// 3rd-order Butterworth low-pass, 0.3 Hz.
const GRAVITY: [Section; 2] = [
    [6.4518491290909294e-06, 1.2903698258181859e-05, 6.4518491290909294e-06, -0.9629940509502153, 0.0],
    [1.0, 1.0, 0.0, -1.9616121845004821, 0.9630069546484734],
];

/// 2nd-order Butterworth low-pass, 0.1 Hz.
const DRIFT: [Section; 1] =
    [[3.913020539914434e-05, 7.826041079828868e-05, 3.913020539914434e-05, -1.9822289297925284, 0.9823854506141251]];

/// One sample of the HAPT recordings in physical units (g, rad/s).
pub fn physical(counts: [i16; SENSORS]) -> [f64; SENSORS] {
    std::array::from_fn(|s| f64::from(counts[s]) * if s < 3 { ACC_UNIT } else { GYRO_UNIT })
}

/// The median of each sample and its two neighbours, sensor by sensor; beyond the ends lies zero.
pub fn median3<T: PartialOrd + Copy + Default>(recording: &[[T; SENSORS]]) -> Vec<[T; SENSORS]> {
    let zero = [T::default(); SENSORS];
    let at = |t: Option<usize>| t.and_then(|t| recording.get(t)).unwrap_or(&zero);
    (0..recording.len())
        .map(|t| {
            let (before, here, after) = (at(t.checked_sub(1)), at(Some(t)), at(Some(t + 1)));
            std::array::from_fn(|s| median(before[s], here[s], after[s]))
        })
        .collect()
}

fn median<T: PartialOrd>(a: T, b: T, c: T) -> T {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if c < low {
        low
    } else if high < c {
        high
    } else {
        c
    }
}

/// The nine channels of a whole recording: `raw` holds samples in g and rad/s at 50 Hz.
///
/// ```
/// use stackelberg::data::har::signal;
/// let still = vec![[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]; 3000];
/// let last = *signal::channels(&still).last().unwrap();
/// assert!(last[2].abs() < 1e-3, "gravity is not part of body_acc_z");
/// assert!((last[8] - 1.0).abs() < 1e-6, "total_acc_z keeps it");
/// ```
pub fn channels(raw: &[[f64; SENSORS]]) -> Vec<[f32; CHANNELS]> {
    let mut filters = Filters::zeroed();
    median3(raw).iter().map(|sample| filters.step(sample)).collect()
}

/// Numbers of a state that are the noise filters'; they come first.
pub const NOISE_STATE: usize = 2 * NOISE.len() * SENSORS;

/// Whether a number behind these is one of the first section for gravity, which the second makes a thousand times as large.
pub fn is_faint(slow: usize) -> bool {
    let section = slow / 2;
    section < 3 * GRAVITY.len() && section.is_multiple_of(GRAVITY.len())
}

/// The state of all low-pass filters at one instant (zero at the start of a recording), two numbers
/// a section in the transposed direct form II.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Filters {
    noise: [[[f64; 2]; NOISE.len()]; SENSORS],
    gravity: [[[f64; 2]; GRAVITY.len()]; 3],
    drift: [[[f64; 2]; DRIFT.len()]; 3],
}

impl Filters {
    /// Takes one sample after the median, in g and rad/s, and gives body_acc, body_gyro and
    /// total_acc (x, y, z each).
    pub fn step(&mut self, sample: &[f64; SENSORS]) -> [f32; CHANNELS] {
        let mut out = [0.0; CHANNELS];
        for axis in 0..3 {
            let acc = cascade(&NOISE, &mut self.noise[axis], sample[axis]);
            let gyro = cascade(&NOISE, &mut self.noise[axis + 3], sample[axis + 3]);
            out[axis] = (acc - cascade(&GRAVITY, &mut self.gravity[axis], acc)) as f32;
            out[axis + 3] = (gyro - cascade(&DRIFT, &mut self.drift[axis], gyro)) as f32;
            out[axis + 6] = acc as f32;
        }
        out
    }
}

fn cascade<const N: usize>(sections: &[Section; N], state: &mut [[f64; 2]; N], input: f64) -> f64 {
    let mut x = input;
    for ([b0, b1, b2, a1, a2], [s1, s2]) in sections.iter().zip(state) {
        let y = b0 * x + *s1;
        *s1 = b1 * x - a1 * y + *s2;
        *s2 = b2 * x - a2 * y;
        x = y;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::har::SAMPLE_RATE_HZ;

    #[test]
    fn median_takes_the_middle_and_pads_with_zero() {
        for (a, b, c) in [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)] {
            assert_eq!(median(a, b, c), 2);
        }
        let column = |values: &[i16]| values.iter().map(|&v| [v; SENSORS]).collect::<Vec<_>>();
        assert_eq!(median3(&column(&[5, 7, -4, 6])), column(&[5, 5, 6, 0]));
        assert_eq!(median3(&column(&[5])), column(&[0]));
        assert!(median3::<i16>(&[]).is_empty());
    }

    /// Power at the cut-off is one half, below it one, above it nothing.
    #[test]
    fn the_noise_filter_cuts_at_20_hz() {
        let gain = |hz: f64| {
            let mut state = [[0.0; 2]; NOISE.len()];
            let (mut power, steps) = (0.0, 4000);
            for t in 0..steps {
                let phase = std::f64::consts::TAU * hz * f64::from(t) / f64::from(SAMPLE_RATE_HZ);
                let y = cascade(&NOISE, &mut state, phase.sin());
                if t >= steps / 2 {
                    power += y * y * 2.0 / f64::from(steps / 2);
                }
            }
            power.sqrt()
        };
        assert!((gain(3.0) - 1.0).abs() < 1e-3);
        assert!((gain(20.0) - 0.5f64.sqrt()).abs() < 1e-3);
        assert!(gain(24.0) < 1e-4);
    }
}
