//! Every row of the scalar table on an engine, against f64 within the row's error bound.

use super::{Exprs, program, run};
use stackelberg::compile::Core;
use stackelberg::engine::Engine;
use stackelberg::ir::{DType, Scalar};
use stackelberg::rng;

/// Float arguments that try a function: both signs, sizes from 2⁻²⁰ to 2⁶ (functions of positive
/// numbers see absolute values), zero and one.
fn floats(scalar: Scalar) -> Vec<f64> {
    let mut values = vec![0.0, 1.0, -1.0];
    for power in -20..=6 {
        for step in 0..16 {
            let value = (f64::from(power) + f64::from(step) / 16.0).exp2();
            values.extend([f64::from(value as f32), f64::from(-value as f32)]);
        }
    }
    match scalar {
        Scalar::Recip | Scalar::Log => values.iter().map(|x| x.abs()).filter(|&x| x > 0.0).collect(),
        // Beyond these the result is no normal f32.
        Scalar::Exp => values.into_iter().filter(|x| x.abs() < 87.0).collect(),
        Scalar::Sqrt => values.iter().map(|x| x.abs()).collect(),
        _ => values,
    }
}

fn words() -> Vec<f64> {
    let mut values = vec![0, 1, 2, 3, 63, 64, 65, 5515, 65_535, 65_536, u32::MAX];
    values.extend((0..30).map(|i| rng::threefry([1, 2], [i, 0])[0]));
    values.into_iter().map(f64::from).collect()
}

/// Argument columns for a row of the table.
fn arguments(scalar: Scalar) -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = vec![];
    let (floats, words) = (floats(scalar), words());
    match scalar {
        Scalar::ToFloat => rows.extend([0, 1, 77, 16_777_216].map(|word| vec![f64::from(word)])),
        Scalar::NonFinite => {
            let special = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::from(f32::MAX)];
            rows.extend(floats.iter().chain(&special).map(|&x| vec![x]));
        }
        Scalar::Threefry0 | Scalar::Threefry1 => {
            rows.extend(words.windows(4).map(<[f64]>::to_vec));
        }
        Scalar::PermuteIndex => {
            for n in [1u32, 2, 3, 7, 64, 65, 5515, 70_000] {
                rows.extend((0..n.min(40)).map(|i| [9, 4, n, (n - 1).min(i * 3)].map(f64::from).to_vec()));
            }
        }
        Scalar::AndU | Scalar::OrU => {
            rows.extend([[0, 0], [0, 1], [1, 0], [1, 1]].map(|pair| pair.map(f64::from).to_vec()));
        }
        Scalar::Select => rows.extend(floats.iter().enumerate().map(|(i, &x)| vec![(i % 2) as f64, x, -2.0 * x])),
        _ => match scalar.signature().0 {
            [DType::F32] => rows.extend(floats.iter().map(|&x| vec![x])),
            [DType::F32, DType::F32] => {
                for &x in floats.iter().step_by(5) {
                    rows.extend(floats.iter().step_by(7).map(|&y| vec![x, y]));
                }
            }
            _ => {
                let divides = matches!(scalar, Scalar::DivU | Scalar::RemU);
                for &x in &words {
                    rows.extend(words.iter().filter(|&&y| !(divides && y == 0.0)).map(|&y| vec![x, y]));
                }
            }
        },
    }
    let count = rows[0].len();
    (0..count).map(|at| rows.iter().map(|row| row[at]).collect()).collect()
}

/// The unit of [`Scalar::ulps`] at a value.
fn unit(value: f64) -> f64 {
    f64::from(f32::EPSILON) * value.abs().max(f64::from(f32::MIN_POSITIVE))
}

pub fn every_row_is_within_its_bound(engine: &mut dyn Engine) {
    let mut all = vec![];
    for scalar in Scalar::ALL {
        let columns = arguments(scalar);
        let len = columns[0].len();
        let (types, result) = scalar.signature();
        let mut e = Exprs::default();
        let flat = e.flat();
        let loads: Vec<_> = (0..types.len()).map(|at| e.load(at, flat)).collect();
        let value = e.op(scalar, &loads);
        let dispatch = e.dispatch(&[len], Core::Map, &[(types.len(), value)]);
        let inputs: Vec<_> = types.iter().map(|&dtype| (dtype, len)).collect();
        let got = &run(engine, &program(&inputs, &[(result, len)], vec![dispatch]), &columns)[0];
        let mut worst = 0.0f64;
        let mut failures = vec![];
        for (i, &got) in got.iter().enumerate() {
            let x: Vec<f64> = columns.iter().map(|column| column[i]).collect();
            let wanted = scalar.eval(&x);
            let ulps = (got - wanted).abs() / unit(wanted);
            // Where the bound is 0 the value is exact; what is no normal f32 may become 0.
            let tiny = wanted.abs() < f64::from(f32::MIN_POSITIVE) && got == 0.0;
            if got != wanted && !tiny && (ulps.is_nan() || ulps > scalar.ulps(&x)) {
                failures.push(format!("{scalar:?}({x:?}) = {got:e}, not {wanted:e}: {ulps:.1} of {}", scalar.ulps(&x)));
            }
            worst = worst.max(if got == wanted || tiny { 0.0 } else { ulps });
        }
        println!("{scalar:?}: at most {worst:.2} units over {len} arguments");
        all.extend(failures);
    }
    assert!(all.is_empty(), "{} values are off:\n{}", all.len(), all.join("\n"));
}

pub fn select_takes_words_too(engine: &mut dyn Engine) {
    let mut e = Exprs::default();
    let flat = e.flat();
    let three = e.word(3);
    let less = e.op(Scalar::LtU, &[flat, three]);
    let value = e.op(Scalar::Select, &[less, flat, three]);
    let dispatch = e.dispatch(&[6], Core::Map, &[(0, value)]);
    let got = run(engine, &program(&[], &[(DType::U32, 6)], vec![dispatch]), &[]);
    assert_eq!(got, [[0.0, 1.0, 2.0, 3.0, 3.0, 3.0]]);
}
