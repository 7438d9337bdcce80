//! Windows of real people's motion sensors, few enough to be trained on while one looks.

use super::{Ground, LessonError};
use crate::bilevel::{Examples, Loss, Problem, Set, Targets};
use crate::data::har::statistics;
use crate::data::{Dataset, Split, SubjectSplit};
use crate::nn::{Layer, Model, optim};

/// Training steps, and their learning rate.
const STEPS: usize = 25;
pub const RATE: f64 = 0.3;

/// Statistics of training, validation and test windows, each part of other people: so many, evenly over the people and
/// what they do.
pub fn parts(ground: &Ground, counts: [usize; 3]) -> Result<[Set; 3], LessonError> {
    let split = split(ground)?;
    let [train, validation, test] = counts;
    let few = |part: &Dataset, count: usize| {
        let count = count.min(part.len());
        part.select(&(0..count).map(|k| k * part.len() / count).collect::<Vec<_>>())
    };
    let parts = [few(&split.train, train), few(&split.validation, validation), few(&split.test, test)];
    let mut features = features(&parts).into_iter();
    Ok(parts.map(|part| Set {
        x: features.next().expect("three parts").into(),
        targets: Targets::Labels(part.labels().to_vec()),
        count: part.len(),
    }))
}

/// People with their windows.
pub struct People {
    /// Statistics of the windows, those of each activity of each person behind one another.
    pub x: Examples,
    /// Where these lie: the first one and how many there are, twice, as examples to learn from and to be judged by are
    /// drawn from the same.
    pub cells: Vec<[u32; 4]>,
    /// How many people there are.
    pub people: usize,
    /// Activities.
    pub classes: usize,
}

/// The training, validation and test people with all their windows, as far as they have so many of each activity.
pub fn people(ground: &Ground, least: usize) -> Result<[People; 3], LessonError> {
    let split = split(ground)?;
    let classes = split.train.about().outputs.len();
    let mut cells: [Vec<[u32; 4]>; 3] = Default::default();
    let in_order = |part: &Dataset, cells: &mut Vec<[u32; 4]>| {
        let mut order: Vec<usize> = vec![];
        for person in part.present_people() {
            let of = |class: usize| (0..part.len()).filter(move |&at| is(part, at, person, class));
            if (0..classes).any(|class| of(class).count() < least) {
                continue;
            }
            for class in 0..classes {
                let [first, count] = [order.len(), of(class).count()].map(|count| count as u32);
                cells.push([first, count, first, count]);
                order.extend(of(class));
            }
        }
        part.select(&order)
    };
    let [of_train, of_validation, of_test] = &mut cells;
    let parts =
        [in_order(&split.train, of_train), in_order(&split.validation, of_validation), in_order(&split.test, of_test)];
    let mut features = features(&parts).into_iter();
    Ok(cells.map(|cells| People {
        x: features.next().expect("three parts").into(),
        people: cells.len() / classes,
        cells,
        classes,
    }))
}

fn is(part: &Dataset, at: usize, person: u32, class: usize) -> bool {
    part.people()[at] == person && part.labels()[at] as usize == class
}

fn split(ground: &Ground) -> Result<Split, LessonError> {
    let fit = ground.recordings.as_ref().filter(|data| statistics::count(data).is_some());
    Ok(Split::by_people(fit.ok_or(LessonError::Recordings)?, &SubjectSplit::default())?)
}

/// Statistics of windows, scaled as those of the first part are.
fn features(parts: &[Dataset; 3]) -> [Vec<f32>; 3] {
    let mut features = parts.each_ref().map(statistics::features);
    statistics::standardize(&mut features, statistics::count(&parts[0]).unwrap_or_default());
    features
}

/// Softmax regression on statistics.
pub fn model(inputs: usize, classes: usize) -> Model {
    let layer = Layer::Dense { name: "dense".into(), inputs, outputs: classes, bias: true };
    Model::new(vec![layer], &[inputs]).expect("one dense layer fits")
}

/// The same as a problem with a weight for each training window.
pub fn regression(train: &Set, validation: &Set) -> Problem {
    let classes = match &train.targets {
        Targets::Labels(labels) => 1 + *labels.iter().max().expect("a window") as usize,
        Targets::Values(_) => unreachable!("windows have labels"),
    };
    weighted(model(train.x.len() / train.count, classes), Loss::CrossEntropy, train, validation)
}

/// A model that is trained on all examples at once, each with a weight.
pub fn weighted(model: Model, loss: Loss, train: &Set, validation: &Set) -> Problem {
    let plain = Problem::new(model, loss, optim::Sgd, STEPS, train.count);
    Problem { weights: true, validation: validation.count, ..plain }
}
