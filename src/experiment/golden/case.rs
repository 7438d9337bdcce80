//! Reading a case: `case.json` and `tensors.safetensors`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::Value;

use crate::ir::DType;
use crate::nn::Layer;

/// A case that cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum CaseError {
    /// A file of the case cannot be opened.
    #[error("cannot read {path}: {source}. A case is a directory with case.json and tensors.safetensors")]
    Read { path: PathBuf, source: std::io::Error },
    /// A file of the case is not what it should be.
    #[error("{path}: {problem}")]
    Format { path: PathBuf, problem: String },
    /// The case lacks an array that its kind reads.
    #[error("case {case} has no input `{input}`")]
    MissingInput { case: String, input: String },
    /// What the case says of itself does not fit together, or is something that nobody here reads.
    #[error("case {case}: {problem}")]
    Inconsistent { case: String, problem: String },
}

/// An array of a case. Words are exact integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes of the axes, row-major; none for a scalar.
    pub shape: Vec<usize>,
    /// Type that an engine holds it in.
    pub dtype: DType,
    /// The elements in f64.
    pub data: Vec<f64>,
}

/// What `case.json` says of one output.
#[derive(Clone, Debug, Deserialize)]
pub struct OutputSpec {
    /// Relative part of the tolerance: see [`compare`](super::compare).
    pub tol_rel: f64,
    /// Absolute part of the tolerance, in the units of the output.
    pub tol_abs: f64,
    /// Largest relative error that the reference itself has in f32.
    pub f32_rel_err_max: f64,
    /// Whether it is zero by construction, so that only the absolute part counts.
    #[serde(default)]
    pub zero: bool,
    /// Whether the reference is off by more than 1 % in f32, so that the output says little of an engine in f32.
    #[serde(default)]
    pub ill_conditioned_f32: bool,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name of its directory.
    pub name: String,
    /// What is computed: one of the kinds of [`is_supported`](super::is_supported), or one of later versions.
    pub kind: String,
    /// The whole of `case.json`.
    pub meta: Value,
    /// Arrays that it starts from.
    pub inputs: BTreeMap<String, Array>,
    /// What is said of each output.
    pub outputs: BTreeMap<String, OutputSpec>,
    /// Expected values in f64.
    pub expected: BTreeMap<String, Array>,
}

/// The keys that `case.json` may have.
const KEYS: &str = "schema name kind about inputs outputs tolerance_rule verification loss l2 layers op attrs \
    differentiable_inputs ct T batch schedule example_weights inner outer masks parametrisation notes outputs_about \
    algorithm steps settings constant_inputs truncation K mode body head tasks init neumann cg hypergradient outer_loop \
    large_outputs conventions mode members \
    n hyperparameters valid_batch made_from \
    way shot query episode inner_algorithm not_adapted";

impl Case {
    /// Refuses a key that says something of the case which nobody here reads.
    pub(super) fn check_keys(&self) -> Result<(), CaseError> {
        let known = |key: &String| KEYS.split_whitespace().any(|name| name == key);
        match self.meta.as_object().and_then(|meta| meta.keys().find(|key| !known(key))) {
            Some(key) => {
                Err(self.inconsistent(format!("case.json has the key `{key}`, which the format does not know")))
            }
            None => Ok(()),
        }
    }

    /// Reads the case in a directory.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(directory: &Path) -> Result<Self, CaseError> {
        let read = |name: &str| {
            let path = directory.join(name);
            std::fs::read(&path).map_err(|source| CaseError::Read { path, source })
        };
        Self::parse(directory, &read("case.json")?, &read("tensors.safetensors")?)
    }

    /// The same from the contents of the two files; `directory` is for messages.
    pub fn parse(directory: &Path, json: &[u8], tensors: &[u8]) -> Result<Self, CaseError> {
        let path = directory.join("case.json");
        let format = |problem: String| CaseError::Format { path: path.clone(), problem };
        let meta: Value = serde_json::from_slice(json).map_err(|e| format(e.to_string()))?;
        let text =
            |key: &str| meta[key].as_str().map(str::to_owned).ok_or_else(|| format(format!("`{key}` must be a text")));
        if text("schema")? != "golden/1" {
            return Err(format(format!("schema `{}` is not `golden/1`", text("schema")?)));
        }
        let outputs: BTreeMap<String, OutputSpec> =
            serde_json::from_value(meta["outputs"].clone()).map_err(|e| format(format!("`outputs`: {e}")))?;

        let path = directory.join("tensors.safetensors");
        let format = |problem: String| CaseError::Format { path: path.clone(), problem };
        let file = SafeTensors::deserialize(tensors).map_err(|e| format(e.to_string()))?;
        let (mut inputs, mut expected) = (BTreeMap::new(), BTreeMap::new());
        for (name, view) in file.tensors() {
            if let Some(name) = name.strip_prefix("in.") {
                let scale = meta["inputs"][name]["encoding"]["scale"].as_f64();
                inputs.insert(name.to_owned(), decode(&view, scale).map_err(|p| format(format!("in.{name}: {p}")))?);
            } else if let Some(name) = name.strip_prefix("out64.") {
                expected.insert(name.to_owned(), decode(&view, None).map_err(|p| format(format!("{name}: {p}")))?);
            }
        }
        if let Some(missing) = outputs.keys().find(|name| !expected.contains_key(*name)) {
            return Err(format(format!("no expected values for output `{missing}`")));
        }
        let (name, kind) = (text("name")?, text("kind")?);
        Ok(Case { name, kind, meta, inputs, outputs, expected })
    }

    /// An input by name.
    pub fn input(&self, name: &str) -> Result<&Array, CaseError> {
        let missing = || CaseError::MissingInput { case: self.name.clone(), input: name.to_owned() };
        self.inputs.get(name).ok_or_else(missing)
    }

    /// The model's layers.
    pub fn layers(&self) -> Result<Vec<Layer>, CaseError> {
        serde_json::from_value(self.meta["layers"].clone()).map_err(|e| self.inconsistent(format!("`layers`: {e}")))
    }

    pub(super) fn inconsistent(&self, problem: String) -> CaseError {
        CaseError::Inconsistent { case: self.name.clone(), problem }
    }

    /// Cases kept as documents, which are no test: a float32 engine may take another branch, or what was computed is a
    /// mistake to be recognised.
    pub fn is_no_test(&self) -> bool {
        let branches = self.outputs.get("val_loss").is_some_and(|o| o.ill_conditioned_f32);
        branches || self.meta["algorithm"] == "hd_lr_momentum_mixed_sign"
    }
}

fn decode(view: &safetensors::tensor::TensorView, scale: Option<f64>) -> Result<Array, String> {
    let bytes = view.data();
    let words = |f: fn([u8; 4]) -> f64| bytes.chunks_exact(4).map(|c| f([c[0], c[1], c[2], c[3]])).collect();
    let (dtype, data): (DType, Vec<f64>) = match view.dtype() {
        Dtype::F32 => (DType::F32, words(|b| f64::from(f32::from_le_bytes(b)))),
        Dtype::I32 => (DType::U32, words(|b| f64::from(i32::from_le_bytes(b)))),
        Dtype::U8 => (DType::F32, bytes.iter().map(|&b| f64::from(b)).collect()),
        Dtype::I8 => {
            let scale = scale.ok_or("an I8 tensor needs an `encoding` with a `scale`")?;
            (DType::F32, bytes.iter().map(|&b| f64::from(b as i8) * scale).collect())
        }
        Dtype::F64 => {
            let eight = |c: &[u8]| f64::from_le_bytes(c.try_into().expect("chunks of eight"));
            (DType::F32, bytes.chunks_exact(8).map(eight).collect())
        }
        other => return Err(format!("unexpected type {other:?}")),
    };
    if dtype == DType::U32 && data.iter().any(|&x| x < 0.0) {
        return Err("indices and labels must not be negative".to_owned());
    }
    Ok(Array { shape: view.shape().to_vec(), dtype, data })
}
