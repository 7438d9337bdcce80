//! Threefry-2x32-20 (Salmon et al. 2011) and a keyed permutation.

const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];

/// Threefry-2x32 with 20 rounds: two random words for a key and a counter.
pub fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    threefry_lanes(key.map(|word| [word]), counter.map(|word| [word])).map(|[word]| word)
}

/// [`threefry`] of several keys and counters side by side, for vector instructions.
#[inline(always)]
pub(crate) fn threefry_lanes<const N: usize>(key: [[u32; N]; 2], counter: [[u32; N]; 2]) -> [[u32; N]; 2] {
    let [key0, key1] = key;
    let mut key2 = [0; N];
    let [mut x0, mut x1] = counter;
    for k in 0..N {
        key2[k] = 0x1BD1_1BDA ^ key0[k] ^ key1[k];
        x0[k] = x0[k].wrapping_add(key0[k]);
        x1[k] = x1[k].wrapping_add(key1[k]);
    }
    let schedule = [key0, key1, key2];
    for injection in 1..=5 {
        let rotations = &ROTATIONS[(injection + 1) % 2 * 4..][..4];
        for &rotation in rotations {
            for k in 0..N {
                x0[k] = x0[k].wrapping_add(x1[k]);
                x1[k] = x1[k].rotate_left(rotation) ^ x0[k];
            }
        }
        let (add0, add1) = (&schedule[injection % 3], &schedule[(injection + 1) % 3]);
        for k in 0..N {
            x0[k] = x0[k].wrapping_add(add0[k]);
            x1[k] = x1[k].wrapping_add(add1[k]).wrapping_add(injection as u32);
        }
    }
    [x0, x1]
}

/// Image of `index` under a permutation of `0..n` chosen by `key`: a four-round Feistel network on
/// the smallest even number of bits that holds `n`, walked until the result falls below `n`.
pub fn permute_index(key: [u32; 2], n: u32, index: u32) -> u32 {
    let half_bits = (32 - (n - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u32 << half_bits) - 1;
    let mut value = index;
    loop {
        let (mut left, mut right) = (value >> half_bits, value & mask);
        for round in 0..4 {
            let mixed = threefry(key, [right, round])[0] & mask;
            (left, right) = (right, left ^ mixed);
        }
        value = (left << half_bits) | right;
        if value < n {
            return value;
        }
    }
}
