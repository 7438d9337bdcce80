//! What was observed of a function, and how the model takes it.

/// What was observed of the function at a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The point, in the unit cube.
    pub point: Vec<f64>,
    /// The value, to be minimised; one that is not finite counts as the highest seen, −∞ as the lowest.
    pub value: f64,
}

/// A number that was observed.
pub(super) struct Site {
    pub point: Vec<f64>,
    /// Standardised and negated.
    pub target: f64,
}

/// Mean and standard deviation of the values.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub mean: f64,
    pub deviation: f64,
}

/// All that was observed, standardised by what is finite of the values.
///
/// # Panics
/// If nothing was observed, or if points differ in their number of coordinates.
pub(super) fn standardized(observations: &[Observation]) -> (Scale, Vec<Site>) {
    let dimensions = observations.first().expect("an observation at least").point.len();
    let finite = || observations.iter().map(|seen| seen.value).filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let clip = |value: f64| if value.is_nan() { high } else { value.clamp(low, high) };
    let values: Vec<f64> = observations.iter().map(|seen| if low <= high { clip(seen.value) } else { 0.0 }).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };

    let site = |(seen, value): (&Observation, f64)| {
        assert_eq!(seen.point.len(), dimensions, "coordinates of a point");
        Site { point: seen.point.clone(), target: (mean - value) / deviation }
    };
    let sites = observations.iter().zip(values).map(site).collect();
    (Scale { mean, deviation }, sites)
}
