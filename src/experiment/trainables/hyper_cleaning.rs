//! A weight for each training example of MNIST, found by hypergradients, against wrong labels (Franceschi et al. 2017,
//! as their script has it).

use std::rc::Rc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings;
use crate::bilevel::outer::{Descent, OuterOptimizer, Rule};
use crate::bilevel::projection::onto_budgeted_box;
use crate::bilevel::{Adam, Directions, Loss, Memory, Pace, Plain, Problem, Session, SessionData};
use crate::data::catalog::MNIST;
use crate::data::{DataError, Dataset, Standardizer};
use crate::experiment::archive;
use crate::experiment::error::TuneError;
use crate::experiment::event::{Observer, Watched};
use crate::experiment::library::Library;
use crate::experiment::record::{Ending, Named};
use crate::experiment::setup::set;
use crate::experiment::trainable::{Job, Trainable};
use crate::experiment::training::{self, ByUnits, Report, Training};
use crate::ir::numel;
use crate::nn::{Layer, Model, optim};
use crate::rig::{Compiled, Device};
use crate::rng::{Purpose, Stream, permute_index, split_seed, stream_key};

/// Example weights learnt on wrong labels, and a last training with them.
pub struct HyperCleaning;

/// Learning rate at a mean weight of one.
const RATE: f64 = 0.1;
/// An example of less weight counts as thrown out.
const THROWN_OUT: f64 = 1e-3;

/// What a trial is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Training examples, of which half are mislabelled, and as many validation examples.
    pub examples: usize,
    /// Training steps of the inner problem.
    pub steps: usize,
    /// Steps on the example weights, where these are learned.
    pub outer: u32,
    /// Rate of the outer Adam.
    pub outer_rate: f64,
    /// Steps of the last training, on training and validation examples.
    pub final_steps: usize,
    /// Which examples the last training counts, and how much.
    pub weights: Weights,
    /// Of the choice of examples, and of their labels.
    pub seed: u32,
}

/// Which examples count, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// All the same.
    Equal,
    /// None of those with wrong labels.
    Oracle,
    /// As hypergradients find, their sum being at most this share of the training examples.
    Learned {
        /// The share.
        share: f64,
    },
}

/// The examples of a trial.
struct Examples {
    train: Dataset,
    validation: Dataset,
    test: Dataset,
    /// Which training labels are wrong.
    wrong: Vec<bool>,
}

/// Softmax regression on all examples at once, each with its weight.
fn problem(train: &Dataset, steps: usize) -> Problem {
    let (inputs, outputs) = (numel(&train.about().shape), train.about().outputs.len());
    let dense = Layer::Dense { name: "dense".into(), inputs, outputs, bias: true };
    let model = Model::new(vec![dense], &[inputs]).expect("one dense layer fits");
    Problem { weights: true, ..Problem::new(model, Loss::CrossEntropy, optim::Sgd, steps, train.len()) }
}

/// Every training begins from weights of zero.
fn session_data(problem: &Problem, train: &Dataset, validation: &Dataset) -> SessionData {
    let initial = vec![0.0; problem.model.parameter_count()];
    SessionData::new(set(train), set(validation), initial, 0)
}

/// The hyperparameter vector for a learning rate and example weights.
fn lambda(problem: &Problem, rate: f64, weights: &[f64]) -> Vec<f64> {
    let layout = problem.layout();
    let mut lambda = vec![0.0; layout.len()];
    lambda[layout.log_lr].fill(rate.ln());
    lambda[layout.weights].copy_from_slice(weights);
    lambda
}

impl Settings {
    /// A random choice of training images, half of them with a random wrong label; all test images.
    fn choose(&self, library: &Library) -> Result<Examples, TuneError> {
        let images = library.images(&MNIST)?;
        let [train, test] = &*images;
        // From 0 to 1.
        let scale = Standardizer { mean: vec![0.0], std: vec![255.0] };
        let (seed, count) = (u64::from(self.seed), self.examples);
        let key = stream_key(split_seed(seed), Purpose::Validation, 0);
        if 2 * count > train.len() {
            let (given, wanted) = (train.len(), 2 * count);
            return Err(DataError::TooFew { name: MNIST.name, given, wanted }.into());
        }
        let all = train.len() as u32;
        let chosen: Vec<usize> = (0..2 * count as u32).map(|i| permute_index(key, all, i) as usize).collect();
        let (chosen, validation) = chosen.split_at(count);
        let chosen = train.select(chosen);
        let key = stream_key(split_seed(seed), Purpose::Labels, 0);
        let mut stream = Stream::new(seed, Purpose::Labels, 1);
        let (mut wrong, mut labels) = (vec![false; count], chosen.labels().to_vec());
        for at in (0..count as u32 / 2).map(|i| permute_index(key, count as u32, i) as usize) {
            wrong[at] = true;
            labels[at] = stream.other_label(labels[at], chosen.about().outputs.len());
        }
        Ok(Examples {
            train: chosen.with_labels(labels)?.scaled(&scale)?,
            validation: train.select(validation).scaled(&scale)?,
            test: test.clone().scaled(&scale)?,
            wrong,
        })
    }
}

impl Trainable for HyperCleaning {
    fn name(&self) -> &'static str {
        "hyper-cleaning"
    }

    fn about(&self) -> &'static str {
        "Learns a weight for each training example of MNIST, half of them mislabelled, and scores a training with these."
    }

    fn unit(&self) -> &'static str {
        "outer iteration"
    }

    fn schema(&self) -> Schema {
        schema_for!(Settings)
    }

    fn job(&self, settings: &Value, library: &Library) -> Result<Box<dyn Job>, TuneError> {
        let settings: Settings = settings::read(settings)?;
        let examples = settings.choose(library)?;
        let problem = problem(&examples.train, settings.steps);
        let (examples, compiled) = (Rc::new(examples), Compiled::default());
        Ok(Box::new(Cleaning { settings: Rc::new(settings), examples, problem, compiled }))
    }
}

/// A trial made ready.
#[derive(Clone)]
struct Cleaning {
    settings: Rc<Settings>,
    examples: Rc<Examples>,
    /// The inner problem.
    problem: Problem,
    compiled: Compiled,
}

impl Cleaning {
    /// Outer iterations.
    fn outer(&self) -> u32 {
        if let Weights::Learned { .. } = self.settings.weights { self.settings.outer } else { 0 }
    }

    /// A session of the inner problem, through so many steps.
    async fn session(&self, device: &Device, steps: usize) -> Result<Session, TuneError> {
        let problem = Problem { steps, ..self.problem.clone() };
        let data = session_data(&problem, &self.examples.train, &self.examples.validation);
        Ok(Session::with(device, problem, &data, Memory::StoreAll, &self.compiled).await?)
    }
}

#[async_trait(?Send)]
impl Job for Cleaning {
    fn problem(&self) -> String {
        format!("MNIST {}", self.settings.examples)
    }

    fn units(&self) -> u64 {
        self.outer().into()
    }

    async fn measure(&self, device: &Device, seconds: f64) -> Result<Pace, TuneError> {
        // No more steps than it takes to time one.
        let mut session = self.session(device, 2).await?;
        let at = lambda(session.problem(), RATE, &vec![1.0; self.settings.examples]);
        Ok(session.measure(&at, seconds).await?)
    }

    fn seconds(&self, pace: &Pace) -> Result<f64, TuneError> {
        let Settings { steps, final_steps, .. } = *self.settings;
        // The final training has twice the examples.
        let last = 2.0 * final_steps as f64 * pace.step;
        Ok(f64::from(self.outer()) * steps as f64 * (pace.step + pace.adjoint) + last)
    }

    async fn open(&self, device: &Device) -> Result<Box<dyn Training>, TuneError> {
        let Settings { examples: count, steps, outer_rate, weights, .. } = *self.settings;
        let session = match weights {
            Weights::Learned { .. } => Some(self.session(device, steps).await?),
            Weights::Equal | Weights::Oracle => None,
        };
        let weights = match weights {
            Weights::Equal => vec![1.0; count],
            Weights::Oracle => self.examples.wrong.iter().map(|&wrong| if wrong { 0.0 } else { 1.0 }).collect(),
            Weights::Learned { share } => vec![share; count],
        };
        let descent = Descent::new(Rule::Adam(Adam::USUAL), outer_rate, count);
        let state = State { done: 0, diverged: false, outer_loss: None, weights, descent };
        Ok(Box::new(Learning { trial: self.clone(), device: device.clone(), session, state }))
    }
}

struct Learning {
    trial: Cleaning,
    device: Device,
    /// The inner problem, where weights are learned.
    session: Option<Session>,
    state: State,
}

/// What it remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    done: u32,
    diverged: bool,
    outer_loss: Option<f64>,
    weights: Vec<f64>,
    descent: Descent,
}

#[async_trait(?Send)]
impl ByUnits for Learning {
    fn report(&self) -> Report {
        let ending = match self.state.done == self.trial.outer() {
            _ if self.state.diverged => Ending::Diverged,
            true => Ending::Finished,
            false => Ending::Running,
        };
        Report { done: self.state.done.into(), outer_loss: self.state.outer_loss, ending }
    }

    /// A step of the weights by a hypergradient through the whole training, projected.
    async fn unit(&mut self, observer: &mut dyn Observer) -> Result<(), TuneError> {
        let (state, trial) = (&mut self.state, &self.trial);
        let (Weights::Learned { share }, Some(session)) = (trial.settings.weights, &mut self.session) else {
            return Ok(());
        };
        let along = Directions::new(&trial.problem).each(trial.problem.layout().weights);
        // The learning rate that gives the budget of weights the mean rate.
        let at = lambda(&trial.problem, RATE / share, &state.weights);
        let shares = [state.done, state.done + 1].map(|done| f64::from(done) / f64::from(trial.outer()));
        let mut watched = Watched::of(observer, state.done + 1, shares);
        let estimate = session.estimate(&at, &along, &mut watched).await;
        let estimate = watched.settle(estimate)?;
        state.outer_loss = Some(estimate.outer_loss).filter(|loss| loss.is_finite());
        state.done += 1;
        state.diverged = estimate.hypergradient.is_empty();
        if !state.diverged {
            state.descent.step(&mut state.weights, estimate.outer_loss, &estimate.hypergradient);
            onto_budgeted_box(&mut state.weights, share * trial.settings.examples as f64);
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl Training for Learning {
    async fn advance(&mut self, units: u64, observer: &mut dyn Observer) -> Result<Report, TuneError> {
        training::advance(self, units, observer).await
    }

    /// The last training, on all examples.
    async fn score(&mut self, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let Cleaning { settings, examples, .. } = &self.trial;
        let mut metrics = Named::new();
        let mut weights = self.state.weights.clone();
        if let Weights::Learned { .. } = settings.weights {
            metrics.extend(self.state.outer_loss.map(|loss| ("outer_loss".to_owned(), loss)));
            metrics.extend(found(&weights, &examples.wrong));
        }
        // A validation example counts as much as the best training example.
        let largest = weights.iter().copied().fold(0.0, f64::max);
        weights.resize(2 * settings.examples, largest);
        let both = examples.train.joined(&examples.validation)?;
        let problem = problem(&both, settings.final_steps);
        let data = session_data(&problem, &both, &examples.validation);
        let at = lambda(&problem, RATE / largest, &weights);
        let mut session = Session::new(&self.device, problem, &data, Plain).await?;
        let mut quiet = Watched::quiet(observer);
        let trained = session.train(&at, &mut quiet).await;
        quiet.settle(trained)?;
        let test = session.evaluate(&set(&examples.test), &mut quiet).await;
        let test = quiet.settle(test)?;
        metrics.insert("test_accuracy".to_owned(), test.accuracy());
        metrics.insert("test_loss".to_owned(), test.loss);
        metrics.retain(|_, value| value.is_finite());
        Ok(metrics)
    }

    async fn save(&mut self) -> Result<Vec<u8>, TuneError> {
        Ok(archive::pack_value(&self.state))
    }

    async fn load(&mut self, saved: &[u8]) -> Result<(), TuneError> {
        let state: State = archive::unpack_value(saved).map_err(TuneError::Resume)?;
        if state.weights.len() != self.state.weights.len() || state.done > self.trial.outer() {
            return Err(TuneError::Resume("it was saved with other examples".to_owned()));
        }
        self.state = state;
        Ok(())
    }
}

/// How well the examples that were thrown out are those with wrong labels.
fn found(weights: &[f64], wrong: &[bool]) -> Named {
    let thrown_out = || weights.iter().map(|&weight| weight < THROWN_OUT);
    let hits = thrown_out().zip(wrong).filter(|&(out, &wrong)| out && wrong).count() as f64;
    let (out, all) = (thrown_out().filter(|&out| out).count() as f64, wrong.iter().filter(|&&w| w).count() as f64);
    let named = [
        ("precision", hits / out),
        ("recall", hits / all),
        ("f1", 2.0 * hits / (out + all)),
        ("thrown_out", out),
        ("weights_sum", weights.iter().sum()),
    ];
    named.map(|(name, value)| (name.to_owned(), value)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::CpuEngine;
    use crate::experiment::event::Nobody;
    use crate::experiment::trainables::digits::easy_digits;

    const SMALL: Settings = Settings {
        examples: 200,
        steps: 60,
        outer: 25,
        outer_rate: 0.02,
        final_steps: 200,
        weights: Weights::Equal,
        seed: 3,
    };

    #[test]
    fn wrong_labels_are_found_and_their_harm_undone() {
        let directory = tempfile::tempdir().unwrap();
        easy_digits(directory.path());
        let library = Library::new(directory.path().to_owned());
        let base = SMALL;
        assert_eq!(base.choose(&library).unwrap().wrong.iter().filter(|&&wrong| wrong).count(), 100);
        let device = Device::new(CpuEngine::new(1));
        let outcome = |weights| {
            let settings = serde_json::to_value(Settings { weights, ..base.clone() }).unwrap();
            let job = HyperCleaning.job(&settings, &library).unwrap();
            pollster::block_on(async {
                let mut training = job.open(&device).await.unwrap();
                training.advance(u64::MAX, &mut Nobody).await.unwrap();
                training.score(&mut Nobody).await.unwrap()
            })
        };
        let [spoilt, oracle, learned] = [Weights::Equal, Weights::Oracle, Weights::Learned { share: 0.2 }].map(outcome);
        assert!(learned["f1"] > 0.8 && learned["weights_sum"] < 40.0 + 1e-6, "{learned:?}");
        let accuracy = |metrics: &Named| metrics["test_accuracy"];
        assert!(accuracy(&oracle) >= accuracy(&learned) - 0.02, "{oracle:?} {learned:?}");
        assert!(learned["test_loss"] < 0.7 * spoilt["test_loss"], "{learned:?} {spoilt:?}");
        assert!(!spoilt.contains_key("f1"));
    }

    #[test]
    fn images_of_another_size_and_too_few_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        easy_digits(directory.path());
        let library = Library::new(directory.path().to_owned());
        let too_few = Settings { examples: 301, ..SMALL }.choose(&library);
        let message = too_few.err().expect("an error").to_string();
        assert!(message.contains("has 600 images") && message.contains("602"), "{message}");
        let file = MNIST.folder(directory.path()).join(MNIST.files[0].name);
        let images = std::fs::read(&file).unwrap();
        let quarter: Vec<u8> = [2051u32, 600, 14, 14].iter().flat_map(|word| word.to_be_bytes()).collect();
        std::fs::write(&file, [&quarter[..], &images[16..16 + 600 * 14 * 14]].concat()).unwrap();
        let small = MNIST.load(directory.path()).unwrap_err().to_string();
        assert!(small.contains("14 × 14 pixels, and images of mnist have 28 × 28"), "{small}");
    }

    #[test]
    fn what_is_thrown_out_is_compared_with_what_is_wrong() {
        let found = found(&[0.0, 1e-4, 0.5, 1.0, 0.0], &[true, false, true, false, true]);
        let of = |name: &str| found[name];
        assert_eq!((of("precision"), of("recall"), of("f1"), of("thrown_out")), (2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 3.0));
        let nothing = super::found(&[1.0], &[true]);
        assert!(nothing["precision"].is_nan() && nothing["f1"] == 0.0);
    }
}
