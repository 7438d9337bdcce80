//! Scalar functions of whole columns.

use crate::ir::Scalar;
use stackelberg_columns::{self as columns, Function};

/// The loop that computes a function.
pub fn function(f: Scalar) -> Function {
    match f {
        Scalar::Add => columns::add,
        Scalar::Mul => columns::mul,
        Scalar::Neg => columns::neg,
        Scalar::Recip => columns::recip,
        Scalar::Sqrt => columns::sqrt,
        Scalar::Relu => columns::relu,
        Scalar::Exp => columns::exp,
        Scalar::Log => columns::log,
        Scalar::Tanh => columns::tanh,
        Scalar::Sigmoid => columns::sigmoid,
        Scalar::Softplus => columns::softplus,
        Scalar::Select => columns::select,
        Scalar::Lt => columns::lt,
        Scalar::NonFinite => columns::non_finite,
        Scalar::ToFloat => columns::to_float,
        Scalar::AddU => columns::add_u,
        Scalar::SubU => columns::sub_u,
        Scalar::MulU => columns::mul_u,
        Scalar::DivU => columns::div_u,
        Scalar::RemU => columns::rem_u,
        Scalar::LtU => columns::lt_u,
        Scalar::EqU => columns::eq_u,
        Scalar::AndU => columns::and_u,
        Scalar::OrU => columns::or_u,
        Scalar::Threefry0 => columns::threefry0,
        Scalar::Threefry1 => columns::threefry1,
        Scalar::PermuteIndex => columns::permuted,
    }
}

#[cfg(test)]
mod tests {
    use super::function;
    use crate::ir::Scalar;
    use pulp::Arch;

    const TRANSCENDENTAL: [Scalar; 5] = [Scalar::Exp, Scalar::Log, Scalar::Tanh, Scalar::Sigmoid, Scalar::Softplus];

    /// Holds a function against its row of the table.
    fn check(row: Scalar, xs: &[f32]) {
        let bits: Vec<u32> = xs.iter().map(|x| x.to_bits()).collect();
        let mut out = vec![0; bits.len()];
        function(row)(Arch::new(), [&bits, &[], &[], &[]], &mut out);
        for (&x, got) in xs.iter().zip(out) {
            let (got, wanted) = (f32::from_bits(got), row.eval(&[x.into()]));
            let off = (f64::from(got) - wanted).abs();
            let near = off <= (wanted.abs() * (-22f64).exp2()).max(f32::from_bits(1).into());
            let same = got == wanted as f32 || got.is_nan() && wanted.is_nan();
            assert!(near || same, "{row:?}({x:e}) = {got:e}, not {wanted:e}");
        }
    }

    #[test]
    fn floats_of_all_sizes_are_within_the_stated_accuracy() {
        // A prime step: all exponents, and mantissas of all kinds.
        let xs: Vec<f32> = (0..=u32::MAX).step_by(7_919).map(f32::from_bits).collect();
        TRANSCENDENTAL.into_iter().for_each(|row| check(row, &xs));
    }

    #[test]
    fn zeros_infinities_and_ends_are_those_of_the_table() {
        let ends =
            [0.0, 1.0, f32::INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1), 88.72, 88.73, 104.1];
        let xs = ends.map(|x| [x, -x]);
        TRANSCENDENTAL.into_iter().for_each(|row| check(row, xs.as_flattened()));
        let mut out = [0; 2];
        let zeros = [(-0.0f32).to_bits(), 0];
        function(Scalar::Tanh)(Arch::new(), [&zeros, &[], &[], &[]], &mut out);
        assert_eq!(out, zeros, "tanh keeps the sign of zero");
    }
}
