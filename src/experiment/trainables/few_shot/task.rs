//! What few-shot tasks are made of: characters of alphabets never seen, or the activities of a person never seen.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bilevel::Examples;
use crate::bilevel::meta::{Drawing, Pool};
use crate::data::{DataError, Dataset, Standardizer};
use crate::experiment::config::{ConfigError, TuneConfig};
use crate::experiment::error::TuneError;
use crate::experiment::library::Library;
use crate::rng::{Purpose, permute_index, split_seed, stream_key};

/// What tasks are made of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Task {
    /// Drawings of characters (Omniglot), 28 × 28, and to learn from also turned by 90, 180 and 270 degrees: those of other
    /// alphabets for validation and test. Of the whole set, 1,100, 100 and 423 characters at random.
    Characters,
    /// The activities of a person (UCI HAR): support from a person's first recording, queries from the second. To learn
    /// from, validate and test there are other people.
    People,
}

/// Where alphabets belong that are not learned from, if not the whole set is there.
const VALIDATION: [&str; 1] = ["Greek"];
const TEST: [&str; 3] = ["Balinese", "Early_Aramaic", "Tagalog"];
/// Characters of the whole set, and how many of them are learned from and validated on (Finn et al. 2017).
const WHOLE: usize = 1623;
const PARTS: [usize; 2] = [1100, 100];
/// Turns of a drawing that is learned from.
const TURNS: usize = 4;

/// How large tasks are to be.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    /// Classes of a task that is judged by; all where it is of a person.
    pub ways: Option<usize>,
    /// Of those that are learned from, if these have others.
    pub training_ways: Option<usize>,
    pub shots: usize,
    pub queries: usize,
}

/// Tasks made ready.
pub(super) struct Ground {
    pub name: &'static str,
    pub input: Vec<usize>,
    /// Classes of a task that it is judged by.
    pub ways: usize,
    parts: [Material; 3],
}

/// Examples with their cells.
struct Material {
    x: Examples,
    count: usize,
    cells: Vec<[u32; 4]>,
    drawing: Drawing,
}

impl Ground {
    /// Cells of what is learned from.
    pub fn training_cells(&self) -> usize {
        self.parts[0].cells.len()
    }

    pub fn pools(&self) -> [Pool<'_>; 3] {
        self.parts.each_ref().map(|part| Pool {
            x: &part.x,
            count: part.count,
            cells: &part.cells,
            drawing: part.drawing,
        })
    }
}

impl Task {
    pub(super) fn ground(self, sizes: Sizes, library: &Library) -> Result<Ground, TuneError> {
        match self {
            Task::Characters => characters(sizes, library),
            Task::People => people(sizes, library),
        }
    }
}

fn wrong(field: &str, message: String) -> ConfigError {
    ConfigError::Setting { field: field.to_owned(), message }
}

fn characters(sizes: Sizes, library: &Library) -> Result<Ground, TuneError> {
    let data = library.characters()?;
    let Some(ways) = sizes.ways else {
        return Err(wrong("ways", "tasks of characters have a number of classes, such as 5".to_owned()).into());
    };
    let scale = Standardizer { mean: vec![0.0], std: vec![255.0] };
    let mut parts = vec![];
    for (part, classes) in division(&data.about().outputs).into_iter().enumerate() {
        let needed = if part == 0 { sizes.training_ways.unwrap_or(ways) } else { ways };
        if classes.len() < needed {
            let what = ["to learn from", "to validate on", "to be tested on"][part];
            return Err(wrong("ways", format!("{needed}, and there are {} characters {what}", classes.len())).into());
        }
        parts.push(turned(&data, &classes, if part == 0 { TURNS } else { 1 }, &scale)?);
    }
    let parts = parts.try_into().unwrap_or_else(|_| unreachable!("three parts"));
    Ok(Ground { name: "Omniglot", input: data.about().shape.clone(), ways, parts })
}

/// The classes to learn from, to validate on and to be tested on.
fn division(names: &[String]) -> [Vec<u32>; 3] {
    let all = 0..names.len() as u32;
    if names.len() == WHOLE {
        let key = stream_key(split_seed(0), Purpose::Partition, 0);
        let order: Vec<u32> = all.map(|at| permute_index(key, WHOLE as u32, at)).collect();
        let (learned, rest) = order.split_at(PARTS[0]);
        let (validated, tested) = rest.split_at(PARTS[1]);
        return [learned, validated, tested].map(<[u32]>::to_vec);
    }
    let part = |class: u32| {
        let alphabet = names[class as usize].split('/').next().unwrap_or_default();
        let is = |list: &[&str]| list.iter().any(|name| alphabet.replace(['(', ')'], "").starts_with(name));
        if is(&VALIDATION) {
            1
        } else if is(&TEST) {
            2
        } else {
            0
        }
    };
    let mut parts = [vec![], vec![], vec![]];
    all.for_each(|class| parts[part(class)].push(class));
    parts
}

/// The drawings of these classes, each class in so many turns.
fn turned(data: &Dataset, classes: &[u32], turns: usize, scale: &Standardizer) -> Result<Material, DataError> {
    let mut rows: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (at, &label) in data.labels().iter().enumerate() {
        rows.entry(label).or_default().push(at);
    }
    let (mut bytes, mut cells, mut count) = (vec![], vec![], 0);
    let side = data.about().shape[0];
    for class in classes {
        let rows = rows.get(class).map_or(&[][..], Vec::as_slice);
        for turn in 0..turns {
            cells.push([count, rows.len() as u32, count, rows.len() as u32]);
            count += rows.len() as u32;
            for &row in rows {
                let mut drawing: Vec<u8> = data.example(row).iter().map(|&value| value as u8).collect();
                (0..turn).for_each(|_| drawing = quarter_turn(&drawing, side));
                bytes.extend(drawing);
            }
        }
    }
    let examples = Examples::Bytes { bytes, scale: scale.clone() };
    let drawing = Drawing::Classes { classes: classes.len(), forms: turns };
    Ok(Material { x: examples, count: count as usize, cells, drawing })
}

/// A square drawing turned by 90 degrees.
fn quarter_turn(drawing: &[u8], side: usize) -> Vec<u8> {
    (0..side * side).map(|at| drawing[(side - 1 - at % side) * side + at / side]).collect()
}

fn people(sizes: Sizes, library: &Library) -> Result<Ground, TuneError> {
    let data = library.scaled(&TuneConfig::default())?;
    let split = &data.split;
    let ways = split.train.about().outputs.len();
    let mut given = [sizes.ways, sizes.training_ways].into_iter().flatten();
    if let Some(given) = given.find(|&given| given != ways) {
        return Err(wrong("ways", format!("{given}, and tasks of people have all {ways} activities")).into());
    }
    let mut parts = vec![];
    for part in [&split.train, &split.validation, &split.test] {
        parts.push(recorded(part, ways, sizes)?);
    }
    let parts = parts.try_into().unwrap_or_else(|_| unreachable!("three parts"));
    Ok(Ground { name: "UCI HAR", input: split.train.about().shape.clone(), ways, parts })
}

/// Windows sorted by person and activity. A person did everything twice, in two recordings one after the other, and
/// windows follow each other in time: of a person's runs of an activity, those whose middle is before half of its windows are of
/// the first. People whose recordings lack windows for a task are left out.
fn recorded(data: &Dataset, ways: usize, sizes: Sizes) -> Result<Material, TuneError> {
    let mut cells: BTreeMap<(u32, u32), Vec<Vec<usize>>> = BTreeMap::new();
    let (labels, people) = (data.labels(), data.people());
    for at in 0..data.len() {
        let runs = cells.entry((people[at], labels[at])).or_default();
        match runs.last_mut() {
            Some(run) if run.last() == Some(&(at.wrapping_sub(1))) => run.push(at),
            _ => runs.push(vec![at]),
        }
    }
    let halves = |runs: &[Vec<usize>]| -> [Vec<usize>; 2] {
        let all: usize = runs.iter().map(Vec::len).sum();
        let mut halves = [vec![], vec![]];
        let mut before = 0;
        for run in runs {
            halves[usize::from(2 * before + run.len() >= all)].extend(run);
            before += run.len();
        }
        halves
    };
    let names: std::collections::BTreeSet<u32> = people.iter().copied().collect();
    let (mut order, mut table, mut count) = (vec![], vec![], 0);
    for person in names {
        let of: Vec<[Vec<usize>; 2]> = (0..ways as u32)
            .map(|class| cells.get(&(person, class)).map_or_else(Default::default, |r| halves(r)))
            .collect();
        if of.iter().any(|[first, second]| first.len() < sizes.shots || second.len() < sizes.queries) {
            continue;
        }
        count += 1;
        for [first, second] in of {
            let at = order.len() as u32;
            table.push([at, first.len() as u32, at + first.len() as u32, second.len() as u32]);
            order.extend([first, second].concat());
        }
    }
    if count == 0 {
        let message = format!(
            "nobody's recordings have {} windows of each activity in the first and {} in the second; take fewer",
            sizes.shots, sizes.queries
        );
        return Err(wrong("shots", message).into());
    }
    let chosen = data.select(&order);
    Ok(Material {
        x: chosen.examples().clone(),
        count: order.len(),
        cells: table,
        drawing: Drawing::People { people: count },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_quarter_turns_are_none() {
        let drawing: Vec<u8> = (0..9).collect();
        let turned = quarter_turn(&drawing, 3);
        assert_eq!(turned, [6, 3, 0, 7, 4, 1, 8, 5, 2]);
        assert_eq!((0..3).fold(turned, |turned, _| quarter_turn(&turned, 3)), drawing);
    }

    #[test]
    fn alphabets_are_in_one_part_each() {
        let names = ["Balinese/1", "Greek/1", "Greek/2", "Latin/1", "Early_Aramaic/4", "Tagalog/1", "Sanskrit/2"];
        let parts = division(&names.map(str::to_owned));
        assert_eq!(parts, [vec![3, 6], vec![1, 2], vec![0, 4, 5]]);
        let whole: Vec<String> = (0..WHOLE).map(|k| format!("a/{k}")).collect();
        let mut parts = division(&whole);
        assert_eq!(parts.each_ref().map(Vec::len), [1100, 100, 423]);
        assert_ne!(parts[0][..3], [0, 1, 2]);
        let mut all = parts.iter_mut().flat_map(|part| part.drain(..)).collect::<Vec<u32>>();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..WHOLE as u32));
    }

    #[test]
    fn queries_are_from_the_second_recording() {
        let library = Library::new("no such directory".into());
        let data = library.scaled(&TuneConfig::default()).unwrap();
        let sizes = Sizes { ways: None, training_ways: None, shots: 10, queries: 10 };
        let test = &data.split.test;
        let material = recorded(test, 6, sizes).unwrap();
        assert_eq!(material.drawing, Drawing::People { people: 9 });
        let rows: u32 = material.cells.iter().map(|cell| cell[1] + cell[3]).sum();
        assert_eq!(rows as usize, test.len(), "every window is in one half");
        for &[_, first, _, second] in &material.cells {
            let share = f64::from(first) / f64::from(first + second);
            assert!((0.3..0.72).contains(&share), "{first} and {second} windows");
        }
    }
}
