//! Leader and follower: λ moves where the follower ends, and the leader's loss along that path has a slope that it does
//! not see while the follower stands still.

use async_trait::async_trait;

use super::follower::WEIGHTS;
use super::ridge::{self, Bowl};
use super::{Answer, Ground, Lesson, LessonError, Page, Settings, evenly, tangent};
use crate::bilevel::Memory;

/// Where λ may stand; beyond, the follower's steps overshoot.
const LAMBDA: [f64; 2] = [-3.0, 1.5];

/// Points of the curves over λ.
const POINTS: usize = 73;

/// Half the length of the tangents.
const HALF: f64 = 0.6;

/// How far above the lowest point the contours lie.
const LEVELS: [f64; 3] = [0.03, 0.15, 0.45];

/// The lesson, and what its curves over λ were computed for.
#[derive(Default)]
pub struct LeaderAndFollower {
    drawn: Option<[f64; 3]>,
}

#[async_trait(?Send)]
impl Lesson for LeaderAndFollower {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let lambda = at.number("lambda", LAMBDA[0]..=LAMBDA[1])?;
        let price = at.number("price", 0.0..=0.5)?;
        let rate = at.number("rate", 0.01..=0.2)?;
        let steps = at.count("steps", 1..=60)?;
        let follower = ridge::follower(steps, price);
        let mut session = ground.open(follower.clone(), Memory::StoreAll).await?;
        let estimate = session.estimate(&follower.point(rate, &[lambda]), &follower.along(), page).await?;
        let direct = estimate.direct.as_ref().map_or(0.0, |direct| direct[0]);
        let (loss, total) = (estimate.outer_loss, estimate.hypergradient[0]);
        let [first, second] = WEIGHTS.map(|name| estimate.records[name].clone());
        let path = first.iter().copied().zip(second.iter().copied());
        let mut answer = Answer::default()
            .number("outer_loss", loss)
            .number("total", total)
            .number("direct", direct)
            .number("through", total - direct)
            .number("first_weight", first[steps - 1])
            .number("second_weight", second[steps - 1])
            .curve("path", [(0.0, 0.0)].into_iter().chain(path))
            .curve("tangent_total", tangent([lambda, loss], total, HALF))
            .curve("tangent_direct", tangent([lambda, loss], direct, HALF))
            .curve("here", [(lambda, loss)]);
        for (k, level) in LEVELS.into_iter().enumerate() {
            answer = answer
                .curve(format!("inner_contour_{k}"), Bowl::inner(lambda).contour(level))
                .curve(format!("outer_contour_{k}"), Bowl::outer().contour(level));
        }
        page.tell(answer);

        let wanted = [price, rate, steps as f64];
        if self.drawn == Some(wanted) {
            return Ok(());
        }
        let (mut valley, mut losses) = (vec![], vec![]);
        for lambda in evenly(LAMBDA[0], LAMBDA[1], POINTS) {
            let estimate = session.train(&follower.point(rate, &[lambda]), page).await?;
            let [u, v] = WEIGHTS.map(|name| estimate.records[name][steps - 1]);
            valley.push((u, v));
            losses.push((lambda, estimate.outer_loss));
        }
        page.tell(Answer::default().curve("valley", valley).curve("outer", losses));
        self.drawn = Some(wanted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{far, near, told};

    const SETTINGS: [(&str, f64); 4] = [("lambda", 0.0), ("price", 0.0), ("rate", 0.2), ("steps", 20.0)];

    /// algorithms.md V3.
    #[test]
    fn the_slope_is_that_of_the_specification() {
        for (steps, wanted) in [(5.0, -0.5330847744), (10.0, -0.6334836393), (20.0, -0.6372858196)] {
            let settings = [SETTINGS[0], SETTINGS[1], SETTINGS[2], ("steps", steps)];
            near(told("leader-and-follower", &settings, 1.0).unwrap().number("total"), wanted, "dE/dλ");
            far(told("leader-and-follower", &settings, 2.0).unwrap().number("total"), wanted, "a doubled dE/dλ");
        }
    }

    #[test]
    fn the_price_is_what_the_leader_sees_without_the_follower() {
        let settings = [SETTINGS[0], ("price", 0.1), SETTINGS[2], SETTINGS[3]];
        let told = told("leader-and-follower", &settings, 1.0).unwrap();
        near(told.number("direct"), 0.1, "∂E/∂λ");
        near(told.number("total"), 0.1 - 0.6372858196, "dE/dλ");
        near(told.number("first_weight"), 14.0 / 17.0, "w₁");
        near(told.number("second_weight"), 9.0 / 17.0, "w₂");
    }

    #[test]
    fn contours_lie_so_far_above_the_lowest_point() {
        let bowl = super::Bowl::inner(0.3);
        let lowest = bowl.at(bowl.lowest());
        for (u, v) in bowl.contour(0.2) {
            assert!((bowl.at([u, v]) - lowest - 0.2).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let refused = told("leader-and-follower", &[("lambda", 40.0)], 1.0).err().unwrap();
        assert_eq!(refused.to_string(), "`lambda` must be a number from -3 to 1.5");
    }
}
