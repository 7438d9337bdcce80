//! What a page of a lesson asks and is told.

use serde::{Deserialize, Serialize};
use tsify::Tsify;

use super::machine::OpenMachine;

/// A number by its name: where a control stands, or what came of it.
#[derive(Debug, Serialize, Deserialize, Tsify)]
pub struct LessonNumber {
    /// Which.
    pub name: String,
    /// What it is; not finite where it does not exist.
    pub value: f64,
}

/// What a page of a lesson wants computed.
#[derive(Debug, Deserialize, Tsify)]
pub struct LessonQuestion {
    /// What the answer is to name.
    pub id: u32,
    /// The lesson.
    pub name: String,
    /// Its controls.
    pub settings: Vec<LessonNumber>,
    /// Every hypergradient is to be so many times what it is: 1, but where a class is to find out that something is
    /// wrong.
    pub factor: f64,
    /// The answer is to say what it was computed with, too.
    pub machine: bool,
}

/// Points in their order.
#[derive(Debug, Serialize, Tsify)]
pub struct LessonCurve {
    /// What they show.
    pub name: String,
    /// One coordinate.
    pub x: Vec<f64>,
    /// The other.
    pub y: Vec<f64>,
}

/// A part of the answer; what it names again replaces what it was.
#[derive(Debug, Default, Serialize, Tsify)]
pub struct LessonAnswer {
    /// The question.
    pub id: u32,
    /// Single numbers.
    pub numbers: Vec<LessonNumber>,
    /// Rows of points.
    pub curves: Vec<LessonCurve>,
    /// Whether this is all.
    pub done: bool,
    /// Why there is no more, should something be wrong.
    pub problem: Option<String>,
    /// What the first session of the lesson is made of.
    pub machine: Option<OpenMachine>,
}
