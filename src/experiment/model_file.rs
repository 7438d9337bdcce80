//! `model.safetensors`: the trained weights with all that is needed to use them.

use super::archive::{self, Tensor};
use super::prepared::Prepared;
use super::record::Named;
use crate::ir::numel;
use crate::nn::Model;
use safetensors::Dtype;
use serde_json::{Value, json};

/// A model on its way to a file.
pub struct Exported {
    model: Model,
    description: Value,
}

impl Exported {
    /// For networks of a run.
    pub fn new(run: &Prepared) -> Self {
        let (problem, about) = (&run.problem, run.data.split.train.about());
        let channels: Vec<&str> = about.channels.iter().map(|channel| &*channel.name).collect();
        let description = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "layers": problem.model.layers(),
            "input": problem.model.input(),
            "channels": channels,
            "outputs": about.outputs,
            "scale": run.data.scale,
            "rate_hz": about.recording.map(|recording| recording.rate_hz),
            "task": run.config.task,
        });
        Exported { model: problem.model.clone(), description }
    }

    /// The file of a network (parameters, then running statistics): a tensor for each of its arrays, and beside them the
    /// layers, the names of channels and classes, the scale of the inputs and the hyperparameters.
    pub fn pack(&self, network: &[f32], hyperparameters: &Named) -> Vec<u8> {
        let mut rest = network;
        let mut tensor = |name: &str, shape: &[usize]| {
            let (own, others) = rest.split_at(numel(shape));
            rest = others;
            let bytes = own.iter().flat_map(|w| w.to_le_bytes()).collect();
            Tensor { name: name.to_owned(), shape: shape.to_vec(), dtype: Dtype::F32, bytes }
        };
        let mut tensors: Vec<Tensor> = self.model.parameters().iter().map(|p| tensor(&p.name, &p.shape)).collect();
        tensors.extend(self.model.statistics().iter().map(|s| tensor(&s.name, &[s.len])));
        let mut description = self.description.clone();
        description["hyperparameters"] = json!(hyperparameters);
        archive::pack(&description, &tensors)
    }
}
