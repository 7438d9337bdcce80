//! `card.json`: what a network is, for people and programs.

use serde_json::{Value, json};

use super::classifier::Classifier;
use super::record::RunResult;

/// The card of a network that a run has made.
pub fn card(classifier: &Classifier, result: &RunResult) -> Value {
    let columns = result.configuration.columns.as_ref();
    json!({
        "labels": classifier.classes(),
        "channels": classifier.channels(),
        "rate_hz": classifier.rate_hz(),
        "window": classifier.input()[0],
        "filter": columns.and_then(|columns| columns.filter),
        "scaling": classifier.scale(),
        "data": result.data,
        "split": result.data.people,
        "scores": result.end,
        "settings": result.configuration,
        "version": result.version,
        "files": { "model.safetensors": "weights, as safetensors", "model.onnx": "raw windows to probabilities" },
    })
}
