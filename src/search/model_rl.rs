//! Model-based reinforcement learning of hyperparameters (Wu et al. 2020): a policy utters one value after another, is
//! improved by clipped steps (PPO), and a network that predicts rewards stands in for trials as long as the policy changes
//! little. No code of its authors was found; what they leave open is ours.

use super::domain::Domain;
use super::draws::{Draws, Occasion, chosen, stream};
use super::history::{Attributes, History, State};
use super::networks::{Adam, Linear, Lstm, Regression, Step};
use super::searcher::{Sample, Sampler};
use super::space::{Point, Space};
use crate::rng::Stream;

/// Constants of the search.
#[derive(Clone, Copy, Debug)]
pub struct ModelRl {
    /// Levels of a dimension that has more values, or dense ones.
    pub levels: usize,
    /// The size of the policy's memory.
    pub hidden: usize,
    /// Points of an update.
    pub batch: usize,
    /// The part of a batch that is tried while the policy changes little; the others are predicted.
    pub real: f64,
    /// The divergence of an update beyond which the next is of trials alone.
    pub divergence: f64,
    /// Steps of an update.
    pub epochs: usize,
    /// The rate of these steps.
    pub rate: f64,
    /// The size of the hidden layers of what predicts rewards.
    pub predictor: usize,
    /// Steps by which that is fitted in each update.
    pub fitting: usize,
}

impl Default for ModelRl {
    fn default() -> Self {
        ModelRl {
            levels: 10,
            hidden: 32,
            batch: 8,
            real: 0.25,
            divergence: 0.05,
            epochs: 4,
            rate: 0.01,
            predictor: 64,
            fitting: 40,
        }
    }
}

/// The ratio of probabilities is clipped at this distance from one.
const CLIP: f64 = 0.2;

/// Who utters the level of one dimension after another.
#[derive(Clone, Debug)]
pub struct Policy {
    memory: Lstm,
    heads: Vec<Linear>,
    inputs: usize,
    parameters: Vec<f64>,
}

/// Levels that were uttered, how probable they were then, and how much better they did than was expected.
#[derive(Clone, Debug)]
pub struct Uttered {
    /// One of each dimension.
    pub levels: Vec<usize>,
    /// The logarithm of their probability.
    pub log_probability: f64,
    /// The reward above that of others.
    pub advantage: f64,
}

impl Policy {
    /// A policy over dimensions of so many levels; all are nearly as probable.
    pub fn new(levels: &[usize], hidden: usize, draws: &mut dyn Draws) -> Self {
        // What was uttered last as a share, and the place of the dimension.
        let inputs = 1 + levels.len();
        let memory = Lstm::new(0, inputs, hidden);
        let mut at = memory.count();
        let head = |outputs: &usize| {
            let head = Linear { at, inputs: hidden, outputs: *outputs };
            at += head.count();
            head
        };
        let heads: Vec<Linear> = levels.iter().map(head).collect();
        let mut parameters = vec![0.0; at];
        memory.draw(&mut parameters, draws);
        Policy { memory, heads, inputs, parameters }
    }

    /// Its parameters.
    pub fn parameters(&mut self) -> &mut Vec<f64> {
        &mut self.parameters
    }

    fn step(&self, before: Option<&Step>, dimension: usize, last: Option<usize>) -> Step {
        let mut x = vec![0.0; self.inputs];
        if let (Some(last), Some(head)) = (last, dimension.checked_sub(1).map(|j| self.heads[j])) {
            x[0] = (last as f64 + 1.0) / head.outputs as f64;
        }
        x[1 + dimension] = 1.0;
        self.memory.step(&self.parameters, before, &x)
    }

    /// The probabilities of a dimension's levels in a state.
    fn probabilities(&self, dimension: usize, step: &Step) -> Vec<f64> {
        let logits = self.heads[dimension].forward(&self.parameters, &step.state);
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    }

    /// Levels of all dimensions, a draw for each, with the logarithm of their probability.
    pub fn utter(&self, draws: &mut dyn Draws) -> (Vec<usize>, f64) {
        let (mut steps, mut levels, mut log_probability): (Vec<Step>, Vec<usize>, f64) = (vec![], vec![], 0.0);
        for dimension in 0..self.heads.len() {
            let step = self.step(steps.last(), dimension, levels.last().copied());
            let probabilities = self.probabilities(dimension, &step);
            let level = chosen(&probabilities, draws.uniform());
            log_probability += probabilities[level].ln();
            levels.push(level);
            steps.push(step);
        }
        (levels, log_probability)
    }

    /// The memory's steps while levels are uttered, and the probabilities of all levels at each.
    fn heard(&self, levels: &[usize]) -> (Vec<Step>, Vec<Vec<f64>>) {
        let (mut steps, mut all): (Vec<Step>, Vec<Vec<f64>>) = (vec![], vec![]);
        for dimension in 0..levels.len() {
            let last = dimension.checked_sub(1).map(|before| levels[before]);
            let step = self.step(steps.last(), dimension, last);
            all.push(self.probabilities(dimension, &step));
            steps.push(step);
        }
        (steps, all)
    }

    /// The logarithm of the probability of levels.
    pub fn log_probability(&self, levels: &[usize]) -> f64 {
        self.heard(levels).1.iter().zip(levels).map(|(p, level)| p[*level].ln()).sum()
    }

    /// The clipped objective of Schulman et al. (2017), to be maximised, over a batch, and its derivatives.
    pub fn objective(&self, batch: &[Uttered]) -> (f64, Vec<f64>) {
        let (mut value, mut gradient) = (0.0, vec![0.0; self.parameters.len()]);
        let share = 1.0 / batch.len() as f64;
        for Uttered { levels, log_probability, advantage } in batch {
            let (steps, all) = self.heard(levels);
            let now: f64 = all.iter().zip(levels).map(|(p, level)| p[*level].ln()).sum();
            let ratio = (now - log_probability).exp();
            let clipped = ratio.clamp(1.0 - CLIP, 1.0 + CLIP) * advantage;
            value += share * clipped.min(ratio * advantage);
            if clipped < ratio * advantage {
                continue;
            }
            let factor = share * ratio * advantage;
            let along = |(dimension, step): (usize, &Step)| {
                let by_logit =
                    |(level, p): (usize, &f64)| factor * (f64::from(u8::from(level == levels[dimension])) - p);
                let slopes: Vec<f64> = all[dimension].iter().enumerate().map(by_logit).collect();
                self.heads[dimension].backward(&self.parameters, &step.state, &slopes, &mut gradient)
            };
            let by_state: Vec<Vec<f64>> = steps.iter().enumerate().map(along).collect();
            self.memory.backward(&self.parameters, &steps, &by_state, &mut gradient);
        }
        (value, gradient)
    }
}

/// The part of the next batch that is tried: all of it after an update that diverged by more than so much.
pub fn real_part(divergence: f64, most: f64, real: f64) -> f64 {
    if divergence > most { 1.0 } else { real }
}

/// A policy that learns, and what predicts rewards for it.
struct Learner {
    policy: Policy,
    adam: Adam,
    predictor: Regression,
    weights: Vec<f64>,
    predictor_adam: Adam,
    /// What is known: levels as shares, and rewards.
    known: Vec<(Vec<f64>, f64)>,
    divergence: f64,
}

impl ModelRl {
    fn levels_of(&self, domain: &Domain) -> usize {
        domain.count().filter(|count| *count <= self.levels || domain.is_categorical()).unwrap_or(self.levels.max(1))
    }

    fn value(&self, domain: &Domain, level: usize) -> f64 {
        let count = self.levels_of(domain);
        match domain.count() {
            Some(all) if all == count => domain.level(level),
            _ => domain.value((level as f64 + 0.5) / count as f64),
        }
    }

    /// How many of the next batch are tried.
    fn tried(&self, learner: &Learner) -> usize {
        let part = real_part(learner.divergence, self.divergence, self.real);
        ((part * self.batch as f64).ceil() as usize).clamp(1, self.batch.max(1))
    }

    fn begin(&self, levels: &[usize], draws: &mut Stream) -> Learner {
        let policy = Policy::new(levels, self.hidden, draws);
        let predictor = Regression::new(levels.len(), self.predictor);
        let weights = predictor.draw(draws);
        Learner {
            adam: Adam::new(policy.parameters.len(), self.rate),
            predictor_adam: Adam::new(weights.len(), 0.01),
            policy,
            predictor,
            weights,
            known: vec![],
            // Nothing is known to predict from.
            divergence: f64::INFINITY,
        }
    }

    /// Improves the policy by a batch whose first members were tried, with these rewards.
    fn update(&self, learner: &mut Learner, levels: &[usize], batch: &[(Vec<usize>, f64)], rewards: &[f64]) {
        let shares = |uttered: &Vec<usize>| -> Vec<f64> {
            uttered.iter().zip(levels).map(|(level, count)| (*level as f64 + 0.5) / *count as f64).collect()
        };
        learner.known.extend(batch.iter().zip(rewards).map(|((levels, _), reward)| (shares(levels), *reward)));
        if rewards.len() < batch.len() || self.real < 1.0 {
            for _ in 0..self.fitting {
                let mut gradient = vec![0.0; learner.weights.len()];
                let share = 1.0 / learner.known.len() as f64;
                for (x, reward) in &learner.known {
                    learner.predictor.error(&learner.weights, x, *reward, &mut gradient);
                }
                gradient.iter_mut().for_each(|slope| *slope *= share);
                learner.predictor_adam.step(&mut learner.weights, &gradient);
            }
        }
        let predicted = batch[rewards.len()..]
            .iter()
            .map(|(levels, _)| learner.predictor.predict(&learner.weights, &shares(levels)));
        let rewards: Vec<f64> = rewards.iter().copied().chain(predicted).collect();
        let count = rewards.len() as f64;
        let mean = rewards.iter().sum::<f64>() / count;
        let deviation = (rewards.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / count).sqrt();
        let advantage = |reward: &f64| (reward - mean) / (deviation + 1e-8);
        let uttered: Vec<Uttered> = batch
            .iter()
            .zip(&rewards)
            .map(|((levels, log_probability), reward)| Uttered {
                levels: levels.clone(),
                log_probability: *log_probability,
                advantage: advantage(reward),
            })
            .collect();
        for _ in 0..self.epochs {
            let (_, gradient) = learner.policy.objective(&uttered);
            let downhill: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
            learner.adam.step(&mut learner.policy.parameters, &downhill);
        }
        // KL(old ‖ new), by the batch: its members were drawn from the old one.
        let loss = |uttered: &Uttered| uttered.log_probability - learner.policy.log_probability(&uttered.levels);
        learner.divergence = uttered.iter().map(loss).sum::<f64>() / count;
    }
}

impl Sampler for ModelRl {
    fn sample(&self, space: &Space, history: &History, seed: u64, trial: u64) -> Sample {
        let levels: Vec<usize> = space.dimensions().iter().map(|d| self.levels_of(&d.domain)).collect();
        let mut learner = self.begin(&levels, &mut stream(seed, 0, Occasion::Bracket));
        let mut first = 0;
        // All updates are made again: the policy is a function of the history.
        for update in 0.. {
            let mut draws = stream(seed, update, Occasion::Point);
            let batch: Vec<(Vec<usize>, f64)> =
                (0..self.batch.max(1)).map(|_| learner.policy.utter(&mut draws)).collect();
            let tried = self.tried(&learner) as u64;
            if trial < first + tried {
                let (uttered, _) = &batch[(trial - first) as usize];
                let point: Point = space.point(|j, domain| self.value(domain, uttered[j]));
                return Sample::Point(point, Attributes::from([("update".to_owned(), update.into())]));
            }
            let Some(trials) = history.trials().get(first as usize..(first + tried) as usize) else {
                return Sample::Wait;
            };
            if trials.iter().any(|trial| trial.state == State::Running) {
                return Sample::Wait;
            }
            // What broke or diverged did as badly as the worst of all.
            let worst = history.trials().iter().map(|trial| trial.score()).filter(|score| score.is_finite());
            let worst = worst.fold(0.0, f64::max);
            let rewards: Vec<f64> = trials.iter().map(|trial| -trial.score().min(worst)).collect();
            self.update(&mut learner, &levels, &batch, &rewards);
            first += tried;
        }
        Sample::Done
    }
}
