//! What of a table is what: guessed, shown, overruled.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::Channel;

/// How files of recordings become windows; what is not said is guessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    /// Samples a second, to which recordings are resampled.
    pub rate: Option<f64>,
    /// Samples of a window.
    pub window: Option<u32>,
    /// Share of a window that the next one repeats, at least 0 and below 1.
    pub overlap: Option<f64>,
    /// What is where in the files.
    pub columns: Columns,
}

/// What is where in files of recordings; what is not said is guessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The column of times, by its name or its number from 1; `none` where there is none.
    pub time: Option<String>,
    /// What times are in.
    pub time_unit: Option<TimeUnit>,
    /// The columns of the signals, by name or by number.
    pub channels: Option<Vec<String>>,
    /// Where the label of a sample stands.
    pub label: Option<Origin>,
    /// Where it stands whose recording this is.
    pub person: Option<Origin>,
    /// Which of its samples' labels a window has.
    pub label_rule: Option<LabelRule>,
    /// Labels that mean none: such samples belong to no activity.
    pub unlabelled: Option<Vec<String>>,
    /// Where each row is a whole window: how many signals it holds, all values of the first before those of the second.
    pub row_signals: Option<u32>,
    /// What is done to the signals before they are cut into windows; nothing where it is not said.
    pub filter: Option<Filter>,
}

/// What is done to signals before they are cut into windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// The recipe of UCI HAR: six channels (acceleration x, y, z in g, rotation x, y, z in rad/s) at 50 samples a second
    /// become its nine, by a median of three, a low-pass at 20 Hz, and gravity and drift split off.
    Uci,
}

/// What times are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
    /// Dates and times of day as ISO 8601 writes them.
    Iso,
    /// They count samples and say nothing of time.
    Count,
}

impl TimeUnit {
    /// Units in a second; of what only counts, none.
    pub(super) fn per_second(self) -> Option<f64> {
        match self {
            TimeUnit::S | TimeUnit::Iso => Some(1.0),
            TimeUnit::Ms => Some(1e3),
            TimeUnit::Us => Some(1e6),
            TimeUnit::Ns => Some(1e9),
            TimeUnit::Count => None,
        }
    }
}

/// Which of its samples' labels a window has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LabelRule {
    /// That of most of them.
    #[default]
    Majority,
    /// That of all of them; windows with several are left out.
    Pure,
}

/// Where a label or a person stands: `none`, in a column (its name or number), or in the path: `folder` that the file lies
/// in, `folder 2` above that, `file` for its name, `file word 2` for the second word of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Origin {
    /// Nowhere.
    None,
    /// In a column.
    Column(String),
    /// In the name of the folder so many above the file; 1 is the one that it lies in.
    Folder(usize),
    /// In the name of the file without its ending.
    File,
    /// In this word of it, counted from 1; words are separated by `_`, `-`, `.` and blanks.
    Word(usize),
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let number = |digits: &str| match digits.trim().parse::<usize>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("`{text}` needs a number from 1, as in `folder 2` or `file word 2`")),
        };
        match text {
            "" => Err("it is empty; name a column, or take `none`, `folder`, `file`, `file word 2`".to_owned()),
            "none" => Ok(Origin::None),
            "folder" => Ok(Origin::Folder(1)),
            "file" => Ok(Origin::File),
            _ => match (text.strip_prefix("folder "), text.strip_prefix("file word ")) {
                (Some(digits), _) => Ok(Origin::Folder(number(digits)?)),
                (_, Some(digits)) => Ok(Origin::Word(number(digits)?)),
                _ => Ok(Origin::Column(text.strip_prefix("column ").unwrap_or(text).to_owned())),
            },
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Origin::None => f.write_str("none"),
            Origin::Column(name) => {
                let ambiguous = name.parse::<Origin>().is_ok_and(|origin| !matches!(origin, Origin::Column(_)));
                write!(f, "{}{name}", if ambiguous { "column " } else { "" })
            }
            Origin::Folder(1) => f.write_str("folder"),
            Origin::Folder(above) => write!(f, "folder {above}"),
            Origin::File => f.write_str("file"),
            Origin::Word(word) => write!(f, "file word {word}"),
        }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

impl Origin {
    /// What stands there in a path; none where that is not deep enough or it stands in a column.
    pub(super) fn in_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self {
            Origin::None | Origin::Column(_) => None,
            Origin::Folder(above) => path.rsplit('/').nth(*above),
            Origin::File => Some(stem(path)),
            Origin::Word(word) => words(stem(path)).nth(word - 1),
        }
    }
}

/// A file's name without its ending.
pub(super) fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').filter(|&dot| dot > 0).map_or(name, |dot| &name[..dot])
}

/// The words of a name.
pub(super) fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(['_', '-', '.', ' ']).filter(|word| !word.is_empty())
}

/// A channel with the unit that stands behind its name in brackets.
pub(super) fn channel(name: &str) -> Channel {
    let unit = name.strip_suffix([')', ']']).and_then(|inner| inner.rsplit_once(['(', '[']));
    match unit {
        Some((name, unit)) if !name.trim().is_empty() => {
            Channel { name: name.trim().to_owned(), unit: unit.trim().to_owned() }
        }
        _ => Channel { name: name.to_owned(), unit: String::new() },
    }
}

impl Columns {
    /// These with what others say before them.
    #[must_use]
    pub fn overruled(self, by: Columns) -> Columns {
        Columns {
            time: by.time.or(self.time),
            time_unit: by.time_unit.or(self.time_unit),
            channels: by.channels.or(self.channels),
            label: by.label.or(self.label),
            person: by.person.or(self.person),
            label_rule: by.label_rule.or(self.label_rule),
            unlabelled: by.unlabelled.or(self.unlabelled),
            row_signals: by.row_signals.or(self.row_signals),
            filter: by.filter.or(self.filter),
        }
    }

    /// As one line says them: `time=t; label=activity; person=folder; channels=ax, ay, az; unlabelled=0`.
    pub fn of_line(line: &str) -> Result<Columns, String> {
        const KEYS: &str = "time, time_unit, label, person, channels, unlabelled, label_rule, row_signals, filter";
        let mut columns = Columns::default();
        let mut before = vec![];
        let several = |text: &str| -> Vec<String> {
            text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
        };
        for part in line.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| {
                format!("`{part}` is not KEY=VALUE; parts are separated by `;`, as in `time=t; label=activity`")
            })?;
            let (key, value) = (key.trim(), value.trim());
            if value.is_empty() {
                return Err(format!("`{key}` is given nothing; name a column"));
            }
            if before.contains(&key) {
                return Err(format!("`{key}` is given twice; say it once"));
            }
            before.push(key);
            let word = || serde_json::Value::String(value.to_owned());
            match key {
                "time" => columns.time = Some(value.to_owned()),
                "time_unit" => {
                    let known = "`s`, `ms`, `us`, `ns`, `iso`, `count`";
                    let unit = serde_json::from_value(word())
                        .map_err(|_| format!("`time_unit` takes {known}, not `{value}`"))?;
                    columns.time_unit = Some(unit);
                }
                "label_rule" => {
                    let rule = serde_json::from_value(word())
                        .map_err(|_| format!("`label_rule` takes `majority` or `pure`, not `{value}`"))?;
                    columns.label_rule = Some(rule);
                }
                "filter" => {
                    let filter = serde_json::from_value(word())
                        .map_err(|_| format!("`filter` takes `uci`, or is left out for none, not `{value}`"))?;
                    columns.filter = Some(filter);
                }
                "label" => columns.label = Some(value.parse()?),
                "person" => columns.person = Some(value.parse()?),
                "channels" => columns.channels = Some(several(value)),
                "unlabelled" => columns.unlabelled = Some(several(value)),
                "row_signals" => {
                    let count = value.parse().map_err(|_| format!("`row_signals` takes a number, not `{value}`"))?;
                    columns.row_signals = Some(count);
                }
                _ => return Err(format!("there is no `{key}`; there are {KEYS}")),
            }
        }
        Ok(columns)
    }
}
