//! A learning rate that tunes itself: hypergradient descent from ten starts, beside trainings at those fixed rates.

use async_trait::async_trait;

use super::follower::{Follower, WEIGHTS, half_square};
use super::{Answer, Ground, Lesson, LessonError, Page, Settings, evenly};
use crate::bilevel::Plain;
use crate::nn::optim::{Adam, Dynamics, Epsilon, HypergradientDescent, Nesterov, Rule, Sgd};

/// Rates to begin with, in powers of ten.
const STARTS: [f64; 2] = [-4.0, -0.65];
const MANY: usize = 10;

/// The curvature of the loss ½ · 10 w², whose fixed rates are stable below 0.2.
const CURVATURE: f64 = 10.0;

/// The lesson.
pub struct SelfTuningRate;

/// A way to tune the rate: the optimiser that stays as it is where the rate is fixed, its scalars, and the rule.
struct Variant {
    base: Dynamics,
    scalars: Vec<f64>,
    rule: Rule,
}

fn variant(number: usize) -> Variant {
    match number {
        0 => Variant { base: Sgd.into(), scalars: vec![], rule: Rule::Additive },
        1 => Variant { base: Sgd.into(), scalars: vec![], rule: Rule::Multiplicative },
        2 => Variant { base: Nesterov.into(), scalars: vec![0.9], rule: Rule::Additive },
        _ => Variant { base: Adam(Epsilon::Outside).into(), scalars: vec![0.9, 0.999, 1e-8], rule: Rule::Additive },
    }
}

/// One weight, from 1, on ½ · 10 w².
fn follower(optimizer: Dynamics, scalars: Vec<f64>, steps: usize) -> Follower {
    Follower {
        optimizer,
        scalars,
        inner: |g, given| {
            let loss = half_square(g, given.w);
            g.scale(loss, CURVATURE)
        },
        outer: |g, given| half_square(g, given.w),
        data: vec![],
        start: vec![1.0],
        lambda: 0,
        steps,
    }
}

#[async_trait(?Send)]
impl Lesson for SelfTuningRate {
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError> {
        let Variant { base, scalars, rule } = variant(at.count("variant", 0..=3)?);
        let hyper_rate = 10f64.powf(at.number("power", -7.0..=0.0)?);
        let start = 10f64.powf(at.number("start", STARTS[0]..=STARTS[1])?);
        let steps = at.count("steps", 4..=100)?;
        let tuned = HypergradientDescent::new(base.clone(), rule, &[hyper_rate]);
        // The rate goes by the hypergradient times this, so that a wrong hypergradient is a wrong step.
        let tuned_scalars = [&scalars[..], &[hyper_rate * ground.factor]].concat();
        let tuned = follower(tuned.into(), tuned_scalars, steps);
        let fixed = follower(base, scalars, steps);
        let (mut tuned_session, mut fixed_session) =
            (ground.open(tuned.clone(), Plain).await?, ground.open(fixed.clone(), Plain).await?);

        let here = tuned_session.train(&tuned.point(start, &[]), page).await?;
        let beside = fixed_session.train(&fixed.point(start, &[]), page).await?;
        let (rates, weights) = (&here.records["learning_rate"], &here.records[WEIGHTS[0]]);
        let mut answer = Answer::default()
            .number("last_rate", rates[end(&here.inner_losses)])
            .number("tuned_loss", here.inner_losses[end(&here.inner_losses)])
            .number("fixed_loss", beside.inner_losses[end(&beside.inner_losses)])
            .curve("tuned_here", by_step(&here.inner_losses))
            .curve("fixed_here", by_step(&beside.inner_losses))
            .curve("rates_here", by_step(rates));
        for step in 0..4 {
            answer = answer
                .number(format!("rate_{}", step + 1), rates[step])
                .number(format!("weight_{}", step + 1), weights[step]);
        }
        page.tell(answer);

        let (mut settled, mut stable) = (0, 0);
        for (k, power) in evenly(STARTS[0], STARTS[1], MANY).into_iter().enumerate() {
            let start = 10f64.powf(power);
            let tuned = tuned_session.train(&tuned.point(start, &[]), page).await?;
            let fixed = fixed_session.train(&fixed.point(start, &[]), page).await?;
            let reached = |losses: &[f64]| usize::from(losses[end(losses)] < REACHED * losses[0]);
            settled += reached(&tuned.inner_losses);
            stable += reached(&fixed.inner_losses);
            page.tell(
                Answer::default()
                    .curve(format!("tuned_{k}"), by_step(&tuned.inner_losses))
                    .curve(format!("fixed_{k}"), by_step(&fixed.inner_losses))
                    .curve(format!("rates_{k}"), by_step(&tuned.records["learning_rate"])),
            );
        }
        page.tell(Answer::default().number("tuned_reached", settled as f64).number("fixed_reached", stable as f64));
        Ok(())
    }
}

/// A training has got somewhere when its loss is this share of what it was.
const REACHED: f64 = 0.01;

/// Below this loss gradients are next to nothing in single precision, and have no angle between them.
const ARRIVED: f64 = 1e-30;

/// The step that a training is read at: its last, or the one where it has arrived.
fn end(losses: &[f64]) -> usize {
    losses.iter().position(|&loss| loss < ARRIVED).unwrap_or(losses.len() - 1)
}

/// Numbers by the steps that they belong to, as far as they are finite, and losses above what is drawn left out.
fn by_step(values: &[f64]) -> Vec<(f64, f64)> {
    let drawn = |(_, value): &(f64, f64)| value.is_finite() && value.abs() < 1e6;
    (1..).map(f64::from).zip(values.iter().copied()).take_while(drawn).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Told, far, near, told};

    fn at(variant: f64, power: f64, factor: f64) -> Told {
        let settings = [("variant", variant), ("power", power), ("start", -2.0), ("steps", 30.0)];
        told("self-tuning-rate", &settings, factor).unwrap()
    }

    /// algorithms.md B.3.
    #[test]
    fn trajectories_are_those_of_the_specification() {
        let known: [(f64, f64, [[f64; 2]; 4]); 4] = [
            (0.0, -4.0, [[0.01, 0.9], [0.019, 0.729], [0.025561, 0.54266031], [0.02951699366, 0.38248330070]]),
            (1.0, -1.0, [[0.01, 0.9], [0.011, 0.801], [0.0121, 0.704079], [0.01331, 0.6103660851]]),
            (
                2.0,
                -5.0,
                [[0.01, 0.81], [0.011539, 0.53894889], [0.01280499094, 0.23046348301], [0.01336020119, -0.05290895179]],
            ),
            (
                3.0,
                -3.0,
                [[0.01, 0.99], [0.0199, 0.97010546437], [0.02959839082, 0.94054073801], [0.03899310073, 0.90166235369]],
            ),
        ];
        for (variant, power, steps) in known {
            let (right, wrong) = (at(variant, power, 1.0), at(variant, power, 2.0));
            for (k, [rate, weight]) in (1..).zip(steps) {
                near(right.number(&format!("rate_{k}")), rate, &format!("variant {variant}, rate {k}"));
                near(right.number(&format!("weight_{k}")), weight, &format!("variant {variant}, weight {k}"));
            }
            far(wrong.number("rate_4"), steps[3][0], "a rate by doubled hypergradients");
        }
    }

    #[test]
    fn a_training_that_has_arrived_does_not_diverge() {
        for power in [-1.0, -0.5, -0.25] {
            let settings = [("variant", 1.0), ("power", power), ("start", -2.0), ("steps", 100.0)];
            let told = told("self-tuning-rate", &settings, 1.0).unwrap();
            assert!(told.number("tuned_loss") < 1e-20, "{power}: {}", told.number("tuned_loss"));
            assert!(told.number("tuned_reached") > 5.0, "{power}: {}", told.number("tuned_reached"));
        }
    }

    #[test]
    fn it_helps_from_small_rates_and_breaks_where_its_own_step_is_too_large() {
        let good = at(0.0, -3.0, 1.0);
        assert!(good.number("tuned_reached") > good.number("fixed_reached"));
        let broken = at(0.0, -1.0, 1.0);
        assert!(broken.number("tuned_reached") < good.number("tuned_reached"));
    }
}
