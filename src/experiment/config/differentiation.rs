//! The method of the hypergradient, written as one text.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bilevel::{FixedPoint, Forward, Implicit, Memory, Method, Reverse, Solver, Truncated};

/// How the outer loss is differentiated. Written as one text: `reverse`, `forward`, `truncated:20`,
/// `implicit:20` or `fixed-point:100`, where the number is that of steps or of iterations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Differentiation {
    /// Back through all training steps.
    #[default]
    Reverse,
    /// Along with the training, a few hyperparameters at a time.
    Forward,
    /// Back through the last steps alone.
    Truncated(u32),
    /// As if the training had ended in a stationary point: conjugate gradients on the normal equations.
    Implicit(u32),
    /// As if it had ended in a fixed point of the last step.
    FixedPoint(u32),
}

impl Differentiation {
    /// The method for so many directions. Those that keep states keep to the memory budget.
    pub fn method(self, memory: Memory, directions: usize) -> Box<dyn Method> {
        match self {
            Differentiation::Reverse => Reverse { memory }.into(),
            Differentiation::Forward => Forward::for_directions(directions).into(),
            Differentiation::Truncated(last) => Truncated { last: last as usize, memory }.into(),
            Differentiation::Implicit(k) => Implicit::new(Solver::NormalEquations, k as usize).into(),
            Differentiation::FixedPoint(k) => FixedPoint::new(k as usize).into(),
        }
    }
}

impl FromStr for Differentiation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = text.split_once(':').map_or((text, None), |(name, number)| (name, Some(number)));
        let number = number.map(|number| number.parse().ok().filter(|&n| n > 0));
        match (name, number) {
            ("reverse", None) => Ok(Differentiation::Reverse),
            ("forward", None) => Ok(Differentiation::Forward),
            ("truncated", Some(Some(last))) => Ok(Differentiation::Truncated(last)),
            ("implicit", Some(Some(iterations))) => Ok(Differentiation::Implicit(iterations)),
            ("fixed-point", Some(Some(iterations))) => Ok(Differentiation::FixedPoint(iterations)),
            _ => Err(format!(
                "`{text}` is no method: write reverse, forward, truncated:K (the last K steps), implicit:K or \
                 fixed-point:K (K iterations), with K at least 1"
            )),
        }
    }
}

impl TryFrom<String> for Differentiation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Differentiation> for String {
    fn from(differentiation: Differentiation) -> Self {
        differentiation.to_string()
    }
}

impl fmt::Display for Differentiation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Differentiation::Reverse => f.write_str("reverse"),
            Differentiation::Forward => f.write_str("forward"),
            Differentiation::Truncated(last) => write!(f, "truncated:{last}"),
            Differentiation::Implicit(iterations) => write!(f, "implicit:{iterations}"),
            Differentiation::FixedPoint(iterations) => write!(f, "fixed-point:{iterations}"),
        }
    }
}
