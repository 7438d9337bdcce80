//! Truncated and implicit: what is left of the hypergradient where only the last steps are differentiated, or where the
//! end of the training is taken for a stationary point.

use async_trait::async_trait;

use super::follower::{Follower, Given, half_square};
use super::{Answer, Ground, Lesson, LessonError, Page, Settings};
use crate::bilevel::{Implicit, Memory, Method, SolveError, Solver, Truncated};
use crate::ir::{Graph, NodeId};
use crate::nn::optim::Sgd;

/// Weights, and as many hyperparameters.
const WEIGHTS: usize = 8;

/// The largest curvature.
const STEEPEST: f64 = 2.0;

/// Where every λ stands.
const LAMBDA: f64 = 0.5;

/// Steps, terms or iterations that are tried.
const EFFORTS: [usize; 13] = [1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 80, 120];

/// The lesson.
pub struct TruncatedAndImplicit;

/// L = ½ Σ hᵢ wᵢ² − Σ (1 + λᵢ) wᵢ and E = ½‖w‖², the curvatures falling from [`STEEPEST`] to a share of it.
fn follower(condition: f64, steps: usize) -> Follower {
    let curvature = |i: usize| STEEPEST * condition.powf(-(i as f64) / (WEIGHTS - 1) as f64);
    Follower {
        optimizer: Sgd.into(),
        scalars: vec![],
        inner,
        outer: |g, given| half_square(g, given.w),
        data: vec![("curvatures", (0..WEIGHTS).map(|i| curvature(i) as f32).collect())],
        start: vec![0.0; WEIGHTS],
        lambda: WEIGHTS,
        steps,
    }
}

fn inner(g: &mut Graph, given: &Given) -> NodeId {
    let squares = g.mul(given.w, given.w);
    let bent = g.mul(given.data[0], squares);
    let bent = g.scale(bent, 0.5);
    let pull = g.offset(given.lambda, 1.0);
    let pulled = g.mul(pull, given.w);
    let each = g.sub(bent, pulled);
    g.sum_all(each)
}

/// The angle between two vectors, in degrees.
fn angle(a: &[f64], b: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    (product(a, b) / (product(a, a) * product(b, b)).sqrt()).clamp(-1.0, 1.0).acos().to_degrees()
}

/// ‖a − b‖ over ‖b‖.
fn error(a: &[f64], b: &[f64]) -> f64 {
    let square = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>();
    (square(&mut a.iter().zip(b).map(|(a, b)| a - b)) / square(&mut b.iter().copied())).sqrt()
}

#[async_trait(?Send)]
impl Lesson for TruncatedAndImplicit {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let condition = at.number("condition", 1.0..=200.0)?;
        let rate = at.number("rate", 0.05..=0.9)?;
        let steps = at.count("steps", 2..=200)?;
        let effort = at.count("effort", 1..=120)?;
        let problem = follower(condition, steps);
        // What a solver has not come near enough to is no number.
        let take = async |method: Box<dyn Method>, page: &mut dyn Page| -> Result<Vec<f64>, LessonError> {
            let mut session = ground.open(problem.clone(), method).await?;
            let point = problem.point(rate, &[LAMBDA; WEIGHTS]);
            match session.estimate(&point, &problem.along(), page).await {
                Ok(estimate) => Ok(estimate.hypergradient),
                Err(SolveError::Unsolved { .. }) => Ok(vec![f64::NAN; WEIGHTS]),
                Err(error) => Err(error.into()),
            }
        };
        let exact = take(Memory::StoreAll.into(), page).await?;
        let mut answer = Answer::default().number("exact", exact[0]);
        let ways = |effort: usize| -> [(&str, Box<dyn Method>); 3] {
            [
                ("truncated", Truncated { last: effort.min(steps), memory: Memory::StoreAll }.into()),
                ("neumann", Implicit::new(Solver::Neumann { rate }, effort).into()),
                ("gradients", Implicit::new(Solver::ConjugateGradient, effort).into()),
            ]
        };
        for (name, method) in ways(effort) {
            let found = take(method, page).await?;
            answer = answer
                .number(name, found[0])
                .number(format!("{name}_angle"), angle(&found, &exact))
                .number(format!("{name}_error"), error(&found, &exact))
                .curve(format!("{name}_entries"), found.iter().enumerate().map(|(i, &h)| ((i + 1) as f64, h)));
        }
        page.tell(answer.curve("exact_entries", exact.iter().enumerate().map(|(i, &h)| ((i + 1) as f64, h))));

        let mut curves: [Vec<(f64, f64)>; 3] = Default::default();
        for effort in EFFORTS {
            let mut answer = Answer::default();
            for ((name, method), curve) in ways(effort).into_iter().zip(&mut curves) {
                if name != "truncated" || effort <= steps {
                    curve.push((effort as f64, angle(&take(method, page).await?, &exact)));
                }
                answer = answer.curve(name, curve.clone());
            }
            page.tell(answer);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Told, far, near, told};

    fn at(condition: f64, steps: f64, effort: f64, factor: f64) -> Told {
        // That of the specification, and one by which a long training arrives.
        let rate = if steps > 5.0 { 0.5 } else { 0.1 };
        let settings = [("condition", condition), ("rate", rate), ("steps", steps), ("effort", effort)];
        told("truncated-and-implicit", &settings, factor).unwrap()
    }

    /// algorithms.md V1, which the steepest weight is.
    #[test]
    fn truncation_is_that_of_the_specification() {
        let known = [0.050424, 0.0907632, 0.12303456, 0.148851648, 0.1695053184];
        for (effort, wanted) in (1..).zip(known) {
            let right = at(10.0, 5.0, f64::from(effort), 1.0);
            near(right.number("truncated"), wanted, "the last steps");
            near(right.number("exact"), known[4], "all steps");
            far(at(10.0, 5.0, f64::from(effort), 2.0).number("truncated"), wanted, "doubled");
        }
        // The implicit formula at w₅.
        near(at(10.0, 5.0, 8.0, 1.0).number("gradients"), 0.25212, "at a point that is not stationary");
    }

    #[test]
    fn after_a_long_training_of_a_round_bowl_all_agree() {
        let told = at(1.0, 120.0, 80.0, 1.0);
        for way in ["truncated", "neumann", "gradients"] {
            assert!(told.number(&format!("{way}_error")) < 1e-4, "{way}");
        }
    }

    #[test]
    fn ill_conditioning_turns_the_truncated_one_away_and_conjugate_gradients_need_as_many_as_weights() {
        let [round, long] = [2.0, 100.0].map(|condition| at(condition, 200.0, 5.0, 1.0).number("truncated_angle"));
        assert!(long > 1.5 * round, "{long}° {round}°");
        let told = at(20.0, 200.0, 8.0, 1.0);
        assert!(told.number("gradients_angle") < 0.5 && told.number("neumann_angle") > 5.0);
    }
}
