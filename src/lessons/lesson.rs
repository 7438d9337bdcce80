//! What every lesson is asked, and how it answers.

use async_trait::async_trait;

use super::ground::Ground;
use crate::bilevel::SolveError;
use crate::data::DataError;
use crate::rig::Monitor;

/// A lesson: what is on its page, as a function of its controls.
#[async_trait(?Send)]
pub trait Lesson {
    /// Computes what belongs to these settings and tells it part by part; a part that is told again replaces what it was.
    async fn answer(&mut self, at: &Settings, ground: &Ground, page: &mut dyn Page) -> Result<(), LessonError>;
}

/// Who is told, and is asked whether to go on.
pub trait Page: Monitor {
    /// Takes a part of the answer.
    fn tell(&mut self, answer: Answer);
}

/// A part of what a lesson shows, by names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Single numbers; one that is not finite does not exist, such as a loss after a divergence.
    pub numbers: Vec<(String, f64)>,
    /// Rows of points.
    pub curves: Vec<Curve>,
}

/// Points in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// One coordinate.
    pub x: Vec<f64>,
    /// The other.
    pub y: Vec<f64>,
}

impl Answer {
    pub(super) fn number(mut self, name: impl Into<String>, value: f64) -> Self {
        self.numbers.push((name.into(), value));
        self
    }

    pub(super) fn curve(mut self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (x, y) = points.into_iter().unzip();
        self.curves.push(Curve { name: name.into(), x, y });
        self
    }
}

/// What the controls of a page stand at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(pub Vec<(String, f64)>);

impl Settings {
    /// A number within bounds.
    pub(super) fn number(&self, name: &str, within: std::ops::RangeInclusive<f64>) -> Result<f64, LessonError> {
        let found = self.0.iter().find(|(known, _)| known == name).map(|&(_, value)| value);
        found.filter(|value| within.contains(value)).ok_or_else(|| LessonError::Setting {
            name: name.to_owned(),
            low: *within.start(),
            high: *within.end(),
        })
    }

    /// A count within bounds.
    pub(super) fn count(&self, name: &str, within: std::ops::RangeInclusive<usize>) -> Result<usize, LessonError> {
        Ok(self.number(name, *within.start() as f64..=*within.end() as f64)?.round() as usize)
    }
}

/// Why a lesson has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LessonError {
    /// A control is missing or stands where it cannot.
    #[error("`{name}` must be a number from {low} to {high}")]
    #[expect(missing_docs, reason = "the message says what its fields are")]
    Setting { name: String, low: f64, high: f64 },
    /// The recordings are not there.
    #[error("the recordings of people are not there")]
    Recordings,
    /// They are no good.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The engine has none.
    #[error(transparent)]
    Solve(#[from] SolveError),
}

/// So many numbers, evenly from one to another.
pub(super) fn evenly(low: f64, high: f64, many: usize) -> Vec<f64> {
    (0..many).map(|k| low + (high - low) * k as f64 / (many - 1) as f64).collect()
}

/// A short straight line through a point.
pub(super) fn tangent(at: [f64; 2], slope: f64, half: f64) -> [(f64, f64); 2] {
    [-half, half].map(|by| (at[0] + by, at[1] + slope * by))
}
