//! Where in the paths of files labels and people stand.

use std::collections::BTreeSet;

use super::mapping::{Origin, stem, words};

/// What everyday activities begin with in English.
const ACTIVITIES: [&str; 24] = [
    "walk", "run", "jog", "sit", "stand", "lay", "lie", "lying", "stair", "up", "down", "cycl", "bik", "climb", "jump",
    "fall", "rest", "idle", "still", "driv", "row", "squat", "eat", "typ",
];
/// What stands before the number of a person.
const PEOPLE: [&str; 12] =
    ["s", "p", "u", "sub", "subj", "subject", "user", "person", "participant", "volunteer", "id", "pid"];
/// People whom a data set can be divided by.
const FEWEST: usize = 3;

/// The places in paths that are not the same in all.
pub fn places(paths: &[&str]) -> Vec<Origin> {
    let depth = paths.iter().map(|path| path.matches('/').count()).min().unwrap_or(0);
    let folders = (1..=depth).map(Origin::Folder);
    let count = paths.iter().map(|path| words(stem(path)).count()).min().unwrap_or(0);
    let in_names = if count > 1 { (1..=count).map(Origin::Word).collect() } else { vec![Origin::File] };
    folders.chain(in_names).filter(|origin| values(paths, origin).len() > 1).collect()
}

/// What stands there.
pub fn values<'a>(paths: &[&'a str], origin: &Origin) -> BTreeSet<&'a str> {
    paths.iter().filter_map(|path| origin.in_path(path)).collect()
}

fn all(paths: &[&str], origin: &Origin, test: impl Fn(&str) -> bool) -> bool {
    values(paths, origin).iter().all(|value| test(value))
}

fn is_number_of_person(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let word = lower.trim_end_matches(|c: char| c.is_ascii_digit());
    word.len() < lower.len() && PEOPLE.contains(&word.trim_end_matches(['_', '-', ' ']))
}

fn is_word(value: &str) -> bool {
    value.chars().any(char::is_alphabetic) && !is_number_of_person(value)
}

/// Where people stand by their numbers, such as in `s07`.
pub fn people_by_number(paths: &[&str]) -> Option<Origin> {
    places(paths).into_iter().find(|origin| all(paths, origin, is_number_of_person))
}

/// Where labels stand, if people stand there: words that are most like activities, else the fewest, as each label has
/// several files. Where no place has that, the names of files are labels.
pub fn labels(paths: &[&str], people: Option<&Origin>) -> Option<Origin> {
    let worded = |origin: &Origin| Some(origin) != people && all(paths, origin, is_word);
    let is_activity = |value: &str| {
        let lower = value.to_lowercase();
        ACTIVITIES.iter().any(|activity| lower.starts_with(activity))
    };
    let unlike = |origin: &Origin| {
        let values = values(paths, origin);
        2 * values.iter().filter(|value| is_activity(value)).count() < values.len()
    };
    places(paths).into_iter().filter(worded).min_by_key(|origin| (unlike(origin), values(paths, origin).len()))
}

/// Where people stand by words without a number: where each of three or more has several files, or files of which
/// `several` says that there are several labels in them.
pub fn people_by_word(
    paths: &[&str],
    labels: Option<&Origin>,
    mut several: impl FnMut(usize) -> bool,
) -> Option<Origin> {
    places(paths).into_iter().find(|origin| {
        let values = values(paths, origin);
        let files = |value: &str| -> Vec<usize> {
            (0..paths.len()).filter(|&at| origin.in_path(paths[at]) == Some(value)).collect()
        };
        Some(origin) != labels
            && values.len() >= FEWEST
            && values.iter().all(|value| is_word(value))
            && values.iter().all(|value| match files(value)[..] {
                [only] => several(only),
                _ => true,
            })
    })
}
