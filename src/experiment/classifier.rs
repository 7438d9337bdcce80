//! A trained network, out of its file, that tells of new windows what they are.

use safetensors::Dtype;
use serde::Deserialize;

use super::archive;
use super::config::Task;
use crate::bilevel::CHUNK;
use crate::data::Standardizer;
use crate::engine::Values;
use crate::ir::{DType, numel};
use crate::nn::reading::Predicting;
use crate::nn::{Layer, Model, functions};
use crate::rig::{Device, Function, Rig, RigError};

/// A network that classifies, with what its windows must be.
#[derive(Debug)]
pub struct Classifier {
    model: Model,
    /// Parameters, then running statistics.
    network: Vec<f32>,
    about: About,
}

/// What its file says of a network. Of files of before this was written, rate and task are unknown.
#[derive(Debug, Deserialize)]
struct About {
    layers: Vec<Layer>,
    input: Vec<usize>,
    channels: Vec<String>,
    outputs: Vec<String>,
    scale: Standardizer,
    #[serde(default)]
    rate_hz: Option<f32>,
    #[serde(default)]
    task: Task,
}

impl Classifier {
    /// Reads `model.safetensors`. Says what is wrong with one that is damaged or tells no classes.
    pub fn open(bytes: &[u8]) -> Result<Self, String> {
        let (description, tensors) = archive::unpack(bytes)?;
        let about: About = serde_json::from_value(description)
            .map_err(|error| format!("it does not describe a network as this version does ({error})"))?;
        if !about.task.classifies() {
            return Err(
                "its network tells the next sample, not a class; run `tune` with the task `classification`".into()
            );
        }
        let model = Model::new(about.layers.clone(), &about.input).map_err(|error| error.to_string())?;
        let arrays = model.parameters().iter().map(|p| (&p.name, p.shape.clone()));
        let statistics = model.statistics().iter().map(|s| (&s.name, vec![s.len]));
        let mut network = vec![];
        for (name, shape) in arrays.chain(statistics) {
            let tensor = tensors.iter().find(|tensor| tensor.name == *name);
            let tensor = tensor.filter(|tensor| tensor.shape == shape && tensor.dtype == Dtype::F32);
            let tensor = tensor.ok_or_else(|| format!("it has no array `{name}` of shape {shape:?} and type f32"))?;
            network.extend(tensor.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        }
        let (channels, classes) = (about.channels.len(), about.outputs.len());
        if about.scale.wrong(channels).is_some() || about.input.last() != Some(&channels) || model.output() != [classes]
        {
            return Err("its channels, classes and scale do not belong to its network".to_owned());
        }
        Ok(Classifier { model, network, about })
    }

    /// The names of its channels.
    pub fn channels(&self) -> &[String] {
        &self.about.channels
    }

    /// The names of its classes.
    pub fn classes(&self) -> &[String] {
        &self.about.outputs
    }

    /// Samples of a window, and channels.
    pub fn input(&self) -> &[usize] {
        &self.about.input
    }

    /// Samples a second of its windows, where its file says so.
    pub fn rate_hz(&self) -> Option<f64> {
        self.about.rate_hz.map(f64::from)
    }

    /// What windows are scaled by.
    pub fn scale(&self) -> &Standardizer {
        &self.about.scale
    }

    /// Its layers.
    pub(super) fn layers(&self) -> &[Layer] {
        self.model.layers()
    }

    /// Whether the outputs are above 0 and their shares are the probabilities; else softmax makes them.
    pub(super) fn is_of_shares(&self) -> bool {
        self.about.task == Task::ClassificationMse
    }

    /// The values and the shape of an array by its name in the file.
    pub(super) fn array(&self, name: &str) -> (&[f32], Vec<usize>) {
        let parameter = self.model.parameters().iter().find(|p| p.name == name).map(|p| (p.offset, p.shape.clone()));
        let statistic = || {
            let statistics = self.model.statistics().iter().find(|s| s.name == name);
            statistics.map(|s| (self.model.parameter_count() + s.offset, vec![s.len]))
        };
        let (offset, shape) = parameter.or_else(statistic).expect("layers name arrays of their model");
        (&self.network[offset..][..numel(&shape)], shape)
    }

    /// The probability of each class for each window (`[n, samples, channels]`, as recorded).
    pub async fn classify(&self, device: &Device, mut x: Vec<f32>) -> Result<Vec<Vec<f32>>, RigError> {
        self.about.scale.apply(&mut x);
        let (each, classes) = (numel(&self.about.input), self.about.outputs.len());
        let function = self.function();
        let mut rig = Rig::new(device);
        rig.create("x", DType::F32, CHUNK * each)?;
        rig.create("network", DType::F32, self.network.len())?;
        let answers = rig.create("probabilities", DType::F32, CHUNK * classes)?;
        rig.write("network", Values::F32(&self.network))?;
        rig.load(&function, &function.compile()?).await?;
        let binding = rig.bind(function.name, &[])?;
        let mut all = vec![];
        for windows in x.chunks(CHUNK * each) {
            let mut chunk = windows.to_vec();
            chunk.resize(CHUNK * each, 0.0);
            rig.write("x", Values::F32(&chunk))?;
            rig.submit(&[binding])?;
            let read = rig.read(&[answers]).await?.remove(0);
            let count = windows.len() / each;
            all.extend(read.chunks(classes).take(count).map(|row| row.iter().map(|&p| p as f32).collect()));
        }
        Ok(all)
    }

    /// A chunk's probabilities: softmax of the outputs, or where these are above 0 themselves, their share of all.
    fn function(&self) -> Function {
        let mut f = Function::new("classification");
        let g = &mut f.graph;
        let (count, classes) = (self.model.parameter_count(), self.about.outputs.len());
        let x = g.input("x", &[&[CHUNK], &self.about.input[..]].concat(), DType::F32);
        let network = g.input("network", &[self.network.len()], DType::F32);
        let weights = g.segment(network, 0, count);
        let statistics = self.model.statistic_count();
        let running = (statistics > 0).then(|| g.segment(network, count, statistics));
        let output = self.model.apply(g, x, &mut Predicting { weights, running });
        let probabilities = match self.is_of_shares() {
            true => {
                let all = g.sum(output, &[1]);
                let all = g.broadcast(all, &[CHUNK, classes], &[0]);
                g.div(output, all)
            }
            false => {
                let logs = functions::log_softmax(g, output, 1);
                g.scalar(crate::ir::Scalar::Exp, &[logs])
            }
        };
        let flat = g.reshape(probabilities, &[CHUNK * classes]);
        f.output("probabilities", flat);
        f
    }
}
