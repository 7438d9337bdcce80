//! Counter-based randomness: Threefry-2x32-20 (Salmon et al. 2011) and a keyed permutation.
//!
//! Every draw is a function of (seed, purpose, step, index), built from add, rotate and xor only,
//! so the same bits come out of Rust and WGSL (`shaders/lib/random.wgsl`) and a replayed training
//! step sees what it saw before.

pub use stackelberg_columns::threefry::{permute_index, threefry};

/// What a stream of draws is for; part of the key, so streams never overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Purpose {
    /// Initial weights (drawn on the host).
    Init = 1,
    /// Choice of the training batch of a step.
    Batch = 2,
    /// Dropout masks.
    Dropout = 3,
    /// The fixed subset of the validation windows.
    Validation = 4,
    /// Points tried by random search.
    Search = 5,
    /// Which training labels are made wrong, and what they become.
    Labels = 6,
    /// Noise at the dropout layer.
    GaussianDropout = 7,
    /// Noise on the values of an example.
    Jitter = 8,
    /// Factors of the channels of an example.
    Scaling = 9,
    /// Which examples are for training, for validation and for test.
    Partition = 10,
    /// Random steps of outer optimisers.
    Outer = 11,
    /// Hyperparameters of each example, about those of a self-tuning network.
    Perturbation = 12,
    /// Augmentations of a self-tuning network.
    Augmentation = 13,
    /// Few-shot tasks that are learned from.
    Episode = 14,
    /// Few-shot tasks that are judged by.
    JudgedEpisode = 15,
}

/// The key of one stream at one step: a function of the seed, the purpose and the step.
pub fn stream_key(seed: [u32; 2], purpose: Purpose, step: u32) -> [u32; 2] {
    threefry(seed, [purpose as u32, step])
}

/// A stream of host-side draws.
pub struct Stream {
    key: [u32; 2],
    counter: u32,
}

impl Stream {
    /// The stream of `purpose` under `seed`; `step` tells apart several streams of one purpose.
    pub fn new(seed: u64, purpose: Purpose, step: u32) -> Self {
        Self { key: stream_key(split_seed(seed), purpose, step), counter: 0 }
    }

    fn words(&mut self) -> [u32; 2] {
        let words = threefry(self.key, [self.counter, 0]);
        self.counter += 1;
        words
    }

    /// Uniform in the open interval (0, 1).
    pub fn uniform(&mut self) -> f64 {
        let [high, low] = self.words();
        let bits = (u64::from(high) << 32 | u64::from(low)) >> 12;
        (bits as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// One of the other labels of a problem with so many classes, each equally likely.
    pub fn other_label(&mut self, label: u32, classes: usize) -> u32 {
        (label + 1 + ((classes - 1) as f64 * self.uniform()) as u32) % classes as u32
    }

    /// Standard normal (Box–Muller).
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

/// A 64-bit seed as the two words the generator is keyed by: low word, high word.
pub fn split_seed(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (kat_vectors, threefry2x32 20).
    #[test]
    fn threefry_known_answers() {
        assert_eq!(threefry([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry([u32::MAX; 2], [u32::MAX; 2]), [0x1cb9_96fc, 0xbb00_2be7]);
        assert_eq!(threefry([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]), [0xc492_3a9c, 0x483d_f7a0]);
    }

    #[test]
    fn permutation_is_one() {
        for n in [1, 2, 3, 7, 64, 65, 1000, 5515] {
            for step in 0..3 {
                let key = stream_key([7, 0], Purpose::Batch, step);
                let mut image: Vec<u32> = (0..n).map(|i| permute_index(key, n, i)).collect();
                image.sort_unstable();
                assert!(image.iter().copied().eq(0..n), "n = {n}");
            }
        }
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let mut stream = Stream::new(3, Purpose::Init, 0);
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / n as f64;
        // Four standard errors.
        assert!(mean.abs() < 4.0 / (n as f64).sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 4.0 * (2.0 / n as f64).sqrt(), "variance {variance}");
    }
}
