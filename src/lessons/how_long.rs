//! How long the follower should train: the λ that suits a training of T steps, beside the one that suits a training
//! without end, and what it takes to find it.

use async_trait::async_trait;

use super::ridge::{self, exact};
use super::{Answer, Ground, Lesson, LessonError, Page, Settings, evenly};
use crate::bilevel::Memory;
use crate::bilevel::outer::{OuterAdam, OuterOptimizer as _};

/// Where λ may go. At the lower end there is next to no penalty.
const LAMBDA: [f64; 2] = [-4.0, 2.0];

const POINTS: usize = 37;

/// Trainings of these lengths are tuned one after the other.
const LENGTHS: [usize; 11] = [1, 2, 3, 5, 8, 12, 16, 24, 36, 54, 80];

/// The leader's optimiser: its steps at first, and how many there are.
const OUTER_RATE: f64 = 0.3;
const OUTER_STEPS: usize = 80;

/// The lesson, and what its long curves were computed for.
#[derive(Default)]
pub struct HowLong {
    drawn: Option<f64>,
}

/// What tuning λ for trainings of one length comes to.
struct Tuned {
    /// The points that were tried, with their outer losses.
    tried: Vec<(f64, f64)>,
    /// Slope at the first of them.
    slope: f64,
    /// Training steps and adjoints of training steps that it took.
    steps: u64,
}

impl Tuned {
    /// The last point.
    fn found(&self) -> (f64, f64) {
        self.tried[self.tried.len() - 1]
    }
}

async fn tune(steps: usize, rate: f64, ground: &Ground, page: &mut dyn Page) -> Result<Tuned, LessonError> {
    let follower = ridge::follower(steps, 0.0);
    let along = follower.along();
    let mut session = ground.open(follower.clone(), Memory::StoreAll).await?;
    let mut leader = OuterAdam::new(1, OUTER_RATE);
    let (mut lambda, mut tuned) = ([0.0], Tuned { tried: vec![], slope: 0.0, steps: 0 });
    for step in 0..=OUTER_STEPS {
        let estimate = session.estimate(&follower.point(rate, &lambda), &along, page).await?;
        if step == 0 {
            tuned.slope = estimate.hypergradient[0];
        }
        tuned.steps += estimate.counts.steps + estimate.counts.adjoints;
        tuned.tried.push((lambda[0], estimate.outer_loss));
        leader.step(&mut lambda, estimate.outer_loss, &estimate.hypergradient);
        lambda[0] = lambda[0].clamp(LAMBDA[0], LAMBDA[1]);
    }
    Ok(tuned)
}

#[async_trait(?Send)]
impl Lesson for HowLong {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let rate = at.number("rate", 0.01..=0.2)?;
        let steps = at.count("steps", 1..=80)?;
        let tuned = tune(steps, rate, ground, page).await?;
        let grid = evenly(LAMBDA[0], LAMBDA[1], POINTS);
        let for_ever = grid.iter().map(|&lambda| (lambda, exact(lambda)));
        let (best, lowest) = lowest(exact);
        page.tell(
            Answer::default()
                .number("slope", tuned.slope)
                .number("found", tuned.found().0)
                .number("loss", tuned.found().1)
                .number("spent", tuned.steps as f64)
                .number("exact_found", best)
                .number("exact_loss", lowest)
                .curve("tried", tuned.tried.iter().copied())
                .curve("found_here", [tuned.found()])
                .curve("exact", for_ever)
                .curve("exact_here", [(best, lowest)])
                .curve("found_at_this_length", [(steps as f64, tuned.found().0)]),
        );
        let follower = ridge::follower(steps, 0.0);
        let mut session = ground.open(follower.clone(), Memory::StoreAll).await?;
        let mut losses = vec![];
        for lambda in grid {
            losses.push((lambda, session.train(&follower.point(rate, &[lambda]), page).await?.outer_loss));
        }
        page.tell(Answer::default().curve("outer", losses));

        if self.drawn == Some(rate) {
            return Ok(());
        }
        let (mut found, mut spent) = (vec![], vec![]);
        for length in LENGTHS {
            let tuned = tune(length, rate, ground, page).await?;
            found.push((length as f64, tuned.found().0));
            spent.push((length as f64, tuned.steps as f64));
            page.tell(Answer::default().curve("found", found.clone()).curve("spent", spent.clone()));
        }
        page.tell(
            Answer::default().curve("exact_for_all", [LENGTHS[0], LENGTHS[10]].map(|length| (length as f64, best))),
        );
        self.drawn = Some(rate);
        Ok(())
    }
}

/// Where a function with one valley is lowest, by golden sections.
fn lowest(f: fn(f64) -> f64) -> (f64, f64) {
    let shrink = 0.5 * (5f64.sqrt() - 1.0);
    let [mut low, mut high] = LAMBDA;
    while high - low > 1e-9 {
        let (left, right) = (high - shrink * (high - low), low + shrink * (high - low));
        if f(left) < f(right) { high = right } else { low = left }
    }
    (low, f(low))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{far, near, told};

    /// algorithms.md V3.
    #[test]
    fn slopes_are_those_of_the_specification() {
        for (steps, wanted) in [(5.0, -0.5330847744), (10.0, -0.6334836393)] {
            let settings = [("rate", 0.2), ("steps", steps)];
            near(told("how-long", &settings, 1.0).unwrap().number("slope"), wanted, "dE/dλ at 0");
            far(told("how-long", &settings, 2.0).unwrap().number("slope"), wanted, "a doubled dE/dλ");
        }
    }

    #[test]
    fn short_trainings_want_less_penalty_and_long_ones_what_is_exact() {
        let told = told("how-long", &[("rate", 0.03), ("steps", 10.0)], 1.0).unwrap();
        // By the closed form of ten steps, and of a training without end.
        assert!((told.number("found") - 1.40).abs() < 0.02, "{}", told.number("found"));
        assert!((told.number("exact_found") - 1.690).abs() < 0.01);
        near(told.number("exact_loss"), 0.1095232, "E(w*(λ*))");
        let found = &told.curve("found").y;
        assert_eq!(found[0], 0.0, "one step from w = 0 is the same for all λ");
        assert!(found[1] < -3.0, "the second step is already too long with any penalty: {found:?}");
        assert!((found[10] - told.number("exact_found")).abs() < 0.02, "{found:?}");
        let spent = &told.curve("spent").y;
        assert_eq!(spent[10] / spent[0], 80.0, "cost grows with T");
    }
}
