//! The UCI HAR windows that come with the program, kept as sensor readings.
//!
//! The recipe of [`signal`](super::signal) starts with a median of integers; its result takes far
//! less room than the windows and is what we keep. A *run* is a series of windows of one activity,
//! 64 samples apart, so its readings are stored once. The filters after the median remember the
//! whole recording; each run therefore carries their state at its start, and the windows come out
//! bit for bit as if the recording had been filtered from its beginning.
//!
//! A file is, little-endian: `STKLHAR1`, the CRC-32 of everything behind it, the length of the
//! unpacked body (u32), the body as a zlib stream. The body: the number of runs (u32); for each run
//! subject (u8), label 0..6 (u8), number of windows (u8), each as one array; filter states (78 f64 a
//! run) as byte planes; readings, sensor by sensor, all runs behind one another, as zigzag-coded
//! first differences (u16, wrapping), as byte planes. Byte plane k holds byte k of every number.

use super::signal::{Filters, SENSORS, median3, physical};
use super::{CHANNELS, CLASSES, HOP, SUBJECTS, TEST_SUBJECTS, WINDOW, Windows};
use crate::data::{DataError, Dataset};
use bytemuck::Zeroable;
use flate2::{Compression, Crc, read::ZlibDecoder, write::ZlibEncoder};
use std::io::{Read, Write};

const MAGIC: &[u8; 8] = b"STKLHAR1";
const HEADER: usize = MAGIC.len() + 8;
const STATE: usize = size_of::<Filters>() / 8;
/// Above the body of the whole data set, which is 9.1 MB; corrupt files are not to exhaust memory.
const BODY_LIMIT: usize = 32 << 20;

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
        states.extend(bytemuck::cast::<Filters, [f64; STATE]>(filters).map(f64::to_le_bytes));
        counts.extend(&clean[run.first..][..readings(run.windows)]);
    }
    let mut body = u32::try_from(runs.len()).expect("few runs").to_le_bytes().to_vec();
    body.extend(runs.iter().map(|run| run.subject));
    body.extend(runs.iter().map(|run| run.label));
    body.extend(runs.iter().map(|run| run.windows));
    push_planes(&mut body, &states);
    for sensor in 0..SENSORS {
        let mut before = 0;
        let differences: Vec<[u8; 2]> = counts
            .iter()
            .map(|reading| {
                let step = reading[sensor].wrapping_sub(before);
                before = reading[sensor];
                ((step << 1) ^ (step >> 15)).to_le_bytes()
            })
            .collect();
        push_planes(&mut body, &differences);
    }
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    let packed = zlib.write_all(&body).and_then(|()| zlib.finish()).expect("memory takes any bytes");
    let mut rest = u32::try_from(body.len()).expect("a small body").to_le_bytes().to_vec();
    rest.extend(packed);
    [MAGIC.as_slice(), &crc32(&rest).to_le_bytes(), &rest].concat()
}

/// The windows in a file of this module's format.
fn decode(file: &[u8]) -> Result<Windows, DataError> {
    let body = unpack(file)?;
    let mut body = Body(&body);
    let runs = body.number()?;
    let (subjects, labels, windows) = (body.take(runs)?, body.take(runs)?, body.take(runs)?);
    if subjects.iter().any(|&s| !(1..=SUBJECTS).contains(&u32::from(s)))
        || labels.iter().any(|&l| usize::from(l) >= CLASSES)
    {
        return Err(corrupt("a subject or label is out of range"));
    }
    let states: Vec<[u8; 8]> = body.planes(runs * STATE)?;
    let total = windows.iter().map(|&n| readings(n)).sum();
    let counts = body.counts(total)?;
    if !body.0.is_empty() {
        return Err(corrupt("bytes are left over"));
    }
    let mut counts = counts.as_slice();
    let mut out = Windows::default();
    for (run, state) in states.chunks_exact(STATE).enumerate() {
        let state: [f64; STATE] = std::array::from_fn(|i| f64::from_le_bytes(state[i]));
        let mut filters: Filters = bytemuck::cast(state);
        let (mine, others) = counts.split_at(readings(windows[run]));
        counts = others;
        let signal: Vec<[f32; CHANNELS]> = mine.iter().map(|&c| filters.step(&physical(c))).collect();
        for window in 0..usize::from(windows[run]) {
            out.x.extend(signal[window * HOP..][..WINDOW].as_flattened());
            out.labels.push(labels[run].into());
            out.subjects.push(subjects[run].into());
        }
    }
    Ok(out)
}

/// Checks the header and unpacks the body.
fn unpack(file: &[u8]) -> Result<Vec<u8>, DataError> {
    if file.len() < HEADER || !file.starts_with(MAGIC) {
        return Err(corrupt("it does not start like a data file of this program"));
    }
    let (head, packed) = file.split_at(HEADER);
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if crc32(&file[MAGIC.len() + 4..]) != word(MAGIC.len()) {
        return Err(corrupt("the checksum does not fit"));
    }
    let length = word(MAGIC.len() + 4) as usize;
    if length > BODY_LIMIT {
        return Err(corrupt("it claims to be far too large"));
    }
    let mut body = Vec::with_capacity(length);
    ZlibDecoder::new(packed)
        .take(length as u64 + 1)
        .read_to_end(&mut body)
        .map_err(|error| corrupt(&error.to_string()))?;
    if body.len() != length {
        return Err(corrupt("the body has another length than it should"));
    }
    Ok(body)
}

/// The part of a body that has not been read yet.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], DataError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or_else(|| corrupt("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<usize, DataError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    }

    /// `count` numbers of `B` bytes from byte planes.
    fn planes<const B: usize>(&mut self, count: usize) -> Result<Vec<[u8; B]>, DataError> {
        let planes = self.take(count.saturating_mul(B))?;
        Ok((0..count).map(|i| std::array::from_fn(|k| planes[k * count + i])).collect())
    }

    /// `count` readings of all sensors from their differences.
    fn counts(&mut self, count: usize) -> Result<Vec<[i16; SENSORS]>, DataError> {
        let mut counts = vec![[0; SENSORS]; count];
        for sensor in 0..SENSORS {
            let mut value = 0i16;
            for (reading, code) in counts.iter_mut().zip(self.planes::<2>(count)?) {
                let code = u16::from_le_bytes(code);
                value = value.wrapping_add((code >> 1) as i16 ^ -((code & 1) as i16));
                reading[sensor] = value;
            }
        }
        Ok(counts)
    }
}

fn push_planes<const B: usize>(out: &mut Vec<u8>, numbers: &[[u8; B]]) {
    for plane in 0..B {
        out.extend(numbers.iter().map(|bytes| bytes[plane]));
    }
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
        let seal = |body: &[u8], claimed: u32| {
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
            zlib.write_all(body).unwrap();
            let rest = [claimed.to_le_bytes().to_vec(), zlib.finish().unwrap()].concat();
            [MAGIC.as_slice(), &crc32(&rest).to_le_bytes(), &rest].concat()
        };
        let reason = |body: &[u8], claimed: usize| decode(&seal(body, claimed as u32)).unwrap_err().to_string();
        let good = unpack(&example(&wave(700))).unwrap();
        let changed = |at: usize, to: u8| {
            let mut body = good.clone();
            body[at] = to;
            reason(&body, body.len())
        };
        assert!(decode(&seal(&good, good.len() as u32)).is_ok());
        assert!(changed(4, 31).contains("out of range"));
        assert!(changed(4, 0).contains("out of range"));
        assert!(changed(6, 6).contains("out of range"));
        assert!(changed(8, 9).contains("ends early"));
        assert!(changed(8, 2).contains("left over"));
        assert!(changed(3, 255).contains("ends early"));
        assert!(reason(&good, good.len() - 1).contains("length"));
        assert!(reason(&good, good.len() + 1).contains("length"));
        assert!(reason(&good, u32::MAX as usize).contains("too large"));
        assert!(reason(&[], 0).contains("ends early"));
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
        assert!(SUBSET.len() <= 1_800_000);
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
        assert!(SUBSET.len() + REST.len() <= 5_000_000);
    }
}
