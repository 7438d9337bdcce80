//! Data hyper-cleaning on MNIST: a weight for each training example, found by hypergradients, against wrong
//! labels (Franceschi et al. 2017, as their script has it).

use async_trait::async_trait;

use super::{Budget, Library, Study, Trial, Work};
use crate::bilevel::outer::{Descent, OuterOptimizer, Rule};
use crate::bilevel::projection::onto_budgeted_box;
use crate::bilevel::{Adam, Directions, Loss, Memory, Pace, Problem, Session, SessionData};
use crate::data::catalog::MNIST;
use crate::data::{DataError, Dataset, Standardizer};
use crate::experiment::error::TuneError;
use crate::experiment::record::Named;
use crate::experiment::setup::set;
use crate::experiment::tune::{Observer, Watched};
use crate::ir::numel;
use crate::nn::optim;
use crate::nn::{Layer, Model};
use crate::rig::Device;
use crate::rng::{Purpose, Stream, permute_index, split_seed, stream_key};

pub const STUDY: Study = Study {
    name: "mnist-hyper-cleaning",
    question: "Half of the training labels are wrong: do learned example weights find them, and win back the accuracy?",
    source: "Franceschi et al. 2017, data hyper-cleaning: test accuracy 90.5 % without the wrong labels, 90.1 % cleaned, 87.7 % not cleaned; F1 0.91 to 0.92",
    data: "MNIST",
    trials,
    along: "training",
    apart: &[],
    charts: &["test_accuracy", "f1"],
};

/// Learning rate at a mean weight of one.
const RATE: f64 = 0.1;
/// An example of less weight counts as thrown out.
const THROWN_OUT: f64 = 1e-3;

/// The sizes of the experiment.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Training examples, of which half are mislabelled, and as many validation examples.
    examples: usize,
    /// Training steps of the inner problem.
    steps: usize,
    /// Steps on the example weights.
    outer: u32,
    /// Rate of the outer Adam.
    outer_rate: f64,
    /// Steps of the final training on training and validation examples.
    final_steps: usize,
}

/// Which examples the final training counts, and how much.
#[derive(Clone, Copy, Debug)]
enum Weights {
    Equal,
    /// None for those with wrong labels.
    Oracle,
    /// Found by hypergradients, their sum being at most this share of the training examples.
    Learned {
        share: f64,
    },
}

struct Cleaning {
    scale: Scale,
    weights: Weights,
    seed: u32,
}

fn trials(budget: Budget) -> Vec<Trial> {
    let (scale, shares, seeds): (_, &[f64], u32) = match budget {
        Budget::Quick => {
            (Scale { examples: 1000, steps: 100, outer: 15, outer_rate: 0.02, final_steps: 400 }, &[0.2], 1)
        }
        // The script's quick demonstration.
        Budget::Desktop => {
            (Scale { examples: 5000, steps: 500, outer: 30, outer_rate: 0.01, final_steps: 4000 }, &[0.2], 1)
        }
        Budget::Full => (
            Scale { examples: 5000, steps: 1000, outer: 500, outer_rate: 0.005, final_steps: 4000 },
            &[0.2, 0.3, 0.4, 0.5],
            1,
        ),
    };
    let learned = shares.iter().map(|&share| {
        let radius = share * scale.examples as f64;
        (format!("weights learned, R = {radius}"), Weights::Learned { share })
    });
    let fixed = [("not cleaned", Weights::Equal), ("wrong labels left out", Weights::Oracle)];
    let cases: Vec<(String, Weights)> =
        fixed.map(|(name, weights)| (name.to_owned(), weights)).into_iter().chain(learned).collect();
    let trial = |seed, (name, weights): &(String, Weights)| {
        Trial::new(&[("training", name)], seed, Cleaning { scale, weights: *weights, seed })
    };
    (0..seeds).flat_map(|seed| cases.iter().map(move |case| trial(seed, case))).collect()
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

impl Cleaning {
    /// A random choice of training images, half of them with a random wrong label; all test images.
    fn examples(&self, library: &Library) -> Result<Examples, TuneError> {
        let images = library.images(&MNIST)?;
        let [train, test] = &*images;
        // From 0 to 1.
        let scale = Standardizer { mean: vec![0.0], std: vec![255.0] };
        let (seed, count) = (u64::from(self.seed), self.scale.examples);
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

    /// The learning rate that gives the budget of weights the mean rate.
    fn inner_rate(share: f64) -> f64 {
        RATE / share
    }

    /// Example weights by hypergradients through the whole training, projected after each step, and the last
    /// outer loss.
    async fn learn(
        &self,
        share: f64,
        device: &Device,
        examples: &Examples,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<f64>, f64), TuneError> {
        let Scale { examples: count, steps, outer, outer_rate, .. } = self.scale;
        let problem = problem(&examples.train, steps);
        let along = Directions::new(&problem).each(problem.layout().weights);
        let data = session_data(&problem, &examples.train, &examples.validation);
        let mut session = Session::new(device, problem.clone(), &data, Memory::StoreAll).await?;
        let mut weights = vec![share; count];
        let mut descent = Descent::new(Rule::Adam(Adam::USUAL), outer_rate, count);
        let mut outer_loss = f64::NAN;
        for _ in 0..outer {
            let mut host = Watched::quiet(observer);
            let at = lambda(&problem, Self::inner_rate(share), &weights);
            let estimate = session.estimate(&at, &along, &mut host).await;
            let estimate = host.settle(estimate)?;
            outer_loss = estimate.outer_loss;
            if estimate.hypergradient.is_empty() {
                break;
            }
            descent.step(&mut weights, estimate.outer_loss, &estimate.hypergradient);
            onto_budgeted_box(&mut weights, share * count as f64);
        }
        Ok((weights, outer_loss))
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

#[async_trait(?Send)]
impl Work for Cleaning {
    fn load(&self, library: &Library) -> Result<(), TuneError> {
        library.images(&MNIST)?;
        Ok(())
    }

    fn problem(&self) -> String {
        format!("MNIST {}", self.scale.examples)
    }

    async fn measure(&self, device: &Device, library: &Library, seconds: f64) -> Result<Pace, TuneError> {
        let examples = self.examples(library)?;
        // No more steps than it takes to time one.
        let problem = problem(&examples.train, 2);
        let at = lambda(&problem, RATE, &vec![1.0; self.scale.examples]);
        let data = session_data(&problem, &examples.train, &examples.validation);
        let mut session = Session::new(device, problem, &data, Memory::StoreAll).await?;
        Ok(session.measure(&at, seconds).await?)
    }

    fn seconds(&self, pace: &Pace, _library: &Library) -> Result<f64, TuneError> {
        let Scale { steps, outer, final_steps, .. } = self.scale;
        // The final training has twice the examples.
        let last = 2.0 * final_steps as f64 * pace.step;
        let learning = match self.weights {
            Weights::Learned { .. } => f64::from(outer) * steps as f64 * (pace.step + pace.adjoint),
            Weights::Equal | Weights::Oracle => 0.0,
        };
        Ok(learning + last)
    }

    async fn run(&self, device: &Device, library: &Library, observer: &mut dyn Observer) -> Result<Named, TuneError> {
        let examples = self.examples(library)?;
        let count = self.scale.examples;
        let mut metrics = Named::new();
        let mut weights = match self.weights {
            Weights::Equal => vec![1.0; count],
            Weights::Oracle => examples.wrong.iter().map(|&wrong| if wrong { 0.0 } else { 1.0 }).collect(),
            Weights::Learned { share } => {
                let (weights, outer_loss) = self.learn(share, device, &examples, observer).await?;
                metrics.insert("outer_loss".to_owned(), outer_loss);
                metrics.extend(found(&weights, &examples.wrong));
                weights
            }
        };
        // A validation example counts as much as the best training example.
        let largest = weights.iter().copied().fold(0.0, f64::max);
        weights.resize(2 * count, largest);
        let both = examples.train.joined(&examples.validation)?;
        let problem = problem(&both, self.scale.final_steps);
        let data = session_data(&problem, &both, &examples.validation);
        let at = lambda(&problem, RATE / largest, &weights);
        let mut session = Session::new(device, problem, &data, Memory::Slots(1)).await?;
        let mut host = Watched::quiet(observer);
        let trained = session.train(&at, &mut host).await;
        host.settle(trained)?;
        let test = session.evaluate(&set(&examples.test), &mut host).await;
        let test = host.settle(test)?;
        metrics.insert("test_accuracy".to_owned(), test.accuracy());
        metrics.insert("test_loss".to_owned(), test.loss);
        metrics.retain(|_, value| value.is_finite());
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bilevel::Flow;
    use crate::cpu::CpuEngine;
    use crate::engine::LocalFuture;
    use crate::experiment::tune::{Event, Observed};
    use std::path::Path;

    struct Nobody;

    impl Observer for Nobody {
        fn event(&mut self, _: Event) -> Observed {
            Ok(())
        }

        fn breathe(&mut self) -> LocalFuture<'_, Flow> {
            Box::pin(std::future::ready(Flow::Continue))
        }
    }

    const PIXELS: usize = 28 * 28;

    /// Writes images of ten classes: two bright rows each, among noise.
    fn easy_digits(directory: &Path) {
        let folder = MNIST.folder(directory);
        std::fs::create_dir_all(&folder).unwrap();
        let mut stream = Stream::new(1, Purpose::Search, 0);
        for (files, count) in MNIST.files.chunks(2).zip([600u32, 200]) {
            let header = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
            let mut images = header(&[2051, count, 28, 28]);
            let mut labels = header(&[2049, count]);
            for k in 0..count {
                let label = (k % 10) as usize;
                labels.push(label as u8);
                let bright = |at: usize| if at / 56 == label { 128.0 } else { 0.0 };
                images.extend((0..PIXELS).map(|at| (bright(at) + 127.0 * stream.uniform()) as u8));
            }
            std::fs::write(folder.join(files[0].name), images).unwrap();
            std::fs::write(folder.join(files[1].name), labels).unwrap();
        }
    }

    #[test]
    fn wrong_labels_are_found_and_their_harm_undone() {
        let directory = tempfile::tempdir().unwrap();
        easy_digits(directory.path());
        let library = Library::new(directory.path().to_owned());
        let scale = Scale { examples: 200, steps: 60, outer: 25, outer_rate: 0.02, final_steps: 200 };
        let device = Device::new(CpuEngine::new(1));
        let mut outcome = |weights| {
            let trial = Cleaning { scale, weights, seed: 3 };
            trial.load(&library).unwrap();
            assert_eq!(trial.examples(&library).unwrap().wrong.iter().filter(|&&wrong| wrong).count(), 100);
            pollster::block_on(trial.run(&device, &library, &mut Nobody)).unwrap()
        };
        let [spoilt, oracle, learned] =
            [Weights::Equal, Weights::Oracle, Weights::Learned { share: 0.2 }].map(&mut outcome);
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
        let scale = |examples| Scale { examples, steps: 1, outer: 1, outer_rate: 0.02, final_steps: 1 };
        let library = Library::new(directory.path().to_owned());
        let too_few = Cleaning { scale: scale(301), weights: Weights::Equal, seed: 3 }.examples(&library);
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
