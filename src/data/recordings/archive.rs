//! The files of the UEA and UCR archive of time series: `.ts` of sktime, `.arff` of Weka. Each line is a series.

use super::read::{Labels, Recording};
use super::source::Files;
use crate::data::DataError;

/// The largest set of the archive has 2 GB.
const LIMIT_MIB: u64 = 2048;

/// Series of one file or several.
pub struct Series {
    /// A series each, its signals `[samples, channels]`, its label that of every sample.
    pub recordings: Vec<Recording>,
    /// Their labels.
    pub labels: Labels,
    /// How many signals each has.
    pub channels: usize,
    /// Of each, whether it is of the published test part.
    pub test: Vec<bool>,
}

/// The series, if files of the archive are among these.
pub fn series(files: &mut Files) -> Result<Option<Series>, DataError> {
    let paths: Vec<String> = files.paths().map(str::to_owned).collect();
    let ends = |path: &str, ending: &str| path.to_ascii_lowercase().ends_with(ending);
    // Of a set in both forms, one is enough.
    let ending = [".ts", ".arff"].into_iter().find(|ending| paths.iter().any(|path| ends(path, ending)));
    let Some(ending) = ending else { return Ok(None) };
    let mut all = Series { recordings: vec![], labels: Labels::default(), channels: 0, test: vec![] };
    let own: Vec<usize> = (0..paths.len()).filter(|&at| ends(&paths[at], ending)).collect();
    // A multivariate set in .arff has besides a file for each dimension.
    let is_dimension = |path: &str| path.contains("Dimension");
    let whole = own.iter().any(|&at| !is_dimension(&paths[at]));
    for at in own.into_iter().filter(|&at| !whole || !is_dimension(&paths[at])) {
        let text = files.text(at, LIMIT_MIB)?;
        let test = paths[at].to_ascii_uppercase().contains("TEST");
        for (line, text) in
            text.lines().enumerate().skip_while(|(_, line)| !line.trim().eq_ignore_ascii_case("@data")).skip(1)
        {
            let text = text.trim();
            if text.is_empty() || text.starts_with(['%', '#']) {
                continue;
            }
            let parsed = if ending == ".ts" { of_ts(text) } else { of_arff(text) };
            let wrong = |problem: String| DataError::at(&paths[at], format!("line {}", line + 1), problem, MEND);
            let (signals, label) = parsed.map_err(wrong)?;
            let (channels, length) = (signals.len(), signals[0].len());
            if let Some(c) = signals.iter().position(|signal| signal.len() != length) {
                return Err(wrong(format!(
                    "its signal {} has {} values, and its first {length}",
                    c + 1,
                    signals[c].len()
                )));
            }
            // Series that end early are filled up with missing values where all lines are to be as long.
            let length = (0..length).rfind(|&t| signals.iter().any(|signal| !signal[t].is_nan())).map_or(0, |t| t + 1);
            if length == 0 || signals.iter().any(|signal| signal[..length].iter().any(|x| x.is_nan())) {
                return Err(wrong("a value is missing that others follow".to_owned()));
            }
            if all.recordings.is_empty() {
                all.channels = channels;
            } else if all.channels != channels {
                return Err(wrong(format!("it has {channels} signals, and those before {}", all.channels)));
            }
            let label = all.labels.of(&label, &["?".to_owned()]);
            all.recordings.push(Recording {
                name: paths[at].clone(),
                person: None,
                times: vec![],
                signals: (0..length).flat_map(|t| signals.iter().map(move |signal| signal[t])).collect(),
                labels: vec![label; length],
            });
            all.test.push(test);
        }
    }
    Ok(Some(all))
}

const MEND: &str = "take a set of the UEA and UCR archive whose series are whole and have labels";

/// The signals of a series and its label.
type Parsed = Result<(Vec<Vec<f32>>, String), String>;

fn values(text: &str, separator: char) -> Result<Vec<f32>, String> {
    let value = |word: &str| match word.trim() {
        "?" | "NaN" => Ok(f32::NAN),
        word => {
            word.parse::<f32>().ok().filter(|x| x.is_finite()).ok_or_else(|| format!("`{word}` is not a finite number"))
        }
    };
    text.split(separator).map(value).collect()
}

/// `1,2,3:4,5,6:label`.
fn of_ts(text: &str) -> Parsed {
    let (series, label) = text.rsplit_once(':').ok_or("it has no label behind a colon")?;
    if series.contains('(') {
        return Err("its values have times of their own, which are not taken".to_owned());
    }
    let signals = series.split(':').map(|signal| values(signal, ',')).collect::<Result<_, _>>()?;
    Ok((signals, label.trim().to_owned()))
}

/// `1,2,3,label`, or with several signals `'1,2,3\n4,5,6',label`.
fn of_arff(text: &str) -> Parsed {
    let quote = text.chars().next().filter(|first| ['\'', '"'].contains(first));
    let Some(quote) = quote else {
        let (series, label) = text.rsplit_once(',').ok_or("it is not values and a label between commas")?;
        return Ok((vec![values(series, ',')?], unquoted(label)));
    };
    let (series, label) = text[1..].split_once(quote).ok_or("its quote does not end")?;
    let signals = series.split("\\n").map(|signal| values(signal, ',')).collect::<Result<_, _>>()?;
    Ok((signals, unquoted(label.trim_start_matches(','))))
}

fn unquoted(label: &str) -> String {
    label.trim().trim_matches(['\'', '"']).to_owned()
}
