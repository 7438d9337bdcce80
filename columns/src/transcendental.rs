//! Transcendental functions of f32 without calls and branches, so that loops over them become vector instructions:
//! range reduction and the polynomials of the Cephes library. Results are within 2⁻²² of their size, subnormal ones within
//! their last place; they are the same with any vector instructions.

/// Added and taken away again, it leaves a float's nearest integer, which its lowest bits then hold.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts; few enough bits in the first that its products with exponents are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// 2ⁿ for -126 ≤ n ≤ 127.
#[inline(always)]
fn power(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// Horner's rule, the highest power first.
#[inline(always)]
fn polynomial<const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let mut sum = coefficients[0];
    for coefficient in &coefficients[1..] {
        sum = sum * x + coefficient;
    }
    sum
}

#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Beyond these all is 0 or infinite. No number is in no order, and stays what it is.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let whole = shifted - ROUND;
    let r = (x - whole * LN_2[0]) - whole * LN_2[1];
    let p = polynomial([1.987_569_2e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5], r);
    // In two steps: 2¹²⁸ is no float, and subnormal results have their bits cut once.
    (p * r * r + r + 1.0) * power(n >> 1) * power(n - (n >> 1))
}

#[inline(always)]
pub fn log(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let (scaled, lift) = if subnormal { (x * 8_388_608.0, 23.0) } else { (x, 0.0) };
    // x = 2ᵉ · m with m around 1, from √½ to √2.
    const ROOT: u32 = std::f32::consts::FRAC_1_SQRT_2.to_bits();
    let above = scaled.to_bits().wrapping_sub(ROOT);
    let e = ((above as i32) >> 23) as f32 - lift;
    let f = f32::from_bits((above & 0x007f_ffff).wrapping_add(ROOT)) - 1.0;
    let square = f * f;
    let p = polynomial(
        [
            7.037_683_6e-2,
            -0.115_146_1,
            0.116_769_984,
            -0.124_201_41,
            0.142_493_23,
            -0.166_680_57,
            0.200_007_15,
            -0.249_999_94,
            0.333_333_3,
        ],
        f,
    );
    let rest = f * square * p + e * LN_2[1] - 0.5 * square;
    let result = f + rest + e * LN_2[0];
    let result = if x == f32::INFINITY { x } else { result };
    let result = if x == 0.0 { f32::NEG_INFINITY } else { result };
    if x >= 0.0 { result } else { f32::NAN }
}

#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let p = polynomial([-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 0.133_314_42, -0.333_332_8], square);
    let near = size + size * square * p;
    let far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    (if size < 0.625 { near } else { far }).copysign(x)
}

#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    // By what does not overflow.
    let e = exp(-x.abs());
    let top = if x < 0.0 { e } else { 1.0 };
    top / (1.0 + e)
}

#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let e = exp(-x.abs());
    let sum = 1.0 + e;
    // What the sum lost of e is given back.
    let above = log(sum) + (e - (sum - 1.0)) / sum;
    (if x > 0.0 { x } else { 0.0 }) + above
}
