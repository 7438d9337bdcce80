//! Recordings as people have them: tables of samples in one file or many, zipped or not, to windows with labels.
//!
//! | file | what it does |
//! | --- | --- |
//! | `archive`, `hapt` | the files of the UEA and UCR archive, the raw recordings of HAPT |
//! | `source` | a file, a folder, a zip, zips in zips, or what was dropped onto a page |
//! | `rows` | how a table is written, and its rows |
//! | `survey` | which files are tables of one kind, and what their columns are |
//! | `mapping` | what of a table is what: guessed, shown, overruled |
//! | `paths` | labels and people in the names of folders and files |
//! | `time` | dates and times of day |
//! | `read` | tables to recordings |
//! | `filter` | what may be done to signals before they are cut |
//! | `grid` | recordings to pieces without gaps, evenly spaced |
//! | `cuttings` | recordings, rows, series cut into windows; the data set |
//! | `windows` | pieces to windows; people, or blocks of time where nothing is known of these |
//! | `report` | what was seen on the way |

mod archive;
mod cuttings;
mod filter;
mod grid;
mod hapt;
mod mapping;
mod paths;
mod read;
mod report;
mod rows;
mod source;
mod survey;
#[cfg(test)]
mod tests;
mod time;
mod windows;

pub use self::cuttings::{Labelled, Place, Unlabelled};
pub use self::mapping::{Columns, Filter, LabelRule, Mapping, Origin, TimeUnit};
pub use self::report::{ChannelReport, Person, Report};
pub use self::source::{Files, Openable, Seekable};

use self::cuttings::{Cuttings, Recorded, cut_recordings, rows_as_windows, series_as_windows};
use self::read::Labels;
use self::rows::Dialect;
use self::survey::{Survey, Table};
use super::{DataError, Dataset};

/// Reads recordings into windows, with what a mapping says and what is guessed beside it; tells what was seen.
pub fn read(files: &mut Files, given: &Mapping) -> Result<(Dataset, Report), DataError> {
    cut(files, given)?.dataset()
}

/// The same as [`read`] before the windows are copied out of what was recorded.
pub fn cut(files: &mut Files, given: &Mapping) -> Result<Labelled, DataError> {
    Ok(windows(files, given, &Columns::default(), true)?.labelled())
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
/// `usual` are columns as other recordings had them; those that are not there are guessed anew.
pub fn read_unlabelled(files: &mut Files, given: &Mapping, usual: &Columns) -> Result<(Unlabelled, Report), DataError> {
    Ok(windows(files, given, usual, false)?.unlabelled())
}

/// What is seen of recordings before they are read: their columns, and what is guessed of these and said.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// Files, how they are written, columns, the mapping as far as it is known.
    pub report: Report,
    /// What stands in each column in the first rows.
    pub examples: Vec<Vec<String>>,
    /// Where in the paths of the files something stands that is not the same in all, with what.
    pub places: Vec<(Origin, Vec<String>)>,
}

/// Looks at recordings. Of files in which nothing can be mapped, columns and places are empty.
pub fn look(files: &mut Files, given: &Mapping) -> Result<Outlook, DataError> {
    let mut report = begun(files, given);
    let formats = [archive::series(files)?.is_some(), hapt::recordings(files)?.is_some()];
    if formats.contains(&true) {
        return Ok(Outlook { report, ..Outlook::default() });
    }
    let survey = surveyed(files, given, &Columns::default(), &mut report)?;
    let examples = survey::examples(files, &survey.tables[0])?;
    let paths: Vec<String> = files.paths().map(str::to_owned).collect();
    let paths: Vec<&str> = survey.tables.iter().map(|table| &*paths[table.file]).collect();
    let of = |origin: Origin| {
        let values = paths::values(&paths, &origin).into_iter().map(str::to_owned).collect();
        (origin, values)
    };
    let places = paths::places(&paths).into_iter().map(of).collect();
    Ok(Outlook { report, examples, places })
}

fn begun(files: &Files, given: &Mapping) -> Report {
    let name = files.name().rsplit('/').next().unwrap_or_default().to_owned();
    Report { name, mapping: given.clone(), ..Report::default() }
}

/// The tables among files, and what of them is what.
fn surveyed(files: &mut Files, given: &Mapping, usual: &Columns, report: &mut Report) -> Result<Survey, DataError> {
    let survey = survey::survey(files)?;
    let paths: Vec<&str> = files.paths().collect();
    report.left_out.clone_from(&survey.left_out);
    report.files = survey.tables.iter().map(|table| paths[table.file].to_owned()).collect();
    let first = &survey.tables[0];
    report.columns = first.columns.clone();
    report.written = written(first.dialect);
    (report.mapping.columns, report.unused) = columns(files, &survey, &given.columns, usual)?;
    let others: Vec<&str> =
        survey.left_out.iter().filter(|file| !file.ends_with("(no table)")).map(String::as_str).collect();
    if !others.is_empty() {
        let shown = others.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        let more = if others.len() > 5 { format!(" and {} more", others.len() - 5) } else { String::new() };
        report.note(format!("Left out: {shown}{more}; only tables of the same columns are read together"));
    }
    Ok(survey)
}

fn windows(files: &mut Files, given: &Mapping, usual: &Columns, labelled: bool) -> Result<Cuttings, DataError> {
    let mut report = begun(files, given);
    let cuttings = if let Some(series) = archive::series(files)? {
        report.written = "series of the UEA and UCR archive".to_owned();
        let own = |path: &&str| series.recordings.iter().any(|own| own.name == **path);
        report.files = files.paths().filter(own).map(str::to_owned).collect();
        series_as_windows(series, given, labelled, report)
    } else if let Some((recordings, names)) = hapt::recordings(files)? {
        report.written = "the raw recordings of HAPT".to_owned();
        report.files = recordings.iter().map(|recording| recording.name.clone()).collect();
        let channels = hapt::SIGNALS.map(str::to_owned).into();
        cut_recordings(Recorded { recordings, names, channels }, files.name(), labelled, report)?
    } else {
        let survey = surveyed(files, given, usual, &mut report)?;
        check(&report.mapping, files.name(), labelled)?;
        match report.mapping.columns.row_signals {
            Some(signals) => rows_as_windows(files, &survey, signals.max(1) as usize, labelled, report)?,
            None => {
                let recorded = recorded(files, &survey, &mut report)?;
                cut_recordings(recorded, files.name(), labelled, report)?
            }
        }
    };
    cuttings.some(files.name(), labelled)
}

fn recorded(files: &mut Files, survey: &Survey, report: &mut Report) -> Result<Recorded, DataError> {
    let mapping = report.mapping.clone();
    if survey.by_sensor {
        return by_sensor(files, survey, &mapping, report);
    }
    let (recordings, names) = read::recordings(files, survey, &mapping.columns, report)?;
    Ok(Recorded { recordings, names, channels: mapping.columns.channels.unwrap_or_default() })
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

/// What is said of columns, and beside it what is guessed; `usual` is said, too, as far as there are such columns.
fn columns(
    files: &mut Files,
    survey: &Survey,
    given: &Columns,
    usual: &Columns,
) -> Result<(Columns, Vec<String>), DataError> {
    let first = &survey.tables[0];
    let seen = survey::columns(files, first)?;
    let (guessed, mut unused) = survey::guess(&first.columns, &seen, first.dialect.header);
    let there = there(usual.clone(), first);
    let mut said = guessed.overruled(there).overruled(given.clone());
    if !survey.by_sensor {
        named_as_in(first, &mut said, files)?;
    }
    guess_in_paths(files, survey, &mut said)?;
    // A column that was named for one thing is not also another.
    let taken = |name: &str| {
        let is = |origin: &Option<Origin>| matches!(origin, Some(Origin::Column(own)) if own == name);
        is(&said.label) || is(&said.person) || said.time.as_deref() == Some(name)
    };
    if given.channels.is_none() && usual.channels.is_none() {
        said.channels = said.channels.as_ref().map(|names| names.iter().filter(|name| !taken(name)).cloned().collect());
    }
    if said.time_unit.is_none() && said.time.as_deref().is_some_and(|time| time != "none") {
        said.time_unit = Some(TimeUnit::S);
    }
    let named = |column: &String| {
        let is = |name: &String| column.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(" ("));
        taken_by(&said).any(|name| is(&name))
    };
    unused.retain(|column| !named(column));
    Ok((said, unused))
}

/// Those of them that a table has.
fn there(mut columns: Columns, table: &Table) -> Columns {
    let is_there = |name: &str| read::column(&table.columns, name, "", "").is_ok();
    if columns.time.as_deref().is_some_and(|time| time != "none" && !is_there(time)) {
        (columns.time, columns.time_unit) = (None, None);
    }
    for origin in [&mut columns.label, &mut columns.person] {
        if matches!(origin, Some(Origin::Column(name)) if !is_there(name)) {
            *origin = None;
        }
    }
    columns
}

/// Columns by the names that they have in the first table: in others they may stand in another order.
fn named_as_in(first: &Table, said: &mut Columns, files: &Files) -> Result<(), DataError> {
    let file = files.paths().nth(first.file).unwrap_or_default();
    let own = |name: &mut String, what: &str| {
        read::column(&first.columns, name, file, what).map(|at| name.clone_from(&first.columns[at]))
    };
    if let Some(time) = said.time.as_mut().filter(|time| *time != "none") {
        own(time, "time")?;
    }
    said.channels.iter_mut().flatten().try_for_each(|name| own(name, "a channel"))?;
    for (origin, what) in [(&mut said.label, "labels"), (&mut said.person, "people")] {
        if let Some(Origin::Column(name)) = origin {
            own(name, what)?;
        }
    }
    Ok(())
}

/// Labels and people of whom no column tells, as the paths of the tables do.
fn guess_in_paths(files: &mut Files, survey: &Survey, said: &mut Columns) -> Result<(), DataError> {
    let mut paths: Vec<String> = files.paths().map(str::to_owned).collect();
    paths = survey.tables.iter().map(|table| paths[table.file].clone()).collect();
    if survey.by_sensor {
        // Only folders tell recordings apart, and the tables of one are one file.
        paths.iter_mut().for_each(|path| *path = format!("{}/sensor", path.rsplit_once('/').map_or("", |(f, _)| f)));
        paths.dedup();
    }
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    if said.person.is_none() {
        said.person = paths::people_by_number(&paths);
    }
    if said.label.is_none() {
        said.label = paths::labels(&paths, said.person.as_ref());
    }
    if said.person.is_none() {
        let unlabelled = said.unlabelled.clone().unwrap_or_default();
        let several = |at: usize| match &said.label {
            Some(Origin::Column(name)) if !survey.by_sensor => {
                read::has_several_labels(files, &survey.tables[at], name, &unlabelled).unwrap_or(false)
            }
            _ => false,
        };
        said.person = paths::people_by_word(&paths, said.label.as_ref(), several);
    }
    said.person.get_or_insert(Origin::None);
    Ok(())
}

/// The columns that are something.
fn taken_by(said: &Columns) -> impl Iterator<Item = String> {
    let origin = |origin: &Option<Origin>| match origin {
        Some(Origin::Column(name)) => Some(name.clone()),
        _ => None,
    };
    let others = [said.time.clone(), origin(&said.label), origin(&said.person)];
    others.into_iter().flatten().chain(said.channels.clone().unwrap_or_default())
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
    let (mut of_folders, mut channels) = (vec![], vec![]);
    for tables in survey.tables.chunk_by(|a, b| folder(a) == folder(b)) {
        let mut sensors = vec![];
        let mut names = vec![];
        for table in tables {
            // Each file has columns of its own; labels and people stand in the path.
            let seen = survey::columns(files, table)?;
            let (guessed, _) = survey::guess(&table.columns, &seen, table.dialect.header);
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
        if sensors.len() == tables.len() {
            of_folders.push(sensors);
        }
    }
    // One rate for all, so that it can be said and gives the same again.
    let Some(rate) = mapping.rate.or_else(|| grid::rate(of_folders.iter().flatten().map(|(sensor, _)| sensor))) else {
        return Ok(Recorded { recordings: vec![], names: labels, channels });
    };
    let joined = of_folders.iter().map(|sensors| grid::joined(sensors, rate, report));
    let recordings = joined.filter(|recording| !recording.labels.is_empty()).collect();
    Ok(Recorded { recordings, names: labels, channels })
}
