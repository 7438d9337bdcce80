//! A network that tunes its own penalty: it learns, under noise on λ, how its weight answers to λ, and the leader goes by
//! that answer. Self-tuning networks learn weight and answer together; the centred form (Δ-STN) learns the weight without
//! noise.

use async_trait::async_trait;

use super::follower::{Follower, Given, half_square};
use super::{Answer, Ground, Lesson, LessonError, Page, Settings, evenly};
use crate::bilevel::outer::{Descent, OuterOptimizer as _, Rule};
use crate::bilevel::{Memory, Plain};
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

/// Sizes of the noise that are compared.
const SIZES: [f64; 7] = [0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0];

/// The lesson, and whether its curves over the size of the noise are told, at which λ.
#[derive(Default)]
pub struct Response {
    compared: Option<f64>,
}

/// ½ (w − 1)² + ½ e^λ w² where w and λ may each be many: the sum with these shares.
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
        let with_weight = at.count("form", 0..=1)? == 1;
        let [weight, answer] = learn(size, with_weight, lambda, ground, page).await?;
        let plain = follower(None);
        let mut session = ground.open(plain.clone(), Memory::StoreAll).await?;
        let estimate = session.estimate(&plain.point(RATE, &[lambda]), &plain.along(), page).await?;
        let line = |by: f64| (lambda + by, weight + answer * by);
        page.tell(
            Answer::default()
                .number("weight", weight)
                .number("exact_weight", exact(lambda))
                .number("answer", answer)
                .number("exact_answer", -exact(lambda) * (1.0 - exact(lambda)))
                .number("slope", (weight - WANTED) * answer)
                .number("hypergradient", estimate.hypergradient[0])
                .curve("exact", evenly(LAMBDA[0] - 1.0, LAMBDA[1] + 1.0, 41).into_iter().map(|at| (at, exact(at))))
                .curve("line", [line(-2.0 * size), line(2.0 * size)])
                .curve("draws", evenly(-2.0, 2.0, 9).into_iter().map(|x| line(size * x)))
                .curve("here", [(lambda, weight)])
                .curve("wanted", [(LAMBDA[0] - 1.0, WANTED), (LAMBDA[1] + 1.0, WANTED)])
                .curve("size_here", [(size, answer)]),
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

        if self.compared == Some(lambda) {
            return Ok(());
        }
        let mut curves = [("centred", false, vec![]), ("joint", true, vec![])];
        for size in SIZES {
            for (_, with_weight, points) in &mut curves {
                points.push((size, learn(size, *with_weight, lambda, ground, page).await?[1]));
            }
            let tell = |answer: Answer, (name, _, points): &(&str, bool, Vec<(f64, f64)>)| {
                answer.curve(*name, points.iter().copied())
            };
            page.tell(curves.iter().fold(Answer::default(), tell));
        }
        let truth = -exact(lambda) * (1.0 - exact(lambda));
        page.tell(Answer::default().curve("truth", [SIZES[0], SIZES[6]].map(|size| (size, truth))));
        self.compared = Some(lambda);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{far, near, told};

    /// algorithms.md C.6.
    #[test]
    fn answers_are_those_of_the_specification() {
        let known = [
            (0.1, 0.0, 0.5, -0.2493750065),
            (0.5, 0.0, 0.5, -0.2344669291),
            (1.0, 0.0, 0.5, -0.1918258656),
            (0.1, 1.0, 0.499999995, -0.249375004),
            (0.5, 1.0, 0.4999236281, -0.2344311157),
            (1.0, 1.0, 0.4959858622, -0.1902858347),
        ];
        for (size, form, weight, answer) in known {
            let told = told("response", &[("lambda", 0.0), ("size", size), ("form", form)], 1.0).unwrap();
            near(told.number("weight"), weight, "the weight");
            near(told.number("answer"), answer, "its answer");
        }
    }

    #[test]
    fn the_slope_by_the_answer_is_nearly_the_hypergradient() {
        let at = [("lambda", 0.0), ("size", 0.1), ("form", 0.0)];
        let right = told("response", &at, 1.0).unwrap();
        near(right.number("hypergradient"), -0.25 * 0.2, "through the training");
        assert!((right.number("slope") / right.number("hypergradient") - 1.0).abs() < 0.01);
        assert!((right.number("found") - right.number("exact_found")).abs() < 0.02, "{}", right.number("found"));
        far(told("response", &at, 2.0).unwrap().number("hypergradient"), -0.05, "doubled");
    }
}
