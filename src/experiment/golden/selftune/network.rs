//! What a case says of its network.

use serde_json::{Value, json};

use super::super::builder::Builder;
use super::super::{Case, CaseError};
use crate::bilevel::selftune::{Augmentation, SelfTuned, Weights};
use crate::bilevel::{Loss, Transform};
use crate::ir::{Graph, NodeId, numel};
use crate::nn::{Layer, Model};

/// The network of a case, with the names of the draws of its augmentations.
pub struct Network {
    pub tuned: SelfTuned,
    pub draws: Vec<String>,
    parts: Vec<Part>,
}

/// An array of the weights by its name in cases, such as `dense1.w_e`.
struct Part {
    name: String,
    response: bool,
    offset: usize,
    shape: Vec<usize>,
}

impl Network {
    pub fn new(case: &Case) -> Result<Network, CaseError> {
        let (low, high) = (&case.input("lo")?.data, &case.input("hi")?.data);
        if low.is_empty() || low.len() != high.len() {
            return Err(case.inconsistent("`in.lo` and `in.hi` must have a bound for each hyperparameter".to_owned()));
        }
        let domains = low.iter().zip(high).map(|(&low, &high)| Transform::Within { low, high }).collect();
        let (layers, augmentations, draws) = layers(case)?;
        let Some((_, example)) = case.input("x")?.shape.split_first() else {
            return Err(case.inconsistent("`in.x` must have a row for each example".to_owned()));
        };
        let model = Model::new(layers, example).map_err(|e| case.inconsistent(e.to_string()))?;
        if model.output().len() != 1 || model.parameters().is_empty() {
            return Err(case.inconsistent("the model must end with a score for each class".to_owned()));
        }
        let entropy = number(case, "tau")?;
        let tuned = SelfTuned { model, loss: Loss::CrossEntropy, domains, augmentations, entropy };
        tuned.check().map_err(|e| case.inconsistent(e.to_string()))?;
        let parts = parts(&tuned);
        Ok(Network { tuned, draws, parts })
    }

    /// Hyperparameters.
    pub fn count(&self) -> usize {
        self.tuned.domains.len()
    }

    /// The weights as inputs.
    pub fn weights(&self, b: &mut Builder) -> Result<Weights, CaseError> {
        let [general, response] = [false, true].map(|response| {
            let parts = self.vector(response).map(|part| {
                let array = shaped(b, &format!("phi.{}", part.name), &part.shape)?;
                Ok(b.graph.reshape(array, &[numel(&part.shape)]))
            });
            let parts = parts.collect::<Result<Vec<_>, CaseError>>()?;
            Ok::<_, CaseError>(b.graph.concat(&parts))
        });
        Ok(Weights { general: general?, response: response? })
    }

    /// The values of the general weights, or of the response.
    pub fn values(&self, case: &Case, response: bool) -> Result<Vec<f64>, CaseError> {
        let parts = self.vector(response).map(|part| values(case, &format!("phi.{}", part.name), &part.shape));
        Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// The arrays of a vector with their names, from nodes of the two vectors.
    pub fn nodes(&self, g: &mut Graph, prefix: &str, weights: [Option<NodeId>; 2]) -> Vec<(String, NodeId)> {
        let given = self.parts.iter().filter_map(|part| Some((part, weights[usize::from(part.response)]?)));
        let named = given.map(|(part, vector)| {
            let array = g.segment(vector, part.offset, numel(&part.shape));
            (format!("{prefix}.{}", part.name), array)
        });
        named.collect()
    }

    /// The same from values of the two vectors.
    pub fn arrays(&self, prefix: &str, weights: [&[f64]; 2]) -> Vec<(String, Vec<f64>)> {
        let array = |part: &Part| &weights[usize::from(part.response)][part.offset..][..numel(&part.shape)];
        self.parts.iter().map(|part| (format!("{prefix}.{}", part.name), array(part).to_vec())).collect()
    }

    /// The parts of a vector in their order.
    fn vector(&self, response: bool) -> impl Iterator<Item = &Part> {
        let mut parts: Vec<&Part> = self.parts.iter().filter(|part| part.response == response).collect();
        parts.sort_by_key(|part| part.offset);
        parts.into_iter()
    }

    /// Axes of a draw for so many examples, of which those of `given` that are 1 stay so.
    pub fn draw_shape(&self, k: usize, batch: usize, given: &[usize]) -> Vec<usize> {
        let (augmentation, by) = self.tuned.augmentations[k];
        let whole = augmentation.draw_shape(&self.tuned.model, batch, self.tuned.domains[by]);
        let keep = |(axis, &n): (usize, &usize)| if axis > 0 && given.get(axis) == Some(&1) { 1 } else { n };
        whole.iter().enumerate().map(keep).collect()
    }
}

fn parts(tuned: &SelfTuned) -> Vec<Part> {
    let gates = tuned.gates();
    let of = |p: &crate::nn::Parameter| {
        let layer = p.name.rsplit_once('.').map_or("", |(layer, _)| layer);
        let [general, response, gate] = if p.is_kernel() { ["w_e", "w_h", "u"] } else { ["b_e", "b_h", "v"] };
        let part = |of: &str, response, offset, shape| Part { name: format!("{layer}.{of}"), response, offset, shape };
        let channels = p.shape[p.shape.len() - 1];
        [
            part(general, false, p.offset, p.shape.clone()),
            part(response, true, p.offset, p.shape.clone()),
            part(gate, true, gates.offset(p), vec![channels, gates.inputs]),
        ]
    };
    tuned.model.parameters().iter().flat_map(of).collect()
}

/// The layers of the model, and the augmentations that cases write as layers, with the names of their draws.
type Layers = (Vec<Layer>, Vec<(Augmentation, usize)>, Vec<String>);

fn layers(case: &Case) -> Result<Layers, CaseError> {
    let wrong = |problem: &str| case.inconsistent(format!("`layers`: {problem}"));
    let listed = case.meta["layers"].as_array().ok_or_else(|| wrong("must be a list"))?;
    let (mut layers, mut augmentations, mut draws) = (vec![], vec![], vec![]);
    let mut places = 0;
    for (k, layer) in listed.iter().enumerate() {
        let kind = layer["type"].as_str().unwrap_or_default();
        let mut tuned = |augmentation, draw: &Value| {
            let by = layer["hyper"].as_u64().ok_or_else(|| wrong("an augmentation must have a `hyper`"))?;
            let draw = draw.as_str().and_then(|name| name.strip_prefix("in."));
            draws.push(draw.ok_or_else(|| wrong("an augmentation must name its draw"))?.to_owned());
            augmentations.push((augmentation, by as usize));
            Ok(())
        };
        let written = match kind {
            "input_scale" if k == 0 => {
                tuned(Augmentation::InputScale, &layer["noise"])?;
                continue;
            }
            "dropout" => {
                tuned(Augmentation::Dropout(places), &layer["mask"])?;
                places += 1;
                json!({"type": "dropout", "rate": 0.0})
            }
            _ => {
                let mut plain = layer.clone();
                plain["type"] = kind.strip_prefix("stn_").unwrap_or(kind).into();
                plain
            }
        };
        layers.push(serde_json::from_value(written).map_err(|e| wrong(&e.to_string()))?);
    }
    Ok((layers, augmentations, draws))
}

/// An input of floats of this shape.
pub fn shaped(b: &mut Builder, name: &str, shape: &[usize]) -> Result<NodeId, CaseError> {
    let id = b.input(name)?;
    let problem = || b.case.inconsistent(format!("`in.{name}` must have shape {shape:?}, not {:?}", b.shape(id)));
    if b.shape(id) == shape { Ok(id) } else { Err(problem()) }
}

/// The values of an input of this shape.
pub fn values(case: &Case, name: &str, shape: &[usize]) -> Result<Vec<f64>, CaseError> {
    let array = case.input(name)?;
    if array.shape != shape {
        return Err(case.inconsistent(format!("`in.{name}` must have shape {shape:?}, not {:?}", array.shape)));
    }
    Ok(array.data.clone())
}

/// The one value of an input.
pub fn number(case: &Case, name: &str) -> Result<f64, CaseError> {
    Ok(values(case, name, &[1])?[0])
}
