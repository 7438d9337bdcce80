//! Scalar functions of whole columns, as loops that the compiler vectorises.

use crate::ir::Scalar;
use crate::rng;

/// `out[k] = f(args[0][k], …)`. Floats travel as their bits; select is the same for both types.
#[inline(always)]
pub fn apply(f: Scalar, args: [&[u32]; 4], out: &mut [u32]) {
    match f {
        Scalar::Add => floats2(args, out, |a, b| a + b),
        Scalar::Mul => floats2(args, out, |a, b| a * b),
        Scalar::Neg => floats(args, out, |a| -a),
        Scalar::Recip => floats(args, out, |a| 1.0 / a),
        Scalar::Sqrt => floats(args, out, f32::sqrt),
        Scalar::Relu => floats(args, out, |a| if a > 0.0 { a } else { 0.0 }),
        Scalar::Exp => floats(args, out, f32::exp),
        Scalar::Log => floats(args, out, f32::ln),
        Scalar::Tanh => floats(args, out, f32::tanh),
        Scalar::Sigmoid | Scalar::Softplus => floats(args, out, |a| f.eval(&[a.into()]) as f32),
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
        Scalar::Threefry0 => random(args, out, 0),
        Scalar::Threefry1 => random(args, out, 1),
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

/// One of the two words of Threefry, sixteen at a time.
#[inline(always)]
fn random(args: [&[u32]; 4], out: &mut [u32], word: usize) {
    for start in (0..out.len()).step_by(16) {
        let len = (out.len() - start).min(16);
        let mut lanes = [[0; 16]; 4];
        for (lanes, column) in lanes.iter_mut().zip(args) {
            lanes[..len].copy_from_slice(&column[start..start + len]);
        }
        let [a, b, c, d] = lanes;
        let words = rng::threefry_lanes([a, b], [c, d]);
        out[start..start + len].copy_from_slice(&words[word][..len]);
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
