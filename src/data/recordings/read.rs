//! Tables to recordings: numbers by channel, times in seconds, labels and people.

use std::collections::BTreeMap;

use super::mapping::{Columns, Origin, TimeUnit, channel};
use super::report::Report;
use super::rows::{Row, Rows, wanted_number};
use super::source::Files;
use super::survey::{self, Survey, Table};
use super::time::{Dates, NoTime};
use crate::data::{DataError, visible};
use crate::engine::several;

/// Rows of which one share may be damaged before a file is refused.
const DAMAGED: f64 = 0.01;
/// So many samples are let in: signals of 8 GiB in one channel.
const MOST: usize = 1 << 31;

/// Samples one after another, of one person.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Where it came from, for people.
    pub name: String,
    /// Whose it is.
    pub person: Option<String>,
    /// Seconds; empty where nothing is known of time.
    pub times: Vec<f64>,
    /// `[samples, channels]`, NaN where there is none.
    pub signals: Vec<f32>,
    /// The label of each sample by its place in [`Labels`].
    pub labels: Vec<u32>,
}

impl Recording {
    /// The same in no more memory than it takes: where it grew, there is room for as much again.
    fn trimmed(mut self) -> Self {
        self.times.shrink_to_fit();
        self.signals.shrink_to_fit();
        self.labels.shrink_to_fit();
        self
    }
}

/// No label.
pub const NONE: u32 = u32::MAX;

/// Labels by their names, in the order in which they came.
#[derive(Debug, Default)]
pub struct Labels {
    names: BTreeMap<String, u32>,
}

impl Labels {
    /// The number of a name, a new one if it has none; none of those that mean no label.
    pub fn of(&mut self, name: &str, unlabelled: &[String]) -> u32 {
        if name.is_empty() || unlabelled.iter().any(|none| none == name) {
            return NONE;
        }
        if let Some(&label) = self.names.get(name) {
            return label;
        }
        let label = self.names.len() as u32;
        self.names.insert(name.to_owned(), label);
        label
    }

    /// Their names, numbers by size and words by letter, and for each label the place of its name among these.
    pub fn ordered(&self) -> (Vec<String>, Vec<u32>) {
        let mut names: Vec<(&String, u32)> = self.names.iter().map(|(name, &label)| (name, label)).collect();
        let key = |name: &str| name.parse::<f64>().ok().filter(|number| number.is_finite());
        names.sort_by(|(a, _), (b, _)| match (key(a), key(b)) {
            (Some(x), Some(y)) => x.total_cmp(&y),
            _ => a.cmp(b),
        });
        let mut places = vec![0; names.len()];
        names.iter().enumerate().for_each(|(place, &(_, label))| places[label as usize] = place as u32);
        (names.into_iter().map(|(name, _)| name.clone()).collect(), places)
    }
}

/// A column of a table by its name or its number from 1.
pub fn column(columns: &[String], wanted: &str, file: &str, what: &str) -> Result<usize, DataError> {
    let by_number = || wanted.parse::<usize>().ok().filter(|&at| (1..=columns.len()).contains(&at)).map(|at| at - 1);
    let alike = || columns.iter().position(|name| name.eq_ignore_ascii_case(wanted));
    // A table of another day may name another unit, or none.
    let bare = |name: &str| channel(name).name.to_lowercase();
    let without_unit = || columns.iter().position(|name| bare(name) == bare(wanted));
    let same = columns.iter().position(|name| name == wanted);
    same.or_else(alike).or_else(by_number).or_else(without_unit).ok_or_else(|| {
        let shown = columns.iter().take(30).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let problem = format!("there is no column `{wanted}` (for {what}); there are {shown}");
        DataError::at(file, "the first line", problem, "name one of these, or its number from 1")
    })
}

/// Where in a table the things stand.
struct Places {
    time: Option<usize>,
    channels: Vec<usize>,
    label: Option<usize>,
    person: Option<usize>,
}

impl Places {
    fn of(said: &Columns, columns: &[String], file: &str) -> Result<Places, DataError> {
        let at = |wanted: &str, what: &str| column(columns, wanted, file, what);
        let by = |origin: &Option<Origin>, what: &str| match origin {
            Some(Origin::Column(name)) => at(name, what).map(Some),
            _ => Ok(None),
        };
        let time = said.time.as_deref().filter(|time| *time != "none").map(|time| at(time, "time")).transpose()?;
        let channels = said.channels.iter().flatten().map(|name| at(name, "a channel")).collect::<Result<_, _>>()?;
        Ok(Places { time, channels, label: by(&said.label, "labels")?, person: by(&said.person, "people")? })
    }
}

/// Reads all tables; where each sensor has a file, those of a folder as one recording each.
pub fn recordings(
    files: &mut Files,
    survey: &Survey,
    said: &Columns,
    report: &mut Report,
) -> Result<(Vec<Recording>, Labels), DataError> {
    let mut all = vec![];
    let mut labels = Labels::default();
    let mut samples = 0;
    for table in &survey.tables {
        let read = table_recordings(files, table, said, &mut labels, report)?;
        samples += read.iter().map(|recording| recording.labels.len()).sum::<usize>();
        if samples > MOST {
            let problem = format!("it and those before it hold more than {MOST} samples");
            let path = files.paths().nth(table.file).unwrap_or_default();
            return Err(DataError::at(path, "all rows", problem, "give fewer recordings"));
        }
        all.extend(read);
    }
    Ok((all, labels))
}

/// Reads one table.
pub fn table_recordings(
    files: &mut Files,
    table: &Table,
    said: &Columns,
    labels: &mut Labels,
    report: &mut Report,
) -> Result<Vec<Recording>, DataError> {
    let file = files.paths().nth(table.file).unwrap_or_default().to_owned();
    let places = Places::of(said, &table.columns, &file)?;
    let unlabelled = said.unlabelled.as_deref().unwrap_or_default();
    let of_path = |origin: &Option<Origin>| origin.as_ref().and_then(|origin| origin.in_path(&file)).map(str::to_owned);
    let label_of_path = of_path(&said.label).map_or(NONE, |name| labels.of(&name, unlabelled));
    let person_of_path = of_path(&said.person);
    let unit = said.time_unit.unwrap_or(TimeUnit::S);
    let fresh = |person: Option<String>| Recording { name: file.clone(), person, ..Recording::default() };
    let mut all = vec![];
    let mut now = fresh(person_of_path.clone());
    let mut rows = Rows::new(&file, files.open(table.file)?, table.dialect)?;
    let mut row = Row::new();
    let mut values = vec![0.0f32; places.channels.len()];
    let mut dates = Dates::default();
    let (mut count, mut damaged, mut first) = (0usize, 0usize, None);
    while let Some(line) = rows.next(&file, &mut row)? {
        count += 1;
        let taken = take(&row, table, &places, unit, &mut dates, &mut values);
        let time = match taken {
            Ok(time) => time,
            Err(problem) => {
                damaged += 1;
                first.get_or_insert((line, problem));
                continue;
            }
        };
        report.missing += values.iter().filter(|value| value.is_nan()).count() as u64;
        if let Some(at) = places.person {
            let changed = now.person.as_deref() != Some(&row[at]);
            if changed {
                all.push(std::mem::replace(&mut now, fresh(Some(row[at].clone()))).trimmed());
            }
        }
        if let Some(time) = time {
            if let Some(&last) = now.times.last() {
                if time == last {
                    report.duplicates += 1;
                    continue;
                } else if time < last {
                    report.back += 1;
                    let person = now.person.clone();
                    all.push(std::mem::replace(&mut now, fresh(person)).trimmed());
                }
            }
            now.times.push(time);
        }
        now.signals.extend_from_slice(&values);
        now.labels.push(places.label.map_or(label_of_path, |at| labels.of(&row[at], unlabelled)));
    }
    all.push(now.trimmed());
    all.retain(|recording| !recording.labels.is_empty());
    report.rows += count as u64;
    if let Some((line, problem)) = first {
        if damaged as f64 > DAMAGED * count as f64 {
            let problem = format!("{problem} ({damaged} of {count} rows are like that)");
            let mend = "mend the rows, or say which columns are what (`--columns`)";
            return Err(DataError::at(&file, format!("line {line}"), problem, mend));
        }
        report.damaged += damaged as u64;
        let rows = several(damaged as u64, "damaged row");
        report.note(format!("{rows} of {file} left out; the first is line {line}: {problem}"));
    }
    Ok(all)
}

/// Whether several labels stand in a table, as far as a survey looks at it.
pub fn has_several_labels(
    files: &mut Files,
    table: &Table,
    wanted: &str,
    unlabelled: &[String],
) -> Result<bool, DataError> {
    let file = files.paths().nth(table.file).unwrap_or_default().to_owned();
    let at = column(&table.columns, wanted, &file, "labels")?;
    let mut rows = Rows::new(&file, files.open(table.file)?, table.dialect)?;
    let (mut row, mut labels) = (Row::new(), Labels::default());
    for _ in 0..survey::LOOKED_AT {
        if rows.next(&file, &mut row)?.is_none() {
            break;
        }
        if row.get(at).is_some_and(|name| labels.of(name, unlabelled) == 1) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes what is wanted of a row; gives its time.
fn take(
    row: &Row,
    table: &Table,
    places: &Places,
    unit: TimeUnit,
    dates: &mut Dates,
    values: &mut [f32],
) -> Result<Option<f64>, String> {
    let field = |at: usize| {
        let few = || format!("it has {} fields, and there are {} columns", row.len(), table.columns.len());
        row.get(at).map(String::as_str).ok_or_else(few)
    };
    for (value, &at) in values.iter_mut().zip(&places.channels) {
        let wide = wanted_number(field(at)?, table.dialect.decimal_comma, &table.columns[at])?;
        *value = wide as f32;
        if value.is_infinite() {
            return Err(format!("{wide} in column `{}` is too large", table.columns[at]));
        }
    }
    for at in places.label.into_iter().chain(places.person) {
        field(at)?;
    }
    let Some(at) = places.time else { return Ok(None) };
    let text = field(at)?;
    match unit.per_second() {
        None => Ok(None),
        Some(_) if unit == TimeUnit::Iso => dates.seconds(text).map(Some).map_err(|problem| {
            let place = format!("`{}` in column `{}`", visible(text), table.columns[at]);
            match problem {
                NoTime::DayOrMonth => format!(
                    "{place} does not say which number is the day and which the month: write the year first, as in \
                     2024-03-31 12:00:00.000"
                ),
                NoTime::Unknown => format!(
                    "{place} is not a time: write 2024-03-31 12:00:00.000, 31.03.2024 12:00:00.000 or 12:00:00.000"
                ),
            }
        }),
        Some(per_second) => {
            let time = wanted_number(text, table.dialect.decimal_comma, &table.columns[at])?;
            if time.is_nan() {
                Err(format!("column `{}` holds no time", table.columns[at]))
            } else {
                Ok(Some(time / per_second))
            }
        }
    }
}
