//! What is asked of a kind, answered by its row.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::row::{Entries, Kind, Row};
use super::table::{ROWS, one};
use crate::bilevel::{Problem, Transform};
use crate::nn::optim::Optimizer;

impl Kind {
    /// All that is said of it.
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Kind> {
        ROWS.iter().map(|row| row.kind)
    }

    /// The kinds that a configuration may name: its networks have no regularizer of their own.
    pub fn of_configurations() -> impl Iterator<Item = Kind> {
        Self::all().filter(|kind| *kind != Kind::Regularizer)
    }

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// How many of it a problem has; none where it has no such thing.
    pub fn count(self, problem: &Problem) -> usize {
        (self.row().count)(problem)
    }

    /// Whether it holds scalars of an inner optimiser.
    pub fn is_of(self, optimizer: &dyn Optimizer) -> bool {
        optimizer.scalars().iter().any(|scalar| self.row().scalars.contains(&scalar.name))
    }

    /// Places of its scalars among those of the problem's optimiser; none where this has no such scalars.
    pub(super) fn scalars(self, problem: &Problem) -> Vec<usize> {
        let names = problem.optimizer.scalars().iter().map(|scalar| scalar.name);
        names.enumerate().filter(|(_, name)| self.row().scalars.contains(name)).map(|(k, _)| k).collect()
    }

    pub(super) fn scalar(self, problem: &Problem, k: usize) -> Entries {
        one(problem.layout().scalars.start + self.scalars(problem)[k])
    }

    pub(super) fn noises(self, problem: &Problem) -> usize {
        usize::from(self.row().noise.is_some_and(|noise| problem.noise.contains(&noise)))
    }

    pub(super) fn strength(self, problem: &Problem) -> Entries {
        let position = problem.noise.iter().position(|&noise| Some(noise) == self.row().noise);
        let first = problem.layout().noise_log.start;
        Box::new(position.into_iter().map(move |position| first + position))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::all().find(|kind| kind.name() == name);
        found.ok_or_else(|| {
            let names: Vec<String> = Self::of_configurations().map(|kind| format!("`{kind}`")).collect();
            format!("unknown hyperparameter `{name}`, expected one of {}", names.join(", "))
        })
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.name().to_owned()
    }
}

impl JsonSchema for Kind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Kind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let rows = Self::of_configurations().map(Kind::row);
        // What the page draws them with stands beside.
        let rows = rows.map(|row| {
            let log = row.transform == Transform::Log;
            json_schema!({
                "const": row.name, "description": row.about, "title": row.title,
                "symbol": row.symbol, "unit": row.unit, "log": log
            })
        });
        json_schema!({ "oneOf": rows.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_their_kinds_and_their_names_differ() {
        for (k, row) in ROWS.iter().enumerate() {
            assert_eq!(row.kind as usize, k, "{}", row.name);
            assert_eq!(row.name.parse(), Ok(row.kind));
            assert!(![row.about, row.record, row.title, row.symbol, row.unit].contains(&""), "{}", row.name);
            let apart = row.apart.map_or(row.kind, |other| other.row().apart.unwrap());
            assert_eq!(apart, row.kind, "{} is apart from a kind that is not apart from it", row.name);
        }
    }
}
