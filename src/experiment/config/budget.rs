//! What a run may cost.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a run may cost. Written as a number of trainings, such as `72`, or a time, such as `90s`, `10min` or `1.5h`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// So many trainings, of which a hypergradient takes several: two runs with it do the same.
    Trainings(u32),
    /// So many seconds of outer iterations: how far that goes depends on the machine.
    Seconds(f64),
}

const UNITS: [(&str, f64); 3] = [("min", 60.0), ("s", 1.0), ("h", 3600.0)];

impl Budget {
    /// More than anything costs, where the number of iterations alone is limited.
    pub const UNLIMITED: Budget = Budget::Trainings(u32::MAX);

    /// Whether anything can be done with it.
    pub fn is_positive(self) -> bool {
        match self {
            Budget::Trainings(trainings) => trainings > 0,
            Budget::Seconds(seconds) => seconds > 0.0,
        }
    }
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no budget: write a number of trainings, such as 72, or a time, such as 90s, 10min or 1.5h"
            )
        };
        let unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
        let Some((number, seconds)) = unit else { return text.parse().map(Budget::Trainings).map_err(|_| wrong()) };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        // A century.
        let time = number * seconds;
        if (0.0..3e9).contains(&time) { Ok(Budget::Seconds(time)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Budget::Trainings(trainings) => trainings.fmt(f),
            Budget::Seconds(seconds) => write!(f, "{seconds}s"),
        }
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Budget::Trainings(trainings) => serializer.serialize_u32(*trainings),
            Budget::Seconds(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Budget;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number of trainings, or a time such as \"90s\"")
            }

            fn visit_u64<E: de::Error>(self, trainings: u64) -> Result<Budget, E> {
                u32::try_from(trainings).map(Budget::Trainings).map_err(|_| E::custom("more trainings than can be run"))
            }

            fn visit_i64<E: de::Error>(self, trainings: i64) -> Result<Budget, E> {
                u64::try_from(trainings)
                    .map_err(|_| E::custom("a budget must not be negative"))
                    .and_then(|trainings| self.visit_u64(trainings))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Budget, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Budget {
    fn schema_name() -> Cow<'static, str> {
        "Budget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of trainings, or a text with a time such as \"90s\".",
            "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string" }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets() {
        for (text, budget, printed) in [
            ("72", Budget::Trainings(72), "72"),
            ("90s", Budget::Seconds(90.0), "90s"),
            ("1.5 h", Budget::Seconds(5400.0), "5400s"),
            ("10min", Budget::Seconds(600.0), "600s"),
        ] {
            assert_eq!(text.parse(), Ok(budget));
            assert_eq!(budget.to_string(), printed);
            assert_eq!(printed.parse(), Ok(budget));
            let json = serde_json::to_string(&budget).unwrap();
            assert_eq!(serde_json::from_str::<Budget>(&json).unwrap(), budget, "{json}");
        }
        for text in ["", "s", "-3", "1.5", "-1s", "NaNs", "1e30h", "soon"] {
            text.parse::<Budget>().unwrap_err();
        }
        for json in ["-1", "1.5", "99999999999", "\"soon\"", "[1]"] {
            serde_json::from_str::<Budget>(json).unwrap_err();
        }
    }
}
