//! What self-tuning networks are trained on: data, network, hyperparameters and where these start.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bilevel::selftune::{Augmentation, SelfTuned};
use crate::bilevel::{Loss, Set, Transform};
use crate::data::catalog::{DataSet, FASHION_MNIST, MNIST};
use crate::data::{DataError, Standardizer};
use crate::experiment::config::{ConfigError, TuneConfig};
use crate::experiment::error::TuneError;
use crate::experiment::library::Library;
use crate::nn::{Layer, Model, ModelError, Padding, zoo};

/// A problem of the papers, or ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Task {
    /// MNIST through dense layers with ReLU between them, and a rate of dropout before each.
    Digits {
        /// Their units, but for the last layer.
        hidden: Vec<usize>,
    },
    /// Fashion-MNIST through two convolutions of 5 × 5, each with ReLU and max-pooling, and dense layers. Rates of dropout
    /// (whole channels before the convolutions, units before the first dense layer), holes and length of cutout.
    Clothes {
        /// Of the convolutions.
        filters: [usize; 2],
        /// Units of a dense layer before the last, where there is one.
        hidden: Option<usize>,
    },
    /// UCI HAR through the network of the main job: its rate of dropout, jitter, scaling of channels, a masked run of
    /// time.
    Windows {
        /// Of its convolutions.
        filters: usize,
        /// Its hidden units.
        hidden: usize,
    },
}

/// A hyperparameter.
pub(super) struct Hyperparameter {
    pub name: &'static str,
    /// The ends between which it lies.
    pub ends: [f64; 2],
    /// Where it usually starts.
    pub start: f64,
}

/// A task with its data.
pub(super) struct Material {
    pub network: SelfTuned,
    pub hyperparameters: Vec<Hyperparameter>,
    /// Shapes of the draws of a batch of so many examples.
    pub draws: Vec<Vec<usize>>,
    /// To train on, to validate on, to test on.
    pub sets: [Set; 3],
}

/// What the entropy of the draws counts, τ (Bae and Grosse 2020).
const ENTROPY: f64 = 1e-3;
/// One image in so many of those for training is for validation, of the last: 15 %.
const VALIDATION: [usize; 2] = [15, 100];
/// Mean and deviation of the pixels of MNIST, of 0 to 1.
const DIGITS: [f32; 2] = [0.1307, 0.3081];

const DROPOUT: [f64; 2] = [0.0, 0.95];
const HOLES: [f64; 2] = [0.0, 5.0];
const LENGTH: [f64; 2] = [2.0, 24.0];
const SHARE: [f64; 2] = [0.0, 0.5];

const RATES: [&str; 8] =
    ["dropout0", "dropout1", "dropout2", "dropout3", "dropout4", "dropout5", "dropout6", "dropout7"];

impl Task {
    /// In a line.
    pub(super) fn name(&self) -> String {
        match self {
            Task::Digits { hidden } => format!("MNIST, hidden layers {hidden:?}"),
            Task::Clothes { filters, hidden } => format!("Fashion-MNIST, filters {filters:?}, hidden layer {hidden:?}"),
            Task::Windows { filters, hidden } => format!("UCI HAR, {filters} filters, {hidden} hidden units"),
        }
    }

    fn model(&self, input: &[usize], outputs: usize) -> Result<Model, ModelError> {
        let dense = |name: String, inputs, outputs| Layer::Dense { name, inputs, outputs, bias: true };
        let dropout = || Layer::Dropout { rate: 0.0 };
        match self {
            Task::Digits { hidden } => {
                let widths = [&[input.iter().product()], &hidden[..], &[outputs]].concat();
                let mut layers = vec![Layer::Flatten];
                for (k, pair) in widths.windows(2).enumerate() {
                    layers.extend((k > 0).then_some(Layer::Relu));
                    layers.extend([dropout(), dense(format!("dense{}", k + 1), pair[0], pair[1])]);
                }
                Model::new(layers, input)
            }
            Task::Clothes { filters, hidden } => {
                let mut layers = vec![];
                let mut channels = input.last().copied().unwrap_or_default();
                for (k, &cout) in filters.iter().enumerate() {
                    let padding = [Padding::SAME, Padding::SAME];
                    let (name, cin) = (format!("conv{}", k + 1), channels);
                    let conv = Layer::Conv2d { name, k: [5; 2], cin, cout, stride: [1; 2], padding, bias: true };
                    let pool = Layer::Maxpool2d { window: [2; 2], stride: [2; 2] };
                    layers.extend([dropout(), conv, Layer::Relu, pool]);
                    channels = cout;
                }
                layers.extend([Layer::Flatten, dropout()]);
                let mut features = Model::new(layers.clone(), input)?.output()[0];
                if let Some(hidden) = *hidden {
                    layers.extend([dense("dense1".to_owned(), features, hidden), Layer::Relu]);
                    features = hidden;
                }
                layers.push(dense("dense2".to_owned(), features, outputs));
                Model::new(layers, input)
            }
            Task::Windows { filters, hidden } => zoo::har_cnn(input, *filters, *hidden, outputs, 0.0),
        }
    }

    /// The hyperparameters, and the augmentations that they are of.
    fn hyperparameters(&self, model: &Model) -> (Vec<Hyperparameter>, Vec<(Augmentation, usize)>) {
        let of = |name, ends, start| Hyperparameter { name, ends, start };
        let places = model.places().len();
        let mut all: Vec<Hyperparameter> = RATES[..places].iter().map(|&name| of(name, DROPOUT, 0.05)).collect();
        let mut augmentations: Vec<_> = (0..places).map(|place| (Augmentation::Dropout(place), place)).collect();
        match self {
            Task::Digits { .. } => {}
            Task::Clothes { .. } => {
                all.extend([of("cutout_holes", HOLES, 1.0), of("cutout_length", LENGTH, 4.0)]);
                augmentations.push((Augmentation::Cutout { length: places + 1 }, places));
            }
            Task::Windows { .. } => {
                all.extend(["jitter", "scaling", "time_mask"].map(|name| of(name, SHARE, 0.05)));
                let change = [Augmentation::Jitter, Augmentation::InputScale, Augmentation::TimeMask];
                augmentations.extend(change.into_iter().zip(places..));
            }
        }
        (all, augmentations)
    }

    /// Shapes of the draws of a batch: whole channels of images are dropped, and each channel of a window is scaled.
    fn draws(&self, network: &SelfTuned, batch: usize) -> Vec<Vec<usize>> {
        let mut shapes = network.draw_shapes(batch);
        for ((augmentation, _), shape) in network.augmentations.iter().zip(&mut shapes) {
            match (self, augmentation) {
                (Task::Clothes { .. }, Augmentation::Dropout(_)) if shape.len() == 4 => shape[1..3].fill(1),
                (Task::Windows { .. }, Augmentation::InputScale) => shape.extend([1, network.model.input()[1]]),
                _ => {}
            }
        }
        shapes
    }

    /// Training, validation and test examples, shape and classes; of images, only so many of those for training.
    fn data(&self, library: &Library, images: Option<usize>) -> Result<([Set; 3], Vec<usize>, usize), TuneError> {
        let (set, scale): (&DataSet, [f32; 2]) = match self {
            Task::Digits { .. } => (&MNIST, DIGITS),
            Task::Clothes { .. } => (&FASHION_MNIST, [0.0, 1.0]),
            Task::Windows { .. } => {
                let data = library.scaled(&TuneConfig::default())?;
                let split = &data.split;
                let about = split.train.about();
                let sets = [&split.train, &split.validation, &split.test].map(Set::from);
                return Ok((sets, about.shape.clone(), about.outputs.len()));
            }
        };
        let data = library.images(set)?;
        let [train, test] = &*data;
        let (given, wanted) = (train.len(), images.unwrap_or(train.len()));
        if given < wanted || wanted < VALIDATION[1] {
            return Err(DataError::TooFew { name: set.name, given, wanted: wanted.max(VALIDATION[1]) }.into());
        }
        let scale = Standardizer { mean: vec![255.0 * scale[0]], std: vec![255.0 * scale[1]] };
        let first = wanted - wanted * VALIDATION[0] / VALIDATION[1];
        let part = |rows: std::ops::Range<usize>| train.select(&rows.collect::<Vec<_>>()).scaled(&scale);
        let (shape, classes) = (train.about().shape.clone(), train.about().outputs.len());
        let sets = [part(0..first)?, part(first..wanted)?, test.clone().scaled(&scale)?];
        Ok((sets.each_ref().map(Set::from), shape, classes))
    }

    pub(super) fn material(
        &self,
        library: &Library,
        images: Option<usize>,
        batch: usize,
    ) -> Result<Material, TuneError> {
        let wrong = |message: String| ConfigError::Setting { field: "task".to_owned(), message };
        if let Task::Digits { hidden } = self
            && hidden.len() >= RATES.len()
        {
            return Err(wrong(format!("{} hidden layers; take {} or fewer", hidden.len(), RATES.len() - 1)).into());
        }
        let (sets, shape, classes) = self.data(library, images)?;
        let model = self.model(&shape, classes).map_err(|error| wrong(error.to_string()))?;
        let (hyperparameters, augmentations) = self.hyperparameters(&model);
        let domains = hyperparameters.iter().map(|h| Transform::Within { low: h.ends[0], high: h.ends[1] }).collect();
        let network = SelfTuned { model, loss: Loss::CrossEntropy, domains, augmentations, entropy: ENTROPY };
        let draws = self.draws(&network, batch);
        Ok(Material { network, hyperparameters, draws, sets })
    }
}
