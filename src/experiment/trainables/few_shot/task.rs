//! What few-shot tasks are made of: characters of alphabets never seen, or the activities of a person never seen.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bilevel::Examples;
use crate::bilevel::meta::{Drawing, Pool};
use crate::data::har::statistics;
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
    /// The same with support and queries from both recordings alike: what windows at random would claim, since neighbours have
    /// half of their samples in common.
    PeopleMixed,
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
    /// Of people their windows, or `statistics` of these.
    pub(super) fn ground(self, sizes: Sizes, statistics: bool, library: &Library) -> Result<Ground, TuneError> {
        match self {
            Task::Characters if statistics => {
                Err(wrong("method", "statistics are those of people's windows".to_owned()).into())
            }
            Task::Characters => characters(sizes, library),
            Task::People | Task::PeopleMixed => people(sizes, self == Task::PeopleMixed, statistics, library),
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

fn people(sizes: Sizes, mixed: bool, statistics: bool, library: &Library) -> Result<Ground, TuneError> {
    let data = library.scaled(&TuneConfig::default())?;
    let split = &data.split;
    let ways = split.train.about().outputs.len();
    let mut given = [sizes.ways, sizes.training_ways].into_iter().flatten();
    if let Some(given) = given.find(|&given| given != ways) {
        return Err(wrong("ways", format!("{given}, and tasks of people have all {ways} activities")).into());
    }
    let sets = [&split.train, &split.validation, &split.test];
    let mut tables = vec![];
    for set in sets {
        tables.push(recorded(set, ways, sizes, mixed)?);
    }
    let chosen: Vec<Dataset> = sets.iter().zip(&tables).map(|(set, recorded)| set.select(&recorded.order)).collect();
    let (input, x): (_, Vec<Examples>) = match statistics.then(|| statistics::count(&split.train)).flatten() {
        None => (split.train.about().shape.clone(), chosen.iter().map(|set| set.examples().clone()).collect()),
        Some(count) => {
            let mut features = [0, 1, 2].map(|part: usize| statistics::features(&chosen[part]));
            statistics::standardize(&mut features, count);
            (vec![count], features.into_iter().map(Examples::from).collect())
        }
    };
    let material = |(x, Recorded { order, cells, people }): (_, Recorded)| Material {
        x,
        count: order.len(),
        cells,
        drawing: Drawing::People { people },
    };
    let parts: Vec<Material> = x.into_iter().zip(tables).map(material).collect();
    let parts = parts.try_into().unwrap_or_else(|_| unreachable!("three parts"));
    Ok(Ground { name: "UCI HAR", input, ways, parts })
}

/// Windows by person and activity.
struct Recorded {
    /// Which windows of the data set, in this order.
    order: Vec<usize>,
    /// Rows among these for support and for queries, of a person after the other, their activities in order.
    cells: Vec<[u32; 4]>,
    people: usize,
}

/// Windows sorted by person and activity. A person did everything twice, in two recordings one after the other, and
/// windows follow each other in time: of a person's runs of an activity, those whose middle is before half of its windows are of
/// the first. Mixed, any of them may be support or a query. People whose recordings lack windows for a task are left out.
fn recorded(data: &Dataset, ways: usize, sizes: Sizes, mixed: bool) -> Result<Recorded, TuneError> {
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
    let Sizes { shots, queries, .. } = sizes;
    let lacks = |[first, second]: &[Vec<usize>; 2]| match mixed {
        true => first.len() + second.len() < shots + queries,
        false => first.len() < shots || second.len() < queries,
    };
    let names: std::collections::BTreeSet<u32> = people.iter().copied().collect();
    let mut made = Recorded { order: vec![], cells: vec![], people: 0 };
    for person in names {
        let of: Vec<[Vec<usize>; 2]> = (0..ways as u32)
            .map(|class| cells.get(&(person, class)).map_or_else(Default::default, |r| halves(r)))
            .collect();
        if of.iter().any(lacks) {
            continue;
        }
        made.people += 1;
        for [first, second] in of {
            let (at, counts) = (made.order.len() as u32, [first.len() as u32, second.len() as u32]);
            let all = counts[0] + counts[1];
            made.cells.push(if mixed { [at, all, at, all] } else { [at, counts[0], at + counts[0], counts[1]] });
            made.order.extend([first, second].concat());
        }
    }
    if made.people == 0 {
        let among = if mixed { "in both" } else { "in each, the first for the one and the second for the other" };
        let message = format!(
            "nobody's recordings have {shots} windows of each activity to learn from and {queries} to be judged by {among}; take fewer"
        );
        return Err(wrong("shots", message).into());
    }
    Ok(made)
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
        let [apart, mixed] = [false, true].map(|mixed| recorded(test, 6, sizes, mixed).unwrap());
        assert_eq!((apart.people, mixed.people), (9, 9));
        let rows: u32 = apart.cells.iter().map(|cell| cell[1] + cell[3]).sum();
        assert_eq!(rows as usize, test.len(), "every window is in one half");
        for (&[at, first, then, second], &both) in apart.cells.iter().zip(&mixed.cells) {
            let share = f64::from(first) / f64::from(first + second);
            assert!((0.3..0.72).contains(&share), "{first} and {second} windows");
            assert_eq!((then, both), (at + first, [at, first + second, at, first + second]));
        }
    }

    #[test]
    fn statistics_are_scaled_by_who_is_learned_from() {
        let library = Library::new("no such directory".into());
        let sizes = Sizes { ways: None, training_ways: None, shots: 5, queries: 10 };
        let ground = Task::People.ground(sizes, true, &library).unwrap();
        let each = ground.input[0];
        let means = ground.parts.each_ref().map(|part| {
            let Examples::Floats(x) = &part.x else { panic!("statistics are floats") };
            assert_eq!(x.len(), part.count * each);
            let of = |feature: usize| x.iter().skip(feature).step_by(each).map(|v| f64::from(*v)).sum::<f64>();
            (0..each).map(|feature| (of(feature) / part.count as f64).abs()).fold(0.0, f64::max)
        });
        assert!(means[0] < 1e-3 && means[2] > 0.01, "{means:?}");
        assert!(Task::Characters.ground(Sizes { ways: Some(5), ..sizes }, true, &library).is_err());
    }
}
