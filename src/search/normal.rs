//! The normal distribution, far out in its tails too.

use std::f64::consts::FRAC_1_SQRT_2;

/// ln √(2π).
pub const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_8;

/// The logarithm of the density.
pub fn log_density(z: f64) -> f64 {
    -0.5 * z * z - HALF_LOG_TAU
}

/// The share below z.
pub fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// The logarithm of the share below z.
pub fn log_below(z: f64) -> f64 {
    if z > -20.0 {
        return if z > 0.0 { (-below(-z)).ln_1p() } else { below(z).ln() };
    }
    // φ(z)/|z| (1 − 1/z² + 3/z⁴ − …), whose tenth term is below 1e-12 from here on.
    let series = (1..=10).rev().fold(1.0, |sum, k| 1.0 - f64::from(2 * k - 1) / (z * z) * sum);
    log_density(z) - (-z).ln() + series.ln()
}

/// The logarithm of the share between two ends, the lower first.
pub fn log_between(low: f64, high: f64) -> f64 {
    if low > 0.0 {
        return log_between(-high, -low);
    }
    if high > 0.0 {
        // Little is taken from one.
        return (-below(low) - below(-high)).ln_1p();
    }
    let (small, large) = (log_below(low), log_below(high));
    large + (-(small - large).exp()).ln_1p()
}

/// The z below which lies a share of the distribution.
pub fn quantile(share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        return if share <= 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    if share > 0.5 {
        return -quantile(1.0 - share);
    }
    // Newton's method on ln Φ, which is concave: after the first step it comes nearer from one side.
    let mut z = -0.9 * (-2.0 * (2.0 * share).ln()).max(0.0).sqrt();
    for _ in 0..60 {
        let log = log_below(z);
        let step = (log - share.ln()) / (log_density(z) - log).exp();
        z -= step;
        if step.abs() <= 1e-15 * (1.0 + z.abs()) {
            break;
        }
    }
    z
}

/// A draw from the normal distribution between two ends, given a uniform one.
pub fn truncated(mean: f64, deviation: f64, ends: (f64, f64), uniform: f64) -> f64 {
    let [low, high] = [ends.0, ends.1].map(|end| (end - mean) / deviation);
    let (from, to) = (below(low), below(high));
    let z = quantile(from + uniform * (to - from));
    (mean + deviation * z).clamp(ends.0, ends.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_join_and_quantiles_lead_back() {
        let (before, after) = (log_below(-20.0f64.next_down()), log_below(-20.0 - 1e-12));
        assert!((before / after - 1.0).abs() < 1e-11, "{before} {after}");
        // SciPy's log_ndtr(−40).
        assert!((log_below(-40.0) + 804.608_442_013_754).abs() < 1e-9, "{}", log_below(-40.0));
        for share in [1e-300, 1e-20, 0.001, 0.3, 0.5, 0.5 + 1e-9, 0.9, 1.0 - 1e-12] {
            let z = quantile(share);
            assert!((below(z) / share - 1.0).abs() < 1e-12, "{share} {z} {}", below(z));
        }
        assert!((log_between(-1.0, 1.0) - 0.682_689_492_137_085_9f64.ln()).abs() < 1e-15);
        assert!((log_between(30.0, 31.0) - log_below(-30.0)).abs() < 1e-12);
        assert!((log_between(-31.0, -30.0) - log_between(30.0, 31.0)).abs() < 1e-12);
        let tiny = log_between(2.0, 2.0 + 1e-7);
        assert!((tiny - (log_density(2.0) + 1e-7f64.ln())).abs() < 1e-6, "{tiny}");
    }
}
