//! Recordings, rows and series cut into windows, and the data set that these make.

use serde::Serialize;

use super::archive;
use super::filter;
use super::grid::{self, Piece};
use super::mapping::{Filter, Mapping, channel};
use super::read::{self, Labels, Recording};
use super::report::{ChannelReport, Report};
use super::source::Files;
use super::survey::{self, Survey};
use super::windows::{self, Cut};
use crate::data::fingerprint::Fingerprint;
use crate::data::{Channel, DataError, Dataset, Description, Examples, HeldOut, Targets};

/// Seconds of a window where nothing else is said: 128 samples at 50 a second, as in UCI HAR.
const SECONDS: f64 = 2.56;
/// Share of a window that the next repeats where nothing else is said.
const OVERLAP: f64 = 0.5;
/// Samples a second where there are no times and nothing else is said.
const RATE: f64 = 50.0;
/// Windows take no more memory; a page has less.
const MOST_BYTES: usize = if cfg!(target_arch = "wasm32") { 1 << 30 } else { 6 << 30 };
/// Samples that a window has at least, and at most.
const WINDOWS: std::ops::RangeInclusive<usize> = 4..=65_536;

/// Windows in the order of their recordings.
#[derive(Debug)]
pub struct Unlabelled {
    /// `[windows, samples, channels]`.
    pub x: Vec<f32>,
    /// Samples of a window.
    pub length: usize,
    /// What stands along the last axis.
    pub channels: Vec<Channel>,
    /// Where each comes from.
    pub places: Vec<Place>,
}

/// Windows with labels, where they lie in what was recorded: windows that overlap take no more memory there.
pub struct Labelled {
    /// What holds for every window.
    pub about: Description,
    /// The label of each.
    pub labels: Vec<u32>,
    /// Who gave each.
    pub people: Vec<u32>,
    /// What was seen of them.
    pub report: Report,
    pieces: Vec<Piece>,
    windows: Vec<windows::Window>,
}

/// Where a window comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// Whose it is, where that is known.
    pub person: Option<String>,
    /// Seconds from the beginning of the recording to its own.
    pub seconds: f64,
    /// What was done in it, where that is known.
    pub label: Option<String>,
}

/// Where a piece comes from.
pub struct Source {
    file: String,
    person: Option<String>,
}

/// Windows, cut.
pub struct Cuttings {
    pieces: Vec<Piece>,
    sources: Vec<Source>,
    windows: Vec<windows::Window>,
    names: Labels,
    channels: Vec<String>,
    /// Samples of a window.
    length: usize,
    recording: crate::data::Recording,
    report: Report,
    /// Of each window, whether it was published to test on, where that is known.
    published: Option<Vec<bool>>,
}

/// Recordings with what their labels and signals are called.
pub struct Recorded {
    /// One after another.
    pub recordings: Vec<Recording>,
    /// What labels are called.
    pub names: Labels,
    /// What signals are called.
    pub channels: Vec<String>,
}

/// Recordings as windows.
pub fn cut_recordings(
    recorded: Recorded,
    place: &str,
    labelled: bool,
    mut report: Report,
) -> Result<Cuttings, DataError> {
    let Recorded { recordings, names, mut channels } = recorded;
    let mapping = report.mapping.clone();
    report.recordings = recordings.len() as u64;
    report.measured_hz = grid::rate(&recordings);
    let rate = mapping.rate.or(report.measured_hz).unwrap_or_else(|| {
        report.note(format!(
            "Nothing says how fast was sampled: {RATE} samples a second are assumed (`--rate` says otherwise)"
        ));
        RATE
    });
    let overlap = mapping.overlap.unwrap_or(OVERLAP);
    let length = mapping.window.map_or((SECONDS * rate).round() as usize, |window| window as usize);
    if !WINDOWS.contains(&length) {
        let (least, most) = (WINDOWS.start(), WINDOWS.end());
        let problem =
            format!("a window would have {length} samples at {rate} a second, and may have from {least} to {most}");
        return Err(DataError::at(place, "all recordings", problem, "say another `--rate` or `--window`"));
    }
    let hop = ((length as f64 * (1.0 - overlap)).round() as usize).max(1);
    let rule = mapping.columns.label_rule.unwrap_or_default();
    report.mapping.rate = Some(rate);
    report.mapping.window = Some(length as u32);
    report.mapping.overlap = Some(overlap);
    report.mapping.columns.label_rule = Some(rule);

    let (mut pieces, mut sources) = (vec![], vec![]);
    for recording in recordings {
        let own = grid::pieces(&recording, channels.len(), rate, &mut report);
        let source = || Source { file: recording.name.clone(), person: recording.person.clone() };
        sources.extend(own.iter().map(|_| source()));
        pieces.extend(own);
    }
    if let Some(Filter::Uci) = mapping.columns.filter {
        channels = filter::uci(&mut pieces, &channels, rate, place)?;
    }
    report.pieces = pieces.len() as u64;
    let cut = Cut { window: length, hop, rule, labelled };
    let mut windows = vec![];
    for (at, piece) in pieces.iter().enumerate() {
        windows.extend(windows::cut(piece, at, cut, &mut report));
    }
    let bytes = windows.len().saturating_mul(length * channels.len() * size_of::<f32>());
    if bytes > MOST_BYTES {
        let problem = format!("its {} windows would take {} MiB", windows.len(), bytes >> 20);
        return Err(DataError::at(
            place,
            "all recordings",
            problem,
            "take a smaller `--overlap` or `--rate`, or fewer files",
        ));
    }
    let recording = crate::data::Recording { rate_hz: rate as f32, hop };
    Ok(Cuttings { pieces, sources, windows, names, channels, length, recording, report, published: None })
}

/// Tables whose rows are windows already.
pub fn rows_as_windows(
    files: &mut Files,
    survey: &Survey,
    signals: usize,
    labelled: bool,
    mut report: Report,
) -> Result<Cuttings, DataError> {
    let mapping = report.mapping.clone();
    let columns = mapping.columns.channels.clone().unwrap_or_default();
    if !columns.len().is_multiple_of(signals) {
        let problem = format!("{} values of a row are no {signals} signals of the same length", columns.len());
        let mend = "say another `row_signals`, or which columns are `channels`";
        return Err(DataError::at(files.name(), "the mapping", problem, mend));
    }
    let (recordings, names) = read::recordings(files, survey, &mapping.columns, &mut report)?;
    report.recordings = recordings.len() as u64;
    let length = columns.len() / signals;
    let (mut pieces, mut sources, mut windows) = (vec![], vec![], vec![]);
    for recording in &recordings {
        for (row, &label) in recording.signals.chunks_exact(columns.len()).zip(&recording.labels) {
            if labelled && label == read::NONE || row.iter().any(|value| value.is_nan()) {
                report.unlabelled += 1;
                continue;
            }
            windows.push(windows::Window { piece: pieces.len(), start: 0, label });
            let signals = (0..length).flat_map(|t| (0..signals).map(move |c| row[c * length + t])).collect();
            pieces.push(Piece { begins: pieces.len() as f64, signals, labels: vec![label; length] });
            sources.push(Source { file: recording.name.clone(), person: recording.person.clone() });
        }
    }
    let channels = match signals {
        1 => vec!["signal".to_owned()],
        _ => (0..signals).map(|c| survey::signal(&columns[c * length]).to_owned()).collect(),
    };
    report.pieces = pieces.len() as u64;
    report.mapping.window = Some(length as u32);
    // Rows are taken as they come: none overlaps another as far as is known.
    let recording = crate::data::Recording { rate_hz: mapping.rate.unwrap_or(RATE) as f32, hop: length };
    Ok(Cuttings { pieces, sources, windows, names, channels, length, recording, report, published: None })
}

/// Series of the archive, each a window: its middle, where others are shorter.
pub fn series_as_windows(series: archive::Series, given: &Mapping, labelled: bool, mut report: Report) -> Cuttings {
    let archive::Series { recordings, labels: names, channels, test: tested } = series;
    report.recordings = recordings.len() as u64;
    let lengths = || recordings.iter().map(|own| own.labels.len());
    let (least, most) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
    let length = given.window.map_or(least, |window| window as usize);
    let short = lengths().filter(|&own| own < length).count();
    if most > length {
        report
            .note(format!("Series have {least} to {most} samples: the middle {length} of each are taken (`--window`)"));
    }
    if short > 0 {
        report.note(format!("{short} series are left out: they have fewer than the {length} samples of a window"));
    }
    report.mapping.window = Some(length as u32);
    let recording = crate::data::Recording { rate_hz: given.rate.unwrap_or(RATE) as f32, hop: length };
    let (mut pieces, mut sources, mut windows, mut test) = (vec![], vec![], vec![], vec![]);
    for (own, tested) in recordings.into_iter().zip(tested) {
        let (samples, label) = (own.labels.len(), own.labels[0]);
        if samples < length {
            continue;
        }
        if labelled && label == read::NONE {
            report.unlabelled += 1;
            continue;
        }
        windows.push(windows::Window { piece: pieces.len(), start: (samples - length) / 2, label });
        sources.push(Source { file: own.name, person: None });
        pieces.push(Piece { begins: pieces.len() as f64, signals: own.signals, labels: own.labels });
        test.push(tested);
    }
    report.pieces = pieces.len() as u64;
    let channels = (1..=channels).map(|channel| format!("signal {channel}")).collect();
    let published = (test.contains(&true) && test.contains(&false)).then_some(test);
    Cuttings { pieces, sources, windows, names, channels, length, recording, report, published }
}

impl Cuttings {
    /// These, if there are any.
    pub fn some(self, place: &str, labelled: bool) -> Result<Self, DataError> {
        if !self.windows.is_empty() {
            return Ok(self);
        }
        let longest = self.pieces.iter().map(|piece| piece.labels.len()).max().unwrap_or(0);
        let length = format!("the longest piece without a gap has {longest} samples, and a window has {}", self.length);
        let (problem, mend) = if labelled {
            let problem = format!("no window has a label: {length}, and {} windows have none", self.report.unlabelled);
            (problem, "take a shorter `--window`, or say where labels stand (`--columns`)")
        } else {
            (length, "give longer recordings")
        };
        Err(DataError::at(place, "all recordings", problem, mend))
    }

    /// The windows as they are, and the report.
    pub fn unlabelled(self) -> (Unlabelled, Report) {
        let (names, places) = self.names.ordered();
        let label = |label: u32| places.get(label as usize).map(|&place| names[place as usize].clone());
        let rate = f64::from(self.recording.rate_hz);
        let timed = self.report.measured_hz.is_some();
        let place = |window: &windows::Window| {
            let (piece, source) = (&self.pieces[window.piece], &self.sources[window.piece]);
            let begins = if timed { piece.begins } else { piece.begins / rate };
            Place {
                file: source.file.clone(),
                person: source.person.clone(),
                seconds: begins + window.start as f64 / rate,
                label: label(window.label),
            }
        };
        let places = self.windows.iter().map(place).collect();
        let channels = self.channels.iter().map(|name| channel(name)).collect();
        let x = samples(&self.pieces, &self.windows, [self.length, self.channels.len()]).collect::<Vec<_>>().concat();
        (Unlabelled { x, length: self.length, channels, places }, self.report)
    }

    /// The windows with their labels and people, and what is to be said of them.
    pub fn labelled(mut self) -> Labelled {
        let of_piece: Vec<Option<String>> = self.sources.iter().map(|source| source.person.clone()).collect();
        // Windows that were cut by others are not known to overlap.
        let apart = if self.recording.hop == self.length { 0 } else { self.length };
        let (people, test) = match &self.published {
            Some(test) => windows::published(test, &mut self.report),
            None => windows::people(&mut self.windows, &of_piece, apart, &mut self.report),
        };
        let Cuttings { windows, names, channels, length, recording, mut report, pieces, .. } = self;
        let (all_names, all_places) = names.ordered();
        // Labels that no window has are no classes.
        let mut present: Vec<u32> = windows.iter().map(|window| all_places[window.label as usize]).collect();
        present.sort_unstable();
        present.dedup();
        let class = |label: u32| present.partition_point(|&place| place < all_places[label as usize]) as u32;
        let labels: Vec<u32> = windows.iter().map(|window| class(window.label)).collect();
        let outputs: Vec<String> = present.iter().map(|&place| all_names[place as usize].clone()).collect();
        let of_class = |class: usize| labels.iter().filter(|&&label| label as usize == class).count() as u64;
        report.classes = outputs.iter().enumerate().map(|(class, name)| (name.clone(), of_class(class))).collect();
        let width = channels.len();
        let channels: Vec<Channel> = channels.iter().map(|name| channel(name)).collect();
        let seen = channels.iter().enumerate().map(|(c, channel)| {
            let (least, greatest) = samples(&pieces, &windows, [length, width])
                .flat_map(|window| window.iter().skip(c).step_by(width))
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(least, greatest), &x| (least.min(x), greatest.max(x)));
            ChannelReport { name: channel.name.clone(), unit: channel.unit.clone(), least, greatest }
        });
        report.channels = seen.collect();
        let sizes = report.classes.iter().map(|&(_, count)| count);
        if let (Some(least), Some(most)) = (sizes.clone().min(), sizes.max())
            && most > 10 * least
        {
            report.note(format!(
                "Classes are unbalanced: the largest has {most} windows and the smallest {least}; accuracy says little of \
                 the small ones, and macro F1 weighs all alike"
            ));
        }
        let about = Description {
            name: report.name.clone(),
            subset: false,
            shape: vec![length, width],
            channels,
            outputs,
            recording: Some(recording),
            held_out: HeldOut { validation: vec![], test },
        };
        Labelled { about, labels, people, report, pieces, windows }
    }
}

impl Labelled {
    /// The samples of each window, `[samples, channels]`.
    pub fn windows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        let [length, width] = self.about.shape[..] else { unreachable!("windows have samples and channels") };
        samples(&self.pieces, &self.windows, [length, width])
    }

    /// That of the data set.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fingerprint::default();
        hash.take(self.windows().flatten().flat_map(|value| value.to_le_bytes()));
        hash.take(self.labels.iter().chain(&self.people).flat_map(|number| number.to_le_bytes()));
        hash.0
    }

    /// The data set, and the report with what is to be said of it.
    pub fn dataset(self) -> Result<(Dataset, Report), DataError> {
        let x = self.windows().collect::<Vec<_>>().concat();
        let Labelled { about, labels, people, report, .. } = self;
        Ok((Dataset::new(about, Examples::Floats(x), Targets::Labels(labels), people)?, report))
    }
}

/// The samples of windows, where they lie in pieces.
fn samples<'p>(
    pieces: &'p [Piece],
    windows: &'p [windows::Window],
    [length, width]: [usize; 2],
) -> impl ExactSizeIterator<Item = &'p [f32]> {
    windows.iter().map(move |at| &pieces[at.piece].signals[at.start * width..(at.start + length) * width])
}
