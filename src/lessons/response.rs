//! A network that tunes its own dropout: it learns, under noise on λ, how its weights answer to λ, and the leader goes by
//! that answer. Self-tuning networks learn weights and answer together; the centred form (Δ-STN) learns the weights without
//! noise. One weight under dropout shows how, λ being the logit of the rate, and twelve show that the rate arrives.

use async_trait::async_trait;

use super::dropout::{Regression, SelfTuning, rate};
use super::follower::{Follower, Given, half_square};
use super::{Answer, Ground, Lesson, LessonError, Page, Settings, evenly};
use crate::bilevel::outer::{Descent, OuterOptimizer as _, Rule};
use crate::bilevel::selftune::Variant;
use crate::bilevel::{Flow, Memory, Plain, SolveError};
use crate::ir::{Graph, NodeId, Scalar};
use crate::nn::optim::Sgd;

const LAMBDA: [f64; 2] = [-2.0, 1.0];
const STEPS: usize = 120;
const RATE: f64 = 0.15;

/// The weight that the leader wants.
const WANTED: f64 = 0.3;

/// The leader's steps along the answer.
const OUTER_STEPS: usize = 24;
const OUTER_RATE: f64 = 8.0;

/// Places at which the noise is taken, as multiples of its size: the trapezoidal rule is as good as exact for a Gaussian.
const NODES: usize = 81;
const FURTHEST: f64 = 8.0;

/// The lesson, the settings that all is told of for one weight, and the trainings that it tells of.
#[derive(Default)]
pub struct Response {
    told: Option<[f64; 3]>,
    run: Option<Run>,
}

/// Two trainings that tune their own dropout, from the same λ under noise of the same size. Another question does not end
/// them: they go on where they were.
struct Run {
    begun: [f64; 2],
    centred: SelfTuning,
    joint: SelfTuning,
}

/// ½ (w − 1)² + ½ e^λ w² where w and λ may each be many: the sum with these shares. It is the mean of ½ (mw / (1 − p) − 1)²
/// over the masks m of dropout with e^λ = p / (1 − p).
fn loss(g: &mut Graph, w: NodeId, lambda: NodeId, shares: Option<NodeId>) -> NodeId {
    let strength = g.scalar(Scalar::Exp, &[lambda]);
    let square = g.mul(w, w);
    let penalty = g.mul(strength, square);
    let off = g.offset(w, -1.0);
    let fit = g.mul(off, off);
    let each = g.add(fit, penalty);
    let each = match shares {
        Some(shares) => g.mul(shares, each),
        None => each,
    };
    let sum = g.sum_all(each);
    g.scale(sum, 0.5)
}

/// The mean over the noise of the loss at weight + answer · noise, where the answer is in units of the noise's size.
fn noisy(g: &mut Graph, given: &Given, weight: NodeId) -> NodeId {
    let [nodes, shares, size] = given.data else { unreachable!("three arrays") };
    let answer = g.segment(given.w, 1, 1);
    let moved = g.mul(answer, *nodes);
    let w = g.add(weight, moved);
    let noise = g.mul(*size, *nodes);
    let lambda = g.add(given.lambda, noise);
    loss(g, w, lambda, Some(*shares))
}

fn joint(g: &mut Graph, given: &Given) -> NodeId {
    let weight = g.segment(given.w, 0, 1);
    noisy(g, given, weight)
}

fn centred(g: &mut Graph, given: &Given) -> NodeId {
    let weight = g.segment(given.w, 0, 1);
    let plain = loss(g, weight, given.lambda, None);
    let fixed = g.stop_gradient(weight);
    let noisy = noisy(g, given, fixed);
    g.add(plain, noisy)
}

/// ½ (w − wanted)².
fn outer(g: &mut Graph, given: &Given) -> NodeId {
    let weight = g.segment(given.w, 0, 1);
    let off = g.offset(weight, -WANTED);
    half_square(g, off)
}

/// A weight, and its answer where there is noise.
fn follower(noise: Option<(f64, bool)>) -> Follower {
    let places = evenly(-FURTHEST, FURTHEST, NODES);
    let densities: Vec<f64> = places.iter().map(|x| (-0.5 * x * x).exp()).collect();
    let sum: f64 = densities.iter().sum();
    let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<f32>>();
    let plain = Follower {
        optimizer: Sgd.into(),
        scalars: vec![],
        inner: |g, given| loss(g, given.w, given.lambda, None),
        outer,
        data: vec![],
        start: vec![0.0],
        lambda: 1,
        steps: STEPS,
    };
    let Some((size, with_weight)) = noise else { return plain };
    Follower {
        inner: if with_weight { joint } else { centred },
        data: vec![
            ("nodes", single(places)),
            ("shares", single(densities.into_iter().map(|density| density / sum).collect())),
            ("size", single(vec![size])),
        ],
        start: vec![0.0; 2],
        ..plain
    }
}

/// The weight and its answer to a unit of λ.
async fn learn(
    size: f64,
    with_weight: bool,
    lambda: f64,
    ground: &Ground,
    page: &mut dyn Page,
) -> Result<[f64; 2], LessonError> {
    let follower = follower(Some((size, with_weight)));
    let mut session = ground.open(follower.clone(), Plain).await?;
    session.train(&follower.point(RATE, &[lambda]), page).await?;
    let weights = session.final_weights().await?;
    Ok([weights[0], weights[1] / size])
}

/// The best weight, h = 1.
fn exact(lambda: f64) -> f64 {
    1.0 / (1.0 + lambda.exp())
}

#[async_trait(?Send)]
impl Lesson for Response {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let lambda = at.number("lambda", LAMBDA[0]..=LAMBDA[1])?;
        let size = at.number("size", 0.05..=1.0)?;
        let form = at.count("form", 0..=1)?;
        let asked = [lambda, size, form as f64];
        if self.told != Some(asked) {
            one_weight(lambda, size, form == 1, ground, page).await?;
            self.told = Some(asked);
        }
        self.tune([lambda, size], ground, page).await
    }
}

/// Tells of the line that a weight learns, and where the leader goes by it.
async fn one_weight(
    lambda: f64,
    size: f64,
    with_weight: bool,
    ground: &Ground,
    page: &mut dyn Page,
) -> Result<(), LessonError> {
    let [weight, answer] = learn(size, with_weight, lambda, ground, page).await?;
    let plain = follower(None);
    let mut session = ground.open(plain.clone(), Memory::StoreAll).await?;
    let estimate = session.estimate(&plain.point(RATE, &[lambda]), &plain.along(), page).await?;
    let line = |by: f64| (lambda + by, weight + answer * by);
    page.tell(
        Answer::default()
            .number("rate", rate(lambda))
            .number("weight", weight)
            .number("exact_weight", exact(lambda))
            .number("answer", answer)
            .number("exact_answer", -exact(lambda) * (1.0 - exact(lambda)))
            .number("slope", (weight - WANTED) * answer)
            .number("hypergradient", estimate.hypergradient[0])
            .curve("exact", evenly(LAMBDA[0] - 1.0, LAMBDA[1] + 1.0, 41).into_iter().map(|at| (at, exact(at))))
            .curve("line", [line(-2.0 * size), line(2.0 * size)])
            .curve("draws", evenly(-2.0, 2.0, 9).into_iter().map(|x| line(size * x)))
            .curve("wanted", [(LAMBDA[0] - 1.0, WANTED), (LAMBDA[1] + 1.0, WANTED)]),
    );

    let mut leader = Descent::new(Rule::GradientDescent, OUTER_RATE, 1);
    let (mut at, mut course) = ([lambda], vec![]);
    for _ in 0..OUTER_STEPS {
        let [weight, answer] = learn(size, with_weight, at[0], ground, page).await?;
        course.push((at[0], weight));
        let off = weight - WANTED;
        leader.step(&mut at, 0.5 * off * off, &[off * answer]);
        at[0] = at[0].clamp(LAMBDA[0], LAMBDA[1]);
        page.tell(Answer::default().curve("course", course.clone()).number("found", at[0]));
    }
    page.tell(Answer::default().number("exact_found", (1.0 / WANTED - 1.0).ln()));
    Ok(())
}

impl Response {
    /// Tells how far the rate has come, until it has arrived.
    async fn tune(&mut self, begun: [f64; 2], ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        if self.run.as_ref().is_none_or(|run| run.begun != begun) {
            self.run = Some(Run::begin(begun, ground, page).await?);
        }
        let run = self.run.as_mut().expect("it has begun");
        while !run.joint.is_over() {
            if page.breathe().await == Flow::Stop {
                return Err(SolveError::Stopped.into());
            }
            run.centred.go_on().await?;
            run.joint.go_on().await?;
            page.tell(
                Answer::default()
                    .number("centred_rate", run.centred.found())
                    .number("joint_rate", run.joint.found())
                    .number("first_slope", run.centred.first_slope.unwrap_or(f64::NAN))
                    .curve("centred", run.centred.trail.clone())
                    .curve("joint", run.joint.trail.clone()),
            );
        }
        Ok(())
    }
}

impl Run {
    async fn begin(begun: [f64; 2], ground: &Ground, page: &mut dyn Page) -> Result<Run, SolveError> {
        let regression = Regression::drawn();
        let [lambda, size] = begun;
        let best = regression.best();
        let [lowest, _] = regression.fixed(best);
        page.tell(
            Answer::default()
                .number("best_rate", rate(best))
                .number("exact_first_slope", regression.fixed(lambda)[1])
                .curve("fixed", regression.curve())
                .curve("best", [(rate(best), lowest)]),
        );
        Ok(Run {
            begun,
            centred: SelfTuning::begin(&regression, Variant::DeltaStn, lambda, size, ground).await?,
            joint: SelfTuning::begin(&regression, Variant::Stn, lambda, size, ground).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Told, far, ground, near, told};
    use super::one_weight;

    fn one(size: f64, with_weight: bool, factor: f64) -> Told {
        let mut told = Told::default();
        pollster::block_on(one_weight(0.0, size, with_weight, &ground(factor), &mut told)).unwrap();
        told
    }

    /// algorithms.md C.6.
    #[test]
    fn answers_are_those_of_the_specification() {
        let known = [
            (0.1, false, 0.5, -0.2493750065),
            (0.5, false, 0.5, -0.2344669291),
            (1.0, false, 0.5, -0.1918258656),
            (0.1, true, 0.499999995, -0.249375004),
            (0.5, true, 0.4999236281, -0.2344311157),
            (1.0, true, 0.4959858622, -0.1902858347),
        ];
        for (size, with_weight, weight, answer) in known {
            let told = one(size, with_weight, 1.0);
            near(told.number("weight"), weight, "the weight");
            near(told.number("answer"), answer, "its answer");
        }
    }

    #[test]
    fn the_slope_by_the_answer_is_nearly_the_hypergradient() {
        let right = one(0.1, false, 1.0);
        near(right.number("hypergradient"), -0.25 * 0.2, "through the training");
        assert!((right.number("slope") / right.number("hypergradient") - 1.0).abs() < 0.01);
        assert!((right.number("found") - right.number("exact_found")).abs() < 0.02, "{}", right.number("found"));
        far(one(0.1, false, 2.0).number("hypergradient"), -0.05, "doubled");
    }

    fn twelve(lambda: f64, size: f64, factor: f64) -> Told {
        let told = told("response", &[("lambda", lambda), ("size", size), ("form", 0.0)], factor).unwrap();
        let numbers = ["best_rate", "centred_rate", "joint_rate", "first_slope", "exact_first_slope"];
        println!("λ {lambda}, σ {size}: {:?}", numbers.map(|name| told.number(name)));
        told
    }

    /// How many times the first slope is the one that ridge regression has.
    fn slope(told: &Told) -> f64 {
        told.number("first_slope") / told.number("exact_first_slope")
    }

    /// `tests/selftune.rs` finds the same best rate by another way of solving.
    #[test]
    fn the_rate_comes_to_the_best_one_from_both_sides() {
        for lambda in [-2.0, 1.0] {
            let told = twelve(lambda, 0.5, 1.0);
            assert!((told.number("best_rate") - 0.36).abs() < 0.0025);
            assert!((slope(&told) - 1.0).abs() < 0.2, "{}", slope(&told));
            for form in ["centred_rate", "joint_rate"] {
                assert!((told.number(form) - told.number("best_rate")).abs() < 0.04, "{form} from {lambda}");
            }
        }
    }

    #[test]
    fn a_doubled_slope_is_not_that_of_ridge_regression() {
        assert!((slope(&twelve(1.0, 0.5, 2.0)) - 2.0).abs() < 0.4);
    }

    #[test]
    fn with_little_noise_weights_learned_together_lead_the_wrong_way() {
        let told = twelve(1.0, 0.1, 1.0);
        let furthest = |form: &str| told.curve(form).x.iter().copied().fold(0.0, f64::max);
        let begun = told.curve("joint").x[0];
        assert!(furthest("joint") > begun + 0.05, "{}", furthest("joint"));
        assert!(furthest("centred") < begun + 0.01, "{}", furthest("centred"));
    }
}
