//! Forward or reverse: the same hypergradient by both modes, what each runs and holds, and Revolve's schedule.

use std::collections::HashMap;

use async_trait::async_trait;
use web_time::Instant;

use super::follower::{Follower, Given, half_square};
use super::{Answer, Ground, Lesson, LessonError, Page, Settings};
use crate::bilevel::checkpoint::{Action, Plan};
use crate::bilevel::{Estimate, Forward, Memory, Method, Reverse};
use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::optim::Sgd;

const RATE: f64 = 0.1;

/// The numbers of hyperparameters that times are measured for.
const COUNTS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// Rounds in which hypergradients are timed, the first hypergradient apart, which finds nothing warm.
const ROUNDS: usize = 5;

/// Seconds of a round; clocks of browsers are coarse.
const TIMING: f64 = 0.002;

/// The lesson, and what its times were measured for.
#[derive(Default)]
pub struct ForwardOrReverse {
    measured: Option<[usize; 3]>,
}

/// Weights that are drawn to 1 with curvatures from ½ to 2 and to 0 by the penalties e^λ, each of which every m-th weight
/// shares.
fn follower(weights: usize, hyperparameters: usize, steps: usize) -> Follower {
    Follower {
        optimizer: Sgd.into(),
        scalars: vec![],
        inner,
        outer,
        data: vec![("curvatures", curvatures(weights).into_iter().map(|h| h as f32).collect())],
        start: vec![0.0; weights],
        lambda: hyperparameters,
        steps,
    }
}

fn curvatures(weights: usize) -> Vec<f64> {
    (0..weights).map(|i| 0.5 + 1.5 * (i as f64 / weights as f64)).collect()
}

fn inner(g: &mut Graph, given: &Given) -> NodeId {
    let (weights, groups) = (g.shape(given.w)[0], g.shape(given.lambda)[0]);
    let strength = g.scalar(Scalar::Exp, &[given.lambda]);
    let table = g.reshape(given.w, &[weights / groups, groups]);
    let squares = g.mul(table, table);
    let strengths = g.broadcast(strength, &[weights / groups, groups], &[1]);
    let penalties = g.mul(strengths, squares);
    let off = g.offset(given.w, -1.0);
    let fits = g.mul(off, off);
    let fits = g.mul(given.data[0], fits);
    let (penalty, fit) = (g.sum_all(penalties), g.sum_all(fits));
    let both = g.add(penalty, fit);
    g.scale(both, 0.5)
}

/// ½‖w − ½‖², the mean over the weights.
fn outer(g: &mut Graph, given: &Given) -> NodeId {
    let weights = g.shape(given.w)[0];
    let off = g.offset(given.w, -0.5);
    let loss = half_square(g, off);
    g.scale(loss, 1.0 / weights as f64)
}

/// dE/dλ by hand: each weight goes its own way.
fn exact(weights: usize, lambda: &[f64], steps: usize) -> Vec<f64> {
    let mut derivative = vec![0.0; lambda.len()];
    for (i, h) in curvatures(weights).into_iter().enumerate() {
        let strength = lambda[i % lambda.len()].exp();
        let (mut w, mut moved) = (0.0, 0.0);
        for _ in 0..steps {
            moved -= RATE * ((h + strength) * moved + strength * w);
            w -= RATE * (h * (w - 1.0) + strength * w);
        }
        derivative[i % lambda.len()] += (w - 0.5) * moved / weights as f64;
    }
    derivative
}

/// Where the hypergradient is taken.
fn point(hyperparameters: usize) -> Vec<f64> {
    (0..hyperparameters).map(|k| -1.0 + 1.5 * k as f64 / hyperparameters as f64).collect()
}

/// What a mode comes to.
struct Measured {
    estimate: Estimate,
    milliseconds: f64,
    bytes: u64,
    plan: Plan,
}

async fn measure(
    follower: &Follower,
    method: impl Into<Box<dyn Method>>,
    ground: &Ground,
    page: &mut dyn Page,
) -> Result<Measured, LessonError> {
    let mut session = ground.open(follower.clone(), method).await?;
    let (at, along) = (follower.point(RATE, &point(follower.lambda)), follower.along());
    let mut estimate = session.estimate(&at, &along, page).await?;
    // The least of some means: what else the machine does only adds to a time.
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (begin, mut count, mut seconds) = (Instant::now(), 0.0, 0.0);
        while seconds < TIMING {
            estimate = session.estimate(&at, &along, page).await?;
            count += 1.0;
            seconds = begin.elapsed().as_secs_f64();
        }
        least = f64::min(least, seconds / count);
    }
    Ok(Measured { estimate, milliseconds: 1e3 * least, bytes: session.predicted_bytes(), plan: session.plan().clone() })
}

/// The largest error of a hypergradient, in parts of the largest derivative.
fn error(got: &[f64], exact: &[f64]) -> f64 {
    let size = exact.iter().fold(f64::MIN_POSITIVE, |size, one| one.abs().max(size));
    got.iter().zip(exact).map(|(got, exact)| (got - exact).abs() / size).fold(0.0, f64::max)
}

/// What a plan does, action by action: at which training step it stands, where it pulls a cotangent back, and how many
/// states it holds.
fn schedule(plan: &Plan) -> Answer {
    let mut times = HashMap::from([(0, 0)]);
    let (mut steps, mut adjoints) = (vec![(0.0, 0.0)], vec![]);
    for (k, action) in plan.actions().enumerate() {
        let k = (k + 1) as f64;
        match action {
            Action::Step { from, to, .. } => {
                times.insert(to, times[&from] + 1);
                steps.push((k, f64::from(times[&to])));
            }
            Action::Outer => {}
            Action::Adjoint { at, .. } => adjoints.push((k, f64::from(times[&at]))),
        }
    }
    Answer::default().curve("schedule", steps).curve("adjoints", adjoints)
}

#[async_trait(?Send)]
impl Lesson for ForwardOrReverse {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let hyperparameters = 1 << at.count("hyperparameters", 0..=5)?;
        let weights = 1 << at.count("weights", 5..=12)?;
        let steps = at.count("steps", 2..=100)?;
        let slots = at.count("slots", 1..=100)?;
        let problem = follower(weights, hyperparameters, steps);
        let truth = exact(weights, &point(hyperparameters), steps);
        let reverse = Reverse { memory: Memory::Slots(slots) };
        page.tell(schedule(&Plan::revolve(steps, slots)));
        let reverse = measure(&problem, reverse, ground, page).await?;
        let forward = measure(&problem, Forward::for_directions(hyperparameters), ground, page).await?;
        let mut answer = Answer::default()
            .number("exact", truth[0])
            .number("reverse", reverse.estimate.hypergradient[0])
            .number("forward", forward.estimate.hypergradient[0])
            .number("reverse_error", error(&reverse.estimate.hypergradient, &truth))
            .number("forward_error", error(&forward.estimate.hypergradient, &truth));
        for (mode, measured) in [("reverse", &reverse), ("forward", &forward)] {
            let counts = measured.estimate.counts;
            answer = answer
                .number(format!("{mode}_steps"), counts.steps as f64)
                .number(format!("{mode}_derivatives"), (counts.adjoints + counts.tangents) as f64)
                .number(format!("{mode}_milliseconds"), measured.milliseconds)
                .number(format!("{mode}_states"), measured.plan.places as f64)
                .number(format!("{mode}_kib"), measured.bytes as f64 / 1024.0);
        }
        page.tell(answer);

        let wanted = [weights, steps, slots];
        if self.measured == Some(wanted) {
            return Ok(());
        }
        let (mut forward, mut reverse) = (vec![], vec![]);
        for count in COUNTS {
            let problem = follower(weights, count, steps);
            let by = Reverse { memory: Memory::Slots(slots) };
            reverse.push((count as f64, measure(&problem, by, ground, page).await?.milliseconds));
            let by = Forward::for_directions(count);
            forward.push((count as f64, measure(&problem, by, ground, page).await?.milliseconds));
            page.tell(
                Answer::default().curve("reverse_times", reverse.clone()).curve("forward_times", forward.clone()),
            );
        }
        self.measured = Some(wanted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{near, told};

    /// 2⁴ hyperparameters, 2⁶ weights.
    fn settings(steps: f64, slots: f64) -> [(&'static str, f64); 4] {
        [("hyperparameters", 4.0), ("weights", 6.0), ("steps", steps), ("slots", slots)]
    }

    #[test]
    fn both_modes_have_the_derivative_that_is_known() {
        let right = told("forward-or-reverse", &settings(20.0, 4.0), 1.0).unwrap();
        for mode in ["reverse", "forward"] {
            assert!(right.number(&format!("{mode}_error")) < 1e-5, "{mode}");
            near(right.number(mode), right.number("exact"), mode);
        }
        assert_eq!(right.number("forward_derivatives"), 20.0 * 16.0);
        assert_eq!(right.number("reverse_derivatives"), 20.0);
        let wrong = told("forward-or-reverse", &settings(20.0, 4.0), 2.0).unwrap();
        assert!(wrong.number("reverse_error") > 0.5 && wrong.number("forward_error") > 0.5);
    }

    /// algorithms.md A.4: r T − C(c + r, c + 1) steps, with r the fewest passes by which C(c + r, c) steps are reversed; and
    /// the last step, whose state only the outer loss needs.
    #[test]
    fn revolve_runs_as_many_steps_as_it_must() {
        // c = 3: C(5, 3) = 10 < 20 <= C(6, 3), so r = 3 and 3 · 20 − C(6, 4) + 1 = 46.
        let few = told("forward-or-reverse", &settings(20.0, 3.0), 1.0).unwrap();
        assert_eq!(few.number("reverse_steps"), 46.0);
        assert_eq!(few.curve("adjoints").y, (0..20).rev().map(f64::from).collect::<Vec<_>>());
        let all = told("forward-or-reverse", &settings(20.0, 20.0), 1.0).unwrap();
        assert_eq!(all.number("reverse_steps"), 20.0);
        assert!(all.number("reverse_states") > few.number("reverse_states"));
    }
}
