//! The values that a dimension can have. The conventions are Optuna 5.0.0's.

use serde::{Deserialize, Serialize};

/// A value of a dimension as its owner writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A name.
    Text(String),
}

/// The values that a dimension can have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Domain {
    /// A number from `low` to `high`.
    Float {
        /// The least value.
        low: f64,
        /// The greatest value; with a step, the greatest that whole steps reach.
        high: f64,
        /// Whether ratios count instead of differences.
        #[serde(default, skip_serializing_if = "is_false")]
        log: bool,
        /// The distance between values; none where all numbers between the ends are values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<f64>,
    },
    /// A whole number from `low` to `high`.
    Int {
        /// The least value.
        low: i64,
        /// The greatest value; with a step, the greatest that whole steps reach.
        high: i64,
        /// Whether ratios count instead of differences.
        #[serde(default, skip_serializing_if = "is_false")]
        log: bool,
        /// The distance between values.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        step: i64,
    },
    /// One of some values without an order.
    Categorical {
        /// The values.
        choices: Vec<Value>,
    },
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

fn one() -> i64 {
    1
}

fn is_one(step: &i64) -> bool {
    *step == 1
}

impl Domain {
    /// Whether ratios count.
    pub fn is_log(&self) -> bool {
        matches!(self, Domain::Float { log: true, .. } | Domain::Int { log: true, .. })
    }

    /// Whether its values have no order.
    pub fn is_categorical(&self) -> bool {
        matches!(self, Domain::Categorical { .. })
    }

    /// The distance between its values; none where they lie dense.
    pub fn step(&self) -> Option<f64> {
        match self {
            Domain::Float { step, .. } => *step,
            Domain::Int { step, .. } => Some(*step as f64),
            Domain::Categorical { .. } => Some(1.0),
        }
    }

    /// The least and the greatest value; of categories, of their indices.
    pub fn ends(&self) -> (f64, f64) {
        let (low, high) = match self {
            Domain::Float { low, high, .. } => (*low, *high),
            Domain::Int { low, high, .. } => (*low as f64, *high as f64),
            Domain::Categorical { choices } => (0.0, choices.len() as f64 - 1.0),
        };
        let reached = |step: f64| low + step * ((high - low) / step + 1e-9).floor();
        (low, self.step().map_or(high, reached))
    }

    /// How many values it has; none where they lie dense.
    pub fn count(&self) -> Option<usize> {
        let (low, high) = self.ends();
        self.step().map(|step| ((high - low) / step).round() as usize + 1)
    }

    /// Whether it has one value only.
    pub fn is_fixed(&self) -> bool {
        let (low, high) = self.ends();
        low == high
    }

    /// The k-th of its values, from 0; the k-th unit above the least where they lie dense.
    pub fn level(&self, k: usize) -> f64 {
        let (low, high) = self.ends();
        (low + k as f64 * self.step().unwrap_or(1.0)).min(high)
    }

    /// The place of a value among its values.
    pub fn index(&self, value: f64) -> usize {
        let (low, _) = self.ends();
        ((value - low) / self.step().unwrap_or(1.0)).round().max(0.0) as usize
    }

    /// A value as models take it: its logarithm where ratios count.
    pub fn modelled(&self, value: f64) -> f64 {
        if self.is_log() { value.ln() } else { value }
    }

    /// The ends as models take them: half a step beyond the values, so that all of these weigh the same.
    pub fn modelled_ends(&self) -> (f64, f64) {
        let (low, high) = self.ends();
        let half = if self.is_categorical() { 0.5 } else { self.step().map_or(0.0, |step| 0.5 * step) };
        (self.modelled(low - half), self.modelled(high + half))
    }

    /// The value that is nearest to what a model takes for one.
    pub fn nearest(&self, modelled: f64) -> f64 {
        let value = if self.is_log() { modelled.exp() } else { modelled };
        let (low, high) = self.ends();
        match self.step() {
            None => value.clamp(low, high),
            Some(step) => low + step * ((value.clamp(low, high) - low) / step + 0.5).floor().min((high - low) / step),
        }
    }

    /// A value as a share of the modelled range, between 0 and 1.
    pub fn unit(&self, value: f64) -> f64 {
        let (low, high) = self.modelled_ends();
        if high > low { (self.modelled(value) - low) / (high - low) } else { 0.5 }
    }

    /// The value of a share of the modelled range.
    pub fn value(&self, unit: f64) -> f64 {
        let (low, high) = self.modelled_ends();
        self.nearest(low + (high - low) * unit)
    }

    /// A value as its owner writes it.
    pub fn written(&self, value: f64) -> Value {
        match self {
            Domain::Float { .. } => Value::Float(value),
            Domain::Int { .. } => Value::Int(value as i64),
            Domain::Categorical { choices } => choices[(value as usize).min(choices.len() - 1)].clone(),
        }
    }

    /// What stands for a written value; none if it is no value of this domain.
    pub fn read(&self, written: &Value) -> Option<f64> {
        let (low, high) = self.ends();
        let value = match (self, written) {
            (Domain::Categorical { choices }, _) => choices.iter().position(|choice| choice == written)? as f64,
            (_, Value::Int(value)) => *value as f64,
            (Domain::Float { .. }, Value::Float(value)) => *value,
            _ => return None,
        };
        (low..=high).contains(&value).then_some(value)
    }

    /// What keeps it from being searched, and what to do.
    pub(super) fn problem(&self) -> Option<(String, &'static str)> {
        let (low, high) = match self {
            Domain::Categorical { choices } => {
                let twice = choices.iter().enumerate().any(|(i, choice)| choices[..i].contains(choice));
                return match choices.len() {
                    0 => Some(("it has no choices".to_owned(), "give at least one")),
                    _ if twice => Some(("a choice stands there twice".to_owned(), "name each once")),
                    _ => None,
                };
            }
            Domain::Float { low, high, .. } => (*low, *high),
            Domain::Int { low, high, .. } => (*low as f64, *high as f64),
        };
        let step = self.step();
        if !(low.is_finite() && high.is_finite() && low <= high) {
            Some((format!("it goes from {low} to {high}"), "give finite ends, the lower first"))
        } else if step.is_some_and(|step| !(step > 0.0 && step.is_finite())) {
            Some((format!("its step is {}", step.unwrap_or_default()), "give one above 0, or none"))
        } else if self.is_log() && (low <= 0.0 || matches!(self, Domain::Int { low: ..=0, .. })) {
            Some((format!("ratios of values from {low} on do not exist"), "begin above 0, or leave `log` out"))
        } else if self.is_log() && step.is_some_and(|step| matches!(self, Domain::Float { .. }) || step != 1.0) {
            Some(("it has both `log` and a step".to_owned(), "leave one of them out"))
        } else {
            None
        }
    }
}
