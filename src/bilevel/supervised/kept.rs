//! Examples as they lie on the device: numbers, or bytes, four a word, that a graph unpacks where it takes a batch.

use super::problem::Problem;
use crate::data::Standardizer;
use crate::ir::{DType, Graph, NodeId, Scalar, numel};

/// Bytes in a word.
const BYTES: usize = 4;

/// The array with what is taken off bytes, by channel, and then what they are multiplied with.
pub(in crate::bilevel) const SCALE: &str = "scale";

impl Problem {
    /// Type and length of the array of so many examples.
    pub(super) fn kept(&self, count: usize) -> (DType, usize) {
        let each = numel(self.model.input());
        match self.bytes {
            None => (DType::F32, count * each),
            Some(_) => (DType::U32, count * words(each)),
        }
    }

    /// An input with so many examples, a row each.
    pub(super) fn examples(&self, g: &mut Graph, name: &str, count: usize) -> NodeId {
        examples(g, name, count, self.model.input(), self.bytes.is_some())
    }

    /// Rows of examples as the model takes them, `[n, …]`.
    pub(super) fn unpacked(&self, g: &mut Graph, rows: NodeId) -> NodeId {
        let Some(scale) = &self.bytes else { return rows };
        let channels = scale.mean.len();
        let scale = self.input(g, SCALE, &[2 * channels], DType::F32);
        unpack(g, rows, self.model.input(), scale)
    }
}

/// Words of an example of so many bytes.
fn words(each: usize) -> usize {
    each.div_ceil(BYTES)
}

/// An input with so many examples of this shape, a row each: of words where they are bytes.
pub(in crate::bilevel) fn examples(g: &mut Graph, name: &str, count: usize, example: &[usize], bytes: bool) -> NodeId {
    match bytes {
        false => g.input(name, &[&[count], example].concat(), DType::F32),
        true => g.input(name, &[count, words(numel(example))], DType::U32),
    }
}

/// Rows of words as examples `[n, …example]`, with the scale of their channels (see [`SCALE`]).
pub(in crate::bilevel) fn unpack(g: &mut Graph, rows: NodeId, example: &[usize], scale: NodeId) -> NodeId {
    let [count, words] = g.shape(rows)[..] else { unreachable!("a row of words for each example") };
    let (each, channels) = (numel(example), g.shape(scale)[0] / 2);
    // The byte of place k is what is left of word / 256ᵏ in 256s.
    let shape = [count, words, BYTES];
    let word = g.broadcast(rows, &shape, &[0, 1]);
    let place = g.iota(&shape, 2);
    let mut divisor = g.full_u(&shape, 1);
    for k in 1..BYTES {
        let (k, power) = (g.full_u(&shape, k as u32), g.full_u(&shape, 256u32.pow(k as u32)));
        let is_before = g.scalar(Scalar::LtU, &[place, k]);
        divisor = g.select(is_before, divisor, power);
    }
    let quotient = g.scalar(Scalar::DivU, &[word, divisor]);
    let base = g.full_u(&shape, 256);
    let byte = g.scalar(Scalar::RemU, &[quotient, base]);
    let byte = g.scalar(Scalar::ToFloat, &[byte]);
    let byte = g.reshape(byte, &[count, words * BYTES]);
    let byte = g.slice(byte, &[0, 0], &[count, each], &[1, 1]);
    let byte = g.reshape(byte, &[count * each / channels, channels]);

    let (mean, factor) = (g.segment(scale, 0, channels), g.segment(scale, channels, channels));
    let mean = g.neg(mean);
    let centred = g.add(byte, mean);
    let value = g.mul(centred, factor);
    g.reshape(value, &[&[count], example].concat())
}

/// Bytes as words, those of each example in words of their own; the first byte is the lowest.
pub(in crate::bilevel) fn packed(bytes: &[u8], each: usize) -> Vec<u32> {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
    bytes.chunks(each).flat_map(|example| example.chunks(BYTES).map(word)).collect()
}

/// The array [`SCALE`].
pub(in crate::bilevel) fn scale_array(scale: &Standardizer) -> Vec<f32> {
    scale.mean.iter().copied().chain(scale.std.iter().map(|std| 1.0 / std)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_has_words_of_its_own() {
        assert_eq!(packed(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 255], 5), [0x0403_0201, 5, 0x0908_0706, 255]);
    }
}
