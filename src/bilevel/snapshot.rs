//! A training's whole state as data: to keep, to go on from, to send elsewhere.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::SnapshotError;
use super::inner::{Inner, Part};

/// The state of a training between two steps. Going on from it gives the bits that the training itself would have
/// given, on the same kind of engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The state's parts, in their order.
    pub parts: Vec<Part>,
    /// The state: weights, then what else a step remembers.
    pub state: Vec<f32>,
    /// Training steps before it.
    pub steps: u32,
}

/// The key of the file's metadata that holds the number of steps.
const STEPS: &str = "steps";
/// The key that says what the file is, and its value.
const FORMAT: (&str, &str) = ("format", "stackelberg-snapshot/1");

impl Snapshot {
    /// A safetensors file: an F32 tensor for each part of the state, by name; the number of steps in its metadata.
    pub fn to_safetensors(&self) -> Vec<u8> {
        let bytes: Vec<(String, Vec<u8>, Vec<usize>)> = self
            .parts
            .iter()
            .map(|part| {
                let values = &self.state[part.range.clone()];
                (part.name.clone(), values.iter().flat_map(|v| v.to_le_bytes()).collect(), part.shape.clone())
            })
            .collect();
        let tensors: BTreeMap<&str, TensorView> = bytes
            .iter()
            .map(|(name, bytes, shape)| {
                (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("four bytes an element"))
            })
            .collect();
        let metadata =
            HashMap::from([(FORMAT.0.to_owned(), FORMAT.1.to_owned()), (STEPS.to_owned(), self.steps.to_string())]);
        safetensors::serialize(tensors, Some(metadata)).expect("names are different and sizes agree")
    }

    /// Reads a file of a training of this kind.
    pub fn from_safetensors(file: &[u8], inner: &dyn Inner) -> Result<Self, SnapshotError> {
        let wrong = |what: String| SnapshotError(what);
        let (_, metadata) = SafeTensors::read_metadata(file).map_err(|e| wrong(format!("no safetensors file: {e}")))?;
        let metadata = metadata.metadata().clone().unwrap_or_default();
        if metadata.get(FORMAT.0).map(String::as_str) != Some(FORMAT.1) {
            return Err(wrong(format!("its metadata do not say `{}: {}`", FORMAT.0, FORMAT.1)));
        }
        let steps = metadata.get(STEPS).and_then(|steps| steps.parse().ok());
        let steps = steps.ok_or_else(|| wrong(format!("its metadata have no whole number `{STEPS}`")))?;
        let tensors = SafeTensors::deserialize(file).map_err(|e| wrong(e.to_string()))?;
        let parts = inner.state();
        if let Some(name) = tensors.names().into_iter().find(|name| parts.iter().all(|part| part.name != **name)) {
            return Err(wrong(format!("it has `{name}`, which this training's state does not have")));
        }
        let mut state = vec![0.0; inner.state_len()];
        for part in &parts {
            let tensor = tensors.tensor(&part.name).map_err(|_| wrong(format!("it has no `{}`", part.name)))?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != part.shape {
                return Err(wrong(format!(
                    "`{}` is {:?} of shape {:?}, and the training has F32 of shape {:?}",
                    part.name,
                    tensor.dtype(),
                    tensor.shape(),
                    part.shape
                )));
            }
            let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            state[part.range.clone()].iter_mut().zip(values).for_each(|(place, value)| *place = value);
        }
        Ok(Snapshot { parts, state, steps })
    }
}
