//! Pieces of recordings to windows with labels and people.

use std::collections::{BTreeMap, BTreeSet};

use super::grid::Piece;
use super::mapping::LabelRule;
use super::read::NONE;
use super::report::{Person, Report};

/// Blocks of time that stand in for people where nothing is known of these.
const BLOCKS: usize = 10;
/// People below whom a division by people leaves nobody for one of three parts.
const FEWEST: usize = 3;

/// How windows are cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Samples of a window.
    pub window: usize,
    /// Samples from one's start to the next's.
    pub hop: usize,
    /// Which label it has.
    pub rule: LabelRule,
    /// Whether it must have one.
    pub labelled: bool,
}

/// A window: of which piece, from which sample on, its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The place of its piece among all.
    pub piece: usize,
    /// Its first sample.
    pub start: usize,
    /// Its label.
    pub label: u32,
}

/// The windows of a piece, of those that must have a label those that have.
pub fn cut(piece: &Piece, at: usize, cut: Cut, report: &mut Report) -> Vec<Window> {
    let mut windows = vec![];
    let mut start = 0;
    while start + cut.window <= piece.labels.len() {
        match label(&piece.labels[start..start + cut.window], cut.rule) {
            Some(label) => windows.push(Window { piece: at, start, label }),
            None if cut.labelled => report.unlabelled += 1,
            None => windows.push(Window { piece: at, start, label: NONE }),
        }
        start += cut.hop;
    }
    windows
}

/// The label of samples: what most are, the first of equals; nothing where that is no label, or not all are asked to be the
/// same and are not.
fn label(samples: &[u32], rule: LabelRule) -> Option<u32> {
    let first = samples[0];
    if samples.iter().all(|&label| label == first) {
        return (first != NONE).then_some(first);
    }
    if rule == LabelRule::Pure {
        return None;
    }
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    samples.iter().for_each(|&label| *counts.entry(label).or_default() += 1);
    let most = *counts.values().max()?;
    let label = samples.iter().copied().find(|label| counts[label] == most)?;
    (label != NONE).then_some(label)
}

/// A number for everybody: their own where names are numbers, or a word before numbers; else by order.
pub fn numbered(names: &BTreeSet<String>) -> BTreeMap<String, u32> {
    let digits = |name: &String| {
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits
            .parse::<u32>()
            .ok()
            .or_else(|| name.parse::<f64>().ok().filter(|x| x.fract() == 0.0 && *x >= 0.0).map(|x| x as u32))
    };
    let own: Option<Vec<u32>> = names.iter().map(digits).collect();
    let own = own.filter(|numbers| numbers.iter().collect::<BTreeSet<_>>().len() == names.len());
    let numbers = own.unwrap_or_else(|| (1..=names.len() as u32).collect());
    names.iter().cloned().zip(numbers).collect()
}

/// Who gave each window, and whom to test on: people where enough are known, else ten blocks of time for each label, with
/// the windows between two blocks left out.
pub fn people(
    windows: &mut Vec<Window>,
    of_piece: &[Option<String>],
    window: usize,
    report: &mut Report,
) -> (Vec<u32>, Vec<u32>) {
    let names: BTreeSet<String> = windows.iter().filter_map(|window| of_piece[window.piece].clone()).collect();
    let known = windows.iter().all(|window| of_piece[window.piece].is_some());
    report.by_people = known && names.len() >= FEWEST;
    if report.by_people {
        let numbers = numbered(&names);
        let people: Vec<u32> =
            windows.iter().map(|window| numbers[of_piece[window.piece].as_deref().unwrap_or_default()]).collect();
        let given = |number: u32| people.iter().filter(|&&person| person == number).count() as u64;
        report.people = numbers
            .iter()
            .map(|(name, &number)| Person { number, name: name.clone(), windows: given(number) })
            .collect();
        report.people.sort_by_key(|person| person.number);
        let order: Vec<u32> = report.people.iter().map(|person| person.number).collect();
        let test = order[order.len() - order.len().div_ceil(4)..].to_vec();
        return (people, test);
    }
    if known && !names.is_empty() {
        report.note(format!(
            "{} cannot be divided into those to train, to validate and to test on; blocks of \
             time stand in, and say less about people who were not recorded",
            if names.len() == 1 { "One person".to_owned() } else { format!("{} people", names.len()) }
        ));
    } else {
        report.note(
            "Nothing says who was recorded: ten blocks of time stand in for people, and say less about people who were not \
             recorded; where a column, folder or file says it, name that (`--columns \"person=folder\"`, `person=file`)"
                .to_owned(),
        );
    }
    let mut blocks = vec![0u32; windows.len()];
    let labels: BTreeSet<u32> = windows.iter().map(|window| window.label).collect();
    for label in labels {
        let own: Vec<usize> = (0..windows.len()).filter(|&at| windows[at].label == label).collect();
        own.iter().enumerate().for_each(|(k, &at)| blocks[at] = (k * BLOCKS / own.len()) as u32 + 1);
    }
    // A window's length lies between what one block ends with and the next begins with.
    let mut last: Option<(Window, u32)> = None;
    let mut kept = vec![];
    for (at, window_at) in windows.iter().enumerate() {
        let close = last.is_some_and(|(before, block)| {
            before.piece == window_at.piece && block != blocks[at] && window_at.start < before.start + 2 * window
        });
        if close {
            report.between += 1;
        } else {
            last = Some((*window_at, blocks[at]));
            kept.push(at);
        }
    }
    let people: Vec<u32> = kept.iter().map(|&at| blocks[at]).collect();
    *windows = kept.into_iter().map(|at| windows[at]).collect();
    let given = |number: u32| people.iter().filter(|&&block| block == number).count() as u64;
    let present: BTreeSet<u32> = people.iter().copied().collect();
    report.people = present
        .iter()
        .map(|&number| Person { number, name: format!("block {number} of {BLOCKS}"), windows: given(number) })
        .collect();
    let order: Vec<u32> = present.into_iter().collect();
    let test = order[order.len() - order.len().div_ceil(5)..].to_vec();
    (people, test)
}

/// Blocks that stand in for people where a test part was published: that part is one behind ten of the others.
pub fn published(test: &[bool], report: &mut Report) -> (Vec<u32>, Vec<u32>) {
    let last = BLOCKS as u32 + 1;
    let all = test.iter().filter(|&&test| !test).count();
    let mut at = 0;
    let mut block = |&test: &bool| {
        if test {
            return last;
        }
        at += 1;
        ((at - 1) * BLOCKS / all) as u32 + 1
    };
    let blocks: Vec<u32> = test.iter().map(&mut block).collect();
    let given = |number: u32| blocks.iter().filter(|&&block| block == number).count() as u64;
    let name = |number: u32| if number == last { "the published test part" } else { "a tenth of the training part" };
    let person = |number| Person { number, name: name(number).to_owned(), windows: given(number) };
    report.people = (1..=last).map(person).filter(|person| person.windows > 0).collect();
    report.note("The published test part is tested on; tenths of the training part stand in for people".to_owned());
    (blocks, vec![last])
}
