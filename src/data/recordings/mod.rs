//! Recordings as people have them: tables of samples in one file or many, zipped or not, to windows with labels.
//!
//! | file | what it does |
//! | --- | --- |
//! | `archive`, `hapt` | the files of the UEA and UCR archive, the raw recordings of HAPT |
//! | `source` | a file, a folder, a zip, zips in zips, or what was dropped onto a page |
//! | `rows` | how a table is written, and its rows |
//! | `survey` | which files are tables of one kind, and what their columns are |
//! | `mapping` | what of a table is what: guessed, shown, overruled |
//! | `time` | dates and times of day |
//! | `read` | tables to recordings |
//! | `grid` | recordings to pieces without gaps, evenly spaced |
//! | `windows` | pieces to windows; people, or blocks of time where nothing is known of these |
//! | `report` | what was seen on the way |

mod archive;
mod grid;
mod hapt;
mod mapping;
mod read;
mod report;
mod rows;
mod source;
mod survey;
#[cfg(test)]
mod tests;
mod time;
mod windows;

pub use self::mapping::{Columns, LabelRule, Mapping, Origin, TimeUnit};
pub use self::report::{ChannelReport, Person, Report};
pub use self::source::Files;

use serde::Serialize;

use self::grid::Piece;
use self::read::{Labels, Recording};
use self::rows::Dialect;
use self::survey::{Survey, Table};
use self::windows::Cut;
use super::{Channel, DataError, Dataset, Description, Examples, HeldOut, Targets};

/// Seconds of a window where nothing else is said: 128 samples at 50 a second, as in UCI HAR.
const SECONDS: f64 = 2.56;
/// Share of a window that the next repeats where nothing else is said.
const OVERLAP: f64 = 0.5;
/// Samples a second where there are no times and nothing else is said.
const RATE: f64 = 50.0;
/// Samples that a window has at least, and at most.
const WINDOWS: std::ops::RangeInclusive<usize> = 4..=65_536;

/// Reads recordings into windows, with what a mapping says and what is guessed beside it; tells what was seen.
pub fn read(files: &mut Files, given: &Mapping) -> Result<(Dataset, Report), DataError> {
    windows(files, given, true)?.dataset()
}

/// A published data set where it is one; else one's own recordings, with what was seen.
pub fn or_own(
    published: Result<Dataset, DataError>,
    own: impl FnOnce() -> Result<(Dataset, Report), DataError>,
) -> Result<(Dataset, Option<Report>), DataError> {
    match published {
        Ok(data) => Ok((data, None)),
        Err(published @ (DataError::WrongFolders { .. } | DataError::UnknownFormat { kind: "", .. })) => match own() {
            Ok((data, report)) => Ok((data, Some(report))),
            // What it is that is no table either is told better by who looked for the set.
            Err(DataError::NoTable { .. }) => Err(published),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// The same as [`read`] for windows of which nothing need be known: all of them, in order, with where they come from.
pub fn read_unlabelled(files: &mut Files, given: &Mapping) -> Result<(Unlabelled, Report), DataError> {
    Ok(windows(files, given, false)?.unlabelled())
}

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
struct Source {
    file: String,
    person: Option<String>,
}

/// Windows, cut.
struct Cuttings {
    pieces: Vec<Piece>,
    sources: Vec<Source>,
    windows: Vec<windows::Window>,
    names: Labels,
    channels: Vec<String>,
    /// Samples of a window.
    length: usize,
    recording: super::Recording,
    report: Report,
    /// Of each window, whether it was published to test on, where that is known.
    published: Option<Vec<bool>>,
}

fn windows(files: &mut Files, given: &Mapping, labelled: bool) -> Result<Cuttings, DataError> {
    let name = files.name().rsplit('/').next().unwrap_or_default().to_owned();
    let paths: Vec<String> = files.paths().map(str::to_owned).collect();
    let mut report = Report { name, mapping: given.clone(), ..Report::default() };
    let cuttings = if let Some(series) = archive::series(files)? {
        report.written = "series of the UEA and UCR archive".to_owned();
        report.files = paths.into_iter().filter(|path| series.recordings.iter().any(|own| own.name == *path)).collect();
        series_as_windows(series, given, report)
    } else if let Some((recordings, names)) = hapt::recordings(files)? {
        report.written = "the raw recordings of HAPT".to_owned();
        report.files = recordings.iter().map(|recording| recording.name.clone()).collect();
        let channels = hapt::CHANNELS.map(str::to_owned).into();
        cut_recordings(Recorded { recordings, names, channels }, files.name(), labelled, report)?
    } else {
        let survey = survey::survey(files)?;
        report.left_out.clone_from(&survey.left_out);
        report.files = survey.tables.iter().map(|table| paths[table.file].clone()).collect();
        let first = &survey.tables[0];
        report.columns = first.columns.clone();
        report.written = written(first.dialect);
        report.mapping.columns = columns(files, &survey, &given.columns)?;
        check(&report.mapping, files.name(), labelled)?;
        match report.mapping.columns.row_signals {
            Some(signals) => rows_as_windows(files, &survey, signals.max(1) as usize, labelled, report)?,
            None => {
                let recorded = recorded(files, &survey, &mut report)?;
                cut_recordings(recorded, files.name(), labelled, report)?
            }
        }
    };
    if cuttings.windows.is_empty() {
        let longest = cuttings.pieces.iter().map(|piece| piece.labels.len()).max().unwrap_or(0);
        let problem = format!(
            "no window of {} samples has a label; the longest piece without a gap has {longest} samples, and {} windows \
             have no label",
            cuttings.length, cuttings.report.unlabelled
        );
        let mend = "take a shorter `--window`, or say where labels stand (`--columns`)";
        return Err(DataError::at(files.name(), "all recordings", problem, mend));
    }
    Ok(cuttings)
}

/// Recordings with what their labels and signals are called.
struct Recorded {
    recordings: Vec<Recording>,
    names: Labels,
    channels: Vec<String>,
}

fn recorded(files: &mut Files, survey: &Survey, report: &mut Report) -> Result<Recorded, DataError> {
    let mapping = report.mapping.clone();
    if survey.by_sensor {
        return by_sensor(files, survey, &mapping, report);
    }
    let (recordings, names) = read::recordings(files, survey, &mapping.columns, report)?;
    Ok(Recorded { recordings, names, channels: mapping.columns.channels.unwrap_or_default() })
}

fn cut_recordings(recorded: Recorded, place: &str, labelled: bool, mut report: Report) -> Result<Cuttings, DataError> {
    let Recorded { recordings, names, channels } = recorded;
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
        let problem = format!("a window would have {length} samples at {rate} a second");
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
    report.pieces = pieces.len() as u64;
    let cut = Cut { window: length, hop, rule, labelled };
    let mut windows = vec![];
    for (at, piece) in pieces.iter().enumerate() {
        windows.extend(windows::cut(piece, at, cut, &mut report));
    }
    let recording = super::Recording { rate_hz: rate as f32, hop };
    Ok(Cuttings { pieces, sources, windows, names, channels, length, recording, report, published: None })
}

/// Tables whose rows are windows already.
fn rows_as_windows(
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
    let recording = super::Recording { rate_hz: mapping.rate.unwrap_or(RATE) as f32, hop: length };
    Ok(Cuttings { pieces, sources, windows, names, channels, length, recording, report, published: None })
}

/// Series of the archive, each a window.
fn series_as_windows(series: archive::Series, given: &Mapping, mut report: Report) -> Cuttings {
    let archive::Series { recordings, labels, channels, length, test } = series;
    report.recordings = recordings.len() as u64;
    report.pieces = report.recordings;
    report.mapping.window = Some(length as u32);
    let recording = super::Recording { rate_hz: given.rate.unwrap_or(RATE) as f32, hop: length };
    let (mut pieces, mut sources, mut windows) = (vec![], vec![], vec![]);
    for (at, own) in recordings.into_iter().enumerate() {
        windows.push(windows::Window { piece: at, start: 0, label: own.labels[0] });
        sources.push(Source { file: own.name, person: None });
        pieces.push(Piece { begins: at as f64, signals: own.signals, labels: own.labels });
    }
    let channels = (1..=channels).map(|channel| format!("signal {channel}")).collect();
    let published = (test.contains(&true) && test.contains(&false)).then_some(test);
    Cuttings { pieces, sources, windows, names: labels, channels, length, recording, report, published }
}

impl Cuttings {
    /// The samples of its windows, `[windows, samples, channels]`.
    fn samples(&self) -> Vec<f32> {
        let width = self.channels.len();
        let mut x = Vec::with_capacity(self.windows.len() * self.length * width);
        for at in &self.windows {
            let signals = &self.pieces[at.piece].signals;
            x.extend_from_slice(&signals[at.start * width..(at.start + self.length) * width]);
        }
        x
    }

    fn unlabelled(self) -> (Unlabelled, Report) {
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
        (Unlabelled { x: self.samples(), length: self.length, channels, places }, self.report)
    }

    /// The data set, and the report with what is to be said of it.
    fn dataset(mut self) -> Result<(Dataset, Report), DataError> {
        let of_piece: Vec<Option<String>> = self.sources.iter().map(|source| source.person.clone()).collect();
        // Windows that were cut by others are not known to overlap.
        let apart = if self.recording.hop == self.length { 0 } else { self.length };
        let (people, test) = match &self.published {
            Some(test) => windows::published(test, &mut self.report),
            None => windows::people(&mut self.windows, &of_piece, apart, &mut self.report),
        };
        let x = self.samples();
        let Cuttings { windows, names, channels, length, recording, mut report, pieces, .. } = self;
        drop(pieces);
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
            let (least, greatest) = x
                .iter()
                .skip(c)
                .step_by(width)
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
        let data = Dataset::new(about, Examples::Floats(x), Targets::Labels(labels), people)?;
        Ok((data, report))
    }
}

/// A channel with the unit that stands behind its name in brackets.
fn channel(name: &str) -> Channel {
    let unit = name.strip_suffix([')', ']']).and_then(|inner| inner.rsplit_once(['(', '[']));
    match unit {
        Some((name, unit)) if !name.trim().is_empty() => {
            Channel { name: name.trim().to_owned(), unit: unit.trim().to_owned() }
        }
        _ => Channel { name: name.to_owned(), unit: String::new() },
    }
}

fn written(dialect: Dialect) -> String {
    let separator = match dialect.separator {
        None => "blanks".to_owned(),
        Some(b'\t') => "tabs".to_owned(),
        Some(separator) => format!("`{}`", char::from(separator)),
    };
    let decimal = if dialect.decimal_comma { ", decimal commas" } else { "" };
    let header = if dialect.header { "names in the first row" } else { "no names of columns" };
    format!("separated by {separator}{decimal}, {header}")
}

/// What is said of columns, and beside it what is guessed.
fn columns(files: &mut Files, survey: &Survey, given: &Columns) -> Result<Columns, DataError> {
    let first = &survey.tables[0];
    let seen = survey::columns(files, first)?;
    let paths: Vec<String> = files.paths().map(str::to_owned).collect();
    let mut of_tables: Vec<&str> = survey.tables.iter().map(|table| &*paths[table.file]).collect();
    // Of files by sensor, only folders tell recordings apart.
    let folders: Vec<String>;
    if survey.by_sensor {
        folders =
            of_tables.iter().map(|path| format!("{}/sensor", path.rsplit_once('/').map_or("", |(f, _)| f))).collect();
        of_tables = folders.iter().map(String::as_str).collect();
    }
    let guessed = survey::guess(&first.columns, &seen, &of_tables, first.dialect.header);
    let mut said = guessed.overruled(given.clone());
    // A column that was named for one thing is not also another.
    let taken = |name: &str| {
        let is = |origin: &Option<Origin>| matches!(origin, Some(Origin::Column(own)) if own == name);
        is(&said.label) || is(&said.person) || said.time.as_deref() == Some(name)
    };
    if given.channels.is_none() {
        said.channels = said.channels.as_ref().map(|names| names.iter().filter(|name| !taken(name)).cloned().collect());
    }
    if said.time_unit.is_none() && said.time.as_deref().is_some_and(|time| time != "none") {
        said.time_unit = Some(TimeUnit::S);
    }
    Ok(said)
}

/// Refuses what cannot be.
fn check(mapping: &Mapping, name: &str, labelled: bool) -> Result<(), DataError> {
    let refused = |problem: String, mend: &'static str| Err(DataError::at(name, "the mapping", problem, mend));
    if mapping.columns.channels.as_ref().is_none_or(Vec::is_empty) {
        return refused(
            "no column holds a signal".to_owned(),
            "name the columns of the signals (`--columns \"channels=ax, ay, az\"`)",
        );
    }
    if let Some(rate) = mapping.rate
        && !(rate.is_finite() && (1e-3..=1e6).contains(&rate))
    {
        return refused(format!("the rate is {rate}"), "give samples a second, such as `--rate 50`");
    }
    if let Some(overlap) = mapping.overlap
        && !(0.0..1.0).contains(&overlap)
    {
        return refused(
            format!("the overlap is {overlap}"),
            "give a share of a window from 0 to below 1, such as `--overlap 0.5`",
        );
    }
    match &mapping.columns.label {
        None | Some(Origin::None) if labelled => refused(
            "nothing says what is done in the recordings".to_owned(),
            "say where labels stand: a column, the folder, the file's name (`--columns \"label=activity\"`, `label=folder`, `label=file word 2`)",
        ),
        _ => Ok(()),
    }
}

/// Where each sensor has a file, the tables of each folder as one recording.
fn by_sensor(
    files: &mut Files,
    survey: &Survey,
    mapping: &Mapping,
    report: &mut Report,
) -> Result<Recorded, DataError> {
    let paths: Vec<String> = files.paths().map(str::to_owned).collect();
    let folder = |table: &Table| paths[table.file].rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut labels = Labels::default();
    let (mut all, mut channels) = (vec![], vec![]);
    for tables in survey.tables.chunk_by(|a, b| folder(a) == folder(b)) {
        let mut sensors = vec![];
        let mut names = vec![];
        for table in tables {
            // Each file has columns of its own; labels and people stand in the path.
            let seen = survey::columns(files, table)?;
            let guessed = survey::guess(&table.columns, &seen, &[], table.dialect.header);
            let (time, unit) = (guessed.time, guessed.time_unit);
            let own = Columns { channels: guessed.channels, time, time_unit: unit, ..mapping.columns.clone() };
            let signals = own.channels.clone().unwrap_or_default();
            let sensor = mapping::stem(&paths[table.file]).to_owned();
            names.extend(signals.iter().map(|signal| format!("{sensor} {signal}")));
            let parts = read::table_recordings(files, table, &own, &mut labels, report)?;
            if let Some(longest) = parts.into_iter().max_by_key(|part| part.labels.len()) {
                if longest.times.is_empty() {
                    let problem = "it has no column of times, and is one of several sensors' files".to_owned();
                    let mend = "files of several sensors are joined on their times; add these, or give one file";
                    return Err(DataError::at(&paths[table.file], "all rows", problem, mend));
                }
                sensors.push((longest, signals.len()));
            }
        }
        if channels.is_empty() {
            channels = names;
        } else if channels != names {
            let problem = format!("it has the signals {names:?}, and another folder {channels:?}");
            return Err(DataError::at(
                folder(&tables[0]),
                "all files",
                problem,
                "give recordings with the same sensors",
            ));
        }
        let rates: Vec<Recording> = sensors.iter().map(|(sensor, _)| sensor.clone()).collect();
        if let Some(rate) = mapping.rate.or_else(|| grid::rate(&rates)) {
            all.push(grid::joined(&sensors, rate));
        }
    }
    all.retain(|recording| !recording.labels.is_empty());
    Ok(Recorded { recordings: all, names: labels, channels })
}
