//! What may be done to signals before they are cut into windows.

use super::grid::Piece;
use crate::data::DataError;
use crate::data::har::signal::{self, SENSORS};
use crate::data::har::{self, SAMPLE_RATE_HZ};

/// Filters pieces of acceleration and rotation as UCI HAR was; gives the names of the nine channels that come out.
pub fn uci(pieces: &mut [Piece], channels: &[String], rate: f64, place: &str) -> Result<Vec<String>, DataError> {
    let refused = |problem: String, mend| Err(DataError::at(place, "the filter of UCI HAR", problem, mend));
    if channels.len() != SENSORS {
        let problem = format!(
            "it takes six channels, acceleration x, y, z in g and rotation x, y, z in rad/s, and there are {}",
            channels.len()
        );
        return refused(
            problem,
            "name them in this order (`channels=ax, ay, az, gx, gy, gz`), or leave the filter out",
        );
    }
    if rate != f64::from(SAMPLE_RATE_HZ) {
        let problem = format!("it is made for recordings at {SAMPLE_RATE_HZ} samples a second, and these have {rate}");
        return refused(problem, "resample them with `--rate 50`, or leave the filter out");
    }
    for piece in pieces {
        let sample = |sample: &[f32]| std::array::from_fn(|c| f64::from(sample[c]));
        let raw: Vec<[f64; SENSORS]> = piece.signals.chunks_exact(SENSORS).map(sample).collect();
        piece.signals = signal::channels(&raw).concat();
    }
    Ok(har::channels().iter().map(|channel| format!("{} ({})", channel.name, channel.unit)).collect())
}
