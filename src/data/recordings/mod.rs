//! Recordings as people have them: tables of samples in one file or many, zipped or not, to windows with labels.
//!
//! | file | what it does |
//! | --- | --- |
//! | `source` | a file, a folder, a zip, zips in zips, or what was dropped onto a page |
//! | `rows` | how a table is written, and its rows |
//! | `survey` | which files are tables of one kind, and what their columns are |
//! | `mapping` | what of a table is what: guessed, shown, overruled |
//! | `time` | dates and times of day |
//! | `read` | tables to recordings |
//! | `grid` | recordings to pieces without gaps, evenly spaced |
//! | `windows` | pieces to windows; people, or blocks of time where nothing is known of these |
//! | `report` | what was seen on the way |

mod grid;
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
    let survey = survey::survey(files)?;
    let name = files.name().rsplit('/').next().unwrap_or_default().to_owned();
    let mut report = Report { name, left_out: survey.left_out.clone(), ..Report::default() };
    let paths: Vec<String> = files.paths().map(str::to_owned).collect();
    report.files = survey.tables.iter().map(|table| paths[table.file].clone()).collect();
    let first = &survey.tables[0];
    report.columns = first.columns.clone();
    report.written = written(first.dialect);
    let mapping = Mapping { columns: columns(files, &survey, &given.columns)?, ..given.clone() };
    report.mapping = mapping.clone();
    check(&mapping, files.name())?;
    if mapping.columns.row_signals.is_some() {
        return rows_as_windows(files, &survey, mapping, report);
    }
    let (recordings, labels, channels) = if survey.by_sensor {
        by_sensor(files, &survey, &mapping, &mut report)?
    } else {
        let (recordings, labels) = read::recordings(files, &survey, &mapping.columns, &mut report)?;
        (recordings, labels, mapping.columns.channels.clone().unwrap_or_default())
    };
    report.recordings = recordings.len() as u64;
    report.measured_hz = grid::rate(&recordings);
    let rate = mapping.rate.or(report.measured_hz).unwrap_or_else(|| {
        report.note(format!(
            "Nothing says how fast was sampled: {RATE} samples a second are assumed (`--rate` says otherwise)"
        ));
        RATE
    });
    let overlap = mapping.overlap.unwrap_or(OVERLAP);
    let window = mapping.window.map_or((SECONDS * rate).round() as usize, |window| window as usize);
    if !WINDOWS.contains(&window) {
        let problem = format!("a window would have {window} samples at {rate} a second");
        return Err(DataError::at(files.name(), "all recordings", problem, "say another `--rate` or `--window`"));
    }
    let hop = ((window as f64 * (1.0 - overlap)).round() as usize).max(1);
    let cut = Cut { window, hop, rule: mapping.columns.label_rule.unwrap_or_default() };
    report.mapping.rate = Some(rate);
    report.mapping.window = Some(window as u32);
    report.mapping.overlap = Some(overlap);
    report.mapping.columns.label_rule = Some(cut.rule);

    let (mut pieces, mut of_piece): (Vec<Piece>, Vec<Option<String>>) = (vec![], vec![]);
    for recording in &recordings {
        let own = grid::pieces(recording, channels.len(), rate, &mut report);
        of_piece.extend(std::iter::repeat_n(recording.person.clone(), own.len()));
        pieces.extend(own);
    }
    drop(recordings);
    report.pieces = pieces.len() as u64;
    let mut windows = vec![];
    for (at, piece) in pieces.iter().enumerate() {
        windows.extend(windows::cut(piece, at, cut, &mut report));
    }
    if windows.is_empty() {
        let longest = pieces.iter().map(|piece| piece.labels.len()).max().unwrap_or(0);
        let problem = format!(
            "no window of {window} samples has a label; the longest piece without a gap has {longest} samples, and {} \
             windows have no label",
            report.unlabelled
        );
        let mend = "take a shorter `--window`, or say where labels stand (`--columns`)";
        return Err(DataError::at(files.name(), "all recordings", problem, mend));
    }
    let (people, test) = windows::people(&mut windows, &of_piece, window, &mut report);
    let width = channels.len();
    let mut x = Vec::with_capacity(windows.len() * window * width);
    for at in &windows {
        x.extend_from_slice(&pieces[at.piece].signals[at.start * width..(at.start + window) * width]);
    }
    drop(pieces);
    let made = Made {
        labels: windows.iter().map(|window| window.label).collect(),
        shape: vec![window, width],
        recording: super::Recording { rate_hz: rate as f32, hop },
        names: labels,
        channels,
        people,
        test,
        x,
    };
    made.finished(report)
}

/// Windows with all that belongs to them.
struct Made {
    x: Vec<f32>,
    shape: Vec<usize>,
    labels: Vec<u32>,
    names: Labels,
    channels: Vec<String>,
    people: Vec<u32>,
    test: Vec<u32>,
    recording: super::Recording,
}

impl Made {
    /// The data set, and the report with what is to be said of it.
    fn finished(self, mut report: Report) -> Result<(Dataset, Report), DataError> {
        let (all_names, all_places) = self.names.ordered();
        // Labels that no window has are no classes.
        let mut present: Vec<u32> = self.labels.iter().map(|&label| all_places[label as usize]).collect();
        present.sort_unstable();
        present.dedup();
        let places: Vec<u32> =
            all_places.iter().map(|place| present.binary_search(place).unwrap_or(0) as u32).collect();
        let names: Vec<String> = present.iter().map(|&place| all_names[place as usize].clone()).collect();
        let labels: Vec<u32> = self.labels.iter().map(|&label| places[label as usize]).collect();
        let of_class = |class: u32| labels.iter().filter(|&&label| label == class).count() as u64;
        report.classes = names.iter().enumerate().map(|(class, name)| (name.clone(), of_class(class as u32))).collect();
        let width = self.channels.len();
        let channels: Vec<Channel> = self.channels.iter().map(|name| channel(name)).collect();
        let ends = |c: usize| {
            let of = self.x.iter().skip(c).step_by(width);
            of.fold((f32::INFINITY, f32::NEG_INFINITY), |(least, greatest), &x| (least.min(x), greatest.max(x)))
        };
        let seen = channels.iter().enumerate().map(|(c, channel)| {
            let (least, greatest) = ends(c);
            ChannelReport { name: channel.name.clone(), unit: channel.unit.clone(), least, greatest }
        });
        report.channels = seen.collect();
        let sizes = report.classes.iter().map(|&(_, count)| count);
        if let (Some(least), Some(most)) = (sizes.clone().min(), sizes.max())
            && most > 10 * least
        {
            report.note(format!(
                "Classes are unbalanced: the largest has {most} windows and the smallest {least}; accuracy says little of the \
                 small ones, and macro F1 weighs all alike"
            ));
        }
        let about = Description {
            name: report.name.clone(),
            subset: false,
            shape: self.shape,
            channels,
            outputs: names,
            recording: Some(self.recording),
            held_out: HeldOut { validation: vec![], test: self.test },
        };
        let data = Dataset::new(about, Examples::Floats(self.x), Targets::Labels(labels), self.people)?;
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
fn check(mapping: &Mapping, name: &str) -> Result<(), DataError> {
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
        None | Some(Origin::None) => refused(
            "nothing says what is done in the recordings".to_owned(),
            "say where labels stand: a column, the folder, the file's name (`--columns \"label=activity\"`, `label=folder`, `label=file word 2`)",
        ),
        Some(_) => Ok(()),
    }
}

/// Where each sensor has a file, the tables of each folder as one recording.
fn by_sensor(
    files: &mut Files,
    survey: &Survey,
    mapping: &Mapping,
    report: &mut Report,
) -> Result<(Vec<Recording>, Labels, Vec<String>), DataError> {
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
    Ok((all, labels, channels))
}

/// Tables whose rows are windows already.
fn rows_as_windows(
    files: &mut Files,
    survey: &Survey,
    mapping: Mapping,
    mut report: Report,
) -> Result<(Dataset, Report), DataError> {
    let columns = mapping.columns.channels.clone().unwrap_or_default();
    let signals = mapping.columns.row_signals.unwrap_or(1).max(1) as usize;
    if !columns.len().is_multiple_of(signals) {
        let problem = format!("{} values of a row are no {signals} signals of the same length", columns.len());
        return Err(DataError::at(
            files.name(),
            "the mapping",
            problem,
            "say another `row_signals`, or which columns are `channels`",
        ));
    }
    let (recordings, labels) = read::recordings(files, survey, &mapping.columns, &mut report)?;
    report.recordings = recordings.len() as u64;
    let length = columns.len() / signals;
    let (mut x, mut own, mut of_row) = (vec![], vec![], vec![]);
    for recording in &recordings {
        for (row, &label) in recording.signals.chunks_exact(columns.len()).zip(&recording.labels) {
            if label == read::NONE || row.iter().any(|value| value.is_nan()) {
                report.unlabelled += 1;
                continue;
            }
            x.extend((0..length).flat_map(|t| (0..signals).map(move |c| row[c * length + t])));
            own.push(windows::Window { piece: of_row.len(), start: 0, label });
            of_row.push(recording.person.clone());
        }
    }
    if own.is_empty() {
        let problem = "no row has a label and all its values".to_owned();
        return Err(DataError::at(
            files.name(),
            "all rows",
            problem,
            "say where labels stand (`--columns \"label=…\"`)",
        ));
    }
    // Rows are taken as they come: none overlaps another as far as is known.
    let (people, test) = windows::people(&mut own, &of_row, 0, &mut report);
    let names: Vec<String> = if signals == 1 {
        vec!["signal".to_owned()]
    } else {
        let base =
            |name: &String| name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_' || c == '.').to_owned();
        (0..signals).map(|c| base(&columns[c * length])).collect()
    };
    let rate = mapping.rate.unwrap_or(RATE);
    report.pieces = own.len() as u64;
    report.mapping.window = Some(length as u32);
    let made = Made {
        labels: own.iter().map(|window| window.label).collect(),
        shape: vec![length, signals],
        recording: super::Recording { rate_hz: rate as f32, hop: length },
        names: labels,
        channels: names,
        people,
        test,
        x,
    };
    made.finished(report)
}
