//! Scalar functions of whole columns, as loops that the compiler vectorises.

use bytemuck::{cast_slice, cast_slice_mut};

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
        Scalar::Select => {
            let branches = args[1].iter().zip(args[2]);
            let rows = args[0].iter().zip(branches);
            out.iter_mut().zip(rows).for_each(|(out, (&c, (&a, &b)))| *out = if c != 0 { a } else { b });
        }
        Scalar::Lt => {
            let (a, b) = (cast_slice::<u32, f32>(args[0]), cast_slice::<u32, f32>(args[1]));
            out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| *out = u32::from(a < b));
        }
        Scalar::NonFinite => words(args, out, |a| u32::from(a & 0x7f80_0000 == 0x7f80_0000)),
        Scalar::ToFloat => words(args, out, |a| (a as f32).to_bits()),
        Scalar::AddU => words2(args, out, u32::wrapping_add),
        Scalar::SubU => words2(args, out, u32::wrapping_sub),
        Scalar::MulU => words2(args, out, u32::wrapping_mul),
        Scalar::DivU => words2(args, out, |a, b| a / b),
        Scalar::RemU => words2(args, out, |a, b| a % b),
        Scalar::LtU => words2(args, out, |a, b| u32::from(a < b)),
        Scalar::EqU => words2(args, out, |a, b| u32::from(a == b)),
        Scalar::AndU => words2(args, out, |a, b| u32::from(a != 0 && b != 0)),
        Scalar::OrU => words2(args, out, |a, b| u32::from(a != 0 || b != 0)),
        Scalar::Threefry0 => words4(args, out, |[a, b, c, d]| rng::threefry([a, b], [c, d])[0]),
        Scalar::Threefry1 => words4(args, out, |[a, b, c, d]| rng::threefry([a, b], [c, d])[1]),
        Scalar::PermuteIndex => words4(args, out, |[a, b, c, d]| rng::permute_index([a, b], c, d)),
    }
}

#[inline(always)]
fn floats(args: [&[u32]; 4], out: &mut [u32], f: impl Fn(f32) -> f32) {
    let a: &[f32] = cast_slice(args[0]);
    cast_slice_mut::<u32, f32>(out).iter_mut().zip(a).for_each(|(out, &a)| *out = f(a));
}

#[inline(always)]
fn floats2(args: [&[u32]; 4], out: &mut [u32], f: impl Fn(f32, f32) -> f32) {
    let (a, b): (&[f32], &[f32]) = (cast_slice(args[0]), cast_slice(args[1]));
    cast_slice_mut::<u32, f32>(out).iter_mut().zip(a.iter().zip(b)).for_each(|(out, (&a, &b))| *out = f(a, b));
}

#[inline(always)]
fn words(args: [&[u32]; 4], out: &mut [u32], f: impl Fn(u32) -> u32) {
    out.iter_mut().zip(args[0]).for_each(|(out, &a)| *out = f(a));
}

#[inline(always)]
fn words2(args: [&[u32]; 4], out: &mut [u32], f: impl Fn(u32, u32) -> u32) {
    out.iter_mut().zip(args[0].iter().zip(args[1])).for_each(|(out, (&a, &b))| *out = f(a, b));
}

#[inline(always)]
fn words4(args: [&[u32]; 4], out: &mut [u32], f: impl Fn([u32; 4]) -> u32) {
    let [a, b, c, d] = args.map(|column| &column[..out.len()]);
    out.iter_mut().enumerate().for_each(|(k, out)| *out = f([a[k], b[k], c[k], d[k]]));
}

/// Sum of floats in a fixed order: sixteen partial sums, then pairs.
#[inline(always)]
pub fn sum_floats(values: &[u32]) -> f32 {
    let values: &[f32] = cast_slice(values);
    let mut lanes = [0.0f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    chunks.iter().for_each(|chunk| lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value));
    lanes.iter_mut().zip(rest).for_each(|(lane, value)| *lane += value);
    for half in [8, 4, 2, 1] {
        (0..half).for_each(|k| lanes[k] += lanes[k + half]);
    }
    lanes[0]
}

/// Sum of words, wrapping.
#[inline(always)]
pub fn sum_words(values: &[u32]) -> u32 {
    values.iter().fold(0, |sum, &word| sum.wrapping_add(word))
}

/// Adds floats to sums, element by element.
#[inline(always)]
pub fn add_floats(sums: &mut [u32], values: &[u32]) {
    let values: &[f32] = cast_slice(values);
    cast_slice_mut::<u32, f32>(sums).iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}
