//! Layers from a JSON text.

use serde_json::Value;

use super::Layer;

/// A text that is no list of layers.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum LayersError {
    /// It is no JSON.
    #[error("{0}")]
    Json(String),
    /// It has no list of layers.
    #[error("it holds no layers: write a list of them, or an object that has one as `layers`")]
    NoLayers,
    /// A key beside them that nobody reads.
    #[error(
        "it has the key `{0}` beside its layers, which nobody would read: a file of layers has at most a `name` besides \
         (a reference case, which has a `schema`, may say more)"
    )]
    Key(String),
    /// One of them is none.
    #[error("layer {position}: {problem}")]
    Layer {
        /// Counted from 1; inside a residual block with the block's before it, as in `3.2` or `3.projection.1`.
        position: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reference cases say where the mask of a dropout layer is; whoever trains draws it.
const OF_CASES: (&str, &str) = ("dropout", "mask");

/// The layers in a JSON text: a list, or an object with a list as `layers`, such as the `case.json` of a reference case.
///
/// # Errors
/// If the text is no JSON, or a layer has an unknown type, lacks a key or has one that such a layer does not have, or the
/// object has a key that means nothing.
pub fn layers_from_json(text: &str) -> Result<Vec<Layer>, LayersError> {
    let value: Value = serde_json::from_str(text).map_err(|error| LayersError::Json(error.to_string()))?;
    let keys: Vec<&String> = value.as_object().into_iter().flat_map(|keys| keys.keys()).collect();
    let unread = keys.iter().find(|key| !["layers", "name"].contains(&key.as_str()));
    match unread {
        Some(key) if value.get("layers").is_some() && value.get("schema").is_none() => {
            return Err(LayersError::Key(key.to_string()));
        }
        _ => {}
    }
    match value.get("layers").unwrap_or(&value) {
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().map(|(k, item)| layer(item, k, "")).collect()
        }
        _ => Err(LayersError::NoLayers),
    }
}

fn layer(item: &Value, k: usize, within: &str) -> Result<Layer, LayersError> {
    let position = format!("{within}{}", k + 1);
    // What is wrong inside a block is said of the layer there.
    if item["type"] == "residual" {
        for (key, within) in [("layers", format!("{position}.")), ("projection", format!("{position}.projection."))] {
            let items = item[key].as_array().into_iter().flatten().enumerate();
            items.map(|(k, item)| layer(item, k, &within)).collect::<Result<Vec<_>, _>>()?;
        }
    }
    let wrong = |problem| LayersError::Layer { position: position.clone(), problem };
    let read: Layer = serde_json::from_value(item.clone()).map_err(|error| wrong(error.to_string()))?;
    let known = serde_json::to_value(&read).map_err(|error| wrong(error.to_string()))?;
    let unknown = |key: &&String| {
        known.get(key).is_none() && (item["type"].as_str().unwrap_or_default(), key.as_str()) != OF_CASES
    };
    match item.as_object().into_iter().flat_map(|keys| keys.keys()).find(unknown) {
        Some(key) => Err(wrong(format!("has the key `{key}`, which a {} layer does not have", item["type"]))),
        None => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_alone_or_by_its_name_is_read() {
        let list = r#"[{"type": "dense", "name": "a", "in": 3, "out": 2}, {"type": "dropout", "rate": 0.5, "mask": "in.mask"}]"#;
        let layers = layers_from_json(list).unwrap();
        let dense = Layer::Dense { name: "a".to_owned(), inputs: 3, outputs: 2, bias: true };
        assert_eq!(layers, [dense, Layer::Dropout { rate: 0.5 }]);
        assert_eq!(layers_from_json(&format!(r#"{{"name": "case", "layers": {list}}}"#)), Ok(layers.clone()));
        let case = format!(r#"{{"schema": 1, "kind": "model", "layers": {list}}}"#);
        assert_eq!(layers_from_json(&case), Ok(layers));
    }

    #[test]
    fn an_error_says_which_layer() {
        let block = |inside: &str| format!(r#"[{{"type": "flatten"}}, {{"type": "residual", "layers": [{inside}]}}]"#);
        for (text, start) in [
            ("[", "EOF while parsing"),
            ("{}", "it holds no layers"),
            ("[]", "it holds no layers"),
            (r#"{"layers": [{"type": "relu"}], "dropuot": 0.3}"#, "it has the key `dropuot` beside its layers"),
            (r#"[{"type": "conv3d"}]"#, "layer 1: unknown variant `conv3d`, expected one of `dense`"),
            (r#"[{"type": "relu"}, {"type": "dense", "name": "a", "in": 3}]"#, "layer 2: missing field `out`"),
            (r#"[{"type": "relu", "leak": 1}]"#, "layer 1: has the key `leak`, which a \"relu\" layer does not have"),
            (&block(r#"{"type": "relu"}, {"type": "dropout"}"#), "layer 2.2: missing field `rate`"),
            (&block(r#"{"type": "relu", "bias": true}"#), "layer 2.1: has the key `bias`"),
        ] {
            let error = layers_from_json(text).unwrap_err().to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }
}
