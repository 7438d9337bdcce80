//! A task made ready, with the steps that are taken on it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::task::{Hyperparameter, Material, Task};
use crate::bilevel::selftune::{Act, Counts, Examined, Schedule, Session, Supply, Tuning, Variant, Work};
use crate::bilevel::{CHUNK, Pace, Transform};
use crate::engine::Values;
use crate::experiment::config::ConfigError;
use crate::experiment::error::TuneError;
use crate::experiment::library::Library;
use crate::experiment::record::Named;
use crate::experiment::trainables::weights;
use crate::nn::optim::{Momentum, RmsProp};
use crate::rig::{Compiled, Device, Unattended};

/// How long it is trained, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// Learning rate of the weights.
    pub learning_rate: f64,
    /// Epochs before the first tuning step.
    pub warm_up: u32,
    /// Tuning steps, each behind five training steps.
    pub steps: u32,
    /// Tuning steps from one judgement on the validation examples to the next.
    pub every: u32,
}

/// Examples in a batch.
pub(super) const BATCH: usize = 128;
/// Training steps before each tuning step.
const TRAINING: usize = 5;
const MOMENTUM: f64 = 0.9;
/// Learning rate and decay of RMSprop, which moves the hyperparameters.
const OUTER: [f64; 2] = [1e-2, 0.99];
/// The width of the draws at first, unconstrained: σ = 1.
const WIDTH: f64 = 0.541_324_854_612_918;

impl Protocol {
    /// The reconstructed protocol of the CPMLHO paper (corrections.md 4.1), with so many tuning steps.
    pub const fn s1(steps: u32) -> Protocol {
        Protocol { learning_rate: 1e-3, warm_up: 5, steps, every: 20 }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |message: &str| {
            Err(ConfigError::Setting {
                field: "protocol".to_owned(),
                message: format!("{message}, and it is {self:?}"),
            })
        };
        match self {
            _ if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) => wrong("the learning rate is above 0"),
            Protocol { steps: 0, .. } | Protocol { every: 0, .. } => wrong("`steps` and `every` are at least 1"),
            _ if !self.steps.is_multiple_of(self.every) => wrong("`steps` is a multiple of `every`"),
            _ => Ok(()),
        }
    }

    fn schedule(&self, epoch: usize, planes: bool) -> Schedule {
        Schedule { epoch, warm_up: self.warm_up as usize, train: TRAINING, tune: 1, planes }
    }

    /// The steps in parts: each epoch of the warm-up, then up to each judgement.
    pub(super) fn parts(&self, epoch: usize, planes: bool) -> Vec<Vec<Act>> {
        let mut acts = self.schedule(epoch, planes).acts();
        let mut part_to = |act: Act, count: usize| {
            let mut left = count;
            let mut part = vec![];
            while left > 0
                && let Some(next) = acts.next()
            {
                left -= usize::from(next == act);
                part.push(next);
            }
            part
        };
        let warm: Vec<Vec<Act>> = (0..self.warm_up).map(|_| part_to(Act::Train, epoch)).collect();
        let tuned = (0..self.steps / self.every).map(|_| part_to(Act::Tune, self.every as usize));
        let tuned: Vec<Vec<Act>> = tuned.collect();
        [warm, tuned].concat()
    }

    /// All training steps.
    pub(super) fn training_steps(&self, epoch: usize) -> usize {
        self.warm_up as usize * epoch + TRAINING * self.steps as usize
    }
}

/// A task made ready.
pub(super) struct Ground {
    pub name: String,
    pub material: Material,
    pub protocol: Protocol,
    pub seed: u32,
    pub compiled: Compiled,
}

impl Ground {
    pub fn new(
        task: &Task,
        protocol: Protocol,
        (images, seed): (Option<usize>, u32),
        library: &Library,
    ) -> Result<Ground, TuneError> {
        protocol.check()?;
        let material = task.material(library, images, BATCH)?;
        Ok(Ground { name: task.name(), material, protocol, seed, compiled: Compiled::default() })
    }

    fn counts(&self, records: usize) -> Counts {
        let [train, validation, test] = &self.material.sets;
        Counts {
            training: train.count,
            validation: validation.count,
            test: test.count,
            batch: BATCH,
            validation_batch: BATCH,
            draws: self.material.draws.clone(),
            bytes: train.x.scale().map(|scale| scale.mean.len()),
            supply: Supply::Keyed { records },
        }
    }

    /// Training steps in an epoch.
    pub fn epoch(&self) -> usize {
        self.counts(0).epoch()
    }

    pub fn hyperparameters(&self) -> &[Hyperparameter] {
        &self.material.hyperparameters
    }

    fn domains(&self) -> &[Transform] {
        &self.material.network.domains
    }

    /// The values that hyperparameters usually start at.
    pub fn usual(&self) -> Vec<f64> {
        self.hyperparameters().iter().map(|h| h.start).collect()
    }

    /// Unconstrained values; refuses what lies outside.
    pub fn unconstrained(&self, values: &[f64]) -> Result<Vec<f64>, ConfigError> {
        let (given, wanted) = (values.len(), self.domains().len());
        let wrong = |message: String| ConfigError::Setting { field: "start".to_owned(), message };
        if given != wanted {
            let names: Vec<&str> = self.hyperparameters().iter().map(|h| h.name).collect();
            return Err(wrong(format!("{given} values for {wanted} hyperparameters: {}", names.join(", "))));
        }
        let free: Vec<f64> = values.iter().zip(self.domains()).map(|(&x, domain)| domain.unconstrain(x)).collect();
        match free.iter().position(|u| !u.is_finite()) {
            None => Ok(free),
            Some(at) => {
                let Hyperparameter { name, ends: [low, high], .. } = &self.hyperparameters()[at];
                Err(wrong(format!("{name} is {}, but must lie between {low} and {high}", values[at])))
            }
        }
    }

    /// The values of unconstrained ones.
    pub fn constrained(&self, free: &[f64]) -> Vec<f64> {
        free.iter().zip(self.domains()).map(|(&u, domain)| domain.constrain(u)).collect()
    }

    /// Values by name.
    pub fn named(&self, values: &[f64]) -> Named {
        self.hyperparameters().iter().zip(values).map(|(h, &value)| (h.name.to_owned(), value)).collect()
    }

    /// Puts it on a device.
    pub async fn open(&self, device: &Device, variant: Variant) -> Result<Session, TuneError> {
        let counts = self.counts(self.protocol.steps as usize);
        let session = Session::open(device, self.tuning(variant), counts, &self.compiled).await?;
        let [train, validation, test] = &self.material.sets;
        session.put("", train)?;
        // Plain training has no program that reads the validation examples but that which judges by them.
        session.put("_validation", validation)?;
        session.put("_test", test)?;
        session.fill("inner_rates", Values::F64(&[self.protocol.learning_rate, MOMENTUM]))?;
        if variant != Variant::Plain {
            session.fill("outer_rates", Values::F64(&OUTER))?;
        }
        Ok(session)
    }

    /// The first step of this seed at these hyperparameters, unconstrained.
    pub fn begin(&self, session: &Session, lambda: &[f64]) -> Result<(), TuneError> {
        let (model, seed) = (&self.material.network.model, u64::from(self.seed));
        let gates = self.material.network.gates();
        let [mut general, mut response] = [0, 1].map(|number| weights::uniform(model, seed, number));
        general.resize(2 * general.len(), 0.0);
        response.resize(2 * gates.response_len(), 0.0);
        session.fill("general", Values::F32(&general))?;
        session.fill("response", Values::F32(&response))?;
        let n = lambda.len();
        let mut leader = lambda.to_vec();
        leader.resize(2 * n, WIDTH);
        leader.resize(4 * n, 0.0);
        session.fill("leader", Values::F64(&leader))?;
        Ok(session.begin(seed)?)
    }

    fn tuning(&self, variant: Variant) -> Tuning {
        let network = self.material.network.clone();
        Tuning { network, variant, inner: Momentum.into(), outer: RmsProp.into() }
    }

    /// What a step of plain training has to do.
    pub fn plain(&self) -> Result<Work, TuneError> {
        Ok(Work::of_training(&self.tuning(Variant::Plain), &self.counts(0), &self.compiled)?)
    }

    /// Times the steps of a variant.
    pub async fn measure(&self, device: &Device, variant: Variant, seconds: f64) -> Result<Pace, TuneError> {
        let mut session = self.open(device, variant).await?;
        let start = self.unconstrained(&self.usual())?;
        self.begin(&session, &start)?;
        let begun = web_time::Instant::now();
        let mut least = [f64::INFINITY; 2];
        while least[0].is_infinite() || begun.elapsed().as_secs_f64() < 0.7 * seconds {
            for (least, act) in least.iter_mut().zip([Act::Train, Act::Tune]) {
                if session.work(act).is_some() {
                    *least = least.min(session.time(act).await?);
                }
            }
        }
        let [step, tune] = least;
        let begun = web_time::Instant::now();
        session.judge(Examined::Validation, &mut Unattended).await?;
        let chunks = self.material.sets[1].count.div_ceil(CHUNK) as f64;
        let evaluation = begun.elapsed().as_secs_f64() / chunks;
        let outer = if tune.is_finite() { tune } else { 0.0 };
        Ok(Pace { step, adjoint: step, outer, evaluation })
    }

    /// Seconds of a training with so many judgements, and one on the test examples.
    pub fn seconds(&self, pace: &Pace, judgements: u32) -> f64 {
        let chunks = |set: usize| self.material.sets[set].count.div_ceil(CHUNK) as f64;
        let judged = f64::from(judgements) * chunks(1) + chunks(2);
        self.protocol.training_steps(self.epoch()) as f64 * pace.step
            + f64::from(self.protocol.steps) * pace.outer
            + judged * pace.evaluation
    }
}
