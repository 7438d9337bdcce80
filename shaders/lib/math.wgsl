// Functions of the scalar table (src/ir/scalar.rs) that WGSL lacks or leaves inaccurate.

/// tanh x: a series near 0, where the quotient would cancel; never overflows.
fn tanh_stable(x: f32) -> f32 {
    let z = x * x;
    if z < 0.09 {
        return x * (1.0 + z * (-0.33333334 + z * (0.13333334 + z * (-0.053968254 + z * 0.021869488))));
    }
    let e = exp(-2.0 * abs(x));
    return sign(x) * (1.0 - e) / (1.0 + e);
}

/// 1 / (1 + exp(-x)) without overflow.
fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

/// log(1 + t) for 0 ≤ t ≤ 1, relative to the result: 2 artanh(s) with s = t / (2 + t) ≤ 1/3.
fn log_1_plus(t: f32) -> f32 {
    let s = t / (2.0 + t);
    let z = s * s;
    let tail = 0.14285715 + z * (0.11111111 + z * (0.09090909 + z * (0.07692308 + z * 0.06666667)));
    return 2.0 * s * (1.0 + z * (0.33333334 + z * (0.2 + z * tail)));
}

/// log(1 + exp x) without overflow.
fn softplus(x: f32) -> f32 {
    return max(x, 0.0) + log_1_plus(exp(-abs(x)));
}

/// 1 where x is NaN or infinite. Compilers may assume that neither occurs, so it looks at the bits.
fn non_finite(x: f32) -> u32 {
    return u32((bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u);
}
