//! What a hypergradient is: the slope of the outer loss over λ through the whole training, exactly and by differences.

use async_trait::async_trait;

use super::{Answer, Ground, Lesson, LessonError, Page, Settings, evenly, ridge, tangent};
use crate::bilevel::Memory;

const LAMBDA: [f64; 2] = [-3.0, 1.5];
const POINTS: usize = 73;
const HALF: f64 = 0.8;

/// Difference steps, in powers of ten.
const STEPS: [f64; 2] = [-6.0, 0.0];

/// The lesson, and what its curve over λ was computed for.
#[derive(Default)]
pub struct Hypergradient {
    drawn: Option<[f64; 2]>,
}

#[async_trait(?Send)]
impl Lesson for Hypergradient {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let lambda = at.number("lambda", LAMBDA[0]..=LAMBDA[1])?;
        let rate = at.number("rate", 0.01..=0.2)?;
        let steps = at.count("steps", 1..=60)?;
        let power = at.number("power", STEPS[0]..=STEPS[1])?;
        let follower = ridge::follower(steps, 0.0);
        let mut session = ground.open(follower.clone(), Memory::StoreAll).await?;
        let estimate = session.estimate(&follower.point(rate, &[lambda]), &follower.along(), page).await?;
        let (loss, exact) = (estimate.outer_loss, estimate.hypergradient[0]);
        let mut pair = async |by: f64, page: &mut dyn Page| -> Result<[f64; 2], LessonError> {
            let mut losses = [0.0; 2];
            for (loss, lambda) in losses.iter_mut().zip([lambda - by, lambda + by]) {
                *loss = session.train(&follower.point(rate, &[lambda]), page).await?.outer_loss;
            }
            Ok(losses)
        };
        let by = 10f64.powf(power);
        let [below, above] = pair(by, page).await?;
        let difference = (above - below) / (2.0 * by);
        let error = |difference: f64| ((difference - exact) / exact).abs();
        page.tell(
            Answer::default()
                .number("outer_loss", loss)
                .number("exact", exact)
                .number("difference", difference)
                .number("error", error(difference))
                .curve("here", [(lambda, loss)])
                .curve("tangent", tangent([lambda, loss], exact, HALF))
                .curve("secant", [(lambda - by, below), (lambda + by, above)])
                .curve("error_here", [(by, error(difference))]),
        );
        let mut errors = vec![];
        for power in evenly(STEPS[0], STEPS[1], 25) {
            let by = 10f64.powf(power);
            let [below, above] = pair(by, page).await?;
            errors.push((by, error((above - below) / (2.0 * by))));
        }
        page.tell(Answer::default().curve("errors", errors));

        if self.drawn != Some([rate, steps as f64]) {
            let mut losses = vec![];
            for lambda in evenly(LAMBDA[0], LAMBDA[1], POINTS) {
                losses.push((lambda, session.train(&follower.point(rate, &[lambda]), page).await?.outer_loss));
            }
            page.tell(Answer::default().curve("outer", losses));
            self.drawn = Some([rate, steps as f64]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{far, near, told};

    fn settings(steps: f64, power: f64) -> [(&'static str, f64); 4] {
        [("lambda", 0.0), ("rate", 0.2), ("steps", steps), ("power", power)]
    }

    /// algorithms.md V3.
    #[test]
    fn slope_and_difference_agree_with_the_specification() {
        for (steps, wanted) in [(5.0, -0.5330847744), (10.0, -0.6334836393), (20.0, -0.6372858196)] {
            let right = told("hypergradient", &settings(steps, -2.0), 1.0).unwrap();
            near(right.number("exact"), wanted, "the hypergradient");
            assert!(right.number("error") < 1e-3, "{}", right.number("error"));
            let wrong = told("hypergradient", &settings(steps, -2.0), 2.0).unwrap();
            far(wrong.number("exact"), wanted, "a doubled hypergradient");
            assert!(wrong.number("error") > 0.4, "differences tell that it is doubled");
        }
    }

    #[test]
    fn a_difference_is_rough_both_with_small_steps_and_with_large_ones() {
        let told = told("hypergradient", &settings(20.0, -3.0), 1.0).unwrap();
        let errors = &told.curve("errors").y;
        let best = errors.iter().copied().fold(f64::MAX, f64::min);
        assert!(best < 1e-3 && errors[0] > 20.0 * best && errors[24] > 20.0 * best, "{errors:?}");
    }
}
