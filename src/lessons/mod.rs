//! Lessons: bilevel problems small enough to see through, each a file here and a page. Whatever a page shows of one is
//! computed here, by the same sessions, methods and optimisers that tune a network; closed forms stand beside them as
//! what is exact.

mod cutting_planes;
mod dropout;
mod example_weights;
mod five_examples;
mod follower;
mod forward_or_reverse;
mod ground;
mod how_long;
mod hypergradient;
mod leader_and_follower;
mod lesson;
mod overfitting;
mod response;
mod ridge;
mod search_or_hypergradients;
mod self_tuning_rate;
#[cfg(test)]
mod testing;
mod truncated_and_implicit;
mod windows;

pub use ground::Ground;
pub use lesson::{Answer, Curve, Lesson, LessonError, Page, Settings};

use lesson::{evenly, tangent};

/// Makes a lesson.
type Make = fn() -> Box<dyn Lesson>;

/// The lessons by the names of their pages.
const LESSONS: [(&str, Make); 12] = [
    ("leader-and-follower", || Box::<leader_and_follower::LeaderAndFollower>::default()),
    ("hypergradient", || Box::<hypergradient::Hypergradient>::default()),
    ("how-long", || Box::<how_long::HowLong>::default()),
    ("forward-or-reverse", || Box::<forward_or_reverse::ForwardOrReverse>::default()),
    ("truncated-and-implicit", || Box::new(truncated_and_implicit::TruncatedAndImplicit)),
    ("self-tuning-rate", || Box::new(self_tuning_rate::SelfTuningRate)),
    ("example-weights", || Box::<example_weights::ExampleWeights>::default()),
    ("cutting-planes", || Box::new(cutting_planes::CuttingPlanes)),
    ("response", || Box::<response::Response>::default()),
    ("search-or-hypergradients", || Box::<search_or_hypergradients::SearchOrHypergradients>::default()),
    ("five-examples", || Box::<five_examples::FiveExamples>::default()),
    ("overfitting", || Box::<overfitting::Overfitting>::default()),
];

/// A lesson by its name.
pub fn named(name: &str) -> Option<Box<dyn Lesson>> {
    LESSONS.iter().find(|(known, _)| *known == name).map(|(_, make)| make())
}
