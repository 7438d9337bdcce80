//! Recordings on an even grid of time, in pieces without gaps.

use super::read::{NONE, Recording};
use super::report::Report;

/// Samples between two rows at most: memory grows with what was recorded, not with what a rate or a damaged time asks for.
const MOST_BETWEEN: f64 = 100.0;

/// A step that is so many usual ones is a gap, which nothing is put into.
const GAP: f64 = 5.0;
/// Steps that differ by no more than this share of a step are even.
const EVEN: f64 = 0.1;

/// Whether rows that are usually so many seconds apart are too few for a rate; says so.
fn too_few(usual: f64, rate: f64, name: &str, report: &mut Report) -> bool {
    let too_few = usual * rate > MOST_BETWEEN;
    if too_few {
        report.note(format!(
            "{name} is left out: its rows lie {} apart, and at {rate} samples a second most of it would be made up",
            seconds(usual)
        ));
    }
    too_few
}

/// A time in words.
fn seconds(time: f64) -> String {
    match time {
        ..1e4 => format!("{time:.3} s"),
        _ => format!("{time:.1e} s"),
    }
}

/// Samples without a gap, evenly spaced.
#[derive(Debug, PartialEq)]
pub struct Piece {
    /// Seconds from the beginning of its recording to its own; samples where nothing is known of time.
    pub begins: f64,
    /// `[samples, channels]`.
    pub signals: Vec<f32>,
    /// Of each sample.
    pub labels: Vec<u32>,
}

/// Steps between samples, by size.
fn steps(recording: &Recording) -> Vec<f64> {
    let mut steps: Vec<f64> = recording.times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    steps
}

/// Samples a second: one over the step in the middle of all, a whole number where that is within one in a hundred.
pub fn rate<'r>(recordings: impl IntoIterator<Item = &'r Recording>) -> Option<f64> {
    let mut all: Vec<f64> = recordings
        .into_iter()
        .filter_map(|recording| {
            let steps = steps(recording);
            steps.get(steps.len() / 2).copied()
        })
        .collect();
    all.sort_by(f64::total_cmp);
    let rate = 1.0 / all.get(all.len() / 2)?;
    Some(if (rate - rate.round()).abs() <= 0.01 * rate { rate.round() } else { rate })
}

/// A recording at so many samples a second, in pieces. Where samples are even at about that rate they stay as they are;
/// else each channel goes straight from one sample to the next.
pub fn pieces(recording: &Recording, channels: usize, rate: f64, report: &mut Report) -> Vec<Piece> {
    let count = recording.labels.len();
    if recording.times.is_empty() {
        let times: Vec<f64> = (0..count).map(|k| k as f64).collect();
        return on_grid(recording, &times, &times, channels, GAP, 0.0);
    }
    let steps = steps(recording);
    let Some(&usual) = steps.get(steps.len() / 2) else {
        return vec![];
    };
    if too_few(usual, rate, &recording.name, report) {
        return vec![];
    }
    let gap = GAP * usual;
    let mut all = vec![];
    let mut from = 0;
    for to in 1..=count {
        if to < count && recording.times[to] - recording.times[to - 1] <= gap {
            continue;
        }
        report.gaps += u64::from(to < count);
        let times = &recording.times[from..to];
        let own = Recording {
            times: times.to_vec(),
            signals: recording.signals[from * channels..to * channels].to_vec(),
            labels: recording.labels[from..to].to_vec(),
            ..Recording::default()
        };
        let step = 1.0 / rate;
        let even = (usual * rate - 1.0).abs() <= 0.02
            && times.windows(2).all(|pair| (pair[1] - pair[0] - usual).abs() <= EVEN * usual);
        if even {
            all.extend(on_grid(&own, times, times, channels, gap, recording.times[0]));
        } else {
            let span = times[times.len() - 1] - times[0];
            let samples = (span * rate + 1e-6).floor() as usize + 1;
            let grid: Vec<f64> = (0..samples).map(|k| times[0] + k as f64 * step).collect();
            report.resampled += samples as u64;
            all.extend(on_grid(&own, times, &grid, channels, gap, recording.times[0]));
        }
        from = to;
    }
    all
}

/// The samples of a recording at the times of a grid, in pieces that every channel has values for.
fn on_grid(recording: &Recording, times: &[f64], grid: &[f64], channels: usize, gap: f64, origin: f64) -> Vec<Piece> {
    let mut signals = vec![f32::NAN; grid.len() * channels];
    for c in 0..channels {
        let value = |at: usize| recording.signals[at * channels + c];
        let known = |from: usize| (from..times.len()).find(|&at| !value(at).is_nan());
        let (Some(mut before), mut after) = (known(0), None) else { continue };
        for (k, &time) in grid.iter().enumerate() {
            if time < times[before] {
                continue;
            }
            loop {
                let next = match after {
                    Some(next) => next,
                    None => known(before + 1),
                };
                after = Some(next);
                match next {
                    Some(next) if times[next] <= time => (before, after) = (next, None),
                    _ => break,
                }
            }
            let from = value(before);
            signals[k * channels + c] = match after.flatten() {
                _ if times[before] == time => from,
                Some(next) if times[next] - times[before] <= gap => {
                    let share = (time - times[before]) / (times[next] - times[before]);
                    (f64::from(from) + share * (f64::from(value(next)) - f64::from(from))) as f32
                }
                // The grid may end by rounding a hair behind the last sample.
                None if time - times[before] <= 1e-3 * gap => from,
                _ => f32::NAN,
            };
        }
    }
    let mut at = 0;
    let labels: Vec<u32> = grid
        .iter()
        .map(|&time| {
            while at + 1 < times.len() && times[at + 1] <= time {
                at += 1;
            }
            recording.labels.get(at).copied().unwrap_or(NONE)
        })
        .collect();
    let whole = |k: usize| signals[k * channels..(k + 1) * channels].iter().all(|value| !value.is_nan());
    let mut pieces = vec![];
    let mut from = 0;
    while from < grid.len() {
        let Some(start) = (from..grid.len()).find(|&k| whole(k)) else { break };
        let end = (start..grid.len()).find(|&k| !whole(k)).unwrap_or(grid.len());
        pieces.push(Piece {
            begins: grid[start] - origin,
            signals: signals[start * channels..end * channels].to_vec(),
            labels: labels[start..end].to_vec(),
        });
        from = end;
    }
    pieces
}

/// Recordings of several sensors of the same time as one, on a grid of this rate from the last one's beginning to the first
/// one's end. What lies in a gap of one sensor is missing.
pub fn joined(sensors: &[(Recording, usize)], rate: f64, report: &mut Report) -> Recording {
    let first = |(sensor, _): &(Recording, usize)| sensor.times.first().copied();
    let last = |(sensor, _): &(Recording, usize)| sensor.times.last().copied();
    let start = sensors.iter().filter_map(first).fold(f64::NEG_INFINITY, f64::max);
    let end = sensors.iter().filter_map(last).fold(f64::INFINITY, f64::min);
    let channels: usize = sensors.iter().map(|(_, channels)| channels).sum();
    let mut whole =
        Recording { person: sensors[0].0.person.clone(), name: sensors[0].0.name.clone(), ..Recording::default() };
    let usual = |sensor: &Recording| {
        let steps = steps(sensor);
        steps.get(steps.len() / 2).copied().unwrap_or(0.0)
    };
    if start >= end || sensors.iter().any(|(sensor, _)| too_few(usual(sensor), rate, &sensor.name, report)) {
        return whole;
    }
    let gap = |sensor: &Recording| GAP * usual(sensor).max(1.0 / rate);
    // Only where the first sensor has something: a day without is not gone through.
    let first_gap = gap(&sensors[0].0);
    let mut next = 0.0_f64;
    for pair in sensors[0].0.times.windows(2).filter(|pair| pair[1] - pair[0] <= first_gap) {
        next = next.max(((pair[0] - start) * rate).ceil());
        let last = ((pair[1].min(end) - start) * rate + 1e-6).floor();
        while next <= last {
            whole.times.push(start + next / rate);
            next += 1.0;
        }
    }
    let samples = whole.times.len();
    whole.signals = vec![f32::NAN; samples * channels];
    whole.labels = vec![sensors[0].0.labels[0]; samples];
    let mut offset = 0;
    for (sensor, own) in sensors {
        let gap = gap(sensor);
        for c in 0..*own {
            let mut at = 0;
            for (k, &time) in whole.times.iter().enumerate() {
                while at + 1 < sensor.times.len() && sensor.times[at + 1] <= time {
                    at += 1;
                }
                let value = |at: usize| sensor.signals[at * own + c];
                let from = f64::from(value(at));
                let next = (at + 1).min(sensor.times.len() - 1);
                let width = sensor.times[next] - sensor.times[at];
                whole.signals[k * channels + offset + c] = if width == 0.0 || time == sensor.times[at] {
                    value(at)
                } else if width <= gap {
                    (from + (time - sensor.times[at]) / width * (f64::from(value(next)) - from)) as f32
                } else {
                    f32::NAN
                };
            }
        }
        offset += own;
    }
    whole
}
