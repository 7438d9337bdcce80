//! Search against hypergradients: the same budget of trainings, the more of which a hypergradient takes at a time, the more
//! hyperparameters there are to be found.

use async_trait::async_trait;

use super::follower::{Follower, Given, half_square};
use super::{Answer, Ground, Lesson, LessonError, Page, Settings};
use crate::bilevel::outer::{OuterAdam, OuterOptimizer as _};
use crate::bilevel::{Memory, Plain, Session};
use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::optim::Sgd;
use crate::rng::{Purpose, Stream};

use crate::search::{Ask, Dimension, Domain, History, Method, Point, Size, Space};

/// Where every λ may be.
const LAMBDA: [f64; 2] = [-4.0, 4.0];

const STEPS: usize = 50;
const RATE: f64 = 0.03;

/// Trainings that each way may take.
const BUDGET: usize = 80;

/// What a hypergradient costs, in trainings: the training itself, and the way back.
const HYPERGRADIENT: usize = 4;

/// How far the leader moves a λ at first.
const OUTER_RATE: f64 = 1.0;

/// Numbers of hyperparameters that are compared, and the seeds whose median is told.
const COUNTS: [usize; 6] = [1, 2, 4, 8, 16, 32];
const SEEDS: u64 = 5;

const SEARCHERS: [&str; 2] = ["random", "tpe"];

/// The lesson, and by which searcher its comparison was made.
#[derive(Default)]
pub struct SearchOrHypergradients {
    compared: Option<usize>,
}

/// A weight for each λ, drawn to 1 by the data and to 0 by the penalty e^λ; the leader wants another value of each.
fn follower(count: usize) -> Follower {
    let wanted = |k: usize| 0.2 + 0.6 * (k as f64 + 0.5) / count as f64;
    Follower {
        optimizer: Sgd.into(),
        scalars: vec![],
        inner,
        outer,
        data: vec![("wanted", (0..count).map(|k| wanted(k) as f32).collect())],
        start: vec![0.0; count],
        lambda: count,
        steps: STEPS,
    }
}

fn inner(g: &mut Graph, given: &Given) -> NodeId {
    let strength = g.scalar(Scalar::Exp, &[given.lambda]);
    let squares = g.mul(given.w, given.w);
    let penalties = g.mul(strength, squares);
    let penalty = g.sum_all(penalties);
    let penalty = g.scale(penalty, 0.5);
    let off = g.offset(given.w, -1.0);
    let fit = half_square(g, off);
    g.add(fit, penalty)
}

/// ½ (w − wanted)², the mean over the weights.
fn outer(g: &mut Graph, given: &Given) -> NodeId {
    let count = g.shape(given.w)[0];
    let off = g.sub(given.w, given.data[0]);
    let loss = half_square(g, off);
    g.scale(loss, 1.0 / count as f64)
}

/// The lowest loss so far, by the trainings that were spent.
type Course = Vec<(f64, f64)>;

fn lower(course: &mut Course, spent: usize, loss: f64) {
    let best = course.last().map_or(f64::INFINITY, |(_, best)| *best);
    course.push((spent as f64, if loss < best { loss } else { best }));
}

async fn descend(count: usize, seed: u64, ground: &Ground, page: &mut dyn Page) -> Result<Course, LessonError> {
    let follower = follower(count);
    let along = follower.along();
    let mut session = ground.open(follower.clone(), Memory::StoreAll).await?;
    let mut leader = OuterAdam::new(count, OUTER_RATE);
    let mut stream = Stream::new(seed, Purpose::Search, 0);
    let mut lambda: Vec<f64> = (0..count).map(|_| LAMBDA[0] + (LAMBDA[1] - LAMBDA[0]) * stream.uniform()).collect();
    let mut course = vec![];
    for k in 1..=BUDGET / HYPERGRADIENT {
        let estimate = session.estimate(&follower.point(RATE, &lambda), &along, page).await?;
        lower(&mut course, HYPERGRADIENT * k, estimate.outer_loss);
        leader.step(&mut lambda, estimate.outer_loss, &estimate.hypergradient);
        lambda.iter_mut().for_each(|value| *value = value.clamp(LAMBDA[0], LAMBDA[1]));
    }
    Ok(course)
}

async fn search(
    count: usize,
    searcher: usize,
    seed: u64,
    ground: &Ground,
    page: &mut dyn Page,
) -> Result<Course, LessonError> {
    let follower = follower(count);
    let mut session: Session<Follower> = ground.open(follower.clone(), Plain).await?;
    let size = Size { dimensions: count, trials: BUDGET as u64, least: 1, most: 1, factor: 3 };
    let searcher = Method::named(SEARCHERS[searcher]).expect("a searcher of this name").searcher(size);
    let domain = Domain::Float { low: LAMBDA[0], high: LAMBDA[1], log: false, step: None };
    let dimension = |k| Dimension { name: format!("lambda{k}"), domain: domain.clone(), when: None, structural: false };
    let space = Space::new((0..count).map(dimension).collect()).expect("dimensions of different names");
    let (mut scored, mut course): (Vec<(Point, u64, f64)>, Course) = (vec![], vec![]);
    for trial in 0..BUDGET {
        let Ask::Start { point, .. } = searcher.ask(&space, &History::of(scored.clone()), seed, trial as u64) else {
            break;
        };
        let lambda: Vec<f64> = (0..count).map(|k| point.get(k).unwrap_or_default()).collect();
        let loss = session.train(&follower.point(RATE, &lambda), page).await?.outer_loss;
        scored.push((point, 1, loss));
        lower(&mut course, trial + 1, loss);
    }
    Ok(course)
}

/// The middle one of the last losses.
fn median(courses: &[Course]) -> f64 {
    let mut last: Vec<f64> = courses.iter().filter_map(|course| course.last().map(|(_, loss)| *loss)).collect();
    last.sort_by(f64::total_cmp);
    last[last.len() / 2]
}

#[async_trait(?Send)]
impl Lesson for SearchOrHypergradients {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let count = 1 << at.count("hyperparameters", 0..=5)?;
        let searcher = at.count("searcher", 0..=1)?;
        let seed = at.count("seed", 1..=20)? as u64;
        // The slope at 0 is known by hand.
        let origin = follower(count);
        let mut session = ground.open(origin.clone(), Memory::StoreAll).await?;
        let estimate = session.estimate(&origin.point(RATE, &vec![0.0; count]), &origin.along(), page).await?;
        let descent = descend(count, seed, ground, page).await?;
        page.tell(
            Answer::default()
                .number("slope", estimate.hypergradient[0])
                .number("descent", descent[descent.len() - 1].1)
                .curve("descent", descent),
        );
        let searched = search(count, searcher, seed, ground, page).await?;
        page.tell(Answer::default().number("search", searched[searched.len() - 1].1).curve("search", searched));
        if self.compared == Some(searcher) {
            return Ok(());
        }
        let (mut by_descent, mut by_search) = (vec![], vec![]);
        for count in COUNTS {
            let (mut descents, mut searches) = (vec![], vec![]);
            for seed in 1..=SEEDS {
                descents.push(descend(count, seed, ground, page).await?);
                searches.push(search(count, searcher, seed, ground, page).await?);
            }
            by_descent.push((count as f64, median(&descents)));
            by_search.push((count as f64, median(&searches)));
            page.tell(Answer::default().curve("descents", by_descent.clone()).curve("searches", by_search.clone()));
        }
        self.compared = Some(searcher);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{far, near, told};

    fn at(power: f64, searcher: f64) -> [(&'static str, f64); 3] {
        [("hyperparameters", power), ("searcher", searcher), ("seed", 1.0)]
    }

    /// By hand: w ← w − η (2w − 1) and its derivative by λ at 0, with E = ½ (w − ½)².
    #[test]
    fn the_slope_is_known_by_hand() {
        let (mut w, mut moved) = (0.0, 0.0);
        for _ in 0..super::STEPS {
            moved -= super::RATE * (2.0 * moved + w);
            w -= super::RATE * (2.0 * w - 1.0);
        }
        let wanted = (w - 0.5) * moved;
        near(told("search-or-hypergradients", &at(0.0, 0.0), 1.0).unwrap().number("slope"), wanted, "dE/dλ");
        far(told("search-or-hypergradients", &at(0.0, 0.0), 2.0).unwrap().number("slope"), wanted, "doubled");
    }

    #[test]
    fn with_few_hyperparameters_search_does_and_with_many_hypergradients() {
        for searcher in [0.0, 1.0] {
            let told = told("search-or-hypergradients", &at(5.0, searcher), 1.0).unwrap();
            let (descents, searches) = (&told.curve("descents").y, &told.curve("searches").y);
            assert!(searches[0] < 1e-3, "{searches:?}");
            assert!(descents[5] < 0.3 * searches[5], "{descents:?} {searches:?}");
        }
    }
}
