//! What is searched: named dimensions, some of them only where another has a certain value. The conventions are Optuna
//! 5.0.0's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::domain::{Domain, Value, is_false};

/// Where a dimension counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The name of a dimension before this one: categorical, or of whole numbers.
    pub parent: String,
    /// The values of the parent with which this dimension counts.
    pub values: Vec<Value>,
}

/// A named dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// Its name.
    pub name: String,
    /// Its values.
    #[serde(flatten)]
    pub domain: Domain,
    /// Where it counts; always, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// Whether a training cannot change it midway, such as the width of a layer. Searchers that move trainings to other
    /// values leave it alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub structural: bool,
}

/// A point: for each dimension its value, or none where the dimension does not count. Whole numbers stand as they are, a
/// category as its index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Point(pub Vec<Option<f64>>);

impl Point {
    /// The value of a dimension.
    pub fn get(&self, dimension: usize) -> Option<f64> {
        self.0.get(dimension).copied().flatten()
    }
}

/// What is wrong with a space.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpaceError {
    /// The text is no space.
    #[error("line {line}, column {column}: {message}; a space is a list of [[dimension]] with name and type")]
    Text {
        /// Line, from 1.
        line: usize,
        /// Column, in characters from 1.
        column: usize,
        /// What is wrong, in the words of the parser.
        message: String,
    },
    /// A dimension that cannot be searched.
    #[error("dimension `{name}`: {problem}; {mend}")]
    Dimension {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        mend: &'static str,
    },
    /// Nothing to search.
    #[error("the space has no dimension; give at least one [[dimension]]")]
    Empty,
}

/// Dimensions in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Listed", into = "Listed")]
pub struct Space {
    dimensions: Vec<Dimension>,
    /// For each dimension its parent, and the values of that with which it counts.
    conditions: Vec<Option<(usize, Vec<f64>)>>,
}

/// A space as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    dimension: Vec<Dimension>,
}

impl TryFrom<Listed> for Space {
    type Error = SpaceError;

    fn try_from(listed: Listed) -> Result<Self, SpaceError> {
        Space::new(listed.dimension)
    }
}

impl From<Space> for Listed {
    fn from(space: Space) -> Self {
        Listed { dimension: space.dimensions }
    }
}

impl Space {
    /// Of these dimensions.
    ///
    /// # Errors
    /// If there is none, a name stands twice, a domain has no values, or a condition names no dimension before its own.
    pub fn new(dimensions: Vec<Dimension>) -> Result<Self, SpaceError> {
        let mut conditions = vec![];
        for (j, dimension) in dimensions.iter().enumerate() {
            let wrong = |problem: String, mend| SpaceError::Dimension { name: dimension.name.clone(), problem, mend };
            if dimensions[..j].iter().any(|before| before.name == dimension.name) {
                return Err(wrong("its name stands twice".to_owned(), "name each dimension once"));
            }
            if let Some((problem, mend)) = dimension.domain.problem() {
                return Err(wrong(problem, mend));
            }
            let Some(when) = &dimension.when else {
                conditions.push(None);
                continue;
            };
            let Some(parent) = dimensions[..j].iter().position(|before| before.name == when.parent) else {
                let problem = format!("its parent `{}` does not stand before it", when.parent);
                return Err(wrong(problem, "put the parent first"));
            };
            let domain = &dimensions[parent].domain;
            if matches!(domain, Domain::Float { .. }) {
                let problem = format!("its parent `{}` has no single values", when.parent);
                return Err(wrong(problem, "take a categorical dimension or one of whole numbers"));
            }
            let values: Option<Vec<f64>> = when.values.iter().map(|value| domain.read(value)).collect();
            let Some(values) = values.filter(|values| !values.is_empty()) else {
                let problem = format!("its condition has values that `{}` never has", when.parent);
                return Err(wrong(problem, "give values of the parent"));
            };
            conditions.push(Some((parent, values)));
        }
        if dimensions.is_empty() {
            return Err(SpaceError::Empty);
        }
        Ok(Space { dimensions, conditions })
    }

    /// Reads a space that is written in TOML as a list of `[[dimension]]`.
    ///
    /// # Errors
    /// With the place of what is no TOML or no dimension, and as [`new`](Self::new).
    pub fn from_toml(text: &str) -> Result<Self, SpaceError> {
        let listed: Listed = toml::from_str(text).map_err(|error| {
            let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            SpaceError::Text { line, column, message: error.message().to_owned() }
        })?;
        Space::try_from(listed)
    }

    /// The dimensions, in their order.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// How many dimensions there are.
    #[expect(clippy::len_without_is_empty, reason = "a space is never empty")]
    pub fn len(&self) -> usize {
        self.dimensions.len()
    }

    /// The domain of a dimension.
    pub fn domain(&self, dimension: usize) -> &Domain {
        &self.dimensions[dimension].domain
    }

    /// Whether a dimension counts only where another has certain values.
    pub fn is_conditional(&self, dimension: usize) -> bool {
        self.conditions[dimension].is_some()
    }

    /// Whether a dimension counts, given the values of those before it.
    pub fn counts(&self, dimension: usize, before: &[Option<f64>]) -> bool {
        let Some((parent, values)) = &self.conditions[dimension] else { return true };
        before[*parent].is_some_and(|value| values.contains(&value))
    }

    /// The point with the values that `value` gives for the dimensions that count.
    pub fn point(&self, mut value: impl FnMut(usize, &Domain) -> f64) -> Point {
        let mut point = Vec::with_capacity(self.len());
        for (j, dimension) in self.dimensions.iter().enumerate() {
            let next = self.counts(j, &point).then(|| value(j, &dimension.domain));
            point.push(next);
        }
        Point(point)
    }

    /// The point at shares of the ranges, one for each dimension.
    pub fn at(&self, units: &[f64]) -> Point {
        self.point(|j, domain| domain.value(units[j]))
    }

    /// A point in the unit cube; 0.5 for what does not count.
    pub fn units(&self, point: &Point) -> Vec<f64> {
        let unit = |(j, d): (usize, &Dimension)| point.get(j).map_or(0.5, |value| d.domain.unit(value));
        self.dimensions.iter().enumerate().map(unit).collect()
    }

    /// The values of a point under the names of their dimensions.
    pub fn written(&self, point: &Point) -> BTreeMap<String, Value> {
        let written = |(j, d): (usize, &Dimension)| Some((d.name.clone(), d.domain.written(point.get(j)?)));
        self.dimensions.iter().enumerate().filter_map(written).collect()
    }

    /// The space without some dimensions, such as those that hypergradient descent moves within a training.
    ///
    /// # Errors
    /// If nothing is left, or a dimension that is left depends on one that is not.
    pub fn without(&self, names: &[&str]) -> Result<Self, SpaceError> {
        let kept = self.dimensions.iter().filter(|dimension| !names.contains(&dimension.name.as_str()));
        Space::new(kept.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[dimension]]
        name = "optimizer"
        type = "categorical"
        choices = ["sgd", "adam"]

        [[dimension]]
        name = "momentum"
        type = "float"
        low = 0.7
        high = 0.99
        when = { parent = "optimizer", values = ["sgd"] }

        [[dimension]]
        name = "width"
        type = "int"
        low = 4
        high = 512
        log = true
        structural = true

        [[dimension]]
        name = "batch"
        type = "int"
        low = 10
        high = 65
        step = 20
    "#;

    #[test]
    fn a_space_is_read_and_conditions_leave_values_out() {
        let space = Space::from_toml(TEXT).unwrap();
        let json = serde_json::to_string(&space).unwrap();
        assert_eq!(serde_json::from_str::<Space>(&json).unwrap(), space);
        let sgd = space.at(&[0.1, 0.5, 0.0, 1.0]);
        assert_eq!(sgd, Point(vec![Some(0.0), Some(0.845), Some(4.0), Some(50.0)]));
        let adam = space.at(&[0.9, 0.5, 1.0, 0.0]);
        assert_eq!(adam, Point(vec![Some(1.0), None, Some(512.0), Some(10.0)]));
        let written = space.written(&adam);
        assert_eq!(written["optimizer"], Value::Text("adam".to_owned()));
        assert_eq!((written.len(), &written["width"]), (3, &Value::Int(512)));
        assert_eq!(space.without(&["momentum", "width"]).unwrap().len(), 2);
        assert!(space.without(&["optimizer"]).unwrap_err().to_string().contains("`optimizer` does not stand before"));
    }

    #[test]
    fn units_lead_back_to_the_values() {
        let space = Space::from_toml(TEXT).unwrap();
        for j in [0, 2, 3] {
            let domain = space.domain(j);
            for k in 0..domain.count().unwrap() {
                let value = domain.level(k);
                let unit = domain.unit(value);
                assert!(unit > 0.0 && unit < 1.0 && domain.value(unit) == value && domain.index(value) == k);
            }
            assert_eq!(domain.value(0.0), domain.level(0));
            assert_eq!(domain.value(1.0), domain.ends().1);
        }
        // Half a step is left at either end, in logarithms of the widened range.
        assert_eq!(space.domain(2).modelled_ends(), (3.5f64.ln(), 512.5f64.ln()));
        assert_eq!(space.domain(3).modelled_ends(), (0.0, 60.0));
    }

    #[test]
    fn what_cannot_be_searched_is_refused_with_a_way_out() {
        let refused = |text: &str| Space::from_toml(text).unwrap_err().to_string();
        let one = |rest: &str| format!("[[dimension]]\nname = \"a\"\n{rest}");
        for (text, part) in [
            (one("type = \"float\"\nlow = 2\nhigh = 1"), "`a`: it goes from 2 to 1; give finite ends"),
            (one("type = \"float\"\nlow = 0.0\nhigh = 1.0\nlog = true"), "begin above 0"),
            (one("type = \"int\"\nlow = 1\nhigh = 9\nlog = true\nstep = 2"), "leave one of them out"),
            (one("type = \"int\"\nlow = 1\nhigh = 9\nstep = 0"), "its step is 0"),
            (one("type = \"categorical\"\nchoices = []"), "no choices"),
            (one("type = \"categorical\"\nchoices = [1, 1]"), "twice"),
            (one("type = \"round\""), "line "),
            ("dimension = []".to_owned(), "no dimension"),
            (one("type = \"float\"\nlow = 1.0\nhigh = 2.0\nwhen = { parent = \"b\", values = [1] }"), "parent `b`"),
        ] {
            let message = refused(&text);
            assert!(message.contains(part), "{message} has no {part}");
        }
        let twice = format!("{0}\n{0}", one("type = \"int\"\nlow = 1\nhigh = 9"));
        assert!(refused(&twice).contains("stands twice"));
    }
}
