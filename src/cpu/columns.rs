//! Scalar functions of whole columns, as loops that the compiler vectorises.

use super::transcendental;
use crate::ir::Scalar;
use crate::rng;

/// `out[k] = f(args[0][k], …)`, with vectors of so many words. Floats travel as their bits; select is the same for both
/// types.
#[inline(always)]
pub fn apply(f: Scalar, args: [&[u32]; 4], out: &mut [u32], lanes: usize) {
    match f {
        Scalar::Add => floats2(args, out, |a, b| a + b),
        Scalar::Mul => floats2(args, out, |a, b| a * b),
        Scalar::Neg => floats(args, out, |a| -a),
        Scalar::Recip => floats(args, out, |a| 1.0 / a),
        Scalar::Sqrt => floats(args, out, f32::sqrt),
        Scalar::Relu => floats(args, out, |a| if a > 0.0 { a } else { 0.0 }),
        Scalar::Exp => floats(args, out, transcendental::exp),
        Scalar::Log => floats(args, out, transcendental::log),
        Scalar::Tanh => floats(args, out, transcendental::tanh),
        Scalar::Sigmoid => floats(args, out, transcendental::sigmoid),
        Scalar::Softplus => floats(args, out, transcendental::softplus),
        Scalar::Select => words3(args, out, |c, a, b| if c != 0 { a } else { b }),
        Scalar::Lt => words2(args, out, |a, b| u32::from(f32::from_bits(a) < f32::from_bits(b))),
        Scalar::NonFinite => words(args, out, |a| u32::from(a & 0x7f80_0000 == 0x7f80_0000)),
        Scalar::ToFloat => words(args, out, |a| (a as f32).to_bits()),
        Scalar::AddU => words2(args, out, u32::wrapping_add),
        Scalar::SubU => words2(args, out, u32::wrapping_sub),
        Scalar::MulU => words2(args, out, u32::wrapping_mul),
        Scalar::DivU => words2(args, out, |a, b| a.checked_div(b).unwrap_or(a)),
        Scalar::RemU => words2(args, out, |a, b| a.checked_rem(b).unwrap_or(0)),
        Scalar::LtU => words2(args, out, |a, b| u32::from(a < b)),
        Scalar::EqU => words2(args, out, |a, b| u32::from(a == b)),
        Scalar::AndU => words2(args, out, |a, b| u32::from(a != 0 && b != 0)),
        Scalar::OrU => words2(args, out, |a, b| u32::from(a != 0 || b != 0)),
        Scalar::Threefry0 => random(args, out, 0, lanes),
        Scalar::Threefry1 => random(args, out, 1, lanes),
        Scalar::PermuteIndex => {
            for k in 0..out.len() {
                let [a, b, c, d] = args.map(|column| column[k]);
                out[k] = rng::permute_index([a, b], c, d);
            }
        }
    }
}

// Loops by index: iterator chains are not always inlined into the caller's vector instructions.

#[inline(always)]
fn floats(args: [&[u32]; 4], out: &mut [u32], f: impl Fn(f32) -> f32) {
    words(args, out, |a| f(f32::from_bits(a)).to_bits());
}

#[inline(always)]
fn floats2(args: [&[u32]; 4], out: &mut [u32], f: impl Fn(f32, f32) -> f32) {
    words2(args, out, |a, b| f(f32::from_bits(a), f32::from_bits(b)).to_bits());
}

#[inline(always)]
fn words(args: [&[u32]; 4], out: &mut [u32], f: impl Fn(u32) -> u32) {
    let a = &args[0][..out.len()];
    for k in 0..out.len() {
        out[k] = f(a[k]);
    }
}

#[inline(always)]
fn words2(args: [&[u32]; 4], out: &mut [u32], f: impl Fn(u32, u32) -> u32) {
    let (a, b) = (&args[0][..out.len()], &args[1][..out.len()]);
    for k in 0..out.len() {
        out[k] = f(a[k], b[k]);
    }
}

#[inline(always)]
fn words3(args: [&[u32]; 4], out: &mut [u32], f: impl Fn(u32, u32, u32) -> u32) {
    let (a, b, c) = (&args[0][..out.len()], &args[1][..out.len()], &args[2][..out.len()]);
    for k in 0..out.len() {
        out[k] = f(a[k], b[k], c[k]);
    }
}

/// One of the two words of Threefry: four vectors side by side, as each waits for its own results, where there are
/// registers enough.
#[inline(always)]
fn random(args: [&[u32]; 4], out: &mut [u32], word: usize, lanes: usize) {
    match lanes {
        16.. => draws::<64>(args, out, word),
        8.. => draws::<32>(args, out, word),
        _ => draws::<16>(args, out, word),
    }
}

#[inline(always)]
fn draws<const N: usize>(args: [&[u32]; 4], out: &mut [u32], word: usize) {
    let whole = out.len() / N * N;
    for start in (0..whole).step_by(N) {
        let [a, b, c, d] = args.map(|column| column[start..].first_chunk::<N>().expect("a whole chunk"));
        let words = rng::threefry_lanes([*a, *b], [*c, *d]);
        out[start..start + N].copy_from_slice(&words[word]);
    }
    for k in whole..out.len() {
        let [a, b, c, d] = args.map(|column| column[k]);
        out[k] = rng::threefry([a, b], [c, d])[word];
    }
}

/// `out[k] = first + k · step`
#[inline(always)]
pub fn count(out: &mut [u32], first: u32, step: u32) {
    for (k, out) in out.iter_mut().enumerate() {
        *out = first.wrapping_add((k as u32).wrapping_mul(step));
    }
}

/// Sum of floats in a fixed order: sixteen partial sums, then pairs.
#[inline(always)]
pub fn sum_floats(values: &[u32]) -> u32 {
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

/// Sum of words, wrapping.
#[inline(always)]
pub fn sum_words(values: &[u32]) -> u32 {
    let mut sum = 0u32;
    for &word in values {
        sum = sum.wrapping_add(word);
    }
    sum
}

/// Adds floats to every `step`-th of the sums.
#[inline(always)]
pub fn add_floats(sums: &mut [u32], values: &[u32], step: usize) {
    add(sums, values, step, |sum, value| (f32::from_bits(sum) + f32::from_bits(value)).to_bits());
}

/// Adds words to every `step`-th of the sums, wrapping.
#[inline(always)]
pub fn add_words(sums: &mut [u32], values: &[u32], step: usize) {
    add(sums, values, step, u32::wrapping_add);
}

#[inline(always)]
fn add(sums: &mut [u32], values: &[u32], step: usize, f: impl Fn(u32, u32) -> u32) {
    if step == 1 {
        let sums = &mut sums[..values.len()];
        for k in 0..values.len() {
            sums[k] = f(sums[k], values[k]);
        }
    } else {
        for k in 0..values.len() {
            sums[k * step] = f(sums[k * step], values[k]);
        }
    }
}
