//! Cutting planes closing in: the constraint of CPMLHO, that a self-tuning network's general weights and their answer to λ be
//! near each other, as half-planes that are cut one after the other.

use async_trait::async_trait;

use super::{Answer, Ground, Lesson, LessonError, Page, Settings};
use crate::bilevel::selftune::{Act, Constraint, Counts, Multiplier, SelfTuned, Session, Supply, Tie, Tuning, Variant};
use crate::bilevel::{Loss, Set, SolveError, Targets, Transform};
use crate::engine::Values;
use crate::nn::optim::Sgd;
use crate::nn::{Layer, Model};
use crate::rig::Flow;

/// Weights of the network, which is one layer with as many outputs.
const WEIGHTS: usize = 2;

/// What the outputs are to be.
const WANTED: [f32; WEIGHTS] = [1.0, 0.4];

/// The general weights, the weights of the answer, and their gates to begin with; λ, which stays.
const GENERAL: [f64; WEIGHTS] = [1.0, -0.2];
const RESPONSE: [f64; 2 * WEIGHTS] = [0.5, 0.6, 0.6, 0.8];
const LAMBDA: f64 = 1.0;

/// As good as no noise on λ.
const WIDTH: f64 = -20.0;

const RATE: f64 = 0.1;

/// Steps that are shown.
const STEPS: usize = 240;

/// What the distance may be, for each weight.
const SLACK: f64 = 0.05;

/// At what rate a plane's multiplier follows its value, where it does.
const DUAL_RATE: f64 = 0.02;

/// The lesson.
pub struct CuttingPlanes;

/// A training as far as it has come.
struct Training {
    session: Session,
    /// Planes that were cut.
    cut: usize,
}

/// Where it is.
struct State {
    /// General weights less their answer.
    difference: [f64; WEIGHTS],
    /// The weights of the answer.
    response: Vec<f64>,
    /// The signs S of each plane that was cut, the latest first, and ⟨S, difference⟩ − slack.
    planes: Vec<([f64; WEIGHTS], f64)>,
    /// How much all planes push, Σ μ.
    multipliers: f64,
    loss: f64,
}

impl Training {
    async fn begin(constraint: Option<Constraint>, ground: &Ground) -> Result<Training, SolveError> {
        let layer = Layer::Dense { name: "layer".into(), inputs: 1, outputs: WEIGHTS, bias: false };
        let network = SelfTuned {
            model: Model::new(vec![layer], &[1]).expect("one dense layer fits"),
            loss: Loss::MeanSquaredError,
            domains: vec![Transform::Identity],
            augmentations: vec![],
            entropy: 0.0,
        };
        let counts = Counts {
            training: 1,
            validation: 1,
            test: 0,
            batch: 1,
            validation_batch: 1,
            draws: vec![],
            bytes: None,
            supply: Supply::Keyed { records: 0 },
        };
        let variant = Variant::Cpmlho { constraint, validation: 1.0 };
        let tuning = Tuning { network, variant, inner: Sgd.into(), outer: Sgd.into() };
        let session = ground.open_selftuned(tuning, counts).await?;
        let example = Set { x: vec![1.0].into(), targets: Targets::Values(WANTED.to_vec()), count: 1 };
        session.put("", &example)?;
        session.put("_validation", &example)?;
        session.fill("inner_rates", Values::F64(&[RATE]))?;
        session.fill("outer_rates", Values::F64(&[0.0]))?;
        session.fill("general", Values::F64(&GENERAL))?;
        session.fill("response", Values::F64(&RESPONSE))?;
        session.fill("leader", Values::F64(&[LAMBDA, WIDTH]))?;
        session.begin(0)?;
        Ok(Training { session, cut: 0 })
    }

    async fn state(&self) -> Result<State, SolveError> {
        let general = self.session.read("general").await?;
        let response = self.session.read("response").await?;
        let answer = |k: usize| response[WEIGHTS + k] * LAMBDA * response[k];
        let (mut planes, mut multipliers) = (vec![], 0.0);
        if self.cut > 0 {
            let (held, values) = (self.session.read("planes").await?, self.session.read("values").await?);
            // A plane is its signs, λ and μ.
            let each = held.chunks(WEIGHTS + 2).zip(values).take(self.cut);
            multipliers = each.clone().map(|(plane, _)| plane[WEIGHTS + 1]).sum();
            planes.extend(each.map(|(plane, value)| ([plane[0], plane[1]], value)));
        }
        let loss = self.session.read("loss").await?[0];
        Ok(State { difference: [0, 1].map(|k| general[k] - answer(k)), response, planes, multipliers, loss })
    }
}

impl State {
    fn distance(&self) -> f64 {
        self.difference.iter().map(|d| d.abs()).sum()
    }
}

/// The edge of a half-plane ⟨S, d⟩ ≤ slack, as far as it is drawn.
fn edge([a, b]: [f64; WEIGHTS], reach: f64) -> [(f64, f64); 2] {
    let slack = SLACK * WEIGHTS as f64;
    [-reach, reach].map(|along| (0.5 * slack * a - along * b, 0.5 * slack * b + along * a))
}

#[async_trait(?Send)]
impl Lesson for CuttingPlanes {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let cuts = at.count("cuts", 0..=6)?;
        let epoch = at.count("epoch", 5..=60)?;
        let start = at.number("multiplier", 0.01..=0.5)?;
        let multiplier = if at.count("follows", 0..=1)? == 1 { Multiplier::Dual(DUAL_RATE) } else { Multiplier::Fixed };
        let planes = cuts.max(1);
        // A plane's derivative goes by its multiplier, so that a wrong derivative is a wrong push.
        let constraint = Constraint { tie: Tie::Sum, slack: SLACK, start: start * ground.factor, multiplier, planes };
        let mut tied = Training::begin((cuts > 0).then_some(constraint), ground).await?;
        let mut free = Training::begin(None, ground).await?;
        let (mut path, mut free_path, mut distances, mut multipliers) = (vec![], vec![], vec![], vec![]);
        let mut bounds: Vec<Vec<(f64, f64)>> = vec![];
        // As long as no plane was cut.
        let mut answer = Answer::default().number("push", f64::NAN).number("exact_push", f64::NAN);
        for step in 1..=STEPS {
            let cut_now = tied.cut < cuts && step > 1 && (step - 1) % epoch == 0;
            let before = if cut_now && tied.cut == 0 { Some(tied.state().await?) } else { None };
            if cut_now {
                tied.session.act(Act::Cut)?;
                tied.cut += 1;
                bounds.push(vec![]);
            }
            tied.session.act(Act::Train)?;
            free.session.act(Act::Train)?;
            let (state, other) = (tied.state().await?, free.state().await?);
            if let Some(before) = before {
                // The first plane's push on the first weight of the answer, and what it is by hand: μ S times its gate.
                let push = (state.response[0] - other.response[0]) / RATE;
                let sign = before.difference[0].signum();
                answer =
                    answer.number("push", push).number("exact_push", start * sign * before.response[WEIGHTS] * LAMBDA);
            }
            path.push((state.difference[0], state.difference[1]));
            free_path.push((other.difference[0], other.difference[1]));
            distances.push((step as f64, state.distance()));
            multipliers.push((step as f64, state.multipliers));
            // The latest plane is the first.
            for (bound, (_, value)) in bounds.iter_mut().zip(state.planes.iter().rev()) {
                bound.push((step as f64, value + SLACK * WEIGHTS as f64));
            }
            if step % 20 != 0 && step != STEPS {
                continue;
            }
            if page.breathe().await == Flow::Stop {
                return Err(SolveError::Stopped.into());
            }
            let mut part = answer
                .number("distance", state.distance())
                .number("free_distance", other.distance())
                .number("loss", state.loss)
                .number("cuts", tied.cut as f64)
                .number("beyond", state.planes.iter().map(|(_, value)| *value).fold(f64::NAN, f64::max))
                .curve("path", path.clone())
                .curve("free_path", free_path.clone())
                .curve("distance", distances.clone())
                .curve("multipliers", multipliers.clone());
            for k in 0..6 {
                let plane = state.planes.iter().rev().nth(k);
                part = part
                    .curve(format!("edge_{k}"), plane.map_or(vec![], |(signs, _)| edge(*signs, 1.0).to_vec()))
                    .curve(format!("bound_{k}"), bounds.get(k).cloned().unwrap_or_default());
            }
            page.tell(part);
            answer = Answer::default();
        }
        let reach = SLACK * WEIGHTS as f64;
        page.tell(
            Answer::default()
                .curve("allowed", [(reach, 0.0), (0.0, reach), (-reach, 0.0), (0.0, -reach), (reach, 0.0)]),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Told, far, near, told};
    use super::{SLACK, WEIGHTS};

    fn at(cuts: f64, follows: f64, factor: f64) -> Told {
        let settings = [("cuts", cuts), ("epoch", 30.0), ("multiplier", 0.2), ("follows", follows)];
        told("cutting-planes", &settings, factor).unwrap()
    }

    /// algorithms.md C.5: the plane's gradient on w_h is −μ (U λ) ∘ S.
    #[test]
    fn the_push_of_a_plane_is_known_by_hand() {
        let right = at(1.0, 0.0, 1.0);
        near(right.number("push"), right.number("exact_push"), "the push");
        let wrong = at(1.0, 0.0, 2.0);
        far(wrong.number("push"), wrong.number("exact_push"), "a doubled push");
    }

    /// C.6: a plane touches the distance where it is cut, and lies below it elsewhere.
    #[test]
    fn planes_are_lower_bounds_that_touch_where_they_are_cut() {
        let told = at(4.0, 1.0, 1.0);
        let distance = told.curve("distance");
        for k in 0..4 {
            let bound = told.curve(&format!("bound_{k}"));
            for (step, value) in bound.x.iter().zip(&bound.y) {
                assert!(*value <= distance.y[*step as usize - 1] + 1e-6, "plane {k} at {step}");
            }
        }
    }

    /// The push of a plane is as large inside the half-plane as outside, so nothing rests on its edge: a plane that stays
    /// drives the training through, and one whose μ follows swings about it.
    #[test]
    fn a_plane_pushes_on_behind_its_edge() {
        let beyond = |follows: f64| {
            let told = at(1.0, follows, 1.0);
            // From here on it is on the right side.
            let bound = told.curve("bound_0").y.clone();
            let crossed = bound.iter().position(|value| *value < SLACK * WEIGHTS as f64).expect("it is crossed");
            (bound, crossed, told.curve("multipliers").y.clone())
        };
        let (fixed, crossed, multipliers) = beyond(0.0);
        assert!(fixed[crossed..].windows(2).all(|pair| pair[1] < pair[0]), "it goes on in the same direction");
        assert!(multipliers[30..].iter().all(|multiplier| (multiplier - 0.2).abs() < 1e-6));
        let (_, crossed, multipliers) = beyond(1.0);
        assert!(multipliers[30 + crossed] > 0.2, "at the edge it pushes more than when it was cut");
        assert!(multipliers.last().unwrap() < &multipliers[30 + crossed], "and then less and less");
    }

    #[test]
    fn planes_draw_the_weights_and_their_answer_together() {
        let told = at(4.0, 1.0, 1.0);
        assert!(told.number("distance") < 0.2 * told.number("free_distance"), "{}", told.number("distance"));
        let free = at(0.0, 1.0, 1.0);
        assert_eq!(free.number("distance"), free.number("free_distance"));
    }
}
