//! Windows of real people's motion sensors, few enough to be trained on while one looks.

use super::{Ground, LessonError};
use crate::bilevel::{Loss, Problem, Set, Targets};
use crate::data::har::statistics;
use crate::data::{Dataset, Split, SubjectSplit};
use crate::nn::{Layer, Model, optim};

/// Training steps, and their learning rate.
const STEPS: usize = 25;
pub const RATE: f64 = 0.3;

/// Statistics of training, validation and test windows, each part of other people: so many, evenly over the people and
/// what they do.
pub fn parts(ground: &Ground, counts: [usize; 3]) -> Result<[Set; 3], LessonError> {
    let recordings =
        ground.recordings.as_ref().filter(|data| statistics::are_for(data)).ok_or(LessonError::Recordings)?;
    let split = Split::by_people(recordings, &SubjectSplit::default())?;
    let few = |part: &Dataset, count: usize| {
        let count = count.min(part.len());
        part.select(&(0..count).map(|k| k * part.len() / count).collect::<Vec<_>>())
    };
    let [train, validation, test] = counts;
    let parts = [few(&split.train, train), few(&split.validation, validation), few(&split.test, test)];
    let mut features = parts.each_ref().map(statistics::features);
    statistics::standardize(&mut features);
    let mut features = features.into_iter();
    Ok(parts.map(|part| Set {
        x: features.next().expect("three parts").into(),
        targets: Targets::Labels(part.labels().to_vec()),
        count: part.len(),
    }))
}

/// Softmax regression on them, with a weight for each training window.
pub fn regression(train: &Set, validation: &Set) -> Problem {
    let inputs = statistics::FEATURES;
    let classes = match &train.targets {
        Targets::Labels(labels) => 1 + *labels.iter().max().expect("a window") as usize,
        Targets::Values(_) => unreachable!("windows have labels"),
    };
    let layer = Layer::Dense { name: "dense".into(), inputs, outputs: classes, bias: true };
    let model = Model::new(vec![layer], &[inputs]).expect("one dense layer fits");
    weighted(model, Loss::CrossEntropy, train, validation)
}

/// A model that is trained on all examples at once, each with a weight.
pub fn weighted(model: Model, loss: Loss, train: &Set, validation: &Set) -> Problem {
    let plain = Problem::new(model, loss, optim::Sgd, STEPS, train.count);
    Problem { weights: true, validation: validation.count, ..plain }
}
