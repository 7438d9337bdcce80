//! Loops over columns of words, where the processor engine spends its time: written so that the compiler vectorises them.
//!
//! They are a crate of their own so that the page's module, which is compiled for size, can have them compiled for speed. Nothing
//! here is generic or inlined elsewhere, or it would be compiled with whoever calls it. Floats travel as their bits.

pub mod threefry;
mod transcendental;

use pulp::{Arch, Simd, WithSimd};
use threefry::{permute_index, threefry, threefry_lanes};

/// A scalar function of whole columns: `out[k] = f(args[0][k], …)`.
pub type Function = fn(Arch, [&[u32]; 4], &mut [u32]);

macro_rules! functions {
    ($($(#[$says:meta])* $name:ident: $kind:ident($f:expr);)*) => {$(
        $(#[$says])*
        pub fn $name(simd: Arch, args: [&[u32]; 4], out: &mut [u32]) {
            // Not a closure: its body would be compiled without the vector instructions it is dispatched to.
            struct Loop<'a>([&'a [u32]; 4], &'a mut [u32]);
            impl WithSimd for Loop<'_> {
                type Output = ();
                #[inline(always)]
                fn with_simd<S: Simd>(self, simd: S) {
                    $kind(simd, self.0, self.1, $f);
                }
            }
            simd.dispatch(Loop(args, out));
        }
    )*};
}

functions! {
    /// a + b
    add: floats2(|a, b| a + b);
    /// a · b
    mul: floats2(|a, b| a * b);
    /// −a
    neg: floats(|a: f32| -a);
    /// 1 / a
    recip: floats(|a| 1.0 / a);
    /// √a
    sqrt: floats(f32::sqrt);
    /// a where it is positive, else 0
    relu: floats(|a| if a > 0.0 { a } else { 0.0 });
    /// eᵃ
    exp: floats(transcendental::exp);
    /// ln a
    log: floats(transcendental::log);
    /// tanh a
    tanh: floats(transcendental::tanh);
    /// 1 / (1 + e⁻ᵃ)
    sigmoid: floats(transcendental::sigmoid);
    /// ln (1 + eᵃ)
    softplus: floats(transcendental::softplus);
    /// b where a is not 0, else c; the same for both types
    select: words3(|a, b, c| if a != 0 { b } else { c });
    /// a < b
    lt: words2(|a, b| u32::from(f32::from_bits(a) < f32::from_bits(b)));
    /// whether a is infinite or no number
    non_finite: words(|a| u32::from(a & 0x7f80_0000 == 0x7f80_0000));
    /// the word a as a float
    to_float: words(|a| (a as f32).to_bits());
    /// a + b of words
    add_u: words2(u32::wrapping_add);
    /// a − b of words
    sub_u: words2(u32::wrapping_sub);
    /// a · b of words
    mul_u: words2(u32::wrapping_mul);
    /// a / b of words; a where b is 0
    div_u: words2(|a, b| a.checked_div(b).unwrap_or(a));
    /// a mod b of words; 0 where b is 0
    rem_u: words2(|a, b| a.checked_rem(b).unwrap_or(0));
    /// a < b of words
    lt_u: words2(|a, b| u32::from(a < b));
    /// a = b of words
    eq_u: words2(|a, b| u32::from(a == b));
    /// a ∧ b
    and_u: words2(|a, b| u32::from(a != 0 && b != 0));
    /// a ∨ b
    or_u: words2(|a, b| u32::from(a != 0 || b != 0));
    /// the first word of Threefry with key (a, b) and counter (c, d)
    threefry0: draws(0);
    /// the second
    threefry1: draws(1);
    /// where d goes in a permutation of 0..c by key (a, b)
    permuted: words4(|a, b, c, d| permute_index([a, b], c, d));
}

// Loops by index: iterator chains are not always inlined into the caller's vector instructions.

#[inline(always)]
fn floats(simd: impl Simd, args: [&[u32]; 4], out: &mut [u32], f: impl Fn(f32) -> f32) {
    words(simd, args, out, |a| f(f32::from_bits(a)).to_bits());
}

#[inline(always)]
fn floats2(simd: impl Simd, args: [&[u32]; 4], out: &mut [u32], f: impl Fn(f32, f32) -> f32) {
    words2(simd, args, out, |a, b| f(f32::from_bits(a), f32::from_bits(b)).to_bits());
}

#[inline(always)]
fn words(_: impl Simd, args: [&[u32]; 4], out: &mut [u32], f: impl Fn(u32) -> u32) {
    let a = &args[0][..out.len()];
    for k in 0..out.len() {
        out[k] = f(a[k]);
    }
}

#[inline(always)]
fn words2(_: impl Simd, args: [&[u32]; 4], out: &mut [u32], f: impl Fn(u32, u32) -> u32) {
    let (a, b) = (&args[0][..out.len()], &args[1][..out.len()]);
    for k in 0..out.len() {
        out[k] = f(a[k], b[k]);
    }
}

#[inline(always)]
fn words3(_: impl Simd, args: [&[u32]; 4], out: &mut [u32], f: impl Fn(u32, u32, u32) -> u32) {
    let (a, b, c) = (&args[0][..out.len()], &args[1][..out.len()], &args[2][..out.len()]);
    for k in 0..out.len() {
        out[k] = f(a[k], b[k], c[k]);
    }
}

#[inline(always)]
fn words4(_: impl Simd, args: [&[u32]; 4], out: &mut [u32], f: impl Fn(u32, u32, u32, u32) -> u32) {
    for k in 0..out.len() {
        let [a, b, c, d] = args.map(|column| column[k]);
        out[k] = f(a, b, c, d);
    }
}

/// One of the two words of Threefry: four vectors side by side, as each waits for its own results, where there are
/// registers enough.
#[inline(always)]
fn draws<S: Simd>(_: S, args: [&[u32]; 4], out: &mut [u32], word: usize) {
    match size_of::<S::u32s>() / size_of::<u32>() {
        16.. => draws_of::<64>(args, out, word),
        8.. => draws_of::<32>(args, out, word),
        _ => draws_of::<16>(args, out, word),
    }
}

#[inline(always)]
fn draws_of<const N: usize>(args: [&[u32]; 4], out: &mut [u32], word: usize) {
    let whole = out.len() / N * N;
    for start in (0..whole).step_by(N) {
        let [a, b, c, d] = args.map(|column| column[start..].first_chunk::<N>().expect("a whole chunk"));
        let words = threefry_lanes([*a, *b], [*c, *d]);
        out[start..start + N].copy_from_slice(&words[word]);
    }
    for k in whole..out.len() {
        let [a, b, c, d] = args.map(|column| column[k]);
        out[k] = threefry([a, b], [c, d])[word];
    }
}

/// `out[k] = first + k · step`
pub fn count(out: &mut [u32], first: u32, step: u32) {
    for (k, out) in out.iter_mut().enumerate() {
        *out = first.wrapping_add((k as u32).wrapping_mul(step));
    }
}

/// The largest index, and whether each but the first is one more than the one before: the samples of an example are.
pub fn survey(indices: &[u32]) -> (u32, bool) {
    let first = indices.first().copied().unwrap_or(0);
    let (mut largest, mut jumped) = (0, 0);
    for (k, &index) in indices.iter().enumerate() {
        largest = largest.max(index);
        jumped |= index.wrapping_sub(first) ^ k as u32;
    }
    (largest, jumped == 0)
}

/// Where a block's values belong among sums: value k of row r to `base + r · row + k · step`.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Where the first value belongs.
    pub base: usize,
    /// From one row to the next.
    pub row: isize,
    /// From one value to the next; with 0 a row has one sum.
    pub step: usize,
    /// Values of a row.
    pub run: usize,
}

/// Adds floats to the sums they belong to, in a fixed order.
pub fn sum_floats(simd: Arch, sums: &mut [u32], values: &[u32], places: Places) {
    struct Sums<'a>(&'a mut [u32], &'a [u32], Places);
    impl WithSimd for Sums<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let plus = |sum, value| (f32::from_bits(sum) + f32::from_bits(value)).to_bits();
            add_rows(self.0, self.1, self.2, total_of_floats, plus);
        }
    }
    simd.dispatch(Sums(sums, values, places));
}

/// Adds words to the sums they belong to, wrapping.
pub fn sum_words(simd: Arch, sums: &mut [u32], values: &[u32], places: Places) {
    struct Sums<'a>(&'a mut [u32], &'a [u32], Places);
    impl WithSimd for Sums<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let total = |values: &[u32]| values.iter().fold(0, |sum: u32, &word| sum.wrapping_add(word));
            add_rows(self.0, self.1, self.2, total, u32::wrapping_add);
        }
    }
    simd.dispatch(Sums(sums, values, places));
}

#[inline(always)]
fn add_rows(
    sums: &mut [u32],
    values: &[u32],
    Places { base, row, step, run }: Places,
    total: impl Fn(&[u32]) -> u32,
    plus: impl Fn(u32, u32) -> u32,
) {
    for (at, values) in values.chunks(run).enumerate() {
        let sums = &mut sums[base.wrapping_add_signed(at as isize * row)..];
        match step {
            0 => sums[0] = plus(sums[0], total(values)),
            1 => {
                let sums = &mut sums[..values.len()];
                for k in 0..values.len() {
                    sums[k] = plus(sums[k], values[k]);
                }
            }
            _ => {
                for k in 0..values.len() {
                    sums[k * step] = plus(sums[k * step], values[k]);
                }
            }
        }
    }
}

/// Sum of floats in a fixed order: sixteen partial sums, then pairs.
#[inline(always)]
fn total_of_floats(values: &[u32]) -> u32 {
    let mut lanes = [0.0f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for k in 0..16 {
            lanes[k] += f32::from_bits(chunk[k]);
        }
    }
    for k in 0..rest.len() {
        lanes[k] += f32::from_bits(rest[k]);
    }
    for half in [8, 4, 2, 1] {
        for k in 0..half {
            lanes[k] += lanes[k + half];
        }
    }
    lanes[0].to_bits()
}
