//! The UCI HAR windows that come with the program, kept as sensor readings.
//!
//! The recipe of [`signal`](super::signal) starts with a median of integers; its result takes far
//! less room than the windows and is what we keep. A *run* is a series of windows of one activity,
//! 64 samples apart, so its readings are stored once. The filters after the median remember the
//! whole recording; each run therefore carries their state at its start, and the windows come out
//! bit for bit as if the recording had been filtered from its beginning.
//!
//! A file is, little-endian: `STKLHAR2`, the CRC-32 of everything behind it, the number of runs (u32); for each run subject, label
//! 0..6, number of windows, and the binary digits behind the point of its filters' states, those of the noise filters and of the
//! slow ones (u8 each, each as one array); then, packed (`packing.rs`), the filter states (78 a run) in so many
//! digits, and the readings, sensor by sensor, all runs behind one another, as first differences (i16, wrapping).
//!
//! A state has as many digits as it takes for every window to have the bits that it has with the exact state. What a difference is
//! coded by are the signs of the three before it, after a median of three samples nearly all that tells of the next, and how large the
//! last ones were.

use super::packing::{Bits, Integers, Reader, Writer};
use super::signal::{Filters, NOISE_STATE, SENSORS, is_faint, median3, physical};
use super::{CHANNELS, CLASSES, HOP, SUBJECTS, TEST_SUBJECTS, WINDOW, Windows};
use crate::data::{DataError, Dataset};
use bytemuck::Zeroable;
use flate2::Crc;

const MAGIC: &[u8; 8] = b"STKLHAR2";
const HEADER: usize = MAGIC.len() + 4;
/// Bytes of a run before what is packed.
const ABOUT: usize = 5;
const STATE: usize = size_of::<Filters>() / 8;
/// Fewest and most digits of a state.
const DIGITS: [u8; 2] = [16, 58];
/// Digits more where numbers are faint.
const FAINT: u8 = 10;
/// Above those of the whole data set, which are 714,000; corrupt files are not to exhaust memory.
const MOST_READINGS: usize = 2 << 20;

/// Twelve people (8 for training, 2 for validation, 2 for test): enough to start with. The page
/// fetches this file and the other; programs carry them.
#[cfg(feature = "builtin-data")]
pub const SUBSET: &[u8] = include_bytes!("../../../data/har/subset.bin");
/// The other eighteen.
#[cfg(feature = "builtin-data")]
pub const REST: &[u8] = include_bytes!("../../../data/har/rest.bin");
/// Who is in `SUBSET`.
pub const SUBSET_SUBJECTS: [u32; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 11, 14, 15, 16];

/// The first piece.
#[cfg(feature = "builtin-data")]
pub fn subset() -> Result<Dataset, DataError> {
    dataset(SUBSET, None)
}

/// All 10,299 windows.
#[cfg(feature = "builtin-data")]
pub fn full() -> Result<Dataset, DataError> {
    dataset(SUBSET, Some(REST))
}

/// The built-in data: with the bytes of both pieces all of them, else only the first piece. All of them are in the
/// published order: the training subjects, then the test subjects, each ascending.
pub fn dataset(first: &[u8], rest: Option<&[u8]>) -> Result<Dataset, DataError> {
    let mut windows = decode(first)?;
    let Some(rest) = rest else { return windows.dataset("UCI HAR, built in, 12 of 30 people", true) };
    windows.append(decode(rest)?);
    let mut order: Vec<usize> = (0..windows.labels.len()).collect();
    order.sort_by_key(|&i| (TEST_SUBJECTS.contains(&windows.subjects[i]), windows.subjects[i]));
    Ok(windows.dataset("UCI HAR, built in", false)?.select(&order))
}

/// Consecutive windows of one activity in a recording.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The whole recording, in the counts of the HAPT data set.
    pub recording: &'a [[i16; SENSORS]],
    /// Where the first window starts.
    pub first: usize,
    /// How many windows follow one another, [`HOP`] samples apart.
    pub windows: u8,
    /// Label, `0..CLASSES`.
    pub label: u8,
    /// Wearer, `1..=SUBJECTS`.
    pub subject: u8,
}

/// Readings in a run of `windows` windows.
fn readings(windows: u8) -> usize {
    match usize::from(windows) {
        0 => 0,
        n => WINDOW + HOP * (n - 1),
    }
}

/// The windows' signals, from the filters' state at their beginning.
fn signal(mut filters: Filters, counts: &[[i16; SENSORS]]) -> Vec<[f32; CHANNELS]> {
    counts.iter().map(|&reading| filters.step(&physical(reading))).collect()
}

/// What each number of a state is counted in: a power of two.
fn units([noise, slow]: [u8; 2]) -> [f64; STATE] {
    let unit = |digits: u8| f64::from_bits(u64::from(1023 - u16::from(digits)) << 52);
    std::array::from_fn(|at| match at.checked_sub(NOISE_STATE) {
        None => unit(noise),
        Some(at) if is_faint(at) => unit(slow + FAINT),
        Some(_) => unit(slow),
    })
}

/// A state in so many digits, as whole numbers.
fn whole(filters: Filters, kept: [u8; 2]) -> [i64; STATE] {
    let (state, units) = (bytemuck::cast::<Filters, [f64; STATE]>(filters), units(kept));
    std::array::from_fn(|at| (state[at] / units[at]).round() as i64)
}

/// The state that whole numbers stand for.
fn state(whole: [i64; STATE], kept: [u8; 2]) -> Filters {
    let units = units(kept);
    bytemuck::cast::<[f64; STATE], _>(std::array::from_fn(|at| whole[at] as f64 * units[at]))
}

/// The fewest digits that leave a run's signals as they are.
fn fewest_digits(exact: Filters, counts: &[[i16; SENSORS]]) -> [u8; 2] {
    let bits = |filters| signal(filters, counts).into_iter().map(|sample| sample.map(f32::to_bits)).collect::<Vec<_>>();
    let wanted = bits(exact);
    let [few, most] = DIGITS;
    let fewest = |kept: &dyn Fn(u8) -> [u8; 2]| {
        let same = |&digits: &u8| bits(state(whole(exact, kept(digits)), kept(digits))) == wanted;
        (few..=most).find(same).expect("so many digits are those of the exact state")
    };
    let noise = fewest(&|digits| [digits, most]);
    [noise, fewest(&|digits| [noise, digits])]
}

/// Writes the runs as a file that [`dataset`] reads.
///
/// # Panics
/// If a run reaches beyond its recording.
pub fn encode(runs: &[Run]) -> Vec<u8> {
    let mut states = Vec::new();
    let mut counts: Vec<[i16; SENSORS]> = Vec::new();
    for run in runs {
        let clean = median3(run.recording);
        let mut filters = Filters::zeroed();
        for &reading in &clean[..run.first] {
            filters.step(&physical(reading));
        }
        let mine = &clean[run.first..][..readings(run.windows)];
        let kept = fewest_digits(filters, mine);
        states.push((kept, whole(filters, kept)));
        counts.extend(mine);
    }
    let mut body = u32::try_from(runs.len()).expect("few runs").to_le_bytes().to_vec();
    body.extend(runs.iter().map(|run| run.subject));
    body.extend(runs.iter().map(|run| run.label));
    body.extend(runs.iter().map(|run| run.windows));
    for which in 0..2 {
        body.extend(states.iter().map(|(kept, _)| kept[which]));
    }
    let mut packed = Writer::new();
    code_states(&mut packed, states.iter_mut().map(|(_, whole)| whole));
    code_readings(&mut packed, &mut counts);
    body.extend(packed.finish());
    [MAGIC.as_slice(), &crc32(&body).to_le_bytes(), &body].concat()
}

/// Writes states, or reads them.
fn code_states<'a>(bits: &mut impl Bits, states: impl Iterator<Item = &'a mut [i64; STATE]>) {
    let mut kinds = vec![Integers::new(); STATE];
    for state in states {
        state.iter_mut().zip(&mut kinds).for_each(|(number, kind)| *number = kind.code(bits, *number));
    }
}

/// Writes readings, or reads them.
fn code_readings(bits: &mut impl Bits, counts: &mut [[i16; SENSORS]]) {
    /// Half octaves of the size of the last differences.
    const SIZES: usize = 32;
    for sensor in 0..SENSORS {
        let mut kinds = vec![Integers::new(); 27 * SIZES];
        // The mean size is in parts of 256.
        let (mut before, mut signs, mut size) = (0i16, [1; 3], 256u64);
        for reading in &mut *counts {
            let octaves = (size * size).max(1).ilog2().saturating_sub(8) as usize;
            let [last, second, third] = signs;
            let kind = &mut kinds[((last * 3 + second) * 3 + third) * SIZES + octaves.min(SIZES - 1)];
            let step = kind.code(bits, reading[sensor].wrapping_sub(before).into()) as i16;
            before = before.wrapping_add(step);
            reading[sensor] = before;
            signs = [(step.signum() + 1) as usize, last, second];
            size = (11 * size + 256 * u64::from(step.unsigned_abs())) / 12;
        }
    }
}

/// The windows in a file of this module's format.
fn decode(file: &[u8]) -> Result<Windows, DataError> {
    let mut body = checked(file)?;
    let count = take(&mut body, 4)?;
    let runs = u32::from_le_bytes([count[0], count[1], count[2], count[3]]) as usize;
    let about = take(&mut body, runs.saturating_mul(ABOUT))?;
    let of_run = |which: usize, run: usize| about[which * runs + run];
    for run in 0..runs {
        if !(1..=SUBJECTS).contains(&of_run(0, run).into()) || usize::from(of_run(1, run)) >= CLASSES {
            return Err(corrupt("a subject or label is out of range"));
        }
        if (3..ABOUT).any(|which| !(DIGITS[0]..=DIGITS[1]).contains(&of_run(which, run))) {
            return Err(corrupt("the digits of a state are out of range"));
        }
    }
    let total = (0..runs).map(|run| readings(of_run(2, run))).sum();
    if total > MOST_READINGS {
        return Err(corrupt("it claims to be far too large"));
    }
    let mut packed = Reader::new(body);
    let mut states = vec![[0; STATE]; runs];
    code_states(&mut packed, states.iter_mut());
    let mut counts = vec![[0; SENSORS]; total];
    code_readings(&mut packed, &mut counts);
    if packed.ended_early() {
        return Err(corrupt("it ends early"));
    }
    if !packed.ended() {
        return Err(corrupt("bytes are left over"));
    }
    let mut counts = counts.as_slice();
    let mut out = Windows::default();
    for (run, whole) in states.into_iter().enumerate() {
        let windows = of_run(2, run);
        let mine = counts.split_off(..readings(windows)).expect("counted");
        let signal = signal(state(whole, [of_run(3, run), of_run(4, run)]), mine);
        for window in 0..usize::from(windows) {
            out.x.extend(signal[window * HOP..][..WINDOW].as_flattened());
            out.labels.push(of_run(1, run).into());
            out.subjects.push(of_run(0, run).into());
        }
    }
    Ok(out)
}

/// What is behind the header, once it is sure that it is what was written.
fn checked(file: &[u8]) -> Result<&[u8], DataError> {
    if file.len() < HEADER || !file.starts_with(MAGIC) {
        return Err(corrupt("it does not start like a data file of this program"));
    }
    let (head, body) = file.split_at(HEADER);
    if crc32(body).to_le_bytes() != head[MAGIC.len()..] {
        return Err(corrupt("the checksum does not fit"));
    }
    Ok(body)
}

/// Takes bytes from the beginning.
fn take<'a>(body: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], DataError> {
    body.split_off(..bytes).ok_or_else(|| corrupt("it ends early"))
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn corrupt(reason: &str) -> DataError {
    DataError::Corrupt { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::har::signal::channels;
    use crate::data::{Split, SubjectSplit};

    fn wave(length: usize) -> Vec<[i16; SENSORS]> {
        let value = |t: usize, s: usize| ((t * t * (s + 3) + 7 * t) % 4093) as i16 - 2000;
        (0..length).map(|t| std::array::from_fn(|s| value(t, s))).collect()
    }

    fn example(recording: &[[i16; SENSORS]]) -> Vec<u8> {
        let run = Run { recording, first: 300, windows: 3, label: 2, subject: 9 };
        encode(&[run, Run { first: 10, windows: 1, label: 5, ..run }])
    }

    #[test]
    fn a_run_equals_the_filtered_recording_bit_for_bit() {
        let recording = wave(700);
        let windows = decode(&example(&recording)).unwrap();
        let raw: Vec<_> = recording.iter().map(|&counts| physical(counts)).collect();
        let signal = channels(&raw);
        for (index, start) in [300, 364, 428, 10].into_iter().enumerate() {
            let x = &windows.x[index * WINDOW * CHANNELS..][..WINDOW * CHANNELS];
            assert_eq!(x, signal[start..start + WINDOW].as_flattened());
        }
        assert_eq!(windows.labels, [2, 2, 2, 5]);
        assert_eq!(windows.subjects, [9; 4]);
    }

    #[test]
    fn extreme_readings_survive() {
        let mut recording = vec![[0; SENSORS]; WINDOW];
        for (t, reading) in recording.iter_mut().enumerate() {
            reading.fill(if t % 4 < 2 { i16::MIN } else { i16::MAX });
        }
        let run = Run { recording: &recording, first: 0, windows: 1, label: 0, subject: 1 };
        let raw: Vec<_> = recording.iter().map(|&counts| physical(counts)).collect();
        assert_eq!(decode(&encode(&[run])).unwrap().x, channels(&raw).as_flattened());
        assert!(decode(&encode(&[])).unwrap().x.is_empty());
        let nothing = dataset(&encode(&[]), None).unwrap_err().to_string();
        assert!(nothing.ends_with("it holds no example"), "{nothing}");
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_an_error() {
        let file = example(&wave(700));
        for cut in 0..file.len() {
            assert!(decode(&file[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged).is_err(), "byte {at}");
        }
    }

    /// Bodies that are wrong although their checksum is right.
    #[test]
    fn impossible_bodies_are_errors() {
        let seal = |body: &[u8]| [MAGIC.as_slice(), &crc32(body).to_le_bytes(), body].concat();
        let reason = |body: &[u8]| decode(&seal(body)).unwrap_err().to_string();
        let file = example(&wave(700));
        let good = &file[HEADER..];
        let changed = |at: usize, to: u8| {
            let mut body = good.to_vec();
            body[at] = to;
            reason(&body)
        };
        assert!(decode(&seal(good)).is_ok());
        assert!(changed(4, 31).contains("subject or label is out of range"));
        assert!(changed(4, 0).contains("subject or label is out of range"));
        assert!(changed(6, 6).contains("subject or label is out of range"));
        assert!(changed(10, 3).contains("digits of a state are out of range"));
        assert!(changed(12, 99).contains("digits of a state are out of range"));
        assert!(changed(8, 200).contains("ends early"));
        assert!(changed(8, 2).contains("left over"));
        assert!(changed(3, 255).contains("ends early"));
        assert!(reason(&good[..good.len() - 1]).contains("ends early"));
        assert!(reason(&[good, &[0]].concat()).contains("left over"));
        let runs = [1u8, 0, 255, 20, 20].map(|of_each| [of_each; 200]);
        assert!(reason(&[&200u32.to_le_bytes()[..], runs.as_flattened()].concat()).contains("too large"));
        assert!(reason(&[]).contains("ends early"));
    }

    #[test]
    fn the_first_piece_has_windows_for_every_split() {
        let windows = subset().unwrap();
        assert_eq!(windows.present_people(), SUBSET_SUBJECTS);
        let split = Split::by_people(&windows, &SubjectSplit::default()).unwrap();
        assert_eq!(split.validation.present_people(), [1, 14]);
        assert_eq!(split.test.present_people(), [2, 4]);
        for part in [&split.train, &split.validation, &split.test] {
            for label in 0..CLASSES as u32 {
                assert!(part.labels().contains(&label));
            }
        }
        assert!(SUBSET.len() <= 1_300_000);
    }

    #[test]
    #[cfg(feature = "builtin-data")]
    fn the_whole_set_has_the_published_splits() {
        let windows = full().unwrap();
        assert_eq!(windows.len(), 10_299);
        assert_eq!(windows.fingerprint(), 0x36a7_80bf_a121_7597, "the same bits on every platform");
        let split = Split::by_people(&windows, &SubjectSplit::default()).unwrap();
        assert_eq!(split.train.len(), 5515);
        assert_eq!(split.validation.len(), 1837);
        assert_eq!(split.test.len(), 2947);
        assert!(SUBSET.len() + REST.len() <= 3_400_000);
    }
}
