//! How the learning rate falls towards the end of a training: a factor on the rate of each step, a graph of the step's
//! number.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::ir::{Graph, NodeId, Scalar};

/// A factor on the learning rate: 1, and over the last part of the steps down to 0, which the step after the last one
/// would have. Written as one text: `none`, `tail`, `linear` or `cosine`, the others with their share of the steps
/// behind a colon where that is another than usual, such as `tail:0.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Decay {
    /// 1 all along.
    #[default]
    None,
    /// In a straight line over this share of the steps, the last ones.
    Linear {
        /// Above 0 and at most 1.
        share: f64,
    },
    /// Along half a period of a cosine over this share of the steps, the last ones.
    Cosine {
        /// Above 0 and at most 1.
        share: f64,
    },
}

impl Decay {
    /// In a straight line over the last quarter.
    pub const TAIL: Decay = Decay::Linear { share: 0.25 };

    /// The factor of a step (`[1]`, its number counted from 0) of so many.
    pub(in crate::bilevel) fn factor(self, g: &mut Graph, time: NodeId, steps: usize) -> Option<NodeId> {
        let (Decay::Linear { share } | Decay::Cosine { share }) = self else { return None };
        let all = g.full_u(&[1], steps as u32);
        let left = g.scalar(Scalar::SubU, &[all, time]);
        let left = g.scalar(Scalar::ToFloat, &[left]);
        let left = g.scale(left, 1.0 / (share * steps as f64));
        // The smaller of what is left and 1.
        let beyond = g.neg(left);
        let beyond = g.offset(beyond, 1.0);
        let fallen = g.scalar(Scalar::Relu, &[beyond]);
        let line = g.neg(fallen);
        let line = g.offset(line, 1.0);
        Some(match self {
            Decay::Cosine { .. } => {
                let sine = quarter_sine(g, line);
                g.mul(sine, sine)
            }
            _ => line,
        })
    }
}

/// sin(π x / 2) for x from 0 to 1 by its power series up to the thirteenth power: off by 7e-10 at most. Its square is (1 − cos(π x)) / 2.
fn quarter_sine(g: &mut Graph, x: NodeId) -> NodeId {
    let angle = g.scale(x, std::f64::consts::FRAC_PI_2);
    let square = g.mul(angle, angle);
    // 1 − a²/(2·3) (1 − a²/(4·5) (1 − …)).
    let mut sum = g.full(&[1], 1.0);
    for k in [12.0, 10.0, 8.0, 6.0, 4.0, 2.0] {
        let term = g.mul(square, sum);
        let term = g.scale(term, -1.0 / (k * (k + 1.0)));
        sum = g.offset(term, 1.0);
    }
    g.mul(angle, sum)
}

impl fmt::Display for Decay {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Decay::None => f.write_str("none"),
            tail if *tail == Decay::TAIL => f.write_str("tail"),
            Decay::Linear { share: 1.0 } => f.write_str("linear"),
            Decay::Linear { share } => write!(f, "tail:{share}"),
            Decay::Cosine { share: 1.0 } => f.write_str("cosine"),
            Decay::Cosine { share } => write!(f, "cosine:{share}"),
        }
    }
}

impl FromStr for Decay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, share) = text.split_once(':').map_or((text, None), |(name, share)| (name, Some(share)));
        let share = share.map(|share| share.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0));
        match (name, share) {
            ("none", None) => Ok(Decay::None),
            ("tail", None) => Ok(Decay::TAIL),
            ("linear", None) => Ok(Decay::Linear { share: 1.0 }),
            ("cosine", None) => Ok(Decay::Cosine { share: 1.0 }),
            ("tail" | "linear", Some(Some(share))) => Ok(Decay::Linear { share }),
            ("cosine", Some(Some(share))) => Ok(Decay::Cosine { share }),
            _ => Err(format!(
                "`{text}` is no decay: write none, tail (over the last quarter of the steps), linear or cosine (over \
                 all of them), or another share above 0 and at most 1 behind a colon, such as tail:0.5"
            )),
        }
    }
}

impl TryFrom<String> for Decay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Decay> for String {
    fn from(decay: Decay) -> Self {
        decay.to_string()
    }
}

impl JsonSchema for Decay {
    fn schema_name() -> Cow<'static, str> {
        "Decay".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(none|(tail|linear|cosine)(:[0-9.e-]+)?)$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::eval;
    use crate::ir::DType;

    fn factors(decay: Decay, steps: usize) -> Vec<f64> {
        let mut g = Graph::new();
        let time = g.input("time", &[1], DType::U32);
        let Some(factor) = decay.factor(&mut g, time, steps) else { return vec![1.0; steps] };
        (0..steps).map(|t| eval(&g, &[factor], &[vec![t as f64]])[0][0]).collect()
    }

    #[test]
    fn factors_are_those_of_the_formulas() {
        let close = |found: Vec<f64>, wanted: &[f64]| {
            assert_eq!(found.len(), wanted.len());
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-8), "{found:?} {wanted:?}");
        };
        close(factors(Decay::None, 3), &[1.0; 3]);
        close(factors(Decay::TAIL, 8), &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]);
        close(factors("tail:0.5".parse().unwrap(), 8), &[1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]);
        close(factors("linear".parse().unwrap(), 4), &[1.0, 0.75, 0.5, 0.25]);
        let cosine = |x: f64| 0.5 - 0.5 * (std::f64::consts::PI * x).cos();
        close(factors("cosine".parse().unwrap(), 4), &[1.0, cosine(0.75), 0.5, cosine(0.25)]);
        close(factors("cosine:0.5".parse().unwrap(), 4), &[1.0, 1.0, 1.0, 0.5]);
        // A quarter of three steps is less than one.
        close(factors(Decay::TAIL, 3), &[1.0; 3]);
    }

    #[test]
    fn texts() {
        for text in ["none", "tail", "tail:0.5", "linear", "cosine", "cosine:0.125"] {
            assert_eq!(text.parse::<Decay>().unwrap().to_string(), text);
        }
        assert_eq!("linear:0.25".parse::<Decay>().unwrap(), Decay::TAIL);
        assert_eq!("tail:1".parse::<Decay>().unwrap().to_string(), "linear");
        for text in ["", "step", "none:0.5", "tail:0", "tail:1.5", "tail:x", "tail:NaN", "cosine:"] {
            assert!(text.parse::<Decay>().unwrap_err().contains("is no decay"), "{text}");
        }
    }
}
