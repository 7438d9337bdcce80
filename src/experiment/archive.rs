//! safetensors files with a description and a checksum, to the bit.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The file's one metadata entry: `crc32:XXXXXXXX {json}`. One entry, since several would be written in random order.
const KEY: &str = "stackelberg";

/// A named array: shape, type, little-endian bytes.
pub struct Tensor {
    /// No other of the file has it.
    pub name: String,
    /// Sizes of the axes, row-major.
    pub shape: Vec<usize>,
    /// Type of an element.
    pub dtype: Dtype,
    /// The elements in little-endian order, as many as the shape says.
    pub bytes: Vec<u8>,
}

/// Writes arrays and what they are.
pub fn pack(description: &Value, tensors: &[Tensor]) -> Vec<u8> {
    let json = description.to_string();
    let entry = format!("crc32:{:08x} {json}", checksum(&json, tensors.iter().map(|t| (&*t.name, &*t.bytes))));
    let views = tensors.iter().map(|t| {
        let view = TensorView::new(t.dtype, t.shape.clone(), &t.bytes).expect("as many bytes as the shape says");
        (t.name.as_str(), view)
    });
    serialize(views, Some(HashMap::from([(KEY.to_owned(), entry)]))).expect("valid tensors")
}

/// Reads what [`pack`] wrote, or says what is wrong with it.
pub fn unpack(bytes: &[u8]) -> Result<(Value, Vec<Tensor>), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("it is cut short or damaged ({e})"))?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let entry = header.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or("it was not written by stackelberg")?;
    let parts = entry.strip_prefix("crc32:").and_then(|rest| rest.split_once(' '));
    let (written, json) = parts.ok_or("its description is damaged")?;
    let mut tensors: Vec<Tensor> = file
        .iter()
        .map(|(name, view)| Tensor {
            name: name.to_owned(),
            shape: view.shape().to_vec(),
            dtype: view.dtype(),
            bytes: view.data().to_vec(),
        })
        .collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let found = checksum(json, tensors.iter().map(|t| (&*t.name, &*t.bytes)));
    if written != format!("{found:08x}") {
        return Err("its checksum is wrong: some bytes were changed".to_owned());
    }
    let description = serde_json::from_str(json).map_err(|e| format!("its description is damaged ({e})"))?;
    Ok((description, tensors))
}

/// CRC-32 of the description and all arrays, whatever their order in the file.
fn checksum<'a>(json: &str, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> u32 {
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort();
    let mut crc = flate2::Crc::new();
    crc.update(json.as_bytes());
    for (name, bytes) in tensors {
        crc.update(name.as_bytes());
        crc.update(bytes);
    }
    crc.sum()
}

/// Writes any value; its lists of floats become F64 tensors named by their place in the value.
pub fn pack_value(value: &impl Serialize) -> Vec<u8> {
    let mut description = serde_json::to_value(value).expect("states are plain values");
    let mut tensors = vec![];
    lift(&mut description, String::new(), &mut tensors);
    pack(&description, &tensors)
}

/// Reads what [`pack_value`] wrote, to the same bits.
pub fn unpack_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (mut value, tensors) = unpack(bytes)?;
    for tensor in &tensors {
        let floats = tensor.bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes")));
        let place = value.pointer_mut(&tensor.name).ok_or_else(|| format!("tensor {} has no place", tensor.name))?;
        *place = floats.collect();
    }
    serde_json::from_value(value).map_err(|e| format!("another version of stackelberg wrote it ({e})"))
}

/// Moves lists of floats out of a value, leaving null; names are JSON pointers.
fn lift(value: &mut Value, pointer: String, tensors: &mut Vec<Tensor>) {
    match value {
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_f64) => {
            let floats = items.iter().filter_map(Value::as_f64);
            tensors.push(Tensor {
                name: pointer,
                shape: vec![items.len()],
                dtype: Dtype::F64,
                bytes: floats.flat_map(f64::to_le_bytes).collect(),
            });
            *value = Value::Null;
        }
        Value::Array(items) => {
            items.iter_mut().enumerate().for_each(|(k, item)| lift(item, format!("{pointer}/{k}"), tensors));
        }
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(key, item)| {
                let key = key.replace('~', "~0").replace('/', "~1");
                lift(item, format!("{pointer}/{key}"), tensors);
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct State {
        count: u64,
        loss: f64,
        groups: Vec<Vec<f64>>,
        counts: Vec<Vec<u64>>,
        inner: Option<Box<State>>,
    }

    fn state() -> State {
        let inner = State { count: 1, loss: -0.0, groups: vec![], counts: vec![vec![3]], inner: None };
        State {
            count: u64::MAX,
            loss: 0.1 + 0.2,
            groups: vec![vec![1.0 / 3.0, -0.0, 5e-324, f64::MAX], vec![], vec![2.0]],
            counts: vec![vec![1, 2], vec![]],
            inner: Some(Box::new(inner)),
        }
    }

    #[test]
    fn round_trip_to_the_bit() {
        let bytes = pack_value(&state());
        assert_eq!(bytes, pack_value(&state()), "the same value gives the same bytes");
        let back: State = unpack_value(&bytes).unwrap();
        assert_eq!(back, state());
        assert!(back.groups[0][1].is_sign_negative());
        assert!(back.inner.unwrap().loss.is_sign_negative());
    }

    #[test]
    fn damage_is_noticed() {
        let bytes = pack_value(&state());
        for end in 0..bytes.len() {
            unpack_value::<State>(&bytes[..end]).unwrap_err();
        }
        for place in 0..bytes.len() {
            for bit in [0, 5] {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                if let Ok(read) = unpack_value::<State>(&damaged) {
                    // Spaces that pad the header, or the tensors' order in it, carry nothing.
                    assert_eq!(read, state(), "byte {place}");
                }
            }
        }
    }
}
