//! What a look at files tells: which of them are tables of one kind, and what stands in their columns.

use std::collections::{BTreeMap, BTreeSet};

use super::mapping::{Columns, Origin, TimeUnit, stem, words};
use super::rows::{Dialect, Look, Row, Rows, look, number};
use super::source::{Files, other_form};
use crate::data::DataError;

/// Rows of a file that are looked at.
pub const LOOKED_AT: usize = 20_000;
/// Rows that a code stands in at a time, at least.
const RUNS: usize = 20;
/// Different values of a column that are counted.
const DIFFERENT: usize = 64;
/// Rows that are windows have at least so many values.
const WIDE: usize = 33;
/// The endings of files that may be tables.
const ENDINGS: [&str; 7] = ["csv", "txt", "tsv", "dat", "data", "log", ""];
/// Sensors that phones write a file each of.
const SENSORS: [&str; 10] = [
    "accelerometer",
    "gyroscope",
    "gravity",
    "magnetometer",
    "linear",
    "orientation",
    "totalacceleration",
    "barometer",
    "acceleration",
    "rotation",
];

/// A table among the files.
#[derive(Debug)]
pub struct Table {
    /// Its place among the files.
    pub file: usize,
    /// How it is written.
    pub dialect: Dialect,
    /// Its columns.
    pub columns: Vec<String>,
}

impl Table {
    /// What tables that are read together have in common.
    fn kind(&self) -> (bool, Vec<String>) {
        let mut columns = self.columns.clone();
        if self.dialect.header {
            columns.sort();
        }
        (self.dialect.header, columns)
    }
}

/// Tables that belong together, and the paths of files that do not.
#[derive(Debug)]
pub struct Survey {
    /// Tables with the same columns; where each sensor has a file, those of one recording behind one another.
    pub tables: Vec<Table>,
    /// Whether each folder is a recording with a file for each sensor.
    pub by_sensor: bool,
    /// Files of another kind, with why they are left out.
    pub left_out: Vec<String>,
}

/// Finds the tables among files.
pub fn survey(files: &mut Files) -> Result<Survey, DataError> {
    let paths: Vec<String> = files.paths().map(str::to_owned).collect();
    let (mut tables, mut left_out, mut first_error) = (vec![], vec![], None);
    for (file, path) in paths.iter().enumerate() {
        let ending = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, ending)| ending);
        if !ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) || is_about(path) {
            let advice = other_form(path);
            left_out.push(format!("{path} ({})", advice.map_or("no table", |(what, _)| what)));
            if let Some((what, mend)) = advice {
                let error = || DataError::at(path, "all of it", format!("it is {what}, no table of text"), mend);
                first_error = first_error.or_else(|| Some(error()));
            }
            continue;
        }
        let name = path.clone();
        match files.open(file).and_then(|bytes| look(&name, bytes)) {
            Ok(Look { dialect, columns }) if columns.len() > 1 => tables.push(Table { file, dialect, columns }),
            Ok(_) => left_out.push(format!("{path} (one column)")),
            Err(error) => {
                left_out.push(format!("{path} ({error})"));
                first_error = first_error.or(Some(error));
            }
        }
    }
    if tables.is_empty() {
        let found = left_out.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        let found = if found.is_empty() { "nothing".to_owned() } else { found };
        let none = DataError::NoTable { place: files.name().to_owned(), found };
        return Err(first_error.unwrap_or(none));
    }
    let folder = |table: &Table| paths[table.file].rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let is_sensor = |table: &Table| {
        let stem = stem(&paths[table.file]).to_ascii_lowercase();
        SENSORS.iter().any(|sensor| words(&stem).any(|word| word == *sensor) || stem == *sensor)
    };
    let sensors: Vec<&Table> = tables.iter().filter(|table| is_sensor(table)).collect();
    let shares = sensors.iter().any(|a| sensors.iter().any(|b| a.file != b.file && folder(a) == folder(b)));
    let by_sensor = shares && 2 * sensors.len() > tables.len();
    let belongs: Box<dyn Fn(&Table) -> bool> = if by_sensor {
        // A sensor that some recordings lack is in none.
        let folders: BTreeSet<String> = sensors.iter().map(|table| folder(table)).collect();
        let everywhere = |table: &Table| {
            let own = stem(&paths[table.file]).to_ascii_lowercase();
            let has = |at: &String| {
                sensors.iter().any(|other| folder(other) == *at && stem(&paths[other.file]).eq_ignore_ascii_case(&own))
            };
            folders.iter().all(has)
        };
        let kept: BTreeSet<usize> = sensors.iter().filter(|table| everywhere(table)).map(|table| table.file).collect();
        Box::new(move |table| kept.contains(&table.file))
    } else {
        // The columns that most tables have, where they have names in any order.
        let like = |table: &Table| tables.iter().filter(|other| other.kind() == table.kind()).count();
        let most =
            tables.iter().max_by_key(|table| (like(table), std::cmp::Reverse(table.file))).expect("there is one");
        let kind = most.kind();
        Box::new(move |table| table.kind() == kind)
    };
    let (kept, others): (Vec<Table>, Vec<Table>) = tables.into_iter().partition(|table| belongs(table));
    let kind = if by_sensor { "another sensor" } else { "other columns" };
    left_out.extend(others.iter().map(|table| format!("{} ({kind})", paths[table.file])));
    Ok(Survey { tables: kept, by_sensor, left_out })
}

/// Whether a file tells about data instead of holding some.
fn is_about(path: &str) -> bool {
    let stem = stem(path).to_ascii_lowercase();
    ["readme", "license", "licence", "requirements", "metadata", "annotation"].iter().any(|name| stem.starts_with(name))
}

/// What stands in a column, as far as it was looked at.
#[derive(Debug, Default)]
pub struct Seen {
    rows: usize,
    numbers: usize,
    missing: usize,
    whole: bool,
    dates: usize,
    words: usize,
    texts: BTreeSet<String>,
    /// The rows at which something else begins to stand, and what; of a column that often changes only the first.
    runs: Vec<(usize, String)>,
    values: BTreeSet<u64>,
    changes: usize,
    rises: usize,
    falls: usize,
    last: Option<f64>,
    last_text: String,
    steps: Vec<f64>,
}

impl Seen {
    fn take(&mut self, text: &str, decimal_comma: bool) {
        if self.runs.len() < LOOKED_AT / RUNS && self.runs.last().is_none_or(|(_, last)| last != text) {
            self.runs.push((self.rows, text.to_owned()));
        }
        self.rows += 1;
        match number(text, decimal_comma) {
            Some(value) if value.is_nan() => self.missing += 1,
            Some(value) => {
                self.whole = (self.numbers == 0 || self.whole) && value.fract() == 0.0;
                self.numbers += 1;
                if self.values.len() <= DIFFERENT {
                    self.values.insert(value.to_bits());
                }
                if let Some(last) = self.last {
                    self.rises += usize::from(value > last);
                    self.falls += usize::from(value < last);
                    self.changes += usize::from(value != last);
                    if value > last {
                        self.steps.push(value - last);
                    }
                }
                self.last = Some(value);
            }
            None => {
                self.words += 1;
                self.dates += usize::from(super::time::is_time(text));
                self.changes += usize::from(text != self.last_text && !self.last_text.is_empty());
                if self.texts.len() <= DIFFERENT {
                    self.texts.insert(text.to_owned());
                }
                self.last_text.clear();
                self.last_text.push_str(text);
            }
        }
    }

    /// Whether numbers stand there, but for as few rows as may be damaged.
    fn is_number(&self) -> bool {
        self.numbers > 0 && self.words * 100 <= self.rows
    }

    fn is_text(&self) -> bool {
        self.numbers == 0 && !self.texts.is_empty() && self.dates == 0
    }

    /// Whether a few whole numbers or words stand in long runs.
    fn is_code(&self) -> bool {
        let few = self.values.len() <= DIFFERENT && self.texts.len() <= DIFFERENT;
        (self.is_number() && self.whole || self.is_text()) && few && self.changes * RUNS <= self.rows
    }

    /// Whether another column tells what stands here.
    fn follows(&self, other: &Seen) -> bool {
        if !self.is_code() || self.runs.len() < 2 {
            return false;
        }
        let at = |seen: &Seen, row: usize| {
            let place = seen.runs.partition_point(|&(from, _)| from <= row);
            seen.runs.get(place.saturating_sub(1)).map(|(_, text)| text.clone())
        };
        let mut known: BTreeMap<Option<String>, Option<String>> = BTreeMap::new();
        let rows = self.runs.iter().chain(&other.runs).map(|&(row, _)| row);
        rows.into_iter().all(|row| {
            let own = at(self, row);
            *known.entry(at(other, row)).or_insert_with(|| own.clone()) == own
        })
    }

    fn rises(&self) -> bool {
        self.is_number() && self.rises > 0 && self.falls * 50 <= self.rises
    }

    /// The step in the middle of all.
    pub fn step(&self) -> Option<f64> {
        let mut steps = self.steps.clone();
        steps.sort_by(f64::total_cmp);
        steps.get(steps.len() / 2).copied()
    }
}

/// Looks at the columns of a table.
pub fn columns(files: &mut Files, table: &Table) -> Result<Vec<Seen>, DataError> {
    let name = files.paths().nth(table.file).unwrap_or_default().to_owned();
    let mut rows = Rows::new(&name, files.open(table.file)?, table.dialect)?;
    let mut seen: Vec<Seen> = table.columns.iter().map(|_| Seen::default()).collect();
    let mut row = Row::new();
    let mut looked_at = 0;
    while looked_at < LOOKED_AT && rows.next(&name, &mut row)?.is_some() {
        looked_at += 1;
        seen.iter_mut().zip(&row).for_each(|(seen, text)| seen.take(text, table.dialect.decimal_comma));
    }
    Ok(seen)
}

/// What stands in each column in the first rows.
pub fn examples(files: &mut Files, table: &Table) -> Result<Vec<Vec<String>>, DataError> {
    const SHOWN: usize = 3;
    let name = files.paths().nth(table.file).unwrap_or_default().to_owned();
    let mut rows = Rows::new(&name, files.open(table.file)?, table.dialect)?;
    let mut examples = vec![vec![]; table.columns.len()];
    let mut row = Row::new();
    for _ in 0..SHOWN {
        if rows.next(&name, &mut row)?.is_some() {
            examples.iter_mut().zip(&row).for_each(|(column, text)| column.push(text.clone()));
        }
    }
    Ok(examples)
}

/// What columns of these names, seen so, are, and those that are nothing, with the reason.
pub fn guess(columns: &[String], seen: &[Seen], header: bool) -> (Columns, Vec<String>) {
    let named = |at: usize, names: &[&str]| {
        let name = columns[at].to_ascii_lowercase();
        header && (names.contains(&name.trim()) || words(&name).any(|word| names.contains(&word)))
    };
    let all = 0..columns.len();
    // The rows are windows where there are many columns of numbers and none of time.
    let numbers: Vec<usize> = all.clone().filter(|&at| seen[at].is_number()).collect();
    const LABELS: [&str; 12] = [
        "label",
        "labels",
        "activity",
        "activityid",
        "class",
        "target",
        "action",
        "gesture",
        "behavior",
        "behaviour",
        "gt",
        "activities",
    ];
    const PEOPLE: [&str; 14] = [
        "subject",
        "user",
        "person",
        "participant",
        "subjectid",
        "userid",
        "personid",
        "subject_id",
        "user_id",
        "pid",
        "volunteer",
        "wearer",
        "subj",
        "id",
    ];
    const TIMES: [&str; 12] = [
        "time",
        "timestamp",
        "timestamps",
        "date",
        "datetime",
        "t",
        "elapsed",
        "epoch",
        "attr_time",
        "seconds_elapsed",
        "ms",
        "ts",
    ];
    let label_column = all.clone().find(|&at| named(at, &LABELS) && (seen[at].is_code() || seen[at].is_text()));
    let person_column = all
        .clone()
        .find(|&at| Some(at) != label_column && named(at, &PEOPLE) && (seen[at].is_code() || seen[at].is_text()));
    let is_time = |at: usize| seen[at].rises() || seen[at].dates > 0 && seen[at].texts.len() > 1;
    let free = |at: &usize| Some(*at) != label_column && Some(*at) != person_column;
    let time = all.clone().filter(free).find(|&at| named(at, &TIMES) && is_time(at));
    let time = time.or_else(|| all.clone().filter(free).find(|&at| seen[at].dates > 0 && seen[at].numbers == 0));
    // A counter among the first columns is better than nothing, and a time that is recorded with breaks falls now and then.
    let time = time.or_else(|| {
        let rises = |at: &usize| {
            let seen = &seen[*at];
            seen.is_number() && seen.falls * 20 <= seen.rises && seen.changes * 2 > seen.rows
        };
        all.clone().take(4).filter(free).find(rises)
    });
    let free = |at: &usize| free(at) && Some(*at) != time;
    // Without names, words are labels, and so are codes that change.
    let label_column = label_column.or_else(|| {
        let words = all.clone().filter(free).find(|&at| seen[at].is_text() && seen[at].is_code());
        let codes = || all.clone().filter(free).find(|&at| !header && seen[at].is_code() && seen[at].values.len() > 1);
        words.or_else(codes)
    });
    let free = |at: &usize| free(at) && Some(*at) != label_column;
    let person_column = person_column.or_else(|| {
        let by_words = label_column.is_some_and(|at| seen[at].is_text());
        let code = |at: &usize| seen[*at].is_code() && seen[*at].whole;
        if header || !by_words { None } else { all.clone().filter(free).find(code) }
    });
    let free = |at: &usize| free(at) && Some(*at) != person_column;
    let constant = |at: &usize| seen[*at].values.len() < 2;
    let counts = |at: &usize| seen[*at].rises() && seen[*at].steps.iter().all(|&step| step == 1.0);
    let mostly_missing = |at: &usize| 2 * seen[*at].missing > seen[*at].rows;
    let another_time = |at: &usize| named(*at, &TIMES) && seen[*at].rises();
    let twin = |at: &usize| label_column.is_some_and(|label| seen[*at].follows(&seen[label]));
    let reason = |at: &usize| match at {
        at if !seen[*at].is_number() => Some("not numbers, nor times as they are understood"),
        at if constant(at) => Some("never changes"),
        at if twin(at) => Some("follows from the label"),
        at if counts(at) => Some("counts rows"),
        at if mostly_missing(at) => Some("mostly missing"),
        at if another_time(at) => Some("another time"),
        _ => None,
    };
    let unused: Vec<String> =
        all.clone().filter(free).filter_map(|at| Some(format!("{} ({})", columns[at], reason(&at)?))).collect();
    let channel = |at: &usize| reason(at).is_none();
    let channels: Vec<String> = all.filter(free).filter(channel).map(|at| columns[at].clone()).collect();
    let unit = time.map(|at| unit(&columns[at], &seen[at]));
    let origin = |column: Option<usize>| column.map(|at| Origin::Column(columns[at].clone()));
    let rows_are_windows = time.is_none() && numbers.len() >= WIDE && channels.len() >= WIDE;
    let guessed = Columns {
        time: Some(time.map_or("none".to_owned(), |at| columns[at].clone())),
        time_unit: unit,
        label: origin(label_column),
        person: origin(person_column),
        row_signals: rows_are_windows.then(|| row_signals(&channels)),
        channels: Some(channels),
        ..Columns::default()
    };
    (guessed, unused)
}

/// What a column is called that holds one of a window's samples, without its number.
pub fn signal(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_' || c == '.')
}

/// How many signals rows of these columns hold: one for each name without its number, where all have as many.
fn row_signals(columns: &[String]) -> u32 {
    let signals: BTreeSet<&str> = columns.iter().map(|name| signal(name)).collect();
    let alike = columns.len().is_multiple_of(signals.len()) && columns.len() / signals.len() > 1;
    if alike && !signals.contains("") { signals.len() as u32 } else { 1 }
}

/// What times are in, by what the column is called and how they step.
fn unit(name: &str, seen: &Seen) -> TimeUnit {
    if seen.dates > 0 {
        return TimeUnit::Iso;
    }
    let name = name.to_ascii_lowercase();
    let says = |units: &[&str]| units.iter().any(|unit| name.ends_with(unit));
    let Some(step) = seen.step() else { return TimeUnit::Count };
    if says(&["(ns)", "_ns", "[ns]"]) {
        return TimeUnit::Ns;
    } else if says(&["(us)", "_us", "[us]", "(µs)"]) {
        return TimeUnit::Us;
    } else if says(&["(ms)", "_ms", "[ms]"]) || name == "ms" {
        return TimeUnit::Ms;
    } else if says(&["(s)", "_s", "[s]", "seconds", "seconds_elapsed"]) {
        return TimeUnit::S;
    }
    // From 1 to 1,000 samples a second. Whole numbers one apart count samples.
    match step {
        _ if step == 1.0 && seen.whole && seen.last.is_some_and(|last| last < 1e8) => TimeUnit::Count,
        ..=1.0 => TimeUnit::S,
        ..=1e3 => TimeUnit::Ms,
        ..=1e6 => TimeUnit::Us,
        _ => TimeUnit::Ns,
    }
}
