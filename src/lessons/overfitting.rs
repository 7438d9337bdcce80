//! Overfitting the validation people: weights of training windows that are learned on a few people's windows, and what
//! that does to people who were never asked.

use async_trait::async_trait;

use super::{Answer, Ground, Lesson, LessonError, Page, Settings, windows};
use crate::bilevel::hyperparameters::{Hyperparameters, Kind};
use crate::bilevel::outer::{OuterAdam, OuterOptimizer as _};
use crate::bilevel::{Memory, Problem, Session, SessionData, Set};

/// Windows that are trained on, and those that tell what it is worth.
const TRAINING: usize = 240;
const TEST: usize = 600;

/// Outer iterations, and how far one moves a weight's logit at first.
pub const ITERATIONS: usize = 40;
const OUTER_RATE: f64 = 1.0;

/// The step of the difference that the first hypergradient is held against: all weights at once, by their logits.
const STEP: f64 = 0.05;

/// The lesson, and the run that it tells of.
#[derive(Default)]
pub struct Overfitting {
    run: Option<Run>,
}

/// Weights that are being learned. Another question does not end it: it goes on where it was.
struct Run {
    /// Windows of the validation people.
    windows: usize,
    session: Session<Problem>,
    leader: OuterAdam,
    point: Hyperparameters,
    validation: Set,
    test: Set,
    iteration: usize,
}

impl Run {
    async fn begin(count: usize, ground: &Ground) -> Result<Run, LessonError> {
        let [train, validation, test] = windows::parts(ground, [TRAINING, count, TEST])?;
        let problem = windows::regression(&train, &validation);
        let point = Hyperparameters::default().fixed(&problem, Kind::Lr, windows::RATE);
        let point = point.tuned(&problem, Kind::ExampleWeights, 0.5);
        let leader = OuterAdam::new(point.variables().len(), OUTER_RATE);
        let data = SessionData::new(train, validation.clone(), vec![0.0; problem.model.parameter_count()], 0);
        let session = ground.open_supervised(problem, &data, Memory::StoreAll).await?;
        Ok(Run { windows: count, session, leader, point, validation, test, iteration: 0 })
    }

    /// Tells the derivative along all weights at once, and the difference of two trainings.
    async fn check(&mut self, hypergradient: &[f64], page: &mut dyn Page) -> Result<(), LessonError> {
        let mut losses = [0.0; 2];
        for (loss, by) in losses.iter_mut().zip([-STEP, STEP]) {
            let mut point = self.point.clone();
            point.set_variables(&point.variables().iter().map(|value| value + by).collect::<Vec<_>>());
            *loss = self.session.train_at(&point, page).await?.outer_loss;
        }
        page.tell(
            Answer::default()
                .number("slope", hypergradient.iter().sum())
                .number("difference", (losses[1] - losses[0]) / (2.0 * STEP)),
        );
        Ok(())
    }

    async fn iterate(&mut self, page: &mut dyn Page) -> Result<(), LessonError> {
        let k = self.iteration;
        let estimate = self.session.estimate_at(&self.point, page).await?;
        let [seen, unseen] =
            [self.session.evaluate(&self.validation, page).await?, self.session.evaluate(&self.test, page).await?];
        page.tell(
            Answer::default()
                .number(format!("validation_{k}"), estimate.outer_loss)
                .number(format!("test_{k}"), unseen.loss)
                .number(format!("validation_accuracy_{k}"), 100.0 * seen.accuracy())
                .number(format!("test_accuracy_{k}"), 100.0 * unseen.accuracy()),
        );
        if k == 0 {
            self.check(&estimate.hypergradient, page).await?;
        }
        self.leader.advance(&mut self.point, &estimate);
        self.iteration += 1;
        Ok(())
    }
}

#[async_trait(?Send)]
impl Lesson for Overfitting {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let windows = at.count("windows", 6..=480)?;
        if self.run.as_ref().is_none_or(|run| run.windows != windows) {
            self.run = Some(Run::begin(windows, ground).await?);
        }
        let run = self.run.as_mut().expect("it has begun");
        while run.iteration <= ITERATIONS {
            run.iterate(page).await?;
        }
        Ok(())
    }
}

#[cfg(feature = "builtin-data")]
#[cfg(test)]
mod tests {
    use super::super::testing::told;

    #[test]
    fn few_windows_are_fitted_and_people_who_were_not_asked_pay() {
        let told = told("overfitting", &[("windows", 12.0)], 1.0).unwrap();
        let at = |what: &str, k: usize| told.number(&format!("{what}_{k}"));
        assert!(at("validation", 40) < 0.3 * at("validation", 0));
        assert!(at("test", 40) > at("test", 0), "{} {}", at("test", 0), at("test", 40));
    }

    #[test]
    fn the_first_hypergradient_is_held_against_a_difference() {
        let ratio = |factor: f64| {
            let told = told("overfitting", &[("windows", 60.0)], factor).unwrap();
            told.number("slope") / told.number("difference")
        };
        assert!((ratio(1.0) - 1.0).abs() < 0.01, "{}", ratio(1.0));
        assert!((ratio(2.0) - 2.0).abs() < 0.02);
    }
}
