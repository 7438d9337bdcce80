//! The network to train: one by name, or the layers of a file.

use std::borrow::Cow;
use std::fmt;
use std::io::Read as _;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::ConfigError;
use crate::nn::zoo::{self, Entry, ZOO};
use crate::nn::{Layer, Model, layers_from_json};

/// The network to train. Written as one text: the name of a network, or the path of a file with layers, which is read
/// there and then; a network from a file is kept with its layers, so that a run does not depend on the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(into = "Written<Vec<Layer>>")]
pub enum Network {
    /// One of [`ZOO`], by its name there.
    Zoo(&'static str),
    /// One from a file.
    File {
        /// The file's path, for messages.
        file: String,
        /// Its layers.
        layers: Vec<Layer>,
    },
}

/// A network as configurations write it; its layers are read from one form, whatever the configuration's is.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<L> {
    Text(String),
    File { file: String, layers: L },
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::<serde_json::Value>::deserialize(deserializer)? {
            Written::Text(text) => text.parse().map_err(de::Error::custom),
            Written::File { file, layers } => {
                let layers = serde_json::from_value(layers).map_err(|e| de::Error::custom(format!("{file}: {e}")))?;
                Network::of(file, layers).map_err(de::Error::custom)
            }
        }
    }
}

impl From<Network> for Written<Vec<Layer>> {
    fn from(network: Network) -> Self {
        match network {
            Network::Zoo(name) => Written::Text(name.to_owned()),
            Network::File { file, layers } => Written::File { file, layers },
        }
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let named: Vec<_> =
            ZOO.iter().map(|entry| json_schema!({ "const": entry.name, "description": entry.about })).collect();
        json_schema!({ "anyOf": [
            { "oneOf": named },
            { "type": "string", "description": "The path of a JSON file with layers" },
            {
                "type": "object",
                "description": "The layers of a file",
                "properties": { "file": { "type": "string" }, "layers": { "type": "array", "items": { "type": "object" } } },
                "required": ["file", "layers"]
            }
        ] })
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(Entry { name, .. }) = zoo::find(text) {
            return Ok(Network::Zoo(name));
        }
        let read = read(text).map_err(|error| {
            format!("`{text}` is no network by name ({}) and no file that can be read: {error}", names())
        })?;
        let layers = layers_from_json(&read).map_err(|error| format!("{text}: {error}"))?;
        Network::of(text.to_owned(), layers)
    }
}

/// The text of a file with layers, which is short.
fn read(path: &str) -> std::io::Result<String> {
    const MOST: u64 = 1 << 20;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(std::io::Error::other("it is larger than 1 MiB, and layers are short"));
    }
    Ok(text)
}

/// The names of the zoo, for messages.
fn names() -> String {
    ZOO.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Network::Zoo(name) => f.write_str(name),
            Network::File { file, .. } => f.write_str(file),
        }
    }
}

impl Network {
    /// One of a file's layers, whose numbers a configuration can hold.
    fn of(file: String, layers: Vec<Layer>) -> Result<Self, String> {
        match toml::Value::try_from(&layers) {
            Ok(_) => Ok(Network::File { file, layers }),
            Err(error) => Err(format!("{file}: a number of its layers is too large ({error})")),
        }
    }

    /// The small network of the first paper.
    pub const NARROW: Network = Network::Zoo("narrow");

    /// The network of the first paper.
    pub const PAPER: Network = Network::Zoo("paper");

    /// The model for examples of shape `input` with so many outputs. Networks by name drop the share `dropout`, those
    /// from files what these say.
    pub fn model(&self, input: &[usize], outputs: usize, dropout: f64) -> Result<Model, ConfigError> {
        let wrong =
            |must: String, mend: String| ConfigError::Value { field: "network", value: self.to_string(), must, mend };
        let shape = format!("a network for examples of shape {input:?}");
        let model = match self {
            Network::Zoo(name) => {
                let entry = zoo::find(name).expect("networks are looked up where they are read");
                entry.model(input, outputs, dropout).map_err(|error| {
                    wrong(shape, format!("Here {error}. Choose among {}, or write a file.", names()))
                })?
            }
            Network::File { layers, .. } => {
                Model::new(layers.clone(), input).map_err(|error| wrong(shape, format!("In that file, {error}.")))?
            }
        };
        if model.output() != [outputs] {
            let (must, made) = (format!("a network with {outputs} outputs"), model.output());
            return Err(wrong(must, format!("Its last layer makes activations of shape {made:?}.")));
        }
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_the_zoo_and_all_else_is_a_file() {
        assert_eq!("narrow".parse(), Ok(Network::NARROW));
        assert_eq!("har-cnn".parse(), Ok(Network::PAPER));
        let error = "narow".parse::<Network>().unwrap_err();
        assert!(error.starts_with("`narow` is no network by name (narrow, paper, mlp,"), "{error}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("net.json");
        let text = path.to_str().unwrap();
        std::fs::write(&path, r#"[{"type": "flatten"}, {"type": "dense", "name": "d", "in": 6, "out": 2}]"#).unwrap();
        let network: Network = text.parse().unwrap();
        assert_eq!(network.model(&[3, 2], 2, 0.5).unwrap().layer_names(), ["d"]);
        // What it is written as does not need the file.
        let written = serde_json::to_string(&network).unwrap();
        std::fs::write(&path, r#"[{"type": "dense", "name": "d", "in": 6}]"#).unwrap();
        assert_eq!(serde_json::from_str::<Network>(&written).unwrap(), network);
        assert_eq!(text.parse::<Network>(), Err(format!("{text}: layer 1: missing field `out`")));
    }

    #[test]
    fn a_network_that_does_not_fit_is_told_of_with_its_layer() {
        let flat =
            layers_from_json(r#"[{"type": "flatten"}, {"type": "dense", "name": "d", "in": 6, "out": 2}]"#).unwrap();
        let own = Network::File { file: "net.json".to_owned(), layers: flat };
        let error =
            |network: &Network, input: &[usize], outputs| network.model(input, outputs, 0.5).unwrap_err().to_string();
        assert_eq!(
            error(&own, &[4, 2], 2),
            "`network` is net.json, but must be a network for examples of shape [4, 2]. In that file, layer 2 (dense `d`): \
             takes 6 features, but is given activations of shape [8]."
        );
        assert_eq!(
            error(&own, &[3, 2], 6),
            "`network` is net.json, but must be a network with 6 outputs. Its last layer makes activations of shape [2]."
        );
        let error = error(&Network::NARROW, &[28, 28, 1], 10);
        assert!(
            error.contains("Here layer 1 (conv1d `conv1`): takes [length, 1], but is given activations of shape [28"),
            "{error}"
        );
    }
}
