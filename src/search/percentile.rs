//! Quantiles of samples.

/// The value below which lies a share of sorted values, interpolated linearly as NumPy does; none of nothing.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = sorted.len().checked_sub(1)? as f64 * share;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    let (gap, part) = (high - low, place.fract());
    // Between equal ones, infinite ones too, there is no gap.
    Some(match part {
        _ if low == high => low,
        _ if part < 0.5 => low + gap * part,
        _ => high - gap * (1.0 - part),
    })
}
