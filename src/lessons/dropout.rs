//! Linear regression under dropout on its inputs, which tunes its own rate while it trains. Under dropout at a rate p it is
//! ridge regression with p / (1 − p) = e^λ times each input's own square for a penalty, so that the best rate is known.

use super::{Ground, evenly};
use crate::bilevel::selftune::{Act, Augmentation, Counts, Examined, SelfTuned, Session, Supply, Tuning, Variant};
use crate::bilevel::{Loss, Set, SolveError, Targets, Transform};
use crate::engine::Values;
use crate::gp::cholesky::Cholesky;
use crate::nn::optim::Sgd;
use crate::nn::{Layer, Model};
use crate::rig::Unattended;
use crate::rng::{Purpose, Stream};

const FEATURES: usize = 12;
const EXAMPLES: usize = 64;
const VALIDATION: usize = 1024;

/// How often an example stands in a batch, each time under a mask of its own: the gradient is so much quieter.
const COPIES: usize = 4;

/// The noise of the targets as a multiple of what a weight is; their loss is told in units of its square.
const NOISE: f64 = 4.0;

const RATE: f64 = 0.01;
const OUTER_RATE: f64 = 0.5;

/// Training steps before λ moves, and in a turn, which a tuning step ends.
const WARM_UP: usize = 600;
const TURN: usize = 3;

/// Turns from one point of a trail to the next, and its points behind the first.
const BEAT: usize = 10;
const POINTS: usize = 40;

/// As many of the last points say where the rate stays.
const LAST: usize = 10;

/// Examples and their targets.
struct Part {
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Part {
    fn drawn(count: usize, truth: &[f64], stream: &mut Stream) -> Part {
        let x: Vec<f64> = (0..count * FEATURES).map(|_| stream.normal()).collect();
        let y = x.chunks(FEATURES).map(|row| dot(row, truth) / NOISE + stream.normal()).collect();
        Part { x, y }
    }

    fn rows(&self) -> impl Iterator<Item = (&[f64], f64)> {
        self.x.chunks(FEATURES).zip(self.y.iter().copied())
    }

    fn set(&self, copies: usize) -> Set {
        let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>().repeat(copies);
        Set { x: single(&self.x).into(), targets: Targets::Values(single(&self.y)), count: copies * self.y.len() }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What is to be learned, and what is known of it.
pub struct Regression {
    train: Part,
    validation: Part,
}

impl Regression {
    pub fn drawn() -> Regression {
        let mut stream = Stream::new(11, Purpose::Search, 0);
        let truth: Vec<f64> = (0..FEATURES).map(|_| stream.normal()).collect();
        let [train, validation] = [EXAMPLES, VALIDATION].map(|count| Part::drawn(count, &truth, &mut stream));
        Regression { train, validation }
    }

    /// The validation loss of a training to the end at a fixed λ, and its derivative: w = (H + e^λ D)⁻¹ c with H = XᵀX, its
    /// diagonal D and c = Xᵀy, so that dw/dλ = −(H + e^λ D)⁻¹ e^λ D w.
    pub fn fixed(&self, lambda: f64) -> [f64; 2] {
        let sum = |of: &dyn Fn(&[f64], f64) -> f64| self.train.rows().map(|(x, y)| of(x, y)).sum::<f64>();
        let penalty: Vec<f64> = (0..FEATURES).map(|i| lambda.exp() * sum(&|x, _| x[i] * x[i])).collect();
        let entry = |i: usize, j: usize| sum(&|x, _| x[i] * x[j]) + if i == j { penalty[i] } else { 0.0 };
        let rows = (0..FEATURES).map(|i| (0..=i).map(|j| entry(i, j)).collect()).collect();
        let factor = Cholesky::new(rows).expect("more examples than features, and a penalty");
        let weights = factor.solve(&(0..FEATURES).map(|i| sum(&|x, y| x[i] * y)).collect::<Vec<_>>());
        let push: Vec<f64> = penalty.iter().zip(&weights).map(|(penalty, weight)| -penalty * weight).collect();
        let answer = factor.solve(&push);
        let mut told = [0.0; 2];
        for (x, y) in self.validation.rows() {
            let off = dot(x, &weights) - y;
            told[0] += off * off / VALIDATION as f64;
            told[1] += 2.0 * off * dot(x, &answer) / VALIDATION as f64;
        }
        told
    }

    /// The λ whose validation loss is lowest.
    pub fn best(&self) -> f64 {
        let (mut low, mut high) = (-6.0, 6.0);
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            *(if self.fixed(middle)[1] < 0.0 { &mut low } else { &mut high }) = middle;
        }
        low
    }

    /// The validation loss by the rate that is fixed.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let lambda = |rate: f64| (rate / (1.0 - rate)).ln();
        evenly(0.02, 0.9, 45).into_iter().map(|rate| (rate, self.fixed(lambda(rate))[0])).collect()
    }
}

/// Dropout's rate at λ.
pub fn rate(lambda: f64) -> f64 {
    Transform::UNIT.constrain(lambda)
}

/// A training that tunes the rate as it goes.
pub struct SelfTuning {
    session: Session,
    /// s, the width of the noise as it is kept: σ = log(1 + eˢ).
    width: f64,
    lambda: f64,
    /// The leader's slope in the first tuning step.
    pub first_slope: Option<f64>,
    /// Rates and validation losses so far.
    pub trail: Vec<(f64, f64)>,
}

impl SelfTuning {
    pub async fn begin(
        of: &Regression,
        variant: Variant,
        lambda: f64,
        size: f64,
        ground: &Ground,
    ) -> Result<SelfTuning, SolveError> {
        let dense = Layer::Dense { name: "dense".into(), inputs: FEATURES, outputs: 1, bias: false };
        let network = SelfTuned {
            model: Model::new(vec![Layer::Dropout { rate: 0.0 }, dense], &[FEATURES]).expect("one dense layer fits"),
            loss: Loss::MeanSquaredError,
            domains: vec![Transform::UNIT],
            augmentations: vec![(Augmentation::Dropout(0), 0)],
            entropy: 0.0,
        };
        let training = COPIES * EXAMPLES;
        let counts = Counts {
            training,
            validation: VALIDATION,
            test: 0,
            batch: training,
            validation_batch: VALIDATION,
            draws: network.draw_shapes(training),
            bytes: None,
            supply: Supply::Keyed { records: 0 },
        };
        let tuning = Tuning { network, variant, inner: Sgd.into(), outer: Sgd.into() };
        let session = ground.open_selftuned(tuning, counts).await?;
        session.put("", &of.train.set(COPIES))?;
        session.put("_validation", &of.validation.set(1))?;
        session.fill("inner_rates", Values::F64(&[RATE]))?;
        // λ goes by its derivative alone, so that a wrong derivative is a wrong step.
        session.fill("outer_rates", Values::F64(&[OUTER_RATE * ground.factor]))?;
        session.fill("general", Values::F64(&[0.0; FEATURES]))?;
        // No answer yet, and a gate of 1.
        session.fill("response", Values::F64(&[vec![0.0; FEATURES], vec![1.0]].concat()))?;
        session.begin(0)?;
        let width = size.exp_m1().ln();
        let mut begun = SelfTuning { session, width, lambda, first_slope: None, trail: vec![] };
        begun.stay(lambda)?;
        Ok(begun)
    }

    /// λ as it is, and the noise as wide as it was: the leader would narrow it, too.
    fn stay(&mut self, lambda: f64) -> Result<(), SolveError> {
        self.lambda = lambda;
        self.session.fill("leader", Values::F64(&[lambda, self.width]))
    }

    fn train(&mut self, steps: usize) -> Result<(), SolveError> {
        (0..steps).try_for_each(|_| self.session.act(Act::Train))
    }

    /// One more point of the trail.
    pub async fn go_on(&mut self) -> Result<(), SolveError> {
        if self.trail.is_empty() {
            self.train(WARM_UP)?;
        } else {
            for _ in 0..BEAT {
                self.train(TURN)?;
                self.session.act(Act::Tune)?;
                let lambda = self.session.read("leader").await?[0];
                self.first_slope.get_or_insert((self.lambda - lambda) / OUTER_RATE);
                self.stay(lambda)?;
            }
        }
        let judged = self.session.judge(Examined::Validation, &mut Unattended).await?;
        self.trail.push((rate(self.lambda), judged.loss));
        Ok(())
    }

    pub fn is_over(&self) -> bool {
        self.trail.len() > POINTS
    }

    /// The rate that it comes to: the mean of the last points.
    pub fn found(&self) -> f64 {
        let last = &self.trail[self.trail.len().saturating_sub(LAST)..];
        last.iter().map(|(rate, _)| rate).sum::<f64>() / last.len() as f64
    }
}
